//! Soft invalidation: freshness ends, life goes on as far as the entry's own windows allow.
//!
//! **Invariant** under test: what was softened is never found fresh again, and is otherwise an
//! entry like any other: it expires, it can be invalidated, and it leaves nothing behind.

use std::time::Duration;

use larder_core::{
    Clock, Dependency, Moment,
    freshness::{Deadlines, Policy, State},
};
use larder_memory::{Cursor, Inserted, MemoryTier, NewEntry, Reach};

use crate::{
    holding::hold_up,
    support::{cause, entry, find, key, links, put, row, tier, value},
};

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy {
        stale_while_revalidate: 10 * SECOND,
        stale_if_error: 20 * SECOND,
        ..Policy::new(None).unwrap()
    }
}

/// An entry that never expires and may be served as stale for a while.
fn lasting(
    tier: &MemoryTier,
    clock: &Clock,
    number: u64,
    dependencies: impl IntoIterator<Item = Dependency>,
) -> NewEntry {
    let deadlines = policy().deadlines(clock.now(), Moment::NEVER);
    NewEntry { deadlines, ..entry(tier, number, number, dependencies) }
}

fn put_lasting(tier: &MemoryTier, clock: &Clock, number: u64, dependencies: &[Dependency]) {
    let entry = lasting(tier, clock, number, dependencies.iter().cloned());
    assert_eq!(tier.insert(entry, || true), Inserted::Stored);
}

fn state(tier: &MemoryTier, number: u64) -> Option<State> {
    find(tier, number).map(|found| found.state)
}

#[test]
fn windows_are_counted_from_the_soft_invalidation() {
    let (tier, clock) = tier();
    put_lasting(&tier, &clock, 1, &[row(1)]);
    put_lasting(&tier, &clock, 2, &[row(2)]);
    clock.advance(3 * SECOND);
    let softened_at = clock.now();
    assert_eq!(tier.soften(&[row(1).digest()], &cause()), 1);
    let found = find(&tier, 1).unwrap();
    assert_eq!((found.state, found.fresh_until), (State::Revalidate, softened_at));
    clock.advance(5 * SECOND);
    assert_eq!(tier.soften(&[row(1).digest()], &cause()), 0, "it is not prolonged");
    clock.advance(5 * SECOND - Duration::from_micros(1));
    assert_eq!(state(&tier, 1), Some(State::Revalidate));
    clock.advance(Duration::from_micros(1));
    assert_eq!(state(&tier, 1), Some(State::OnError));
    clock.advance(10 * SECOND);
    assert_eq!(state(&tier, 1), None);
    assert_eq!(state(&tier, 2), Some(State::Fresh));
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.softened, stats.expired, stats.invalidated), (1, 1, 1, 0));
}

#[test]
fn a_deadline_that_comes_earlier_is_not_moved() {
    let (tier, clock) = tier();
    let now = clock.now();
    let mut new = lasting(&tier, &clock, 1, [row(1)]);
    new.deadlines = Deadlines { fresh_until: now.plus(SECOND), ..new.deadlines };
    tier.insert(new, || true);
    clock.advance(9 * SECOND);
    tier.soften(&[row(1).digest()], &cause());
    assert_eq!(find(&tier, 1).unwrap().fresh_until, now.plus(SECOND));
    clock.advance(2 * SECOND);
    assert_eq!(state(&tier, 1), Some(State::OnError));
}

#[test]
fn an_entry_that_may_not_be_served_as_stale_falls() {
    let (tier, clock) = tier();
    put(&tier, 1, 10, [row(1)]);
    let mut only_on_error = lasting(&tier, &clock, 2, [row(1)]);
    only_on_error.deadlines.stale_while_revalidate = Duration::ZERO;
    tier.insert(only_on_error, || true);
    assert_eq!(tier.soften(&[row(1).digest()], &cause()), 2);
    assert_eq!((value(&tier, 1), value(&tier, 2)), (None, None));
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.links, stats.invalidated, stats.softened), (0, 0, 2, 0));
}

