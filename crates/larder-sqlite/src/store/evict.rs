//! Making room: never above the limits, and never more than the excess (SD2).
//!
//! It runs in the transaction of the write that needs the room, so that no other transaction can
//! see the store above its limits. **Invariant**: what is dead or has expired goes before anything
//! that could still be read; a pinned entry and the entry just written never go.

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{
    filed, link,
    options::Eviction,
    put::{FILED, millis, untag},
    writer::Writing,
};

/// Rows that one look finds. A value may need the room of many small ones, so there may be several
/// looks; an entry can be at most half of all bytes.
const LOOK: i64 = 64;

/// How often those are chosen anew that stand further forward than they should: their reads were
/// not written yet, or they were overwritten. Beyond it somebody goes who was used since, rather
/// than that one write pays for all.
const CHOICES_MAX: usize = 8;

/// Who goes next, each statement with `?1` an entry that is spared, the one just written, `?2` the
/// time, and `?3` how many. With a `JOIN` SQLite, which takes `dead` for as long as `entry`, would
/// look at all entries.
pub(crate) const DEAD: &str = "SELECT e.id, e.region, e.size, e.tags, e.form \
     FROM dead d CROSS JOIN entry e ON e.id = d.entry \
     WHERE e.id <> ?1 AND ?2 IS NOT NULL LIMIT ?3";
pub(crate) const EXPIRED: &str = "SELECT id, region, size, tags, form FROM entry \
     WHERE expires <= ?2 AND id <> ?1 ORDER BY expires LIMIT ?3";
const LEAST_RECENT: &str = "SELECT id, region, size, tags, form FROM entry \
     WHERE form & 4 = 0 AND id <> ?1 AND ?2 IS NOT NULL ORDER BY accessed LIMIT ?3";
const LEAST_FREQUENT: &str = "SELECT id, region, size, tags, form FROM entry \
     WHERE form & 4 = 0 AND id <> ?1 AND ?2 IS NOT NULL ORDER BY reads, accessed LIMIT ?3";
const OLDEST: &str = "SELECT id, region, size, tags, form FROM entry \
     WHERE form & 4 = 0 AND id <> ?1 AND ?2 IS NOT NULL ORDER BY id LIMIT ?3";

/// Why a row goes, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Dead,
    Expired,
    Evicted,
}

/// Removes what is over the limits, sparing the entry `written`.
///
/// # Errors
/// `Full` when what may go is not enough.
pub(crate) fn make_room(writing: &mut Writing<'_>, written: i64) -> Result<(), Error> {
    if is_within(writing) {
        return Ok(());
    }
    let by_policy = match writing.options.eviction {
        Eviction::LeastRecent => Some(LEAST_RECENT),
        Eviction::LeastFrequent => Some(LEAST_FREQUENT),
        Eviction::Oldest => Some(OLDEST),
        Eviction::Refuse | Eviction::OfOthers => None,
    };
    let order = [(DEAD, Gone::Dead), (EXPIRED, Gone::Expired)];
    let policy = by_policy.map(|sql| (sql, Gone::Evicted));
    for (sql, why) in order.into_iter().chain(policy) {
        while !is_within(writing) {
            if remove_some(writing, sql, written, why)? == 0 {
                break;
            }
        }
    }
    if is_within(writing) {
        return Ok(());
    }
    let (entries, bytes) = (writing.options.entries_max, writing.options.bytes_max);
    Err(Error::new(ErrorKind::Full, "write an entry").detail(format!(
        "the store holds at most {entries} entries and {bytes} bytes, and nothing that is there \
         may be evicted; remove or unpin some, or raise `max_entries` or `max_bytes`"
    )))
}

fn is_within(writing: &Writing<'_>) -> bool {
    writing.totals.entries() <= writing.options.entries_max
        && writing.totals.bytes() <= writing.options.bytes_max
}

