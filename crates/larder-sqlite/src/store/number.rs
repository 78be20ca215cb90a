//! Counting under a key, atomically.
//!
//! Apart from `put` because the rest of the entry stays: its lifetime, its tags, its pin.
//! **Invariant**: two who add at once both count, because one connection writes.

use larder_core::{Error, ErrorKind};

use super::{
    entry::{Lifetime, NewEntry, Stored},
    evict,
    find::{self, Looked, Reading},
    put::{self, IfPresent, checksum, form, read_form},
    row_key::RowKey,
    writer::Writing,
};

/// Adds `by` to the number under `key`; the sum.
pub(crate) fn incr(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    by: i64,
    lifetime: Lifetime,
) -> Result<i64, Error> {
    let found = find::value(
        writing.connection,
        region,
        key,
        writing.now,
        Reading::all(writing.options),
        None,
    )?;
    let (id, stored) = match found {
        Looked::Found(id, stored) => (id, stored),
        // What is in a file is no number, and nobody waits for it to be read.
        Looked::Larger => return Err(no_number()),
        Looked::Absent => {
            let entry = NewEntry::new(Stored::json(by.to_string()), lifetime);
            put::put(writing, region, key, &entry, IfPresent::Replace)?;
            return Ok(by);
        }
    };
    let sum = read(&stored)?.checked_add(by).ok_or_else(|| {
        Error::new(ErrorKind::Limit, "add to a number")
            .detail(format!("adding {by} would leave the range of 64 bits"))
    })?;
    write(writing, region, key, id, sum)?;
    Ok(sum)
}

fn read(stored: &Stored) -> Result<i64, Error> {
    let text = std::str::from_utf8(&stored.bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(no_number)
}

fn no_number() -> Error {
    Error::new(ErrorKind::Conflict, "add to a number").detail(
        "what is under the key is not a whole number of 64 bits; remove it first, or use another \
         key",
    )
}

fn write(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    id: i64,
    sum: i64,
) -> Result<(), Error> {
    let failed = Writing::failed("add to a number");
    let value = sum.to_string();
    let (old_form, old_size): (i64, i64) = writing
        .connection
        .prepare_cached("SELECT form, size FROM entry WHERE id = ?1")
        .and_then(|mut find| find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(failed)?;
    let form = read_form(old_form).map_or(old_form, |(kind, pinned, _)| form(kind, pinned));
    let size = i64::try_from(put::size(key, value.len() as u64)).unwrap_or(i64::MAX);
    writing
        .connection
        .prepare_cached(
            "UPDATE entry SET value = ?2, size = ?3, checksum = ?4, accessed = ?5 WHERE id = ?1",
        )
        .and_then(|mut update| {
            let checksum = checksum(key, form, value.as_bytes());
            update.execute((id, value.as_bytes(), size, checksum, put::millis(writing.now)))
        })
        .map_err(failed)?;
    writing.totals.add(region, 0, size - old_size);
    // A longer number needs room as any other value does.
    evict::make_room(writing, id)
}
