//! A tier, the rows its entries are built from, and what everybody may count on.
//!
//! It stands apart from the scenarios because all share it. A row has a version; an entry remembers
//! which versions it saw. **Invariant**: `applied` of a row is moved only after the invalidation of
//! that version returned, so whoever reads `applied` and then hits must see that version or a newer
//! one; and a world that came to rest holds nothing but entries that can be hit.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Clock, Dependency, DependencySet, Digest, KeyBytes, Moment, Position, Stamps,
    freshness::{Policy, State},
};

use crate::{
    entry::{Cause, Inserted, Knowledge, Lookup, MemoryLimit, NewEntry},
    ledger,
    shared::Shared,
    sweeper,
    sync::{
        atomic::{AtomicU64, Ordering::SeqCst},
        thread::JoinHandle,
    },
};

pub(super) const ROWS: usize = 2;
/// One more than are invalidated on the caller's path, and one.
pub(super) const KEYS: u64 = 4;
const HOUR: Duration = Duration::from_secs(3600);
const TIMELINE: &str = "shop";
/// What the history would have said is newer than the entry.
pub(super) const STALE: &str = "is stale";
/// The same where it may be served, but not as fresh.
pub(super) const SOFT: &str = "is called fresh";
/// Something is left that nobody will ever take away.
pub(super) const LEFT: &str = "is left behind";

/// Bytes an entry says that it takes.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Small,
    /// The tier holds three of these.
    Large,
}

/// Something that changes, and how far everybody knows.
#[derive(Default)]
struct Version {
    /// The origin and its history at once.
    now: AtomicU64,
    /// What readers may count on.
    applied: AtomicU64,
    /// What they may count on of an entry that is called fresh.
    softened: AtomicU64,
}

impl Version {
    fn change(&self, apply: impl FnOnce()) {
        let changed = self.now.fetch_add(1, SeqCst) + 1;
        apply();
        self.applied.fetch_max(changed, SeqCst);
    }

    fn change_softly(&self, apply: impl FnOnce()) {
        let changed = self.now.fetch_add(1, SeqCst) + 1;
        apply();
        self.softened.fetch_max(changed, SeqCst);
    }
}

/// The versions that an entry was built from.
struct Seen {
    rows: Vec<(usize, u64)>,
    epoch: u64,
}

pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    sweeper: Option<JoinHandle<()>>,
    rows: [Version; ROWS],
    epoch: Version,
}

impl World {
    pub(super) fn new() -> Self {
        let limit = MemoryLimit::bytes(MemoryLimit::SMALLEST);
        let shared = Arc::new(Shared::new(limit, Clock::manual()));
        let sweeper = sweeper::start(&shared);
        Self { shared, sweeper, rows: Default::default(), epoch: Version::default() }
    }

    /// Loads the rows, then stores what hangs on them.
    pub(super) fn fill(&self, key: u64, rows: &[usize]) -> Inserted {
        self.fill_sized(key, rows, Size::Small)
    }

    pub(super) fn fill_sized(&self, key: u64, rows: &[usize], size: Size) -> Inserted {
        let seen = self.look(rows);
        let entry = self.entry(key, &seen, size);
        self.shared.insert(entry, || self.is_current(&seen))
    }

    /// A filler that asks the history before it links, which it must not.
    pub(super) fn fill_checking_early(&self, key: u64, rows: &[usize]) {
        let seen = self.look(rows);
        let entry = self.entry(key, &seen, Size::Small);
        let is_current = self.is_current(&seen);
        self.shared.insert(entry, || is_current);
    }

    /// A filler that takes its pass after it asked for the epoch, which it must not.
    pub(super) fn fill_with_late_pass(&self, key: u64, rows: &[usize]) {
        let seen = self.look(rows);
        if self.is_current(&seen) {
            let entry = self.entry(key, &seen, Size::Small);
            self.shared.insert(entry, || self.rows_are_current(&seen));
        }
    }

    fn look(&self, rows: &[usize]) -> Seen {
        let epoch = self.epoch.now.load(SeqCst);
        let see = |row: &usize| (*row, self.rows[*row].now.load(SeqCst));
        Seen { rows: rows.iter().map(see).collect(), epoch }
    }

    fn entry(&self, key: u64, seen: &Seen, size: Size) -> NewEntry {
        let mut policy = Policy::new(Some(HOUR)).expect("an hour is a TTL");
        policy.stale_while_revalidate = HOUR;
        let dependencies = seen.rows.iter().map(|(row, _)| dependency(*row));
        let value = Seen { rows: seen.rows.clone(), epoch: seen.epoch };
        NewEntry {
            key: key_bytes(key),
            value: Arc::new(value),
            value_bytes: match size {
                Size::Small => 100,
                Size::Large => 20_000,
            },
            deadlines: policy.deadlines(self.shared.now(), Moment::NEVER),
            dependencies: dependencies.collect::<DependencySet>(),
            stamps: Stamps::new(),
            pass: self.shared.gates.pass([TIMELINE]),
        }
    }

