//! Storing what was computed by hand: `begin`, naming dependencies, `finish`.
//!
//! `region` measures the way out of the cache, this the way in, as the library's user walks it, and
//! then the steps inside by themselves. Something else is invalidated between `begin` and
//! `finish`, and the memory of changes is full, so that the check against it is made in earnest.
//! **Invariant**: every entry is stored; the run fails when one was overtaken.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use larder::{Begun, Cache, Dependency, DependencySet, MemoryLimit, Name, UntrackedRegion};
use larder_core::{
    Change, Clock, Epoch, History, Key, KeyEncoder, Moment, Position, Stamps, freshness::Policy,
    history::DEFAULT_CAPACITY,
};
use larder_memory::{Inserted, MemoryTier, NewEntry};
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{self, median, nanos},
    report::Row,
};

const COUNTS: [usize; 5] = [0, 1, 10, 100, 1_000];
/// The count that the steps are measured at.
const DIVIDED: usize = 100;
const ROUNDS: usize = 15;
/// Tags invalidated by one call while the memory of changes is filled.
const TOLD: usize = 1_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let bench = runtime.block_on(Bench::new())?;
    let mut rows = Vec::new();
    for count in COUNTS {
        rows.extend(bench.case(&runtime, count)?);
    }
    rows.extend(steps()?);
    Ok(rows)
}

struct Bench {
    cache: Cache,
    /// Untracked, so that the one without dependencies can be stored too.
    region: UntrackedRegion<u64, u64>,
    names: Names,
}

type Open = Begun<u64, u64, larder::Error>;

/// As in an application: made once, not for each row.
struct Names {
    timeline: Name,
    table: Name,
}

impl Names {
    fn new(timeline: &str) -> Self {
        Self { timeline: timeline.into(), table: "Article".into() }
    }

    /// The rows that the entry `key` is built from, each its own.
    fn rows(&self, key: u64, count: usize) -> impl Iterator<Item = Dependency> {
        let first = key * count as u64;
        (first..first + count as u64).map(|row| {
            Dependency::id(self.timeline.clone(), self.table.clone(), [row.cast_signed()])
        })
    }
}

/// Nanoseconds for one entry, of each round.
#[derive(Default)]
struct Samples {
    name: Vec<f64>,
    first: Vec<f64>,
    again: Vec<f64>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let cache = Cache::builder().memory(MemoryLimit::bytes(4 << 30)).build()?;
        let region = cache.region::<u64, u64>("finished").never_expires().build_untracked()?;
        for call in 0..DEFAULT_CAPACITY / TOLD {
            let tags = (0..TOLD).map(|tag| Dependency::tag(format!("old {call} {tag}")));
            cache.invalidate(tags).await?;
        }
        Ok(Self { cache, region, names: Names::new("app") })
    }

    fn case(&self, runtime: &Runtime, count: usize) -> Result<Vec<Row>> {
        let keys = (100_000 / count.max(1)).clamp(100, 5_000) as u64;
        let mut samples = Samples::default();
        runtime.block_on(async {
            for _ in 0..=ROUNDS {
                let (name, first) = self.round(keys, count).await?;
                let (_, again) = self.round(keys, count).await?;
                samples.name.push(name / keys as f64);
                samples.first.push(first / keys as f64);
                samples.again.push(again / keys as f64);
                for key in 0..keys {
                    ensure!(self.region.remove(&key).await?, "an entry was not stored");
                }
            }
            anyhow::Ok(())
        })?;
        let row = |what: &str, mut samples: Vec<f64>| {
            // The first round warms up.
            samples.remove(0);
            Row::alone(format!("finish/{count} deps/{what}"), median(samples) / 1e3, "us", ROUNDS)
        };
        let Samples { name, first, again } = samples;
        Ok(vec![
            row("begin and depends_on", name),
            row("finish, a new key", first),
            row("finish, in place of the same", again),
        ])
    }

    /// Stores every key: how long the beginnings took, and how long the ends.
    async fn round(&self, keys: u64, count: usize) -> Result<(f64, f64)> {
        let (begun, named) = measure::time(|| {
            let begin = |key| {
                let begun = self.region.begin(&key);
                begun.load().depends_on_all(self.names.rows(key, count));
                begun
            };
            (0..keys).map(begin).collect::<Vec<Open>>()
        });
        self.cache.invalidate([Dependency::tag("something else")]).await?;
        let start = Clock::system().now();
        for (key, begun) in begun.into_iter().enumerate() {
            begun.finish(key as u64).await?;
        }
        Ok((nanos(named), nanos(measure::since(start))))
    }
}

