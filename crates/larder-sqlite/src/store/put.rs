//! Writing one entry, inside the transaction of a group.
//!
//! Everything that writes an entry goes through [`put`], so that there is one place where key,
//! value, lifetime and tags change as one unit (X15) and where the totals follow; only `number`
//! changes a value in its place. **Invariant**: after it the row, its tags and the totals agree,
//! whatever was there before.

use larder_core::{Error, ErrorKind, clock::WallMillis};
use rusqlite::{Connection, OptionalExtension};

use super::{
    entry::{NewEntry, Pinned, Placed, Stored, ValueKind},
    evict, filed, link,
    options::Eviction,
    packing::Packing,
    row_key::RowKey,
    writer::Writing,
};

/// The bit of `form` that pins an entry. The index of evictions names it too.
const PINNED: i64 = 4;

/// The bit of `form` that says the value is packed.
const PACKED: i64 = 8;

/// The bit of `form` that says the value is in a file.
pub(crate) const FILED: i64 = 16;

const OVERWRITE: &str = "UPDATE entry SET expires = ?2, created = ?3, accessed = ?3, reads = 0, \
     size = ?4, form = ?5, tags = ?6, checksum = ?7, value = ?8 WHERE id = ?1";

/// The same with `form` as it was, for who chooses by `accessed`: it stays where it is in that
/// order, and is moved to where `created` belongs when it would go: see [`evict`]. Of the pages
/// that an overwritten entry changes it spares two of three.
const OVERWRITE_IN_PLACE: &str = "UPDATE entry SET expires = ?2, created = ?3, reads = 0, \
     size = ?4, tags = ?6, checksum = ?7, value = ?8 WHERE id = ?1 AND form = ?5";

/// What to do where there is an entry already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfPresent {
    Replace,
    Leave,
}

/// The kind of the value and whether it is pinned, in one column.
pub(crate) fn form(kind: ValueKind, pinned: Pinned) -> i64 {
    kind.code() | if pinned == Pinned::Yes { PINNED } else { 0 }
}

/// The same for a value that may be packed and in a file.
fn form_of(entry: &NewEntry) -> i64 {
    let packed = if entry.packing == Packing::Zstd { PACKED } else { 0 };
    let filed = if entry.file.is_some() { FILED } else { 0 };
    form(entry.value.kind, entry.pinned) | packed | filed
}

/// What `form` says. `None` when no larder of this version wrote it.
pub(crate) fn read_form(form: i64) -> Option<(ValueKind, Pinned, Packing)> {
    let pinned = if form & PINNED == 0 { Pinned::No } else { Pinned::Yes };
    let packing = if form & PACKED == 0 { Packing::Plain } else { Packing::Zstd };
    ValueKind::from_code(form & !(PINNED | PACKED | FILED)).map(|kind| (kind, pinned, packing))
}

/// What a row must show to be believed: a hash over everything that a reader is given.
pub(crate) fn checksum(key: RowKey<'_>, form: i64, value: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&form.to_le_bytes());
    let bytes = key.as_bytes();
    hasher.update(&[u8::from(matches!(key, RowKey::Bytes(_)))]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
    hasher.update(value);
    let mut first = [0; 8];
    first.copy_from_slice(hasher.finalize().as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]));
    i64::from_le_bytes(first)
}

/// Bytes that an entry counts whose value has `bytes` bytes as it is kept.
pub(crate) fn size(key: RowKey<'_>, bytes: u64) -> u64 {
    key.as_bytes().len() as u64 + bytes
}

/// A row that is in the way.
struct Old {
    id: i64,
    size: i64,
    form: i64,
    tags: Option<String>,
    is_gone: bool,
    is_linked: bool,
}

/// Writes `entry` under `key`.
///
/// # Errors
/// `Limit` for an entry that can never fit, `Full` when there is no room and nothing may be
/// evicted, `Config` for a lifetime of zero.
pub(crate) fn put(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    entry: &NewEntry,
    if_present: IfPresent,
) -> Result<Placed, Error> {
    let failed = Writing::failed("write an entry");
    let Stored { bytes, .. } = &entry.value;
    let size = size(key, entry.kept_bytes());
    let limit = writing.options.item_bytes_max();
    check_size(limit, key.as_bytes().len() as u64 + entry.whole_bytes)?;
    let expires = entry.lifetime.deadline(writing.now)?;
    let connection = writing.connection;
    let old = find_old(connection, region, key, writing.now).map_err(failed)?;
    if if_present == IfPresent::Leave && old.as_ref().is_some_and(|old| !old.is_gone) {
        return Ok(Placed::Present);
    }
    let tags = tag_ids(connection, region, &entry.tags).map_err(failed)?;
    let form = form_of(entry);
    let row = Row {
        region,
        key,
        expires,
        now: writing.now,
        size,
        form,
        tags: written(&tags),
        checksum: checksum(key, form, bytes),
        value: bytes,
    };
    let signed = i64::try_from(size).unwrap_or(i64::MAX);
    let (id, placed) = match &old {
        Some(old) => {
            if old.is_linked {
                link::unlink(connection, old.id).map_err(failed)?;
            }
            if old.form & FILED != 0 {
                filed::loosen(connection, old.id).map_err(failed)?;
            }
            row.update(connection, old, writing.options.eviction).map_err(failed)?;
            writing.totals.add(region, 0, signed - old.size);
            (old.id, if old.is_gone { Placed::Inserted } else { Placed::Replaced })
        }
        None => {
            writing.totals.add(region, 1, signed);
            (row.insert(connection).map_err(failed)?, Placed::Inserted)
        }
    };
    if let Some(file) = &entry.file {
        filed::note(connection, id, file)?;
    }
    for number in &tags {
        connection
            .prepare_cached("INSERT OR IGNORE INTO tagged(tag, entry) VALUES (?1, ?2)")
            .and_then(|mut tag| tag.execute((number, id)))
            .map_err(failed)?;
    }
    evict::make_room(writing, id)?;
    Ok(placed)
}

