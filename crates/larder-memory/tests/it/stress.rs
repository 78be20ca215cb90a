//! Threads against each other: no hit after `invalidate` returned.
//!
//! Every row has a version. A writer raises the version of a row, which stands for the history, and
//! then invalidates. A filler reads the versions of its rows, and stores them as the value unless
//! one has moved when it asks again. A reader notes the invalidated versions, reads, and must not
//! find a value that is older, or, where changes are soft, not as fresh.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use larder_core::{Clock, Mode, freshness::State};
use larder_memory::{Lookup, MemoryLimit, MemoryTier};

use crate::support::{ANY, cause, entry, for_an_hour, key, row};

const ROWS: usize = 8;
const KEYS: u64 = 400;
/// Changes in all; the gate's budget. A debug build does them in seconds.
const CHANGES: u64 = 1_500;

const HITS_BETWEEN: u64 = 10;

struct World {
    tier: MemoryTier,
    mode: Mode,
    /// What the origin holds.
    versions: Vec<AtomicU64>,
    /// Up to which version `invalidate` has returned.
    invalidated: Vec<AtomicU64>,
    done: AtomicBool,
    hits: AtomicU64,
}

/// The row all keys share is the last one: it has more dependents than are ended inline.
fn rows_of(key: u64) -> [usize; 2] {
    [key as usize % (ROWS - 1), ROWS - 1]
}

impl World {
    fn change(&self, row_number: usize) {
        let version = self.versions[row_number].fetch_add(1, SeqCst) + 1;
        let digests = [row(row_number as u64).digest()];
        match self.mode {
            Mode::Hard => self.tier.invalidate(&digests, &cause()),
            Mode::Soft => self.tier.soften(&digests, &cause()),
        };
        self.invalidated[row_number].fetch_max(version, SeqCst);
    }

    fn fill(&self, number: u64) {
        let rows = rows_of(number);
        let read = || rows.map(|row| self.versions[row].load(SeqCst));
        let mut new = entry(&self.tier, number, 0, rows.map(|number| row(number as u64)));
        new.deadlines = for_an_hour(&Clock::system());
        if self.mode == Mode::Soft {
            new.deadlines.stale_while_revalidate = Duration::from_secs(3600);
        }
        let versions = read();
        new.value = Arc::new(versions);
        self.tier.insert(new, || read() == versions);
    }

    fn read(&self, number: u64) {
        let rows = rows_of(number);
        let least = rows.map(|row| self.invalidated[row].load(SeqCst));
        let Lookup::Hit(found) = self.tier.get::<[u64; 2]>(key(number).as_slice(), ANY) else {
            return self.fill(number);
        };
        if found.state != State::Fresh {
            return self.fill(number);
        }
        let versions = found.value;
        assert!(
            least.iter().zip(versions.iter()).all(|(least, version)| least <= version),
            "key {number}: {versions:?} was hit after {least:?} was invalidated"
        );
        self.hits.fetch_add(1, SeqCst);
    }
}

fn run(limit: MemoryLimit, mode: Mode) -> World {
    let zeros = || (0..ROWS).map(|_| AtomicU64::new(0)).collect();
    let world = World {
        tier: MemoryTier::new(limit, Clock::system()),
        mode,
        versions: zeros(),
        invalidated: zeros(),
        done: AtomicBool::new(false),
        hits: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let world = &world;
        let readers = [0, 1, 2u64].map(|reader| {
            scope.spawn(move || {
                let mut number = reader * 131;
                while !world.done.load(SeqCst) {
                    number =
                        number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    world.read((number >> 33) % KEYS);
                }
            })
        });
        for step in 0..CHANGES {
            let shared = step % 5 == 0;
            world.change(if shared { ROWS - 1 } else { step as usize % (ROWS - 1) });
            // Hits between changes are what may go wrong; without them the run would mean nothing.
            let enough = world.hits.load(SeqCst) + HITS_BETWEEN;
            while world.hits.load(SeqCst) < enough
                && !readers.iter().any(ScopedJoinHandle::is_finished)
            {
                thread::yield_now();
            }
            if step % 997 == 0 {
                world.tier.shut("crm", &cause());
            }
        }
        world.done.store(true, SeqCst);
    });
    world
}

#[test]
fn no_hit_after_invalidate_returned() {
    let world = run(MemoryLimit::bytes(64 << 20), Mode::Hard);
    assert!(CHANGES * HITS_BETWEEN <= world.hits.load(SeqCst));
    empties(&world);
}

#[test]
fn no_fresh_hit_after_a_soft_invalidation_returned() {
    let world = run(MemoryLimit::bytes(64 << 20), Mode::Soft);
    assert!(CHANGES * HITS_BETWEEN <= world.hits.load(SeqCst));
    assert!(world.tier.stats().softened > CHANGES);
    empties(&world);
}

#[test]
fn no_hit_after_invalidate_returned_while_entries_are_evicted() {
    let world = run(MemoryLimit::bytes(64 << 10), Mode::Hard);
    assert!(world.tier.stats().evictions > 100);
    empties(&world);
}

fn empties(world: &World) {
    for number in 0..KEYS {
        world.tier.remove(key(number).as_slice());
    }
    world.tier.settle();
    let stats = world.tier.stats();
    assert_eq!((stats.entries, stats.links, stats.pending), (0, 0, 0), "{stats:?}");
}
