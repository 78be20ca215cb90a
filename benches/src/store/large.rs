//! Large values: in a row, and in a file beside the store.
//!
//! It says where the threshold should be. **Invariant**: both sides write and read the same values,
//! which no compression makes smaller, with the same durability.

use std::path::Path;

use anyhow::{Result, ensure};
use larder_sqlite::store::{Durability, Lifetime, NewEntry, SqliteStore, StoreOptions, Stored};
use larder_testkit::temp::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{Random, median},
    report::Row,
    writer::now,
};

const SIZES_KIB: [usize; 4] = [32, 128, 256, 1024];

/// Bytes that are written and read for each size.
const BYTES: usize = 48 << 20;

/// Values that are there at a time: the rest is written over them.
const KEYS: usize = 16;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let dir = TempDir::new("bench-large")?;
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    let mut rows = Vec::new();
    for kib in SIZES_KIB {
        let count = BYTES / (kib << 10);
        for durability in [Durability::Relaxed, Durability::Durable] {
            let place = dir.path().join(format!("{kib}-{durability:?}"));
            let in_rows = measure(&runtime, &place.join("rows"), kib, durability, u64::MAX)?;
            let in_files = measure(&runtime, &place.join("files"), kib, durability, 0)?;
            let word = if durability == Durability::Durable { "durable" } else { "relaxed" };
            for (what, own, other) in
                [("set", in_files.set, in_rows.set), ("get", in_files.get, in_rows.get)]
            {
                let name = format!("store/large {what} {kib} KiB {word}");
                rows.push(Row::alone(name, own, "us", count).against("in a row", other));
            }
        }
    }
    Ok(rows)
}

struct Times {
    set: f64,
    get: f64,
}

/// The median of writing one value over another, and of reading it, in microseconds.
fn measure(
    runtime: &Runtime,
    dir: &Path,
    kib: usize,
    durability: Durability,
    file_above: u64,
) -> Result<Times> {
    std::fs::create_dir_all(dir)?;
    let options = StoreOptions::new().file_above(file_above).durability(durability);
    runtime.block_on(async {
        let store = SqliteStore::open_with(dir.join("cache.db"), options).await?;
        let entries = store.entries("r");
        let (mut random, mut set, mut get) = (Random::new(kib as u64), Vec::new(), Vec::new());
        for round in 0..BYTES / (kib << 10) {
            let value: Vec<u8> =
                (0..kib << 7).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect();
            let (key, length) = (format!("{}", round % KEYS), value.len());
            let entry = NewEntry::new(Stored::bytes(value), Lifetime::Forever);
            let start = now();
            entries.insert(&*key, entry).await?;
            set.push((now() - start) as f64 / 1e3);
            let start = now();
            let read = entries.get(&key).await?;
            get.push((now() - start) as f64 / 1e3);
            ensure!(read.is_some_and(|read| read.bytes.len() == length), "{key} is not there");
        }
        Ok(Times { set: median(set), get: median(get) })
    })
}
