//! Heat: which keys are read often, from a sample of the hits.
//!
//! It stands apart from `stats.rs`, which counts without keys: a count for each key would cost
//! every hit a write beside its entry. One hit in [`ONE_IN`] is noted in a small count-min sketch
//! whose counts of one key lie on one cache line. **Invariant**: its size is fixed, it holds no
//! keys, and it is never asked whether something is valid: it only orders what is loaded again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use larder_core::KeyRef;

/// One hit in so many is noted. At ten times fewer the noting would show in the cost of a hit, at
/// ten times more a key would need thousands of hits to stand out.
const ONE_IN: u32 = 64;
/// Lines, of 64 counts each: 64 KiB for a cache. With ten times fewer, keys of a middle-sized cache
/// would share their counts.
const LINES: usize = 1024;
/// Each row of a line gives a key one of its counts.
const ROWS: usize = 4;
const ROW: usize = 16;
/// Notes after which the next line is halved; all of them in a quarter of a million notes, so that
/// what was hot an hour ago is not hot for ever.
const AGEING: u64 = 256;

/// Whether a hit is noted that was the `count`th of its thread. Spread out by the golden ratio, so
/// that no loop over keys keeps its step.
#[inline(always)]
pub(crate) fn is_due(count: u64) -> bool {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    count.wrapping_mul(GOLDEN) >> (u64::BITS - ONE_IN.ilog2()) == 1
}

/// How often keys were read of late.
pub(crate) struct Heat {
    lines: Box<[Line]>,
    noted: AtomicU64,
    hashing: RandomState,
}

#[repr(align(64))]
struct Line([AtomicU8; ROWS * ROW]);

impl Default for Heat {
    fn default() -> Self {
        let line = || Line(std::array::from_fn(|_| AtomicU8::new(0)));
        Self {
            lines: std::iter::repeat_with(line).take(LINES).collect(),
            noted: AtomicU64::new(0),
            hashing: RandomState::new(),
        }
    }
}

impl Heat {
    /// Notes a hit of `key`. Counts may be lost between threads; they are a sample anyway.
    pub(crate) fn note(&self, key: KeyRef<'_>) {
        for count in self.counts(self.hash(key)) {
            let now = count.load(Ordering::Relaxed);
            count.store(now.saturating_add(1), Ordering::Relaxed);
        }
        let noted = self.noted.fetch_add(1, Ordering::Relaxed);
        if noted.is_multiple_of(AGEING) {
            let place = usize::try_from(noted / AGEING).unwrap_or(0) % LINES;
            for count in self.lines.get(place).iter().flat_map(|line| &line.0) {
                count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    /// About how many hits of `key` were noted of late; never too few but for ageing.
    pub(crate) fn of(&self, key: KeyRef<'_>) -> u8 {
        let counts = self.counts(self.hash(key));
        counts.map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn hash(&self, key: KeyRef<'_>) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        match key {
            KeyRef::Short { words, .. } => words.iter().for_each(|word| hasher.write_u64(*word)),
            KeyRef::Long(bytes) => hasher.write(bytes),
        }
        hasher.finish()
    }

    /// One count in each row of the key's line.
    fn counts(&self, hash: u64) -> impl Iterator<Item = &AtomicU8> {
        let [line, other, rest @ ..] = hash.to_le_bytes();
        let line = usize::from(u16::from_le_bytes([line, other])) % LINES;
        let line = self.lines.get(line).map_or(&[][..], |line| &line.0);
        line.chunks(ROW).zip(rest).filter_map(|(row, byte)| row.get(usize::from(byte) % ROW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> KeyRef<'static> {
        KeyRef::Short { words: [number, 0, 0], len: 8 }
    }

    #[test]
    fn one_hit_in_sixty_four_is_due_and_no_loop_keeps_its_step() {
        for step in [1, 2, 3, 64, 100] {
            let due = (0..64_000).step_by(step).filter(|count| is_due(*count)).count();
            let expected = 1000 / step;
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&due), "{step}: {due}");
        }
    }

    #[test]
    fn keys_that_are_read_more_are_hotter_among_many_others() {
        let heat = Heat::default();
        for round in 0..20_000 {
            heat.note(key(round));
            if round % 200 == 0 {
                heat.note(key(u64::MAX));
            }
        }
        let beaten = (0..20_000).filter(|other| heat.of(key(*other)) < heat.of(key(u64::MAX)));
        assert!(19_900 < beaten.count());
    }

    #[test]
    fn what_is_not_read_any_more_cools_down() {
        let heat = Heat::default();
        (0..100).for_each(|_| heat.note(key(1)));
        assert!((98..=100).contains(&heat.of(key(1))));
        for round in 0..AGEING * LINES as u64 {
            heat.note(key(2 + round % 1000));
        }
        assert!(heat.of(key(1)) < 98, "{}", heat.of(key(1)));
    }
}
