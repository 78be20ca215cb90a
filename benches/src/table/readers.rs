//! Readers of a cached table, one and two, and beside an owner who moves its window.
//!
//! Apart from the rest, because here threads run until they are told to end. **Invariant**: what
//! the readers ask for is in every window, so that none of them ever goes to the origin.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
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
}

pub(super) fn run(ground: &Ground) -> Result<[Row; 2]> {
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
        let taken: Vec<f64> = taken.flatten().collect();
        worked.map(|()| (taken, lasted))
    })?;
    let reads = (taken.len() * TOGETHER) as f64;
    Ok(Done { per_second: reads / lasted.as_secs_f64(), p99: percentile(taken, 99) })
}

/// Reads until it ends; what each took, in nanoseconds.
fn read(ground: &Ground, mut random: Random, ends: &AtomicBool) -> Vec<f64> {
    let mut taken = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let (_, together) = time(|| block_on(read_some(ground, &mut random)));
        taken.push(nanos(together) / TOGETHER as f64);
    }
    taken
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
