//! X2, X3, X4, KD5, KD7: what time does to an entry.

use std::time::Duration;

use larder_core::{
    Clock, ErrorKind, Moment,
    freshness::{Deadlines, Policy, State},
};

fn at(millis: u64) -> Moment {
    Moment::from_micros(1000 * millis)
}

fn policy(ttl: Option<u64>, revalidate: u64, on_error: u64) -> Policy {
    Policy {
        stale_while_revalidate: Duration::from_millis(revalidate),
        stale_if_error: Duration::from_millis(on_error),
        ..Policy::new(ttl.map(Duration::from_millis)).unwrap()
    }
}

#[test]
fn an_entry_is_dead_when_its_deadline_is_now() {
    // (ttl, revalidate, on_error) stored at 100, then (now, state).
    use State::{Expired, Fresh, OnError, Revalidate};
    type Line<'a> = ((u64, u64, u64), &'a [(u64, State)]);
    let table: &[Line<'_>] = &[
        ((50, 0, 0), &[(100, Fresh), (149, Fresh), (150, Expired), (9999, Expired)]),
        ((50, 20, 0), &[(149, Fresh), (150, Revalidate), (169, Revalidate), (170, Expired)]),
        ((50, 0, 20), &[(149, Fresh), (150, OnError), (169, OnError), (170, Expired)]),
        ((50, 20, 40), &[(150, Revalidate), (170, OnError), (189, OnError), (190, Expired)]),
        ((50, 40, 20), &[(150, Revalidate), (189, Revalidate), (190, Expired)]),
    ];
    for ((ttl, revalidate, on_error), moments) in table {
        let policy = policy(Some(*ttl), *revalidate, *on_error);
        let deadlines = policy.deadlines(at(100), Moment::NEVER);
        for (now, state) in *moments {
            assert_eq!(deadlines.state(at(*now)), *state, "{policy:?} at {now}");
        }
        assert_eq!(deadlines.state(deadlines.gone_at()), Expired);
        let before = deadlines.gone_at().minus(Duration::from_micros(1));
        assert_ne!(deadlines.state(before), Expired);
    }
}

#[test]
fn a_deadline_is_exact_to_the_microsecond() {
    let deadlines = policy(Some(50), 0, 0).deadlines(at(100), Moment::NEVER);
    assert_eq!(deadlines.state(Moment::from_micros(149_999)), State::Fresh);
    assert_eq!(deadlines.state(Moment::from_micros(150_000)), State::Expired);
}

#[test]
fn never_is_said_by_name_and_lasts() {
    let deadlines = policy(None, 10, 10).deadlines(at(100), Moment::NEVER);
    assert_eq!(deadlines.state(at(u64::MAX / 2000)), State::Fresh);
    assert_eq!(deadlines.gone_at(), Moment::NEVER);
}

#[test]
fn a_ttl_that_would_end_at_once_is_refused() {
    for ttl in [Duration::ZERO, Duration::from_nanos(999), Duration::from_micros(999)] {
        let error = Policy::new(Some(ttl)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{ttl:?}");
        assert!(!error.is_retryable());
    }
    assert!(Policy::new(Some(Duration::from_millis(1))).is_ok());
}

#[test]
fn a_child_that_ends_earlier_caps_its_parent() {
    let deadlines = policy(Some(50), 20, 0).deadlines(at(100), at(120));
    assert_eq!(deadlines.state(at(119)), State::Fresh);
    assert_eq!(deadlines.state(at(120)), State::Revalidate);
    assert_eq!(deadlines.state(at(140)), State::Expired);
    let never = policy(None, 0, 0).deadlines(at(100), at(120));
    assert_eq!(never.state(at(120)), State::Expired);
}

#[test]
fn looking_at_an_entry_does_not_prolong_its_life() {
    // KD7: an entry that was touched every two days never expired.
    let deadlines = policy(Some(50), 0, 0).deadlines(at(100), Moment::NEVER);
    let kept: Deadlines = deadlines;
    for now in (100..150).step_by(10) {
        assert_eq!(deadlines.state(at(now)), State::Fresh);
    }
    assert_eq!(deadlines, kept);
    assert_eq!(deadlines.state(at(150)), State::Expired);
}

#[test]
fn expiry_needs_no_cleanup() {
    // KD5: expiry happened when the cleanup ran, so an entry outlived its TTL.
    let (clock, policy) = (Clock::manual(), policy(Some(1), 0, 0));
    let deadlines = policy.deadlines(clock.now(), Moment::NEVER);
    assert_eq!(deadlines.state(clock.now()), State::Fresh);
    clock.advance(Duration::from_millis(1));
    assert!(clock.reached(deadlines.fresh_until, clock.coarse()));
    assert_eq!(deadlines.state(clock.now()), State::Expired);
}

#[test]
fn times_that_do_not_fit_saturate() {
    let policy =
        Policy { stale_if_error: Duration::MAX, ..Policy::new(Some(Duration::MAX)).unwrap() };
    assert_eq!(policy.deadlines(at(100), Moment::NEVER).gone_at(), Moment::NEVER);
}
