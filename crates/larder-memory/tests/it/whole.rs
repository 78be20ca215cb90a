//! A hit for another entry: value, stamps and dependencies of the same fill.

use std::{sync::atomic::Ordering, thread, time::Duration};

use larder_core::{DependencySet, Epoch, Position, Stamp, freshness::State};
use larder_memory::{Inserted, MemoryTier, Whole};

use crate::support::{ANY, cause, entry, for_an_hour, key, put, row, tier};

fn whole(tier: &MemoryTier, number: u64) -> Option<Whole<u64>> {
    tier.whole(key(number).as_slice(), ANY)
}

#[test]
fn an_entry_is_read_with_what_it_was_built_from() {
    let (tier, clock) = tier();
    let mut new = entry(&tier, 1, 10, [row(1), row(2)]);
    let stamp = Stamp { timeline: "shop".into(), epoch: Epoch(1), as_of: Position(5) };
    new.stamps.add(stamp.clone());
    new.deadlines = for_an_hour(&clock);
    assert_eq!(tier.insert(new, || true), Inserted::Stored);
    let found = whole(&tier, 1).unwrap();
    assert_eq!((*found.found.value, found.found.state), (10, State::Fresh));
    assert_eq!(found.stamps.get("shop"), Some(&stamp));
    assert!(found.dependencies.iter().eq(&[row(1), row(2)]));
    assert!(tier.whole::<String>(key(1).as_slice(), ANY).is_none(), "another type");
    clock.advance(Duration::from_secs(3600));
    assert!(whole(&tier, 1).is_none());
    assert!(whole(&tier, 2).is_none());
}

#[test]
fn an_invalidated_entry_is_nothing_that_could_be_inherited() {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    let digests = [row(1)].into_iter().collect::<DependencySet>();
    tier.invalidate(digests.digests(), &cause());
    assert!(whole(&tier, 1).is_none());
}

#[test]
fn a_widened_set_stays_marked() {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    assert!(!tier.inspect(key(1).as_slice()).unwrap().widened);
    let mut new = entry(&tier, 1, 11, [row(1)]);
    new.dependencies.mark_widened();
    assert_eq!(tier.insert(new, || true), Inserted::Stored);
    assert!(tier.inspect(key(1).as_slice()).unwrap().widened);
    assert!(whole(&tier, 1).unwrap().dependencies.is_widened());
}

#[test]
fn a_value_is_never_read_with_the_dependencies_of_another_fill() {
    let (tier, _) = tier();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..20_000 {
                put(&tier, 1, number, [row(number)]);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                if let Some(whole) = whole(&tier, 1) {
                    assert!(whole.dependencies.iter().eq([&row(*whole.found.value)]));
                }
            }
        });
    });
}
