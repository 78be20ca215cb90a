//! Writing by key: alone, grouped from several tasks, and a hundred thousand at once.

use std::path::Path;

use anyhow::{Result, ensure};
use larder_sqlite::store::{Entries, SqliteStore, StoreOptions};
use tokio::runtime::{Builder, Runtime};

use super::{
    KEYS, REGION,
    bare::{Bare, Synchronous},
    entry, fill, key, quantiles, value,
};
use crate::{
    measure::{Random, median},
    report::Row,
    writer::now,
};

const ROUNDS: usize = 7;
const WRITES: u64 = 4_000;
/// Writes of one round that each wait for the disk.
const SYNCED: u64 = 800;
pub(super) const TASKS: u64 = 8;
/// Files of the store that is in several.
const FILES: u32 = 4;
const BULK: u64 = 100_000;
const BULK_ROUNDS: usize = 5;

pub(super) fn run(dir: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir_all(dir)?;
    let (own, bare) = (dir.join("own.db"), dir.join("bare.db"));
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    runtime.block_on(Bare::make(&bare, KEYS))?;
    let store = runtime.block_on(async {
        let store = SqliteStore::open(&own).await?;
        fill(&store, KEYS).await.map(|()| store)
    })?;
    let entries = store.entries(REGION);
    let mut rows = alone(&runtime, &entries, &Bare::open(&bare, Synchronous::Normal)?)?;
    for synchronous in [Synchronous::Normal, Synchronous::Full] {
        let bare = Bare::open(&bare, synchronous)?;
        rows.push(grouped(&runtime, &entries, &bare, synchronous)?);
    }
    drop((store, entries));
    rows.extend(sharded(&runtime, dir)?);
    rows.push(bulk(&runtime, dir)?);
    Ok(rows)
}

/// One write after the other.
fn alone(runtime: &Runtime, entries: &Entries, bare: &Bare) -> Result<Vec<Row>> {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut random = Random::new(round as u64 + 9);
        let numbers: Vec<u64> = (0..WRITES).map(|_| random.below(KEYS)).collect();
        let mut times = runtime.block_on(async {
            let mut times = Vec::new();
            for &number in &numbers {
                let (key, entry) = (key(number), entry(number));
                let start = now();
                entries.insert(key, entry).await?;
                times.push((now() - start) as f64);
            }
            anyhow::Ok(times)
        })?;
        let mut bare_times = Vec::new();
        for &number in &numbers {
            let (key, value) = (key(number), value(number));
            let start = now();
            bare.set(&key, &value)?;
            bare_times.push((now() - start) as f64);
        }
        if round != 0 {
            own.append(&mut times);
            other.append(&mut bare_times);
        }
    }
    Ok(quantiles("set", "bare statement", &own, &other).into())
}

/// Writes for each second of several tasks, against one connection that commits each.
fn grouped(
    runtime: &Runtime,
    entries: &Entries,
    bare: &Bare,
    synchronous: Synchronous,
) -> Result<Row> {
    let count = if synchronous == Synchronous::Full { SYNCED } else { WRITES * 4 };
    let entries = match synchronous {
        Synchronous::Normal => entries.clone(),
        Synchronous::Full => entries.clone().durable(),
    };
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let start = now();
        runtime.block_on(from_tasks(&entries, count))?;
        let taken = now() - start;
        let mut random = Random::new(3);
        let start = now();
        for _ in 0..count {
            let number = random.below(KEYS);
            bare.set(&key(number), &value(number))?;
        }
        if round != 0 {
            own.push(count as f64 * 1e9 / taken as f64);
            other.push(count as f64 * 1e9 / (now() - start) as f64);
        }
    }
    let name = format!("store/set, {TASKS} tasks, {}", synchronous.word());
    let row = Row::alone(name, median(own), "writes/s", ROUNDS);
    Ok(row.against("bare statement", median(other)))
}

/// The same writes, on a store in several files against one in one. More files than the machine
/// has processors can gain only what writers wait for the disk.
fn sharded(runtime: &Runtime, dir: &Path) -> Result<[Row; 2]> {
    let open = async |count: u32| {
        let path = dir.join(format!("in{count}.db"));
        let store = SqliteStore::open_with(path, StoreOptions::new().shards(count)).await?;
        fill(&store, KEYS).await.map(|()| store)
    };
    let (one, many) =
        runtime.block_on(async { anyhow::Ok((open(1).await?, open(FILES).await?)) })?;
    let row = |synchronous: Synchronous| {
        let count = if synchronous == Synchronous::Full { SYNCED } else { WRITES * 4 };
        let entries = [&many, &one].map(|store| match synchronous {
            Synchronous::Normal => store.entries(REGION),
            Synchronous::Full => store.entries(REGION).durable(),
        });
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (entries, rates) in entries.iter().zip(&mut rates) {
                let start = now();
                runtime.block_on(from_tasks(entries, count))?;
                if round != 0 {
                    rates.push(count as f64 * 1e9 / (now() - start) as f64);
                }
            }
        }
        let [own, other] = rates.map(median);
        let name = format!("store/set, {TASKS} tasks, {}, {FILES} files", synchronous.word());
        anyhow::Ok(Row::alone(name, own, "writes/s", ROUNDS).against("one file", other))
    };
    Ok([row(Synchronous::Normal)?, row(Synchronous::Full)?])
}

/// `count` writes, from several tasks.
pub(super) async fn from_tasks(entries: &Entries, count: u64) -> Result<()> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let entries = entries.clone();
            tokio::spawn(async move {
                let mut random = Random::new(task + 50);
                for _ in 0..count / TASKS {
                    let number = random.below(KEYS);
                    entries.insert(key(number), entry(number)).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// A hundred thousand new entries in one call, against as many statements in one transaction.
fn bulk(runtime: &Runtime, dir: &Path) -> Result<Row> {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..=BULK_ROUNDS {
        let own_path = dir.join(format!("bulk{round}.db"));
        let store = runtime.block_on(SqliteStore::open(&own_path))?;
        let entries = store.entries(REGION);
        let all: Vec<_> = (0..BULK).map(|number| (key(number), entry(number))).collect();
        let start = now();
        let placed = runtime.block_on(entries.insert_many(all))?;
        let taken = now() - start;
        ensure!(placed.len() as u64 == BULK, "a bulk write was not whole");
        drop((store, entries));
        let bare_path = dir.join(format!("bare{round}.db"));
        runtime.block_on(Bare::make(&bare_path, 0))?;
        let bare = Bare::open(&bare_path, Synchronous::Normal)?;
        let all: Vec<_> = (0..BULK).map(|number| (key(number), value(number))).collect();
        let start = now();
        bare.in_one(|| all.iter().try_for_each(|(key, value)| bare.set(key, value)))?;
        if round != 0 {
            own.push(BULK as f64 * 1e9 / taken as f64);
            other.push(BULK as f64 * 1e9 / (now() - start) as f64);
        }
        drop(bare);
        std::fs::remove_file(own_path)?;
        std::fs::remove_file(bare_path)?;
    }
    let row = Row::alone("store/set 100 k in one call", median(own), "entries/s", BULK_ROUNDS);
    Ok(row.against("bare statements, one commit", median(other)))
}
