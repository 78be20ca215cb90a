//! Marks: one word per entry that says whether it is still alive.
//!
//! They stand apart from the entries so that invalidating touches four dense bytes instead of an
//! entry in a locked engine. **Invariant**: an entry is alive iff the word at its index equals its
//! generation, and no two entries ever have the same mark: the word only grows, and an index whose
//! word has reached its end is never used again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::chunks::Chunks;

/// The identity of one fill of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The words of all marks.
#[derive(Debug, Default)]
pub(crate) struct Marks(Chunks<AtomicU32>);

/// A word that has reached this is dead for good.
const RETIRED: u32 = u32::MAX;

impl Marks {
    /// The mark that an entry gets that is filled at `index` now; `None` when it is retired.
    pub(crate) fn at(&self, index: u32) -> Option<Mark> {
        let generation = self.0.grow(index).load(Ordering::Acquire);
        (generation != RETIRED).then_some(Mark { index, generation })
    }

    /// Whether the entry with this mark is alive.
    #[inline]
    pub(crate) fn is_alive(&self, mark: Mark) -> bool {
        self.0.get(mark.index).is_some_and(|word| word.load(Ordering::Acquire) == mark.generation)
    }

    /// Ends the entry with this mark; whether it was alive. At most one caller is told so.
    #[inline]
    pub(crate) fn kill(&self, mark: Mark) -> bool {
        // The wrap cannot happen: `RETIRED` is never handed out.
        let next = mark.generation.wrapping_add(1);
        self.0.get(mark.index).is_some_and(|word| {
            let orders = (Ordering::AcqRel, Ordering::Acquire);
            word.compare_exchange(mark.generation, next, orders.0, orders.1).is_ok()
        })
    }
}

#[cfg(test)]
impl Marks {
    /// Lets the word at `index`, which has been used, have one more entry and no more after it.
    pub(crate) fn wear_out(&self, index: u32) {
        let word = self.0.get(index).expect("the index has been used");
        word.store(RETIRED - 1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_at_the_end_of_its_word_is_never_used_again() {
        let marks = Marks::default();
        marks.at(7).unwrap();
        marks.wear_out(7);
        let last = marks.at(7).unwrap();
        assert!(marks.kill(last));
        assert!(!marks.is_alive(last));
        assert_eq!(marks.at(7), None);
    }

    #[test]
    fn only_one_of_two_killers_is_told_that_the_entry_was_alive() {
        let marks = Marks::default();
        let mark = marks.at(0).unwrap();
        assert!(marks.kill(mark));
        assert!(!marks.kill(mark));
        assert!(marks.is_alive(marks.at(0).unwrap()));
    }
}
