//! The outbox: invalidations that an application commits together with its data.
//!
//! It stands beside [`crate::track`], which installs it, because it is the one thing in the log
//! that the application writes by itself. A record is a line of the change log. So the commit of
//! the data *is* the word of what to invalidate, and nothing has to be sent afterwards.
//! **Invariant**: there is no moment at which the data is committed and the record is not, or the
//! other way round; and a node that knows the position of the commit has carried out its records.
//!
//! 1. The application writes its rows and its record, in one transaction. Rolled back, neither ever
//!    was: the log has no such line, and its number goes to the next one.
//! 2. It commits, and dies. The line is in the log.
//! 3. Each node's watcher reads the line in a snapshot of its own, so the commit is visible to all
//!    loads that begin from here on.
//! 4. The watcher tells the node of the record, then of the position. The record counts on `app`:
//!    a load that began before 4 is stamped below and is not stored; one that began after it has
//!    seen the commit.
//! 5. A node that starts between 2 and 4 takes the end of the log as its start. It has no entries
//!    yet, and its loads see the commit.
//! 6. A node whose feed begins anew between 2 and 4, because the schema changed or too much waited,
//!    reads the records that it would pass over, in the same snapshot in which it finds its new
//!    start. Where that cannot be done (a gap, another file, bytes that nobody understands),
//!    everything in the node falls, since a record may name anything.
//!
//! The outbox is a *view* whose INSERT is a trigger. In a connection that has switched triggers
//! off, an insert into a table would leave a row that nobody is told of; into a view it is an
//! error, and the transaction fails.

use larder_core::{Error, ErrorKind, Invalidation};
use rusqlite::Connection;

use crate::{
    log::{LOG, operation},
    track::trigger::Trigger,
};

/// The statement that records one [`Record`], whose bytes are its only parameter.
///
/// It is for the connection, and the transaction, that writes the data. Where the database has no
/// outbox SQLite answers `no such table: larder_outbox`: run `larder track` again.
pub const INSERT: &str = "INSERT INTO larder_outbox(record) VALUES (?1)";

/// Bytes of one record. Ten times more, and a batch of the watcher could hold a third of a
/// gigabyte; ten times fewer would cut lists of a thousand ids, which is harmless, into many lines.
pub const RECORD_BYTES_MAX: usize = 64 << 10;

/// The view that records are inserted into.
pub(crate) const OUTBOX: &str = "larder_outbox";

/// The trigger that makes a record a line of the log.
const OUTBOX_INSERT: &str = "larder_outbox_insert";

/// One line to be written in the transaction that makes the invalidation due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is recorded before it is written"]
pub struct Record(Vec<u8>);

impl Record {
    /// The bytes: the one parameter of [`INSERT`].
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for a driver that wants to own them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The text of the view as SQLite keeps it, in this version and whatever became of the log.
pub(crate) const VIEW: &str = "CREATE VIEW larder_outbox(record) AS SELECT NULL WHERE 0";

/// What has to be written so that `invalidation` is carried out when, and only when, the
/// transaction that writes it is committed: one record, or several where it is large.
///
/// This is for programs that have no origin of their own; [`crate::SqliteOrigin::records`] also
/// sees to it that the database has an outbox.
///
/// # Errors
/// `Config` when it names nothing; `Limit` when a single dependency is larger than
/// [`RECORD_BYTES_MAX`].
pub fn records(invalidation: &Invalidation) -> Result<Vec<Record>, Error> {
    if invalidation.dependencies().is_empty() {
        return Err(Error::new(ErrorKind::Config, "record an invalidation")
            .detail("it names nothing; add what changed with `drop_all_of`"));
    }
    let parts = invalidation.encode_in_parts(RECORD_BYTES_MAX)?;
    Ok(parts.into_iter().map(Record).collect())
}

/// Whether the database has an outbox, whoever reads it.
pub(crate) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1)";
    connection.query_row(sql, [OUTBOX], |row| row.get(0))
}

/// The view and its trigger.
///
/// The view shows nothing and reads nothing: one over the log would become an error in the schema
/// when somebody drops or renames that, and stop every ALTER TABLE of the application.
pub(crate) fn objects() -> [Trigger; 2] {
    let (record, max) = (operation::RECORD, RECORD_BYTES_MAX);
    let view = VIEW.to_owned();
    let insert = format!(
        "CREATE TRIGGER {OUTBOX_INSERT} INSTEAD OF INSERT ON {OUTBOX} BEGIN \
         SELECT RAISE(ABORT, 'a record of larder has more than {max} bytes') \
         WHERE {max} < length(CAST(NEW.record AS BLOB)); \
         INSERT INTO {LOG}(op, v0) VALUES ({record}, NEW.record); END"
    );
    [(OUTBOX, view), (OUTBOX_INSERT, insert)]
        .map(|(name, sql)| Trigger { name: name.to_owned(), sql })
}
