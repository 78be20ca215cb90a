//! Pages: a read that stops after so many records, and goes on where it stopped.
//!
//! Apart from the selection, which is one snapshot for as long as it is kept: between two pages
//! nothing is kept, so that a client may take a day for the next one. What a page goes on from is a
//! place in the order of the index, not a number of records to be passed by. **Invariant**: a
//! record that is there, under one key, while all pages are read is in exactly one of them.

use std::{cmp::Ordering, fmt, sync::Arc};

use larder_core::{Error, ErrorKind};

use crate::{
    index::{IndexKey, Ordered},
    lane::{is_first, stretches},
    measure::Nothing,
    ranges::Ranges,
    record::Record,
    select::{Decided, Filter, Select, Whence, sorted},
    snapshot::Snapshot,
};

/// A place in the order of an index: that of one record, whether or not it is still there.
///
/// It is plain data, so that a server can hand it out and take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor<K, P> {
    /// The key by which the record stands in the index.
    pub key: K,
    /// Its primary key, which decides among records with the same key.
    pub primary: P,
}

/// A page in the making: [`Select::page`].
#[must_use = "nothing is read until `read`"]
pub struct Paged<'a, R: Record, W: IndexKey, K: IndexKey> {
    select: Select<'a, R, W, K>,
    limit: usize,
    after: Option<Cursor<K, R::Key>>,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

impl<'a, R: Record, W: IndexKey, K: IndexKey> Select<'a, R, W, K> {
    /// Begins a read of at most `limit` of the records, of which another one can go on:
    ///
    /// ```
    /// # use larder_core::Error;
    /// # use larder_table::{Index, Ranges, Record, Table};
    /// # type Known<R> = (Table<R, i64>, Index<R, i64>);
    /// # async fn all<R: Record>((table, by_time): Known<R>) -> Result<(), Error> {
    /// let mut page = table.select(&by_time, Ranges::all()).page(100).read().await?;
    /// while let Some(cursor) = page.next() {
    ///     page = table.select(&by_time, Ranges::all()).page(100).after(cursor).read().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn page(self, limit: usize) -> Paged<'a, R, W, K> {
        Paged { select: self, limit, after: None, direction: Direction::Ascending }
    }
}

impl<R: Record, W: IndexKey, K: IndexKey> Paged<'_, R, W, K> {
    /// Only records that come after this place, in the direction of the page.
    pub fn after(mut self, cursor: Cursor<K, R::Key>) -> Self {
        self.after = Some(cursor);
        self
    }

    /// From the last record to the first.
    pub fn descending(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    /// Reads the page, as it is now.
    ///
    /// Records that come, go or move between two pages are in the later one if that is where they
    /// are then: one that moves on past the cursor is seen again, one that moves back behind it is
    /// not seen. No other record is left out or repeated by it.
    ///
    /// # Errors
    /// `Config` when the limit is zero; as [`Select::read`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// # Cost
    /// A logarithm of the records for each range, and the records of the page with those among them
    /// that other indexes and filters leave out, however many were read before. Outside the window
    /// all that is left of the ranges is loaded, unless the part of the window before the first gap
    /// fills the page.
    pub async fn read(self) -> Result<Page<R, K>, Error> {
        let Self { select, limit, after, direction } = self;
        if limit == 0 {
            return Err(Error::new(ErrorKind::Config, "read a page of table")
                .subject(format!("`{}`", select.table.name()))
                .detail("it would have 0 records; ask for at least 1"));
        }
        let left = match (&after, direction) {
            (None, _) => select.ranges.clone(),
            (Some(after), Direction::Ascending) => {
                select.ranges.intersection(&Ranges::since(after.key.clone()))
            }
            (Some(after), Direction::Descending) => {
                select.ranges.intersection(&Ranges::until(after.key.clone()))
            }
        };
        let Decided { snapshot, whence, beyond } = select.decide(&left).await?;
        let (ranges, filters) = (&select.ranges, select.conditions());
        let ordered = snapshot.content.of(&select.index);
        let cut = Cutting { ordered, ranges, filters, after: after.as_ref(), direction, limit };
        let found = match &whence {
            Whence::Window => cut.within(&select, &snapshot, &left),
            Whence::Loaded(records) => cut.of_sorted(records),
            Whence::Beyond { missing } => {
                let before_gap = match direction {
                    Direction::Ascending => left.before(missing),
                    Direction::Descending => left.behind(missing),
                };
                let found = cut.kept(&before_gap);
                if limit < found.len() {
                    found
                } else {
                    let missing = select.to_load(missing, &left)?;
                    let table = select.table;
                    let all = table.joined(&snapshot, &select.index, ranges, &left, missing);
                    cut.of_sorted(&all.await?)
                }
            }
        };
        let is_beyond = beyond.is_some_and(|beyond| !beyond.is_empty());
        let beyond = if is_beyond { Beyond::Slack } else { Beyond::Nothing };
        Ok(Page::new(found, limit, after, beyond))
    }
}

