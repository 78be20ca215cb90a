//! Invalidating a million dependents: the caller's tail, the sweep, and the hits beside it.
//!
//! A percentile wants many samples, and filling a million entries takes seconds. So the tail is
//! measured at 100 000 dependents, and the worst of fewer samples at a million shows that it does
//! not grow with them. The hits are of entries that depend on other things; their peer is the same
//! hits with no sweep going on, in the round before. (Beside a thread that only spins they take as
//! long as alone, unless the two threads share a core.)

use std::hint::black_box;

use anyhow::{Result, ensure};
use larder_core::{Clock, Dependency, Position};
use larder_memory::{Cause, MemoryLimit, MemoryTier};

use crate::{
    hit::{fill, hit, row_of},
    measure::{self, Random, nanos, percentile},
    report::Row,
};

const MANY: u64 = 1_000_000;
const FEWER: u64 = 100_000;
const OTHERS: u64 = 10_000;
/// Rounds with the million, and with fewer.
const ROUNDS: usize = 20;
const ROUNDS_OF_FEWER: usize = 200;
const ROUNDS_OF_SOFT: usize = 5;
/// Digests invalidated while the million is being swept, in each round, and what depends on each.
const BESIDE: u64 = 50;
const DEPENDENTS_BESIDE: u64 = 10;
const HITS: usize = 20_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let tier = MemoryTier::new(MemoryLimit::bytes(4 << 30), Clock::system());
    for key in 0..OTHERS {
        fill(&tier, 1, key, [row_of(key)]);
    }
    let mut samples = Samples::default();
    let mut random = Random::new(3);
    for _ in 0..ROUNDS {
        fill_many(&tier, MANY);
        for key in 0..BESIDE * DEPENDENTS_BESIDE {
            fill(&tier, 3, key, [tag_beside(key % BESIDE)]);
        }
        for _ in 0..20 {
            samples.quiet.push(hits(&tier, &mut random));
        }
        samples.many.push(invalidate(&tier, &everywhere(), MANY)?);
        let start = Clock::system().now();
        let mut beside = 0..BESIDE;
        while tier.stats().entries > OTHERS {
            samples.beside.push(hits(&tier, &mut random));
            if let Some(number) = beside.next() {
                let taken = invalidate(&tier, &tag_beside(number), DEPENDENTS_BESIDE)?;
                samples.small.push(taken);
            }
        }
        samples.sweep.push(nanos(measure::since(start)) / 1e6);
        tier.settle();
    }
    for _ in 0..ROUNDS_OF_SOFT {
        fill_many(&tier, MANY);
        samples.soft.push(soften(&tier, &everywhere(), MANY)?);
        let (_, taken) = measure::time(|| tier.settle());
        samples.softened.push(nanos(taken) / 1e6);
        // They are stale, and there: the next round begins without them.
        invalidate(&tier, &everywhere(), MANY)?;
        tier.settle();
    }
    for _ in 0..ROUNDS_OF_FEWER {
        fill_many(&tier, FEWER);
        samples.fewer.push(invalidate(&tier, &everywhere(), FEWER)?);
        tier.settle();
    }
    Ok(samples.rows())
}

fn everywhere() -> Dependency {
    Dependency::tag("everywhere")
}

fn tag_beside(number: u64) -> Dependency {
    Dependency::tag(format!("beside {number}"))
}

fn fill_many(tier: &MemoryTier, count: u64) {
    let tag = everywhere();
    for key in 0..count {
        fill(tier, 2, key, [tag.clone()]);
    }
}

/// Microseconds that it takes to soften what depends on `dependency`.
fn soften(tier: &MemoryTier, dependency: &Dependency, dependents: u64) -> Result<f64> {
    let cause = Cause { timeline: "app".into(), position: Position(1), what: "the bench".into() };
    let (touched, taken) = measure::time(|| tier.soften(&[dependency.digest()], &cause));
    ensure!(touched as u64 == dependents, "{touched} entries were touched, not {dependents}");
    Ok(nanos(taken) / 1e3)
}

/// Microseconds that it takes to invalidate what depends on `dependency`.
fn invalidate(tier: &MemoryTier, dependency: &Dependency, dependents: u64) -> Result<f64> {
    let cause = Cause { timeline: "app".into(), position: Position(1), what: "the bench".into() };
    let (touched, taken) = measure::time(|| tier.invalidate(&[dependency.digest()], &cause));
    ensure!(touched as u64 == dependents, "{touched} entries were touched, not {dependents}");
    Ok(nanos(taken) / 1e3)
}

/// What one hit takes now.
fn hits(tier: &MemoryTier, random: &mut Random) -> f64 {
    tier.prove("shop", Clock::system().now());
    let (_, taken) = measure::time(|| {
        for _ in 0..HITS {
            black_box(hit(tier, random.below(OTHERS)));
        }
    });
    nanos(taken) / HITS as f64
}

#[derive(Default)]
struct Samples {
    many: Vec<f64>,
    soft: Vec<f64>,
    softened: Vec<f64>,
    fewer: Vec<f64>,
    small: Vec<f64>,
    sweep: Vec<f64>,
    quiet: Vec<f64>,
    beside: Vec<f64>,
}

impl Samples {
    fn rows(self) -> Vec<Row> {
        let Self { many, soft, softened, fewer, small, sweep, quiet, beside } = self;
        let row = |name: &str, samples: Vec<f64>, percent: usize, unit: &'static str| {
            let runs = samples.len();
            Row::alone(name, percentile(samples, percent), unit, runs)
        };
        vec![
            row("invalidate/100k dependents/p99", fewer, 99, "us"),
            row("invalidate/1M dependents/median", many.clone(), 50, "us"),
            row("invalidate/1M dependents/worst", many, 100, "us"),
            row("invalidate/10 dependents, beside the sweep/p99", small, 99, "us"),
            row("invalidate/1M dependents/sweep", sweep, 50, "ms"),
            row("soften/1M dependents/worst", soft, 100, "us"),
            row("soften/1M dependents/all marked after", softened, 50, "ms"),
            row("hit beside the sweep", beside, 50, "ns")
                .against("hit without a sweep", percentile(quiet, 50)),
        ]
    }
}
