//! More invalidations at once than the list of pending ones holds: the callers then do the work.
//!
//! The sweeper is held up meanwhile (see `holding.rs`).

use larder_core::Dependency;
use larder_memory::MemoryTier;

use crate::{
    holding::hold_up,
    support::{cause, links, put, row, tier, value},
};

/// More than are ended on the caller's path, so that each invalidation becomes an item.
const DEPENDENTS: u64 = 65;
/// More than the list holds.
const TAGS: u64 = 160;
/// Out of the way of the other keys.
const TWICE: u64 = 1 << 41;
const OTHER: u64 = 1 << 42;

fn tag(number: u64) -> Dependency {
    Dependency::tag(format!("tag {number}"))
}

fn keys_of(tag: u64) -> std::ops::Range<u64> {
    tag * DEPENDENTS..(tag + 1) * DEPENDENTS
}

fn fill(tier: &MemoryTier) {
    for number in 0..TAGS {
        keys_of(number).for_each(|key| put(tier, key, key, [tag(number)]));
    }
    put(tier, OTHER, 7, [row(OTHER)]);
}

/// MD3: however many there are at once, none gives up and returns as if it had worked.
#[test]
fn whoever_finds_the_pending_list_full_carries_his_invalidation_out() {
    let (tier, _) = tier();
    fill(&tier);
    let release = hold_up(&tier);
    let mut most = 0;
    for number in 0..TAGS {
        assert_eq!(tier.invalidate(&[tag(number).digest()], &cause()) as u64, DEPENDENTS);
        most = tier.stats().pending;
        assert_eq!(tier.invalidate(&[tag(number).digest()], &cause()), 0, "they are gone");
        assert!(keys_of(number).all(|key| value(&tier, key).is_none()), "tag {number}");
        let next = keys_of(number + 1);
        let alive = next.filter(|key| value(&tier, *key).is_some()).count() as u64;
        assert_eq!(alive, if number + 1 < TAGS { DEPENDENTS } else { 0 }, "and no others");
    }
    assert!((64..TAGS).contains(&most), "{most} are pending: the list was never full");
    assert_eq!(value(&tier, OTHER), Some(7));
    drop(release);
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.pending), (1, 0));
    assert_eq!((stats.invalidated, stats.swept), (TAGS * DEPENDENTS + 1, TAGS * DEPENDENTS + 1));
}

#[test]
fn with_a_full_pending_list_an_entry_of_two_tags_is_counted_once() {
    let (tier, _) = tier();
    fill(&tier);
    let (first, second) = (tag(TAGS), tag(TAGS + 1));
    for key in TWICE..TWICE + DEPENDENTS {
        put(&tier, key, key, [first.clone(), second.clone()]);
    }
    let release = hold_up(&tier);
    for number in 0..TAGS {
        tier.invalidate(&[tag(number).digest()], &cause());
    }
    let both = [first.digest(), second.digest()];
    assert_eq!(tier.invalidate(&both, &cause()) as u64, DEPENDENTS);
    drop(release);
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.links), (1, links([row(OTHER)])));
}

#[test]
fn what_is_filled_behind_a_full_pending_list_stays() {
    let (tier, _) = tier();
    fill(&tier);
    let release = hold_up(&tier);
    for number in 0..TAGS {
        tier.invalidate(&[tag(number).digest()], &cause());
    }
    // The first is still pending, the last was carried out.
    let refilled = [0, TAGS - 1].map(|number| (number, keys_of(number).start));
    for (number, key) in refilled {
        put(&tier, key, 99, [tag(number)]);
        assert_eq!(value(&tier, key), Some(99), "tag {number}");
    }
    drop(release);
    tier.settle();
    for (number, key) in refilled {
        assert_eq!(value(&tier, key), Some(99), "tag {number}, after the sweep");
    }
}
