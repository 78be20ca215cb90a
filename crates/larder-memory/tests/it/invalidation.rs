//! What changes do to entries: few dependents, many, and the whole timeline.

use larder_core::Dependency;

use crate::support::{cause, key, links, put, row, tier, value};

/// MD5.
#[test]
fn invalidating_reaches_exactly_the_dependents() {
    let (tier, _) = tier();
    for number in 0..10 {
        put(&tier, number, number, [row(number), row(100 + number % 2)]);
    }
    assert_eq!(tier.dependents(row(100).digest()), 5);
    assert_eq!(tier.invalidate(&[row(3).digest(), row(100).digest()], &cause()), 6);
    assert_eq!(tier.dependents(row(100).digest()), 0);
    for number in 0..10 {
        let dead = number == 3 || number % 2 == 0;
        assert_eq!(value(&tier, number), (!dead).then_some(number));
    }
    assert_eq!(tier.invalidate(&[row(3).digest(), row(100).digest()], &cause()), 0);
}

#[test]
fn many_dependents_are_gone_when_the_call_returns_and_swept_behind() {
    let (tier, _) = tier();
    let tag = Dependency::tag("all");
    for number in 0..5_000 {
        put(&tier, number, number, [tag.clone(), row(number)]);
    }
    put(&tier, 9_999, 1, [row(9_999)]);
    assert_eq!(tier.invalidate(&[tag.digest()], &cause()), 5_000);
    assert_eq!(tier.invalidate(&[tag.digest()], &cause()), 0, "the second call finds none");
    assert!((0..5_000).all(|number| value(&tier, number).is_none()));
    assert_eq!(value(&tier, 9_999), Some(1));
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.links, stats.pending), (1, links([row(0)]), 0));
    assert_eq!((stats.invalidated, stats.swept), (5_000, 5_000));
}

#[test]
fn an_entry_filled_after_the_invalidation_is_not_swept_with_the_older_ones() {
    let (tier, _) = tier();
    let tag = Dependency::tag("all");
    for number in 0..20_000 {
        put(&tier, number, number, [tag.clone()]);
    }
    tier.invalidate(&[tag.digest()], &cause());
    put(&tier, 7, 77, [tag.clone()]);
    assert_eq!(value(&tier, 7), Some(77), "while it may still be pending");
    tier.settle();
    assert_eq!(value(&tier, 7), Some(77), "after the sweep");
    assert_eq!(tier.dependents(tag.digest()), 1);
    assert_eq!(tier.invalidate(&[tag.digest()], &cause()), 1);
}

#[test]
fn a_tier_that_is_closed_invalidates_all_the_same() {
    let (tier, _) = tier();
    let tag = Dependency::tag("all");
    for number in 0..1_000 {
        put(&tier, number, number, [tag.clone()]);
    }
    tier.close();
    assert_eq!(tier.invalidate(&[tag.digest()], &cause()), 1_000);
    assert!((0..1_000).all(|number| value(&tier, number).is_none()));
    tier.settle();
    assert_eq!((tier.stats().entries, tier.stats().links), (0, 0));
}

#[test]
fn shutting_a_timeline_ends_what_is_stamped_on_it_and_nothing_else() {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    let mut other = crate::support::entry(&tier, 2, 20, []);
    other.pass = tier.pass(["app", "crm"]);
    tier.insert(other, || true);
    tier.shut("shop", &cause());
    assert_eq!(value(&tier, 1), None);
    assert_eq!(value(&tier, 2), Some(20));
    tier.settle();
    assert_eq!((tier.stats().entries, tier.stats().links), (1, 0));
    tier.shut("app", &cause());
    assert_eq!(value(&tier, 2), None);
}

#[test]
fn explain_is_told_what_invalidated_a_key_last() {
    let (tier, clock) = tier();
    assert_eq!(tier.last_invalidation(key(1).as_slice()), None);
    put(&tier, 1, 10, [row(1)]);
    tier.invalidate(&[row(1).digest()], &cause());
    let last = tier.last_invalidation(key(1).as_slice()).unwrap();
    assert_eq!((last.cause, last.at), (cause(), clock.now()));
    put(&tier, 1, 10, [row(1)]);
    assert!(tier.last_invalidation(key(1).as_slice()).is_some(), "a refill does not forget it");
    put(&tier, 2, 10, [row(1)]);
    tier.shut("shop", &cause());
    assert!(tier.last_invalidation(key(2).as_slice()).is_some());
    tier.settle();
    assert!(tier.last_invalidation(key(2).as_slice()).is_some());
}
