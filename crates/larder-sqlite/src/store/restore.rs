//! Putting the content of a backup into a store, whether it is in use or not.
//!
//! No file is exchanged: the pages of a prepared copy are written through SQLite into the file that
//! is there, in one transaction. So every reader of every process sees the old content or the new
//! one, no `-wal` is left from another file, and what fails changes nothing (SD13). **Invariant**:
//! a number means one region across a restore, and what is restored is in an epoch of its own, so
//! that nothing in it counts as fresh that was invalidated after it was saved (J5).

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc};

use larder_core::{Error, ErrorKind};
use rusqlite::{
    Connection,
    backup::{Backup as Copy, StepResult},
};

use super::{
    backup::{self, Aside},
    check::{self, Depth},
    file, filed, health,
    life::{self, Life},
    options::{Eviction, StoreOptions},
    schema::{self, Found},
    shards::{self, Label},
    value_file::{Directory, Name},
    values::{Published, Values},
    witness,
};
use crate::error::from_driver;

/// How often another process may make a region while ours is about to take the lock.
const ATTEMPTS: usize = 5;

/// A verified copy beside the store, ready to be put into it.
#[derive(Debug)]
pub(crate) struct Prepared {
    connection: Connection,
    life: Life,
    aside: Aside,
    /// The files that it names, which fly until it is in the store.
    files: Vec<Arc<Published>>,
}

impl Prepared {
    /// Copies the backup at `from` to a place beside `store` and looks at all of the copy.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` or `Unsupported` for what is no sound backup; `Full`.
    pub(crate) fn of_backup(
        from: &Path,
        store: &Path,
        values: &Arc<Values>,
    ) -> Result<Self, Error> {
        let source = backup::open(from)?;
        let aside = Aside::beside(store)?;
        backup::copy(&source, &aside.path, &mut |_| ControlFlow::Continue(()))?;
        let subject = from.display().to_string();
        let mut prepared = Self::open(aside, &subject)?;
        let directory = Directory::of(from);
        check::check(&prepared.connection, &directory, Depth::Full)?
            .require("restore a backup", &subject)?;
        prepared.files = prepared.take_files_over(&directory, values, &subject)?;
        Ok(prepared)
    }

    /// Gives the store files of its own for what the backup has in files, under names that nothing
    /// has that is in the store already.
    fn take_files_over(
        &self,
        source: &Directory,
        values: &Arc<Values>,
        subject: &str,
    ) -> Result<Vec<Arc<Published>>, Error> {
        let failed = |error: rusqlite::Error| from_driver("prepare a restore", subject, &error);
        let connection = &self.connection;
        connection.execute_batch("DELETE FROM loose; DELETE FROM unflushed;").map_err(failed)?;
        let mut files = Vec::new();
        for holder in filed::holders(connection).map_err(failed)? {
            let Some(reference) = holder.reference else { continue };
            let file = values.take_over(source, holder.name, reference)?;
            values.directory().flush(file.name)?;
            connection
                .prepare_cached("UPDATE filed SET name = ?2 WHERE entry = ?1")
                .and_then(|mut rename| rename.execute((holder.entry, file.name)))
                .map_err(failed)?;
            files.push(file);
        }
        if !files.is_empty() {
            values.directory().flush_names()?;
        }
        Ok(files)
    }

    /// A store with nothing in it.
    pub(crate) fn empty(store: &Path, label: Option<Label>) -> Result<Self, Error> {
        let aside = Aside::beside(store)?;
        let subject = store.display().to_string();
        let failed = |error: rusqlite::Error| from_driver("make a store", &subject, &error);
        let connection = Connection::open(&aside.path).map_err(failed)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
        let life = Life::new()?;
        connection
            .execute_batch("BEGIN")
            .and_then(|()| schema::create(&connection))
            .and_then(|()| life.write(&connection))
            .and_then(|()| label.map_or(Ok(()), |label| label.write(&connection)))
            .and_then(|()| connection.execute_batch("COMMIT"))
            .map_err(failed)?;
        drop(connection);
        Self::open(aside, &subject)
    }

