//! Cached tables beside a sorted map of the same records and SQLite with its best index.
//!
//! Reading order: `readings`, the records and where they lie; here, what is done with them by one
//! task after the other; `readers`, threads; `feed`, a table that follows a file. **Invariant**:
//! the map holds the same records in the same order as the index that is read, and each of them
//! behind an `Arc` as well.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use larder_table::Ranges;

use crate::{
    measure::{Random, in_turns, median, nanos, time},
    report::Row,
};

pub(crate) mod feed;

mod readings;

mod readers;

use readings::{CHANGED, Ground, RECORDS, Reading, SELECT, id};

/// Records of a range that is read.
const RANGE: i64 = 100;

/// Reads of a round.
const READS: usize = 2_000;

/// So many times fewer are those of SQLite.
const FEWER: usize = 10;

const ROUNDS: usize = 15;

/// Commits of a round of changes, and the records that each of them changes.
const COMMITS: usize = 50;
const CHANGES: usize = 100;
const CHANGE_ROUNDS: usize = 3;

/// Reads of a record that was changed, one after the other.
const CHANGED_READS: usize = 2_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let ground = Ground::new()?;
    let mut rows = vec![load(&ground)?];
    rows.extend(range(&ground)?);
    rows.extend(readers::run(&ground)?);
    rows.push(changes(&ground)?);
    rows.push(one_invalid(&ground)?);
    rows.push(adjust(&ground)?);
    Ok(rows)
}

/// The load of everything, with three indexes, beside the driver reading the same rows.
fn load(ground: &Ground) -> Result<Row> {
    let bare = || -> Result<usize> {
        let sqlite = ground.sqlite.lock();
        let mut select = sqlite.prepare_cached(SELECT)?;
        let rows = select.query_map((0, RECORDS), Reading::read)?;
        let rows: Vec<Arc<Reading>> =
            rows.map(|row| row.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(rows.len())
    };
    bare()?;
    let (read, bare) = time(bare);
    let window = Ranges::of(0..RECORDS)?;
    let (loaded, taken) = time(|| ground.runtime.block_on(ground.table.load(window)));
    let all = usize::try_from(RECORDS)?;
    ensure!((loaded?, read?) == (all, all), "everything is loaded");
    let row = Row::alone("table/load of 1 M, three indexes", taken.as_secs_f64(), "s", 1);
    Ok(row.against("rows read by the driver", bare.as_secs_f64()))
}

fn sum<'a>(records: impl Iterator<Item = &'a Arc<Reading>>) -> f64 {
    records.map(|record| record.value).sum()
}

/// Where a range begins that is read.
fn low(random: &mut Random) -> i64 {
    random.below((RECORDS - RANGE).cast_unsigned()).cast_signed()
}

fn range(ground: &Ground) -> Result<[Row; 2]> {
    let map: BTreeMap<i64, Arc<Reading>> =
        (0..RECORDS).map(|time| (time, Arc::new(Reading::at(time)))).collect();
    let mut random = [Random::new(1), Random::new(1), Random::new(1)];
    let [for_table, for_map, for_sqlite] = &mut random;
    let mut table = |_| {
        ground.runtime.block_on(async {
            for _ in 0..READS {
                let low = low(for_table);
                let found = ground.table.range(&ground.by_time, low..low + RANGE).await;
                black_box(sum(found.expect("it is covered").iter()));
            }
        });
    };
    let mut bare = |_| {
        for _ in 0..READS {
            let low = low(for_map);
            black_box(sum(map.range(low..low + RANGE).map(|(_, record)| record)));
        }
    };
    let sqlite = ground.sqlite.lock();
    let mut select = sqlite.prepare_cached(SELECT)?;
    let mut engine = |_| {
        for _ in 0..READS / FEWER {
            let low = low(for_sqlite);
            let found = select.query_map((low, low + RANGE), Reading::read).expect("rows");
            black_box(found.map(|row| row.expect("a row").value).sum::<f64>());
        }
    };
    let figures = in_turns(ROUNDS, READS, &mut [&mut table, &mut bare, &mut engine]);
    let [table, bare, engine] = figures[..] else { unreachable!("three sides") };
    let row = || Row::alone("table/range of 100 out of 1 M", table, "ns", ROUNDS);
    let engine = engine * FEWER as f64;
    Ok([
        row().against("BTreeMap<_, Arc<_>>", bare),
        row().against("SQLite, covering index", engine),
    ])
}

/// The id of some record that every window has.
fn some_id(random: &mut Random) -> i64 {
    id(RECORDS / 5 + random.below((RECORDS / 10 * 7).cast_unsigned()).cast_signed())
}

/// Single-row changes, each invalidated and loaded again by its key.
fn changes(ground: &Ground) -> Result<Row> {
    let mut random = Random::new(3);
    let mut samples = Vec::with_capacity(CHANGE_ROUNDS);
    for _ in 0..CHANGE_ROUNDS {
        let (changed, taken) = time(|| ground.runtime.block_on(change(ground, &mut random)));
        changed?;
        samples.push((COMMITS * CHANGES) as f64 / taken.as_secs_f64());
    }
    let name = "table/changes in hundreds, three indexes";
    Ok(Row::alone(name, median(samples), "rows/s", CHANGE_ROUNDS))
}

async fn change(ground: &Ground, random: &mut Random) -> Result<()> {
    for _ in 0..COMMITS {
        let ids: Vec<i64> = (0..CHANGES).map(|_| some_id(random)).collect();
        ground.table.invalidation().keys(ids).commit()?;
        ground.table.refresh_invalid().await?;
    }
    Ok(())
}

fn one_invalid(ground: &Ground) -> Result<Row> {
    let mut random = Random::new(5);
    let mut samples = Vec::with_capacity(CHANGED_READS);
    for _ in 0..CHANGED_READS {
        let id = some_id(&mut random);
        ground.table.invalidation().keys([id]).commit()?;
        let (found, taken) = time(|| ground.runtime.block_on(ground.table.get(&id)));
        ensure!(found?.is_some_and(|one| one.value == CHANGED), "it was loaded again");
        samples.push(nanos(taken) / 1e3);
    }
    let name = "table/read of one invalid record, p50";
    Ok(Row::alone(name, median(samples), "us", CHANGED_READS))
}

fn adjust(ground: &Ground) -> Result<Row> {
    ground.runtime.block_on(ground.table.adjust(Ranges::of(0..RECORDS - RECORDS / 10)?))?;
    let window = Ranges::of(RECORDS / 10..RECORDS)?;
    let (adjusted, taken) = time(|| ground.runtime.block_on(ground.table.adjust(window)));
    let adjusted = adjusted?;
    ensure!(adjusted.loaded.len() == adjusted.expired.len(), "as much goes as comes");
    let row = Row::alone("table/adjust of 10 % of 1 M", taken.as_secs_f64(), "s", 1);
    Ok(row.beside("tablecache 4.3.0, measured elsewhere", 6.46))
}
