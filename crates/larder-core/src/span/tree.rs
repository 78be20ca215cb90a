//! The tree behind the index: spans in the order of their beginnings, in blocks.
//!
//! A B-tree in which every slot knows how far what is below it reaches, so that whatever ends
//! before a value is passed over (Cormen et al., *Introduction to Algorithms*, "Interval trees" and
//! "B-Trees"). Apart from `index`, which says what is held and by whom: here each step is a block
//! of a few lines of the processor's cache, and a span itself is looked at only where the prefixes
//! of two values leave it open which comes first. **Invariant**: the slots of a block are in order,
//! and each says of everything below it where the first begins and where the furthest ends.

use std::cmp::Ordering;

use super::{
    begins_by, ends_after,
    index::Spans,
    order_of_highs,
    prefix::{self, BEHIND_ALL},
};
use crate::value::Value;

/// Slots of a block: eight lines of the cache, of which a search walks half. A quarter would make
/// the tree twice as high, four times as many would be walked longer than a miss takes.
const WIDTH: usize = if cfg!(test) { 4 } else { 16 };
/// Neighbours with so few slots together become one block. At [`WIDTH`] the next span would split
/// it again; at half of it, blocks could be a quarter full on average.
const MERGED: usize = WIDTH * 3 / 4;

/// A span, or a block and all spans below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The prefix of the first beginning.
    low: u64,
    /// The prefix of the furthest end.
    end: u64,
    /// The span that begins first.
    first: u32,
    /// The span that ends last.
    furthest: u32,
    /// The span in a leaf, the block elsewhere.
    below: u32,
}

const EMPTY: Slot = Slot { low: 0, end: 0, first: 0, furthest: 0, below: 0 };

impl Slot {
    pub(super) fn of(span: u32, spans: &Spans) -> Self {
        let own = spans.span(span);
        let (low, end) = (prefix::of_low(&own.low), prefix::of_high(&own.high));
        Self { low, end, first: span, furthest: span, below: span }
    }

    fn begins_like(&self, other: &Self, spans: &Spans) -> Ordering {
        self.low.cmp(&other.low).then_with(|| spans.order(self.first, other.first))
    }

    fn ends_like(&self, other: &Self, spans: &Spans) -> Ordering {
        self.end.cmp(&other.end).then_with(|| match self.end {
            BEHIND_ALL => Ordering::Equal,
            _ => order_of_highs(&spans.span(self.furthest).high, &spans.span(other.furthest).high),
        })
    }
}

/// What is asked for, with its prefix.
struct Asked<'a> {
    value: &'a Value,
    prefix: u64,
}

/// Blocks of [`WIDTH`] slots, one behind the other.
#[derive(Debug)]
pub(super) struct Tree {
    slots: Vec<Slot>,
    /// How many slots of each block are taken.
    lens: Vec<u8>,
    free: Vec<u32>,
    root: u32,
    /// Levels below the root.
    height: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self { slots: vec![EMPTY; WIDTH], lens: vec![0], free: Vec::new(), root: 0, height: 0 }
    }
}

impl Tree {
    /// Calls `found` with each span that holds `value`, which is not null.
    ///
    /// # Cost
    /// A logarithm of the spans for each one found, and one more.
    pub(super) fn holding(&self, value: &Value, spans: &Spans, found: &mut dyn FnMut(u32)) {
        let asked = Asked { value, prefix: prefix::of(value) };
        self.holding_below(self.root, self.height, &asked, spans, found);
    }

    fn holding_below(
        &self,
        block: u32,
        height: u32,
        asked: &Asked<'_>,
        spans: &Spans,
        found: &mut dyn FnMut(u32),
    ) {
        for slot in self.block(block) {
            // What follows begins later still.
            if asked.prefix < slot.low
                || asked.prefix == slot.low && !begins_by(&spans.span(slot.first).low, asked.value)
            {
                return;
            }
            if slot.end < asked.prefix
                || slot.end == asked.prefix
                    && !ends_after(&spans.span(slot.furthest).high, asked.value)
            {
                continue;
            }
            match height {
                0 => found(slot.below),
                _ => self.holding_below(slot.below, height - 1, asked, spans, found),
            }
        }
    }

