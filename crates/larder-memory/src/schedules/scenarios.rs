//! Who meets whom: each function is one meeting, and each is a test.
//!
//! They stand apart from the world they meet in so that the meetings can be read at a glance. The
//! interleavings they look for are written beside the code, in `shared.rs`, `ledger.rs` and
//! `links.rs`. **Invariant**: every scenario ends with [`World::end`], so that what is left behind
//! is noticed even where no read noticed anything.

use super::{
    holds,
    world::{KEYS, ROWS, Size, World, in_linking_order},
};
use crate::{entry::Inserted, shared::INLINE_DEPENDENTS, sync::thread};

const BOTH: [usize; ROWS] = [0, 1];

/// Fills every key from one row: more than are ended on the caller's path.
pub(super) fn filled_beyond_inline(row: usize) -> World {
    assert!((INLINE_DEPENDENTS as u64) < KEYS);
    let world = World::new();
    (0..KEYS).for_each(|key| assert_eq!(world.fill(key, &[row]), Inserted::Stored));
    world
}

pub(super) fn fill_against_invalidate() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &[0]));
        scope.spawn(|| world.change(0));
        world.read(0);
        world.read(0);
    });
    world.end();
}

pub(super) fn hit_after_a_short_list() {
    let world = World::new();
    world.fill(0, &[0]);
    world.fill(1, &BOTH);
    thread::scope(|scope| {
        scope.spawn(|| world.change(0));
        scope.spawn(|| {
            world.fill(1, &BOTH);
            world.read(1);
        });
        world.read(1);
        world.read(0);
    });
    world.end();
}

pub(super) fn hit_after_a_long_list() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| world.change(0));
        scope.spawn(|| world.read(KEYS - 1));
        world.read(KEYS - 1);
        world.read(0);
    });
    world.end();
}

pub(super) fn hit_against_the_sweeper() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change(0);
            world.read(KEYS - 1);
        });
        scope.spawn(|| {
            world.fill(0, &[0]);
            world.read(0);
        });
        scope.spawn(|| world.read_all());
    });
    world.end();
}

pub(super) fn two_long_lists_at_once() {
    let world = World::new();
    (0..KEYS).for_each(|key| assert_eq!(world.fill(key, &BOTH), Inserted::Stored));
    thread::scope(|scope| {
        scope.spawn(|| world.change(0));
        scope.spawn(|| world.change(1));
        world.read_all();
    });
    world.end();
}

/// Three invalidations where the list of pending ones holds two.
pub(super) fn more_pending_than_there_is_room() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            world.change(0);
            for key in 0..KEYS {
                world.fill(key, &BOTH);
            }
            world.change(1);
        });
        scope.spawn(|| world.change(0));
        world.read_all();
    });
    world.end();
}

pub(super) fn eviction_against_invalidate() {
    let world = World::new();
    world.fill_sized(0, &[0], Size::Large);
    world.fill_sized(1, &BOTH, Size::Large);
    thread::scope(|scope| {
        scope.spawn(|| world.fill_sized(2, &BOTH, Size::Large));
        scope.spawn(|| world.fill_sized(3, &[0], Size::Large));
        scope.spawn(|| world.change(0));
        world.read_all();
    });
    world.end();
}

pub(super) fn removal_against_fill_and_invalidate() {
    let world = World::new();
    world.fill(0, &BOTH);
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &BOTH));
        scope.spawn(|| world.change(1));
        world.remove(0);
        world.read(0);
    });
    world.end();
}

pub(super) fn two_fillers_of_one_key() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &BOTH));
        scope.spawn(|| {
            world.change(0);
            world.fill(0, &BOTH);
        });
        scope.spawn(|| world.change(1));
        world.read(0);
    });
    world.end();
}

pub(super) fn shut_against_fill() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &[0]));
        scope.spawn(|| world.restart());
        world.read(0);
        world.read(0);
    });
    world.end();
}

/// Another entry hangs on the row that is linked last: one link too few or too many of it shows.
pub(super) fn overtaken_while_linking() {
    let world = World::new();
    let [first, last] = in_linking_order();
    world.fill(1, &[last]);
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &BOTH));
        scope.spawn(|| world.change(first));
    });
    world.end();
}

