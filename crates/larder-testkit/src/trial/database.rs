//! The database of the history test, and what can be done to it from outside.
//!
//! **Invariant**: whoever changes rows here does it in one transaction and notes it as a writer
//! does.

use std::{fs, io, path::Path, time::Duration};

use rusqlite::Connection;

use super::{Journal, Trouble};

/// Rows of `item`.
pub(super) const ITEMS: i64 = 64;

/// Values of `bucket`.
pub(super) const BUCKETS: i64 = 8;

/// Rows of `owner`; removing one removes its items.
pub(super) const OWNERS: i64 = 16;

/// Rows of `slow`: a join of it with itself takes SQLite about half a millisecond.
const SLOW: i64 = 60;

const SCHEMA: &str = "
    CREATE TABLE owner(id INTEGER PRIMARY KEY);
    CREATE TABLE item(
        id INTEGER PRIMARY KEY,
        bucket INTEGER NOT NULL,
        code INTEGER NOT NULL UNIQUE,
        owner INTEGER NOT NULL REFERENCES owner(id) ON DELETE CASCADE,
        version INTEGER NOT NULL
    );
    CREATE INDEX item_bucket ON item(bucket);
    CREATE INDEX item_owner ON item(owner);
    CREATE TABLE slow(n INTEGER PRIMARY KEY);";

/// The same table again without its triggers, which die with the old one.
const REBUILD: &str = "
    CREATE TABLE item_new(
        id INTEGER PRIMARY KEY,
        bucket INTEGER NOT NULL,
        code INTEGER NOT NULL UNIQUE,
        owner INTEGER NOT NULL REFERENCES owner(id) ON DELETE CASCADE,
        version INTEGER NOT NULL
    );
    INSERT INTO item_new SELECT * FROM item;
    DROP TABLE item;
    ALTER TABLE item_new RENAME TO item;
    CREATE INDEX item_bucket ON item(bucket);
    CREATE INDEX item_owner ON item(owner);";

impl Journal {
    fn name(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Delete => "delete",
        }
    }
}

/// A connection as an application would have it.
pub(super) fn connect(path: &Path) -> Result<Connection, Trouble> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What a power cut would leave behind is not what is tested here.
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// Makes the database, without items.
pub(super) fn create(path: &Path, journal: Journal) -> Result<(), Trouble> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", journal.name())?;
    connection.execute_batch(SCHEMA)?;
    for id in 0..OWNERS {
        connection.execute("INSERT INTO owner VALUES (?1)", [id])?;
    }
    for n in 0..SLOW {
        connection.execute("INSERT INTO slow VALUES (?1)", [n])?;
    }
    Ok(())
}

/// Moves the schema on by one table that nobody reads.
pub(super) fn alter(path: &Path, number: u32) -> Result<(), Trouble> {
    connect(path)?.execute_batch(&format!("CREATE TABLE extra_{number}(x)"))?;
    Ok(())
}

/// Puts a table of the same name and content in place of `item`.
pub(super) fn rebuild(path: &Path) -> Result<(), Trouble> {
    let connection = connect(path)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {REBUILD} COMMIT;"))?;
    Ok(())
}

/// Empties the log of changes, read or not.
pub(super) fn lose_log(path: &Path) -> Result<(), Trouble> {
    connect(path)?.execute_batch("DELETE FROM larder_log")?;
    Ok(())
}

/// A copy of the database at `path`, in the same journal mode.
pub(super) fn copy(path: &Path, to: &Path, journal: Journal) -> Result<(), Trouble> {
    let connection = connect(path)?;
    let name = to.to_str().ok_or("the temporary directory has a name that is not text")?;
    connection.execute("VACUUM INTO ?1", [name])?;
    let copy = Connection::open(to)?;
    copy.pragma_update(None, "journal_mode", journal.name())?;
    Ok(())
}

/// Puts the file `with` in place of the one at `path`. Nobody may be writing.
pub(super) fn replace(path: &Path, with: &Path, journal: Journal) -> Result<(), Trouble> {
    if journal == Journal::Wal {
        let connection = connect(path)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    // What is left beside the old file belongs to it, not to the new one.
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(fs::rename(with, path)?)
}
