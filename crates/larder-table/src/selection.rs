//! The selection: the answer to a read, in order, for as long as it is kept.
//!
//! It owns the snapshot it was decided by, so that it never changes and nobody waits for it (TD5).
//! **Invariant**: each record comes once, in the order of the index that was read by.

use std::{fmt, sync::Arc};

use crate::{
    index::{Index, IndexKey, Ordered},
    lane::{AnyRanges, is_first},
    measure::Nothing,
    ranges::Ranges,
    record::Record,
    select::Filter,
    snapshot::Snapshot,
};

/// A stretch of an answer.
pub(crate) enum Segment<R, K> {
    /// In the snapshot, between two ranks.
    Kept { from: usize, to: usize },
    /// From the origin.
    Loaded(Vec<(K, Arc<R>)>),
}

/// Records in the order of an index, as they were at one moment.
pub struct Selection<R: Record, K: IndexKey> {
    snapshot: Arc<Snapshot<R>>,
    index: Index<R, K>,
    ranges: Ranges<K>,
    segments: Vec<Segment<R, K>>,
    filters: Vec<Filter<R>>,
    beyond: Option<Arc<dyn AnyRanges>>,
}

impl<R: Record, K: IndexKey> Selection<R, K> {
    pub(crate) fn new(
        snapshot: Arc<Snapshot<R>>,
        index: Index<R, K>,
        ranges: Ranges<K>,
        segments: Vec<Segment<R, K>>,
        filters: Vec<Filter<R>>,
        beyond: Option<Arc<dyn AnyRanges>>,
    ) -> Self {
        Self { snapshot, index, ranges, segments, filters, beyond }
    }

    fn ordered(&self) -> &Ordered<R, K, Nothing> {
        self.snapshot.content.of(&self.index)
    }

    /// The records, from either end. `skip`, `take` and `rev` do what they do elsewhere.
    ///
    /// # Cost
    /// Nothing is allocated or counted for a record.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<R>> {
        self.entries().map(|(_, record)| record)
    }

    /// The records with the keys they stand under.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&K, &Arc<R>)> {
        let ordered = self.ordered();
        let each = |segment| match segment {
            &Segment::Kept { from, to } => (Some(ordered.tree.rows(from, to)), &[][..]),
            Segment::Loaded(entries) => (None, &entries[..]),
        };
        let entries = self.segments.iter().map(each).flat_map(|(kept, loaded)| {
            kept.into_iter().flatten().chain(loaded.iter().map(|(key, record)| (key, record)))
        });
        entries.filter(|(key, record)| {
            is_first(&ordered.spec.keys, &self.ranges, key, record)
                && self.filters.iter().all(|is_wanted| is_wanted(record))
        })
    }

    /// How many records there are.
    ///
    /// # Cost
    /// Without filters and for an index with one key a record, none; else a walk.
    pub fn count(&self) -> usize {
        if !self.filters.is_empty() || self.ordered().spec.keys.are_many() {
            return self.iter().count();
        }
        let len = |segment: &Segment<R, K>| match segment {
            Segment::Kept { from, to } => to.saturating_sub(*from),
            Segment::Loaded(entries) => entries.len(),
        };
        self.segments.iter().map(len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether it reached beyond the window, into its slack: records that the origin has there are
    /// not in it.
    pub fn is_within_slack(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| !beyond.is_empty())
    }

    /// How far it reached: the keys of `window`, the index that the window is on, of which it does
    /// not know what the origin has. None unless [`Selection::is_within_slack`], and for another
    /// index.
    pub fn beyond_window<W: IndexKey>(&self, window: &Index<R, W>) -> Ranges<W> {
        let beyond = self.beyond.as_deref().filter(|_| window.of == self.index.of);
        let beyond = beyond.and_then(|beyond| beyond.as_any().downcast_ref::<Ranges<W>>());
        beyond.cloned().unwrap_or_else(Ranges::none)
    }

    /// The records in a list of their own.
    pub fn to_vec(&self) -> Vec<Arc<R>> {
        self.iter().cloned().collect()
    }
}

impl<R: Record, K: IndexKey> fmt::Debug for Selection<R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("index", &self.index).finish_non_exhaustive()
    }
}
