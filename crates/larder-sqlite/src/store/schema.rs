//! The tables of a store file, and what makes a file one.
//!
//! It stands apart from `file` because the format outlives every way of opening it.
//! **Invariant**: a file that is not a store of a known version is left exactly as it was.
//!
//! | table | what |
//! |---|---|
//! | `region` | the names of regions; rows are never deleted, so that a number means one region |
//! | `entry` | one row for each entry; the value stands last, to be passed over when not read |
//! | `tag`, `tagged` | labels by number, and which entries have them |
//! | `dead` | entries that were deleted and whose rows are not removed yet; no read sees them |
//! | `total` | entries and bytes of each region, written in the transaction that changes them |
//! | `store` | one row: which store this is, and which life of it |
//! | `standing` | how far each timeline was applied to the entries |
//! | `link`, `linked` | which entries a touched digest reaches, and the digests of each entry |
//! | `removal` | one row: how many removals there were, with random numbers for the last two |
//! | `scheme` | by which columns entries choose rows, to be registered in another life |
//! | `claim` | which key is being loaded by whom, for other processes |
//! | `filed`, `loose`, `unflushed` | values in files of their own: see `filed` |
//! | `announced` | the last of what was invalidated by name, for other processes |
//!
//! The row 0 of `total` belongs to no region: it is written by every commit and holds their number
//! and the store's own. The row of `store` is hardly ever written. So a write-ahead log that
//! belongs to another store shows in the one and not in the other.

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use crate::{connection::in_snapshot, error::from_driver};

/// `LARD`, in the field of the header that names the application.
pub(crate) const APPLICATION: i64 = 0x4c41_5244;

/// The version of the tables below.
pub(crate) const FORMAT: i64 = 2;

/// The version before values could be in files.
const WITHOUT_FILES: i64 = 1;

const TABLES: &str = "
CREATE TABLE region(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE entry(
  id INTEGER PRIMARY KEY,
  region INTEGER NOT NULL,
  key ANY NOT NULL,
  expires INTEGER,
  created INTEGER NOT NULL,
  accessed INTEGER NOT NULL,
  reads INTEGER NOT NULL,
  size INTEGER NOT NULL,
  form INTEGER NOT NULL,
  tags TEXT,
  checksum INTEGER NOT NULL,
  value BLOB
) STRICT;
CREATE UNIQUE INDEX entry_key ON entry(region, key);
CREATE INDEX entry_expires ON entry(expires) WHERE expires IS NOT NULL;
CREATE TABLE tag(id INTEGER PRIMARY KEY, region INTEGER NOT NULL, name TEXT NOT NULL,
  UNIQUE(region, name)) STRICT;
CREATE TABLE tagged(tag INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY(tag, entry))
  STRICT, WITHOUT ROWID;
CREATE TABLE dead(entry INTEGER PRIMARY KEY) STRICT;
CREATE TABLE total(region INTEGER PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL)
  STRICT;
CREATE TABLE store(one INTEGER PRIMARY KEY CHECK(one = 1), id INTEGER NOT NULL,
  epoch INTEGER NOT NULL, position INTEGER NOT NULL, nonce INTEGER NOT NULL) STRICT;
CREATE TABLE standing(timeline TEXT PRIMARY KEY, epoch INTEGER NOT NULL, position INTEGER NOT NULL,
  floor INTEGER NOT NULL, mark BLOB) STRICT, WITHOUT ROWID;
CREATE TABLE link(digest INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY(digest, entry))
  STRICT, WITHOUT ROWID;
CREATE TABLE linked(entry INTEGER PRIMARY KEY, digests BLOB NOT NULL) STRICT;
CREATE TABLE scheme(digest INTEGER PRIMARY KEY, dependency BLOB NOT NULL) STRICT;
";

/// What a store that was made by an earlier version may lack. It was empty there.
const LATER: &str = "
CREATE TABLE IF NOT EXISTS removal(one INTEGER PRIMARY KEY CHECK(one = 1),
  position INTEGER NOT NULL, before INTEGER NOT NULL, nonce INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO removal VALUES (1, 0, 0, random());
CREATE TABLE IF NOT EXISTS claim(region INTEGER NOT NULL, key ANY NOT NULL, owner INTEGER NOT NULL,
  number INTEGER NOT NULL, beaten INTEGER NOT NULL, deadline INTEGER NOT NULL,
  attempt INTEGER NOT NULL, PRIMARY KEY(region, key)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS filed(entry INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE,
  bytes INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS loose(name BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unflushed(name BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS announced(position INTEGER PRIMARY KEY, nonce INTEGER NOT NULL,
  author INTEGER NOT NULL, upto INTEGER NOT NULL, mode INTEGER NOT NULL,
  everything INTEGER NOT NULL, digests BLOB NOT NULL, tables BLOB NOT NULL, what TEXT NOT NULL)
  STRICT;
";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// A store of this version.
    Store,
    /// A store of the version before it.
    Earlier,
}

/// Looks at what `connection` opened, without changing anything.
///
/// # Errors
/// `Corrupt` when it is no database, `Unsupported` when it is another one or a later version.
pub(crate) fn look(connection: &Connection, path: &str) -> Result<Found, Error> {
    if !connection.is_autocommit() {
        return look_at(connection, path);
    }
    // Somebody may make it a store between two of the numbers.
    in_snapshot(connection, |connection| rusqlite::Result::Ok(look_at(connection, path)))
        .map_err(|error| from_driver("open the store", path, &error))
        .flatten()
}

fn look_at(connection: &Connection, path: &str) -> Result<Found, Error> {
    let number = |pragma: &str| -> Result<i64, Error> {
        connection
            .query_row(&format!("PRAGMA main.{pragma}"), [], |row| row.get(0))
            .map_err(|error| from_driver("open the store", path, &error))
    };
    let refuse = |detail: String| {
        Err(Error::new(ErrorKind::Unsupported, "open the store").subject(path).detail(detail))
    };
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION, FORMAT) => Ok(Found::Store),
        (APPLICATION, WITHOUT_FILES) => Ok(Found::Earlier),
        (APPLICATION, later) => refuse(format!(
            "its format is {later}, and this larder knows {FORMAT}; use the larder that wrote it, \
             or give another path"
        )),
        _ if number("schema_version")? == 0 && number("page_count")? <= 1 => Ok(Found::Empty),
        _ => {
            refuse("it is a database of something else; give the path of a file of its own".into())
        }
    }
}

/// Makes an empty file a store, in the transaction that is open.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    upgrade(connection)
}

/// Makes a store of the version before one of this version, in the transaction that is open.
pub(crate) fn upgrade(connection: &Connection) -> rusqlite::Result<()> {
    complete(connection)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Adds what is not there yet, in the transaction that is open. Writes nothing to a store that has
/// it all.
pub(crate) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(LATER)
}

/// The indexes there are that find what goes first.
pub(crate) fn indexes(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND name GLOB 'evict_*'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Creates the index that finds what goes first, and drops those of other policies.
pub(crate) fn index_for(connection: &Connection, wanted: Option<&str>) -> rusqlite::Result<()> {
    for name in indexes(connection)?.iter().filter(|name| Some(name.as_str()) != wanted) {
        connection.execute_batch(&format!("DROP INDEX \"{name}\""))?;
    }
    let columns = match wanted {
        Some("evict_recent") => "accessed",
        Some("evict_frequent") => "reads, accessed",
        _ => return Ok(()),
    };
    let name = wanted.unwrap_or_default();
    // Pinned entries have the third bit of `form`.
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS {name} ON entry({columns}) WHERE form & 4 = 0"
    ))
}
