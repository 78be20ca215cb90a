//! What a cached table keeps on the heap.
//!
//! A program of its own, because it replaces the allocator; apart from `hit`, whose counter sees
//! one thread only, and the orders of a big load are built beside the runtime. **Invariant**: a
//! table keeps at most 1.6 times its bare records and 24 bytes for each entry of an index.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test; its helpers are not marked as such"
)]

use std::{
    alloc::System,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use larder::table::{Definition, Ranges, Record};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: u64 = 50_000;
const INDEXES: usize = 3;

/// A reading of a device: 32 bytes.
struct Reading {
    id: u64,
    device: u64,
    time: u64,
    value: f64,
}

impl Record for Reading {
    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }
}

/// A reading as it is in a round of changes: scattered, so that no index is in another's order.
fn reading(id: u64, round: u64) -> Reading {
    let scattered = (id + round * 31_337) % RECORDS * 104_729 % RECORDS;
    Reading { id, device: scattered % 1000, time: scattered, value: 0.5 }
}

fn kept(heap: &Region<'_, System>) -> usize {
    let change = heap.change();
    (change.bytes_allocated - change.bytes_deallocated) / usize::try_from(RECORDS).unwrap()
}

#[test]
fn table_keeps_little_more_than_its_records() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // What the runtime keeps from its first thread on is not the table's.
    runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await.unwrap() });
    let heap = Region::new(HEAP);
    let mut definition = Definition::new("readings");
    let by_time = definition.index("time", |one: &Reading| one.time);
    definition.index("device", |one: &Reading| (one.device, one.time));
    let round = Arc::<AtomicU64>::default();
    let now = round.clone();
    definition.loads_by(&by_time, move |times: Ranges<u64>, fill| {
        let round = now.load(Ordering::Relaxed);
        let all = (0..RECORDS).map(|id| reading(id, round));
        std::future::ready(fill.put_all(all.filter(|one| times.contains(&one.time))))
    });
    let now = round.clone();
    let by_id = definition.primary();
    definition.loads_by(&by_id, move |ids: Ranges<u64>, fill| {
        let round = now.load(Ordering::Relaxed);
        let all = (0..RECORDS).filter(|id| ids.contains(id));
        std::future::ready(fill.put_all(all.map(|id| reading(id, round))))
    });
    let table = definition.build(&by_time).unwrap();
    runtime.block_on(table.load(Ranges::all())).unwrap();
    let loaded = kept(&heap);

    round.store(1, Ordering::Relaxed);
    for part in 0..20 {
        let ids = (0..RECORDS).filter(|id| id % 20 == part);
        table.invalidation().keys(ids).commit().unwrap();
        runtime.block_on(table.refresh_invalid()).unwrap();
    }
    let changed = kept(&heap);
    let [first, last] = [0, RECORDS - 1].map(|id| runtime.block_on(table.get(&id)).unwrap());
    let sum: f64 = [first, last].iter().flatten().map(|one| one.value).sum();
    assert!((sum - 1.0).abs() < f64::EPSILON, "it is all there");

    println!("{loaded} bytes a record after the load, {changed} after each has changed");
    let allowed = size_of::<Reading>() * 16 / 10 + INDEXES * 24;
    assert!(loaded <= allowed, "{loaded} bytes a record, at most {allowed}");
    assert!(changed <= allowed * 4 / 3, "{changed} bytes a record after changes");
}
