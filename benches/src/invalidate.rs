//! Invalidating a million dependents: the caller's tail, the sweep, and the hits beside it.
//!
//! The hits are of entries that depend on other things. Their peer is the same hits with no sweep
//! going on, in the round before.

use std::hint::black_box;

use anyhow::{Result, ensure};
use larder_core::{Clock, Dependency, Position};
use larder_memory::{Cause, MemoryLimit, MemoryTier};

use crate::{
    hit::{fill, hit, row_of},
    measure::{self, Random, nanos, percentile},
    report::Row,
};

const DEPENDENTS: u64 = 1_000_000;
const OTHERS: u64 = 10_000;
const ROUNDS: usize = 5;
/// Small invalidations measured while the large one is being swept, in each round.
const BESIDE: usize = 200;
const HITS: usize = 20_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let tier = MemoryTier::new(MemoryLimit::bytes(4 << 30), Clock::system());
    let tag = Dependency::tag("everywhere");
    let cause = Cause { timeline: "app".into(), position: Position(1), what: "the bench".into() };
    for key in 0..OTHERS {
        fill(&tier, 1, key, [row_of(key)]);
    }
    let mut samples = Samples::default();
    let mut random = Random::new(3);
    for _ in 0..ROUNDS {
        for key in 0..DEPENDENTS {
            fill(&tier, 2, key, [tag.clone()]);
        }
        for _ in 0..20 {
            samples.quiet.push(hits(&tier, &mut random));
        }
        let (touched, taken) = measure::time(|| tier.invalidate(&[tag.digest()], &cause));
        ensure!(touched as u64 == DEPENDENTS, "{touched} entries were touched");
        samples.large.push(nanos(taken) / 1e3);
        let start = Clock::system().now();
        let mut small = 0;
        while tier.stats().entries > OTHERS {
            samples.beside.push(hits(&tier, &mut random));
            for _ in 0..5 {
                if small < BESIDE {
                    let (_, taken) = measure::time(|| tier.invalidate(&[tag.digest()], &cause));
                    samples.small.push(nanos(taken) / 1e3);
                    small += 1;
                }
            }
        }
        samples.sweep.push(nanos(measure::since(start)) / 1e6);
        tier.settle();
    }
    Ok(samples.rows())
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
    large: Vec<f64>,
    small: Vec<f64>,
    sweep: Vec<f64>,
    quiet: Vec<f64>,
    beside: Vec<f64>,
}

impl Samples {
    fn rows(self) -> Vec<Row> {
        let Self { large, small, sweep, quiet, beside } = self;
        let (of_large, of_small, of_beside) = (large.len(), small.len(), beside.len());
        vec![
            Row::alone("invalidate/1M dependents/worst", percentile(large, 100), "us", of_large),
            Row::alone("invalidate/beside the sweep/p99", percentile(small, 99), "us", of_small),
            Row::alone("invalidate/1M dependents/sweep", percentile(sweep, 50), "ms", of_large),
            Row::alone("hit beside the sweep", percentile(beside, 50), "ns", of_beside)
                .against("hit without a sweep", percentile(quiet, 50)),
        ]
    }
}
