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
use parking_lot::{Mutex, RwLock};

use super::{
    evict::Gone,
    lane::Lanes,
    recent::{self, Recent},
};

/// Regions that are counted each by itself. Whoever asks for more of them, with names out of
/// requests perhaps, shares one tally for the rest.
const REGIONS_MAX: usize = 1024;

/// Slots of the last five minutes for one region: of ten seconds, in 750 bytes.
const OF_A_REGION: usize = 30;

/// What is counted for the store and for each region.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: Lanes<Counts>,
    recent: Recent,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    written: AtomicU64,
    removed: AtomicU64,
}

/// Rows of a region that went, by why.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GoneCounts {
    expired: u64,
    evicted: u64,
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
    /// Looks back on so many slots of five minutes together.
    fn new(slots: usize) -> Self {
        Self { counts: Lanes::default(), recent: Recent::new(slots) }
    }

    fn add(&self, now: WallMillis, what: Counted, count: u64) {
        self.recent.add(now, what, count);
        let own = self.counts.own();
        let counter = match what {
            Counted::Hit => &own.hits,
            Counted::Miss => &own.misses,
            Counted::Error => &own.errors,
            Counted::Written => &own.written,
            Counted::Removed => &own.removed,
        };
        counter.fetch_add(count, Ordering::Relaxed);
    }

    fn sum(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.counts.iter().map(|counts| read(of(counts))).sum()
    }
}

/// The counters, shared by everything that counts.
#[derive(Debug)]
pub(crate) struct Counters {
    all: Tally,
    regions: RwLock<HashMap<Arc<str>, Arc<Tally>>>,
    others: Arc<Tally>,
    /// By the number of the region; written by the writer alone.
    gone: Mutex<HashMap<i64, GoneCounts>>,
    swept: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
}

impl Counters {
    /// How often a row of the region of this number went.
    pub(crate) fn gone_of(&self, region: i64) -> GoneCounts {
        self.gone.lock().get(&region).copied().unwrap_or_default()
    }

    /// Counts a row of `region` that went.
    pub(crate) fn count(&self, why: Gone, region: i64) {
        if why != Gone::Dead {
            let mut gone = self.gone.lock();
            if gone.len() < REGIONS_MAX || gone.contains_key(&region) {
                let own = gone.entry(region).or_default();
                match why {
                    Gone::Dead => {}
                    Gone::Expired => own.expired += 1,
                    Gone::Evicted => own.evicted += 1,
                }
            }
        }
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
        self.all.add(now, what, count);
        tally.add(now, what, count);
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
        regions.entry(region.into()).or_insert_with(|| Tally::new(OF_A_REGION).into()).clone()
    }
}

impl Default for Counters {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            all: Tally::new(recent::SLOTS),
            regions: RwLock::default(),
            others: Tally::new(OF_A_REGION).into(),
            gone: Mutex::default(),
            swept: zero(),
            expired: zero(),
            evicted: zero(),
        }
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
    /// Entries whose values are in files of their own.
    pub files: u64,
    /// Bytes of these files; a part of `bytes`.
    pub file_bytes: u64,
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
    /// Reads of the last five minutes that found a value.
    pub hits_recent: u64,
    /// Reads of the last five minutes that found none or failed.
    pub misses_recent: u64,
    /// Entries removed, by key or by selection.
    pub removed: u64,
    /// Rows removed because their time was over.
    pub expired: u64,
    /// Entries removed to make room.
    pub evicted: u64,
}

/// What is known of the entries of one tag together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagStats {
    /// The tag.
    pub name: String,
    /// Entries that have it.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// How often they were read since they were written. Behind by what is not written yet.
    pub reads: u64,
}

impl StoreStats {
    /// The two together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            errors: self.errors + other.errors,
            hits_recent: self.hits_recent + other.hits_recent,
            misses_recent: self.misses_recent + other.misses_recent,
            written: self.written + other.written,
            removed: self.removed + other.removed,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
            commits: self.commits + other.commits,
            files: self.files + other.files,
            file_bytes: self.file_bytes + other.file_bytes,
        }
    }

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
        (files, file_bytes): (u64, u64),
        commits: u64,
        now: WallMillis,
    ) -> Self {
        let all = RegionStats::of(&counters.all, (entries, bytes), GoneCounts::default(), now);
        Self {
            entries,
            bytes,
            hits: all.hits,
            misses: all.misses,
            errors: all.errors,
            hits_recent: all.hits_recent,
            misses_recent: all.misses_recent,
            written: all.written,
            removed: all.removed,
            expired: read(&counters.expired),
            evicted: read(&counters.evicted),
            commits,
            files,
            file_bytes,
        }
    }
}

impl RegionStats {
    /// The two together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            errors: self.errors + other.errors,
            written: self.written + other.written,
            hits_recent: self.hits_recent + other.hits_recent,
            misses_recent: self.misses_recent + other.misses_recent,
            removed: self.removed + other.removed,
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
        }
    }

    /// The part of reads that found a value; zero when nothing was read (KD12).
    pub fn hit_rate(&self) -> f64 {
        rate(self.hits, self.misses + self.errors)
    }

    /// The same of the last five minutes.
    pub fn hit_rate_recent(&self) -> f64 {
        rate(self.hits_recent, self.misses_recent)
    }

    pub(crate) fn of(
        tally: &Tally,
        (entries, bytes): (u64, u64),
        GoneCounts { expired, evicted }: GoneCounts,
        now: WallMillis,
    ) -> Self {
        let (hits_recent, misses_recent) = tally.recent.sum(now);
        Self {
            hits_recent,
            misses_recent,
            expired,
            evicted,
            entries,
            bytes,
            hits: tally.sum(|counts| &counts.hits),
            misses: tally.sum(|counts| &counts.misses),
            errors: tally.sum(|counts| &counts.errors),
            written: tally.sum(|counts| &counts.written),
            removed: tally.sum(|counts| &counts.removed),
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
