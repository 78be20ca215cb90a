//! The hit in the memory tier against the bare engine's, with the key encoded from its type.
//!
//! The peer is quick_cache with `u64` keys, `Arc` values and the same hash: what somebody would use
//! who needs neither deadlines nor dependencies. Values are of 256 bytes on both sides.

use std::{
    any::Any,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use larder_core::{
    Change, Clock, Dependency, DependencySet, Epoch, History, Key, KeyEncoder, Position, RowChange,
    Stamps, Value, freshness::Policy,
};
use larder_memory::{Cause, Inserted, Knowledge, Lookup, MemoryLimit, MemoryTier, NewEntry};
use quick_cache::{UnitWeighter, sync::Cache};

use crate::{
    measure::{self, Random},
    report::Row,
};

type Hashing = foldhash::fast::RandomState;
type Held = [u64; 32];
type Bare<K> = Cache<K, Arc<Held>, UnitWeighter, Hashing>;

/// Hits in one round: tens of milliseconds, so that the microsecond clock is exact enough.
const HITS: usize = 400_000;
const ROUNDS: usize = 31;
/// Long, so that a round on a busy machine does not outlive its proof; the check costs the same.
const KNOWLEDGE: Knowledge = Knowledge::Within(Duration::from_secs(60));
/// Entries that the changes go to.
const OTHERS: u64 = 10_000;
const CHANGES_PER_SECOND: u64 = 10_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let mut rows = clock();
    for keys in [1_000, 100_000] {
        for dependencies in [0, 1, 16, 1_000] {
            rows.push(case(keys, dependencies, Changes::None));
        }
        rows.push(case(keys, 16, Changes::ToOthers));
        rows.push(bytes_keys(keys));
    }
    Ok(rows)
}

/// Whether anything happens beside the reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    None,
    ToOthers,
}

fn case(keys: u64, dependencies: usize, changes: Changes) -> Row {
    let tier = filled(keys, dependencies);
    let bare = bare(keys, |key| key);
    let clock = Clock::system();
    let mut random = [Random::new(7), Random::new(7)];
    let [own, other] = &mut random;
    let mut own = |_| {
        tier.prove("shop", clock.now());
        for _ in 0..HITS {
            black_box(hit(&tier, own.below(keys)));
        }
    };
    let mut other = |_| {
        for _ in 0..HITS {
            black_box(bare.get(&other.below(keys)));
        }
    };
    // The peer is measured without the changes: they are ours to hide.
    let times = match changes {
        Changes::None => measure::in_turns(ROUNDS, HITS, &mut [&mut own, &mut other]),
        Changes::ToOthers => {
            let changer = Changer::default();
            let applied = &changer.applied;
            let mut own = |round| {
                changer.running.store(true, Ordering::SeqCst);
                own(round);
                changer.running.store(false, Ordering::SeqCst);
            };
            let (times, taken) = thread::scope(|scope| {
                scope.spawn(|| changer.run(&tier));
                let sides: &mut [&mut dyn FnMut(usize)] = &mut [&mut own, &mut other];
                let result = measure::time(|| measure::in_turns(ROUNDS, HITS, sides));
                changer.done.store(true, Ordering::SeqCst);
                result
            });
            let applied = applied.load(Ordering::SeqCst);
            eprintln!("  {applied} changes applied in {:.1} s of both sides", taken.as_secs_f64());
            times
        }
    };
    let beside = if changes == Changes::ToOthers { "/10k changes per s" } else { "" };
    let having = match part(keys, dependencies) {
        1 => String::new(),
        part => format!(" in 1 of {part}"),
    };
    let name = format!("hit/{keys} keys/{dependencies} deps{having}{beside}");
    row(name, &times, "quick_cache, u64 keys")
}

fn row(name: String, times: &[f64], peer: &str) -> Row {
    let [own, other] = times else { unreachable!("two sides were measured") };
    Row::alone(name, *own, "ns", ROUNDS).against(peer, *other)
}

/// A hit as a region makes it: encode the key, look it up, get the value's type back.
#[inline]
pub(crate) fn hit(tier: &MemoryTier, key: u64) -> Arc<Held> {
    let mut encoder = KeyEncoder::new(1);
    key.encode(&mut encoder);
    match tier.get(&encoder, KNOWLEDGE) {
        Lookup::Hit(found) if found.proven => found.value,
        other => panic!("not a proven hit: {other:?}"),
    }
}

/// The bare engine with the same encoded keys, to show what the keys cost.
fn bytes_keys(keys: u64) -> Row {
    let encode = |key: u64| {
        let mut encoder = KeyEncoder::new(1);
        key.encode(&mut encoder);
        encoder
    };
    let bytes = bare(keys, |key| encode(key).finish());
    let bare = bare(keys, |key| key);
    let mut random = [Random::new(7), Random::new(7)];
    let [own, other] = &mut random;
    let mut own = |_| {
        for _ in 0..HITS {
            black_box(bytes.get(encode(own.below(keys)).finish().as_slice()));
        }
    };
    let mut other = |_| {
        for _ in 0..HITS {
            black_box(bare.get(&other.below(keys)));
        }
    };
    let times = measure::in_turns(ROUNDS, HITS, &mut [&mut own, &mut other]);
    row(format!("bare engine with bytes keys/{keys} keys"), &times, "quick_cache, u64 keys")
}

