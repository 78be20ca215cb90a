//! What a million entries with two tags each take: room, opening, patterns, deletion by tag.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use larder_sqlite::store::{Entries, Pattern, Select, SqliteStore, StoreOptions};
use tokio::runtime::{Builder, Runtime};

use super::{FILLED, REGION, entry, key, value};
use crate::{
    measure::{Random, median, percentile},
    report::Row,
    writer::now,
};

const ENTRIES: u64 = 1_000_000;
/// Entries with one tag.
const TAGGED: u64 = 10_000;
const ROUNDS: usize = 7;
/// How long the rows of a deletion may take to go.
const GONE_NANOS: i64 = 30_000_000_000;

pub(super) fn run(dir: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("own.db");
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    let bytes = runtime.block_on(fill(&path))?;
    let mut rows = vec![room(&path, bytes)?, opening(&runtime, &path)?];
    let store = runtime.block_on(SqliteStore::open_with(&path, options()))?;
    let entries = store.entries(REGION);
    rows.push(prefix(&runtime, &entries)?);
    rows.push(runtime.block_on(beside_check(&store, &entries))?);
    rows.extend(runtime.block_on(deletions(&store, &entries))?);
    Ok(rows)
}

fn options() -> StoreOptions {
    StoreOptions::new().max_entries(2 * ENTRIES)
}

/// Bytes of all keys and values.
async fn fill(path: &Path) -> Result<u64> {
    let store = SqliteStore::open_with(path, options()).await?;
    let entries = store.entries(REGION);
    for first in (0..ENTRIES).step_by(FILLED) {
        let one = |number| {
            let tags = [format!("block-{}", number / TAGGED), format!("kind-{}", number % 100)];
            (key(number), entry(number).tags(tags))
        };
        entries.insert_many((first..first + FILLED as u64).map(one)).await?;
    }
    store.keep().await?;
    Ok(ENTRIES * (key(0).len() + value(0).len()) as u64)
}

fn room(path: &Path, bytes: u64) -> Result<Row> {
    let file = std::fs::metadata(path)?.len();
    let row = Row::alone("store/1 M entries with two tags", file as f64 / 1e6, "MB", 1);
    Ok(row.against("keys and values", bytes as f64 / 1e6))
}

fn opening(runtime: &Runtime, path: &Path) -> Result<Row> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = now();
        let store = runtime.block_on(SqliteStore::open_with(path, options()))?;
        let found = runtime.block_on(store.entries(REGION).get(&key(4711)))?;
        times.push((now() - start) as f64 / 1e6);
        ensure!(found.is_some(), "an entry is missing");
    }
    Ok(Row::alone("store/open 1 M entries and read one", median(times), "ms", ROUNDS))
}

/// A page of what begins with a prefix.
fn prefix(runtime: &Runtime, entries: &Entries) -> Result<Row> {
    let mut times = Vec::new();
    for round in 0..ROUNDS * 10 {
        let prefix = format!("user:{:07}", round * 13);
        let select = Select::everything().matching(Pattern::prefix(&prefix));
        let start = now();
        let page = runtime.block_on(entries.page(&select, None, 1000))?;
        times.push((now() - start) as f64 / 1e6);
        ensure!(page.len() == 1000, "{} entries begin with the prefix", page.len());
    }
    let name = "store/list 1000 by prefix among 1 M";
    Ok(Row::alone(name, median(times), "ms", ROUNDS * 10))
}

/// Writes beside the check that follows the opening: it reads everything in one snapshot, which
/// keeps the log from being copied as long.
async fn beside_check(store: &SqliteStore, entries: &Entries) -> Result<Row> {
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(entries.clone(), is_over.clone()));
    // The check comes between two rounds of the keeper.
    store.keep().await?;
    store.keep().await?;
    is_over.store(true, Ordering::Relaxed);
    let held = writer.await??;
    let worst = percentile(held, 100) / 1e6;
    Ok(Row::alone("store/a set beside the check behind an opening, worst", worst, "ms", 1))
}

/// Deletions by tag while somebody writes.
async fn deletions(store: &SqliteStore, entries: &Entries) -> Result<Vec<Row>> {
    let (mut unreachable, mut gone) = (Vec::new(), Vec::new());
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(entries.clone(), is_over.clone()));
    for round in 0..ROUNDS {
        let before = store.stats().await?.entries;
        let tag = format!("block-{}", 50 + round);
        let start = now();
        let removed = entries.remove_matching(&Select::everything().any_of([tag])).await?;
        unreachable.push((now() - start) as f64 / 1e6);
        ensure!(removed == TAGGED, "{removed} entries were removed");
        while before - TAGGED < store.stats().await?.entries {
            ensure!(now() - start < GONE_NANOS, "the rows are still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gone.push((now() - start) as f64 / 1e6);
    }
    is_over.store(true, Ordering::Relaxed);
    let held = writer.await??;
    let row = |name: &str, value| Row::alone(format!("store/{name}"), value, "ms", ROUNDS);
    let of = |percent| percentile(held.clone(), percent) / 1e6;
    Ok(vec![
        row("delete 10 k of 1 M by tag, unreachable", median(unreachable)),
        row("delete 10 k of 1 M by tag, rows gone", median(gone)),
        row("a set meanwhile, p99", of(99)),
        row("a set meanwhile, worst", of(100)),
    ])
}

/// Writes in place of what is there, until told to end; what each write took.
async fn write(entries: Entries, is_over: Arc<AtomicBool>) -> Result<Vec<f64>> {
    let mut random = Random::new(11);
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let number = random.below(40 * TAGGED);
        let (key, entry) = (key(number), entry(number));
        let start = now();
        entries.insert(key, entry).await?;
        times.push((now() - start) as f64);
    }
    Ok(times)
}