    /// The copy at `aside`, which was verified.
    pub(crate) fn open(aside: Aside, subject: &str) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| from_driver("prepare a restore", subject, &error);
        let connection = Connection::open(&aside.path).map_err(failed)?;
        // If anything fails the file is thrown away.
        connection.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        let life = Life::read(&connection, subject)?;
        if schema::look(&connection, subject)? == Found::Earlier {
            connection
                .execute_batch("BEGIN")
                .and_then(|()| schema::upgrade(&connection))
                .and_then(|()| connection.execute_batch("COMMIT"))
                .map_err(failed)?;
        }
        Ok(Self { connection, life, aside, files: Vec::new() })
    }

    /// Whether the file `name` is one that comes with it.
    pub(crate) fn brings(&self, name: Name) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// Puts the content into the store that `live` writes to.
    ///
    /// # Errors
    /// `Unavailable` when somebody else writes for too long, `Conflict` when somebody else makes
    /// regions all the time, `Full`; the store is then as it was.
    pub(crate) fn put_into(
        mut self,
        live: &mut Connection,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<(), Error> {
        let subject = path.display().to_string();
        let failed = |error: rusqlite::Error| from_driver("restore a backup", &subject, &error);
        // A restore that was acknowledged must not be undone by a failure of power.
        let number = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let synchronous = live.query_row("PRAGMA main.synchronous", [], number).map_err(failed)?;
        live.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let mut result = Err(Error::new(ErrorKind::Conflict, "restore a backup")
            .subject(&*subject)
            .detail("another process makes new regions all the time"));
        for _ in 0..ATTEMPTS {
            if let Some(ended) = self.attempt(live, path, options).transpose() {
                result = ended;
                break;
            }
        }
        if result.is_ok() {
            // The faults that were found were in what is gone.
            health::unmark(path);
        }
        // It has happened or not, whatever becomes of this: flushing too often is no fault.
        live.pragma_update(None, "synchronous", synchronous).ok();
        result
    }

    /// Puts the content into the store that `live` writes to, and that nobody else has open.
    ///
    /// # Errors
    /// Those of writing; the store is then as it was.
    pub(crate) fn put_alone(mut self, live: &mut Connection, path: &Path) -> Result<(), Error> {
        let subject = path.display().to_string();
        let failed = |error: rusqlite::Error| from_driver("exchange the content", &subject, &error);
        live.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let before = Present::read(live, &subject)?;
        self.adapt(&before, Eviction::OfOthers, &subject)?;
        witness::write(path, &self.life)?;
        let copied = Copy::new(&self.connection, live)
            .map_err(failed)
            .and_then(|copy| backup::run(&copy, &subject, &mut |_| ControlFlow::Continue(())));
        if let (Err(_), Some(life)) = (&copied, &before.life) {
            // Else the next one to open the store would begin a new epoch for nothing.
            witness::write(path, life).ok();
        }
        copied
    }

    /// One attempt; `None` when the store changed what the copy was prepared for.
    fn attempt(
        &mut self,
        live: &mut Connection,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<Option<()>, Error> {
        let subject = path.display().to_string();
        let failed = |error: rusqlite::Error| from_driver("restore a backup", &subject, &error);
        let before = Present::read(live, &subject)?;
        self.adapt(&before, options.eviction, &subject)?;
        let copy = Copy::new(&self.connection, live).map_err(failed)?;
        // With no page at all it takes the lock, under which nobody can write any more.
        if copy.step(0).map_err(failed)? != StepResult::More {
            return Err(Error::new(ErrorKind::Unavailable, "restore a backup")
                .subject(subject)
                .detail(format!("somebody else writes for more than {:?}", options.busy)));
        }
        let other = file::open_for_reading(path, options)?;
        if Present::read(&other, &subject)? != before {
            return Ok(None);
        }
        drop(other);
        witness::write(path, &self.life)?;
        let copied = backup::run(&copy, &subject, &mut |_| ControlFlow::Continue(()));
        if let (Err(_), Some(life)) = (&copied, &before.life) {
            // Else the next one to open the store would begin a new epoch for nothing.
            witness::write(path, life).ok();
        }
        copied.map(Some)
    }

    /// Makes the copy one that can take the place of what is there: its regions have the numbers
    /// that they have there, it has the index of those who evict there, and it is the same store in
    /// a new life.
    fn adapt(&mut self, present: &Present, eviction: Eviction, subject: &str) -> Result<(), Error> {
        self.life = present.life.unwrap_or(self.life).renewed()?;
        let life = self.life;
        // A number that somebody remembers must not come to mean another region. Nobody has seen
        // these: they are drawn from 2^46.
        let base = i64::try_from(life::random()? >> 18).unwrap_or(i64::MAX >> 17);
        let adapted = || {
            let transaction = self.connection.unchecked_transaction()?;
            schema::complete(&transaction)?;
            match &present.regions {
                Some(regions) => renumber(&transaction, regions)?,
                None => {
                    let own = regions(&transaction)?.into_keys().chain([UNKNOWN.to_owned()]);
                    renumber(&transaction, &own.zip(base..).collect())?;
                }
            }
            match &present.index {
                Some(index) if eviction == Eviction::OfOthers => {
                    schema::index_for(&transaction, Some(index))?;
                }
                _ => file::index_by(eviction, &transaction)?,
            }
            // Who loads now did not when the copy was made (J5).
            transaction.execute("DELETE FROM claim", [])?;
            // And what is in the line is of another life.
            transaction.execute("DELETE FROM announced", [])?;
            life.write(&transaction)?;
            transaction.commit()
        };
        adapted().map_err(|error| from_driver("prepare a restore", subject, &error))
    }

    /// Changes what the copy says of itself as one file of several.
    pub(crate) fn relabel(&self, change: impl FnOnce(Label) -> Label) -> Result<(), Error> {
        let failed = |error| from_driver("prepare a restore", "the copy", &error);
        match shards::label_in(&self.connection).map_err(failed)? {
            Some(label) => change(label).write(&self.connection).map_err(failed),
            None => Ok(()),
        }
    }

    /// Gives the copy the name `path`, where there is no file.
    pub(crate) fn publish(mut self, path: &Path) -> Result<(), Error> {
        // Whoever opens it makes the index.
        let nothing = Present { regions: Some(BTreeMap::new()), ..Present::default() };
        self.adapt(&nothing, Eviction::OfOthers, &path.display().to_string())?;
        drop(self.connection);
        witness::write(path, &self.life)?;
        self.aside.publish(path)
    }
}

/// A region that nobody has, with the least of the numbers that are drawn anew: those of regions to
/// come are above it.
const UNKNOWN: &str = "\u{0}";

/// What a restore must not change about a store.
#[derive(Debug, Default, PartialEq, Eq)]
struct Present {
    life: Option<Life>,
    /// `None` where they cannot be read.
    regions: Option<BTreeMap<String, i64>>,
    /// The index of those who evict.
    index: Option<String>,
}

impl Present {
    /// Reads it; nothing, where it cannot be read for corruption.
    fn read(connection: &Connection, subject: &str) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| from_driver("restore a backup", subject, &error);
        let or_nothing = |error: Error| match error.kind() {
            ErrorKind::Corrupt => Ok(Self::default()),
            _ => Err(error),
        };
        let read = || {
            let life = Some(Life::read(connection, subject)?);
            let regions = Some(regions(connection).map_err(failed)?);
            let index = schema::indexes(connection).map_err(failed)?.pop();
            Ok(Self { life, regions, index })
        };
        read().or_else(or_nothing)
    }
}

