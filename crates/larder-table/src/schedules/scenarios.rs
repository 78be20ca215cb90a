//! Who meets whom: each function is one meeting, and each is a test; and each meets once more with
//! a safeguard out, which must be noticed.
//!
//! They stand apart from the world they meet in so that the meetings can be read at a glance. The
//! interleavings they look for are written beside the code, in `table.rs`, `view.rs`, `recent.rs`
//! and `flight.rs`. **Invariant**: every scenario ends with [`World::end`], so that what is left
//! behind is noticed even where no read noticed anything.

use larder_core::safeguard::Safeguard;
use shuttle::thread;

use super::{
    breaks, holds, notices,
    world::{Rule, TORN, UNANSWERED, World},
};

/// TD4, TD6: a window moves forth and back.
fn reads_beside_adjusts() {
    let world = World::by_hand(0..2);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.adjust(1..3);
            world.adjust(0..2);
        });
        scope.spawn(|| world.read(0..3));
        world.read(0..2);
        world.read(1..3);
    });
    world.end();
}

#[test]
fn a_read_beside_adjusts_misses_nothing() {
    holds(reads_beside_adjusts);
}

#[test]
fn an_adjust_in_two_steps_is_noticed() {
    fn scenario() {
        let world = World::by_hand(0..2);
        thread::scope(|scope| {
            scope.spawn(|| world.adjust_in_two_steps(1..3));
            world.read(0..2);
        });
        world.end();
    }
    breaks(scenario, TORN);
}

/// TD1, TD2: rows change again while they are loaded again.
fn reads_beside_refreshes() {
    let world = World::by_hand(0..3);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change(&[0]);
            world.change(&[1]);
            world.read(0..2);
        });
        scope.spawn(|| {
            world.change(&[0]);
            world.refresh();
        });
        world.read(0..2);
        world.read(1..3);
    });
    world.end();
}

#[test]
fn a_read_beside_refreshes_is_never_older_than_an_invalidation() {
    holds(reads_beside_refreshes);
}

#[test]
fn marks_that_are_cleared_and_not_compared_are_noticed() {
    notices(Safeguard::MarksTakenByNumber, reads_beside_refreshes);
}

/// Rows are the records: they are put where loads put what they read.
fn adjusts_beside_a_feed() {
    let world = World::following(Rule::Is);
    world.load(0..3);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change_told(&[0, 2]);
            world.change_told(&[2, 3]);
        });
        scope.spawn(|| {
            world.reload(0..3);
            world.read(0..3);
            world.adjust(0..4);
            world.read(2..4);
        });
        world.read(0..3);
    });
    world.adjust(0..4);
    world.end();
}

#[test]
fn a_read_beside_adjusts_and_a_feed_is_of_one_moment() {
    holds(adjusts_beside_a_feed);
}

#[test]
fn not_laying_over_what_was_told_is_noticed() {
    notices(Safeguard::ToldLaidOver, adjusts_beside_a_feed);
}

#[test]
fn publishing_a_load_before_the_feed_was_asked_is_noticed() {
    notices(Safeguard::CaughtUpBeforePublish, adjusts_beside_a_feed);
}

/// Rows touch the records: they are loaded again.
fn refreshes_beside_a_feed() {
    let world = World::following(Rule::Touches);
    world.load(0..4);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change_told(&[0, 1]);
            world.change_told(&[1, 2]);
        });
        scope.spawn(|| {
            world.deliver();
            world.read(0..1);
            world.read(1..3);
        });
        world.read(0..3);
    });
    world.end();
}

#[test]
fn a_read_beside_refreshes_and_a_feed_is_of_one_moment() {
    holds(refreshes_beside_a_feed);
}

#[test]
fn loading_what_the_origin_does_not_show_yet_is_noticed() {
    notices(Safeguard::VisibleBeforeLoad, refreshes_beside_a_feed);
}

#[test]
fn going_on_by_halves_of_a_commit_is_noticed() {
    notices(Safeguard::HalvesRefused, refreshes_beside_a_feed);
}

/// Nothing is there yet, and reads wait.
fn first_load_beside_a_feed() {
    let world = World::following(Rule::Is);
    thread::scope(|scope| {
        scope.spawn(|| world.load(0..4));
        scope.spawn(|| {
            world.change_told(&[0, 1]);
            world.change_told(&[1, 2]);
        });
        world.read(0..3);
    });
    world.end();
}

#[test]
fn a_read_of_a_table_that_is_being_loaded_beside_a_feed_is_of_one_moment() {
    holds(first_load_beside_a_feed);
}

#[test]
fn a_first_load_over_which_nothing_is_laid_is_noticed() {
    notices(Safeguard::ToldLaidOver, first_load_beside_a_feed);
}

/// Reads of what the window does not cover share a load, which one of them leaves.
fn misses_that_share_a_load() {
    let world = World::by_hand(0..1);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change(&[2]);
            world.read(2..3);
        });
        scope.spawn(|| world.read_for(1..3, 2));
        world.read(1..3);
    });
    world.end();
}

#[test]
fn a_read_that_shares_a_load_is_answered_whoever_leaves() {
    holds(misses_that_share_a_load);
}

#[test]
fn joining_a_load_that_missed_what_is_known_is_noticed() {
    notices(Safeguard::LateReadsLoadAnew, misses_that_share_a_load);
}

#[test]
fn whoever_leaves_and_ends_a_shared_load_is_noticed() {
    fn scenario() {
        let world = World::by_hand(0..1);
        thread::scope(|scope| {
            scope.spawn(|| world.read_and_end_it(1..3, 2));
            world.read(1..3);
        });
        world.end();
    }
    breaks(scenario, UNANSWERED);
}
