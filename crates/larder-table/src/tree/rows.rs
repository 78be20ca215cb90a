//! Rows: the entries of a stretch of a tree, one after the other, from either end.
//!
//! It remembers ranks and a leaf, no path: the next leaf is found from the root, which costs less
//! than keeping a stack for each reader. **Invariant**: what is handed out is borrowed from the
//! tree; nothing is allocated or counted for a record.

use std::sync::Arc;

use super::{Leaf, Tree};
use crate::measure::Measure;

/// Entries from one rank up to another.
pub(crate) struct Rows<'a, K, R, M: Measure<R>> {
    tree: &'a Tree<K, R, M>,
    next: usize,
    end: usize,
    front: Slots<'a, K, R>,
    back: Slots<'a, K, R>,
}

/// What is left of the leaf at one end.
struct Slots<'a, K, R> {
    keys: &'a [K],
    records: &'a [Arc<R>],
}

impl<K, R> Default for Slots<'_, K, R> {
    fn default() -> Self {
        Self { keys: &[], records: &[] }
    }
}

impl<'a, K, R, M: Measure<R>> Rows<'a, K, R, M> {
    pub(super) fn new(tree: &'a Tree<K, R, M>, from: usize, to: usize) -> Self {
        Self { tree, next: from, end: to, front: Slots::default(), back: Slots::default() }
    }
}

impl<'a, K, R, M: Measure<R>> Iterator for Rows<'a, K, R, M> {
    type Item = (&'a K, &'a Arc<R>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.end <= self.next {
            return None;
        }
        if self.front.records.is_empty() {
            let Leaf { keys, records, place } = self.tree.leaf(self.next)?;
            self.front = Slots { keys: keys.get(place..)?, records: records.get(place..)? };
        }
        let (key, keys) = self.front.keys.split_first()?;
        let (record, records) = self.front.records.split_first()?;
        self.front = Slots { keys, records };
        self.next += 1;
        Some((key, record))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl<K, R, M: Measure<R>> DoubleEndedIterator for Rows<'_, K, R, M> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.end <= self.next {
            return None;
        }
        if self.back.records.is_empty() {
            let Leaf { keys, records, place } = self.tree.leaf(self.end - 1)?;
            self.back = Slots { keys: keys.get(..=place)?, records: records.get(..=place)? };
        }
        let (key, keys) = self.back.keys.split_last()?;
        let (record, records) = self.back.records.split_last()?;
        self.back = Slots { keys, records };
        self.end -= 1;
        Some((key, record))
    }
}

impl<K, R, M: Measure<R>> ExactSizeIterator for Rows<'_, K, R, M> {}
