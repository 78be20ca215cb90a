//! The claim: who keeps tracked entries in a store.
//!
//! A cache knows what was invalidated by name in its own process only, so no two of them may share
//! tracked entries. **Invariant**: at most one claim on a file at any time, in whatever process; it
//! ends with the process, and not before the last write that was begun under it.

use std::{path::Path, time::Duration};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::witness::beside;
use crate::error::{from_driver, is_busy};

/// How long a cache that is just being closed may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A lock on a small database beside the store: SQLite knows how to lock on every file system where
/// it knows how to keep data.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "it holds the lock")] Mutex<Connection>);

impl Claim {
    /// Claims the store at `path`; blocks for up to a second.
    ///
    /// # Errors
    /// `Conflict` when another cache has it.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let subject = path.display().to_string();
        let failed = |error: rusqlite::Error| match is_busy(&error) {
            true => Error::new(ErrorKind::Conflict, "claim the store").subject(&*subject).detail(
                "another cache keeps tracked values in it; close that one, or give this one a \
                 file of its own",
            ),
            false => from_driver("claim the store", &subject, &error),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(beside(path, "-claim"), flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        connection.execute_batch("BEGIN EXCLUSIVE").map_err(failed)?;
        Ok(Self(Mutex::new(connection)))
    }
}
