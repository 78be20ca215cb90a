//! Cached tables beside a sorted map of the same records and SQLite with its best index.
//!
//! **Invariant**: the map holds the same `Arc`s in the same order as the index that is read, and
//! SQLite the same rows under a covering index.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use larder_core::Clock;
use larder_table::{Definition, Index, Ranges, Record, Table};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::{
    measure::{Random, in_turns, nanos, percentile, time},
    report::Row,
};

/// Records of the table.
const RECORDS: i64 = 1_000_000;

/// Devices that they are of.
const DEVICES: i64 = 1_000;

/// Records of a range that is read.
const RANGE: i64 = 100;

/// Reads of a round.
const READS: usize = 2_000;

const ROUNDS: usize = 15;

#[derive(Clone, Debug)]
struct Reading {
    id: i64,
    device: i64,
    time: i64,
    value: f64,
}

impl Record for Reading {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

/// The record at `time`: ids do not follow time, so that neighbours in the one order are none in
/// the other.
fn at(time: i64) -> Reading {
    Reading { id: time * 7_919 % 1_000_003, device: time % DEVICES, time, value: time as f64 / 8.0 }
}

struct Ground {
    table: Table<Reading, i64>,
    by_time: Index<Reading, i64>,
    sqlite: Arc<Mutex<Connection>>,
    runtime: Runtime,
}

const SELECT: &str =
    "SELECT id, device, time, value FROM reading WHERE time >= ?1 AND time < ?2 ORDER BY time";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Reading> {
    Ok(Reading { id: row.get(0)?, device: row.get(1)?, time: row.get(2)?, value: row.get(3)? })
}

fn database() -> Result<Connection> {
    let mut sqlite = Connection::open_in_memory()?;
    sqlite.execute_batch(
        "CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, value REAL);",
    )?;
    let transaction = sqlite.transaction()?;
    let mut insert = transaction.prepare("INSERT INTO reading VALUES (?1, ?2, ?3, ?4)")?;
    for time in 0..RECORDS {
        let Reading { id, device, time, value } = at(time);
        insert.execute((id, device, time, value))?;
    }
    drop(insert);
    transaction.commit()?;
    sqlite.execute_batch("CREATE INDEX by_time ON reading (time, id, device, value);")?;
    Ok(sqlite)
}

impl Ground {
    fn new() -> Result<Self> {
        let sqlite = Arc::new(Mutex::new(database()?));
        let mut definition = Definition::new("readings");
        let by_time = definition.index("time", |one: &Reading| one.time);
        definition.index("device_time", |one: &Reading| (one.device, one.time));
        let own = sqlite.clone();
        definition.loads_by(&by_time, move |ranges: Ranges<i64>, fill| {
            let own = own.clone();
            async move {
                let sqlite = own.lock();
                let mut select = sqlite.prepare_cached(SELECT).expect("the statement");
                for (low, high) in ranges.iter() {
                    let low = match low {
                        std::ops::Bound::Included(low) => *low,
                        _ => 0,
                    };
                    let high = match high {
                        std::ops::Bound::Excluded(high) => *high,
                        _ => RECORDS,
                    };
                    let rows = select.query_map((low, high), row).expect("rows");
                    for row in rows {
                        fill.put(row.expect("a row"))?;
                    }
                }
                Ok(())
            }
        });
        let by_id = definition.primary();
        definition.loads_by(&by_id, |ids: Ranges<i64>, fill| async move {
            // What is read by key here is what was changed a moment ago.
            for (low, _) in ids.iter() {
                if let std::ops::Bound::Included(id) = low {
                    fill.put(Reading { value: 1.0, ..at(time_of(*id)) })?;
                }
            }
            Ok(())
        });
        let table = definition.build(&by_time)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { table, by_time, sqlite, runtime })
    }
}

/// The inverse of what [`at`] makes of a time.
fn time_of(id: i64) -> i64 {
    // 7919 times this is one more than a multiple of 1,000,003.
    const INVERSE: i64 = 658_671;
    id * INVERSE % 1_000_003
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let ground = Ground::new()?;
    let mut rows = vec![load(&ground)?];
    let map: BTreeMap<i64, Arc<Reading>> =
        (0..RECORDS).map(|time| (time, Arc::new(at(time)))).collect();
    rows.extend(range(&ground, &map)?);
    rows.extend(readers(&ground));
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
        let rows = select.query_map((0, RECORDS), row)?;
        let rows: Vec<Arc<Reading>> =
            rows.map(|row| row.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(rows.len())
    };
    bare()?;
    let (_, bare) = time(bare);
    let window = Ranges::of(0..RECORDS)?;
    let (loaded, taken) = time(|| ground.runtime.block_on(ground.table.load(window)));
    anyhow::ensure!(loaded? == usize::try_from(RECORDS)?, "everything is loaded");
    let row = Row::alone("table/load of 1 M, three indexes", taken.as_secs_f64(), "s", 1);
    Ok(row.against("rows read by the driver", bare.as_secs_f64()))
}

fn sum<'a>(records: impl Iterator<Item = &'a Arc<Reading>>) -> f64 {
    records.map(|record| record.value).sum()
}

