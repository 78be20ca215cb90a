//! Rows whose value is in a file: which file, and which files are not needed any more.
//!
//! | table | what |
//! |---|---|
//! | `filed` | the file of each entry that has one |
//! | `loose` | files whose entry is gone, until they are removed |
//! | `unflushed` | files that a failure of power may have taken a part of |
//!
//! **Invariant**: a name is in `filed` or in `loose`, never in both, and what is in `loose` is
//! never named by a row again. A row goes together with its name.

use std::{cell::RefCell, collections::BTreeSet, fs::File};

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension};

use super::{
    check::Depth,
    entry::{Stored, ValueKind},
    options::Durability,
    packing::{self, Packing},
    value_file::{Directory, Name, Reference},
    values::Published,
    writer::Writing,
};

/// How often a reader may find that the file of a value was removed because the value was replaced.
/// Files are removed about once a second, so one more look is enough.
const SNAPSHOTS: usize = 3;

/// Notes that the value of the row `entry`, which was just written, is in `file`.
///
/// # Errors
/// `Unavailable` when somebody took the file for garbage.
pub(crate) fn note(connection: &Connection, entry: i64, file: &Published) -> Result<(), Error> {
    let failed = Writing::failed("write an entry");
    let is_loose = connection
        .prepare_cached("SELECT 1 FROM loose WHERE name = ?1")
        .and_then(|mut find| find.exists([file.name]))
        .map_err(failed)?;
    // Under the lock that also those need who call a file loose.
    if is_loose || !file.is_there() {
        return Err(Error::new(ErrorKind::Unavailable, "write an entry")
            .detail("somebody removed the file of its value; write it again"));
    }
    let bytes = i64::try_from(file.reference.bytes).unwrap_or(i64::MAX);
    connection
        .prepare_cached("INSERT INTO filed(entry, name, bytes) VALUES (?1, ?2, ?3)")
        .and_then(|mut note| note.execute((entry, file.name, bytes)))
        .map_err(failed)?;
    if file.flushed == Durability::Durable {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT INTO unflushed(name) VALUES (?1)")
        .and_then(|mut note| note.execute([file.name]))
        .map(drop)
        .map_err(failed)
}

/// Notes that the row `entry` does not need its file any more.
pub(crate) fn loosen(connection: &Connection, entry: i64) -> rusqlite::Result<()> {
    let name: Option<Name> = connection
        .prepare_cached("DELETE FROM filed WHERE entry = ?1 RETURNING name")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    let Some(name) = name else { return Ok(()) };
    connection.prepare_cached("DELETE FROM unflushed WHERE name = ?1")?.execute([name])?;
    note_loose(connection, name)
}

/// Notes that nobody needs the file `name`.
pub(crate) fn note_loose(connection: &Connection, name: Name) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO loose(name) VALUES (?1)")?
        .execute([name])
        .map(drop)
}

/// Whether a row names the file, or it is known that none does.
pub(crate) fn is_known(connection: &Connection, name: Name) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 WHERE EXISTS(SELECT 1 FROM filed WHERE name = ?1) \
             OR EXISTS(SELECT 1 FROM loose WHERE name = ?1)",
        )?
        .exists([name])
}

/// How many values are in files, and how many bytes they have there.
pub(crate) fn totals(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |row: &rusqlite::Row<'_>, at| {
        row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
    };
    connection
        .prepare_cached("SELECT count(*), ifnull(sum(bytes), 0) FROM filed")?
        .query_row([], |row| Ok((number(row, 0)?, number(row, 1)?)))
}

/// An entry whose value is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) entry: i64,
    pub(crate) name: Name,
    /// `None` when the row does not say it, or does not say it right.
    pub(crate) reference: Option<Reference>,
}

/// Everything in files, as `connection` sees it.
pub(crate) fn holders(connection: &Connection) -> rusqlite::Result<Vec<Holder>> {
    holders_where(connection, "")
}

/// Those among it that a failure of power may have taken a part of.
pub(crate) fn unflushed(connection: &Connection) -> rusqlite::Result<Vec<Holder>> {
    holders_where(connection, "WHERE f.name IN (SELECT name FROM unflushed)")
}

fn holders_where(connection: &Connection, condition: &str) -> rusqlite::Result<Vec<Holder>> {
    let sql = format!(
        "SELECT f.entry, f.name, e.value FROM filed f LEFT JOIN entry e ON e.id = f.entry \
         {condition} ORDER BY f.name"
    );
    let holder = |row: &rusqlite::Row<'_>| {
        let value: Option<Vec<u8>> = row.get(2)?;
        let reference = value.and_then(|value| Reference::decode(&value));
        Ok(Holder { entry: row.get(0)?, name: row.get(1)?, reference })
    };
    connection.prepare_cached(&sql)?.query_map([], holder)?.collect()
}

