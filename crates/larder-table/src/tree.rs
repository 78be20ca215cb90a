//! The tree: records in the order of one index, as they are at one moment.
//!
//! A B-tree that is never changed: what is changed is a new tree that shares every block no edit
//! fell into (Driscoll et al., *Making Data Structures Persistent*, 1989). So whoever holds a tree
//! reads it without a lock for as long as he likes. It knows keys and records, and nothing of
//! windows or origins. **Invariant**: entries are in the order of their keys, and of their records
//! where keys are equal; no entry is there twice; all leaves are at one depth.

use std::{cmp::Ordering, sync::Arc};

use crate::{measure::Measure, record::Record};

mod edits;

mod rows;

mod differences;

pub(crate) use differences::Differences;
pub(crate) use edits::{Edit, Kind};
pub(crate) use rows::Rows;

/// Entries of a leaf and blocks of a node. A change copies one block of each depth, and counts a
/// reference for each slot of it. Measured with a million records in three indexes: with half as
/// many a change costs 0.7 times as much and a range of a hundred the same, with twice as many a
/// change costs the same and a range 0.7 times as much.
pub(crate) const WIDTH: usize = if cfg!(test) { 4 } else { 64 };

/// Records in the order of `K`. Cloning is one count.
pub(crate) struct Tree<K, R, M: Measure<R>> {
    root: Arc<Node<K, R, M>>,
}

/// One block: a leaf, or what stands above leaves.
pub(super) struct Node<K, R, M: Measure<R>> {
    /// The key of each record; above, that of the first record of each block below.
    keys: Vec<K>,
    below: Below<K, R, M>,
}

pub(super) enum Below<K, R, M: Measure<R>> {
    Records(Vec<Arc<R>>),
    Blocks(Vec<Block<K, R, M>>),
}

/// A node as the one above it sees it.
pub(super) struct Block<K, R, M: Measure<R>> {
    node: Arc<Node<K, R, M>>,
    /// Entries up to the end of this block, counted from the beginning of the node it is in.
    end: usize,
    sum: M::Sum,
}

impl<K, R, M: Measure<R>> Clone for Tree<K, R, M> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K, R, M: Measure<R>> Clone for Block<K, R, M> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), end: self.end, sum: self.sum.clone() }
    }
}

impl<K, R, M: Measure<R>> Default for Tree<K, R, M> {
    fn default() -> Self {
        Self { root: Arc::new(Node { keys: Vec::new(), below: Below::Records(Vec::new()) }) }
    }
}

impl<K, R, M: Measure<R>> Node<K, R, M> {
    /// Entries below.
    fn len(&self) -> usize {
        match &self.below {
            Below::Records(records) => records.len(),
            Below::Blocks(blocks) => blocks.last().map_or(0, |last| last.end),
        }
    }

    /// Slots taken.
    fn width(&self) -> usize {
        self.keys.len()
    }

    fn sum(&self, measure: &M) -> M::Sum {
        let mut sum = M::Sum::default();
        match &self.below {
            Below::Records(records) => {
                records.iter().for_each(|record| M::add(&mut sum, measure.of(record)));
            }
            Below::Blocks(blocks) => {
                blocks.iter().for_each(|block| M::add(&mut sum, block.sum.clone()));
            }
        }
        sum
    }

    /// The first record below.
    fn first(&self) -> Option<&Arc<R>> {
        match &self.below {
            Below::Records(records) => records.first(),
            Below::Blocks(blocks) => blocks.first().and_then(|block| block.node.first()),
        }
    }

    /// The first record of the slot at `place`.
    fn first_at(&self, place: usize) -> Option<&Arc<R>> {
        match &self.below {
            Below::Records(records) => records.get(place),
            Below::Blocks(blocks) => blocks.get(place).and_then(|block| block.node.first()),
        }
    }
}

impl<K: Ord, R: Record, M: Measure<R>> Node<K, R, M> {
    /// How the slot at `place` stands to an entry.
    fn order_at(&self, place: usize, key: &K, record: &R) -> Ordering {
        let own = self.keys.get(place).expect("a slot of this node");
        own.cmp(key).then_with(|| self.first_at(place).expect("no block is empty").order(record))
    }
}

