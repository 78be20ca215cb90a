//! A copy of a store in a file of its own, taken while others write.
//!
//! The copy reads one snapshot, page by page, and in a write-ahead log readers and writers do not
//! wait for each other. **Invariant**: under the name that was given there is nothing, or what was
//! there, or a whole copy that was verified and reached the disk.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use larder_core::{Error, ErrorKind, clock::WallMillis};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup as Copy, StepResult},
};

use super::{
    check::{self, Depth},
    file,
    filed::{self, Holder},
    life,
    options::StoreOptions,
    schema::{self, Found},
    value_file::{Directory, Name, Taken},
    witness::{self, beside},
};
use crate::{
    connection,
    error::{from_driver, from_io},
    identity::Identity,
};

/// Pages that are copied between two words of progress: a mebibyte, about a millisecond.
const PAGES: i32 = 256;

/// A copy of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// The moment that it shows.
    pub taken: WallMillis,
}

/// How far a copy is: first in its pages, then in its value files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Pages, or files, that are copied.
    pub done: u64,
    /// Pages, or files, that there are.
    pub pages: u64,
}

/// Who is told how far a copy is, and may end it.
pub(crate) type Watch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Copies the store at `source`, which may be in use, to `target`.
///
/// # Errors
/// `Conflict` for a target that is no backup, `Closed` when `watch` ended it, `Corrupt` when the
/// copy is not sound; those of reading and writing. What was at `target` is then untouched.
pub(crate) fn take(
    source: &Path,
    target: &Path,
    options: &StoreOptions,
    watch: &mut Watch<'_>,
) -> Result<Backup, Error> {
    take_as(source, target, options, watch, &|_| Ok(()))
}

/// The same, where `adapt` changes the copy before it is verified.
///
/// # Errors
/// As [`take`], and those of `adapt`.
pub(crate) fn take_as(
    source: &Path,
    target: &Path,
    options: &StoreOptions,
    watch: &mut Watch<'_>,
    adapt: &dyn Fn(&Path) -> Result<(), Error>,
) -> Result<Backup, Error> {
    // A bare name has no directory in it (SD14).
    let target = std::path::absolute(target)
        .map_err(|error| from_io("find the place of the backup", target, &error))?;
    may_be_replaced(source, &target)?;
    let aside = Aside::beside(&target)?;
    let taken = options.clock.wall();
    let directory = Directory::of(source);
    let (_hold, holders) = loop {
        // Before the snapshot begins: what is named in it stays where it is.
        let hold = directory.hold()?;
        copy(&file::open_for_keeping(source, options)?, &aside.path, watch)?;
        let failed =
            |error| from_driver("take a backup", &aside.path.display().to_string(), &error);
        let holders = filed::holders(&open(&aside.path)?).map_err(failed)?;
        // The first file may have been written since there was nothing to hold.
        if hold.is_some() || holders.is_empty() || !directory.path().exists() {
            break (hold, holders);
        }
    };
    adapt(&aside.path)?;
    let own = Directory::of(&target);
    let mut added = Added { directory: &own, names: Vec::new() };
    added.take_over(&directory, &holders, watch)?;
    let subject = target.display().to_string();
    let report = check::check(&open(&aside.path)?, &own, Depth::Quick)?;
    report.require("take a backup", &subject)?;
    aside.publish(&target)?;
    added.names.clear();
    // Those of the backup that was there before.
    let named = |name| holders.binary_search_by_key(&name, |holder| holder.name).is_ok();
    own.clear(named)?;
    Ok(Backup { path: target, taken })
}

/// Value files that a backup got before it has its name. They are added to those of the backup that
/// is there: a name means the same value in both.
struct Added<'a> {
    directory: &'a Directory,
    names: Vec<Name>,
}

impl Added<'_> {
    fn take_over(
        &mut self,
        source: &Directory,
        holders: &[Holder],
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        if holders.is_empty() {
            return Ok(());
        }
        self.directory.make()?;
        let files = holders.len() as u64;
        for (done, Holder { name, .. }) in (0..).zip(holders) {
            if watch(Progress { done, pages: files }).is_break() {
                return Err(given_up(&self.directory.path().display().to_string()));
            }
            if self.directory.take_over(source, *name, *name)? == Taken::New {
                self.names.push(*name);
            }
            self.directory.flush(*name)?;
        }
        self.directory.flush_names()
    }
}

impl Drop for Added<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            self.directory.remove(*name).ok();
        }
        // It fails if there is something in it.
        let _ = fs::remove_dir(self.directory.path());
    }
}

