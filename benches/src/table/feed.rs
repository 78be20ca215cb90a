//! A table of a SELECT that follows a SQLite file: changed rows of a million, put in their place.
//!
//! Apart from the rest of `table`, which has no feed. What is measured is what the feed does on its
//! own; the application writes on a connection of its own, as another process would. **Invariant**:
//! nothing is loaded again while the log tells whole rows, or the run fails; where a writer never
//! pauses, the feed may fall behind by more than it tells row by row, and that is said.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use larder_core::{Clock, Moment, feed::Feed};
use larder_sqlite::{OriginOptions, SqliteOrigin, Track, track};
use larder_table::{
    Index, Ranges, Record, Table,
    sql::{FromRow, SqlSource},
};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{Random, median, percentile, since, time},
    report::Row,
};

/// Rows of the table; their times are `0..ROWS`, their ids another order of the same numbers.
const ROWS: i64 = 1_000_000;

/// Rows of one commit that is as large as the feed tells of row by row.
const BULK: usize = 30_000;
const BULKS: usize = 7;

/// Rows of each of many commits, and how long they are made.
const COMMIT: usize = 100;
const COMMITTING: Duration = Duration::from_secs(5);

/// Between two commits: some thousand changed rows a second, which leaves the feed time to rest.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks of the reader: far below what is measured.
const LOOK: Duration = Duration::from_micros(100);

const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER NOT NULL, time INTEGER NOT NULL,
        value REAL NOT NULL);
    WITH RECURSIVE at(time) AS (SELECT 0 UNION ALL SELECT time + 1 FROM at WHERE time < 999999)
        INSERT INTO reading SELECT time * 7919 % 1000003, time % 1000, time, time / 8.0 FROM at;";

/// Changes the row at a time.
const UPDATE: &str = "UPDATE reading SET value = ?2 WHERE id = ?1 * 7919 % 1000003";

#[derive(Clone, Debug, Record, FromRow)]
#[record(crate = "larder_table")]
struct Reading {
    #[record(key)]
    id: i64,
    device: i64,
    time: i64,
    value: f64,
}

struct Ground {
    _dir: TempDir,
    path: PathBuf,
    table: Table<Reading, i64>,
    by_time: Index<Reading, i64>,
    feed: Arc<dyn Feed>,
    runtime: Runtime,
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let ground = Ground::new()?;
    let mut rows = vec![bulk(&ground)?];
    rows.extend(visible(&ground)?);
    rows.extend(flood(&ground)?);
    Ok(rows)
}

impl Ground {
    fn new() -> Result<Self> {
        let dir = TempDir::new("bench-feed")?;
        let path = dir.path().join("plant.sqlite");
        Connection::open(&path)?.execute_batch(SCHEMA)?;
        let options = OriginOptions { track: Track::Rows, ..OriginOptions::new("plant", &path) };
        let origin = SqliteOrigin::open(options)?;
        let source = SqlSource::new(&origin, "SELECT id, device, time, value FROM reading")?;
        let mut readings = source.typed::<Reading>("readings")?;
        readings.rows_are_records()?;
        let by_time = readings.index("time", &["time"], |one: &Reading| one.time)?;
        let device_time = |one: &Reading| (one.device, one.time);
        readings.index("device_time", &["device", "time"], device_time)?;
        let asked = [readings.statement().clone()];
        track::plan_with(&path, &"plant".into(), &asked, &readings.looks_at())?.apply(&path)?;
        let feed: Arc<dyn Feed> = origin.feed().context("a database has a feed")?;
        let table = readings.follow(&by_time, feed.clone(), Clock::system())?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let loaded = runtime.block_on(table.load(Ranges::all()))?;
        ensure!(loaded == usize::try_from(ROWS)?, "everything is loaded");
        Ok(Self { _dir: dir, path, table, by_time, feed, runtime })
    }

    fn writer(&self) -> Result<Connection> {
        let writer = Connection::open(&self.path)?;
        writer.busy_timeout(Duration::from_secs(10))?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(writer)
    }

    fn catch_up(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.feed.catch_up())?)
    }

    fn value(&self, time: i64) -> Result<f64> {
        let found = self.runtime.block_on(self.table.first(&self.by_time, time..))?;
        Ok(found.context("it is there")?.value)
    }

    fn expect_nothing_loaded(&self) -> Result<()> {
        let stats = self.table.stats();
        ensure!((stats.refreshes, stats.invalid) == (0, 0), "nothing is loaded again: {stats:?}");
        Ok(())
    }
}

/// Changes so many rows at random in one commit; the time of the last one.
fn commit(writer: &Connection, random: &mut Random, count: usize, value: f64) -> Result<i64> {
    let transaction = writer.unchecked_transaction()?;
    let mut last = 0;
    {
        let mut update = transaction.prepare_cached(UPDATE)?;
        for _ in 0..count {
            last = random.below(ROWS.cast_unsigned()).cast_signed();
            update.execute((last, value))?;
        }
    }
    transaction.commit()?;
    Ok(last)
}

