//! Reading by key: alone, from several tasks, and while others write.

use std::{
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use larder_sqlite::store::{Entries, SqliteStore};
use tokio::runtime::{Builder, Runtime};

use super::{
    KEYS, REGION,
    bare::{Bare, Synchronous},
    entry, fill, key, quantiles,
};
use crate::{
    measure::{Random, median, percentile},
    report::Row,
    writer::now,
};

const ROUNDS: usize = 10;
const READS: usize = 5_000;
/// Readers at once. With two, SQLite's own lock on its index of the log puts them to sleep by
/// turns, ours and the bare ones alike; with four there is always one awake.
const READERS: [usize; 2] = [4, 2];
const WRITERS: u64 = 8;
/// Reads while others write.
const DISTURBED: usize = 50_000;
const PEER: &str = "bare statement";

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
    for readers in READERS {
        rows.push(together(readers, &entries, &bare)?);
    }
    rows.extend(disturbed(&runtime, &entries)?);
    Ok(rows)
}

/// One read after the other: each side's times in turns.
fn alone(runtime: &Runtime, entries: &Entries, bare: &Bare) -> Result<Vec<Row>> {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut random = Random::new(round as u64 + 77);
        let keys: Vec<String> = (0..READS).map(|_| key(random.below(KEYS))).collect();
        let mut times = runtime.block_on(times(entries, &keys))?;
        let mut bare_times = Vec::with_capacity(READS);
        for key in &keys {
            let start = now();
            black_box(bare.get(key)?);
            bare_times.push((now() - start) as f64);
        }
        // The first round warms up.
        if round != 0 {
            own.append(&mut times);
            other.append(&mut bare_times);
        }
    }
    Ok(quantiles("get", PEER, &own, &other).into())
}

async fn times(entries: &Entries, keys: &[String]) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(keys.len());
    for key in keys {
        let start = now();
        let found = entries.get(key).await?;
        times.push((now() - start) as f64);
        black_box(found.context("an entry is missing")?);
    }
    Ok(times)
}

/// Reads for each second of several tasks on as many threads, against as many threads with a
/// connection each.
fn together(readers: usize, entries: &Entries, bare: &Path) -> Result<Row> {
    let runtime = Builder::new_multi_thread().worker_threads(readers).build()?;
    let (mut own, mut other) = (Vec::new(), Vec::new());
    let all = (readers * READS * 4) as f64;
    for round in 0..=ROUNDS {
        let start = now();
        runtime.block_on(async {
            let tasks: Vec<_> = (1..=readers as u64)
                .map(|seed| {
                    let entries = entries.clone();
                    tokio::spawn(async move {
                        let mut random = Random::new(seed);
                        for _ in 0..READS * 4 {
                            let found = entries.get(&key(random.below(KEYS))).await?;
                            black_box(found.context("an entry is missing")?);
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            anyhow::Ok(())
        })?;
        let own_taken = now() - start;
        let connections: Vec<Bare> =
            (0..readers).map(|_| Bare::open(bare, Synchronous::Normal)).collect::<Result<_>>()?;
        let start = now();
        thread::scope(|scope| {
            let threads: Vec<_> = connections
                .into_iter()
                .zip(1..)
                .map(|(bare, seed)| {
                    scope.spawn(move || {
                        let mut random = Random::new(seed);
                        for _ in 0..READS * 4 {
                            black_box(bare.get(&key(random.below(KEYS)))?);
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| anyhow::bail!("a reader panicked"))
            })
        })?;
        if round != 0 {
            own.push(all * 1e9 / own_taken as f64);
            other.push(all * 1e9 / (now() - start) as f64);
        }
    }
    let (name, peer) = (format!("store/get, {readers} tasks"), format!("{readers} bare readers"));
    Ok(Row::alone(name, median(own), "reads/s", ROUNDS).against(peer, median(other)))
}

/// The slowest reads while several tasks write without a pause.
fn disturbed(runtime: &Runtime, entries: &Entries) -> Result<Vec<Row>> {
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (entries, is_over) = (entries.clone(), is_over.clone());
            runtime.spawn(async move {
                let mut random = Random::new(writer + 100);
                let mut written = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    let number = random.below(KEYS);
                    entries.insert(key(number), entry(number)).await?;
                    written += 1;
                }
                anyhow::Ok(written)
            })
        })
        .collect();
    let mut random = Random::new(5);
    let keys: Vec<String> = (0..DISTURBED).map(|_| key(random.below(KEYS))).collect();
    let start = now();
    let times = runtime.block_on(times(entries, &keys))?;
    let taken = (now() - start) as f64;
    is_over.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += runtime.block_on(writer)??;
    }
    ensure!(0 < written, "nothing was written meanwhile");
    let row = |word: &str, percent| {
        let name = format!("store/get while {WRITERS} tasks write {word}");
        Row::alone(name, percentile(times.clone(), percent) / 1e3, "us", DISTURBED)
    };
    let rate = written as f64 * 1e9 / taken;
    Ok(vec![
        row("p50", 50),
        row("p99", 99),
        row("worst", 100),
        Row::alone("store/writes meanwhile", rate, "writes/s", 1),
    ])
}
