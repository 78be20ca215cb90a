//! What clients told and asked for, counted since the start.
//!
//! Apart from the counters of the cache, which does not know who told. **Invariant**: counts only
//! grow, and what was refused or only looked at is not among what was done.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts.
#[derive(Debug, Default)]
pub struct Told {
    /// Requests to invalidate that let entries fall.
    pub hard: Count,
    /// Requests to invalidate that let entries be stale.
    pub soft: Count,
    /// Requests to invalidate that were refused because too many entries would have fallen.
    pub refused: Count,
    /// Changes of rows.
    pub changes: Count,
    /// Entries that were to be loaded again.
    pub rewarm: Rewarmed,
    /// Events that were sent to subscribers.
    pub events: Count,
    /// Events that subscribers were too slow for.
    pub lost: Count,
}

/// What became of entries that were to be loaded again, counted when a request's last has ended.
#[derive(Debug, Default)]
pub struct Rewarmed {
    /// Entries loaded again.
    pub loaded: Count,
    /// Entries whose load failed.
    pub failed: Count,
    /// Entries that nothing can load.
    pub skipped: Count,
    /// Requests for which there was no room.
    pub refused: Count,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
