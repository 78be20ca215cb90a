//! What is done with a store as a whole: backup, restore, check.
//!
//! Apart from `handle`, which opens and closes. **Invariant**: none of it keeps a read or a write
//! waiting for longer than a restore takes to copy the pages, and all of it runs on threads of its
//! own or the writer's.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use larder_core::{Clock, Error, ErrorKind, clock::WallMillis};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    backup::{self, Backup, Progress},
    check::{self, Depth, Report},
    file,
    handle::SqliteStore,
    headway::{self, Told},
    health::{self, Condition, Refill},
    kept::{self, Schedule},
    options::{Eviction, StoreOptions},
    restore::Prepared,
    turn::Turn,
    values::Values,
};

impl SqliteStore {
    /// Copies the file into one at `path`, while it is in use, and tells `progress` after each
    /// mebibyte. What it promises is said where the store is asked for it, in `shards`.
    pub async fn backup_with(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Backup, Error> {
        let (source, options) = (self.path().to_owned(), self.options().clone());
        let target = path.as_ref().to_owned();
        on_a_thread("take a backup", move |is_wanted| {
            backup::take(&source, &target, &options, &mut |at| {
                progress(at);
                if is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })
        .await
    }

    /// The backups that [`StoreOptions::backups`] keeps, the oldest first.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub async fn backups(&self) -> Result<Vec<Backup>, Error> {
        let Some(schedule) = self.options().backups.clone() else { return Ok(Vec::new()) };
        let path = self.path().to_owned();
        on_a_thread("list backups", move |_| kept::list(&schedule.directory, &path)).await
    }

    /// Puts the content of the backup at `from` in the place of what is in the file.
    pub async fn restore(&self, from: impl AsRef<Path>) -> Result<(), Error> {
        let (from, path) = (from.as_ref().to_owned(), self.path().to_owned());
        let values = self.values().clone();
        let prepare = move |_: &dyn Fn() -> bool| Prepared::of_backup(&from, &path, &values);
        let prepared = on_a_thread("restore a backup", prepare).await?;
        self.replace_with(prepared).await
    }

    /// Puts what was prepared in the place of what is in the store.
    pub(crate) async fn replace_with(&self, prepared: Prepared) -> Result<(), Error> {
        let (access, path, options) =
            (self.access().clone(), self.path().to_owned(), self.options().clone());
        let restored = self.writer_queue().alone(move |connection| {
            // The rows that were read are other ones now.
            access.forget();
            prepared.put_into(connection, &path, &options)
        });
        restored.await
    }

    /// Looks whether the file is what it should be, and says how far that is.
    ///
    /// # Errors
    /// Those of reading, but for `Corrupt`, which is a finding.
    ///
    /// # Cost
    /// Reads the whole file on a thread of its own. Nobody waits for it.
    pub async fn check(&self, depth: Depth, told: Option<Told>) -> Result<Report, Error> {
        let (path, options) = (self.path().to_owned(), self.options().clone());
        let prepare = move |connection: &mut Connection| match &told {
            Some(told) => headway::tell(connection, depth, told),
            None => Ok(()),
        };
        let report = on_a_thread("check the store", move |_| {
            check::check_live(&path, &options, depth, prepare)
        })
        .await?;
        self.health().checked(&report);
        Ok(report)
    }

    /// How the file is, as far as anybody looked, and what was done about it.
    pub fn condition(&self) -> Condition {
        self.health().condition()
    }
}

/// Puts the backup at `from` into the store at `path`, which is not open here.
pub(crate) fn restore_file(path: &Path, from: &Path) -> Result<Condition, Error> {
    put_into_file(path, from, Prepared::of_backup(from, path, &Values::of(path))?)
}

/// The same with what was prepared from it.
pub(crate) fn put_into_file(
    path: &Path,
    from: &Path,
    prepared: Prepared,
) -> Result<Condition, Error> {
    let options = StoreOptions::default().eviction(Eviction::OfOthers);
    let turn = Turn::to_replace(path, &options)?;
    let mut live = match file::open_for_writing(path, &options) {
        Err(error) if error.kind() == ErrorKind::Corrupt && health::was_a_store(path) => {
            let refill = Refill::Backup(from.to_owned());
            return health::replace_by(path, &options, prepared, refill);
        }
        opened => opened?,
    };
    drop(turn);
    prepared.put_into(&mut live, path, &options)?;
    Ok(Condition::Sound)
}

/// Runs `work` on a thread of its own; it may ask whether anybody still waits for it.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    std::thread::Builder::new()
        .name("larder-whole".into())
        .spawn(move || {
            let result = work(&|| !reply.is_closed());
            reply.send(result).ok();
        })
        .map_err(|error| Error::new(ErrorKind::Unavailable, operation).source(error))?;
    answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Panicked, operation)))
}

/// The newest of `kept`, which are sorted by their age, that is not younger than `at`: the one that
/// shows the store as it was then.
///
/// # Errors
/// `NotFound`, naming the oldest that there is.
pub fn backup_as_of(kept: Vec<Backup>, at: WallMillis) -> Result<Backup, Error> {
    kept::as_of(kept, at)
}

/// Where in `directory`, which is made if there is none, a backup of `store` that is taken now
/// belongs: beside those that [`StoreOptions::backups`] keeps, to be found with them.
///
/// # Errors
/// Those of making the directory.
pub fn backup_in(directory: impl AsRef<Path>, store: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let directory = directory.as_ref().to_owned();
    let schedule = Schedule { directory, every: Duration::ZERO, keep: 1 };
    schedule.path(store.as_ref(), Clock::system().wall())
}

/// Where the backups of a store that is not open are.
///
/// # Errors
/// Those of reading the directory.
pub fn backups_in(
    directory: impl AsRef<Path>,
    store: impl AsRef<Path>,
) -> Result<Vec<Backup>, Error> {
    kept::list(directory.as_ref(), store.as_ref())
}
