//! Measuring: rounds in alternation, medians, percentiles, and random numbers that cost nothing.
//!
//! **Invariant**: the two sides of a comparison take turns round by round, so that whatever slows
//! the machine down for a while slows both.

use std::time::Duration;

use larder_core::{Clock, Moment};

/// What one operation takes, in nanoseconds, of each side: medians of `rounds` rounds in turns.
///
/// Each side is called with the number of its round, does `operations` operations, and runs once
/// before the first round to warm up.
pub(crate) fn in_turns(
    rounds: usize,
    operations: usize,
    sides: &mut [&mut dyn FnMut(usize)],
) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(rounds); sides.len()];
    sides.iter_mut().for_each(|side| side(0));
    for round in 0..rounds {
        for (side, samples) in sides.iter_mut().zip(&mut samples) {
            let (_, taken) = time(|| side(round));
            samples.push(nanos(taken) / operations as f64);
        }
    }
    samples.into_iter().map(median).collect()
}

/// What `work` returns and how long it took.
pub(crate) fn time<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let clock = Clock::system();
    // The clock counts microseconds: rounds are long enough, single operations are not.
    let start = clock.now();
    let result = work();
    (result, clock.now().since(start))
}

/// The time since `start`.
pub(crate) fn since(start: Moment) -> Duration {
    Clock::system().now().since(start)
}

pub(crate) fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// The middle of the samples; zero of none.
pub(crate) fn median(samples: Vec<f64>) -> f64 {
    percentile(samples, 50)
}

/// The sample that `percent` of them do not exceed; zero of none.
pub(crate) fn percentile(mut samples: Vec<f64>, percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    let place = (samples.len() * percent / 100).min(samples.len().saturating_sub(1));
    samples.get(place).copied().unwrap_or(0.0)
}

/// Random numbers below a bound, good enough to spread reads over keys (xorshift).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    #[inline]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the good ones: multiply instead of taking the remainder.
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
}
