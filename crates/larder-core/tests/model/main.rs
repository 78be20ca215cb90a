//! The promise, checked in every interleaving of a small world.
//!
//! One entry over two timelines: `shop`, whose commits are streamed before, when or after they
//! become visible to loads, in any order, and whose log can go back to an older state; and `app`,
//! on which a row of the shop is invalidated by name after a change that the feed cannot see. A
//! node applies, confirms, announces and sweeps changes; two readers hit, join flights, and share
//! second ones. The node decides by the functions of `larder-core` itself.
//!
//! Checked to exhaustion: **no read that begins after the node applied a change, or after
//! `invalidate` returned, gets as fresh a value that was loaded without it**, no read costs more
//! than two loads, and every read is answered. For each safeguard there is a switch that takes it
//! out, and a test that the checker then finds a violation.
//!
//! Order of reading: [`config`] (the worlds and the switches), [`knowledge`] (what the node knows,
//! as a real [`larder_core::History`]), [`state`] (the data), [`steps`] (what can happen next).

#![expect(clippy::unwrap_used, reason = "what surrounds the tests may panic as they may")]

mod config;
mod knowledge;
mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    config::{Config, Kind, Removed},
    steps::{ANSWERED, FRESH, Larder, TWO_LOADS},
};

/// Commits of a row and of a new member of the scope, and a change that only `app` tells of.
fn two_timelines() -> Config {
    Config {
        commits: vec![Kind::Row, Kind::Member],
        hidden_changes: 1,
        reads: [1, 2],
        ..Config::default()
    }
}

/// No commit that a feed tells of: the smallest world in which a reader can join too late.
fn one_invalidation() -> Config {
    Config { hidden_changes: 1, reads: [1, 1], ..Config::default() }
}

/// A commit that the entry does not depend on between two that it does.
fn three_commits() -> Config {
    Config {
        commits: vec![Kind::Row, Kind::Other, Kind::Member],
        hidden_changes: 1,
        reads: [1, 1],
        ..Config::default()
    }
}

/// The log of the shop goes back and grows again, while records outlive it in a store.
fn restored_log() -> Config {
    Config {
        commits: vec![Kind::Row, Kind::Row, Kind::Other],
        restores: 1,
        reads: [1, 1],
        has_store: true,
        ..Config::default()
    }
}

/// Two explicit invalidations beside one commit, with a store.
fn two_invalidations() -> Config {
    Config {
        commits: vec![Kind::Row],
        hidden_changes: 2,
        reads: [1, 2],
        has_store: true,
        ..Config::default()
    }
}

/// Explores everything; fails with the path to the first violation.
fn prove(name: &str, config: Config) {
    let checker = Larder::new(config).checker().spawn_bfs().join();
    println!(
        "{name}: {} states ({} with repeats), depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done());
    checker.assert_properties();
}

/// Explores until `property` is violated and shows how; fails if it never is.
fn expect_violation(removed: Removed, property: &'static str, config: Config) {
    let found = HasDiscoveries::AnyOf([property].into());
    let model = Larder::new(Config { removed, ..config });
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("without {removed:?} nothing is violated"));
    let steps = path.into_actions();
    println!("without {removed:?}, {} steps to a violation: {steps:?}", steps.len());
}

#[test]
fn the_promise_holds_over_two_timelines() {
    prove("two timelines", two_timelines());
}

#[test]
fn the_promise_holds_with_three_commits() {
    prove("three commits", three_commits());
}

#[test]
fn the_promise_holds_when_the_log_goes_back() {
    prove("restored log", restored_log());
}

#[test]
fn the_promise_holds_with_two_invalidations() {
    prove("two invalidations", two_invalidations());
}

#[test]
fn a_stamp_of_what_was_received_is_not_enough() {
    expect_violation(Removed::Confirmation, FRESH, two_timelines());
}

#[test]
fn a_stamp_taken_after_the_load_is_not_enough() {
    expect_violation(Removed::StampBeforeLoad, FRESH, two_timelines());
}

#[test]
fn a_joiner_must_be_checked() {
    expect_violation(Removed::JoinerCheck, FRESH, one_invalidation());
}

#[test]
fn a_fill_must_be_checked() {
    expect_violation(Removed::FillCheck, FRESH, two_timelines());
}

#[test]
fn a_fill_must_be_linked_before_it_is_checked() {
    expect_violation(Removed::LinkBeforeCheck, FRESH, two_timelines());
}

#[test]
fn a_shape_must_be_registered_before_the_fill_is_checked() {
    expect_violation(Removed::RegistrationBeforeCheck, FRESH, two_timelines());
}

#[test]
fn a_shape_registered_after_the_stamps_is_answered_by_its_table() {
    // The memory knows since when it looks for a shape, so this order is only less precise.
    let removed = Removed::RegistrationBeforeStamps;
    prove("registered after the stamps", Config { removed, ..two_timelines() });
}

#[test]
fn epochs_must_be_compared() {
    expect_violation(Removed::EpochCompared, FRESH, restored_log());
}

#[test]
fn the_nonce_at_the_cursor_must_be_compared() {
    expect_violation(Removed::NonceCompared, FRESH, restored_log());
}

#[test]
fn an_epoch_must_begin_where_everything_is_visible() {
    expect_violation(Removed::StartBarrier, FRESH, restored_log());
}

#[test]
fn a_hit_must_consult_the_pending_list() {
    expect_violation(Removed::PendingConsulted, FRESH, two_timelines());
}

#[test]
fn an_invalidation_on_app_must_be_checked_against_the_stamp_on_app() {
    expect_violation(Removed::AppStampOfItsOwn, FRESH, two_timelines());
}

#[test]
fn a_second_flight_must_wait_for_what_its_readers_knew() {
    expect_violation(Removed::SecondFlightWaits, TWO_LOADS, two_timelines());
}

#[test]
fn a_feed_that_never_confirms_leaves_readers_without_a_fresh_answer() {
    // Shows that the check for answers is no tautology; it takes no safeguard out.
    expect_violation(Removed::ConfirmationEver, ANSWERED, two_timelines());
}
