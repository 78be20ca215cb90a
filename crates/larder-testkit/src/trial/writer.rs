//! The writer: transactions of every kind, and a note of each row that they leave behind.
//!
//! It runs in a process of its own, driven through its standard input, so that the locks and the
//! change counters are those of a stranger. **Invariant**: versions of one row grow in the order of
//! its commits, because a version is taken from the clock while the write lock is held.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    path::Path,
    thread,
    time::Duration,
};

use larder_core::Clock;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Trouble,
    database::{BUCKETS, ITEMS, OWNERS, connect},
};
use crate::{
    history::{Outcome, Written},
    random::Random,
};

/// Rows that are written most, so that readers and writers meet.
pub(super) const HOT: i64 = 6;

/// The row that a crowd of entries depends on; it changes seldom enough for the crowd to gather.
pub(super) const CROWDED: i64 = ITEMS - 1;

/// One transaction in this many changes the crowded row.
const CROWDED_ONE_IN: u64 = 150;

/// What a transaction leaves: for each row its bucket, or that it is gone.
type Left = BTreeMap<i64, Option<i64>>;

/// One who writes, with a number below 16.
pub(super) struct Writer {
    connection: Connection,
    clock: Clock,
    random: Random,
    number: u64,
}

impl Writer {
    pub(super) fn new(path: &Path, random: Random, number: u64) -> Result<Self, Trouble> {
        Ok(Self { connection: connect(path)?, clock: Clock::system(), random, number })
    }

    /// Writes every row once.
    pub(super) fn fill(&mut self) -> Result<Vec<Written>, Trouble> {
        self.transact(Outcome::Committed, |writer, left, version| {
            (0..ITEMS).try_for_each(|id| writer.put(id, version, left))
        })
    }

    /// One transaction of a random kind.
    pub(super) fn any(&mut self) -> Result<Vec<Written>, Trouble> {
        let outcome = match self.random.below(8) {
            0 => Outcome::RolledBack,
            _ => Outcome::Committed,
        };
        let kind = self.random.below(12);
        self.transact(outcome, |writer, left, version| match kind {
            0..6 => {
                let id = writer.row();
                writer.put(id, version, left)
            }
            6..8 => {
                let ids = [writer.row(), writer.row(), writer.row()];
                ids.into_iter().try_for_each(|id| writer.put(id, version, left))
            }
            8..10 => {
                let id = writer.row();
                writer.displace(id, version, left)
            }
            10 => {
                let id = writer.row();
                writer.remove(id, left)
            }
            _ => writer.cascade(left),
        })
    }

    fn row(&mut self) -> i64 {
        if self.random.once_in(CROWDED_ONE_IN) {
            CROWDED
        } else if self.random.once_in(4) {
            self.random.below((ITEMS - 1).cast_unsigned()).cast_signed()
        } else {
            self.random.below(HOT.cast_unsigned()).cast_signed()
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_micros()
    }

    fn transact(
        &mut self,
        outcome: Outcome,
        write: impl FnOnce(&mut Self, &mut Left, i64) -> Result<(), Trouble>,
    ) -> Result<Vec<Written>, Trouble> {
        let began = self.now();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let version = (self.now() << 4) | self.number;
        let mut left = Left::new();
        let written = write(self, &mut left, version.cast_signed());
        self.connection.execute_batch(match (&written, outcome) {
            (Ok(()), Outcome::Committed) => "COMMIT",
            _ => "ROLLBACK",
        })?;
        written?;
        let ended = self.now();
        let note = |(row, bucket)| Written { row, version, bucket, began, ended, outcome };
        Ok(left.into_iter().map(note).collect())
    }

    /// Inserts the row or changes it in place; now and then it moves to another bucket.
    fn put(&mut self, id: i64, version: i64, left: &mut Left) -> Result<(), Trouble> {
        let sql = "SELECT bucket FROM item WHERE id = ?1";
        let at: Option<i64> =
            self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        let moves = at.is_none() || self.random.once_in(4);
        let bucket = match at {
            Some(bucket) if !moves => bucket,
            _ => self.random.below(BUCKETS.cast_unsigned()).cast_signed(),
        };
        // A code that no other row has: versions are far above the codes that are displaced.
        self.connection
            .prepare_cached(
                "INSERT INTO item(id, bucket, code, owner, version) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT(id) DO UPDATE SET bucket = ?2, version = ?5",
            )?
            .execute([id, bucket, version.wrapping_mul(ITEMS) + id, id % OWNERS, version])?;
        left.insert(id, Some(bucket));
        Ok(())
    }

    /// Takes the code of another row by REPLACE, which removes that row without a DELETE.
    fn displace(&mut self, id: i64, version: i64, left: &mut Left) -> Result<(), Trouble> {
        let other = self.row();
        let sql = "SELECT code FROM item WHERE id = ?1 AND id <> ?2";
        let code: Option<i64> = self
            .connection
            .prepare_cached(sql)?
            .query_row([other, id], |row| row.get(0))
            .optional()?;
        let Some(code) = code else { return self.put(id, version, left) };
        let bucket = self.random.below(BUCKETS.cast_unsigned()).cast_signed();
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO item(id, bucket, code, owner, version)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute([id, bucket, code, id % OWNERS, version])?;
        left.insert(other, None);
        left.insert(id, Some(bucket));
        Ok(())
    }

    fn remove(&mut self, id: i64, left: &mut Left) -> Result<(), Trouble> {
        if 0 < self.connection.prepare_cached("DELETE FROM item WHERE id = ?1")?.execute([id])? {
            left.insert(id, None);
        }
        Ok(())
    }

    /// Removes an owner, and by a foreign key its items; then the owner comes back.
    fn cascade(&mut self, left: &mut Left) -> Result<(), Trouble> {
        let owner = self.row() % OWNERS;
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM item WHERE owner = ?1")?;
        let ids: Result<Vec<i64>, _> = statement.query_map([owner], |row| row.get(0))?.collect();
        left.extend(ids?.into_iter().map(|id| (id, None)));
        self.connection.execute("DELETE FROM owner WHERE id = ?1", [owner])?;
        self.connection.execute("INSERT INTO owner VALUES (?1)", [owner])?;
        Ok(())
    }
}

/// The longest pause between two transactions.
const PAUSE_MICROS: u64 = 1_500;

/// What a writer process does: for each line with a number of milliseconds on its input it writes
/// for so long, then says what it wrote, and `done`.
///
/// # Errors
/// Whatever keeps it from writing or from being heard.
pub(super) fn serve(path: &Path, seed: u64, number: u64) -> Result<(), Trouble> {
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let clock = Clock::system();
    let mut random = Random::new(seed).split(number);
    for line in input.lines() {
        let until = clock.now().plus(Duration::from_millis(line?.trim().parse()?));
        let mut writer = Writer::new(path, random.split(random.clone().next()), number)?;
        random.next();
        let mut notes = Vec::new();
        while clock.now() < until {
            notes.extend(writer.any()?);
            let pause = writer.random.below(PAUSE_MICROS);
            // A pace, not a wait for something: what is tested does not depend on it.
            thread::park_timeout(Duration::from_micros(pause));
        }
        drop(writer);
        for note in notes {
            writeln!(output, "{note}")?;
        }
        writeln!(output, "done")?;
        output.flush()?;
    }
    Ok(())
}
