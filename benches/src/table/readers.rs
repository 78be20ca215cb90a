//! Readers of a cached table, one and two, and beside an owner who moves its window.
//!
//! Apart from the rest, because here threads run until they are told to end. **Invariant**: what
//! the readers ask for is in every window, so that none of them ever goes to the origin.

use std::{
    fs,
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use larder_core::Clock;
use larder_table::Ranges;
use larder_testkit::wait::block_on;

use super::{
    RANGE,
    readings::{Ground, RECORDS},
    sum,
};
use crate::{
    measure::{Random, nanos, percentile, since, time},
    report::Row,
};

/// Reads that are timed together, because the clock counts microseconds.
const TOGETHER: usize = 16;

/// How long readers are watched.
const WATCHED: Duration = Duration::from_millis(800);

/// How long they are watched while the window moves: some moves of it.
const ADJUSTING: Duration = Duration::from_millis(1500);

/// How far the window moves each time, and from where it begins anew.
const MOVE: i64 = RECORDS / 1_000;
const MOVES: i64 = RECORDS / 10;

/// What some readers did.
struct Done {
    per_second: f64,
    /// The 99th percentile of what a read took, in nanoseconds, each the mean of [`TOGETHER`].
    p99: f64,
    /// What a read took of a processor, in nanoseconds.
    processor: f64,
    /// For so much of their time they slept, in percent. A read asks for nothing but memory, so
    /// there is nothing that a reader could sleep for but a lock.
    asleep: f64,
}

pub(super) fn run(ground: &Ground) -> Result<[Row; 4]> {
    let rest = || {
        thread::sleep(WATCHED);
        Ok(())
    };
    let one = beside(ground, 1, rest)?;
    let two = beside(ground, 2, rest)?;
    let busy = beside(ground, 1, || adjust(ground))?;
    let name = format!("table/reader p99 beside adjusts, means of {TOGETHER}");
    Ok([
        Row::alone("table/two readers", two.per_second, "reads/s", 1)
            .against("one reader", one.per_second),
        Row::alone(name, busy.p99, "ns", 1).against("the same, idle", one.p99),
        Row::alone("table/processor time of a read beside adjusts", busy.processor, "ns", 1)
            .against("the same, idle", one.processor),
        Row::alone("table/reader asleep beside adjusts, of its time", busy.asleep, "%", 1),
    ])
}

/// What so many readers do while `work` is done.
fn beside(ground: &Ground, readers: u64, work: impl FnOnce() -> Result<()>) -> Result<Done> {
    let ends = AtomicBool::new(false);
    let (taken, lasted) = thread::scope(|scope| {
        let read = |seed| {
            let ends = &ends;
            scope.spawn(move || read(ground, Random::new(seed), ends))
        };
        let readers: Vec<_> = (1..=readers).map(read).collect();
        let (worked, lasted) = time(work);
        ends.store(true, Ordering::Relaxed);
        let taken = readers.into_iter().map(|reader| reader.join().expect("a reader goes on"));
        let taken: Vec<Spent> = taken.collect::<Result<_>>()?;
        worked.map(|()| (taken, lasted))
    })?;
    let reads = (taken.iter().map(|spent| spent.reads.len()).sum::<usize>() * TOGETHER) as f64;
    let all = |of: fn(&Spent) -> f64| taken.iter().map(of).sum::<f64>();
    let (total, running) = (all(|spent| spent.total), all(|spent| spent.running));
    let asleep = total - running - all(|spent| spent.waiting);
    Ok(Done {
        per_second: reads / lasted.as_secs_f64(),
        p99: percentile(taken.iter().flat_map(|spent| spent.reads.iter().copied()).collect(), 99),
        processor: running / reads,
        asleep: 100.0 * asleep.max(0.0) / total,
    })
}

/// What a reader's time went for, in nanoseconds.
struct Spent {
    /// What each read took.
    reads: Vec<f64>,
    total: f64,
    /// On a processor.
    running: f64,
    /// Able to run, while others had the processors.
    waiting: f64,
}

/// Reads until it ends.
fn read(ground: &Ground, mut random: Random, ends: &AtomicBool) -> Result<Spent> {
    let (start, [ran, waited]) = (Clock::system().now(), scheduled()?);
    let mut reads = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let (_, together) = time(|| block_on(read_some(ground, &mut random)));
        reads.push(nanos(together) / TOGETHER as f64);
    }
    let (total, [running, waiting]) = (nanos(since(start)), scheduled()?);
    Ok(Spent { reads, total, running: running - ran, waiting: waiting - waited })
}

/// For how many nanoseconds Linux has let this thread run, and let it wait for a processor.
fn scheduled() -> Result<[f64; 2]> {
    const FILE: &str = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(FILE).with_context(|| format!("failed to read {FILE}"))?;
    let mut numbers = text.split_whitespace();
    let mut next = || numbers.next()?.parse::<f64>().ok();
    next().zip(next()).map(Into::into).with_context(|| format!("{FILE} has no two numbers"))
}

async fn read_some(ground: &Ground, random: &mut Random) {
    for _ in 0..TOGETHER {
        let low = RECORDS / 4 + random.below((RECORDS / 2).cast_unsigned()).cast_signed();
        let found = ground.table.range(&ground.by_time, low..low + RANGE).await;
        black_box(sum(found.expect("it is covered").iter()));
    }
}

/// Moves the window forwards and back again.
fn adjust(ground: &Ground) -> Result<()> {
    let (start, mut from) = (Clock::system().now(), 0);
    while since(start) < ADJUSTING {
        from = (from + MOVE) % MOVES;
        let window = Ranges::of(from..RECORDS)?;
        ground.runtime.block_on(ground.table.adjust(window))?;
    }
    Ok(())
}
