//! What time does to an entry. The clock is moved, never waited for.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Moment,
    freshness::{Deadlines, State},
};

use crate::support::{entry, find, tier};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// X2: dead when `deadline <= now`, at every one of the three deadlines.
#[test]
fn an_entry_changes_its_state_at_the_very_moment_of_its_deadlines() {
    let (tier, clock) = tier();
    let now = clock.now();
    let mut new = entry(&tier, 1, 10, []);
    new.deadlines = Deadlines {
        stored: now,
        fresh_until: now.plus(millis(5)),
        stale_while_revalidate: millis(2),
        stale_if_error: millis(4),
    };
    tier.insert(new, || true);
    let micro = Duration::from_micros(1);
    let state = || find(&tier, 1).map(|found| found.state);
    assert_eq!(state(), Some(State::Fresh));
    clock.advance(millis(5) - micro);
    assert_eq!(state(), Some(State::Fresh));
    clock.advance(micro);
    assert_eq!(state(), Some(State::Revalidate));
    clock.advance(millis(2) - micro);
    assert_eq!(state(), Some(State::Revalidate));
    clock.advance(micro);
    assert_eq!(state(), Some(State::OnError));
    clock.advance(millis(2) - micro);
    assert_eq!(state(), Some(State::OnError));
    clock.advance(micro);
    assert_eq!(state(), None);
    tier.settle();
    assert_eq!((tier.stats().expired, tier.stats().entries), (1, 0));
}

/// X3.
#[test]
fn reading_does_not_move_a_deadline() {
    let (tier, clock) = tier();
    let mut new = entry(&tier, 1, 10, []);
    let until = clock.now().plus(millis(10));
    new.deadlines = Deadlines {
        stored: clock.now(),
        fresh_until: until,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    tier.insert(new, || true);
    for _ in 0..10 {
        let found = find(&tier, 1).unwrap();
        assert_eq!(found.fresh_until, until);
        clock.advance(millis(1));
    }
    assert!(find(&tier, 1).is_none());
}

#[test]
fn what_never_expires_is_still_there_at_the_end_of_time() {
    let (tier, clock) = tier();
    let mut new = entry(&tier, 1, 10, []);
    new.value = Arc::new(1u64);
    new.deadlines = Deadlines {
        stored: clock.now(),
        fresh_until: Moment::NEVER,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    tier.insert(new, || true);
    clock.advance(Duration::from_secs(1 << 40));
    assert_eq!(find(&tier, 1).unwrap().state, State::Fresh);
}