/// What a page is cut out of, and where.
struct Cutting<'a, R: Record, K: IndexKey> {
    ordered: &'a Ordered<R, K, Nothing>,
    /// All that is asked: what of it a record with several keys is read under does not depend on
    /// how far the pages are.
    ranges: &'a Ranges<K>,
    filters: Vec<Filter<R>>,
    after: Option<&'a Cursor<K, R::Key>>,
    direction: Direction,
    limit: usize,
}

impl<R: Record, K: IndexKey> Cutting<'_, R, K> {
    /// One record more than the page may have, if there are so many.
    fn take<'e>(&self, entries: impl Iterator<Item = (&'e K, &'e Arc<R>)>) -> Vec<(K, Arc<R>)> {
        let keys = &self.ordered.spec.keys;
        let is_wanted = |(key, record): &(&K, &Arc<R>)| {
            is_first(keys, self.ranges, key, record)
                && self.filters.iter().all(|is_wanted| is_wanted(record))
        };
        let wanted = entries.filter(is_wanted).take(self.limit.saturating_add(1));
        wanted.map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    /// The page of what the window covers; found by another index where that is less work.
    fn within<W: IndexKey>(
        &self,
        select: &Select<'_, R, W, K>,
        snapshot: &Snapshot<R>,
        left: &Ranges<K>,
    ) -> Vec<(K, Arc<R>)> {
        let stretches = self.stretches(left);
        let own: usize = stretches.iter().map(|(from, to)| to - from).sum();
        // Where so many of them are wanted, as if those were spread evenly.
        let walked = |wanted: usize| own.min(self.limit.saturating_mul(own) / wanted.max(1));
        match select.table.cheaper(snapshot, &select.also, walked) {
            None => self.of_stretches(&stretches),
            Some(also) => {
                let found = select.table.lane(also.place).within(&snapshot.content, &*also.ranges);
                self.of_sorted(&sorted(self.ordered, self.ranges, found))
            }
        }
    }

    /// The page of what the table has in `ranges`.
    fn kept(&self, ranges: &Ranges<K>) -> Vec<(K, Arc<R>)> {
        self.of_stretches(&self.stretches(ranges))
    }

    /// The ranks between which the page may lie.
    fn stretches(&self, ranges: &Ranges<K>) -> Vec<(usize, usize)> {
        let tree = &self.ordered.tree;
        let (first, last) = match (self.after, self.direction) {
            (None, _) => (0, tree.len()),
            (Some(after), Direction::Ascending) => {
                (tree.rank_of(|key, record| place_of(key, record, after).is_le()), tree.len())
            }
            (Some(after), Direction::Descending) => {
                (0, tree.rank_of(|key, record| place_of(key, record, after).is_lt()))
            }
        };
        let cut = |(from, to): (usize, usize)| (from.max(first), to.min(last));
        let stretches = stretches(tree, ranges).into_iter().map(cut);
        stretches.filter(|(from, to)| from < to).collect()
    }

    fn of_stretches(&self, stretches: &[(usize, usize)]) -> Vec<(K, Arc<R>)> {
        let rows = |(from, to): &(usize, usize)| self.ordered.tree.rows(*from, *to);
        match self.direction {
            Direction::Ascending => self.take(stretches.iter().flat_map(rows)),
            Direction::Descending => {
                self.take(stretches.iter().rev().flat_map(|one| rows(one).rev()))
            }
        }
    }

    /// The page of entries that are in the order of the index, each record once.
    fn of_sorted(&self, entries: &[(K, Arc<R>)]) -> Vec<(K, Arc<R>)> {
        let is_left = |&(key, record): &(&K, &Arc<R>)| match (self.after, self.direction) {
            (None, _) => true,
            (Some(after), Direction::Ascending) => place_of::<R, K>(key, record, after).is_gt(),
            (Some(after), Direction::Descending) => place_of::<R, K>(key, record, after).is_lt(),
        };
        let entries = entries.iter().map(|(key, record)| (key, record));
        match self.direction {
            Direction::Ascending => self.take(entries.filter(is_left)),
            Direction::Descending => self.take(entries.rev().filter(is_left)),
        }
    }
}