/// # Errors
/// `Limit` for an entry that can never fit.
pub(crate) fn check_size(limit: u64, size: u64) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, "write an entry").detail(format!(
        "key and value have {size} bytes, the limit for one entry is {limit}; raise \
         `max_value_bytes` and `max_bytes`, or keep it elsewhere"
    )))
}

fn find_old(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    now: WallMillis,
) -> rusqlite::Result<Option<Old>> {
    connection
        .prepare_cached(
            "SELECT id, size, form, tags, \
             expires <= ?3 OR EXISTS(SELECT 1 FROM dead WHERE entry = id), \
             EXISTS(SELECT 1 FROM linked WHERE entry = id) \
             FROM entry WHERE region = ?1 AND key = ?2",
        )?
        .query_row((region, key, millis(now)), |row| {
            let is_gone: Option<bool> = row.get(4)?;
            Ok(Old {
                id: row.get(0)?,
                size: row.get(1)?,
                form: row.get(2)?,
                tags: row.get(3)?,
                is_gone: is_gone.unwrap_or(false),
                is_linked: row.get(5)?,
            })
        })
        .optional()
}

/// One row, ready to be written.
struct Row<'a> {
    region: i64,
    key: RowKey<'a>,
    expires: Option<WallMillis>,
    now: WallMillis,
    size: u64,
    form: i64,
    tags: Option<String>,
    checksum: i64,
    value: &'a [u8],
}

impl Row<'_> {
    fn insert(&self, connection: &Connection) -> rusqlite::Result<i64> {
        connection
            .prepare_cached(
                "INSERT INTO entry(region, key, expires, created, accessed, reads, size, form, \
                 tags, checksum, value) VALUES (?1, ?2, ?3, ?4, ?4, 0, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert((
                self.region,
                self.key,
                self.expires.map(millis),
                millis(self.now),
                i64::try_from(self.size).unwrap_or(i64::MAX),
                self.form,
                &self.tags,
                self.checksum,
                self.value,
            ))
    }

    fn update(
        &self,
        connection: &Connection,
        old: &Old,
        eviction: Eviction,
    ) -> rusqlite::Result<()> {
        if old.tags.is_some() && old.tags != self.tags {
            untag(connection, old.id, old.tags.as_deref())?;
        }
        // An index moves each entry of which an update names a column, whether that changes or not.
        let sql = match eviction {
            Eviction::LeastRecent if old.form == self.form => OVERWRITE_IN_PLACE,
            _ => OVERWRITE,
        };
        connection.prepare_cached(sql)?.execute((
            old.id,
            self.expires.map(millis),
            millis(self.now),
            i64::try_from(self.size).unwrap_or(i64::MAX),
            self.form,
            &self.tags,
            self.checksum,
            self.value,
        ))?;
        if old.is_gone {
            connection.prepare_cached("DELETE FROM dead WHERE entry = ?1")?.execute([old.id])?;
        }
        Ok(())
    }
}

/// A time as the file keeps it.
pub(crate) fn millis(at: WallMillis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// The numbers of `tags` in `region`, made where there is none.
fn tag_ids(connection: &Connection, region: i64, tags: &[String]) -> rusqlite::Result<Vec<i64>> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let mut find =
        connection.prepare_cached("SELECT id FROM tag WHERE region = ?1 AND name = ?2")?;
    let mut make = connection.prepare_cached("INSERT INTO tag(region, name) VALUES (?1, ?2)")?;
    let mut ids = Vec::with_capacity(tags.len());
    for name in tags {
        let found = find.query_row((region, name), |row| row.get(0)).optional()?;
        ids.push(match found {
            Some(id) => id,
            None => make.insert((region, name))?,
        });
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The tags of a row, as JSON, so that SQLite can read them too. `None` for no tags.
fn written(tags: &[i64]) -> Option<String> {
    let numbers: Vec<String> = tags.iter().map(i64::to_string).collect();
    (!numbers.is_empty()).then(|| format!("[{}]", numbers.join(",")))
}

/// Takes an entry out of the lists of its tags.
pub(crate) fn untag(connection: &Connection, id: i64, tags: Option<&str>) -> rusqlite::Result<()> {
    let Some(tags) = tags else { return Ok(()) };
    let mut untag =
        connection.prepare_cached("DELETE FROM tagged WHERE tag = ?1 AND entry = ?2")?;
    for tag in tags.trim_matches(['[', ']']).split(',').filter(|tag| !tag.is_empty()) {
        if let Ok(tag) = tag.parse::<i64>() {
            untag.execute((tag, id))?;
        }
    }
    Ok(())
}
