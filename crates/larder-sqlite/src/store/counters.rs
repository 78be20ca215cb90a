//! How often what happened, in this process, since the store was opened.
//!
//! Counted in memory: nothing is written for a read (X19). **Invariant**: every read is counted
//! once, as a hit, a miss or an error (SD11), for the store and for its region alike.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_core::clock::WallMillis;
use parking_lot::RwLock;

use super::{evict::Gone, recent::Recent};

/// Regions that are counted each by itself. Whoever asks for more of them, with names out of
/// requests perhaps, shares one tally for the rest.
const REGIONS_MAX: usize = 1024;

/// What is counted for the store and for each region.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    written: AtomicU64,
    removed: AtomicU64,
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Hit,
    Miss,
    Error,
    Written,
    Removed,
}

impl Tally {
    fn add(&self, what: Counted, count: u64) {
        let counter = match what {
            Counted::Hit => &self.hits,
            Counted::Miss => &self.misses,
            Counted::Error => &self.errors,
            Counted::Written => &self.written,
            Counted::Removed => &self.removed,
        };
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// The counters, shared by everything that counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    all: Tally,
    regions: RwLock<HashMap<Arc<str>, Arc<Tally>>>,
    others: Arc<Tally>,
    recent: Recent,
    swept: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
}

impl Counters {
    /// Counts a row that went.
    pub(crate) fn count(&self, why: Gone) {
        let counter = match why {
            Gone::Dead => &self.swept,
            Gone::Expired => &self.expired,
            Gone::Evicted => &self.evicted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what happened in the region of `tally`.
    pub(crate) fn add(&self, tally: &Tally, now: WallMillis, what: Counted, count: u64) {
        if count == 0 {
            return;
        }
        self.all.add(what, count);
        tally.add(what, count);
        self.recent.add(now, what, count);
    }

    /// Where what happens in `region` is counted.
    pub(crate) fn tally(&self, region: &str) -> Arc<Tally> {
        if let Some(tally) = self.regions.read().get(region) {
            return tally.clone();
        }
        let mut regions = self.regions.write();
        if REGIONS_MAX <= regions.len() {
            return self.others.clone();
        }
        regions.entry(region.into()).or_default().clone()
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
    /// Reads of the last five minutes that found a value.
    pub hits_recent: u64,
    /// Reads of the last five minutes that found none or failed.
    pub misses_recent: u64,
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

/// How one region is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionStats {
    /// Its entries, with those that are gone and not removed yet.
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
}

impl StoreStats {
    /// The part of reads that found a value; zero when nothing was read (KD12).
    pub fn hit_rate(&self) -> f64 {
        rate(self.hits, self.misses + self.errors)
    }

    /// The same of the last five minutes.
    pub fn hit_rate_recent(&self) -> f64 {
        rate(self.hits_recent, self.misses_recent)
    }

    pub(crate) fn of(
        counters: &Counters,
        (entries, bytes): (u64, u64),
        commits: u64,
        now: WallMillis,
    ) -> Self {
        let (hits_recent, misses_recent) = counters.recent.sum(now);
        let all = RegionStats::of(&counters.all, (entries, bytes));
        Self {
            entries,
            bytes,
            hits: all.hits,
            misses: all.misses,
            errors: all.errors,
            hits_recent,
            misses_recent,
            written: all.written,
            removed: all.removed,
            expired: read(&counters.expired),
            evicted: read(&counters.evicted),
            commits,
        }
    }
}

impl RegionStats {
    /// The part of reads that found a value; zero when nothing was read (KD12).
    pub fn hit_rate(&self) -> f64 {
        rate(self.hits, self.misses + self.errors)
    }

    pub(crate) fn of(tally: &Tally, (entries, bytes): (u64, u64)) -> Self {
        Self {
            entries,
            bytes,
            hits: read(&tally.hits),
            misses: read(&tally.misses),
            errors: read(&tally.errors),
            written: read(&tally.written),
            removed: read(&tally.removed),
        }
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn rate(hits: u64, others: u64) -> f64 {
    if hits + others == 0 { 0.0 } else { hits as f64 / (hits + others) as f64 }
}
