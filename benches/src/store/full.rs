//! Writing new keys into a store that is full, so that each makes another entry go.
//!
//! Apart from `writes`, whose store has room. All that is there was overwritten once before, which
//! is the worst there is: nobody stands where he belongs in the order of use. **Invariant**: as
//! many are there afterwards as before.

use std::path::Path;

use anyhow::{Result, ensure};
use larder_sqlite::store::{Entries, SqliteStore, StoreOptions};
use tokio::runtime::Runtime;

use super::{KEYS, REGION, entry, fill, key, quantiles};
use crate::{report::Row, writer::now};

/// Entries that the store holds.
const HELD: u64 = KEYS / 4;

pub(super) fn run(dir: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir_all(dir)?;
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let options = StoreOptions::new().max_entries(HELD);
        let store = SqliteStore::open_with(dir.join("full.db"), options).await?;
        fill(&store, HELD).await?;
        let entries = store.entries(REGION);
        let overwritten = times(&entries, 0..HELD).await?;
        let new = times(&entries, HELD..3 * HELD).await?;
        let rows = quantiles("set of a new key when full", "overwriting one", &new, &overwritten);
        ensure!(store.stats().await?.entries == HELD, "the store is not full");
        Ok(rows.into())
    })
}

/// How long each takes, in nanoseconds.
async fn times(entries: &Entries, numbers: std::ops::Range<u64>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in numbers {
        let (key, entry) = (key(number), entry(number));
        let start = now();
        entries.insert(key, entry).await?;
        times.push((now() - start) as f64);
    }
    Ok(times)
}
