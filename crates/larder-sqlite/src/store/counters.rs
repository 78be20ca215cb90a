//! How often what happened, in this process, since the store was opened.
//!
//! Counted in memory: nothing is written for a read (X19). **Invariant**: every read is counted
//! once, as a hit, a miss or an error (SD11).

use std::sync::atomic::{AtomicU64, Ordering};

use super::evict::Gone;

/// The counters, shared by everything that counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) removed: AtomicU64,
    swept: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, why: Gone) {
        let counter = match why {
            Gone::Dead => &self.swept,
            Gone::Expired => &self.expired,
            Gone::Evicted => &self.evicted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// How a store is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Entries of all regions, with those that are gone and not removed yet.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Reads that failed.
    pub errors: u64,
    /// Entries written.
    pub written: u64,
    /// Entries removed, by key or by selection.
    pub removed: u64,
    /// Rows removed because their time was over.
    pub expired: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Commits; many writes share one.
    pub commits: u64,
}

impl StoreStats {
    /// The part of reads that found a value; zero when nothing was read (KD12).
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses + self.errors {
            0 => 0.0,
            all => self.hits as f64 / all as f64,
        }
    }

    pub(crate) fn of(counters: &Counters, (entries, bytes): (u64, u64), commits: u64) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            entries,
            bytes,
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            errors: read(&counters.errors),
            written: read(&counters.written),
            removed: read(&counters.removed),
            expired: read(&counters.expired),
            evicted: read(&counters.evicted),
            commits,
        }
    }
}
