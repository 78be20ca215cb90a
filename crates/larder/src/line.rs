//! The line: where this node stands among all that share its store.
//!
//! What is invalidated by name counts here at once, at a position of this node's own timeline
//! `app`; the store gives it a place in the line of announcements later, and other nodes announce
//! between. So the same things happen here and there in another order. **Invariant**: what is
//! translated from one to the other never says more than both know. As data and under the lock of
//! `app`: no I/O.
//!
//! # Implementation notes
//!
//! An entry in the store that is right up to the place S is right here up to the last position
//! before the first change that has no place yet, or one after S:
//!
//! 1. This node invalidates t: position 5 here, without a place.
//! 2. Another one announces u: place 9. This node looks: position 6 here, place 9.
//! 3. A record is read in a snapshot that stands at 9. It reflects u and not t: it is right up to
//!    position 4, and history is asked about 5 and 6.
//! 4. The invalidation of t gets the place 10. A record read at 10 is right up to 6.

use std::collections::VecDeque;

use larder_core::{Position, announcement::Cursor};

/// Changes whose places are remembered. A snapshot is read and judged within microseconds, in which
/// few changes happen; a record that was judged by more is loaded again.
const RECENT_MAX: usize = 256;

/// Where this node stands in the line, and which of its own positions are which places.
#[derive(Debug)]
pub(crate) struct Line {
    /// The number of this node among authors.
    pub(crate) author: u64,
    /// Everything up to here was taken up.
    pub(crate) cursor: Cursor,
    /// Schemes of the store that are noticed here.
    pub(crate) schemes: usize,
    /// What happened here last, the oldest first.
    recent: VecDeque<Recent>,
    /// What happened before has a place up to here.
    base: Position,
    /// Up to here changes of this node are not remembered and may have no place yet.
    unplaced: Position,
}

/// One or more changes in a row, here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    from: Position,
    upto: Position,
    /// Where they stand in the line, once they do.
    place: Option<Position>,
}

impl Line {
    pub(crate) fn new(author: u64, cursor: Cursor, schemes: usize) -> Self {
        Self {
            author,
            cursor,
            schemes,
            recent: VecDeque::new(),
            base: cursor.position,
            unplaced: NONE,
        }
    }

    /// This node has invalidated something at `position`; the line does not have it yet.
    pub(crate) fn note_own(&mut self, position: Position) {
        match self.recent.back_mut() {
            Some(last) if last.place.is_none() => last.upto = position,
            _ => self.push(Recent { from: position, upto: position, place: None }),
        }
    }

    /// What another node announced at `place` was taken up at `position`.
    pub(crate) fn note_foreign(&mut self, position: Position, place: Position) {
        self.push(Recent { from: position, upto: position, place: Some(place) });
    }

    /// All that this node invalidated up to `upto` stands in the line at `place`, or before.
    pub(crate) fn note_place(&mut self, upto: Position, place: Position) {
        if self.unplaced <= upto {
            self.unplaced = NONE;
        }
        let pending = |one: &Recent| one.place.is_none() && one.from <= upto;
        let Some(last) = self.recent.iter().rposition(pending) else { return };
        if let Some(split) = self.recent.get(last).copied()
            && upto < split.upto
        {
            self.recent.insert(last + 1, Recent { from: upto.next(), ..split });
        }
        for one in self.recent.iter_mut().take(last + 1).filter(|one| one.place.is_none()) {
            one.place = Some(place);
        }
        self.trim();
    }

    /// Everything up to `cursor` was taken up.
    pub(crate) fn advance(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        let is_placed = |one: &Recent| one.place.is_some();
        if self.base == FAR && self.unplaced == NONE && self.recent.iter().all(is_placed) {
            self.recent.clear();
            self.base = cursor.position;
        }
    }

    /// A new life of the line, or one of which too much was missed: nothing before counts.
    pub(crate) fn restart(&mut self, cursor: Cursor) {
        self.recent.retain(|one| one.place.is_none());
        self.cursor = cursor;
        self.base = if self.unplaced == NONE { cursor.position } else { FAR };
    }

    /// Up to which position of this node a record is right that is right up to `place`, if so much
    /// is known; `applied` is where this node stands.
    pub(crate) fn position_of(&self, place: Position, applied: Position) -> Option<Position> {
        if place < self.base {
            return None;
        }
        let is_after = |one: &&Recent| one.place.is_none_or(|own| place < own);
        Some(match self.recent.iter().find(is_after) {
            Some(one) => Position(one.from.0.saturating_sub(1)),
            None => applied,
        })
    }

    fn push(&mut self, one: Recent) {
        self.recent.push_back(one);
        self.trim();
    }

    fn trim(&mut self) {
        while RECENT_MAX < self.recent.len() {
            let Some(one) = self.recent.pop_front() else { return };
            // One without a place blocks all that are later; until it has one, nothing is known.
            if one.place.is_none() {
                self.unplaced = one.upto;
            }
            self.base = self.base.max(one.place.unwrap_or(FAR));
        }
    }
}

/// Beyond every place.
const FAR: Position = Position(u64::MAX);

/// Before every change.
const NONE: Position = Position::START;

#[cfg(test)]
mod tests {
    use larder_core::Epoch;

    use super::*;

    fn line() -> Line {
        let cursor = Cursor { epoch: Epoch(1), position: Position(8), nonce: 0 };
        Line::new(1, cursor, 0)
    }

    fn of(line: &Line, place: u64, applied: u64) -> Option<u64> {
        line.position_of(Position(place), Position(applied)).map(|position| position.0)
    }

    #[test]
    fn a_place_is_worth_what_came_before_the_first_change_after_it() {
        let mut line = line();
        assert_eq!(of(&line, 8, 4), Some(4));
        line.note_own(Position(5));
        line.note_foreign(Position(6), Position(9));
        assert_eq!(of(&line, 9, 6), Some(4));
        line.note_place(Position(5), Position(10));
        assert_eq!(of(&line, 9, 6), Some(4));
        assert_eq!(of(&line, 10, 6), Some(6));
        // Read before this node began: nothing is known of that.
        assert_eq!(of(&line, 7, 6), None);
    }

    #[test]
    fn what_was_announced_together_has_one_place_and_what_came_later_none_yet() {
        let mut line = line();
        for position in 1..=4 {
            line.note_own(Position(position));
        }
        line.note_place(Position(2), Position(9));
        assert_eq!(of(&line, 8, 4), Some(0));
        assert_eq!(of(&line, 9, 4), Some(2));
        line.note_place(Position(4), Position(10));
        assert_eq!(of(&line, 10, 4), Some(4));
    }

    #[test]
    fn more_than_is_remembered_makes_a_miss_until_the_line_has_it_all() {
        let mut line = line();
        line.note_own(Position(1));
        let count = RECENT_MAX as u64 + 8;
        for index in 2..=count {
            line.note_foreign(Position(index), Position(7 + index));
        }
        let end = Cursor { position: Position(8 + count), ..line.cursor };
        line.advance(end);
        assert_eq!(of(&line, end.position.0, count), None);
        line.note_place(Position(1), end.position);
        line.advance(end);
        assert_eq!(of(&line, end.position.0, count), Some(count));
    }

    #[test]
    fn a_new_life_keeps_what_is_not_announced_yet() {
        let mut line = line();
        line.note_foreign(Position(1), Position(9));
        line.note_own(Position(2));
        line.restart(Cursor { epoch: Epoch(2), position: Position(0), nonce: 7 });
        assert_eq!(of(&line, 0, 3), Some(1));
    }
}
