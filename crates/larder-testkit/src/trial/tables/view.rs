//! What loads see of the file: all of it, or what it was when that was last looked at.
//!
//! SQLite shows a commit before anybody can be told of it. Other databases do not, so one kind of
//! view is a transaction that stays open: it is behind until it is moved on. **Invariant**: a view
//! never goes back.

use std::path::{Path, PathBuf};

use larder_core::{Error, ErrorKind};
use larder_table::Record;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::super::{Trouble, database::connect};

/// A record of the tables under test.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) bucket: i64,
    pub(super) version: u64,
    /// The version of the bucket's label, in joined records.
    pub(super) label: Option<u64>,
}

impl Record for Row {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

/// Which records are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    /// Rows, as they are.
    Rows,
    /// Rows, as they were.
    RowsLate,
    /// Rows with the labels of their buckets, as they were.
    JoinedLate,
}

impl Sees {
    fn sql(self) -> &'static str {
        match self {
            Self::Rows | Self::RowsLate => "SELECT id, bucket, version, NULL FROM item",
            Self::JoinedLate => {
                "SELECT i.id, i.bucket, i.version, l.version
                 FROM item i JOIN label l ON l.bucket = i.bucket"
            }
        }
    }
}

/// See the module.
pub(super) struct View {
    path: PathBuf,
    sees: Sees,
    idle: Mutex<Vec<Connection>>,
    late: Mutex<Option<Connection>>,
}

/// The second statement takes the snapshot.
const LOOK: &str = "BEGIN; SELECT count(*) FROM label;";

impl View {
    pub(super) fn open(path: &Path, sees: Sees) -> Result<Self, Trouble> {
        let late = match sees {
            Sees::Rows => None,
            Sees::RowsLate | Sees::JoinedLate => {
                let connection = connect(path)?;
                connection.execute_batch(LOOK)?;
                Some(connection)
            }
        };
        let (idle, late) = (Mutex::default(), Mutex::new(late));
        Ok(Self { path: path.to_owned(), sees, idle, late })
    }

    /// From now on loads see what is there now.
    pub(super) fn move_on(&self) -> Result<(), Trouble> {
        if let Some(late) = &*self.late.lock() {
            late.execute_batch("COMMIT")?;
            late.execute_batch(LOOK)?;
        }
        Ok(())
    }

    /// The records for which `is_wanted` holds, at one moment.
    pub(super) fn load(&self, is_wanted: impl Fn(&Row) -> bool) -> Result<Vec<Row>, Error> {
        let loaded = match &*self.late.lock() {
            Some(late) => Ok(self.read(late)),
            None => Err(()),
        };
        let loaded = loaded.or_else(|()| {
            let idle = self.idle.lock().pop();
            let connection = idle.map_or_else(|| connect(&self.path), Ok)?;
            let read = self.read(&connection);
            self.idle.lock().push(connection);
            Ok::<_, Trouble>(read)
        });
        let unread = |what: String| Error::new(ErrorKind::Unavailable, "load rows").detail(what);
        let rows = loaded.map_err(|error| unread(error.to_string()))?;
        let mut rows = rows.map_err(|error| unread(error.to_string()))?;
        rows.retain(is_wanted);
        Ok(rows)
    }

    fn read(&self, connection: &Connection) -> rusqlite::Result<Vec<Row>> {
        let mut select = connection.prepare_cached(self.sees.sql())?;
        let rows = select.query_map([], |row| {
            let label: Option<i64> = row.get(3)?;
            Ok(Row {
                id: row.get(0)?,
                bucket: row.get(1)?,
                version: row.get::<_, i64>(2)?.cast_unsigned(),
                label: label.map(i64::cast_unsigned),
            })
        });
        rows?.collect()
    }
}
