//! A crowd at a cold key: ten thousand readers, one load.
//!
//! What is measured is what the crowd costs beyond the load: from before the first reader is
//! spawned until the last has its value, less the time that the load itself took. **Invariant**:
//! the run fails when a round took another number of loads than one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use larder::{Cache, Clock, Dependency, Error, Region};
use tokio::{runtime::Builder, task::JoinSet};

use crate::{
    measure::{self, nanos, percentile},
    report::Row,
};

const READERS: u64 = 10_000;
const ROUNDS: usize = 15;
const LOAD: Duration = Duration::from_millis(100);

/// How many loads were begun, and how long the last of them took.
#[derive(Debug, Default)]
struct Loads {
    begun: AtomicU64,
    micros: AtomicU64,
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    runtime.block_on(async {
        let loads = Arc::new(Loads::default());
        let region = region(loads.clone())?;
        let mut beyond = Vec::with_capacity(ROUNDS);
        for key in 0..=ROUNDS as u64 {
            let taken = crowd(&region, key).await?;
            let begun = loads.begun.swap(0, Ordering::SeqCst);
            ensure!(begun == 1, "{begun} loads for one key");
            let load = Duration::from_micros(loads.micros.load(Ordering::SeqCst));
            // The first round warms up.
            if key != 0 {
                beyond.push(nanos(taken.saturating_sub(load)) / 1e6);
            }
        }
        let stats = region.stats();
        eprintln!("  {} waited for a load, {} came after it", stats.joined, stats.hits);
        Ok(vec![
            Row::alone("crowd/loads for 10k readers", 1.0, "loads", ROUNDS),
            Row::alone(
                "crowd/last answer beyond the load",
                percentile(beyond.clone(), 50),
                "ms",
                ROUNDS,
            ),
            Row::alone(
                "crowd/last answer beyond the load/worst",
                percentile(beyond, 100),
                "ms",
                ROUNDS,
            ),
        ])
    })
}

fn region(loads: Arc<Loads>) -> Result<Region<u64, u64>> {
    let cache = Cache::builder().build()?;
    let region = cache.region::<u64, u64>("crowded").never_expires();
    let region = region.loader(move |key, load| {
        let loads = loads.clone();
        async move {
            loads.begun.fetch_add(1, Ordering::SeqCst);
            let start = Clock::system().now();
            load.depends_on(Dependency::tag("crowd"));
            tokio::time::sleep(LOAD).await;
            let micros = u64::try_from(measure::since(start).as_micros()).unwrap_or(u64::MAX);
            loads.micros.store(micros, Ordering::SeqCst);
            Ok::<_, Error>(key)
        }
    });
    Ok(region.build()?)
}

/// How long it takes until ten thousand readers of `key` have their value.
async fn crowd(region: &Region<u64, u64>, key: u64) -> Result<Duration> {
    let start = Clock::system().now();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let region = region.clone();
        readers.spawn(async move {
            let value = region.get_or_load(&key).await;
            (value.is_ok_and(|value| *value == key), Clock::system().now())
        });
    }
    let mut last = start;
    while let Some(answer) = readers.join_next().await {
        let (right, at) = answer?;
        ensure!(right, "a reader got an error or the value of another key");
        last = last.max(at);
    }
    Ok(last.since(start))
}