    /// Puts a span in that is not there.
    pub(super) fn insert(&mut self, span: u32, spans: &Spans) {
        let own = Slot::of(span, spans);
        if let Some(beside) = self.insert_below(self.root, self.height, &own, spans) {
            let left = self.summary(self.root, spans);
            self.root = self.make(&[left, beside]);
            self.height += 1;
        }
    }

    /// What has to stand beside `block`, if it was split.
    fn insert_below(&mut self, block: u32, height: u32, own: &Slot, spans: &Spans) -> Option<Slot> {
        let before = self.count_up_to(block, own, spans);
        if height == 0 {
            return self.put(block, before, *own, spans);
        }
        let place = before.saturating_sub(1);
        let below = self.slot(block, place).below;
        let beside = self.insert_below(below, height - 1, own, spans);
        *self.slot_mut(block, place) = self.summary(below, spans);
        self.put(block, place + 1, beside?, spans)
    }

    /// Takes out a span that is there.
    pub(super) fn remove(&mut self, span: u32, spans: &Spans) {
        let own = Slot::of(span, spans);
        self.remove_below(self.root, self.height, &own, spans);
        while self.height != 0 && self.len(self.root) == 1 {
            let below = self.slot(self.root, 0).below;
            self.drop_block(self.root);
            self.root = below;
            self.height -= 1;
        }
    }

    fn remove_below(&mut self, block: u32, height: u32, own: &Slot, spans: &Spans) {
        let place = self.count_up_to(block, own, spans).saturating_sub(1);
        let below = self.slot(block, place).below;
        if height == 0 {
            debug_assert_eq!(below, own.below, "the span is where its order puts it");
            self.take(block, place);
            return;
        }
        self.remove_below(below, height - 1, own, spans);
        if self.len(below) == 0 {
            self.take(block, place);
            self.drop_block(below);
            return;
        }
        *self.slot_mut(block, place) = self.summary(below, spans);
        // The last one has its only neighbour before it.
        let left = place.min(self.len(block).saturating_sub(2));
        if left + 1 < self.len(block) {
            self.merge(block, left, spans);
        }
    }

    /// Makes one block of two that stand side by side, if they have become small.
    fn merge(&mut self, block: u32, left: usize, spans: &Spans) {
        let (one, other) = (self.slot(block, left).below, self.slot(block, left + 1).below);
        if MERGED < self.len(one) + self.len(other) {
            return;
        }
        for place in 0..self.len(other) {
            let moved = *self.slot(other, place);
            self.push(one, moved);
        }
        self.drop_block(other);
        self.take(block, left + 1);
        *self.slot_mut(block, left) = self.summary(one, spans);
    }

    /// How many slots of `block` begin before `own` or with it.
    fn count_up_to(&self, block: u32, own: &Slot, spans: &Spans) -> usize {
        let is_before = |slot: &Slot| slot.begins_like(own, spans) != Ordering::Greater;
        self.block(block).partition_point(is_before)
    }

    /// Puts `slot` at `place`; a full block is split, and its new neighbour returned.
    fn put(&mut self, block: u32, place: usize, slot: Slot, spans: &Spans) -> Option<Slot> {
        if self.len(block) < WIDTH {
            self.push(block, slot);
            self.block_mut(block).get_mut(place..)?.rotate_right(1);
            return None;
        }
        const HALF: usize = WIDTH / 2;
        let mut behind = [EMPTY; WIDTH - HALF];
        behind.copy_from_slice(self.block(block).get(HALF..)?);
        let beside = self.make(&behind);
        self.set_len(block, HALF);
        match place.checked_sub(HALF + 1) {
            // Never last in the new one's place: there it would come before what it follows.
            Some(_) => self.put(beside, place - HALF, slot, spans),
            None => self.put(block, place, slot, spans),
        };
        Some(self.summary(beside, spans))
    }