fn remove_some(
    writing: &mut Writing<'_>,
    sql: &str,
    written: i64,
    why: Gone,
) -> Result<usize, Error> {
    let failed = Writing::failed("evict an entry");
    let over = writing.totals.entries().saturating_sub(writing.options.entries_max);
    let over = i64::try_from(over.max(1)).unwrap_or(LOOK).min(LOOK);
    let mut rows = look(writing, sql, written, over).map_err(failed)?;
    for _ in 0..if why == Gone::Evicted { CHOICES_MAX } else { 0 } {
        let was_read = writing.access.flush_of(writing, rows.iter().map(|row| row.id))?;
        if !move_back(writing.connection, &rows).map_err(failed)? && !was_read {
            break;
        }
        rows = look(writing, sql, written, LOOK).map_err(failed)?;
    }
    let mut removed = 0;
    for row in &rows {
        if is_within(writing) {
            break;
        }
        row.remove(writing).map_err(failed)?;
        writing.counters.count(why, row.region);
        removed += 1;
    }
    Ok(removed)
}

fn look(
    writing: &Writing<'_>,
    sql: &str,
    written: i64,
    count: i64,
) -> rusqlite::Result<Vec<Condemned>> {
    let mut find = writing.connection.prepare_cached(sql)?;
    find.query_map((written, millis(writing.now), count), Condemned::read)?.collect()
}

/// Puts those that were overwritten to where they belong in the order of use; whether there were
/// any. So each pays for that once, however often it was overwritten.
fn move_back(connection: &Connection, rows: &[Condemned]) -> rusqlite::Result<bool> {
    let mut update = connection.prepare_cached(
        "UPDATE entry SET accessed = created WHERE id = ?1 AND accessed < created",
    )?;
    rows.iter().try_fold(false, |any, row| Ok(0 < update.execute([row.id])? || any))
}

/// A row that is to be removed.
#[derive(Debug)]
pub(crate) struct Condemned {
    pub(crate) id: i64,
    pub(crate) region: i64,
    pub(crate) size: i64,
    pub(crate) tags: Option<String>,
    pub(crate) form: i64,
}

impl Condemned {
    /// Reads `id, region, size, tags, form`.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (id, region, size) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Self { id, region, size, tags: row.get(3)?, form: row.get(4)? })
    }

    /// Removes the row and all that hangs on it.
    pub(crate) fn remove(&self, writing: &mut Writing<'_>) -> rusqlite::Result<()> {
        let connection = writing.connection;
        untag(connection, self.id, self.tags.as_deref())?;
        link::unlink(connection, self.id)?;
        if self.form & FILED != 0 {
            filed::loosen(connection, self.id)?;
        }
        connection.prepare_cached("DELETE FROM entry WHERE id = ?1")?.execute([self.id])?;
        connection.prepare_cached("DELETE FROM dead WHERE entry = ?1")?.execute([self.id])?;
        writing.totals.add(self.region, -1, -self.size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::schema;

    #[test]
    fn whoever_goes_is_found_without_a_look_at_all_entries() {
        // S2, SD2.
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection).unwrap();
        let looked_at = |sql: &str| -> String {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            // The outermost.
            connection.query_row(&sql, (1, 1, 1), |row| row.get(3)).unwrap()
        };
        assert_eq!(looked_at(DEAD), "SCAN d");
        assert_eq!(looked_at(EXPIRED), "SEARCH entry USING INDEX entry_expires (expires<?)");
        // In the order of an index, or of the table itself: it ends after as many as are wanted.
        for (sql, index) in [
            (LEAST_RECENT, Some("evict_recent")),
            (LEAST_FREQUENT, Some("evict_frequent")),
            (OLDEST, None),
        ] {
            schema::index_for(&connection, index).unwrap();
            let by = index.map(|index| format!(" USING INDEX {index}")).unwrap_or_default();
            assert_eq!(looked_at(sql), format!("SCAN entry{by}"));
        }
    }
}
