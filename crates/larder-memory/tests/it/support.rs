//! Entries, keys and causes, made short.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Clock, Dependency, DependencySet, KeyBytes, Moment, Position, Stamps,
    freshness::{Deadlines, Policy},
};
use larder_memory::{Cause, Found, Inserted, Knowledge, Lookup, MemoryLimit, MemoryTier, NewEntry};

pub(crate) const ANY: Knowledge = Knowledge::Since(Moment::EARLIEST);

pub(crate) fn tier() -> (MemoryTier, Clock) {
    let clock = Clock::manual();
    (MemoryTier::new(MemoryLimit::bytes(64 << 20), clock.clone()), clock)
}

pub(crate) fn key(number: u64) -> KeyBytes {
    KeyBytes::from(&number.to_le_bytes()[..])
}

pub(crate) fn row(number: u64) -> Dependency {
    Dependency::id("shop", "Row", [i64::try_from(number).unwrap()])
}

/// Links that an entry with these dependencies holds.
pub(crate) fn links(dependencies: impl IntoIterator<Item = Dependency>) -> u64 {
    dependencies.into_iter().collect::<DependencySet>().digests().len() as u64
}

pub(crate) fn cause() -> Cause {
    Cause { timeline: "shop".into(), position: Position(1), what: "a row changed".into() }
}

pub(crate) fn for_an_hour(clock: &Clock) -> Deadlines {
    let policy = Policy::new(Some(Duration::from_secs(3600))).unwrap();
    policy.deadlines(clock.now(), Moment::NEVER)
}

pub(crate) fn entry(
    tier: &MemoryTier,
    number: u64,
    value: u64,
    dependencies: impl IntoIterator<Item = Dependency>,
) -> NewEntry {
    NewEntry {
        key: key(number),
        value: Arc::new(value),
        value_bytes: 8,
        deadlines: for_an_hour(&Clock::manual()),
        dependencies: dependencies.into_iter().collect::<DependencySet>(),
        stamps: Stamps::new(),
        pass: tier.pass(["app", "shop"]),
    }
}

pub(crate) fn put(
    tier: &MemoryTier,
    number: u64,
    value: u64,
    dependencies: impl IntoIterator<Item = Dependency>,
) {
    let entry = entry(tier, number, value, dependencies);
    assert_eq!(tier.insert(entry, || true), Inserted::Stored);
}

pub(crate) fn find(tier: &MemoryTier, number: u64) -> Option<Found<u64>> {
    match tier.get(key(number).as_slice(), ANY) {
        Lookup::Hit(found) => Some(found),
        Lookup::Miss => None,
    }
}

pub(crate) fn value(tier: &MemoryTier, number: u64) -> Option<u64> {
    find(tier, number).map(|found| *found.value)
}