#[test]
fn what_was_softened_still_falls() {
    let (tier, clock) = tier();
    for number in 1..=3 {
        put_lasting(&tier, &clock, number, &[row(number), row(9)]);
    }
    assert_eq!(tier.soften(&[row(9).digest()], &cause()), 3);
    let reach = Reach::of([vec![row(9).digest()]]);
    assert_eq!(tier.tally(&reach).total.entries, 3, "a preview counts it");
    assert_eq!(tier.invalidate(&[row(1).digest()], &cause()), 1);
    assert_eq!((state(&tier, 1), state(&tier, 2)), (None, Some(State::Revalidate)));
    assert!(tier.remove(key(2).as_slice()), "it was there");
    tier.shut("shop", &cause());
    assert_eq!(state(&tier, 3), None);
    tier.settle();
    assert_eq!((tier.stats().entries, tier.stats().links), (0, 0));
}

#[test]
fn a_refill_is_fresh_and_does_not_remember() {
    let (tier, clock) = tier();
    put_lasting(&tier, &clock, 1, &[row(1)]);
    tier.soften(&[row(1).digest()], &cause());
    put_lasting(&tier, &clock, 1, &[row(1)]);
    assert_eq!(state(&tier, 1), Some(State::Fresh));
    assert_eq!(tier.soften(&[row(1).digest()], &cause()), 1);
}

#[test]
fn many_dependents_are_stale_when_the_call_returns_and_when_it_was_carried_out() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..5_000 {
        put_lasting(&tier, &clock, number, &[all.clone(), row(number)]);
    }
    put(&tier, 6_000, 1, [all.clone()]);
    put_lasting(&tier, &clock, 9_999, &[row(9_999)]);
    let mut release = Some(hold_up(&tier));
    assert_eq!(tier.soften(&[all.digest()], &cause()), 5_001);
    assert_eq!(tier.stats().pending, 1);
    for step in ["while it is pending", "after"] {
        let stale = (0..5_000).all(|number| state(&tier, number) == Some(State::Revalidate));
        assert!(stale, "{step}");
        assert_eq!(state(&tier, 6_000), None, "{step}");
        assert_eq!(state(&tier, 9_999), Some(State::Fresh), "{step}");
        drop(release.take());
        tier.settle();
    }
    let stats = tier.stats();
    // One more was invalidated to hold the sweeper up.
    assert_eq!((stats.pending, stats.softened, stats.invalidated), (0, 5_000, 2));
    assert_eq!(tier.dependents(all.digest()), 5_000, "the links stay");
    assert!(tier.last_invalidation(key(7).as_slice()).is_some());
    assert_eq!(tier.invalidate(&[all.digest()], &cause()), 5_000);
    assert!((0..5_000).all(|number| state(&tier, number).is_none()));
    tier.settle();
    assert_eq!((tier.stats().entries, tier.stats().links), (1, links([row(0)])));
}

#[test]
fn a_hard_invalidation_right_behind_a_soft_one_wins() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..2_000 {
        put_lasting(&tier, &clock, number, std::slice::from_ref(&all));
    }
    let release = hold_up(&tier);
    tier.soften(&[all.digest()], &cause());
    tier.invalidate(&[all.digest()], &cause());
    assert!((0..2_000).all(|number| state(&tier, number).is_none()));
    put_lasting(&tier, &clock, 7, std::slice::from_ref(&all));
    assert_eq!(state(&tier, 7), Some(State::Fresh), "while the sweeper has both to do");
    drop(release);
    tier.settle();
    assert_eq!(state(&tier, 7), Some(State::Fresh));
    assert_eq!(tier.stats().entries, 1);
}

