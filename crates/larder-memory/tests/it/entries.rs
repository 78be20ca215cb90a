//! What is stored, found, refused, removed and inspected.

use std::time::Duration;

use larder_core::{Epoch, Position, Stamp, Stamps};
use larder_memory::{Inserted, Knowledge, Lookup, MemoryLimit, MemoryTier};

use crate::support::{cause, entry, find, key, links, put, row, tier, value};

#[test]
fn a_later_value_takes_the_place_of_an_earlier_one() {
    let (tier, _) = tier();
    assert_eq!(value(&tier, 1), None);
    put(&tier, 1, 10, []);
    put(&tier, 1, 11, []);
    assert_eq!(value(&tier, 1), Some(11));
    assert_eq!(tier.stats().entries, 1);
}

#[test]
fn removing_says_whether_there_was_something() {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    assert!(tier.remove(key(1).as_slice()));
    assert!(!tier.remove(key(1).as_slice()));
    assert_eq!(value(&tier, 1), None);
}

/// MD4.
#[test]
fn an_entry_that_can_never_fit_is_refused_counted_and_leaves_nothing() {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    let mut large = entry(&tier, 1, 11, [row(2)]);
    large.value_bytes = 60 << 20;
    let limit = tier.stats().entry_limit;
    let Inserted::TooLarge { weight, limit: named } = tier.insert(large, || true) else {
        panic!("60 of 64 MiB were stored");
    };
    assert!(named == limit && limit < weight && 60 << 20 < weight);
    assert_eq!(value(&tier, 1), None);
    let stats = tier.stats();
    assert_eq!((stats.refused_too_large, stats.links, stats.entries), (1, 0, 0));
}

#[test]
fn memory_stays_within_its_limit_whatever_is_stored() {
    let limit = 1 << 20;
    let tier = MemoryTier::new(MemoryLimit::bytes(limit), larder_core::Clock::manual());
    for number in 0..10_000 {
        put(&tier, number, number, [row(number)]);
    }
    let stats = tier.stats();
    assert!(stats.weight <= limit, "{stats:?}");
    assert!(limit / 2 < stats.weight, "{stats:?}");
    assert_eq!(stats.entries + stats.evictions, 10_000);
    assert_eq!(stats.links, stats.entries * links([row(0)]));
}

#[test]
fn a_fill_that_a_change_overtook_is_not_stored() {
    let (tier, _) = tier();
    let new = entry(&tier, 1, 10, [row(1)]);
    assert_eq!(tier.insert(new, || false), Inserted::Overtaken);
    let new = entry(&tier, 1, 10, [row(1)]);
    let invalidated = || {
        tier.invalidate(&[row(1).digest()], &cause());
        true
    };
    tier.insert(new, invalidated);
    assert_eq!(value(&tier, 1), None);
    tier.settle();
    assert_eq!((tier.stats().entries, tier.stats().links), (0, 0));
}

#[test]
fn a_pass_of_an_earlier_life_stores_nothing() {
    let (tier, _) = tier();
    let new = entry(&tier, 1, 10, [row(1)]);
    tier.shut("shop", &cause());
    assert_eq!(tier.insert(new, || true), Inserted::Overtaken);
    put(&tier, 1, 11, [row(1)]);
    assert_eq!(value(&tier, 1), Some(11));
}

#[test]
fn knowledge_is_proven_as_far_as_the_timelines_are() {
    let (tier, clock) = tier();
    put(&tier, 1, 10, [row(1)]);
    let proven = |knowledge| match tier.get::<u64>(key(1).as_slice(), knowledge) {
        Lookup::Hit(found) => found.proven,
        Lookup::Miss => panic!("it is there"),
    };
    assert!(!proven(Knowledge::Within(Duration::from_millis(100))));
    let now = clock.now();
    tier.prove("shop", now);
    assert!(proven(Knowledge::Within(Duration::from_millis(100))));
    assert!(!proven(Knowledge::Within(Duration::ZERO)));
    assert!(proven(Knowledge::Since(now)));
    assert!(!proven(Knowledge::Since(now.plus(Duration::from_micros(1)))));
    clock.advance(Duration::from_micros(99_999));
    assert!(proven(Knowledge::Within(Duration::from_millis(100))));
    clock.advance(Duration::from_micros(1));
    assert!(!proven(Knowledge::Within(Duration::from_millis(100))));
}

#[test]
fn an_inspection_shows_everything_and_changes_nothing() {
    let (tier, clock) = tier();
    tier.prove("shop", clock.now());
    let mut new = entry(&tier, 1, 10, [row(1), row(2)]);
    let stamp = Stamp { timeline: "shop".into(), epoch: Epoch(3), as_of: Position(4) };
    new.stamps = Stamps::from_iter([stamp.clone()]);
    let deadlines = new.deadlines;
    tier.insert(new, || true);
    let seen = tier.inspect(key(1).as_slice()).unwrap();
    assert_eq!(seen.dependencies, [row(1), row(2)]);
    assert_eq!(seen.stamps.get("shop"), Some(&stamp));
    assert_eq!(seen.deadlines, deadlines);
    assert_eq!(seen.weight, tier.stats().weight);
    assert_eq!(seen.proven_since, clock.now());
    assert!(seen.valid);
    assert!(find(&tier, 1).is_some());
    assert!(tier.inspect(key(2).as_slice()).is_none());
}
