//! Opening connections: read-only, never creating, never `immutable`, and how to ask small things.
//!
//! Readers, watcher and analysis open alike, so it is written once. **Invariant**: a connection
//! made here cannot write, and whoever holds one knows which file it reads.

use std::{path::Path, time::Duration};

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{error::from_driver, header::HeaderFile, identity::Identity};

/// A read-only connection and the file it reads.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) header: HeaderFile,
    pub(crate) identity: Identity,
}

/// Opens `path` for reading, waiting up to `busy` where somebody holds a lock.
///
/// # Errors
/// `NotFound` when there is no such file, `Unavailable` when it cannot be opened or was replaced in
/// between, `Corrupt` when it is no database.
pub(crate) fn open(path: &Path, busy: Duration) -> Result<Opened, Error> {
    let header = HeaderFile::open(path).map_err(|error| unreadable(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .and_then(|connection| prepare_for_reading(&connection, busy).map(|()| connection))
        .map_err(|error| failed(path, &error))?;
    // SQLite has the file open by now. If the path leads to the same file after as before, then
    // that is the file it opened.
    let identity = Identity::of(path).map_err(|error| unreadable(path, &error))?;
    if identity != header.identity() {
        return Err(Error::new(ErrorKind::Unavailable, "open")
            .subject(path.display().to_string())
            .detail("the file was replaced while it was being opened"));
    }
    Ok(Opened { connection, header, identity })
}

/// Opens a file that was there before: if it is not there now, it may come back.
///
/// # Errors
/// As [`open`], with `Unavailable` in place of `NotFound`.
pub(crate) fn reopen(path: &Path, busy: Duration) -> Result<Opened, Error> {
    open(path, busy).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Unavailable, "open")
            .subject(path.display().to_string())
            .detail("the file is gone"),
        _ => error,
    })
}

fn prepare_for_reading(connection: &Connection, busy: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Copying the log into the database is writing, also for the last one to leave.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "query_only", true)
}

/// The version of the schema; inside a transaction this is what begins its snapshot.
pub(crate) fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA main.schema_version")?.query_row([], |row| row.get(0))
}

/// A number that moves whenever another connection committed. Only this connection's own earlier
/// number may be compared with it.
pub(crate) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA main.data_version")?.query_row([], |row| row.get(0))
}

/// Runs `read` inside one read transaction, which is ended whatever happens.
pub(crate) fn in_snapshot<T, E: From<rusqlite::Error>>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    let result = read(connection);
    let ended = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    if ended.is_err() && !connection.is_autocommit() {
        // An interrupt may have ended the transaction already; else nothing may keep it open.
        connection.execute_batch("ROLLBACK").ok();
    }
    result
}

pub(crate) fn failed(path: &Path, error: &rusqlite::Error) -> Error {
    from_driver("read", &path.display().to_string(), error)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    let detail = match kind {
        ErrorKind::NotFound => {
            "there is no such file; larder never creates an origin's database, so create it with \
             the application first, or correct the path"
                .to_owned()
        }
        _ => error.to_string(),
    };
    Error::new(kind, "open").subject(path.display().to_string()).detail(detail)
}