    /// Where the first span of a block begins and its furthest one ends.
    fn summary(&self, block: u32, spans: &Spans) -> Slot {
        let mut slots = self.block(block).iter();
        let mut summary = *slots.next().expect("an empty block is dropped");
        for slot in slots {
            if slot.ends_like(&summary, spans) == Ordering::Greater {
                (summary.end, summary.furthest) = (slot.end, slot.furthest);
            }
        }
        Slot { below: block, ..summary }
    }

    fn make(&mut self, slots: &[Slot]) -> u32 {
        let block = self.free.pop().unwrap_or_else(|| {
            let block = u32::try_from(self.lens.len()).expect("memory ends before the blocks do");
            self.lens.push(0);
            self.slots.resize(self.slots.len() + WIDTH, EMPTY);
            block
        });
        slots.iter().for_each(|slot| self.push(block, *slot));
        block
    }

    fn drop_block(&mut self, block: u32) {
        self.set_len(block, 0);
        self.free.push(block);
    }

    fn push(&mut self, block: u32, slot: Slot) {
        let len = self.len(block);
        self.set_len(block, len + 1);
        *self.slot_mut(block, len) = slot;
    }

    fn take(&mut self, block: u32, place: usize) {
        let len = self.len(block);
        if let Some(behind) = self.block_mut(block).get_mut(place..) {
            behind.rotate_left(1);
            self.set_len(block, len - 1);
        }
    }

    fn len(&self, block: u32) -> usize {
        self.lens.get(block as usize).copied().unwrap_or_default().into()
    }

    fn set_len(&mut self, block: u32, len: usize) {
        if let Some(own) = self.lens.get_mut(block as usize) {
            *own = u8::try_from(len).expect("a block is not wider than that");
        }
    }

    fn block(&self, block: u32) -> &[Slot] {
        let start = block as usize * WIDTH;
        self.slots.get(start..start + self.len(block)).expect("a slot leads to a block")
    }

    fn block_mut(&mut self, block: u32) -> &mut [Slot] {
        let (start, len) = (block as usize * WIDTH, self.len(block));
        self.slots.get_mut(start..start + len).expect("a slot leads to a block")
    }

    fn slot(&self, block: u32, place: usize) -> &Slot {
        self.block(block).get(place).expect("the place is within the block")
    }

    fn slot_mut(&mut self, block: u32, place: usize) -> &mut Slot {
        self.block_mut(block).get_mut(place).expect("the place is within the block")
    }
}

#[cfg(test)]
impl Tree {
    /// Fails unless every slot says the truth of what is below it; how many spans there are.
    pub(super) fn check(&self, spans: &Spans) -> usize {
        let taken = self.lens.iter().filter(|len| **len != 0).count();
        let (found, blocks) = self.check_below(self.root, self.height, spans);
        assert!(taken <= blocks, "a block was lost");
        assert_eq!(self.free.len() + blocks, self.lens.len(), "every block is used or free");
        found
    }

    fn check_below(&self, block: u32, height: u32, spans: &Spans) -> (usize, usize) {
        let slots = self.block(block);
        assert!(slots.is_sorted_by(|a, b| a.begins_like(b, spans) == Ordering::Less));
        assert!(height == 0 || !slots.is_empty(), "an inner block leads somewhere");
        let (mut found, mut blocks) = (0, 1);
        for slot in slots {
            if height == 0 {
                assert_eq!(*slot, Slot::of(slot.below, spans));
                found += 1;
                continue;
            }
            assert_eq!(*slot, self.summary(slot.below, spans));
            let (more, more_blocks) = self.check_below(slot.below, height - 1, spans);
            (found, blocks) = (found + more, blocks + more_blocks);
        }
        (found, blocks)
    }
}