/// Copies what `source` shows at one moment into a new file that stands alone.
pub(crate) fn copy(source: &Connection, to: &Path, watch: &mut Watch<'_>) -> Result<(), Error> {
    let subject = to.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("copy the store", &subject, &error);
    // The open snapshot is what keeps the copy from beginning again with every commit.
    let copied = connection::in_snapshot(source, |source| {
        connection::schema_version(source)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(to, flags)?;
        // If anything fails the file is thrown away.
        target.pragma_update(None, "journal_mode", "OFF")?;
        let copy = Copy::new(source, &mut target)?;
        Ok(run(&copy, &subject, watch))
    });
    copied.map_err(failed).flatten()?;
    // A file that stands alone has no log beside it.
    let mode: String = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|target| file::keep_journal(&target, "DELETE"))
        .map_err(failed)?;
    match mode.as_str() {
        "delete" => Ok(()),
        _ => Err(Error::new(ErrorKind::Unavailable, "copy the store")
            .subject(subject)
            .detail(format!("its journal stays `{mode}`"))),
    }
}

/// Goes through the pages of `copy`.
pub(crate) fn run(copy: &Copy<'_, '_>, path: &str, watch: &mut Watch<'_>) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| from_driver("copy the store", path, &error);
    loop {
        let step = copy.step(PAGES).map_err(failed)?;
        let count = |pages| u64::try_from(pages).unwrap_or(0);
        let pages = copy.progress();
        let done = count(pages.pagecount - pages.remaining);
        if watch(Progress { done, pages: count(pages.pagecount) }).is_break() {
            return Err(given_up(path));
        }
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => {
                return Err(Error::new(ErrorKind::Unavailable, "copy the store")
                    .subject(path)
                    .detail("somebody else holds a lock on it"));
            }
        }
    }
}

fn given_up(path: &str) -> Error {
    Error::new(ErrorKind::Closed, "copy the store")
        .subject(path)
        .detail("whoever asked for it has gone")
}

/// Opens a backup for reading.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the backup", &subject, &error);
    if let Err(error) = fs::metadata(path) {
        return Err(from_io("open the backup", path, &error));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    match schema::look(&connection, &subject)? {
        Found::Store | Found::Earlier => Ok(connection),
        Found::Empty => Err(Error::new(ErrorKind::Unsupported, "open the backup")
            .subject(subject)
            .detail("there is nothing in it")),
    }
}

/// # Errors
/// `Conflict` when at `target` there is anything but a backup, or a store that is in use.
pub(crate) fn may_be_replaced(source: &Path, target: &Path) -> Result<(), Error> {
    let conflict = |detail: &'static str| {
        Err(Error::new(ErrorKind::Conflict, "take a backup")
            .subject(target.display().to_string())
            .detail(detail))
    };
    match (Identity::of(source), Identity::of(target)) {
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        (Ok(one), Ok(other)) if one == other => {
            return conflict("that is the store itself; give another path");
        }
        _ => {}
    }
    let logs = ["-wal", "-journal"].map(|suffix| beside(target, suffix));
    if logs.iter().any(|log| log.exists()) {
        return conflict("a store is in use there, or was killed; give another path");
    }
    // A backup has no witness; a store that was closed has nothing else that tells it from one.
    if witness::path_of(target).exists() {
        return conflict("a store is there; give another path");
    }
    match open(target) {
        Ok(_) => Ok(()),
        Err(_) => conflict(
            "there is something else, or what cannot be read; give another path, or remove it",
        ),
    }
}

/// A file beside the one that is wanted, which is gone unless it was published.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) path: PathBuf,
}

impl Aside {
    /// A name that nobody has, in the directory of `target`, so that it can be renamed.
    pub(crate) fn beside(target: &Path) -> Result<Self, Error> {
        let name = target.file_name().ok_or_else(|| {
            Error::new(ErrorKind::Config, "find a place")
                .subject(target.display().to_string())
                .detail("a path of a file is needed, not of a directory")
        })?;
        let mut own = name.to_owned();
        own.push(format!(".{:016x}.part", life::random()?));
        Ok(Self { path: target.with_file_name(own) })
    }

    /// Gives the file the name `target`, on the disk too.
    pub(crate) fn publish(self, target: &Path) -> Result<(), Error> {
        let failed = |error: io::Error| from_io("publish the backup", target, &error);
        fs::File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&self.path, target).map_err(failed)?;
        sync_directory_of(target).map_err(failed)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // Whatever is not there need not be removed.
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

/// Makes the names in the directory of `path` outlive a failure of power.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) => fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
