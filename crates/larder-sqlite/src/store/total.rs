//! How much there is: entries and bytes of each region, exact under concurrency (SD2).
//!
//! Kept in a table of their own and read again by every transaction, because another process may
//! write too; counting the entries would cost more than all else. **Invariant**: the table says
//! what is in `entry`, because both change in one transaction. Rows that are dead or have expired
//! count until they are removed, and are the first to go when there is no room.

use rusqlite::{Connection, OptionalExtension};

/// What a transaction knows of the totals, and what it changes about them.
#[derive(Debug)]
pub(crate) struct Totals {
    entries: i64,
    bytes: i64,
    changes: Vec<Change>,
    /// Lines before this one belong to earlier writes of the group.
    own: usize,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    region: i64,
    entries: i64,
    bytes: i64,
}

/// Where the totals stood before one write of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    entries: i64,
    bytes: i64,
    changes: usize,
}

impl Totals {
    /// The totals, inside the transaction that may change them.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT total(entries), total(bytes) FROM total WHERE 0 < region")?
            .query_row([], |row| {
                #[expect(clippy::cast_possible_truncation, reason = "sums of small integers")]
                let number = |index| row.get(index).map(|sum: f64| sum as i64);
                Ok(Self { entries: number(0)?, bytes: number(1)?, changes: Vec::new(), own: 0 })
            })
    }

    /// Entries and bytes of one region.
    pub(crate) fn of_region(connection: &Connection, region: i64) -> rusqlite::Result<(u64, u64)> {
        let number = |row: &rusqlite::Row<'_>, at| {
            row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
        };
        let found = connection
            .prepare_cached("SELECT entries, bytes FROM total WHERE region = ?1")?
            .query_row([region], |row| Ok((number(row, 0)?, number(row, 1)?)))
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Notes that `entries` and `bytes` were added to `region`, or with a minus sign removed.
    pub(crate) fn add(&mut self, region: i64, entries: i64, bytes: i64) {
        self.entries += entries;
        self.bytes += bytes;
        let own = self.changes.get_mut(self.own..).unwrap_or_default();
        match own.last_mut() {
            Some(last) if last.region == region => {
                last.entries += entries;
                last.bytes += bytes;
            }
            _ => self.changes.push(Change { region, entries, bytes }),
        }
    }

    /// Entries of all regions.
    pub(crate) fn entries(&self) -> u64 {
        u64::try_from(self.entries).unwrap_or(0)
    }

    /// Bytes of all regions.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(0)
    }

    /// Where one write of the group begins.
    pub(crate) fn mark(&mut self) -> Mark {
        self.own = self.changes.len();
        Mark { entries: self.entries, bytes: self.bytes, changes: self.own }
    }

    /// Takes back what was noted since `mark`.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        (self.entries, self.bytes) = (mark.entries, mark.bytes);
        self.changes.truncate(mark.changes);
    }

    /// Writes what changed.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut changes = self.changes.clone();
        changes.sort_unstable_by_key(|change| change.region);
        let mut write = connection.prepare_cached(
            "INSERT INTO total(region, entries, bytes) VALUES (?1, ?2, ?3) ON CONFLICT(region) \
             DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes",
        )?;
        for of_region in changes.chunk_by(|one, other| one.region == other.region) {
            let entries: i64 = of_region.iter().map(|change| change.entries).sum();
            let bytes: i64 = of_region.iter().map(|change| change.bytes).sum();
            if let Some(Change { region, .. }) = of_region.first()
                && (entries, bytes) != (0, 0)
            {
                write.execute((region, entries, bytes))?;
            }
        }
        Ok(())
    }
}