    fn rows_are_current(&self, seen: &Seen) -> bool {
        seen.rows.iter().all(|(row, version)| self.rows[*row].now.load(SeqCst) == *version)
    }

    fn is_current(&self, seen: &Seen) -> bool {
        self.epoch.now.load(SeqCst) == seen.epoch && self.rows_are_current(seen)
    }

    /// Changes a row and carries the change out.
    pub(super) fn change(&self, row: usize) {
        self.rows[row].change(|| {
            self.shared.invalidate(&[digest(row)], &cause());
        });
    }

    /// Changes a row, and lets what hangs on it be served stale.
    pub(super) fn change_softly(&self, row: usize) {
        self.rows[row].change_softly(|| {
            self.shared.soften(&[digest(row)], &cause());
        });
    }

    /// Begins a new epoch of the timeline.
    pub(super) fn restart(&self) {
        self.epoch.change(|| self.shared.shut(TIMELINE, &cause()));
    }

    pub(super) fn remove(&self, key: u64) {
        self.shared.remove(key_bytes(key).as_slice().into());
    }

    /// Reads a key and holds what it hits against the promise; the rows of the entry that was hit.
    pub(super) fn read(&self, key: u64) -> Option<Vec<usize>> {
        let applied = |version: &Version| version.applied.load(SeqCst);
        let epoch = applied(&self.epoch);
        let rows: Vec<u64> = self.rows.iter().map(applied).collect();
        let softened = |version: &Version| version.softened.load(SeqCst);
        let softened: Vec<u64> = self.rows.iter().map(softened).collect();
        let any = Knowledge::Since(Moment::EARLIEST);
        let key = key_bytes(key);
        let Lookup::Hit(found) = self.shared.get::<Seen>(key.as_slice().into(), any) else {
            return None;
        };
        let seen = &found.value;
        assert!(epoch <= seen.epoch, "epoch {} of an entry {STALE}: {epoch}", seen.epoch);
        for (row, version) in &seen.rows {
            let known = rows[*row];
            assert!(known <= *version, "version {version} of row {row} {STALE}: {known}");
            let is_fresh = found.state == State::Fresh;
            let known = softened[*row];
            assert!(!is_fresh || known <= *version, "version {version} {SOFT}: {known}");
        }
        Some(seen.rows.iter().map(|(row, _)| *row).collect())
    }

    /// Reads every key once.
    pub(super) fn read_all(&self) {
        for key in 0..KEYS {
            self.read(key);
        }
    }

    /// Comes to rest and sees that everything adds up; then invalidates all and sees that nothing
    /// is left.
    pub(super) fn end(mut self) {
        if !self.shared.jobs.are_open() {
            self.join_sweeper();
        }
        self.shared.jobs.settle();
        let hits: Vec<_> = (0..KEYS).filter_map(|key| self.read(key)).collect();
        let stats = self.shared.stats();
        assert_eq!(stats.pending, 0, "an item {LEFT}");
        assert_eq!(stats.entries, hits.len() as u64, "a slot {LEFT}");
        assert_eq!(self.records(), hits.len(), "a record {LEFT}");
        for row in 0..ROWS {
            let dependents = hits.iter().filter(|rows| rows.contains(&row)).count();
            let linked = self.shared.links.dependents(digest(row));
            assert_eq!(linked, dependents, "a link of row {row} {LEFT}, or one is missing");
        }
        // Counts can be right where a link is somebody else's: every entry must still be found.
        (0..ROWS).for_each(|row| self.change(row));
        assert!((0..KEYS).all(|key| self.read(key).is_none()), "everything was invalidated");
        self.shared.jobs.settle();
        let stats = self.shared.stats();
        assert_eq!((stats.links, stats.link_bytes), (0, 0), "a link {LEFT}");
        assert_eq!((stats.entries, self.records()), (0, 0), "an entry {LEFT}");
        self.shared.jobs.close();
        self.join_sweeper();
    }

    fn join_sweeper(&mut self) {
        if let Some(sweeper) = self.sweeper.take() {
            assert!(sweeper.join().is_ok(), "the sweeper panicked");
        }
    }

    fn records(&self) -> usize {
        (0..ledger::SHARDS).map(|place| self.shared.ledger.pick(place, |_| true).len()).sum()
    }
}

fn dependency(row: usize) -> Dependency {
    Dependency::tag(["one", "other"][row])
}

fn digest(row: usize) -> Digest {
    dependency(row).digest()
}

/// The rows in the order in which an entry that hangs on both is linked under them.
pub(super) fn in_linking_order() -> [usize; ROWS] {
    if digest(0) < digest(1) { [0, 1] } else { [1, 0] }
}

fn key_bytes(key: u64) -> KeyBytes {
    KeyBytes::from(&key.to_le_bytes()[..])
}

fn cause() -> Cause {
    Cause { timeline: TIMELINE.into(), position: Position(1), what: "a row changed".into() }
}
