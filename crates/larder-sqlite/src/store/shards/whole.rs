//! Backup, restore and check of a store in several files.
//!
//! A backup is a file with the name that was asked for and one beside it for each other file of the
//! store. **Invariant**: under the name of a backup there is nothing, or what was there, or a whole
//! one; files of different backups are never restored together, and a store of which only a part
//! was restored is not opened.

use std::{
    ffi::OsString,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{Error, ErrorKind, clock::WallMillis};
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{
    Kept, SqliteStore,
    layout::{self, Label, Seen, path_of},
    schedule::trim,
    together::{summed, try_all},
};
use crate::{
    error::{from_driver, from_io},
    store::{
        backup::{self, Backup, Progress, Watch},
        check::{Depth, Report},
        handle::SqliteStore as Shard,
        headway::Told,
        health::Condition,
        kept, life,
        operation::{self, on_a_thread},
        options::{Eviction, StoreOptions},
        restore::Prepared,
        value_file::Directory,
        values::Values,
    },
};

impl SqliteStore {
    /// Copies the store into a file at `path`, while it is in use.
    ///
    /// The copy shows one moment, is verified, reaches the disk, and only then takes the name: a
    /// backup that is there already is replaced by a whole one or not at all (SD14). Of a store in
    /// several files there is a copy for each beside it (`X-2of4-` and a number): each shows one
    /// moment of its file, and they are restored together only.
    ///
    /// # Errors
    /// `Conflict` when at `path` there is anything but a backup; `Corrupt` when the store is not
    /// sound; `Full`, `ReadOnly` and others of writing.
    ///
    /// # Cancel safety
    /// Dropped, it stops within a mebibyte, and nothing is left of it.
    ///
    /// # Cost
    /// Reads the whole store on a thread of its own. Nobody waits for it, but the write-ahead log
    /// grows meanwhile.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<Backup, Error> {
        self.backup_with(path, |_| {}).await
    }

    /// As [`SqliteStore::backup`], and tells `progress` after each mebibyte; of several files, of
    /// each from its beginning.
    ///
    /// # Errors
    /// As [`SqliteStore::backup`].
    pub async fn backup_with(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Backup, Error> {
        let family = match &self.0 {
            Kept::One(shard) => return shard.backup_with(path, progress).await,
            Kept::Many(family) => family.clone(),
        };
        let (target, sources) = (path.as_ref().to_owned(), self.paths());
        on_a_thread("take a backup", move |is_wanted| {
            back_up(&sources, &family.options, &target, &mut |at| {
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
        match &self.0 {
            Kept::One(shard) => shard.backups().await,
            Kept::Many(family) => {
                let Some(schedule) = family.options.backups.clone() else { return Ok(Vec::new()) };
                let first = family.first.clone();
                let list = move |_: &dyn Fn() -> bool| kept::list(&schedule.directory, &first);
                on_a_thread("list backups", list).await
            }
        }
    }

    /// Takes a backup beside those that [`StoreOptions::backups`] keeps, whether it is due or not,
    /// and removes the oldest of them beyond the number that is kept.
    ///
    /// # Errors
    /// `Config` where no directory was named; else as [`SqliteStore::backup`].
    ///
    /// # Cancel safety
    /// As [`SqliteStore::backup`].
    pub async fn back_up_now(&self) -> Result<Backup, Error> {
        let options = match &self.0 {
            Kept::One(shard) => shard.options(),
            Kept::Many(family) => &family.options,
        };
        let Some(schedule) = options.backups.clone() else {
            return Err(Error::new(ErrorKind::Config, "take a backup")
                .detail("no directory of backups was named when the store was opened"));
        };
        let (first, now) = (self.path().to_owned(), options.clock.wall());
        let target = {
            let (schedule, first) = (schedule.clone(), first.clone());
            on_a_thread("take a backup", move |_| schedule.path(&first, now)).await?
        };
        let taken = self.backup(target).await?;
        let now = options.clock.wall();
        on_a_thread("remove old backups", move |_| trim(&schedule, &first, now)).await?;
        Ok(taken)
    }

    /// The backup among those that are kept which shows the store as it was at `at`: the newest
    /// that is not younger.
    ///
    /// # Errors
    /// `NotFound`, naming the oldest that there is; those of reading the directory.
    pub async fn backup_as_of(&self, at: WallMillis) -> Result<Backup, Error> {
        kept::as_of(self.backups().await?, at)
    }

    /// Puts the content of the backup at `from` in the place of what is in the store.
    ///
    /// The backup is copied and checked as a whole first; then its content appears in one step in
    /// each file, to every reader in every process. The store is in a new epoch from then on.
    ///
    /// # Freshness
    /// An entry with dependencies is a miss until it is proven again: what was invalidated after
    /// the backup was taken must not come back (J5).
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` or `Unsupported` for what is no sound backup, `Config` for one of
    /// another number of files, `Conflict` for files of different backups, `Full` and others of
    /// writing, `Unavailable` when another process writes for too long. The store is then as it
    /// was; of several files, those that were restored before an error of writing stay so, and the
    /// store is not opened again before it was restored as a whole.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen, each file as a whole; restore again.
    ///
    /// # Cost
    /// Twice the room of the backup for as long as it takes. Writes wait while the pages are
    /// copied.
    pub async fn restore(&self, from: impl AsRef<Path>) -> Result<(), Error> {
        let from = from.as_ref().to_owned();
        let family = match &self.0 {
            Kept::One(shard) => {
                let place = from.clone();
                let (first, is_one) = (shard.path().to_owned(), |from: &Path| expect_one(from));
                on_a_thread("restore a backup", move |_| is_one(&place).map(|()| first)).await?;
                return shard.restore(from).await;
            }
            Kept::Many(family) => family,
        };
        let places: Vec<_> = family
            .shards
            .iter()
            .map(|shard| (shard.path().to_owned(), shard.values().clone()))
            .collect();
        let prepared = on_a_thread("restore a backup", move |_| prepare(&from, &places)).await?;
        for (shard, prepared) in family.shards.iter().zip(prepared) {
            shard.replace_with(prepared).await?;
        }
        Ok(())
    }

    /// As [`SqliteStore::restore`], for a store that is not open in this process, may be corrupt,
    /// or is not there at all. It is kept in as many files as the backup.
    ///
    /// A file that was a store and cannot be opened is put aside under another name first.
    ///
    /// # Errors
    /// As [`SqliteStore::restore`], and `Unsupported` or `Corrupt` when at `path` there is
    /// something that was never a store; it is then as it was.
    pub async fn restore_file(
        path: impl AsRef<Path>,
        from: impl AsRef<Path>,
    ) -> Result<Condition, Error> {
        let (path, from) = (path.as_ref().to_owned(), from.as_ref().to_owned());
        on_a_thread("restore a backup", move |_| restore_file(&path, &from)).await
    }

    /// Looks whether the store is what it should be, each file of it.
    ///
    /// # Errors
    /// Those of reading, but for `Corrupt`, which is a finding.
    ///
    /// # Cost
    /// Reads all of it on threads of its own. Nobody waits for it.
    pub async fn check(&self, depth: Depth) -> Result<Report, Error> {
        self.checked(depth, None).await
    }

    /// As [`SqliteStore::check`], and tells `progress` how far it is, again and again: how much is
    /// done, and of how much. It is worked out from the number of rows, so it may be over a little
    /// earlier; a store of which nothing can be counted, or that is small, is not told of.
    ///
    /// # Errors
    /// As [`SqliteStore::check`].
    pub async fn check_with(
        &self,
        depth: Depth,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<Report, Error> {
        self.checked(depth, Some(Arc::new(Mutex::new(progress)))).await
    }

    async fn checked(&self, depth: Depth, told: Option<Told>) -> Result<Report, Error> {
        let family = match &self.0 {
            Kept::One(shard) => return shard.check(depth, told).await,
            Kept::Many(family) => family,
        };
        let parts = told.as_ref().map(|told| summed(family.count(), told));
        let checks = family.shards.iter().enumerate().map(|(at, shard)| {
            let told = parts.as_ref().and_then(|parts| parts.get(at).cloned());
            shard.check(depth, told)
        });
        let reports = try_all(checks).await?;
        let mut whole = Report::new(depth);
        for (number, Report { entries, bytes, files, strays, findings, .. }) in (1..).zip(reports) {
            whole.entries += entries;
            whole.bytes += bytes;
            whole.files += files;
            whole.strays += strays;
            let count = family.count();
            let findings = findings.iter().map(|what| format!("file {number} of {count}: {what}"));
            whole.findings.extend(findings);
        }
        Ok(whole)
    }

    /// How the file is, as far as anybody looked, and what was done about it; of several, how the
    /// one is about which there is most to say.
    pub fn condition(&self) -> Condition {
        let urgent = |condition: &Condition| match condition {
            Condition::Sound => 0,
            Condition::Unchecked => 1,
            Condition::Mended(_) => 2,
            Condition::Replaced { .. } => 3,
            Condition::Moved => 4,
            Condition::Corrupt(_) => 5,
        };
        let conditions = self.shards().iter().map(Shard::condition);
        conditions.max_by_key(urgent).unwrap_or_default()
    }
}

impl Backup {
    /// Bytes of all its files, those of values among them.
    pub fn bytes(&self) -> u64 {
        let length = |file: std::fs::Metadata| file.len();
        let bytes = |path: &PathBuf| {
            let values = std::fs::read_dir(Directory::of(path).path()).into_iter();
            let values = values.flatten().flatten().map(|file| file.metadata().map_or(0, length));
            std::fs::metadata(path).map_or(0, length) + values.sum::<u64>()
        };
        let copies = copies_of(&self.path, |_| true);
        bytes(&self.path) + copies.iter().map(bytes).sum::<u64>()
    }
}

/// Copies each of `sources`, the first one last.
pub(crate) fn back_up(
    sources: &[PathBuf],
    options: &StoreOptions,
    target: &Path,
    watch: &mut Watch<'_>,
) -> Result<Backup, Error> {
    let target = std::path::absolute(target)
        .map_err(|error| from_io("find the place of the backup", target, &error))?;
    sources.iter().try_for_each(|source| backup::may_be_replaced(source, &target))?;
    let (moment, taken) = (life::random()?, options.clock.wall());
    let adapt = |path: &Path| relabel(path, |label| Label { moment, ..label });
    // The one with the name that was asked for comes last: up to then the others are nothing.
    let places: Vec<(u32, &PathBuf)> = (0..).zip(sources).collect();
    for (place, source) in places.into_iter().rev() {
        let path = copy_path(&target, place, sources.len(), moment);
        let copied = backup::take_as(source, &path, options, watch, &adapt);
        copied.inspect_err(|_| forget(&target, |own| own == moment))?;
    }
    forget(&target, |own| own != moment);
    Ok(Backup { path: target, taken })
}

/// Where the copy of the file `place` is, if that of the first is at `target`. The moment is part
/// of the name, so that a backup is replaced when its first file is, and not before.
fn copy_path(target: &Path, place: u32, count: usize, moment: u64) -> PathBuf {
    let mut name = path_of(target, place, u32::try_from(count).unwrap_or(0)).into_os_string();
    if place != 0 {
        name.push(format!("-{moment:016x}"));
    }
    name.into()
}

/// Removes the copies beside the backup `target` whose moment is `unwanted`.
pub(crate) fn forget(target: &Path, unwanted: impl Fn(u64) -> bool) {
    for path in copies_of(target, unwanted) {
        // What cannot be removed now is removed with the next one.
        let _ = std::fs::remove_dir_all(Directory::of(&path).path());
        let _ = std::fs::remove_file(path);
    }
}

/// The copies that lie beside the backup `target`, of the moments that are `wanted`.
fn copies_of(target: &Path, wanted: impl Fn(u64) -> bool) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_wanted =
        |entry: &std::fs::DirEntry| moment_in(&entry.file_name(), name).is_some_and(&wanted);
    entries.flatten().filter(is_wanted).map(|entry| entry.path()).collect()
}

/// The moment of a copy beside the backup `of`, such as `monday.db-2of4-0123456789abcdef`.
fn moment_in(name: &std::ffi::OsStr, of: &std::ffi::OsStr) -> Option<u64> {
    let mut prefix = OsString::from(of);
    prefix.push("-");
    let rest = name.to_str()?.strip_prefix(prefix.to_str()?)?;
    let (place, moment) = rest.split_once('-')?;
    let (place, count) = place.split_once("of")?;
    (place.parse::<u32>().is_ok() && count.parse::<u32>().is_ok() && moment.len() == 16)
        .then(|| u64::from_str_radix(moment, 16).ok())
        .flatten()
}

/// Changes what a file that nobody else has open says about itself.
fn relabel(path: &Path, change: impl FnOnce(Label) -> Label) -> Result<(), Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("label the copy", &subject, &error);
    let connection = Connection::open(path).map_err(failed)?;
    match layout::read(&connection).map_err(failed)? {
        Some(label) => change(label).write(&connection).map_err(failed),
        None => Ok(()),
    }
}

/// What the backup at `from` says; `None` for one of a store of one file.
fn label_of(from: &Path) -> Result<Option<Label>, Error> {
    let subject = from.display().to_string();
    layout::read(&backup::open(from)?)
        .map_err(|error| from_driver("open the backup", &subject, &error))
}

fn expect_one(from: &Path) -> Result<(), Error> {
    label_of(from)?.map_or(Ok(()), |label| Err(other_count(from, label.count, 1)))
}

fn other_count(from: &Path, kept: u32, wanted: usize) -> Error {
    Error::new(ErrorKind::Config, "restore a backup").subject(from.display().to_string()).detail(
        format!(
            "it is of a store in {kept} files, and this one is kept in {wanted}; restore it where \
             there is none, or bring the store to {kept} files first with `larder cache reshard`"
        ),
    )
}

/// Copies and checks all files of the backup at `from`, for those of a store.
fn prepare(from: &Path, to: &[(PathBuf, Arc<Values>)]) -> Result<Vec<Prepared>, Error> {
    let count = to.len();
    let label = label_of(from)?;
    let kept = label.map_or(1, |label| label.count);
    let (Some(label), true) = (label, kept as usize == count) else {
        return Err(other_count(from, kept, count));
    };
    // Another restore of the same backup is another one, if this one stops in the middle.
    let moment = life::random()?;
    let prepare = |(place, (to, values)): (u32, &(PathBuf, Arc<Values>))| {
        let path = copy_path(from, place, count, label.moment);
        let own = label_of(&path)?;
        if own != Some(Label { place, ..label }) {
            return Err(Error::new(ErrorKind::Conflict, "restore a backup")
                .subject(path.display().to_string())
                .detail("it is not of the backup that it lies beside"));
        }
        let prepared = Prepared::of_backup(&path, to, values)?;
        prepared.relabel(|label| Label { moment, ..label })?;
        Ok(prepared)
    };
    (0..).zip(to).map(prepare).collect()
}

fn restore_file(path: &Path, from: &Path) -> Result<Condition, Error> {
    let Some(label) = label_of(from)? else {
        let options = StoreOptions::default().eviction(Eviction::OfOthers);
        if let Seen::One(own) = layout::look(path, &options)? {
            return Err(other_count(from, 1, own.count as usize));
        }
        return operation::restore_file(path, from);
    };
    let options = StoreOptions::default().eviction(Eviction::OfOthers);
    match layout::look(path, &options)? {
        Seen::Alone => return Err(other_count(from, label.count, 1)),
        Seen::One(own) if own.count != label.count => {
            return Err(other_count(from, label.count, own.count as usize));
        }
        Seen::One(_) | Seen::Nothing | Seen::Unreadable => {}
    }
    let mut condition = Condition::Sound;
    let places = (0..label.count).map(|place| path_of(path, place, label.count));
    let places: Vec<_> = places.map(|path| (path.clone(), Values::of(&path))).collect();
    let prepared = prepare(from, &places)?;
    // The first comes last: without it the others are not opened.
    for ((path, _), prepared) in places.iter().zip(prepared).rev() {
        let own = operation::put_into_file(path, from, prepared)?;
        if condition == Condition::Sound {
            condition = own;
        }
    }
    Ok(condition)
}
