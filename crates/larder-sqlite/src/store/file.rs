//! Opening a store file: for the writer, which makes it, and for readers.
//!
//! Apart from `connection`, which opens files that belong to somebody else and may never write.
//! **Invariant**: in this process nothing but SQLite opens or closes a store file, because closing
//! another descriptor of it would drop the locks that SQLite holds.

use std::{fs, path::Path, time::Duration};

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    life::{Continuity, Life},
    options::{Eviction, StoreOptions},
    schema::{self, Found},
    witness::{self, beside},
};
use crate::error::{from_driver, is_busy};

/// The pause before a file is asked once more for a write-ahead log. Whoever is in the way looks at
/// a page or two.
const LOG_STEP: Duration = Duration::from_millis(1);

/// Opens `path` for writing, and makes it a store if there is nothing.
///
/// # Errors
/// `Unavailable`, `ReadOnly`, `Full`, `Corrupt`, or `Unsupported`; the file is then as it was.
pub(crate) fn open_for_writing(path: &Path, options: &StoreOptions) -> Result<Connection, Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let log = match fs::metadata(beside(path, "-wal")) {
        Ok(log) if 0 < log.len() => Log::Left,
        _ => Log::None,
    };
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Whatever is wrong with it, a log that is not its own must not become part of the file.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    connection.busy_timeout(options.busy).map_err(failed)?;
    if schema::look(&connection, &subject)? == Found::Empty {
        // Only before the first table is there a choice (SD17).
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    tune(&connection, options, Mapped::Nothing).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", false).map_err(failed)?;
    // A new life must not be lost.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let mode = begin_log(&connection, options).map_err(failed)?;
    if mode != "wal" {
        return Err(Error::new(ErrorKind::Unsupported, "open the store")
            .subject(subject)
            .detail(format!("its journal is `{mode}` and cannot be a write-ahead log here")));
    }
    // Copied by the keeper, so that no write pays for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Somebody else may have made it since.
    let found = schema::look(&transaction, &subject)?;
    let life = live_on(&transaction, path, found, log)?;
    if found == Found::Earlier {
        schema::upgrade(&transaction).map_err(failed)?;
    }
    index_by(options.eviction, &transaction).map_err(failed)?;
    if let Some(life) = life {
        witness::write(path, &life)?;
    }
    transaction.commit().map_err(failed)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    // What was looked at is its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    Ok(connection)
}

/// Gives a file a write-ahead log; how it keeps its journal now.
///
/// SQLite waits for nobody who looks at the file meanwhile, as others do that open it for the first
/// time, too.
fn begin_log(connection: &Connection, options: &StoreOptions) -> rusqlite::Result<String> {
    let mut left = options.busy;
    loop {
        match keep_journal(connection, "WAL") {
            Err(error) if is_busy(&error) && !left.is_zero() => {
                let pause = LOG_STEP.min(left);
                std::thread::sleep(pause);
                left -= pause;
            }
            begun => return begun,
        }
    }
}

/// Changes how a file keeps its journal; how it does now.
pub(crate) fn keep_journal(connection: &Connection, mode: &str) -> rusqlite::Result<String> {
    let mut change = connection.prepare(&format!("PRAGMA main.journal_mode = {mode}"))?;
    let mut rows = change.query([])?;
    let mut mode = String::new();
    // To the end: the answer comes before the change is written, and may be all that happens.
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

/// Whether there was a write-ahead log beside a file before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    None,
    Left,
}

/// Compares the file with its witness; the life that begins, if one does.
///
/// # Errors
/// `Corrupt` when the file is another store's and there was a log: both may be that store's, but if
/// only the log is, a mixture of the two would be read.
fn live_on(
    connection: &Connection,
    path: &Path,
    found: Found,
    log: Log,
) -> Result<Option<Life>, Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
    let life = if found == Found::Empty {
        schema::create(connection).map_err(failed)?;
        Life::new()?
    } else {
        let life = Life::read(connection, &subject)?;
        schema::complete(connection).map_err(failed)?;
        let seen = witness::read(path)?;
        if log == Log::Left && seen.is_some_and(|seen| seen.id != life.id) {
            return Err(Error::new(ErrorKind::Corrupt, "open the store").subject(subject).detail(
                "the `-wal` file beside it, or both, belong to another store; if both were copied \
                 here, remove the `-witness` file",
            ));
        }
        match life.since(seen.as_ref()) {
            Continuity::Unbroken => return Ok(None),
            Continuity::Broken(why) => {
                tracing::warn!(store = %subject, "the store begins a new epoch: {why}");
                life.renewed()?
            }
        }
    };
    life.write(connection).map_err(failed)?;
    Ok(Some(life))
}

/// Opens `path`, which a writer has opened before, for reading.
pub(crate) fn open_for_reading(path: &Path, options: &StoreOptions) -> Result<Connection, Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(options.busy).map_err(failed)?;
    tune(&connection, options, Mapped::AsAsked).map_err(failed)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    Ok(connection)
}

/// How long the keeper may make others wait for a lock that it waits for.
pub(crate) const KEEPER_BUSY: Duration = Duration::from_millis(10);

/// Opens `path` for looking after it: reading, and copying the write-ahead log.
pub(crate) fn open_for_keeping(path: &Path, options: &StoreOptions) -> Result<Connection, Error> {
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(KEEPER_BUSY).map_err(failed)?;
    tune(&connection, options, Mapped::AsAsked).map_err(failed)?;
    Ok(connection)
}

/// How much of the file a connection maps into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    /// For whoever writes: SQLite would look into the log for each page that it reads before it
    /// takes the one it has, since that one might be in the map.
    Nothing,
    AsAsked,
}

fn tune(connection: &Connection, options: &StoreOptions, mapped: Mapped) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    let kibibytes = i64::try_from(options.page_cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kibibytes)?;
    let mapped = match mapped {
        Mapped::Nothing => 0,
        Mapped::AsAsked => i64::try_from(options.mmap_bytes).unwrap_or(i64::MAX),
    };
    connection.query_row(&format!("PRAGMA main.mmap_size = {mapped}"), [], |_| Ok(())).or_else(
        // Where nothing can be mapped there is no answer.
        |error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        },
    )?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

/// Makes the index that `eviction` needs, and drops those of other policies.
pub(crate) fn index_by(eviction: Eviction, connection: &Connection) -> rusqlite::Result<()> {
    let wanted = match eviction {
        Eviction::LeastRecent => Some("evict_recent"),
        Eviction::LeastFrequent => Some("evict_frequent"),
        Eviction::Oldest | Eviction::Refuse => None,
        Eviction::OfOthers => return Ok(()),
    };
    schema::index_for(connection, wanted)
}

#[cfg(test)]
mod tests {
    use larder_testkit::temp::TempDir;

    use super::*;

    #[test]
    fn whoever_writes_has_nothing_mapped() {
        let place = TempDir::new("file").unwrap();
        let (path, options) = (place.join("cache.db"), StoreOptions::new().mmap(1 << 20));
        let mapped = |connection: Connection| -> i64 {
            connection.query_row("PRAGMA main.mmap_size", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(mapped(open_for_writing(&path, &options).unwrap()), 0);
        assert_eq!(mapped(open_for_reading(&path, &options).unwrap()), 1 << 20);
    }
}