fn bare<K: Eq + std::hash::Hash>(keys: u64, key: impl Fn(u64) -> K) -> Bare<K> {
    let room = usize::try_from(keys).expect("few keys") * 2;
    let cache = Cache::with(
        room,
        keys * 2,
        UnitWeighter,
        Hashing::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    );
    for number in 0..keys {
        cache.insert(key(number), Arc::new([number; 32]));
    }
    cache
}

/// A tier with `keys` entries of `dependencies` rows each, and the entries that changes go to.
///
/// A million rows are enough for what is asked here; more would not fit many machines. So with
/// 1000 dependencies only a part of many keys has them, and all of the others share one.
fn filled(keys: u64, dependencies: usize) -> MemoryTier {
    let tier = MemoryTier::new(MemoryLimit::bytes(3 << 30), Clock::system());
    let part = part(keys, dependencies);
    for key in 0..keys {
        let count = if key % part == 0 { dependencies } else { dependencies.min(16) };
        let rows = (0..count as u64).map(|n| 1_000_000 + key * 16 + n);
        fill(&tier, 1, key, rows.map(row_of));
    }
    for key in 0..OTHERS {
        fill(&tier, 2, key, [row_of(key)]);
    }
    tier
}

const ROWS_MAX: u64 = 2_000_000;

/// One in how many of the entries has all of the dependencies.
fn part(keys: u64, dependencies: usize) -> u64 {
    keys.saturating_mul(dependencies as u64).div_ceil(ROWS_MAX).max(1)
}

pub(crate) fn row_of(row: u64) -> Dependency {
    Dependency::id("shop", "Other", [i64::try_from(row).expect("a small row")])
}

pub(crate) fn fill(
    tier: &MemoryTier,
    region: u32,
    key: u64,
    dependencies: impl IntoIterator<Item = Dependency>,
) {
    let mut encoder = KeyEncoder::new(region);
    key.encode(&mut encoder);
    let value: Arc<dyn Any + Send + Sync> = Arc::new([key; 32]);
    let hour = Duration::from_secs(3600);
    let mut policy = Policy::new(Some(hour)).expect("a ttl of an hour is fine");
    policy.stale_while_revalidate = hour;
    let now = Clock::system().now();
    let entry = NewEntry {
        key: encoder.finish(),
        value,
        value_bytes: size_of::<Held>(),
        deadlines: policy.deadlines(now, larder_core::Moment::NEVER),
        dependencies: dependencies.into_iter().collect::<DependencySet>(),
        stamps: Stamps::new(),
        pass: tier.pass(["app", "shop"]),
    };
    assert_eq!(tier.insert(entry, || true), Inserted::Stored);
}

/// Applies changes at a steady rate while told to: each through a history, as a feed does, and
/// each to a row that one entry depends on, which is then filled again.
#[derive(Default)]
struct Changer {
    running: AtomicBool,
    done: AtomicBool,
    applied: AtomicU64,
}

impl Changer {
    fn run(&self, tier: &MemoryTier) {
        let clock = Clock::system();
        let mut history = History::new("shop".into(), Epoch(1), Position::START, 100_000);
        let mut random = Random::new(11);
        while !self.done.load(Ordering::SeqCst) {
            let start = clock.now();
            let mut due = 0u32;
            while self.running.load(Ordering::SeqCst) {
                let now = measure::since(start);
                let target = now.as_secs_f64() * CHANGES_PER_SECOND as f64;
                while f64::from(due) < target {
                    self.apply(tier, &mut history, random.below(OTHERS));
                    due += 1;
                }
                tier.prove("shop", clock.now());
                thread::sleep(Duration::from_micros(500));
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn apply(&self, tier: &MemoryTier, history: &mut History, row: u64) {
        let position = history.applied().next();
        let value = i64::try_from(row).expect("a small row");
        let image = Some(vec![Value::Integer(value)]);
        let change = Change::Row(RowChange {
            table: "Other".into(),
            columns: ["Id".into()].into(),
            key: [0].into(),
            old: image.clone(),
            new: image,
        });
        let touched = history.apply(position, &[change]);
        let cause = Cause { timeline: "shop".into(), position, what: "a row changed".into() };
        assert_eq!(tier.invalidate(&touched.digests, &cause), 1);
        fill(tier, 2, row, [row_of(row)]);
        self.applied.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the time costs here: the reason for the coarse clock.
fn clock() -> Vec<Row> {
    let clock = Clock::system();
    let mut coarse = |_| {
        (0..HITS).for_each(|_| {
            black_box(clock.coarse());
        });
    };
    let mut exact = |_| {
        (0..HITS).for_each(|_| {
            black_box(clock.now());
        });
    };
    let times = measure::in_turns(ROUNDS, HITS, &mut [&mut coarse, &mut exact]);
    vec![row("clock/coarse".into(), &times, "exact clock")]
}