fn regions(connection: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    connection
        .prepare("SELECT name, id FROM region")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Gives the regions of a file the numbers that they have in `present`, and adds those that it has
/// not.
fn renumber(connection: &Connection, present: &BTreeMap<String, i64>) -> rusqlite::Result<()> {
    let own = regions(connection)?;
    let taken: Vec<i64> = present.values().copied().collect();
    let mut free = taken.iter().chain(own.values()).copied().max().unwrap_or(0);
    let mut union = present.clone();
    let mut moves = Vec::new();
    for (name, id) in own {
        let wanted = match present.get(&name) {
            Some(wanted) => *wanted,
            None if taken.contains(&id) => {
                free += 1;
                free
            }
            None => id,
        };
        if wanted != id {
            moves.push((id, wanted));
        }
        union.insert(name, wanted);
    }
    // By way of negative numbers, so that two that change places do not meet.
    for table in ["entry", "tag", "total"] {
        let mut step =
            connection.prepare(&format!("UPDATE {table} SET region = -?2 WHERE region = ?1"))?;
        moves.iter().try_for_each(|pair| step.execute(*pair).map(drop))?;
        connection.execute(&format!("UPDATE {table} SET region = -region WHERE region < 0"), [])?;
    }
    connection.execute("DELETE FROM region", [])?;
    let mut insert = connection.prepare("INSERT INTO region(name, id) VALUES (?1, ?2)")?;
    union.iter().try_for_each(|pair| insert.execute(pair).map(drop))
}
