//! Each safeguard taken out once: a history test must notice, by the kind of entry or the way of
//! an answer that the safeguard stands for.
//!
//! Each mutant runs in a process of its own, because a safeguard is out for a whole process; and
//! one at a time, because they want the machine for themselves.

use std::{process::Command, sync::Mutex};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[track_caller]
fn is_noticed(safeguard: &str) {
    run(&["--without", safeguard]);
}

#[track_caller]
fn is_seen_by(place: &str, safeguard: &str) {
    run(&["--without", safeguard, "--seen-by", place]);
}

#[track_caller]
fn is_noticed_in_tables(safeguard: &str) {
    run_program(env!("CARGO_BIN_EXE_tables"), &["--without", safeguard]);
}

#[track_caller]
fn run(arguments: &[&str]) {
    run_program(env!("CARGO_BIN_EXE_history"), arguments);
}

#[track_caller]
fn run_program(program: &str, arguments: &[&str]) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = Command::new(program)
        .args(["--seed", "1"])
        .args(arguments)
        .output()
        .expect("the binary that was built with this test starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_stamp_taken_after_the_load_is_noticed() {
    is_noticed("AsOfBeforeLoad");
}

#[test]
fn a_stamp_read_outside_the_loads_transaction_is_noticed() {
    is_noticed("AsOfInsideTransaction");
}

#[test]
fn a_joiner_that_is_not_checked_is_noticed() {
    is_noticed("JoinerChecked");
}

#[test]
fn a_missing_trigger_for_displaced_rows_is_noticed() {
    is_noticed("DisplacedRowTrigger");
}

#[test]
fn triggers_that_are_not_verified_again_are_noticed() {
    is_noticed("TriggersVerified");
}

#[test]
fn an_inode_that_is_not_compared_is_noticed() {
    is_noticed("InodeCompared");
}

#[test]
fn a_data_version_that_is_not_read_is_noticed() {
    is_noticed("DataVersionRead");
}

#[test]
fn dependencies_dropped_on_refill_are_noticed() {
    is_noticed("DependenciesKeptOnRefill");
}

#[test]
fn a_pending_list_that_is_not_consulted_is_noticed() {
    is_noticed("PendingConsulted");
}

#[test]
fn a_fill_that_is_not_checked_is_noticed() {
    is_noticed("FillChecked");
}

#[test]
fn a_scope_that_forgets_what_left_it_is_noticed() {
    is_seen_by("Scope", "OldImageCompared");
}

#[test]
fn ranges_that_are_not_compared_are_noticed() {
    is_seen_by("Range", "RangesCompared");
}

#[test]
fn a_page_without_its_last_row_is_noticed() {
    is_seen_by("Page", "PageHoldsLastRow");
}

#[test]
fn children_that_are_not_inherited_are_noticed_one_level_up() {
    is_seen_by("Nested", "ChildrenInherited");
}

#[test]
fn children_that_are_not_inherited_are_noticed_two_levels_up() {
    is_seen_by("Deep", "ChildrenInherited");
}

#[test]
fn children_that_are_not_inherited_are_noticed_in_a_diamond() {
    is_seen_by("Diamond", "ChildrenInherited");
}

#[test]
fn a_value_by_hand_with_stamps_from_its_end_is_noticed() {
    is_seen_by("ByHand", "StampsTakenAtBegin");
}

#[test]
fn a_refresh_that_is_not_checked_is_noticed() {
    is_seen_by("Refreshed", "FillChecked");
}

#[test]
fn a_rewarm_that_is_not_checked_is_noticed() {
    is_seen_by("Rewarmed", "FillChecked");
}

#[test]
fn a_soft_invalidation_that_leaves_values_fresh_is_noticed() {
    is_noticed("SoftEndsFreshness");
}

#[test]
fn a_closed_node_that_calls_its_values_fresh_is_noticed() {
    is_seen_by("Restarted", "ProofRequired");
}

#[test]
fn a_promotion_that_counts_as_of_now_is_noticed() {
    is_seen_by("RestartedOverStore", "CountedAsOfStanding");
}

#[test]
fn a_promotion_from_another_life_is_noticed() {
    is_seen_by("RestartedOverStore", "StandingCompared");
}

#[test]
fn a_log_that_is_not_read_on_from_the_mark_is_noticed() {
    is_seen_by("RestartedOverStore", "ReadOnFromMark");
}

#[test]
fn announcements_that_are_not_taken_up_are_noticed() {
    is_seen_by("Neighbour", "AnnouncementsTakenUp");
}

#[test]
fn marks_that_a_refresh_takes_away_unseen_are_noticed() {
    is_noticed_in_tables("MarksTakenByNumber");
}

#[test]
fn rows_told_during_a_load_and_not_laid_over_it_are_noticed() {
    is_noticed_in_tables("ToldLaidOver");
}

#[test]
fn a_load_of_what_the_origin_does_not_show_yet_is_noticed() {
    is_noticed_in_tables("VisibleBeforeLoad");
}

#[test]
fn a_publication_without_asking_the_feed_is_noticed() {
    is_noticed_in_tables("CaughtUpBeforePublish");
}

#[test]
fn what_no_rule_says_and_is_not_widened_is_noticed() {
    is_noticed_in_tables("UnsaidWidened");
}

#[test]
fn a_read_that_joins_a_load_which_missed_what_it_must_show_is_noticed() {
    is_noticed_in_tables("LateReadsLoadAnew");
}

#[test]
fn a_read_by_what_may_show_half_of_a_commit_is_noticed() {
    is_noticed_in_tables("HalvesRefused");
}
