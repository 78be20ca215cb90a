//! Differences: what is in one tree and not in another that it came from.
//!
//! Trees share the blocks that no edit fell into, so both are walked from the top and a block that
//! both have is left out with all below it. **Invariant**: what is left out is in both, the same
//! record under the same key.
//!
//! # Implementation notes
//!
//! Blocks are compared depth by depth, counted from the leaves: a tree that grew has one depth
//! more, and its lower ones are shared all the same.

use std::{collections::HashSet, sync::Arc};

use super::{Below, Node, Tree};
use crate::measure::Measure;

/// Entries of each tree that stand in blocks which the other does not have, in their order; the
/// same entry may be in both.
pub(crate) struct Differences<R> {
    pub(crate) before: Vec<Arc<R>>,
    pub(crate) after: Vec<Arc<R>>,
}

type Nodes<'a, K, R, M> = Vec<&'a Arc<Node<K, R, M>>>;

impl<K, R, M: Measure<R>> Tree<K, R, M> {
    /// What stands in blocks that this tree and `before` do not share.
    ///
    /// # Cost
    /// A look at the blocks above those that differ; nothing for what is shared.
    pub(crate) fn differences(&self, before: &Self) -> Differences<R> {
        let (mut old, mut new) = (vec![&before.root], vec![&self.root]);
        let (mut old_height, mut new_height) = (height(&before.root), height(&self.root));
        loop {
            if old_height == new_height {
                leave_shared(&mut old, &mut new);
            }
            let deepest = old_height.max(new_height);
            if deepest == 0 {
                return Differences { before: records(&old), after: records(&new) };
            }
            if old_height == deepest {
                (old, old_height) = (below(&old), deepest - 1);
            }
            if new_height == deepest {
                (new, new_height) = (below(&new), deepest - 1);
            }
        }
    }
}

/// Depths below this node.
fn height<K, R, M: Measure<R>>(node: &Node<K, R, M>) -> usize {
    match &node.below {
        Below::Records(_) => 0,
        Below::Blocks(blocks) => blocks.first().map_or(0, |block| height(&block.node) + 1),
    }
}

fn below<'a, K, R, M: Measure<R>>(nodes: &Nodes<'a, K, R, M>) -> Nodes<'a, K, R, M> {
    let blocks = nodes.iter().map(|node| match &node.below {
        Below::Blocks(blocks) => &blocks[..],
        Below::Records(_) => &[],
    });
    blocks.flatten().map(|block| &block.node).collect()
}

fn leave_shared<K, R, M: Measure<R>>(old: &mut Nodes<'_, K, R, M>, new: &mut Nodes<'_, K, R, M>) {
    let olds: HashSet<_> = old.iter().map(|node| Arc::as_ptr(node)).collect();
    let news: HashSet<_> = new.iter().map(|node| Arc::as_ptr(node)).collect();
    old.retain(|node| !news.contains(&Arc::as_ptr(node)));
    new.retain(|node| !olds.contains(&Arc::as_ptr(node)));
}

fn records<K, R, M: Measure<R>>(leaves: &Nodes<'_, K, R, M>) -> Vec<Arc<R>> {
    let records = leaves.iter().map(|leaf| match &leaf.below {
        Below::Records(records) => &records[..],
        Below::Blocks(_) => &[],
    });
    records.flatten().cloned().collect()
}
