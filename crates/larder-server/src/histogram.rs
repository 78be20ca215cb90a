//! How long answers take, in buckets.
//!
//! **Invariant**: observing is a few relaxed additions, so that it may stand on the path of a hit.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds in microseconds: three to a decade from a hit in memory to a slow load.
pub const BOUNDS_MICROS: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000,
    2_500_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
    last_micros: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Observations in each bucket alone; the last is for what is over all bounds.
    pub buckets: Vec<u64>,
    /// The sum of all observations.
    pub sum: Duration,
    /// The latest observation.
    pub last: Duration,
}

impl Histogram {
    /// Counts one observation.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.last_micros.store(micros, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)),
            last: Duration::from_micros(self.last_micros.load(Ordering::Relaxed)),
        }
    }
}

impl Snapshot {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean, zero when nothing was observed.
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        self.sum.checked_div(count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.buckets[0], seen.buckets[1], seen.buckets[16]), (2, 1, 1));
        assert_eq!(seen.count(), 4);
        assert_eq!(seen.last, Duration::from_micros(10_000_001));
        assert_eq!(Histogram::default().snapshot().mean(), Duration::ZERO);
    }
}
