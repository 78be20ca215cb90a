//! How the file of a store is, as far as anybody looked, and what was done about it.
//!
//! **Invariant**: what was found and what was done stays visible until the store is closed; a store
//! that was replaced never looks as if nothing had happened.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use larder_core::{Error, ErrorKind, clock::WallMillis};
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{
    backup::{self, Aside},
    check::Report,
    kept,
    options::StoreOptions,
    readable,
    restore::Prepared,
    value_file::{Directory, Name},
    values::Values,
    witness::{self, beside},
};
use crate::error::from_io;

/// What is done about a store whose file is corrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCorruption {
    /// It is put aside under another name, and the newest sound backup takes its place, or nothing.
    #[default]
    Replace,
    /// It is left as it is, and whoever opens it is told.
    Refuse,
}

/// What took the place of a corrupt store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refill {
    /// This backup.
    Backup(PathBuf),
    /// Nothing: it began empty.
    Empty,
}

/// How the file of a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Nobody has looked since it was opened.
    #[default]
    Unchecked,
    /// The last check found nothing.
    Sound,
    /// The last check found these faults. What is read may be an error, never a wrong value.
    Corrupt(Vec<String>),
    /// The path leads to another file or to none, while this store still has the one that was
    /// there: what is written is lost. Open it again; put files in place by restoring them.
    Moved,
    /// The files of some values were not what was written, and their entries were removed since it
    /// was opened. What was found then.
    Mended(Vec<String>),
    /// It was corrupt and was replaced since it was opened, or while it was opened.
    Replaced {
        /// Where the corrupt file is now, if anything of it could be kept.
        put_aside: Option<PathBuf>,
        /// What took its place.
        refill: Refill,
    },
}

/// What is known, shared by everything that reads.
#[derive(Debug, Default)]
pub(crate) struct Health {
    condition: Mutex<Condition>,
    is_suspect: AtomicBool,
}

impl Health {
    pub(crate) fn condition(&self) -> Condition {
        self.condition.lock().clone()
    }

    pub(crate) fn set(&self, condition: Condition) {
        *self.condition.lock() = condition;
    }

    /// Notes what a check found.
    pub(crate) fn checked(&self, report: &Report) {
        let mut condition = self.condition.lock();
        match (&*condition, report.is_sound()) {
            (Condition::Replaced { .. } | Condition::Mended(_), true) => {}
            (_, true) => *condition = Condition::Sound,
            (_, false) => *condition = Condition::Corrupt(report.findings.clone()),
        }
    }

    /// Notes an error, which may be a reason to look closely.
    pub(crate) fn note(&self, error: &Error) {
        if error.kind() == ErrorKind::Corrupt {
            self.is_suspect.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there was a reason since this was asked last.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.is_suspect.swap(false, Ordering::Relaxed)
    }
}

/// Whether the file at `path` is known to have been a store: only then is it ours to move.
pub(crate) fn was_a_store(path: &Path) -> bool {
    witness::path_of(path).exists()
}

/// Moves a file that cannot be opened out of the way and puts the best that there is in its place.
///
/// # Errors
/// Those of the file system.
pub(crate) fn replace_closed(
    path: &Path,
    options: &StoreOptions,
    values: &Arc<Values>,
) -> Result<Condition, Error> {
    let (prepared, refill) = best(path, options, values)?;
    replace_by(path, options, prepared, refill)
}

/// The same with what was prepared.
pub(crate) fn replace_by(
    path: &Path,
    options: &StoreOptions,
    prepared: Prepared,
    refill: Refill,
) -> Result<Condition, Error> {
    let failed = |error: std::io::Error| from_io("put the corrupt store aside", path, &error);
    // Whatever ends this in the middle, the next one to open the store goes on here, and does not
    // take a file that is not there yet for a store that begins.
    write_mark(path).map_err(failed)?;
    let aside = name_of_corrupt(path, options.clock.wall());
    keep_values(path, &aside, |name| !prepared.brings(name));
    // The log first: beside another file it would be taken for that file's.
    for suffix in ["-wal", "-shm", "-journal", ""] {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved.map_err(failed)?,
        }
    }
    prepared.publish(&absolute(path)?)?;
    unmark(path);
    Ok(told(path, Some(aside), refill))
}

