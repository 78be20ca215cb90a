//! Hits and misses of the last five minutes, in a ring of slots.
//!
//! A rate since the beginning says nothing about now. **Invariant**: bounded, without a lock, and
//! what is older than the window is never part of a sum. Two who begin a slot at the same time may
//! lose a few counts, which a rate can bear.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_core::clock::WallMillis;

use super::counters::Counted;

/// Milliseconds that are looked back on. Less and a rate jumps, more and it lags.
const WINDOW_MILLIS: u64 = 300_000;

/// Slots where it matters: of a second each, in 7 KiB.
pub(crate) const SLOTS: usize = 300;

#[derive(Debug)]
pub(crate) struct Recent(Box<[Slot]>);

#[derive(Debug, Default)]
struct Slot {
    /// Which one it is, since 1970.
    of: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Recent {
    /// With so many slots, at least one.
    pub(crate) fn new(slots: usize) -> Self {
        Self((0..slots.max(1)).map(|_| Slot::default()).collect())
    }

    /// Which slot `now` is in.
    fn slot(&self, now: WallMillis) -> u64 {
        now.0 / (WINDOW_MILLIS / self.0.len() as u64).max(1)
    }

    pub(crate) fn add(&self, now: WallMillis, what: Counted, count: u64) {
        let of = self.slot(now);
        let place = of % self.0.len() as u64;
        let Some(slot) = usize::try_from(place).ok().and_then(|place| self.0.get(place)) else {
            return;
        };
        // Nearly all find their slot begun; to write it again would take the line from others.
        if slot.of.load(Ordering::Relaxed) != of && slot.of.swap(of, Ordering::Relaxed) != of {
            slot.hits.store(0, Ordering::Relaxed);
            slot.misses.store(0, Ordering::Relaxed);
        }
        match what {
            Counted::Hit => slot.hits.fetch_add(count, Ordering::Relaxed),
            Counted::Miss | Counted::Error => slot.misses.fetch_add(count, Ordering::Relaxed),
            Counted::Written | Counted::Removed => 0,
        };
    }

    /// Hits, and what was none, of the window that ends now.
    pub(crate) fn sum(&self, now: WallMillis) -> (u64, u64) {
        let now = self.slot(now);
        let is_recent = |slot: &&Slot| {
            let of = slot.of.load(Ordering::Relaxed);
            of <= now && now - of < self.0.len() as u64
        };
        self.0.iter().filter(is_recent).fold((0, 0), |(hits, misses), slot| {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            (hits + read(&slot.hits), misses + read(&slot.misses))
        })
    }
}
