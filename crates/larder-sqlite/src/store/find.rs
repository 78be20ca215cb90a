//! Reading entries by key, on whatever connection.
//!
//! **Invariant**: one statement decides whether an entry is there, from one snapshot: written, not
//! dead, not expired at the time asked for (X2). A value whose checksum is wrong is an error.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, clock::WallMillis};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    entry::{Entry, Meta, Stored},
    filed::{Filed, Kept, Reader},
    options::StoreOptions,
    packing::{self, Packing},
    put::{FILED, checksum, millis, read_form},
    row_key::RowKey,
    value_file::Reference,
    writer::Writing,
};

/// What makes a row of `entry` one that is there; the time is `?2`. A literal, so that statements
/// which are asked often are put together by the compiler.
macro_rules! is_there {
    () => {
        "(entry.expires IS NULL OR ?2 < entry.expires) \
         AND NOT EXISTS(SELECT 1 FROM dead WHERE dead.entry = entry.id)"
    };
}

pub(crate) use is_there;

/// The same, for statements that are put together as they are asked.
pub(crate) const IS_THERE: &str = is_there!();

const VALUE: &str = concat!(
    "SELECT id, size, form, checksum, value FROM entry WHERE region = ?1 AND key = ?3 AND ",
    is_there!()
);

/// A value that was looked for.
#[derive(Debug, Default)]
pub(crate) enum Looked {
    /// There is none.
    #[default]
    Absent,
    /// There is one, in the row of this number.
    Found(i64, Stored),
    /// There is one, larger than was asked for, or in a file that was not asked for.
    Larger,
}

/// How large a value may be that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Bytes of the value, above which it is [`Looked::Larger`].
    pub(crate) here_max: u64,
    /// Bytes of the value, above which it is an error.
    pub(crate) value_max: u64,
}

impl Reading {
    /// Whatever may be in a store with these settings.
    pub(crate) fn all(options: &StoreOptions) -> Self {
        Self { here_max: u64::MAX, value_max: options.item_bytes_max() }
    }

    /// What has at most `bytes` bytes.
    pub(crate) fn at_most(options: &StoreOptions, bytes: u64) -> Self {
        Self { here_max: bytes, ..Self::all(options) }
    }
}

/// The value under `key`, if it is no larger than `reading` says. One in a file is read by `files`.
///
/// # Errors
/// `Corrupt` for a value that is not what was written, and those of the driver.
pub(crate) fn value(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    now: WallMillis,
    reading: Reading,
    files: Option<&Reader<'_>>,
) -> Result<Looked, Error> {
    let failed = Writing::failed("read an entry");
    let mut find = connection.prepare_cached(VALUE).map_err(failed)?;
    let mut rows = find.query((region, millis(now), key)).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(Looked::Absent) };
    let size: i64 = row.get(1).map_err(failed)?;
    if reading.here_max < u64::try_from(size).unwrap_or(0).max(unpacked_bytes(row)?) {
        return Ok(Looked::Larger);
    }
    let id = row.get(0).map_err(failed)?;
    let stored = match (kept(row, key, [2, 3, 4], reading.value_max)?, files) {
        (Kept::Here(stored), _) => Some(stored),
        (Kept::Filed(_), None) => return Ok(Looked::Larger),
        (kept, Some(files)) => {
            let bytes_max = reading.value_max.min(reading.here_max);
            files.read(connection, id, kept, bytes_max)?
        }
    };
    Ok(stored.map_or(Looked::Absent, |stored| Looked::Found(id, stored)))
}

/// The value of a row whose columns `form`, `checksum` and `value` are at `at`.
///
/// # Errors
/// `Corrupt` for a value that is not what was written, `Limit` for one of more than `bytes_max`.
pub(crate) fn kept(
    row: &Row<'_>,
    key: RowKey<'_>,
    at: [usize; 3],
    bytes_max: u64,
) -> Result<Kept, Error> {
    let failed = Writing::failed("read an entry");
    let [form_at, checksum_at, value_at] = at;
    let form: i64 = row.get(form_at).map_err(failed)?;
    let written: i64 = row.get(checksum_at).map_err(failed)?;
    let bytes: &[u8] = row
        .get_ref(value_at)
        .and_then(|value| Ok(value.as_blob_or_null()?.unwrap_or_default()))
        .map_err(failed)?;
    let corrupt = || {
        Error::new(ErrorKind::Corrupt, "read an entry").detail(
            "its checksum is wrong, so it is not what was written; remove it or write it again, \
             and check the whole file",
        )
    };
    let read = read_form(form).filter(|_| checksum(key, form, bytes) == written);
    let (kind, _, packing) = read.ok_or_else(corrupt)?;
    if form & FILED != 0 {
        let reference = Reference::decode(bytes).ok_or_else(corrupt)?;
        return Ok(Kept::Filed(Filed { kind, packing, reference }));
    }
    let bytes = match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Zstd => packing::unpack(bytes, bytes_max)?,
    };
    Ok(Kept::Here(Stored { kind, bytes }))
}