/// Replaces what is in a store that is open, in one transaction, and keeps a copy of what was.
///
/// # Errors
/// `Corrupt` when not even that can be done; it is then done when the store is opened again.
pub(crate) fn replace_open(
    live: &mut Connection,
    path: &Path,
    options: &StoreOptions,
    values: &Arc<Values>,
) -> Result<Condition, Error> {
    let aside = keep_copy(live, path, options.clock.wall());
    let (prepared, refill) = best(path, options, values)?;
    prepared.put_into(live, path, options)?;
    Ok(told(path, aside, refill))
}

/// Marks a store as corrupt, so that whoever opens it next knows.
pub(crate) fn mark(path: &Path) {
    if let Err(error) = write_mark(path) {
        tracing::error!(store = %path.display(), %error, "the store cannot be marked as corrupt");
    }
}

fn write_mark(path: &Path) -> std::io::Result<()> {
    std::fs::write(beside(path, "-corrupt"), "")
}

/// Whether a store was marked.
pub(crate) fn is_marked(path: &Path) -> bool {
    beside(path, "-corrupt").exists()
}

/// Takes the mark away: what it spoke of is not in the store any more.
pub(crate) fn unmark(path: &Path) {
    let _ = std::fs::remove_file(beside(path, "-corrupt"));
}

fn name_of_corrupt(path: &Path, now: WallMillis) -> PathBuf {
    beside(path, &format!(".{}.corrupt", kept::written(now)))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| from_io("find the store", path, &error))
}

/// Copies the pages of a corrupt store, without asking what is on them.
fn keep_copy(live: &Connection, path: &Path, now: WallMillis) -> Option<PathBuf> {
    let to = name_of_corrupt(path, now);
    let copied = absolute(&to).and_then(|to| {
        let aside = Aside::beside(&to)?;
        backup::copy(live, &aside.path, &mut |_| std::ops::ControlFlow::Continue(()))?;
        keep_values(path, &to, |_| true);
        aside.publish(&to)
    });
    copied
        .inspect_err(|error| tracing::error!(%error, "no copy of the corrupt store could be kept"))
        .ok()
        .map(|()| to)
}

/// Keeps the value files of a corrupt store beside what was put aside of it. In the store they
/// stay, too, until the keeper finds that nothing names them.
fn keep_values(path: &Path, aside: &Path, is_of_it: impl Fn(Name) -> bool) {
    if let Err(error) = Directory::of(aside).link_all(&Directory::of(path), is_of_it) {
        tracing::error!(%error, "not all value files of the corrupt store could be kept");
    }
}

/// The newest backup that is sound, or nothing.
fn best(
    path: &Path,
    options: &StoreOptions,
    values: &Arc<Values>,
) -> Result<(Prepared, Refill), Error> {
    let kept = match &options.backups {
        Some(schedule) => kept::list(&schedule.directory, path)?,
        None => Vec::new(),
    };
    for backup in kept.into_iter().rev() {
        let prepare = || Prepared::of_backup(&backup.path, path, values);
        match readable::look_twice(&backup.path, prepare) {
            Ok(prepared) => return Ok((prepared, Refill::Backup(backup.path))),
            Err(error) if is_its_own(&error) => {
                tracing::error!(%error, "a backup cannot be used");
            }
            // What is in the way now will go; an older backup, or none, would be for good.
            Err(error) => return Err(error),
        }
    }
    Ok((Prepared::empty(path, options.label)?, Refill::Empty))
}

/// Whether an error says that a backup is no good, and not that it cannot be read now.
fn is_its_own(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NotFound)
}

fn told(path: &Path, put_aside: Option<PathBuf>, refill: Refill) -> Condition {
    let store = path.display();
    let kept = put_aside.as_ref().map(|path| path.display().to_string());
    match &refill {
        Refill::Backup(backup) => tracing::error!(
            %store, put_aside = kept, backup = %backup.display(),
            "the store was corrupt; a backup has taken its place",
        ),
        Refill::Empty => tracing::error!(
            %store, put_aside = kept,
            "the store was corrupt and there is no sound backup; it begins empty",
        ),
    }
    Condition::Replaced { put_aside, refill }
}
