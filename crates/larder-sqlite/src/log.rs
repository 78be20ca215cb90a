//! The change log: the table that the triggers write and the watcher reads.
//!
//! Each row is one change: a number that only grows, a random nonce, the table, what happened, and
//! the logged columns as SQLite stores them, in columns without a type so that nothing is converted.
//! **Invariant**: a reader that holds (number, nonce) can tell whether the log still is the one it
//! read: a log that was restored to an older state and grew again has other nonces.

use larder_core::{Change, Dependency, RowChange, Value, timeline::Name};
use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};

use crate::{
    analysis::canonical,
    track::tracked::{Tracked, TrackedTable},
};

/// The log.
pub(crate) const LOG: &str = "larder_log";

/// What can happen to a row, as the log spells it.
pub(crate) mod operation {
    /// New values only.
    pub(crate) const INSERT: i64 = 1;
    /// Old values only.
    pub(crate) const DELETE: i64 = 2;
    /// Old values, then new values.
    pub(crate) const UPDATE: i64 = 3;
    /// The table changed; no values.
    pub(crate) const TABLE: i64 = 4;
}

/// How far the log was read: the last row's number, and its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: i64,
    pub(crate) nonce: i64,
}

/// Rows of the log, decoded.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) end: Cursor,
}

/// The number of the newest row, or of the newest one that was trimmed.
///
/// # Cost
/// Two seeks, about 2 us.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce((SELECT max(seq) FROM main.larder_log), \
               (SELECT seq FROM main.larder_meta WHERE id = 1))";
    let seq: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(position(seq))
}

/// The newest row's number and nonce.
pub(crate) fn end(connection: &Connection) -> rusqlite::Result<Cursor> {
    let newest = connection
        .prepare_cached("SELECT seq, nonce FROM main.larder_log ORDER BY seq DESC LIMIT 1")?
        .query_row([], cursor)
        .optional()?;
    newest.map_or_else(|| floor(connection), Ok)
}

fn floor(connection: &Connection) -> rusqlite::Result<Cursor> {
    connection
        .prepare_cached("SELECT seq, nonce FROM main.larder_meta WHERE id = 1")?
        .query_row([], cursor)
}

fn cursor(row: &Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor { seq: row.get(0)?, nonce: row.get(1)? })
}

/// Whether the log still holds what was read up to `cursor`, and everything after it.
pub(crate) fn continues(connection: &Connection, cursor: Cursor) -> rusqlite::Result<bool> {
    let nonce: Option<i64> = connection
        .prepare_cached("SELECT nonce FROM main.larder_log WHERE seq = ?1")?
        .query_row([cursor.seq], |row| row.get(0))
        .optional()?;
    match nonce {
        Some(nonce) => Ok(nonce == cursor.nonce),
        // The row itself was trimmed: then it must be the last one that was.
        None => Ok(floor(connection)? == cursor),
    }
}

/// Up to `limit` rows after `after`; `None` when one of them cannot be read.
pub(crate) fn read(
    connection: &Connection,
    timeline: &Name,
    tracked: &Tracked,
    after: Cursor,
    limit: usize,
) -> rusqlite::Result<Option<Batch>> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM main.larder_log WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query([after.seq, limit])?;
    let mut batch = Batch { changes: Vec::new(), end: after };
    while let Some(row) = rows.next()? {
        batch.end = cursor(row)?;
        let table = tracked.by_id(row.get(2)?);
        let change = table.map(|table| decode(row, timeline, table)).transpose()?.flatten();
        match change {
            Some(change) => batch.changes.push(change),
            None => return Ok(None),
        }
    }
    Ok(Some(batch))
}

/// A number of the log as a position.
pub(crate) fn position(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

fn decode(
    row: &Row<'_>,
    timeline: &Name,
    table: &TrackedTable,
) -> rusqlite::Result<Option<Change>> {
    let width = table.columns.len();
    let (old, new) = match row.get::<_, i64>(3)? {
        operation::INSERT => (None, Some(0)),
        operation::DELETE => (Some(0), None),
        operation::UPDATE => (Some(0), Some(width)),
        operation::TABLE => (None, None),
        _ => return Ok(None),
    };
    let image = |start: Option<usize>| start.map(|start| image(row, start, table)).transpose();
    let (old, new) = (image(old)?, image(new)?);
    let unreadable = matches!((&old, &new), (Some(None), _) | (_, Some(None)));
    if unreadable || (old.is_none() && new.is_none()) {
        return Ok(Some(Change::Touch(Dependency::table(timeline.clone(), table.name.clone()))));
    }
    Ok(Some(Change::Row(RowChange {
        table: table.name.clone(),
        columns: table.columns.clone(),
        key: table.key.clone(),
        old: old.flatten(),
        new: new.flatten(),
    })))
}

/// One image of a row; `None` when a text is not UTF-8, so that it cannot be told from others.
fn image(
    row: &Row<'_>,
    start: usize,
    table: &TrackedTable,
) -> rusqlite::Result<Option<Vec<Value>>> {
    /// seq, nonce, tbl, op.
    const HEAD: usize = 4;
    let mut values = Vec::with_capacity(table.kinds.len());
    for (place, column) in table.kinds.iter().enumerate() {
        let value = match row.get_ref(HEAD + start + place)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.into()),
                Err(_) => return Ok(None),
            },
        };
        values.push(canonical(column, value));
    }
    Ok(Some(values))
}
