//! The hit as users get it: through [`Region::get_or_load`] and [`Region::fetch`], in a runtime.
//!
//! `hit` measures the memory tier alone; here the region's own work is in it: the future, the
//! counters, the value's type. The peer is bare quick_cache in the same runtime, without a future.
//! **Invariant**: every read is a hit, and the run fails when one was not.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use larder::{Cache, Dependency, Error, MemoryLimit, Region};
use quick_cache::{UnitWeighter, sync};
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{self, Random},
    report::Row,
};

type Held = [u64; 32];
type Bare = sync::Cache<u64, Arc<Held>, UnitWeighter, foldhash::fast::RandomState>;

/// Hits in one round and one `block_on`: tens of milliseconds of them.
const HITS: usize = 200_000;
const ROUNDS: usize = 31;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let mut rows = Vec::new();
    for keys in [1_000, 100_000] {
        rows.extend(case(&runtime, keys)?);
    }
    Ok(rows)
}

fn case(runtime: &Runtime, keys: u64) -> Result<Vec<Row>> {
    let region = runtime.block_on(filled(keys))?;
    let before = region.stats();
    let bare = bare(keys)?;
    let mut random = [Random::new(7), Random::new(7), Random::new(7)];
    let [loading, fetching, other] = &mut random;
    let mut loading = |_| {
        runtime.block_on(async {
            for _ in 0..HITS {
                let _ = black_box(region.get_or_load(&loading.below(keys)).await);
            }
        });
    };
    let mut fetching = |_| {
        runtime.block_on(async {
            for _ in 0..HITS {
                let _ = black_box(region.fetch(&fetching.below(keys)).await);
            }
        });
    };
    let mut other = |_| {
        runtime.block_on(async {
            for _ in 0..HITS {
                black_box(bare.get(&other.below(keys)));
            }
        });
    };
    let sides: &mut [&mut dyn FnMut(usize)] = &mut [&mut loading, &mut fetching, &mut other];
    let times = measure::in_turns(ROUNDS, HITS, sides);
    let [loading, fetching, other] = *times else { unreachable!("three sides were measured") };
    let stats = region.stats();
    let all = 2 * (ROUNDS + 1) * HITS;
    let hits = stats.hits - before.hits;
    ensure!(hits == all as u64, "only {hits} of {all} reads were hits");
    let row = |call: &str, own: f64| {
        Row::alone(format!("region/{call}/{keys} keys"), own, "ns", ROUNDS)
            .against("quick_cache, u64 keys", other)
    };
    Ok(vec![row("get_or_load", loading), row("fetch", fetching)])
}

/// A region that holds every key, each from a row of its own.
async fn filled(keys: u64) -> Result<Region<u64, Held>> {
    let cache = Cache::builder().memory(MemoryLimit::bytes(1 << 30)).build()?;
    let region = cache
        .region_weighed::<u64, Held>("held", |_| 0)
        .never_expires()
        .loader(|key, load| async move {
            load.depends_on(Dependency::id("app", "Row", [i64::try_from(key).unwrap_or(0)]));
            Ok::<_, Error>([key; 32])
        })
        .build()?;
    for key in 0..keys {
        region.get_or_load(&key).await?;
    }
    Ok(region)
}

fn bare(keys: u64) -> Result<Bare> {
    let room = usize::try_from(keys)? * 2;
    let (hashing, lifecycle) = (Default::default(), Default::default());
    let bare = Bare::with(room, keys * 2, UnitWeighter, hashing, lifecycle);
    (0..keys).for_each(|key| bare.insert(key, Arc::new([key; 32])));
    Ok(bare)
}
