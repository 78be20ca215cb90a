//! Each safeguard of this crate taken out in turn: the promise must break where a test looks.
//!
//! One test, because the switch is of the whole process. The sweeper is held up, so that what a
//! safeguard prevents is there to be seen instead of lasting for microseconds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "what makes entries short is shared with the other test binary")]

#[path = "it/support.rs"]
mod support;

#[path = "it/holding.rs"]
mod holding;

use std::time::Duration;

use larder_core::{Dependency, freshness::State, safeguard::Safeguard};

use crate::{
    holding::hold_up,
    support::{cause, entry, find, put, row, tier, value},
};

/// More than are ended on the caller's path.
const MANY: u64 = 100;

/// Whether an entry is hit after something with many dependents was invalidated.
fn hits_what_is_pending() -> bool {
    let (tier, _) = tier();
    let tag = Dependency::tag("all");
    (0..MANY).for_each(|key| put(&tier, key, key, [tag.clone()]));
    let release = hold_up(&tier);
    assert_eq!(tier.invalidate(&[tag.digest()], &cause()) as u64, MANY);
    let hit = (0..MANY).any(|key| value(&tier, key).is_some());
    drop(release);
    tier.settle();
    hit
}

/// Whether an entry is found fresh after something with many dependents was softened.
fn finds_fresh_what_is_softened() -> bool {
    let (tier, _) = tier();
    let tag = Dependency::tag("all");
    for key in 0..MANY {
        let mut new = entry(&tier, key, key, [tag.clone()]);
        new.deadlines.stale_while_revalidate = Duration::from_secs(60);
        tier.insert(new, || true);
    }
    let release = hold_up(&tier);
    assert_eq!(tier.soften(&[tag.digest()], &cause()) as u64, MANY);
    let is_fresh = |key| find(&tier, key).is_some_and(|found| found.state == State::Fresh);
    let fresh = (0..MANY).any(is_fresh);
    drop(release);
    tier.settle();
    fresh
}

/// Whether an entry that was filled twice is hit after its row was invalidated.
fn hits_what_was_filled_again() -> bool {
    let (tier, _) = tier();
    put(&tier, 1, 10, [row(1)]);
    put(&tier, 1, 11, [row(1)]);
    tier.invalidate(&[row(1).digest()], &cause());
    value(&tier, 1).is_some()
}

#[test]
fn each_safeguard_is_missed_when_it_is_out() {
    let cases: [(Safeguard, fn() -> bool); 3] = [
        (Safeguard::PendingConsulted, hits_what_is_pending),
        (Safeguard::PendingConsulted, finds_fresh_what_is_softened),
        (Safeguard::DependenciesKeptOnRefill, hits_what_was_filled_again),
    ];
    for (safeguard, breaks) in cases {
        assert!(!breaks(), "{safeguard:?} is in place");
        safeguard.take_out();
        let broken = breaks();
        Safeguard::restore_all();
        assert!(broken, "nothing noticed that {safeguard:?} was out");
    }
}
