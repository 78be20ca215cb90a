//! From one number of files to another.
//!
//! The new files are made beside the old ones, under names of their own, and the content of the
//! first one last: its pages are written into the file that is there, in one transaction.
//! **Invariant**: up to that commit the old files are the store, and from then on the new ones;
//! whoever is killed before or after leaves files that nobody reads, which the next one removes.
//!
//! Nobody else may have the store open: a process that knows the old files would go on asking them.
//! So each of them is locked as a whole, which SQLite refuses while anybody has it open, and held
//! until the end.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, types::ToSqlOutput};

use super::layout::{self, Label, SHARDS_MAX, path_of, place_of};
use crate::{
    error::{from_driver, from_io, is_busy},
    store::{
        backup::{self, Aside},
        check::{self, Depth},
        file,
        life::{self, Life},
        operation::on_a_thread,
        options::{Eviction, StoreOptions},
        put::millis,
        restore::Prepared,
        row_key::RowKey,
        schema,
        value_file::{Directory, Name, Reference},
        values::{Published, Values},
        witness::{self, beside},
    },
};

/// How long others may take to close the store.
const PATIENCE: Duration = Duration::from_secs(2);

/// Entries between two words of progress.
const PIECE: u64 = 1000;

/// What was done to a store that is kept in another number of files now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resharded {
    /// In how many files it was kept.
    pub before: u32,
    /// Entries that were taken along.
    pub entries: u64,
    /// Entries that were left behind because they depend on something: they are loaded again.
    pub left: u64,
}

