//! One step of the protocol out, or in the wrong order: a schedule must notice.
//!
//! They stand apart from `tests/mutants.rs`, which holds the sweeper up by hand, because what these
//! steps prevent lasts for one or two instructions and cannot be held up. **Invariant**: each names
//! what must be noticed, so that a scenario that fails for another reason is not counted.

use larder_core::safeguard::Safeguard;

use super::{
    breaks, notices, scenarios,
    world::{KEYS, LEFT, SOFT, STALE, World},
};
use crate::sync::thread;

#[test]
fn pending_invalidations_that_hits_do_not_consult_are_noticed() {
    notices(Safeguard::PendingConsulted, scenarios::hit_after_a_long_list, STALE);
}

#[test]
fn pending_soft_invalidations_that_hits_do_not_consult_are_noticed() {
    /// Without the end of other scenarios, whose hard invalidations would be missed first.
    fn scenario() {
        let world = scenarios::filled_beyond_inline(0);
        thread::scope(|scope| {
            scope.spawn(|| world.change_softly(0));
            world.read(0);
            world.read(KEYS - 1);
        });
        world.read(0);
        world.shared.jobs.close();
    }
    notices(Safeguard::PendingConsulted, scenario, SOFT);
}

#[test]
fn asking_the_mark_before_the_pending_list_is_noticed() {
    notices(Safeguard::PendingBeforeMark, scenarios::hit_against_the_sweeper, STALE);
}

#[test]
fn retiring_an_item_before_its_marks_ended_is_noticed() {
    notices(Safeguard::MarksEndedBeforeRetire, scenarios::hit_after_a_long_list, STALE);
}

#[test]
fn not_looking_at_the_mark_after_the_fill_is_noticed() {
    notices(Safeguard::MarkCheckedAfterFill, scenarios::fill_against_invalidate, LEFT);
}

#[test]
fn taking_a_record_that_is_being_linked_is_noticed() {
    notices(Safeguard::RecordLeftToFiller, scenarios::overtaken_while_linking, LEFT);
}

#[test]
fn linking_after_the_check_is_noticed() {
    fn scenario() {
        let world = World::new();
        thread::scope(|scope| {
            scope.spawn(|| world.fill_checking_early(0, &[0]));
            scope.spawn(|| world.change(0));
            world.read(0);
        });
        world.end();
    }
    breaks(scenario, STALE);
}

#[test]
fn taking_the_pass_after_the_check_is_noticed() {
    fn scenario() {
        let world = World::new();
        thread::scope(|scope| {
            scope.spawn(|| world.fill_with_late_pass(0, &[0]));
            scope.spawn(|| world.restart());
            world.read(0);
        });
        world.end();
    }
    breaks(scenario, STALE);
}
