//! Whether the disk gives the pages of a file at all, before anybody believes that they are wrong.
//!
//! SQLite calls a page that cannot be read (`EIO`) corrupt. For a store that would mean that it is
//! put aside because of a cable that was loose for a second. Only the copying of pages tells the
//! two apart. **Invariant**: a file is called corrupt, and replaced, only if every page of it could
//! be read, or if what was read of it is no database.

use std::path::Path;

use larder_core::{Error, ErrorKind};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup as Copy, StepResult},
    config::DbConfig,
    ffi,
};

use crate::error::from_driver;

/// Reads all pages of the file at `path`, which may be no database.
///
/// # Errors
/// `Unavailable` when one of them cannot be read, `Full` when they find no room for the look.
///
/// # Cost
/// Copies the file into a temporary one that has no name.
pub(crate) fn require(path: &Path) -> Result<(), Error> {
    let subject = path.display().to_string();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        // Nothing of a log that may be another's comes into the file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    });
    require_of(&opened.map_err(|error| from_driver("read the store", &subject, &error))?, &subject)
}

/// Does `work` with the file at `path`, and once more if it seems corrupt and can be read.
///
/// # Errors
/// Those of `work`; `Corrupt` only if it was met twice.
pub(crate) fn look_twice<T>(path: &Path, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    work().or_else(|error| match error.kind() {
        ErrorKind::Corrupt => require(path).and_then(|()| work()),
        _ => Err(error),
    })
}

/// As [`require`], for a connection that has it open.
pub(crate) fn require_of(connection: &Connection, subject: &str) -> Result<(), Error> {
    match read_all(connection) {
        Err(error) => {
            let error = from_driver("read the store", subject, &error);
            // What was read and makes no sense was read.
            if error.kind() == ErrorKind::Corrupt { Ok(()) } else { Err(error) }
        }
        Ok(()) => Ok(()),
    }
}

fn read_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut nowhere = Connection::open("")?;
    nowhere.pragma_update(None, "journal_mode", "OFF")?;
    nowhere.pragma_update(None, "synchronous", "OFF")?;
    // In one step: between two of them a writer could make it begin again, for ever.
    match Copy::new(connection, &mut nowhere)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
    }
}
