//! The bare side: SQLite's own statements on a file that a store made.
//!
//! Settings are those of the store, the limit of the write-ahead log too. **Invariant**: one row in
//! `entry` is all that it reads or writes; there are no tags, no totals and no checksum.

use std::path::Path;

use anyhow::{Context, Result};
use larder_sqlite::store::SqliteStore;
use rusqlite::{Connection, OptionalExtension};

use super::{REGION, fill};

/// When a commit reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synchronous {
    Normal,
    Full,
}

impl Synchronous {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// A connection with its statements.
#[derive(Debug)]
pub(super) struct Bare(Connection);

impl Bare {
    /// Makes a store of `count` entries at `path` and closes it.
    pub(super) async fn make(path: &Path, count: u64) -> Result<()> {
        let store = SqliteStore::open(path).await?;
        store.entries(REGION).insert("first", super::entry(0)).await?;
        fill(&store, count).await
    }

    pub(super) fn open(path: &Path, synchronous: Synchronous) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA cache_size = -65536; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY;
             PRAGMA wal_autocheckpoint = 4096; PRAGMA synchronous = {}",
            synchronous.word()
        ))?;
        Ok(Self(connection))
    }

    pub(super) fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.0
            .prepare_cached("SELECT value FROM entry WHERE region = 1 AND key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?
            .context("an entry is missing")
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut set = self.0.prepare_cached(
            "INSERT INTO entry(region, key, created, accessed, reads, size, form, checksum, value)
             VALUES (1, ?1, ?2, ?2, 0, ?3, 2, 0, ?4) ON CONFLICT(region, key) DO UPDATE SET
             created = excluded.created, reads = 0,
             size = excluded.size, value = excluded.value",
        )?;
        let now = crate::writer::now() / 1_000_000;
        let size = i64::try_from(key.len() + value.len())?;
        set.execute((key, now, size, value))?;
        Ok(())
    }

    /// Runs `work` in one transaction.
    pub(super) fn in_one(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        work()?;
        Ok(self.0.execute_batch("COMMIT")?)
    }
}
