//! Which store a file is, and which life of it: what tells a file from its own past.
//!
//! A file that is copied back has forgotten what came after the copy was made, and nothing inside
//! it can know. So its newest place in the timeline `app` is also written beside it, and the two
//! are compared when it is opened. **Invariant**: a store that is behind its witness begins a new
//! epoch before anything is read from it; a log that belongs to another store is never read at all.

use larder_core::{Epoch, Error, ErrorKind, Position};
use rusqlite::Connection;

use super::writer::Writing;
use crate::error::from_driver;

/// The one row of `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// Which store.
    pub(crate) id: u64,
    /// Which unbroken life of its timeline.
    pub(crate) epoch: Epoch,
    /// How far that timeline got.
    pub(crate) position: Position,
    /// A random number that came with that position.
    pub(crate) nonce: u64,
}

/// Whether a file goes on where its witness saw it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    Unbroken,
    /// And why not.
    Broken(&'static str),
}

impl Life {
    /// A store that has no past.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { id: random()?, epoch: Epoch(random()?), position: Position::START, nonce: 0 })
    }

    /// The same store in a new life.
    pub(crate) fn renewed(self) -> Result<Self, Error> {
        Ok(Self { epoch: Epoch(random()?), position: Position::START, nonce: 0, ..self })
    }

    /// Reads the row.
    ///
    /// # Errors
    /// `Corrupt` when the write-ahead log that lies beside the file is not its own.
    pub(crate) fn read(connection: &Connection, path: &str) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| from_driver("open the store", path, &error);
        let (life, sealed) = connection
            .prepare_cached(
                "SELECT id, epoch, position, nonce, \
                 (SELECT bytes FROM total WHERE region = 0) FROM store",
            )
            .and_then(|mut read| {
                read.query_row([], |row| {
                    let number = |index| row.get(index).map(i64::cast_unsigned);
                    let (id, epoch) = (number(0)?, Epoch(number(1)?));
                    let (position, nonce) = (Position(number(2)?), number(3)?);
                    let sealed: Option<i64> = row.get(4)?;
                    Ok((Self { id, epoch, position, nonce }, sealed))
                })
            })
            .map_err(failed)?;
        if sealed == Some(life.id.cast_signed()) {
            return Ok(life);
        }
        Err(Error::new(ErrorKind::Corrupt, "open the store").subject(path).detail(
            "parts of it belong to another store: the `-wal` file beside it is not its own; put \
             the right one there, or restore a backup",
        ))
    }

    /// Writes the row, and the number of the store where every commit writes.
    pub(crate) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let signed = u64::cast_signed;
        let (epoch, position) = (signed(self.epoch.0), signed(self.position.0));
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO store(one, id, epoch, position, nonce) \
                 VALUES (1, ?1, ?2, ?3, ?4)",
            )?
            .execute((signed(self.id), epoch, position, signed(self.nonce)))?;
        connection
            .prepare_cached(
                "INSERT INTO total(region, entries, bytes) VALUES (0, 0, ?1) \
                 ON CONFLICT(region) DO UPDATE SET bytes = excluded.bytes",
            )?
            .execute([signed(self.id)])
            .map(drop)
    }

    /// Compares the file with what lay beside it.
    ///
    /// A file that is ahead is unbroken: the process ended between the two.
    pub(crate) fn since(&self, witness: Option<&Self>) -> Continuity {
        let Some(seen) = witness else {
            return Continuity::Broken("there is no witness beside it");
        };
        if (self.id, self.epoch) != (seen.id, seen.epoch) {
            return Continuity::Broken("it is another file than the one that was here");
        }
        if self.position < seen.position {
            return Continuity::Broken("it is older than it was: its last changes are missing");
        }
        if self.position == seen.position && self.nonce != seen.nonce {
            return Continuity::Broken("its last change is another one than it was");
        }
        Continuity::Unbroken
    }
}

/// Moves the timeline `app` of the store to `position`, inside the transaction of the change that
/// stands there; the random number that comes with it. The witness is written with the commit.
pub(crate) fn advance(writing: &mut Writing<'_>, position: Position) -> Result<u64, Error> {
    let nonce = random()?;
    writing
        .connection
        .prepare_cached("UPDATE store SET position = ?1, nonce = ?2")
        .and_then(|mut update| update.execute((position.0.cast_signed(), nonce.cast_signed())))
        .map_err(Writing::failed("note a change"))?;
    *writing.has_advanced = true;
    Ok(nonce)
}

/// Counts a commit. It is part of each, so that every write-ahead log says whose it is.
pub(crate) fn count_commit(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE total SET entries = entries + 1 WHERE region = 0")?
        .execute([])
        .map(drop)
}

pub(crate) fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "draw a random number").detail(error.to_string())
    })
}

#[cfg(test)]
mod tests;