#[test]
fn an_entry_filled_after_it_is_not_softened_with_the_older_ones() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..2_000 {
        put_lasting(&tier, &clock, number, std::slice::from_ref(&all));
    }
    let mut release = Some(hold_up(&tier));
    tier.soften(&[all.digest()], &cause());
    put_lasting(&tier, &clock, 7, std::slice::from_ref(&all));
    put_lasting(&tier, &clock, 3_000, std::slice::from_ref(&all));
    for step in ["while it is pending", "after"] {
        assert_eq!(state(&tier, 7), Some(State::Fresh), "{step}");
        assert_eq!(state(&tier, 3_000), Some(State::Fresh), "{step}");
        assert_eq!(state(&tier, 8), Some(State::Revalidate), "{step}");
        drop(release.take());
        tier.settle();
    }
    assert_eq!(tier.soften(&[all.digest()], &cause()), 2_001, "all that are linked");
    assert_eq!(state(&tier, 3_000), Some(State::Revalidate));
}

#[test]
fn a_list_that_is_packed_before_the_sweeper_comes_is_softened_all_the_same() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..1_000 {
        put_lasting(&tier, &clock, number, std::slice::from_ref(&all));
    }
    let release = hold_up(&tier);
    tier.soften(&[all.digest()], &cause());
    for number in 0..900 {
        assert!(tier.remove(key(number).as_slice()), "it was there, as stale");
    }
    put_lasting(&tier, &clock, 5, std::slice::from_ref(&all));
    drop(release);
    tier.settle();
    assert!((900..1_000).all(|number| state(&tier, number) == Some(State::Revalidate)));
    assert_eq!(state(&tier, 5), Some(State::Fresh));
}

/// MD3.
#[test]
fn soft_invalidations_that_find_the_pending_list_full_are_carried_out_by_the_caller() {
    const TAGS: u64 = 140;
    const EACH: u64 = 65;
    let (tier, clock) = tier();
    let tag = |number: u64| Dependency::tag(format!("tag {number}"));
    for number in 0..TAGS * EACH {
        put_lasting(&tier, &clock, number, &[tag(number / EACH)]);
    }
    let release = hold_up(&tier);
    for number in 0..TAGS {
        assert_eq!(tier.soften(&[tag(number).digest()], &cause()) as u64, EACH);
    }
    assert_eq!(tier.stats().pending, 128);
    assert_eq!(tier.stats().softened, (TAGS - 128) * EACH);
    let all_are_stale =
        || (0..TAGS * EACH).all(|number| state(&tier, number) == Some(State::Revalidate));
    assert!(all_are_stale());
    drop(release);
    tier.settle();
    assert!(all_are_stale());
    assert_eq!((tier.stats().pending, tier.stats().softened), (0, TAGS * EACH));
}

#[test]
fn a_tier_that_is_closed_softens_all_the_same() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..1_000 {
        put_lasting(&tier, &clock, number, std::slice::from_ref(&all));
    }
    tier.close();
    assert_eq!(tier.soften(&[all.digest()], &cause()), 1_000);
    assert!((0..1_000).all(|number| state(&tier, number) == Some(State::Revalidate)));
    assert_eq!(tier.stats().pending, 0);
}

#[test]
fn what_is_known_of_a_softened_entry_says_so() {
    let (tier, clock) = tier();
    put_lasting(&tier, &clock, 1, &[row(1)]);
    clock.advance(SECOND);
    tier.soften(&[row(1).digest()], &cause());
    let known = tier.inspect(key(1).as_slice()).unwrap();
    assert!(known.valid);
    assert_eq!(known.deadlines.fresh_until, clock.now());
    let last = tier.last_invalidation(key(1).as_slice()).unwrap();
    assert_eq!((last.cause, last.at), (cause(), clock.now()));
    clock.advance(20 * SECOND);
    let reach = Reach::of([vec![row(1).digest()]]);
    assert_eq!(tier.page(&reach, Cursor::default(), 1, |_| panic!("it has expired")), None);
}