/// What the steps cost by themselves, for one entry with [`DIVIDED`] dependencies.
fn steps() -> Result<Vec<Row>> {
    const KEYS: usize = 1_000;
    let names = Names::new("shop");
    let sets: Vec<DependencySet> =
        (0..KEYS as u64).map(|key| names.rows(key, DIVIDED).collect()).collect();
    let history = remembering(&names);
    let mut stamp = history.stamp();
    stamp.as_of = Position(history.applied().0 - 1);
    let (tier, bare) = (tier(), tier());
    let mut dependencies = |_| {
        for key in 0..KEYS as u64 {
            names.rows(key, DIVIDED).for_each(|row| drop(black_box(row)));
        }
    };
    let mut set = |_| {
        for key in 0..KEYS as u64 {
            black_box(names.rows(key, DIVIDED).collect::<DependencySet>());
        }
    };
    let mut copy = |_| sets.iter().for_each(|set| drop(black_box(set.clone())));
    let mut check = |_| {
        for set in &sets {
            black_box(history.verdict(&stamp, set, history.applied()));
        }
    };
    let mut link = |_| sets.iter().enumerate().for_each(|(key, set)| put(&tier, key, set.clone()));
    let mut store = |_| (0..KEYS).for_each(|key| put(&bare, key, DependencySet::new()));
    let sides: &mut [&mut dyn FnMut(usize)] =
        &mut [&mut dependencies, &mut set, &mut copy, &mut check, &mut link, &mut store];
    let times = measure::in_turns(ROUNDS, KEYS, sides);
    let [dependencies, set, copy, check, link, store] = *times else {
        unreachable!("six sides were measured")
    };
    let row = |step: &str, nanos: f64| {
        Row::alone(format!("finish/{DIVIDED} deps/step: {step}"), nanos / 1e3, "us", ROUNDS)
    };
    Ok(vec![
        row("make the dependencies", dependencies),
        row("hash and sort them", set - dependencies),
        row("copy the set and drop it", copy),
        row("check with the changes", check),
        row("link, and unlink the one before", link - store - copy),
        row("store without dependencies", store),
    ])
}

/// A full memory of changes to other rows.
fn remembering(names: &Names) -> History {
    let mut history =
        History::new(names.timeline.clone(), Epoch(1), Position::START, DEFAULT_CAPACITY);
    let mut row = 0;
    while history.len() < history.capacity() {
        row -= 1;
        let other = Dependency::id(names.timeline.clone(), names.table.clone(), [row]);
        let position = history.applied().next();
        history.apply(position, &[Change::Touch(other)]);
        history.confirm(position);
    }
    history
}

fn tier() -> MemoryTier {
    MemoryTier::new(MemoryLimit::bytes(4 << 30), Clock::system())
}

fn put(tier: &MemoryTier, key: usize, dependencies: DependencySet) {
    let mut encoder = KeyEncoder::new(1);
    (key as u64).encode(&mut encoder);
    let policy = Policy::new(None).expect("to never expire is fine");
    let entry = NewEntry {
        key: encoder.finish(),
        value: Arc::new(key),
        value_bytes: size_of::<usize>(),
        deadlines: policy.deadlines(Clock::system().now(), Moment::NEVER),
        dependencies,
        stamps: Stamps::new(),
        pass: tier.pass(["app", "shop"]),
    };
    assert_eq!(tier.insert(entry, || true), Inserted::Stored);
}
