//! The dependents of one digest, in as few bytes as their number allows.
//!
//! Apart from `links`, which says where they are and under which lock, because most digests have
//! one dependent, or two while it is filled again: those two stand in the table itself, and nothing
//! is allocated for either. **Invariant**: nobody's link is taken off but that of the entry named,
//! or of one that has ended; and those left keep their order.

use crate::{
    marks::{Mark, Marks},
    pending::Ticket,
};

/// No entry: an odd generation is nobody's.
const NOBODY: Mark = Mark { index: u32::MAX, generation: u32::MAX };

/// One dependent or two, none of which is unlinked, while nothing of a detachment is to be
/// remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Few([Mark; 2]);

/// Three dependents or more, or any number of which some are detached and not yet unlinked.
#[derive(Debug)]
pub(super) struct Many {
    list: Vec<Mark>,
    /// Entries linked and not yet unlinked, those of detached links included.
    holders: u32,
    /// Entries linked since the last detachment and not yet unlinked.
    attached: u32,
    /// When the links were detached last; the default when no entry of then is left.
    detached: Ticket,
}

/// Lists up to this length hold nobody who is unlinked: finding one of so few is cheaper than
/// keeping it. Ten times more would make taking off a link as slow as looking through a list.
const SHORT: usize = 8;

impl Few {
    pub(super) fn one(mark: Mark) -> Self {
        Self([mark, NOBODY])
    }

    pub(super) fn as_slice(&self) -> &[Mark] {
        match self {
            Self([first, NOBODY]) => std::slice::from_ref(first),
            Self(both) => both,
        }
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, mark: Mark) -> bool {
        let [_, second] = &mut self.0;
        let is_free = *second == NOBODY;
        if is_free {
            *second = mark;
        }
        is_free
    }

    /// What is left without `mark`; `None` when it was never here.
    pub(super) fn without(self, mark: Mark) -> Option<Left> {
        match self.0 {
            [first, NOBODY] if first == mark => Some(Left::Nobody),
            [first, second] if first == mark => Some(Left::Few(Self::one(second))),
            [first, second] if second == mark => Some(Left::Few(Self::one(first))),
            _ => None,
        }
    }

    /// All of them detached.
    pub(super) fn detached(self) -> Many {
        let holders = u32::try_from(self.as_slice().len()).expect("one or two");
        Many { list: Vec::new(), holders, attached: 0, detached: Ticket::default() }
    }
}

/// Who is left when a link was taken off.
#[derive(Debug)]
pub(super) enum Left {
    Nobody,
    /// So few that they need no list.
    Few(Few),
    Many,
}

impl Many {
    pub(super) fn of(few: Few, third: Mark) -> Self {
        let mut list = Vec::with_capacity(4);
        list.extend_from_slice(few.as_slice());
        list.push(third);
        Self { list, holders: 3, attached: 3, detached: Ticket::default() }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Mark>()
    }

    pub(super) fn as_slice(&self) -> &[Mark] {
        &self.list
    }

    /// Entries linked since the last detachment and not yet unlinked.
    pub(super) fn attached(&self) -> usize {
        self.attached as usize
    }

    /// Links an entry that took its ticket `linked` before; whether it did so after the last
    /// detachment.
    pub(super) fn push(&mut self, mark: Mark, linked: Ticket) -> bool {
        let is_after = self.detached <= linked;
        if is_after {
            self.list.push(mark);
            self.holders += 1;
            self.attached += 1;
        }
        is_after
    }

    /// Takes all links off; with the number of entries not yet unlinked among them.
    pub(super) fn take(&mut self) -> (Vec<Mark>, usize) {
        (std::mem::take(&mut self.list), std::mem::take(&mut self.attached) as usize)
    }

    /// Remembers when they were taken off.
    pub(super) fn detach_at(&mut self, ticket: Ticket) {
        self.detached = ticket;
    }

    /// Unlinks an entry that has ended.
    ///
    /// # Cost
    /// Amortised constant: the walk over a list is paid for by the half of it that is dropped.
    pub(super) fn remove(&mut self, mark: Mark, linked: Ticket, marks: &Marks) -> Left {
        self.holders = self.holders.saturating_sub(1);
        if self.detached <= linked {
            self.attached = self.attached.saturating_sub(1);
        }
        if self.holders == 0 {
            return Left::Nobody;
        }
        if self.holders == self.attached {
            // Nobody of then is left to be confused with those after.
            self.detached = Ticket::default();
        }
        if self.list.len() <= SHORT {
            if let Some(place) = self.list.iter().position(|other| *other == mark) {
                self.list.remove(place);
            }
        } else if self.attached() * 2 < self.list.len() {
            self.list.retain(|mark| marks.is_alive(*mark));
            self.list.shrink_to(self.list.len() * 2);
        }
        self.few().map_or(Left::Many, Left::Few)
    }

    /// Those left, if they are all who hold the node and so few that they need no list.
    fn few(&self) -> Option<Few> {
        if self.holders != self.attached {
            return None;
        }
        match (self.list.as_slice(), self.holders) {
            ([one], 1) => Some(Few::one(*one)),
            ([one, other], 2) => Some(Few([*one, *other])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(count: u32) -> (Marks, Vec<Mark>, Many) {
        let marks = Marks::default();
        let all: Vec<Mark> = (0..count).map(|index| marks.at(index).unwrap()).collect();
        let mut few = Few::one(all[0]);
        assert!(few.push(all[1]));
        assert!(!few.push(all[2]), "there is room for two");
        let mut many = Many::of(few, all[2]);
        assert!(all.iter().skip(3).all(|mark| many.push(*mark, Ticket(1))));
        (marks, all, many)
    }

    #[test]
    fn a_list_that_has_become_short_is_given_up_for_two() {
        let (marks, all, mut many) = linked(20);
        for mark in all.iter().take(17) {
            assert!(marks.kill(*mark));
            assert!(matches!(many.remove(*mark, Ticket(1), &marks), Left::Many));
        }
        assert!(many.as_slice().ends_with(&all[17..]), "the order is kept");
        assert!(many.heap_bytes() <= 2 * SHORT * size_of::<Mark>());
        assert!(marks.kill(all[18]));
        let Left::Few(few) = many.remove(all[18], Ticket(1), &marks) else { panic!("two are few") };
        assert_eq!(few.as_slice(), [all[17], all[19]]);
        assert!(few.without(all[0]).is_none(), "it is not here any more");
        let Some(Left::Few(few)) = few.without(all[17]) else { panic!("one is left") };
        assert_eq!(few.as_slice(), [all[19]]);
        assert!(matches!(few.without(all[19]), Some(Left::Nobody)));
    }

    #[test]
    fn a_detachment_is_remembered_until_all_who_were_detached_are_unlinked() {
        let (marks, all, mut many) = linked(3);
        let (list, attached) = many.take();
        many.detach_at(Ticket(2));
        assert_eq!((list.len(), attached), (3, 3));
        assert!(!many.push(all[0], Ticket(1)), "it came before the detachment");
        let next = marks.at(3).unwrap();
        assert!(many.push(next, Ticket(2)));
        for mark in all.iter().take(2) {
            assert!(marks.kill(*mark));
            assert!(matches!(many.remove(*mark, Ticket(1), &marks), Left::Many));
        }
        assert!(!many.push(all[0], Ticket(1)), "one of them is not yet unlinked");
        assert!(marks.kill(all[2]));
        let Left::Few(few) = many.remove(all[2], Ticket(1), &marks) else { panic!("one is few") };
        assert_eq!(few.as_slice(), [next]);
    }
}