/// One commit of many rows, from its end until the feed has told of it and it can be read, beside
/// what the writer took.
fn bulk(ground: &Ground) -> Result<Row> {
    let (writer, mut random) = (ground.writer()?, Random::new(3));
    let (mut applied, mut written) = (Vec::new(), Vec::new());
    for round in 0..BULKS {
        let value = 1e7 + round as f64;
        let (last, writing) = time(|| commit(&writer, &mut random, BULK, value));
        let last = last?;
        let (told, telling) = time(|| ground.catch_up());
        told?;
        ensure!(ground.value(last)? == value, "it can be read");
        applied.push(BULK as f64 / telling.as_secs_f64());
        written.push(BULK as f64 / writing.as_secs_f64());
    }
    ground.expect_nothing_loaded()?;
    let name = format!("table/feed: rows of a commit of {BULK} put in place");
    Ok(Row::alone(name, median(applied), "rows/s", BULKS)
        .against("the same rows written", median(written)))
}

/// From before each commit until a read shows it, with a feed that notices by itself.
fn visible(ground: &Ground) -> Result<[Row; 2]> {
    let (told, _) = watched(ground, PAUSE)?;
    ground.expect_nothing_loaded()?;
    let count = told.len();
    let name = |part: &str| format!("table/feed: visible after a commit of {COMMIT}, {part}");
    Ok([
        Row::alone(name("p50"), percentile(told.clone(), 50), "ms", count),
        Row::alone(name("p99"), percentile(told, 99), "ms", count),
    ])
}

/// The same with commits as fast as they can be made.
fn flood(ground: &Ground) -> Result<[Row; 2]> {
    let (told, per_second) = watched(ground, Duration::ZERO)?;
    eprintln!("  without a pause: {} refreshes", ground.table.stats().refreshes);
    let count = told.len();
    let rows =
        Row::alone("table/feed: rows/s beside a writer without a pause", per_second, "rows/s", 1);
    let late = percentile(told, 99);
    Ok([rows, Row::alone("table/feed: visible beside that writer, p99", late, "ms", count)])
}

/// The milliseconds after which each commit that was seen could be read, and the rows committed and
/// put in place in a second.
fn watched(ground: &Ground, pause: Duration) -> Result<(Vec<f64>, f64)> {
    let (writer, ends) = (ground.writer()?, AtomicBool::new(false));
    let marked = writer.query_row("SELECT id FROM reading WHERE time = 0", [], |row| row.get(0))?;
    let start = Clock::system().now();
    let (seen, begun) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(ground, marked, &ends));
        let begun = write(&writer, pause, start);
        ends.store(true, Ordering::Release);
        (watching.join().expect("the reader goes on"), begun)
    });
    let (seen, begun) = (seen?, begun?);
    ground.catch_up()?;
    let taken = since(start);
    let latency = |(number, at): &(usize, Moment)| {
        begun.get(*number).map(|begun| at.since(*begun).as_secs_f64() * 1e3)
    };
    let per_second = (begun.len() * COMMIT) as f64 / taken.as_secs_f64();
    Ok((seen.iter().filter_map(latency).collect(), per_second))
}

/// Commits until it is time, each with its number in the row at time 0; when each of them began to
/// commit, with all of its rows written.
fn write(writer: &Connection, pause: Duration, start: Moment) -> Result<Vec<Moment>> {
    let (mut random, mut begun) = (Random::new(5), Vec::new());
    while since(start) < COMMITTING {
        writer.execute_batch("BEGIN IMMEDIATE")?;
        let mut update = writer.prepare_cached(UPDATE)?;
        for _ in 1..COMMIT {
            let time = 1 + random.below((ROWS - 1).cast_unsigned()).cast_signed();
            update.execute((time, begun.len() as f64))?;
        }
        update.execute((0, -(begun.len() as f64) - 1.0))?;
        begun.push(Clock::system().now());
        writer.execute_batch("COMMIT")?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(begun)
}

/// Looks at the row at time 0 until it ends; the number of each commit that it shows, and when.
fn watch(ground: &Ground, marked: i64, ends: &AtomicBool) -> Result<Vec<(usize, Moment)>> {
    let (mut seen, mut last) = (Vec::new(), 0.0);
    while !ends.load(Ordering::Acquire) {
        let found = ground.runtime.block_on(ground.table.get(&marked))?;
        let value = found.context("it is there")?.value;
        if value != last && value < 0.0 {
            last = value;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            seen.push((-value as usize - 1, Clock::system().now()));
        }
        thread::sleep(LOOK);
    }
    Ok(seen)
}
