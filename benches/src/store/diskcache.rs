//! Two peers that keep entries in a SQLite file too, for Python: diskcache, and the cache of
//! tw-stock-agent as its documents describe it.
//!
//! They do the same with the same keys and sizes, at their own settings, which are `NORMAL` like
//! ours. **Invariant**: both sides are measured in one run, one after the other, because a peer
//! is a process of its own.

use std::path::Path;

use anyhow::{Result, ensure};
use larder_sqlite::store::SqliteStore;
use serde::Deserialize;
use tokio::runtime::Builder;

use super::{KEYS, REGION, entry, fill, key, writes};
use crate::{
    measure::{Random, percentile},
    python,
    report::Row,
    writer::now,
};

const PACKAGES: [&str; 1] = ["diskcache==5.6.3"];
const SCRIPT: &str = concat!(include_str!("gate.py"), include_str!("diskcache.py"));
const PEER: &str = "diskcache 5.6.3";
const REFERENCE: &str = concat!(include_str!("gate.py"), include_str!("reference.py"));
const REFERENCE_PEER: &str = "the design of tw-stock-agent, Python";
const CALLS: usize = 20_000;
const GROUPED: u64 = 64_000;

/// What the script prints.
#[derive(Deserialize)]
struct Answer {
    get: [f64; 2],
    set: [f64; 2],
    rate: f64,
}

pub(super) fn run(dir: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir_all(dir)?;
    let python = python::interpreter("diskcache", &PACKAGES, "diskcache")?;
    let answer = python::answer(&python, SCRIPT, &dir.join("peer"))?;
    let Answer { get: theirs_got, set: theirs_set, rate } = answer;
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    let (got, set, own_rate) = runtime.block_on(own(&dir.join("own.db")))?;
    let mut rows = Vec::new();
    for (word, own, theirs) in [("get", got, theirs_got), ("set", set, theirs_set)] {
        for ((quantile, percent), theirs) in [("p50", 50), ("p99", 99)].into_iter().zip(theirs) {
            let name = format!("store/{word} beside diskcache {quantile}");
            let own = percentile(own.clone(), percent) / 1e3;
            rows.push(Row::alone(name, own, "us", CALLS).against(PEER, theirs));
        }
    }
    let name = format!("store/sets of {} beside as many of its processes", writes::TASKS);
    rows.push(Row::alone(name, own_rate, "writes/s", 1).against(PEER, rate));
    rows.push(reference(&dir.join("reference"), own_rate)?);
    Ok(rows)
}

/// The cache of S as its documents describe it, beside what eight tasks get done here.
fn reference(dir: &Path, own_rate: f64) -> Result<Row> {
    #[derive(Deserialize)]
    struct Answer {
        rate: f64,
    }

    let python = python::interpreter("reference", &[], "sqlite3")?;
    let Answer { rate } = python::answer(&python, REFERENCE, dir)?;
    let name = format!("store/sets of {} beside a cache that commits each", writes::TASKS);
    Ok(Row::alone(name, own_rate, "writes/s", 1).against(REFERENCE_PEER, rate))
}

async fn own(path: &Path) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let store = SqliteStore::open(path).await?;
    fill(&store, KEYS).await?;
    let entries = store.entries(REGION);
    let mut random = Random::new(1);
    let (mut got, mut set) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let key = key(random.below(KEYS));
        let start = now();
        let found = entries.get(&key).await?;
        got.push((now() - start) as f64);
        ensure!(found.is_some(), "an entry is missing");
    }
    for _ in 0..CALLS {
        let number = random.below(KEYS);
        let (key, entry) = (key(number), entry(number));
        let start = now();
        entries.insert(key, entry).await?;
        set.push((now() - start) as f64);
    }
    let start = now();
    writes::from_tasks(&entries, GROUPED).await?;
    Ok((got, set, GROUPED as f64 * 1e9 / (now() - start) as f64))
}
