//! Taking entries away: one at once, many by writing down that they are dead.
//!
//! Removing ten thousand rows with their tags and indexes would hold up every other write, so a
//! deletion by selection writes their numbers, next to each other, into a table of its own that
//! every read looks into; the keeper removes the rows behind. **Invariant**: when the transaction
//! is committed no read finds them, and they were counted while they were still there.

use larder_core::{Error, clock::WallMillis};
use rusqlite::{Connection, OptionalExtension};

use super::{
    entry::{Entry, Meta},
    evict::{Condemned, DEAD, EXPIRED, Gone},
    filed::Opened,
    find::{self, Reading, Unread, is_there},
    listing,
    put::millis,
    row_key::RowKey,
    select::Select,
    value_file::Directory,
    writer::Writing,
};

/// Removes the entry under `key`; whether there was one.
pub(crate) fn remove(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
) -> Result<bool, Error> {
    let failed = Writing::failed("remove an entry");
    const SQL: &str = concat!(
        "SELECT id, region, size, tags, form, ",
        is_there!(),
        " FROM entry WHERE region = ?1 AND key = ?3"
    );
    let found = writing
        .connection
        .prepare_cached(SQL)
        .and_then(|mut find| {
            find.query_row((region, millis(writing.now), key), |row| {
                Ok((Condemned::read(row)?, row.get::<_, bool>(5)?))
            })
            .optional()
        })
        .map_err(failed)?;
    let Some((row, was_there)) = found else { return Ok(false) };
    row.remove(writing).map_err(failed)?;
    Ok(was_there)
}

/// An entry that was removed, whose value can still be read.
#[derive(Debug)]
pub(crate) struct Popped {
    key: String,
    meta: Meta,
    value: Opened,
}

impl Popped {
    /// Whether reading it takes long enough that it should be done on a thread of ours.
    pub(crate) fn is_filed(&self) -> bool {
        matches!(self.value, Opened::Filed { .. })
    }

    /// Reads it. Blocks.
    pub(crate) fn read(self, bytes_max: u64) -> Result<Entry, Error> {
        let Self { key, meta, value } = self;
        value.read(bytes_max).map(|value| Entry { key, value, meta })
    }
}

/// Removes the entry under `key` and gives it back. A value in a file is opened, and not read: the
/// writer has no time for that.
pub(crate) fn pop(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    directory: &Directory,
) -> Result<Option<Popped>, Error> {
    let (connection, reading) = (writing.connection, Reading::all(writing.options));
    let found = find::unread(connection, region, key, writing.now, reading)?;
    let Some(Unread { id, key: own, meta, kept }) = found else { return Ok(None) };
    let value = kept.open(connection, id, directory)?.map_err(|name| directory.missing(name))?;
    remove(writing, region, key)?;
    Ok(Some(Popped { key: own, meta, value }))
}

/// Declares what `select` names dead; how many there were.
pub(crate) fn bury(writing: &mut Writing<'_>, region: i64, select: &Select) -> Result<u64, Error> {
    let Some(query) = listing::Query::new(writing.connection, region, select, writing.now)? else {
        return Ok(0);
    };
    let sql = query.sql("INSERT INTO dead(entry) SELECT entry.id", "");
    let buried = query.execute(writing.connection, &sql)?;
    Ok(buried as u64)
}

/// Whether there are rows that are dead or have expired.
pub(crate) fn has_gone(connection: &Connection, now: WallMillis) -> Result<bool, Error> {
    connection
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM dead) OR EXISTS(SELECT 1 FROM entry WHERE expires <= ?1)",
        )
        .and_then(|mut find| find.query_row([millis(now)], |row| row.get(0)))
        .map_err(Writing::failed("remove what is gone"))
}

/// How many rows are dead or have expired by `now`; what is both counts twice.
pub(crate) fn count_gone(connection: &Connection, now: WallMillis) -> Result<u64, Error> {
    let sql = "SELECT (SELECT count(*) FROM dead) + \
         (SELECT count(*) FROM entry WHERE expires <= ?1)";
    connection
        .query_row(sql, [millis(now)], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
        .map_err(Writing::failed("remove what is gone"))
}

/// A number that no row has: they begin at 1.
const NOBODY: i64 = 0;

/// Removes at most `count` rows that are dead or have expired; how many it removed.
pub(crate) fn sweep(writing: &mut Writing<'_>, count: i64) -> Result<usize, Error> {
    let failed = Writing::failed("remove what is gone");
    let mut removed = 0;
    for (sql, why) in [(DEAD, Gone::Dead), (EXPIRED, Gone::Expired)] {
        let left = count - i64::try_from(removed).unwrap_or(count);
        let rows: Vec<Condemned> = writing
            .connection
            .prepare_cached(sql)
            .and_then(|mut find| {
                find.query_map((NOBODY, millis(writing.now), left), Condemned::read)?.collect()
            })
            .map_err(failed)?;
        for row in &rows {
            row.remove(writing).map_err(failed)?;
            writing.counters.count(why, row.region);
        }
        removed += rows.len();
    }
    Ok(removed)
}

/// The tags after the number `after`, at most `count` of them: how far that reaches, and which of
/// them no entry has.
pub(crate) fn unused_tags(
    connection: &Connection,
    after: i64,
    count: usize,
) -> Result<(Option<i64>, Vec<i64>), Error> {
    let looked: Vec<(i64, bool)> = connection
        .prepare_cached(
            "SELECT id, EXISTS(SELECT 1 FROM tagged WHERE tagged.tag = tag.id) FROM tag \
             WHERE ?1 < id ORDER BY id LIMIT ?2",
        )
        .and_then(|mut look| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            look.query_map((after, count), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(Writing::failed("look for tags that no entry has"))?;
    let last = looked.last().filter(|_| looked.len() == count).map(|(id, _)| *id);
    Ok((last, looked.into_iter().filter(|(_, is_used)| !is_used).map(|(id, _)| id).collect()))
}

/// Removes those of `tags` that no entry has. Their numbers may be given to other tags: whoever
/// looks one up uses it in the same snapshot or transaction.
pub(crate) fn remove_tags(writing: &mut Writing<'_>, tags: &[i64]) -> Result<(), Error> {
    let failed = Writing::failed("remove tags that no entry has");
    let mut remove = writing
        .connection
        .prepare_cached(
            "DELETE FROM tag WHERE id = ?1 AND NOT EXISTS(SELECT 1 FROM tagged WHERE tag = ?1)",
        )
        .map_err(failed)?;
    tags.iter().try_for_each(|tag| remove.execute([tag]).map(drop).map_err(failed))
}

/// Moves the deadline of the entry under `key`; whether there is one.
pub(crate) fn touch(
    writing: &mut Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    expires: Option<WallMillis>,
) -> Result<bool, Error> {
    const SQL: &str = concat!(
        "UPDATE entry SET expires = ?4, accessed = ?2 WHERE region = ?1 AND key = ?3 AND ",
        is_there!()
    );
    let touched = writing
        .connection
        .prepare_cached(SQL)
        .and_then(|mut touch| {
            touch.execute((region, millis(writing.now), key, expires.map(millis)))
        })
        .map_err(Writing::failed("touch an entry"))?;
    Ok(0 < touched)
}
