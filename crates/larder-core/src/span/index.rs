//! The index of spans: which of many hold a given value.
//!
//! A treap ordered by where spans begin, in which every subtree knows its furthest end: finding
//! all that hold a value looks at a logarithm of the spans and at those found (Cormen et al.,
//! *Introduction to Algorithms*, "Interval trees"; Seidel and Aragon, *Randomized search trees*,
//! 1996). **Invariant**: a span is there exactly while somebody holds it, whatever came and went.

use std::{cmp::Ordering, collections::HashSet};

use super::{Nulls, Span, begins_by, ends_after, order_of_highs, order_of_lows};
use crate::{by_digest::DigestMap, dependency::Digest, timeline::Position, value::Value};

/// No node.
const NONE: u32 = u32::MAX;

/// Spans of one column under one set of equalities, by the digest of their dependency.
#[derive(Debug, Default)]
pub(crate) struct SpanIndex {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    root: Root,
    by_digest: DigestMap<u32>,
    /// Those that hold rows without a value; a page of a sorted list, so they are few.
    with_nulls: HashSet<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct Root(u32);

impl Default for Root {
    fn default() -> Self {
        Self(NONE)
    }
}

#[derive(Debug)]
struct Node {
    span: Span,
    digest: Digest,
    holders: u32,
    since: Position,
    /// The node below (or this one) whose span ends last.
    furthest: u32,
    left: u32,
    right: u32,
}

impl Node {
    /// Random and fixed: digests are hashes.
    fn priority(&self) -> u64 {
        self.digest.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl SpanIndex {
    /// Holds `span`; a new one is noticed from `since` on.
    pub(crate) fn hold(&mut self, span: &Span, digest: Digest, since: Position) {
        if let Some(&index) = self.by_digest.get(&digest) {
            self.node_mut(index).holders += 1;
            return;
        }
        let node = Node {
            span: span.clone(),
            digest,
            holders: 1,
            since,
            furthest: NONE,
            left: NONE,
            right: NONE,
        };
        let index = self.place(node);
        self.by_digest.insert(digest, index);
        if span.nulls == Nulls::Inside {
            self.with_nulls.insert(digest);
        }
        let (before, behind) = self.split(self.root.0, index);
        self.refresh(index);
        let left = self.merge(before, index);
        self.root = Root(self.merge(left, behind));
    }

    /// Gives one hold back; the last one takes the span out.
    pub(crate) fn release(&mut self, digest: Digest) {
        let Some(&index) = self.by_digest.get(&digest) else { return };
        let node = self.node_mut(index);
        node.holders -= 1;
        if node.holders != 0 {
            return;
        }
        self.root = Root(self.without(self.root.0, index));
        self.by_digest.remove(&digest);
        self.with_nulls.remove(&digest);
        if let Some(slot) = self.nodes.get_mut(index as usize) {
            *slot = None;
        }
        self.free.push(index);
        if self.by_digest.is_empty() {
            *self = Self::default();
        }
    }

    /// Since when the span is noticed; `None` when nobody holds it.
    pub(crate) fn since(&self, digest: Digest) -> Option<Position> {
        self.by_digest.get(&digest).map(|&index| self.node(index).since)
    }

    /// Calls `found` with each span that holds `value`.
    ///
    /// # Cost
    /// A logarithm of the spans for each one found, and one more.
    pub(crate) fn holding(&self, value: &Value, found: &mut dyn FnMut(Digest)) {
        match value {
            Value::Null => self.with_nulls.iter().copied().for_each(found),
            _ => self.below(self.root.0, value, found),
        }
    }

    fn below(&self, index: u32, value: &Value, found: &mut dyn FnMut(Digest)) {
        if index == NONE || !ends_after(&self.node(self.node(index).furthest).span.high, value) {
            return;
        }
        let node = self.node(index);
        self.below(node.left, value, found);
        if !begins_by(&node.span.low, value) {
            return;
        }
        if ends_after(&node.span.high, value) {
            found(node.digest);
        }
        self.below(node.right, value, found);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Everything in it is noticed from `since` on: a new life of the timeline.
    pub(crate) fn restart(&mut self, since: Position) {
        self.nodes.iter_mut().flatten().for_each(|node| node.since = since);
    }

    fn place(&mut self, node: Node) -> u32 {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.nodes.get_mut(index as usize)
        {
            *slot = Some(node);
            return index;
        }
        let index = u32::try_from(self.nodes.len()).expect("memory ends before the spans do");
        self.nodes.push(Some(node));
        index
    }

    fn node(&self, index: u32) -> &Node {
        self.nodes.get(index as usize).and_then(Option::as_ref).expect("a link leads to a node")
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        let slot = self.nodes.get_mut(index as usize);
        slot.and_then(Option::as_mut).expect("a link leads to a node")
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.node(a), self.node(b));
        order_of_lows(&a.span.low, &b.span.low).then(a.digest.cmp(&b.digest))
    }

    /// Finds the furthest end again, after what is below has changed.
    fn refresh(&mut self, index: u32) {
        let Node { left, right, .. } = *self.node(index);
        let mut furthest = index;
        for child in [left, right] {
            if child == NONE {
                continue;
            }
            let candidate = self.node(child).furthest;
            let (a, b) = (&self.node(candidate).span.high, &self.node(furthest).span.high);
            if order_of_highs(a, b) == Ordering::Greater {
                furthest = candidate;
            }
        }
        self.node_mut(index).furthest = furthest;
    }

    /// What stands before `pivot` and what stands behind it.
    fn split(&mut self, index: u32, pivot: u32) -> (u32, u32) {
        if index == NONE {
            return (NONE, NONE);
        }
        if self.order(index, pivot) == Ordering::Less {
            let (before, behind) = self.split(self.node(index).right, pivot);
            self.node_mut(index).right = before;
            self.refresh(index);
            (index, behind)
        } else {
            let (before, behind) = self.split(self.node(index).left, pivot);
            self.node_mut(index).left = behind;
            self.refresh(index);
            (before, index)
        }
    }

    /// Joins two subtrees, everything in `a` before everything in `b`.
    fn merge(&mut self, a: u32, b: u32) -> u32 {
        if a == NONE || b == NONE {
            return if a == NONE { b } else { a };
        }
        if self.node(b).priority() < self.node(a).priority() {
            let right = self.merge(self.node(a).right, b);
            self.node_mut(a).right = right;
            self.refresh(a);
            a
        } else {
            let left = self.merge(a, self.node(b).left);
            self.node_mut(b).left = left;
            self.refresh(b);
            b
        }
    }

    /// The subtree without `gone`.
    fn without(&mut self, index: u32, gone: u32) -> u32 {
        if index == NONE {
            return NONE;
        }
        if index == gone {
            let Node { left, right, .. } = *self.node(gone);
            return self.merge(left, right);
        }
        if self.order(gone, index) == Ordering::Less {
            let left = self.without(self.node(index).left, gone);
            self.node_mut(index).left = left;
        } else {
            let right = self.without(self.node(index).right, gone);
            self.node_mut(index).right = right;
        }
        self.refresh(index);
        index
    }
}
