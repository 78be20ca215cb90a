//! The change log: the table that the triggers write and the watcher reads.
//!
//! Each row is one change: a number that only grows, a random nonce, the table, what happened, and
//! the logged columns as SQLite stores them, in columns without a type so that nothing is
//! converted.
//! **Invariant**: a reader that holds (number, nonce) can tell whether the log still is the one it
//! read: no number is ever used twice, because a deletion of the newest row leaves a *cut* above
//! it, and a log that was restored to an older state and grew again has other nonces.

use larder_core::{
    Change, Dependency, Invalidation, RowChange, Value, safeguard::Safeguard, timeline::Name,
};
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
    /// The newest row before this one was deleted; no table and no values.
    pub(crate) const CUT: i64 = 5;
    /// The transaction carries an invalidation: no table, and its bytes as the first value.
    pub(crate) const RECORD: i64 = 6;
    /// The values of a row that is in the way of another one: it may go, and it may stay.
    pub(crate) const DISPLACED: i64 = 7;
}

/// How far the log was read: the last number given out, and the nonce of the row that had it.
///
/// Without a nonce the row was gone already: the log had been emptied by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: i64,
    pub(crate) nonce: Option<i64>,
}

/// What reading on from a cursor gave.
#[derive(Debug)]
pub(crate) enum Read {
    /// What at most as many rows as asked for say.
    Lines(Lines),
    /// Rows are missing, or were.
    Hole,
    /// A row cannot be read.
    Undecodable,
}

/// What a piece of the log says.
#[derive(Debug)]
pub(crate) struct Lines {
    /// How rows and tables changed.
    pub(crate) changes: Vec<Change>,
    /// What was recorded to be invalidated.
    pub(crate) records: Vec<Invalidation>,
    /// The cursor after it.
    pub(crate) end: Cursor,
}

/// The number of the newest change that was ever logged; 0 where none was.
///
/// The log alone tells: its newest row cannot be deleted without a newer one in its place.
///
/// # Cost
/// One seek, about 1 us.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    newest_number(connection).map(position)
}

fn newest_number(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM main.larder_log";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The cursor after everything that was ever logged.
pub(crate) fn end(connection: &Connection) -> rusqlite::Result<Cursor> {
    let seq = newest_number(connection)?;
    Ok(Cursor { seq, nonce: nonce_at(connection, seq)? })
}

/// The nonce of the row with that number, also where it was the last one that was trimmed.
fn nonce_at(connection: &Connection, seq: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT nonce FROM main.larder_log WHERE seq = ?1 UNION ALL \
               SELECT nonce FROM main.larder_meta WHERE id = 1 AND seq = ?1 LIMIT 1";
    let nonce = connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?;
    Ok(nonce.flatten())
}

/// Whether the log still is the one that was read up to `cursor`.
pub(crate) fn continues(connection: &Connection, cursor: Cursor) -> rusqlite::Result<bool> {
    let is_same =
        nonce_at(connection, cursor.seq)? == cursor.nonce || Safeguard::NonceCompared.is_off();
    Ok(is_same && cursor.seq <= newest_number(connection)?)
}

/// Up to `limit` rows after `after`.
pub(crate) fn read(
    connection: &Connection,
    timeline: &Name,
    tracked: &Tracked,
    after: Cursor,
    limit: usize,
) -> rusqlite::Result<Read> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM main.larder_log WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query([after.seq, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut lines = Lines { changes: Vec::new(), records: Vec::new(), end: after };
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        // SQLite gives numbers out one after the other, so one that is missing was a change. A cut
        // stands above what was deleted, so it is after a hole; it is no change in any case.
        let operation: Option<i64> = row.get(3)?;
        if lines.end.seq.checked_add(1) != Some(seq) || operation == Some(operation::CUT) {
            return Ok(Read::Hole);
        }
        lines.end = Cursor { seq, nonce: row.get(1)? };
        if operation == Some(operation::RECORD) {
            let Some(record) = record(row)? else { return Ok(Read::Undecodable) };
            lines.records.push(record);
            continue;
        }
        let table = row.get::<_, Option<i64>>(2)?.and_then(|id| tracked.by_id(id));
        let change = table.map(|table| decode(row, timeline, table)).transpose()?.flatten();
        match change {
            Some(change) => lines.changes.push(change),
            None => return Ok(Read::Undecodable),
        }
    }
    Ok(Read::Lines(lines))
}

/// What was recorded after `after` and up to `upto`, whatever became of the tracked tables; `None`
/// when that cannot be said.
///
/// # Cost
/// One step for each row between them, of which the log keeps about 100,000: some milliseconds.
pub(crate) fn records_between(
    connection: &Connection,
    after: Cursor,
    upto: Cursor,
) -> rusqlite::Result<Option<Vec<Invalidation>>> {
    if !continues(connection, after)? || upto.seq < after.seq {
        return Ok(None);
    }
    let count = "SELECT count(*) FROM main.larder_log WHERE seq > ?1 AND seq <= ?2 AND op <> ?3";
    let span = (after.seq, upto.seq, operation::CUT);
    let count: i64 = connection.prepare_cached(count)?.query_row(span, |row| row.get(0))?;
    // A row that is missing may have been a record.
    if count != upto.seq - after.seq {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT * FROM main.larder_log WHERE seq > ?1 AND seq <= ?2 AND op = ?3 ORDER BY seq",
    )?;
    let mut rows = statement.query((after.seq, upto.seq, operation::RECORD))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        match record(row)? {
            Some(record) => records.push(record),
            None => return Ok(None),
        }
    }
    Ok(Some(records))
}

/// The invalidation that a row carries; `None` when it is not what a larder of this version wrote.
fn record(row: &Row<'_>) -> rusqlite::Result<Option<Invalidation>> {
    match row.get_ref(HEAD)? {
        ValueRef::Blob(bytes) => Ok(Invalidation::decode(bytes).ok()),
        _ => Ok(None),
    }
}

/// Columns before the values: seq, nonce, tbl, op.
const HEAD: usize = 4;

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
    let operation = row.get::<_, Option<i64>>(3)?.unwrap_or(0);
    let (old, new) = match operation {
        operation::INSERT => (None, Some(0)),
        operation::DELETE | operation::DISPLACED => (Some(0), None),
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
    let (old, new) = (old.flatten(), new.flatten());
    let has_gone = operation != operation::DISPLACED || Safeguard::DisplacedMayStay.is_off();
    let is_exact = |image: &Option<Image>| image.as_ref().is_none_or(|image| image.is_exact);
    let is_certain = has_gone && table.tells_in_order && is_exact(&old) && is_exact(&new);
    let change = RowChange {
        table: table.name.clone(),
        columns: table.columns.clone(),
        key: table.key.clone(),
        old: old.map(|image| image.values),
        new: new.map(|image| image.values),
    };
    Ok(Some(if is_certain { Change::Row(change) } else { Change::Perhaps(change) }))
}

/// A row before or after a change.
struct Image {
    /// In the form in which their columns compare them.
    values: Vec<Value>,
    /// Whether that is as well the form in which they are stored.
    is_exact: bool,
}

/// One image of a row; `None` when a text is not UTF-8, so that it cannot be told from others.
fn image(row: &Row<'_>, start: usize, table: &TrackedTable) -> rusqlite::Result<Option<Image>> {
    let mut image = Image { values: Vec::with_capacity(table.kinds.len()), is_exact: true };
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
        let compared = canonical(column, value.clone());
        image.is_exact &= compared == value;
        image.values.push(compared);
    }
    Ok(Some(image))
}