fn range(ground: &Ground, map: &BTreeMap<i64, Arc<Reading>>) -> Result<Vec<Row>> {
    let mut random = [Random::new(1), Random::new(1), Random::new(1)];
    let [for_table, for_map, for_sqlite] = &mut random;
    let low = |random: &mut Random| random.below((RECORDS - RANGE).cast_unsigned()).cast_signed();
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
        for _ in 0..READS / 10 {
            let low = low(for_sqlite);
            let found = select.query_map((low, low + RANGE), row).expect("rows");
            black_box(found.map(|row| row.expect("a row").value).sum::<f64>());
        }
    };
    let figures = in_turns(ROUNDS, READS, &mut [&mut table, &mut bare, &mut engine]);
    let [table, bare, engine] = figures[..] else { unreachable!("three sides") };
    let name = "table/range of 100 out of 1 M";
    Ok(vec![
        Row::alone(name, table, "ns", ROUNDS).against("BTreeMap<_, Arc<_>>", bare),
        Row::alone(name, table, "ns", ROUNDS).against("SQLite, covering index", engine * 10.0),
    ])
}

/// Reads of one thread and of two; and beside a writer that moves the window.
fn readers(ground: &Ground) -> Vec<Row> {
    let ends = AtomicBool::new(false);
    let read = |seed: u64, ends: &AtomicBool| {
        let (mut random, clock, mut taken) = (Random::new(seed), Clock::system(), Vec::new());
        while !ends.load(Ordering::Relaxed) {
            let begin = clock.now();
            // Sixteen at a time, because the clock counts microseconds.
            for _ in 0..16 {
                let low = random.below((RECORDS / 2).cast_unsigned()).cast_signed() + RECORDS / 4;
                let found = futures_now(ground.table.range(&ground.by_time, low..low + RANGE));
                black_box(sum(found.expect("it is covered").iter()));
            }
            taken.push(nanos(clock.now().since(begin)) / 16.0);
        }
        taken
    };
    let measure = |threads: u64, work: &dyn Fn()| {
        ends.store(false, Ordering::Relaxed);
        let taken: Vec<Vec<f64>> = std::thread::scope(|scope| {
            let own: Vec<_> = (0..threads)
                .map(|seed| {
                    scope.spawn({
                        let (read, ends) = (&read, &ends);
                        move || read(seed + 1, ends)
                    })
                })
                .collect();
            work();
            ends.store(true, Ordering::Relaxed);
            own.into_iter().map(|thread| thread.join().expect("a reader")).collect()
        });
        let reads: usize = taken.iter().map(Vec::len).sum();
        (reads as f64, percentile(taken.concat(), 99))
    };
    let wait = || std::thread::sleep(Duration::from_millis(800));
    let (one, idle) = measure(1, &wait);
    let (two, _) = measure(2, &wait);
    let per_second = |reads: f64| reads * 16.0 / 0.8;
    let (one, two) = (per_second(one), per_second(two));
    let (_, busy) = measure(1, &|| {
        let clock = Clock::system();
        let begin = clock.now();
        let mut step = 0;
        while clock.now().since(begin) < Duration::from_millis(1500) {
            step = (step + 1_000) % 100_000;
            let window = Ranges::of(step..RECORDS).expect("in order");
            ground.runtime.block_on(ground.table.adjust(window)).expect("it is adjusted");
        }
    });
    vec![
        Row::alone("table/two readers", two, "reads/s", 1).against("one reader", one),
        Row::alone("table/reader p99 beside adjusts", busy, "ns", 1)
            .against("the same, idle", idle),
    ]
}

/// Reads that find everything in the table never wait.
fn futures_now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Single-row changes, each invalidated and loaded again by its key.
fn changes(ground: &Ground) -> Result<Row> {
    let mut random = Random::new(3);
    let mut samples = Vec::new();
    for batch in [100_usize, 100, 100] {
        let ((), taken) = time(|| {
            ground.runtime.block_on(async {
                for _ in 0..50 {
                    let ids =
                        (0..batch).map(|_| at(200_000 + random.below(700_000).cast_signed()).id);
                    ground.table.invalidation().keys(ids).commit().expect("it is loaded");
                    ground.table.refresh_invalid().await.expect("it is loaded again");
                }
            });
        });
        samples.push(50.0 * batch as f64 / taken.as_secs_f64());
    }
    let runs = samples.len();
    Ok(Row::alone(
        "table/changes in hundreds, three indexes",
        crate::measure::median(samples),
        "rows/s",
        runs,
    ))
}

fn one_invalid(ground: &Ground) -> Result<Row> {
    let mut random = Random::new(5);
    let mut samples = Vec::new();
    for _ in 0..2_000 {
        let id = at(200_000 + random.below(700_000).cast_signed()).id;
        ground.table.invalidation().keys([id]).commit()?;
        let (found, taken) = time(|| ground.runtime.block_on(ground.table.get(&id)));
        anyhow::ensure!(found?.is_some_and(|one| one.value == 1.0), "it was loaded again");
        samples.push(nanos(taken) / 1e3);
    }
    Ok(Row::alone(
        "table/read of one invalid record, p50",
        crate::measure::median(samples),
        "us",
        2_000,
    ))
}

fn adjust(ground: &Ground) -> Result<Row> {
    ground.runtime.block_on(ground.table.adjust(Ranges::of(0..RECORDS - RECORDS / 10)?))?;
    let window = Ranges::of(RECORDS / 10..RECORDS)?;
    let (adjusted, taken) = time(|| ground.runtime.block_on(ground.table.adjust(window)));
    let adjusted = adjusted?;
    anyhow::ensure!(adjusted.loaded.len() == adjusted.expired.len(), "as much goes as comes");
    let row = Row::alone("table/adjust of 10 % of 1 M", taken.as_secs_f64(), "s", 1);
    Ok(row.against("tablecache 4.3.0, measured apart", 6.46))
}
