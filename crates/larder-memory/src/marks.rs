//! Marks: one word per entry that says whether it is still alive.
//!
//! They stand apart from the entries so that invalidating touches four dense bytes instead of an
//! entry in a locked engine. Generations are even: the word of an entry is its generation while
//! nothing happened to it, one above once it was softened, and two above, which is the generation
//! of the next entry, once it has ended. So a hit asks one comparison, as if there were no softened
//! entries. **Invariant**: the word only grows, and an index whose word has reached its end is
//! never used again; so no two entries ever have the same mark, and what was softened is never firm
//! again.

use crate::{
    chunks::Chunks,
    sync::atomic::{AtomicU32, Ordering},
};

/// The identity of one fill of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The words of all marks.
#[derive(Debug, Default)]
pub(crate) struct Marks(Chunks<AtomicU32>);

/// A word that has reached this, the last even number, is dead for good.
const RETIRED: u32 = u32::MAX - 1;

impl Marks {
    /// The mark that an entry gets that is filled at `index` now; `None` when it is retired.
    pub(crate) fn at(&self, index: u32) -> Option<Mark> {
        let generation = self.0.grow(index).load(Ordering::Acquire);
        (generation != RETIRED).then_some(Mark { index, generation })
    }

    /// Whether the entry with this mark is alive and was not softened.
    #[inline]
    pub(crate) fn is_firm(&self, mark: Mark) -> bool {
        self.0.get(mark.index).is_some_and(|word| word.load(Ordering::Acquire) == mark.generation)
    }

    /// Whether the entry with this mark is alive, softened or not.
    #[inline]
    pub(crate) fn is_alive(&self, mark: Mark) -> bool {
        // The lowest bit says whether it was softened.
        self.0
            .get(mark.index)
            .is_some_and(|word| word.load(Ordering::Acquire) & !1 == mark.generation)
    }

    /// Makes the entry with this mark be softened; whether it was firm. At most one caller is told
    /// so.
    pub(crate) fn soften(&self, mark: Mark) -> bool {
        self.step(mark.index, mark.generation, mark.generation | 1).is_ok()
    }

    /// Ends the entry with this mark; whether it was alive. At most one caller is told so.
    #[inline]
    pub(crate) fn kill(&self, mark: Mark) -> bool {
        // The wrap cannot happen: `RETIRED` is never handed out.
        let next = mark.generation.wrapping_add(2);
        match self.step(mark.index, mark.generation, next) {
            Ok(()) => true,
            // Behind a softened word there is only the end.
            Err(softened) if softened == mark.generation | 1 => {
                self.step(mark.index, softened, next).is_ok()
            }
            Err(_) => false,
        }
    }

    fn step(&self, index: u32, from: u32, to: u32) -> Result<(), u32> {
        let word = self.0.get(index).ok_or(RETIRED)?;
        word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}

#[cfg(test)]
impl Marks {
    /// Lets the word at `index`, which has been used, have one more entry and no more after it.
    pub(crate) fn wear_out(&self, index: u32) {
        let word = self.0.get(index).expect("the index has been used");
        word.store(RETIRED - 2, Ordering::SeqCst);
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
        assert!(marks.is_firm(marks.at(0).unwrap()));
    }

    #[test]
    fn what_was_softened_lives_until_it_ends_and_is_never_firm_again() {
        let marks = Marks::default();
        let mark = marks.at(0).unwrap();
        assert!(marks.soften(mark));
        assert!(!marks.soften(mark), "only one is told");
        assert!(marks.is_alive(mark) && !marks.is_firm(mark));
        assert!(marks.kill(mark));
        assert!(!marks.kill(mark) && !marks.soften(mark));
        let next = marks.at(0).unwrap();
        assert!(marks.is_firm(next) && !marks.is_alive(mark));
    }
}