impl Holder {
    /// # Errors
    /// `Corrupt` when the file is not what the row says.
    pub(crate) fn verify(&self, directory: &Directory, depth: Depth) -> Result<(), Error> {
        match &self.reference {
            Some(reference) => directory.verify(self.name, reference, depth),
            None => Err(Error::new(ErrorKind::Corrupt, "check a value file")
                .subject(directory.path_of(self.name).display().to_string())
                .detail("its entry does not say what is in it")),
        }
    }
}

/// A value as its row has it.
#[derive(Debug)]
pub(crate) enum Kept {
    /// All of it.
    Here(Stored),
    /// In a file.
    Filed(Filed),
}

/// What a row says of a value that is in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filed {
    pub(crate) kind: ValueKind,
    pub(crate) packing: Packing,
    pub(crate) reference: Reference,
}

/// A value that can be read whatever becomes of its row.
#[derive(Debug)]
pub(crate) enum Opened {
    Here(Stored),
    Filed { directory: Directory, name: Name, file: File, filed: Filed },
}

impl Opened {
    /// Reads it. Blocks.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written, `Limit` for one of more than `bytes_max`.
    pub(crate) fn read(self, bytes_max: u64) -> Result<Stored, Error> {
        match self {
            Self::Here(stored) => Ok(stored),
            Self::Filed { directory, name, file, filed: Filed { kind, packing, reference } } => {
                let content = directory.read(name, file, &reference)?;
                let bytes = match packing {
                    Packing::Plain => content,
                    Packing::Zstd => packing::unpack(&content, bytes_max)?,
                };
                Ok(Stored { kind, bytes })
            }
        }
    }
}

impl Kept {
    /// Opens what the row `entry` keeps, under the lock of whoever writes or in a snapshot; the
    /// name of a file that is not there.
    pub(crate) fn open(
        self,
        connection: &Connection,
        entry: i64,
        directory: &Directory,
    ) -> Result<Result<Opened, Name>, Error> {
        let filed = match self {
            Self::Here(stored) => return Ok(Ok(Opened::Here(stored))),
            Self::Filed(filed) => filed,
        };
        let name: Option<Name> = connection
            .prepare_cached("SELECT name FROM filed WHERE entry = ?1")
            .and_then(|mut find| find.query_row([entry], |row| row.get(0)).optional())
            .map_err(Writing::failed("read an entry"))?;
        let name = name.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "read an entry")
                .detail("no file is named for its value; remove it or write it again")
        })?;
        let directory = directory.clone();
        Ok(match directory.open(name)? {
            Some(file) => Ok(Opened::Filed { directory, name, file, filed }),
            None => Err(name),
        })
    }
}

/// Reads values from files, snapshot after snapshot.
///
/// A file is removed only after the commit that made it loose, so a file that is missing means that
/// the snapshot is old, unless one that began after it was missed still names it.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    directory: &'a Directory,
    missed_before: BTreeSet<Name>,
    missed: RefCell<BTreeSet<Name>>,
}

impl<'a> Reader<'a> {
    /// Runs `read` in one snapshot after the other, each begun by `read`, until all files were
    /// there; in the last one, what was replaced meanwhile is absent.
    pub(crate) fn run<T>(
        directory: &'a Directory,
        mut read: impl FnMut(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (missed_before, missed) = (BTreeSet::new(), RefCell::default());
        let mut reader = Self { directory, missed_before, missed };
        for _ in 1..SNAPSHOTS {
            let result = read(&reader)?;
            let missed = reader.missed.take();
            if missed.is_empty() {
                return Ok(result);
            }
            reader.missed_before.extend(missed);
        }
        read(&reader)
    }

    /// The value that the row `entry` keeps; `None` when it was replaced meanwhile.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written, `Limit` for one of more than `bytes_max`.
    pub(crate) fn read(
        &self,
        connection: &Connection,
        entry: i64,
        kept: Kept,
        bytes_max: u64,
    ) -> Result<Option<Stored>, Error> {
        match kept.open(connection, entry, self.directory)? {
            Ok(opened) => opened.read(bytes_max).map(Some),
            Err(name) if self.missed_before.contains(&name) => Err(self.directory.missing(name)),
            Err(name) => {
                self.missed.borrow_mut().insert(name);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
