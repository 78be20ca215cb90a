//! Random numbers from a seed, so that a failing run can be repeated.
//!
//! An own generator (SplitMix64) and no crate, because the sequence of a seed must never change
//! with an update. **Invariant**: the same seed gives the same numbers on every machine.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    ///
    /// # Source
    /// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and callers want no Option")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).expect("there is a choice")
    }

    /// A generator for another thread or process, different for each `stream`.
    #[must_use]
    pub fn split(&self, stream: u64) -> Self {
        let mut own = Self::new(self.state ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        own.next();
        own
    }
}

/// The seeds a gate runs with: one that is fixed, and one that is new and printed.
pub fn seeds() -> [u64; 2] {
    let fresh = RandomState::new().build_hasher().finish();
    println!("seeds: 1 and {fresh}");
    [1, fresh]
}