/// The first of `len` places at which `is_before` does not hold any more.
fn partition(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

impl<K, R, M: Measure<R>> Tree<K, R, M> {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    /// How many entries have a key of which `is_before` holds: those before some point of the
    /// order.
    ///
    /// # Cost
    /// A logarithm of the entries.
    pub(crate) fn rank(&self, is_before: impl Fn(&K) -> bool) -> usize {
        let (mut node, mut rank) = (&*self.root, 0);
        loop {
            let place = node.keys.partition_point(&is_before);
            match &node.below {
                Below::Records(_) => return rank + place,
                Below::Blocks(blocks) => {
                    // The point lies in the last block that begins before it, or at its end.
                    let Some(into) = place.checked_sub(1) else { return rank };
                    rank += before(blocks, into);
                    node = &blocks.get(into).expect("a block of this node").node;
                }
            }
        }
    }

    /// The same for what is said of an entry by its key and its record.
    pub(crate) fn rank_of(&self, is_before: impl Fn(&K, &R) -> bool) -> usize {
        let (mut node, mut rank) = (&*self.root, 0);
        loop {
            let is_before = |place| {
                let entry = node.keys.get(place).zip(node.first_at(place));
                entry.is_some_and(|(key, record)| is_before(key, record))
            };
            let place = partition(node.width(), is_before);
            match &node.below {
                Below::Records(_) => return rank + place,
                Below::Blocks(blocks) => {
                    let Some(into) = place.checked_sub(1) else { return rank };
                    rank += before(blocks, into);
                    node = &blocks.get(into).expect("a block of this node").node;
                }
            }
        }
    }

    /// The leaf in which the entry of this rank is, and its place there.
    fn leaf(&self, mut rank: usize) -> Option<Leaf<'_, K, R>> {
        let mut node = &*self.root;
        loop {
            match &node.below {
                Below::Records(records) => {
                    let is_there = rank < records.len();
                    return is_there.then_some(Leaf { keys: &node.keys, records, place: rank });
                }
                Below::Blocks(blocks) => {
                    let into = blocks.partition_point(|block| block.end <= rank);
                    rank -= before(blocks, into);
                    node = &blocks.get(into)?.node;
                }
            }
        }
    }

    /// The entries from the first rank up to the second.
    pub(crate) fn rows(&self, from: usize, to: usize) -> Rows<'_, K, R, M> {
        Rows::new(self, from, to.min(self.len()))
    }

    /// Whether two entries have one key.
    ///
    /// # Cost
    /// A walk over all of them.
    pub(crate) fn has_key_twice(&self) -> bool
    where
        K: PartialEq,
    {
        let mut keys = self.rows(0, self.len()).map(|(key, _)| key);
        let mut before = keys.next();
        keys.any(|key| before.replace(key) == Some(key))
    }

    /// The first record with this key.
    pub(crate) fn find(&self, key: &K) -> Option<&Arc<R>>
    where
        K: Ord,
    {
        let rank = self.rank(|own| own < key);
        let (own, record) = self.rows(rank, rank + 1).next()?;
        (own == key).then_some(record)
    }

    /// The sum of the measures of the entries from the first rank up to the second.
    ///
    /// # Cost
    /// A walk over one node of each depth at both ends.
    pub(crate) fn sum(&self, from: usize, to: usize, measure: &M) -> M::Sum {
        let mut sum = M::Sum::default();
        sum_below(&self.root, from, to.min(self.len()), measure, &mut sum);
        sum
    }
}

/// Entries in the blocks before this one.
fn before<K, R, M: Measure<R>>(blocks: &[Block<K, R, M>], place: usize) -> usize {
    place.checked_sub(1).and_then(|last| blocks.get(last)).map_or(0, |block| block.end)
}

fn sum_below<K, R, M: Measure<R>>(
    node: &Node<K, R, M>,
    from: usize,
    to: usize,
    measure: &M,
    sum: &mut M::Sum,
) {
    match &node.below {
        Below::Records(records) => {
            let records = records.get(from..to.min(records.len())).unwrap_or_default();
            records.iter().for_each(|record| M::add(sum, measure.of(record)));
        }
        Below::Blocks(blocks) => {
            let mut start = 0;
            for block in blocks {
                let (low, high) = (from.max(start), to.min(block.end));
                if low == start && high == block.end {
                    M::add(sum, block.sum.clone());
                } else if low < high {
                    sum_below(&block.node, low - start, high - start, measure, sum);
                }
                start = block.end;
            }
        }
    }
}

/// A leaf and a place in it.
struct Leaf<'a, K, R> {
    keys: &'a [K],
    records: &'a [Arc<R>],
    place: usize,
}

#[cfg(test)]
mod tests;
