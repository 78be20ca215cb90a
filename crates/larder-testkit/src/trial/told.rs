//! Rows that are in no database: one process has them and tells its cache of every change.
//!
//! What an application does that has no feed: by `changed`, by a soft invalidation, and by one that
//! loads again what fell. **Invariant**: a change is noted as ended only after the call that told
//! of it returned.

use std::collections::BTreeMap;

use larder::{
    Cache, Change, Dependency, Error, Invalidated, Rewarm, Rewarming, RowChange, TrackedChange,
    Value,
};
use larder_core::{Clock, timeline::APP};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::{
    history::{Ask, Order, Outcome, TOLD, Written},
    random::Random,
};

/// Rows of one node.
pub(super) const ROWS_TOLD: i64 = 12;

/// Buckets of one node.
pub(super) const BUCKETS_TOLD: i64 = 4;

/// Numbers of rows, and of buckets, that a node may give.
const ROWS_EACH: i64 = 100;

/// The kind of these rows.
pub(super) const KIND: &str = "told";

/// Every so many rows there is one of which only soft invalidations tell.
const SOFT_EVERY: i64 = 4;

/// The first row, and the first bucket, of a node.
pub(super) fn base(node: usize) -> i64 {
    TOLD + ROWS_EACH * i64::try_from(node).unwrap_or(0)
}

/// The rows of one node.
pub(super) struct Told {
    base: i64,
    clock: Clock,
    rows: Mutex<Rows>,
    /// Held while a change is told; taken whole by who puts another cache in place.
    pub(super) turn: tokio::sync::RwLock<()>,
}

#[derive(Default)]
struct Rows {
    /// Version and bucket of each.
    there: BTreeMap<i64, (u64, i64)>,
    version: u64,
}

/// A change of one row.
struct Changed {
    row: i64,
    version: u64,
    old: Option<(u64, i64)>,
    new: Option<(u64, i64)>,
}

impl Told {
    /// The rows of `node`, and the notes of having written them.
    pub(super) fn new(node: usize, random: &mut Random) -> (Self, Vec<Written>) {
        let clock = Clock::system();
        let told =
            Self { base: base(node), clock, rows: Mutex::default(), turn: Default::default() };
        let began = told.clock.now().as_micros();
        let changes: Vec<Changed> =
            (0..ROWS_TOLD).map(|row| told.put(told.base + row, random)).collect();
        let ended = told.clock.now().as_micros();
        let note = |change: Changed| change.note(began, ended, Outcome::Committed);
        let written = changes.into_iter().map(note).collect();
        (told, written)
    }

    /// Whether these are the rows that are asked for.
    pub(super) fn has(&self, ask: Ask) -> bool {
        let (Ask::Row(first)
        | Ask::Bucket(first)
        | Ask::Range { low: first, .. }
        | Ask::Page { bucket: first, .. }) = ask;
        (self.base..self.base + ROWS_EACH).contains(&first)
    }

    /// What is there.
    pub(super) fn read(&self, ask: Ask) -> Vec<(i64, u64)> {
        let matches = |row: i64, bucket: i64| match ask {
            Ask::Row(id) => row == id,
            Ask::Bucket(own) | Ask::Page { bucket: own, .. } => bucket == own,
            Ask::Range { low, high } => (low..=high).contains(&bucket),
        };
        let rows = self.rows.lock();
        let found = rows.there.iter().filter(|(row, (_, bucket))| matches(**row, *bucket));
        let mut found: Vec<(i64, u64)> =
            found.map(|(row, (version, _))| (*row, *version)).collect();
        drop(rows);
        if let Ask::Page { order, limit, .. } = ask {
            if order == Order::Newest {
                found.sort_by_key(|(row, version)| (std::cmp::Reverse(*version), *row));
            }
            found.truncate(limit);
        }
        found
    }

    /// Changes one row and tells `cache` of it; what is loaded again after that, if anything is.
    pub(super) async fn change(
        &self,
        cache: &Cache,
        random: &mut Random,
    ) -> Result<(Written, Option<Rewarming>), Error> {
        let row = self.base + random.below(ROWS_TOLD.cast_unsigned()).cast_signed();
        let began = self.clock.now().as_micros();
        let changed = self.put(row, random);
        // Now the row is another and nobody was told: what is loaded meanwhile is no fault.
        for _ in 0..random.below(3) {
            yield_now().await;
        }
        let all = || cache.invalidation().drop_all_of([Dependency::table(APP, KIND)]);
        let (outcome, rewarming) = if row % SOFT_EVERY == 0 {
            all().soft().commit().await?;
            (Outcome::Softened, None)
        } else if random.once_in(8) {
            let rewarm = Rewarm { at_most: 64, concurrency: 4 };
            let Invalidated { rewarming, .. } = all().rewarm(rewarm).commit().await?;
            (Outcome::Committed, rewarming)
        } else {
            cache.changed(changed.told()).await?;
            (Outcome::Committed, None)
        };
        Ok((changed.note(began, self.clock.now().as_micros(), outcome), rewarming))
    }

    fn put(&self, row: i64, random: &mut Random) -> Changed {
        let mut rows = self.rows.lock();
        let version = (rows.version + 1).max(self.clock.now().as_micros());
        rows.version = version;
        let bucket = self.base + random.below(BUCKETS_TOLD.cast_unsigned()).cast_signed();
        let old = rows.there.get(&row).copied();
        let new = match (random.below(8), old) {
            (0, Some(_)) => None,
            (1..5, Some((_, same))) => Some((version, same)),
            _ => Some((version, bucket)),
        };
        match new {
            Some(new) => drop(rows.there.insert(row, new)),
            None => drop(rows.there.remove(&row)),
        }
        Changed { row, version, old, new }
    }
}

impl Changed {
    fn note(&self, began: u64, ended: u64, outcome: Outcome) -> Written {
        let bucket = self.new.map(|(_, bucket)| bucket);
        Written { row: self.row, version: self.version, bucket, began, ended, outcome }
    }

    fn told(&self) -> TrackedChange {
        let image = |(version, bucket): (u64, i64)| {
            [bucket, self.row, version.cast_signed()].map(Value::Integer).to_vec()
        };
        let columns = ["bucket", "id", "version"].map(Into::into);
        let row = RowChange {
            table: KIND.into(),
            columns: columns.into(),
            key: [1].into(),
            old: self.old.map(image),
            new: self.new.map(image),
        };
        TrackedChange::untyped(APP, Change::Row(row))
    }
}