/// The same with others at the same rows.
pub(super) fn overtaken_while_others_link() {
    let world = World::new();
    world.fill(1, &[1]);
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &BOTH));
        scope.spawn(|| world.fill(2, &BOTH));
        scope.spawn(|| world.change(0));
        scope.spawn(|| world.change(1));
    });
    world.end();
}

/// The sweeper is told to stop while somebody invalidates: callers carry their sweeps out.
pub(super) fn closing_against_invalidate() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| world.shared.jobs.close());
        scope.spawn(|| world.change(0));
        scope.spawn(|| world.fill(0, &BOTH));
        world.read(KEYS - 1);
    });
    world.end();
}

pub(super) fn fill_against_soft_invalidate() {
    let world = World::new();
    world.fill(1, &BOTH);
    thread::scope(|scope| {
        scope.spawn(|| world.fill(0, &[0]));
        scope.spawn(|| world.change_softly(0));
        scope.spawn(|| world.change(1));
        world.read(0);
        world.read(1);
    });
    world.end();
}

pub(super) fn soft_hit_after_a_long_list() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| world.change_softly(0));
        scope.spawn(|| world.fill(0, &[0]));
        world.read(KEYS - 1);
        world.read(0);
    });
    world.end();
}

/// What is softened behind the callers is invalidated meanwhile.
pub(super) fn soft_against_hard_on_a_long_list() {
    let world = filled_beyond_inline(0);
    thread::scope(|scope| {
        scope.spawn(|| world.change_softly(0));
        scope.spawn(|| world.change(0));
        scope.spawn(|| world.read(KEYS - 1));
        world.read(KEYS - 1);
        world.read(0);
    });
    world.end();
}

#[test]
fn a_fill_that_meets_an_invalidation_is_not_hit_after_it() {
    holds(fill_against_invalidate);
}

#[test]
fn nothing_on_a_short_list_is_hit_after_its_invalidation() {
    holds(hit_after_a_short_list);
}

#[test]
fn nothing_on_a_long_list_is_hit_after_its_invalidation() {
    holds(hit_after_a_long_list);
}

#[test]
fn a_hit_that_meets_the_sweeper_finds_the_item_or_the_mark() {
    holds(hit_against_the_sweeper);
}

#[test]
fn two_long_lists_with_the_same_entries_end_each_once() {
    holds(two_long_lists_at_once);
}

#[test]
fn whoever_finds_no_room_among_the_pending_ends_the_marks_himself() {
    holds(more_pending_than_there_is_room);
}

#[test]
fn entries_evicted_while_they_are_invalidated_leave_no_link() {
    holds(eviction_against_invalidate);
}

#[test]
fn an_entry_removed_while_it_is_filled_leaves_no_link() {
    holds(removal_against_fill_and_invalidate);
}

#[test]
fn of_two_fillers_of_one_key_one_slot_stays() {
    holds(two_fillers_of_one_key);
}

#[test]
fn a_fill_that_meets_the_end_of_a_life_is_not_hit_after_it() {
    holds(shut_against_fill);
}

#[test]
fn a_fill_overtaken_while_it_links_takes_back_its_own_links_only() {
    holds(overtaken_while_linking);
}

#[test]
fn fills_overtaken_side_by_side_leave_each_others_links_alone() {
    holds(overtaken_while_others_link);
}

#[test]
fn a_fill_that_meets_a_soft_invalidation_is_not_fresh_after_it() {
    holds(fill_against_soft_invalidate);
}

#[test]
fn nothing_on_a_long_list_is_fresh_after_its_soft_invalidation() {
    holds(soft_hit_after_a_long_list);
}

#[test]
fn what_is_softened_and_invalidated_at_once_is_not_hit_after_it() {
    holds(soft_against_hard_on_a_long_list);
}

#[test]
fn closing_while_a_long_list_is_invalidated_loses_nothing() {
    holds(closing_against_invalidate);
}
