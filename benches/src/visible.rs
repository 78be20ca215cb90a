//! From another process's commit to the first read here that returns the new value.
//!
//! The origin, the cache and the region have their defaults; the reader asks all the time, with a
//! short pause. **Invariant**: the time of a commit is taken before it, on the clock that all
//! processes share, so no latency is left out.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use larder::{Clock, Region, sqlite::Track};
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{self, percentile},
    report::Row,
    shop::Shop,
    writer,
};

/// Between two reads: far below what is measured, and it leaves the processor to others.
const PAUSE: Duration = Duration::from_micros(50);
/// When to give up on a case, several times what it takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// Commits a second of the other writer, to other items.
const LOAD: u64 = 2_000;
/// Processes that only burn time: one for each core of the machine that the goal is for.
const BURNERS: usize = 2;

/// What happens beside the measured commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Nothing, and for so long between two commits that the watcher rests.
    Rest,
    Nothing,
    /// Another process commits, and all cores are busy.
    Busy,
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut rows = Vec::new();
    for beside in [Beside::Rest, Beside::Nothing, Beside::Busy] {
        for track in [Track::Rows, Track::Database] {
            rows.extend(case(&runtime, track, beside)?);
        }
    }
    Ok(rows)
}

fn case(runtime: &Runtime, track: Track, beside: Beside) -> Result<Vec<Row>> {
    let shop = Shop::new(track)?;
    let (cache, region) = {
        let _inside = runtime.enter();
        shop.prices(track)?
    };
    let path = shop.path();
    let mut load = None;
    let mut burners = Vec::new();
    if beside == Beside::Busy {
        load = Some(writer::start(&["load"], Some(&path), &[LOAD])?);
        for _ in 0..BURNERS {
            burners.push(writer::start(&["burn"], None, &[])?);
        }
    }
    let (count, gap) = beside.commits();
    let gap = u64::try_from(gap.as_micros())?;
    let mut commits = writer::start(&["commits"], Some(&path), &[gap, count])?;
    let output = BufReader::new(commits.output()?);
    // Read behind: the writer must not wait for us.
    let told = thread::spawn(move || output.lines().collect::<Result<Vec<_>, _>>());
    let seen = runtime.block_on(read(&region, count))?;
    let told = told.join().ok().context("the thread that listens panicked")??;
    drop(burners);
    let name = format!("visible/{}/{}", beside.name(), name(track));
    let latencies = latencies(&told, &seen)?;
    ensure!(latencies.len() as u64 == count, "{} commits were told", latencies.len());
    let count = latencies.len();
    let mut rows = vec![
        Row::alone(format!("{name}/p50"), percentile(latencies.clone(), 50), "ms", count),
        Row::alone(format!("{name}/p99"), percentile(latencies, 99), "ms", count),
    ];
    if let Some(mut load) = load {
        load.close();
        let mut rate = String::new();
        load.output()?.read_to_string(&mut rate)?;
        let name = format!("{name}/commits of the other writer");
        rows.push(Row::alone(name, rate.trim().parse()?, "/s", 1));
    }
    let stats = region.stats();
    eprintln!("  {name}: {} hits, {} misses, {} errors", stats.hits, stats.misses, stats.errors);
    runtime.block_on(cache.close());
    Ok(rows)
}

/// Reads until the last price is there: each new price, and when it was first seen.
async fn read(region: &Region<i64, i64>, commits: u64) -> Result<Vec<(i64, i64)>> {
    let start = Clock::system().now();
    let (mut seen, mut last) = (Vec::new(), 0);
    while last < commits.cast_signed() {
        // An error is no answer: the price is seen when a later read has it.
        if let Ok(price) = region.get_or_load(&1).await
            && *price != last
        {
            ensure!(*price > last, "price {price} was read after {last}");
            last = *price;
            seen.push((last, writer::now()));
        }
        ensure!(measure::since(start) < PATIENCE, "price {last} is the last seen");
        // Blocks this thread only: loads and deliveries have others.
        thread::sleep(PAUSE);
    }
    Ok(seen)
}

/// Milliseconds from each commit to the first read of its price or a later one.
fn latencies(told: &[String], seen: &[(i64, i64)]) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(told.len());
    for line in told {
        let (price, at) = line.split_once(' ').context("a line of the writer has two numbers")?;
        let (price, at): (i64, i64) = (price.parse()?, at.parse()?);
        let place = seen.partition_point(|(seen, _)| *seen < price);
        let (_, when) = seen.get(place).context("every price was seen")?;
        latencies.push((when - at) as f64 / 1e6);
    }
    Ok(latencies)
}

impl Beside {
    /// How many commits are waited for, and the mean time between them.
    fn commits(self) -> (u64, Duration) {
        match self {
            // The watcher rests a quarter of a second after it last saw something written.
            Self::Rest => (40, Duration::from_millis(700)),
            // Five looks of the watcher.
            Self::Nothing | Self::Busy => (600, Duration::from_millis(20)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rest => "rested",
            Self::Nothing => "idle",
            Self::Busy => "busy",
        }
    }
}

/// How the configuration spells it.
pub(crate) fn name(track: Track) -> &'static str {
    match track {
        Track::Rows => "rows",
        Track::Database => "database",
        Track::None => "none",
    }
}
