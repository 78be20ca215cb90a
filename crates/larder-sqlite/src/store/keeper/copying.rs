//! Copying the write-ahead log into the file, so that it can be begun anew.
//!
//! Apart from what else the keeper does, because it is the only part that whoever writes may have
//! to wait for. **Invariant**: no page is copied while there is doubt about the log or the file.

use std::sync::atomic::Ordering;

use larder_core::Error;
use rusqlite::Connection;

use super::{Haste, Shared};
use crate::{
    error::from_flush,
    header::HeaderFile,
    store::{
        doubt::Settled,
        file,
        pace::Hold,
        writer::{Leaves, Writing},
    },
};

/// Pages of the log that a write may have to wait for, and how often it is tried to get there
/// without anybody waiting. What is left after that depends on how much is written meanwhile.
const PAGES_AWAITED: u64 = 256;
const COPIES_MAX: usize = 16;

/// How many times as long as it should be the log may become before a write waits for whatever is
/// left of it. With ten times more, all of that has to be read when it is opened again.
const LENGTHS_MAX: u64 = 4;

/// The write-ahead log, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    pub(crate) pages: u64,
    pub(crate) copied: u64,
    /// Whether somebody kept it from being done as far as it was asked for.
    is_busy: bool,
}

impl Log {
    /// Pages that are not in the file yet.
    pub(crate) fn left(self) -> u64 {
        self.pages.saturating_sub(self.copied)
    }
}

/// How far the log is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    /// Not at all: it is only looked at.
    Noop,
    /// As far as nobody has to be waited for.
    Passive,
    /// All of it, so that the next write begins it anew.
    Restart,
    /// All of it, and it is empty then.
    Truncate,
}

impl Checkpoint {
    fn sql(self) -> &'static str {
        match self {
            Self::Noop => "PRAGMA main.wal_checkpoint(NOOP)",
            Self::Passive => "PRAGMA main.wal_checkpoint(PASSIVE)",
            Self::Restart => "PRAGMA main.wal_checkpoint(RESTART)",
            Self::Truncate => "PRAGMA main.wal_checkpoint(TRUNCATE)",
        }
    }
}

/// The write-ahead log, after it was copied so far.
pub(crate) fn wal(connection: &Connection, checkpoint: Checkpoint) -> Result<Log, Error> {
    let number = |row: &rusqlite::Row<'_>, at| {
        row.get::<_, i64>(at).map(|pages| u64::try_from(pages).unwrap_or(0))
    };
    connection
        .prepare_cached(checkpoint.sql())
        .and_then(|mut copy| {
            copy.query_row([], |row| {
                let is_busy = row.get::<_, i64>(0)? != 0;
                Ok(Log { pages: number(row, 1)?, copied: number(row, 2)?, is_busy })
            })
        })
        .map_err(Writing::failed("copy the write-ahead log"))
}

impl Shared {
    /// Copies the write-ahead log into the file.
    pub(super) fn copy(&self, connection: &Connection, haste: Haste) -> Result<(), Error> {
        let writes = self.queue.writes.load(Ordering::Relaxed);
        self.queue.pace.is_seen_to();
        if self.queue.doubt.is_there() {
            // Whoever takes the lock settles it first: no page is copied that the log may lose.
            self.queue.write_durably_blocking(|_| Ok(()))?;
        }
        if self.queue.doubt.is_of_file() {
            let (doubt, options) = (self.queue.doubt.clone(), self.options.clone());
            let settled = self.queue.alone_blocking(Leaves::Nothing, move |connection| {
                doubt.settle_file(connection, &options)
            })?;
            if settled == Settled::NotYet {
                return Ok(());
            }
        }
        let done = if haste == Haste::Now { &self.emptied } else { &self.copied };
        if done.load(Ordering::Relaxed) == writes {
            return Ok(());
        }
        if haste == Haste::Now {
            // Somebody may still read what is in it; then it is tried again.
            if !wal(connection, Checkpoint::Truncate)?.is_busy {
                self.copied.store(writes, Ordering::Relaxed);
                self.emptied.store(writes, Ordering::Relaxed);
            }
            return Ok(());
        }
        let length = self.queue.pace.limit();
        if wal(connection, Checkpoint::Noop)?.pages < length {
            return Ok(());
        }
        let _hold = self.copy_beside(connection)?;
        let begun = self.begin_anew(length.saturating_mul(LENGTHS_MAX))?;
        self.is_read.store(begun.is_busy, Ordering::Relaxed);
        if !begun.is_busy {
            self.copied.store(writes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies what nobody waits for. Who writes meanwhile adds to the log, which is begun anew only
    /// when all of it was copied: so who adds much is held back from the second time on, until what
    /// is returned is dropped.
    fn copy_beside(&self, connection: &Connection) -> Result<Option<Hold<'_>>, Error> {
        let (mut before, mut hold) = (u64::MAX, None);
        for _ in 0..COPIES_MAX {
            self.copy_and_flush(connection)?;
            // What was added since it began is not in its answer.
            let left = wal(connection, Checkpoint::Noop)?.left();
            if left <= PAGES_AWAITED || before <= left {
                break;
            }
            before = left;
            hold.get_or_insert_with(|| self.queue.pace.hold());
        }
        Ok(hold)
    }

    /// Copies once, and flushes the file. SQLite does so only when nobody wrote meanwhile, and then
    /// whoever begins the log anew waits for everything that was copied.
    fn copy_and_flush(&self, connection: &Connection) -> Result<(), Error> {
        wal(connection, Checkpoint::Passive)?;
        let Some(file) = self.flushed.get_or_init(|| self.open_to_flush()) else { return Ok(()) };
        let flushed =
            file.flush().map_err(|error| from_flush("flush the store", &self.path, &error));
        // Noted at once: who asks the disk next may hear that all is well.
        flushed.inspect_err(|error| self.queue.doubt.note(error))
    }

    /// What the file is flushed with, if that is possible.
    fn open_to_flush(&self) -> Option<HeaderFile> {
        let opened = HeaderFile::open_to_flush(&self.path).ok().flatten();
        opened.filter(|file| self.identity == Some(file.identity()))
    }

    /// Copies the rest, if that is little or the log has become as long as `limit` pages. On the
    /// writer's own thread, so that the next write begins the moment that it ends.
    fn begin_anew(&self, limit: u64) -> Result<Log, Error> {
        let busy = self.options.busy;
        self.queue.alone_blocking(Leaves::Nothing, move |connection| {
            let failed = Writing::failed("copy the write-ahead log");
            // A reader that never ends keeps the log from being begun anew.
            connection.busy_timeout(file::KEEPER_BUSY).map_err(failed)?;
            let log = wal(connection, Checkpoint::Noop).and_then(|log| {
                match log.left() <= PAGES_AWAITED || limit <= log.pages {
                    true => wal(connection, Checkpoint::Restart),
                    false => Ok(log),
                }
            });
            connection.busy_timeout(busy).map_err(failed)?;
            log
        })
    }
}