/// Bytes that a packed value says it has, in a row of [`VALUE`]; zero for others.
fn unpacked_bytes(row: &Row<'_>) -> Result<u64, Error> {
    let failed = Writing::failed("read an entry");
    let form: i64 = row.get(2).map_err(failed)?;
    if form & FILED != 0 || !matches!(read_form(form), Some((_, _, Packing::Zstd))) {
        return Ok(0);
    }
    row.get_ref(4)
        .and_then(|value| Ok(packing::length(value.as_blob_or_null()?.unwrap_or_default())))
        .map_err(failed)
}

/// Whether there is an entry under `key`.
pub(crate) fn contains(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    now: WallMillis,
) -> Result<bool, Error> {
    const SQL: &str =
        concat!("SELECT 1 FROM entry WHERE region = ?1 AND key = ?3 AND ", is_there!());
    connection
        .prepare_cached(SQL)
        .and_then(|mut find| find.exists((region, millis(now), key)))
        .map_err(Writing::failed("look for an entry"))
}

/// The columns that [`meta`] reads, after `id` and `key`.
pub(crate) const META: &str = "entry.id, entry.key, entry.form, entry.size, entry.created, \
     entry.expires, entry.accessed, entry.reads, entry.tags";

/// What is known of the entry in a row of [`META`], and its key.
pub(crate) fn meta(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<(String, Meta)> {
    let key: String = row.get(1)?;
    let form: i64 = row.get(2)?;
    let (kind, pinned, _) =
        read_form(form).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, form))?;
    let size: i64 = row.get(3)?;
    let time = |millis: i64| WallMillis(u64::try_from(millis).unwrap_or(0));
    let (created, accessed): (i64, i64) = (row.get(4)?, row.get(6)?);
    let expires: Option<i64> = row.get(5)?;
    let reads: i64 = row.get(7)?;
    let tags: Option<String> = row.get(8)?;
    let size_bytes = u64::try_from(size).unwrap_or(0).saturating_sub(key.len() as u64);
    let meta = Meta {
        kind,
        tags: tag_names(connection, tags.as_deref())?,
        size_bytes,
        created: time(created),
        expires: expires.map(time),
        // Whoever overwrites an entry may leave this as it was.
        accessed: time(accessed.max(created)),
        access_count: u64::try_from(reads).unwrap_or(0),
        is_pinned: pinned == super::entry::Pinned::Yes,
    };
    Ok((key, meta))
}

fn tag_names(connection: &Connection, tags: Option<&str>) -> rusqlite::Result<Vec<Arc<str>>> {
    let Some(tags) = tags else { return Ok(Vec::new()) };
    connection
        .prepare_cached(
            "SELECT tag.name FROM json_each(?1) AS own JOIN tag ON tag.id = own.value \
             ORDER BY tag.name",
        )?
        .query_map([tags], |row| row.get::<_, String>(0).map(Into::into))?
        .collect()
}

/// An entry whose value is not read yet.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) meta: Meta,
    pub(crate) kept: Kept,
}

/// The whole entry under `key`. A value in a file is read by `files`.
pub(crate) fn entry(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    now: WallMillis,
    reading: Reading,
    files: &Reader<'_>,
) -> Result<Option<Entry>, Error> {
    let Some(unread) = unread(connection, region, key, now, reading)? else { return Ok(None) };
    let Unread { id, key, meta, kept } = unread;
    let value = files.read(connection, id, kept, reading.value_max)?;
    Ok(value.map(|value| Entry { key, value, meta }))
}

/// The entry under `key`, with its value as the row has it.
pub(crate) fn unread(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    now: WallMillis,
    reading: Reading,
) -> Result<Option<Unread>, Error> {
    let failed = Writing::failed("read an entry");
    let sql = format!(
        "SELECT {META}, entry.checksum, entry.value FROM entry \
         WHERE region = ?1 AND key = ?3 AND {IS_THERE}"
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut find| {
            find.query_row((region, millis(now), key), |row| {
                let (key, meta) = meta(connection, row)?;
                let id = row.get(0)?;
                let kept = kept(row, RowKey::Text(&key), [2, 9, 10], reading.value_max);
                Ok(kept.map(|kept| Unread { id, key, meta, kept }))
            })
            .optional()
        })
        .map_err(failed)?
        .transpose()
}
