//! The index of spans: which of many hold a given value.
//!
//! Who holds which span, and since when; finding those that hold a value is the work of `tree`,
//! which looks at a logarithm of the spans and at those found. **Invariant**: a span is there
//! exactly while somebody holds it, whatever came and went.

use std::{cmp::Ordering, collections::HashSet};

use super::{Nulls, Span, order_of_lows, tree::Tree};
use crate::{by_digest::DigestMap, dependency::Digest, timeline::Position, value::Value};

/// Spans of one column under one set of equalities, by the digest of their dependency.
#[derive(Debug, Default)]
pub(crate) struct SpanIndex {
    spans: Spans,
    tree: Tree,
    by_digest: DigestMap<u32>,
    /// Those that hold rows without a value; a page of a sorted list, so they are few.
    with_nulls: HashSet<Digest>,
}

#[derive(Debug)]
struct Held {
    span: Span,
    digest: Digest,
    holders: u32,
    since: Position,
}

/// The spans by number.
#[derive(Debug, Default)]
pub(super) struct Spans {
    held: Vec<Option<Held>>,
    free: Vec<u32>,
}

impl Spans {
    pub(super) fn span(&self, number: u32) -> &Span {
        &self.held(number).span
    }

    /// No two are equal: what begins alike is told apart by its digest.
    pub(super) fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.held(a), self.held(b));
        order_of_lows(&a.span.low, &b.span.low).then(a.digest.cmp(&b.digest))
    }

    fn held(&self, number: u32) -> &Held {
        self.held.get(number as usize).and_then(Option::as_ref).expect("the number of a span")
    }

    fn held_mut(&mut self, number: u32) -> &mut Held {
        let held = self.held.get_mut(number as usize);
        held.and_then(Option::as_mut).expect("the number of a span")
    }

    fn add(&mut self, held: Held) -> u32 {
        if let Some(number) = self.free.pop()
            && let Some(free) = self.held.get_mut(number as usize)
        {
            *free = Some(held);
            return number;
        }
        let number = u32::try_from(self.held.len()).expect("memory ends before the spans do");
        self.held.push(Some(held));
        number
    }

    fn remove(&mut self, number: u32) {
        if let Some(held) = self.held.get_mut(number as usize) {
            *held = None;
            self.free.push(number);
        }
    }
}

impl SpanIndex {
    /// Holds `span`; a new one is noticed from `since` on.
    pub(crate) fn hold(&mut self, span: &Span, digest: Digest, since: Position) {
        if let Some(&number) = self.by_digest.get(&digest) {
            self.spans.held_mut(number).holders += 1;
            return;
        }
        let number = self.spans.add(Held { span: span.clone(), digest, holders: 1, since });
        self.tree.insert(number, &self.spans);
        self.by_digest.insert(digest, number);
        if span.nulls == Nulls::Inside {
            self.with_nulls.insert(digest);
        }
    }

    /// Gives one hold back; the last one takes the span out.
    pub(crate) fn release(&mut self, digest: Digest) {
        let Some(&number) = self.by_digest.get(&digest) else { return };
        let held = self.spans.held_mut(number);
        held.holders -= 1;
        if held.holders != 0 {
            return;
        }
        self.tree.remove(number, &self.spans);
        self.spans.remove(number);
        self.by_digest.remove(&digest);
        self.with_nulls.remove(&digest);
        if self.by_digest.is_empty() {
            *self = Self::default();
        }
    }

    /// Since when the span is noticed; `None` when nobody holds it.
    pub(crate) fn since(&self, digest: Digest) -> Option<Position> {
        self.by_digest.get(&digest).map(|&number| self.spans.held(number).since)
    }

    /// Calls `found` with each span that holds `value`.
    ///
    /// # Cost
    /// A logarithm of the spans for each one found, and one more.
    pub(crate) fn holding(&self, value: &Value, found: &mut dyn FnMut(Digest)) {
        match value {
            Value::Null => self.with_nulls.iter().copied().for_each(found),
            _ => self.tree.holding(value, &self.spans, &mut |number| {
                found(self.spans.held(number).digest);
            }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Everything in it is noticed from `since` on: a new life of the timeline.
    pub(crate) fn restart(&mut self, since: Position) {
        self.spans.held.iter_mut().flatten().for_each(|held| held.since = since);
    }
}

#[cfg(test)]
impl SpanIndex {
    /// Fails unless the tree is in order and has every span.
    pub(super) fn check(&self) {
        assert_eq!(self.tree.check(&self.spans), self.len());
    }
}
