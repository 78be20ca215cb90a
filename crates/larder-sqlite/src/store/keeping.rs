//! Keeping: which cache keeps, in a store, the timelines of origins that cannot be shared.
//!
//! Where an origin has no log of its own, each cache counts the changes that it notices, so what
//! two of them know cannot be put into one standing. Places of a log can: see `standing`.
//! **Invariant**: at most one cache keeps such origins in a file at any time, in whatever process;
//! it ends with the process, and not before the last write that was begun under it.

use std::{path::Path, time::Duration};

use larder_core::Error;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::witness::beside;
use crate::error::{from_driver, is_busy};

/// How long a cache that is just being closed may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A lock on a small database beside the store: SQLite knows how to lock on every file system where
/// it knows how to keep data.
#[derive(Debug)]
pub(crate) struct Keeping(#[expect(dead_code, reason = "it holds the lock")] Mutex<Connection>);

impl Keeping {
    /// Begins to keep the origins of the store at `path`; blocks for up to a second. `None` when
    /// another cache does.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, Error> {
        let subject = path.display().to_string();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let locked = || {
            let connection = Connection::open_with_flags(beside(path, "-origins"), flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.execute_batch("BEGIN EXCLUSIVE")?;
            Ok(connection)
        };
        match locked() {
            Ok(connection) => Ok(Some(Self(Mutex::new(connection)))),
            Err(error) if is_busy(&error) => Ok(None),
            Err(error) => Err(from_driver("attach to the store", &subject, &error)),
        }
    }
}
