//! Edits: a new tree from an old one, with some entries put in and others taken out.
//!
//! All that changes at once is one walk: every block into which an edit falls is made once, however
//! many fall into it, and small neighbours become one. **Invariant**: what no edit falls into is
//! shared with the tree it came from.

use std::{cmp::Ordering, sync::Arc};

use super::{Below, Block, Node, Tree, WIDTH, partition};
use crate::{measure::Measure, record::Record};

/// A change of one entry.
pub(crate) struct Edit<K, R> {
    pub(crate) key: K,
    pub(crate) record: Arc<R>,
    pub(crate) kind: Kind,
}

/// What becomes of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is there, in place of one with the same key of the same record.
    Put,
    /// It is not there.
    Take,
}

/// Neighbours of which one has less than this become one, if they fit. Half as much would leave
/// blocks nearly empty, twice as much would split them again with the next few entries.
const SMALL: usize = WIDTH / 4;

/// Entries of a leaf of a tree that is made as a whole: room for some more in each.
const FILL: usize = WIDTH - WIDTH / 8;

impl<K: Ord + Clone, R: Record, M: Measure<R>> Tree<K, R, M> {
    /// A tree of `entries`, sorted and without repetitions.
    pub(crate) fn build(
        mut entries: impl ExactSizeIterator<Item = (K, Arc<R>)>,
        measure: &M,
    ) -> Self {
        let mut blocks = Vec::new();
        while entries.len() != 0 {
            let (keys, records) = entries.by_ref().take(FILL).unzip();
            blocks.push(Block::of(Node { keys, below: Below::Records(records) }, measure));
        }
        Self::over(blocks, measure)
    }

    /// The tree with `edits`, which are sorted as entries are and concern each entry once.
    ///
    /// # Cost
    /// For each leaf that an edit falls into, a copy of it and of one node of each depth above.
    pub(crate) fn edited(&self, edits: Vec<Edit<K, R>>, measure: &M) -> Self {
        if edits.is_empty() {
            return self.clone();
        }
        let mut blocks = Vec::new();
        edit(&self.root, edits, measure, &mut blocks);
        Self::over(blocks, measure)
    }

    /// The tree whose topmost blocks, all of one depth, these are.
    fn over(mut blocks: Vec<Block<K, R, M>>, measure: &M) -> Self {
        loop {
            match blocks.len() {
                0 => return Self::default(),
                1 => break,
                _ => blocks = nodes(blocks, measure),
            }
        }
        let mut root = blocks.pop().expect("there is one").node;
        while let Below::Blocks(blocks) = &root.below
            && let [only] = &blocks[..]
        {
            root = only.node.clone();
        }
        Self { root }
    }
}

impl<K: Clone, R, M: Measure<R>> Block<K, R, M> {
    fn of(node: Node<K, R, M>, measure: &M) -> Self {
        let (end, sum) = (node.len(), node.sum(measure));
        Self { node: Arc::new(node), end, sum }
    }

    /// The key of its first entry.
    fn key(&self) -> K {
        self.node.keys.first().expect("no block is empty").clone()
    }
}

fn order<K: Ord, R: Record>(edit: &Edit<K, R>, key: &K, record: &R) -> Ordering {
    edit.key.cmp(key).then_with(|| edit.record.order(record))
}

/// Carries out the edits; what becomes of `node` goes to `out`.
fn edit<K: Ord + Clone, R: Record, M: Measure<R>>(
    node: &Node<K, R, M>,
    edits: Vec<Edit<K, R>>,
    measure: &M,
    out: &mut Vec<Block<K, R, M>>,
) {
    let blocks = match &node.below {
        Below::Records(records) => return edit_leaf(&node.keys, records, edits, measure, out),
        Below::Blocks(blocks) => blocks,
    };
    let mut made = Vec::with_capacity(blocks.len() + 1);
    let (mut place, mut edits) = (0, edits.into_iter().peekable());
    while let Some(next) = edits.next() {
        // The last block that does not begin behind the edit; the first one if all do.
        let is_before = |at| node.order_at(at, &next.key, &next.record) != Ordering::Greater;
        let into = partition(blocks.len(), is_before).saturating_sub(1);
        made.extend_from_slice(blocks.get(place..into).unwrap_or_default());
        place = into + 1;
        let falls_into = |edit: &Edit<K, R>| {
            blocks.len() <= place
                || node.order_at(place, &edit.key, &edit.record) == Ordering::Greater
        };
        let mut own = vec![next];
        while let Some(more) = edits.next_if(falls_into) {
            own.push(more);
        }
        edit(&blocks.get(into).expect("a block of this node").node, own, measure, &mut made);
    }
    made.extend_from_slice(blocks.get(place..).unwrap_or_default());
    out.extend(nodes(joined(made, measure), measure));
}

