//! A hit allocates nothing and frees nothing, through the memory tier and through a region.
//!
//! The counter replaces the allocator of the whole program, therefore this is a package of its own;
//! it counts each thread by itself, so that the sweeper's work is not in the numbers.
//! **Invariant**: each count is of many hits, none of which may be a miss.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test; its helpers are not marked as such"
)]

use std::{hint::black_box, sync::Arc, time::Duration};

use allocation_counter::{AllocationInfo, measure};
use larder::{Cache, Clock, Dependency, Error, Key, KeyEncoder, MemoryLimit, Region};
use larder_core::{DependencySet, Moment, Stamps, freshness::Policy};
use larder_memory::{Inserted, Knowledge, Lookup, MemoryTier, NewEntry};
use tokio::runtime::{Builder, Runtime};

const HITS: usize = 1_000;
const KNOWLEDGE: Knowledge = Knowledge::Within(Duration::from_secs(3600));
/// Longer than what stays in registers, shorter than what a key may take on the stack.
const LONG: usize = 60;

/// What came from the heap and what went back to it.
fn allocated_and_freed(info: &AllocationInfo) -> (u64, i64) {
    let allocated = info.count_total;
    (allocated, i64::try_from(allocated).unwrap() - info.count_current)
}

/// Runs it once to warm up and then counts.
fn count(mut hits: impl FnMut()) -> (u64, i64) {
    hits();
    allocated_and_freed(&measure(hits))
}

fn rows(number: i64) -> impl Iterator<Item = Dependency> {
    (0..number).map(|row| Dependency::id("app", "Row", [row]))
}

fn encoded(key: &impl Key) -> KeyEncoder {
    let mut encoder = KeyEncoder::new(1);
    key.encode(&mut encoder);
    encoder
}

fn fill(tier: &MemoryTier, key: &impl Key, dependencies: i64) {
    let policy = Policy::new(Some(Duration::from_secs(3600))).unwrap();
    let entry = NewEntry {
        key: encoded(key).finish(),
        value: Arc::new(7u64),
        value_bytes: size_of::<u64>(),
        deadlines: policy.deadlines(Clock::system().now(), Moment::NEVER),
        dependencies: rows(dependencies).collect::<DependencySet>(),
        stamps: Stamps::new(),
        pass: tier.pass(["app"]),
    };
    assert_eq!(tier.insert(entry, || true), Inserted::Stored);
}

/// What hits of one entry of a tier take from the heap, the encoding of the key included.
fn of_tier(key: &impl Key, dependencies: i64) -> (u64, i64) {
    let tier = MemoryTier::new(MemoryLimit::bytes(64 << 20), Clock::system());
    fill(&tier, key, dependencies);
    tier.prove("app", Clock::system().now());
    count(|| {
        for _ in 0..HITS {
            match tier.get::<u64>(&encoded(black_box(key)), KNOWLEDGE) {
                Lookup::Hit(found) => assert_eq!(*found.value, 7),
                Lookup::Miss => panic!("a miss"),
            }
        }
    })
}

#[test]
fn a_hit_in_the_tier_does_not_touch_the_heap() {
    let long = "k".repeat(LONG);
    for dependencies in [0, 1_000] {
        assert_eq!(of_tier(&1u64, dependencies), (0, 0), "a short key, {dependencies}");
        assert_eq!(of_tier(&long, dependencies), (0, 0), "a long key, {dependencies}");
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn region(cache: &Cache, dependencies: i64) -> Region<String, u64> {
    cache
        .region_weighed::<String, u64>("held", |_| 0)
        .never_expires()
        .loader(move |_, load| async move {
            load.depends_on(Dependency::tag("all"));
            for row in rows(dependencies) {
                load.depends_on(row);
            }
            Ok::<_, Error>(7)
        })
        .build()
        .unwrap()
}

#[test]
fn a_hit_through_a_region_does_not_touch_the_heap() {
    let runtime = runtime();
    let _inside = runtime.enter();
    for (len, dependencies) in [(4, 0), (LONG, 0), (4, 1_000), (LONG, 1_000)] {
        let key = "k".repeat(len);
        let cache = Cache::builder().memory(MemoryLimit::bytes(64 << 20)).build().unwrap();
        let region = region(&cache, dependencies);
        runtime.block_on(region.get_or_load(&key)).unwrap();
        let misses = region.stats().misses;
        let got = count(|| {
            runtime.block_on(async {
                for _ in 0..HITS {
                    black_box(region.get(black_box(&key)).await.unwrap().unwrap());
                }
            });
        });
        let loaded = count(|| {
            runtime.block_on(async {
                for _ in 0..HITS {
                    black_box(region.get_or_load(black_box(&key)).await.unwrap());
                }
            });
        });
        assert_eq!(region.stats().misses, misses, "all of them were hits");
        assert_eq!((got, loaded), ((0, 0), (0, 0)), "{len} bytes, {dependencies} dependencies");
    }
}

#[test]
fn the_counter_counts() {
    let held = measure(|| {
        std::mem::forget(black_box(Box::new(7u64)));
    });
    assert_eq!(allocated_and_freed(&held), (1, 0));
    let gone = count(|| (0..HITS).for_each(|number| drop(black_box(Box::new(number)))));
    assert_eq!(gone, (HITS as u64, HITS as i64));
    // A key that spills over from the stack is seen in the very same way as the others are not.
    let spilled = of_tier(&"k".repeat(1_000), 0);
    assert!(HITS as u64 <= spilled.0, "{spilled:?}");
}
