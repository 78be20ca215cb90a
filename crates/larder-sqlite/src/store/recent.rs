//! Hits and misses of the last five minutes, in a ring of seconds.
//!
//! A rate since the beginning says nothing about now. **Invariant**: bounded, without a lock, and
//! what is older than the window is never part of a sum. Two who begin a second at the same time
//! may lose a few counts, which a rate can bear.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_core::clock::WallMillis;

use super::counters::Counted;

/// Seconds that are looked back on: 7 KiB. Less and a rate jumps, more and it lags.
const SECONDS: usize = 300;

#[derive(Debug)]
pub(crate) struct Recent(Box<[Second]>);

#[derive(Debug, Default)]
struct Second {
    /// Which one it is, since 1970.
    of: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Default for Recent {
    fn default() -> Self {
        Self((0..SECONDS).map(|_| Second::default()).collect())
    }
}

impl Recent {
    pub(crate) fn add(&self, now: WallMillis, what: Counted, count: u64) {
        let of = now.0 / 1000;
        let place = of % SECONDS as u64;
        let Some(second) = usize::try_from(place).ok().and_then(|place| self.0.get(place)) else {
            return;
        };
        if second.of.swap(of, Ordering::Relaxed) != of {
            second.hits.store(0, Ordering::Relaxed);
            second.misses.store(0, Ordering::Relaxed);
        }
        match what {
            Counted::Hit => second.hits.fetch_add(count, Ordering::Relaxed),
            Counted::Miss | Counted::Error => second.misses.fetch_add(count, Ordering::Relaxed),
            Counted::Written | Counted::Removed => 0,
        };
    }

    /// Hits, and what was none, of the window that ends now.
    pub(crate) fn sum(&self, now: WallMillis) -> (u64, u64) {
        let now = now.0 / 1000;
        let is_recent = |second: &&Second| {
            let of = second.of.load(Ordering::Relaxed);
            of <= now && now - of < SECONDS as u64
        };
        self.0.iter().filter(is_recent).fold((0, 0), |(hits, misses), second| {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            (hits + read(&second.hits), misses + read(&second.misses))
        })
    }
}