/// Merges the edits into a leaf and cuts the result into leaves.
fn edit_leaf<K: Ord + Clone, R: Record, M: Measure<R>>(
    keys: &[K],
    records: &[Arc<R>],
    edits: Vec<Edit<K, R>>,
    measure: &M,
    out: &mut Vec<Block<K, R, M>>,
) {
    let room = keys.len() + edits.len();
    let mut merged = Merged { keys: Vec::with_capacity(room), records: Vec::with_capacity(room) };
    let (mut place, mut end) = (0, End::AsItWas);
    for next in edits {
        let at = |at: usize| keys.get(at).zip(records.get(at));
        let stands = |at: usize| match (keys.get(at), records.get(at)) {
            (Some(key), Some(record)) => order(&next, key, record),
            _ => Ordering::Less,
        };
        let stays =
            place + partition(keys.len() - place, |step| stands(place + step) == Ordering::Greater);
        merged.copy(keys, records, place, stays);
        place = stays + usize::from(at(stays).is_some() && stands(stays) == Ordering::Equal);
        if next.kind == Kind::Put {
            end = if stays == keys.len() { End::Grown } else { End::AsItWas };
            merged.keys.push(next.key);
            merged.records.push(next.record);
        }
    }
    merged.copy(keys, records, place, keys.len());
    merged.cut(end, measure, out);
}

/// Whether entries were put behind the last one of a leaf: then more are likely to follow there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    AsItWas,
    Grown,
}

struct Merged<K, R> {
    keys: Vec<K>,
    records: Vec<Arc<R>>,
}

impl<K: Clone, R> Merged<K, R> {
    fn copy(&mut self, keys: &[K], records: &[Arc<R>], from: usize, to: usize) {
        self.keys.extend_from_slice(keys.get(from..to).unwrap_or_default());
        self.records.extend_from_slice(records.get(from..to).unwrap_or_default());
    }

    fn cut<M: Measure<R>>(self, end: End, measure: &M, out: &mut Vec<Block<K, R, M>>) {
        let (mut keys, mut records) = (self.keys.into_iter(), self.records.into_iter());
        for width in widths(keys.len(), end) {
            let keys = keys.by_ref().take(width).collect();
            let below = Below::Records(records.by_ref().take(width).collect());
            out.push(Block::of(Node { keys, below }, measure));
        }
    }
}

/// How `count` slots are cut into blocks: evenly, or, where more are to be expected at the end, so
/// that those before are full and will stay so.
fn widths(count: usize, end: End) -> impl Iterator<Item = usize> {
    let blocks = count.div_ceil(WIDTH);
    let full = if end == End::Grown { WIDTH } else { count.div_ceil(blocks.max(1)) };
    (0..blocks).map(move |block| full.min(count - block * full))
}

/// Nodes over these blocks.
fn nodes<K: Clone, R, M: Measure<R>>(
    blocks: Vec<Block<K, R, M>>,
    measure: &M,
) -> Vec<Block<K, R, M>> {
    let count = blocks.len();
    let mut blocks = blocks.into_iter();
    let node = |width| {
        let mut end = 0;
        let mut own: Vec<Block<K, R, M>> = blocks.by_ref().take(width).collect();
        for block in &mut own {
            end += block.node.len();
            block.end = end;
        }
        let keys = own.iter().map(Block::key).collect();
        Block::of(Node { keys, below: Below::Blocks(own) }, measure)
    };
    widths(count, End::AsItWas).map(node).collect()
}

/// The same blocks, small ones joined with what stands before them.
fn joined<K: Clone, R, M: Measure<R>>(
    blocks: Vec<Block<K, R, M>>,
    measure: &M,
) -> Vec<Block<K, R, M>> {
    let mut joined: Vec<Block<K, R, M>> = Vec::with_capacity(blocks.len());
    for block in blocks {
        match joined.last_mut() {
            Some(last) if may_join(&last.node, &block.node) => {
                *last = Block::of(join(&last.node, &block.node), measure);
            }
            _ => joined.push(block),
        }
    }
    joined
}

fn may_join<K, R, M: Measure<R>>(one: &Node<K, R, M>, other: &Node<K, R, M>) -> bool {
    one.width().min(other.width()) < SMALL.max(2) && one.width() + other.width() <= WIDTH
}

fn join<K: Clone, R, M: Measure<R>>(one: &Node<K, R, M>, other: &Node<K, R, M>) -> Node<K, R, M> {
    let keys = one.keys.iter().chain(&other.keys).cloned().collect();
    let below = match (&one.below, &other.below) {
        (Below::Records(one), Below::Records(other)) => {
            Below::Records(one.iter().chain(other).cloned().collect())
        }
        (Below::Blocks(one_blocks), Below::Blocks(other)) => {
            let start = one.len();
            let moved = other.iter().map(|block| Block { end: start + block.end, ..block.clone() });
            Below::Blocks(one_blocks.iter().cloned().chain(moved).collect())
        }
        _ => unreachable!("all leaves are at one depth"),
    };
    Node { keys, below }
}
