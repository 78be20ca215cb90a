//! Each safeguard taken out once: the history test must notice.
//!
//! Each mutant runs in a process of its own, because a safeguard is out for a whole process; and
//! one at a time, because they want the machine for themselves.

use std::{process::Command, sync::Mutex};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[track_caller]
fn is_noticed(safeguard: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut history = Command::new(env!("CARGO_BIN_EXE_history"));
    let output = history
        .args(["--seed", "1", "--without", safeguard])
        .output()
        .expect("the binary that was built with this test starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{safeguard}: {}", String::from_utf8_lossy(&output.stderr));
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