/// How an entry stands to a place.
fn place_of<R: Record, K: Ord>(key: &K, record: &R, place: &Cursor<K, R::Key>) -> Ordering {
    key.cmp(&place.key).then_with(|| record.key().cmp(&place.primary))
}

/// Records in the order of an index, at most so many as were asked for, as they were at one moment.
pub struct Page<R: Record, K> {
    entries: Vec<(K, Arc<R>)>,
    /// Where it ends.
    end: Option<Cursor<K, R::Key>>,
    is_last: bool,
    beyond: Beyond,
}

/// What of the ranges lay outside the window and was not asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Nothing,
    Slack,
}

impl<R: Record, K: IndexKey> Page<R, K> {
    fn new(
        mut entries: Vec<(K, Arc<R>)>,
        limit: usize,
        after: Option<Cursor<K, R::Key>>,
        beyond: Beyond,
    ) -> Self {
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        let last = entries.last();
        let last = last.map(|(key, one)| Cursor { key: key.clone(), primary: one.key() });
        Self { entries, end: last.or(after), is_last, beyond }
    }

    /// The records, in the direction of the page.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<R>> + ExactSizeIterator {
        self.entries.iter().map(|(_, record)| record)
    }

    /// The records with the keys they stand under.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&K, &Arc<R>)> + ExactSizeIterator {
        self.entries.iter().map(|(key, record)| (key, record))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what was left of the ranges reached beyond the window, into its slack: records that
    /// the origin has there are in no page.
    pub fn is_within_slack(&self) -> bool {
        self.beyond == Beyond::Slack
    }

    /// Where the next page goes on; `None` when there was no more when this one was read.
    pub fn next(&self) -> Option<Cursor<K, R::Key>> {
        self.end.clone().filter(|_| !self.is_last)
    }

    /// Where this page ends, also if there was no more: to ask later for what came behind it.
    /// `None` when nothing was ever read.
    pub fn end(&self) -> Option<Cursor<K, R::Key>> {
        self.end.clone()
    }
}

impl<R: Record, W: IndexKey, K: IndexKey> fmt::Debug for Paged<'_, R, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged")
            .field("select", &self.select)
            .field("limit", &self.limit)
            .field("after", &self.after)
            .field("direction", &self.direction)
            .finish()
    }
}

impl<R: Record, K: IndexKey> fmt::Debug for Page<R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("len", &self.entries.len())
            .field("end", &self.end)
            .field("is_last", &self.is_last)
            .finish()
    }
}