/// Keeps the store at `path` in `count` files from now on, 1 to 64, and tells `progress` how many
/// of how many entries are copied.
///
/// Killed at any moment, it leaves the store as it was or as it should be; run it again. Entries
/// that can be invalidated are left behind, and the store is in a new epoch.
///
/// # Errors
/// `NotFound` where there is no store; `Conflict` while anybody has it open; `Config` for a number
/// that cannot be; `Corrupt` for a store that is not sound; `Full` and others of writing. The store
/// is then as it was.
///
/// # Cancel safety
/// Dropped, it goes on to its end.
///
/// # Cost
/// Reads and writes every entry, on a thread of its own; twice the room of the store until the end.
pub async fn reshard(
    path: impl AsRef<Path>,
    count: u32,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Resharded, Error> {
    let (first, mut progress) = (path.as_ref().to_owned(), progress);
    on_a_thread("reshard the store", move |_| run(&first, count, &mut progress)).await
}

fn run(first: &Path, count: u32, progress: &mut dyn FnMut(u64, u64)) -> Result<Resharded, Error> {
    // A bare name has no directory in it.
    let first =
        &std::path::absolute(first).map_err(|error| from_io("find the store", first, &error))?;
    let options = StoreOptions::new().eviction(Eviction::OfOthers).busy_timeout(PATIENCE);
    options.clone().shards(count).check()?;
    if !first.exists() {
        return Err(Error::new(ErrorKind::NotFound, "reshard the store")
            .subject(first.display().to_string())
            .detail("there is no store"));
    }
    let before = layout::count_at(first, &options)?;
    if 1 < before {
        layout::survey(first, before, &options)?;
    }
    let mut old = Vec::new();
    for place in 0..before {
        old.push(open_alone(&path_of(first, place, before), &options)?);
    }
    // Under the lock: what another one left is nobody's, and what one does now is not to be had.
    for other in (2..=SHARDS_MAX).filter(|other| *other != before) {
        remove_files(first, other)?;
    }
    if before == count {
        return Ok(Resharded { before, entries: 0, left: 0 });
    }
    let mut new = Target::make_all(first, count)?;
    let places = (0..before).map(|place| Directory::of(&path_of(first, place, before)));
    let old_files: Vec<_> = old.iter().zip(places).collect();
    let (entries, left) = copy(&old_files, &mut new, &options, progress)?;
    drop(old_files);
    let mut prepared = None;
    for target in new.into_iter().rev() {
        prepared = target.finish()?.or(prepared);
    }
    backup::sync_directory_of(first)
        .map_err(|error| from_io("reshard the store", first, &error))?;
    let prepared = prepared.expect("the first file is among all");
    let live = old.first_mut().expect("a store has a first file");
    // Once more on either side of the step that decides, so that a test can stop it there.
    progress(entries, entries);
    prepared.put_alone(live, first)?;
    progress(entries, entries);
    drop(old);
    remove_files(first, before)?;
    Ok(Resharded { before, entries, left })
}

/// Opens a file of the old store so that nobody else has it, or can have it, open.
fn open_alone(path: &Path, options: &StoreOptions) -> Result<Connection, Error> {
    // Whatever opening a store looks at is looked at here too.
    drop(file::open_for_writing(path, options)?);
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| match is_busy(&error) {
        true => Error::new(ErrorKind::Conflict, "reshard the store").subject(&*subject).detail(
            "somebody has it open; stop the servers and programs that use it, and run this again",
        ),
        false => from_driver("reshard the store", &subject, &error),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    // Before anything is read: then the lock of the file itself is taken, and kept.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(failed)?;
    Ok(connection)
}

/// Removes all but the first file of a store in `count` files, where there are any.
fn remove_files(first: &Path, count: u32) -> Result<(), Error> {
    for place in 1..count {
        let path = path_of(first, place, count);
        match fs::remove_dir_all(Directory::of(&path).path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(from_io("remove values that are not used any more", &path, &error));
            }
            _ => {}
        }
        // The file last: without it the others are nothing.
        for suffix in ["-wal", "-shm", "-journal", "-witness", "-claim", "-corrupt", ""] {
            let path = beside(&path, suffix);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(from_io("remove a file that is not used any more", &path, &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A new file on its way.
struct Target {
    connection: Connection,
    /// Where it will be.
    path: PathBuf,
    life: Life,
    /// Of the first file only, whose name is taken.
    aside: Option<Aside>,
    values: Arc<Values>,
    /// Those that came from other files: theirs until the end.
    published: Vec<Arc<Published>>,
    regions: HashMap<String, i64>,
    tags: HashMap<(i64, String), i64>,
}

impl Target {
    fn make_all(first: &Path, count: u32) -> Result<Vec<Self>, Error> {
        let family = life::random()?;
        let make = |place| {
            let label = Label { place, count, family, moment: 0 };
            Self::make(path_of(first, place, count), label)
        };
        (0..count).map(make).collect()
    }

    fn make(path: PathBuf, label: Label) -> Result<Self, Error> {
        let aside = (label.place == 0).then(|| Aside::beside(&path)).transpose()?;
        let at = aside.as_ref().map_or(&path, |aside| &aside.path);
        let (life, subject) = (Life::new()?, path.display().to_string());
        let made = Connection::open(at).and_then(|connection| {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            // If anything fails the file is thrown away.
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.execute_batch("BEGIN")?;
            schema::create(&connection)?;
            life.write(&connection)?;
            if 1 < label.count {
                label.write(&connection)?;
            }
            Ok(connection)
        });
        let connection = made.map_err(|error| from_driver("make a store", &subject, &error))?;
        let (values, published) = (Values::of(&path), Vec::new());
        let (regions, tags) = (HashMap::new(), HashMap::new());
        Ok(Self { connection, path, life, aside, values, published, regions, tags })
    }

    /// Writes a row of an old file; its number.
    fn take(&mut self, region: &str, row: &Row<'_>, tags: &[String]) -> rusqlite::Result<i64> {
        let connection = &self.connection;
        let region = match self.regions.get(region) {
            Some(id) => *id,
            None => {
                let mut make = connection.prepare_cached("INSERT INTO region(name) VALUES (?1)")?;
                let id = make.insert([region])?;
                self.regions.insert(region.to_owned(), id);
                id
            }
        };
        let mut ids = Vec::with_capacity(tags.len());
        for name in tags {
            let known = self.tags.get(&(region, name.clone())).copied();
            ids.push(match known {
                Some(id) => id,
                None => {
                    let id = connection
                        .prepare_cached("INSERT INTO tag(region, name) VALUES (?1, ?2)")?
                        .insert((region, name))?;
                    self.tags.insert((region, name.clone()), id);
                    id
                }
            });
        }
        ids.sort_unstable();
        let numbers: Vec<String> = ids.iter().map(i64::to_string).collect();
        let numbers = (!numbers.is_empty()).then(|| format!("[{}]", numbers.join(",")));
        let as_it_is = |column| row.get_ref(column).map(ToSqlOutput::Borrowed);
        let id = connection
            .prepare_cached(
                "INSERT INTO entry(region, key, expires, created, accessed, reads, size, form, \
                 tags, checksum, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .insert(params![
                region,
                as_it_is(1)?,
                as_it_is(2)?,
                as_it_is(3)?,
                as_it_is(4)?,
                as_it_is(5)?,
                as_it_is(6)?,
                as_it_is(7)?,
                numbers,
                as_it_is(9)?,
                as_it_is(10)?,
            ])?;
        let mut tag =
            connection.prepare_cached("INSERT INTO tagged(tag, entry) VALUES (?1, ?2)")?;
        ids.iter().try_for_each(|number| tag.execute((number, id)).map(drop))?;
        Ok(id)
    }

    /// Takes over the value of the row `entry`, which is the file `name` of `source`.
    fn take_file(
        &mut self,
        entry: i64,
        source: &Directory,
        name: Name,
        reference: Reference,
    ) -> Result<(), Error> {
        let file = self.values.take_over(source, name, reference)?;
        self.values.directory().flush(file.name)?;
        let bytes = i64::try_from(reference.bytes).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("INSERT INTO filed(entry, name, bytes) VALUES (?1, ?2, ?3)")
            .and_then(|mut note| note.execute((entry, file.name, bytes)))
            .map_err(|error| from_driver("reshard the store", "its files", &error))?;
        self.published.push(file);
        Ok(())
    }

    /// Verifies the file and sees it to the disk; the first one as what is to be put into its
    /// place.
    fn finish(self) -> Result<Option<Prepared>, Error> {
        let Self { connection, path, life, aside, values, published, .. } = self;
        if !published.is_empty() {
            values.directory().flush_names()?;
        }
        let subject = path.display().to_string();
        connection
            .execute_batch(
                "INSERT INTO total(region, entries, bytes)
                 SELECT region, count(*), sum(size) FROM entry GROUP BY region;
                 COMMIT",
            )
            .map_err(|error| from_driver("make a store", &subject, &error))?;
        drop(connection);
        let at = aside.as_ref().map_or(&path, |aside| &aside.path);
        let report = check::check(&backup::open(at)?, values.directory(), Depth::Quick)?;
        report.require("reshard the store", &subject)?;
        if let Some(aside) = aside {
            return Prepared::open(aside, &subject).map(Some);
        }
        let synced = fs::File::open(at).and_then(|file| file.sync_all());
        synced.map_err(|error| from_io("reshard the store", at, &error))?;
        witness::write(&path, &life)?;
        Ok(None)
    }
}

/// Copies what is there from the old files to the new ones; how many entries, and how many were
/// left because they depend on something.
fn copy(
    old: &[(&Connection, Directory)],
    new: &mut [Target],
    options: &StoreOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(u64, u64), Error> {
    let failed = |error: rusqlite::Error| from_driver("reshard the store", "its files", &error);
    let (mut all, mut left) = (0, 0);
    for (connection, _) in old {
        all += count(connection, "entry").map_err(failed)?;
        left += count(connection, "linked").map_err(failed)?;
    }
    let mut done = 0;
    for (connection, directory) in old {
        let now = millis(options.clock.wall());
        let mut read = connection
            .prepare(
                "SELECT r.name, e.key, e.expires, e.created, e.accessed, e.reads, e.size, e.form, \
                 e.tags, e.checksum, e.value, f.name \
                 FROM entry e JOIN region r ON r.id = e.region LEFT JOIN filed f ON f.entry = e.id \
                 WHERE (e.expires IS NULL OR ?1 < e.expires) \
                 AND NOT EXISTS(SELECT 1 FROM dead WHERE dead.entry = e.id) \
                 AND NOT EXISTS(SELECT 1 FROM linked WHERE linked.entry = e.id)",
            )
            .map_err(failed)?;
        let mut rows = read.query([now]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            move_row((connection, directory), row, new)?;
            done += 1;
            if done % PIECE == 0 {
                progress(done, all);
            }
        }
    }
    progress(done, done);
    Ok((done, left))
}

fn move_row(
    (old, directory): (&Connection, &Directory),
    row: &Row<'_>,
    new: &mut [Target],
) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| from_driver("reshard the store", "its files", &error);
    let region: String = row.get(0).map_err(failed)?;
    // What no larder wrote is found by nobody, and a check tells of it.
    let Some(key) = row.get_ref(1).map(RowKey::read).map_err(failed)? else { return Ok(()) };
    let place = place_of(&region, key, new.len());
    let Some(target) = new.get_mut(place) else { return Ok(()) };
    let names = tags_of(old, row).map_err(failed)?;
    let entry = target.take(&region, row, &names).map_err(failed)?;
    let name: Option<Name> = row.get(11).map_err(failed)?;
    let Some(name) = name else { return Ok(()) };
    let value: Vec<u8> = row.get(10).map_err(failed)?;
    match Reference::decode(&value) {
        Some(reference) => target.take_file(entry, directory, name, reference),
        None => Err(Error::new(ErrorKind::Corrupt, "reshard the store")
            .subject(directory.path_of(name).display().to_string())
            .detail("its entry does not say what is in it; `larder cache check` tells of all")),
    }
}

/// The tags of a row, by name.
fn tags_of(old: &Connection, row: &Row<'_>) -> rusqlite::Result<Vec<String>> {
    let tags: Option<String> = row.get(8)?;
    let mut names = Vec::new();
    let mut name = old.prepare_cached("SELECT name FROM tag WHERE id = ?1")?;
    let numbers = tags.iter().flat_map(|tags| tags.trim_matches(['[', ']']).split(','));
    for number in numbers.filter_map(|number| number.parse::<i64>().ok()) {
        names.extend(name.query_row([number], |row| row.get::<_, String>(0)).optional()?);
    }
    Ok(names)
}

fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let count = |row: &Row<'_>| row.get(0).map(i64::cast_unsigned);
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], count)
}
