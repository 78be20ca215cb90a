//! The checker against histories made by hand.

use super::{Answer, Asked, Fault, Grain, LABELS, Shown, check};
use crate::history::{Outcome, Written};

fn wrote(row: i64, version: u64, bucket: Option<i64>) -> Written {
    // Each commit takes from ten times its version to five more.
    let (began, ended) = (version * 10, version * 10 + 5);
    Written { row, version, bucket, began, ended, outcome: Outcome::Committed }
}

fn shown(id: i64, version: u64, bucket: i64) -> Shown {
    Shown { id, version, bucket, label: None }
}

/// Commit 1 makes rows 1 and 2 in bucket 0, commit 2 changes both, commit 3 moves row 1 to bucket
/// 1, commit 4 is rolled back, commit 5 removes row 2.
fn history() -> Vec<Written> {
    let rolled_back = Written { outcome: Outcome::RolledBack, ..wrote(1, 4, Some(0)) };
    vec![
        wrote(1, 1, Some(0)),
        wrote(2, 1, Some(0)),
        wrote(1, 2, Some(0)),
        wrote(2, 2, Some(0)),
        wrote(1, 3, Some(1)),
        rolled_back,
        wrote(2, 5, None),
    ]
}

/// What is wrong with an answer about everything in `buckets`.
#[track_caller]
fn judged(
    grain: Grain,
    (includes, ended): (u64, u64),
    buckets: std::ops::Range<i64>,
    shown: &[Shown],
) -> (Option<Fault>, u64) {
    let asked = Asked { ids: 0..9, buckets, residue: None };
    let answer = Answer { asked, shown: shown.to_vec(), ended, includes, grain, way: () };
    let report = check(&history(), &[answer]);
    (report.wrong.keys().next().copied(), report.several.values().sum())
}

#[test]
fn answer_of_any_moment_from_what_it_must_include_to_its_end_is_right() {
    let (old, new) = ([shown(1, 1, 0), shown(2, 1, 0)], [shown(1, 2, 0), shown(2, 2, 0)]);
    for grain in [Grain::Whole, Grain::Each] {
        assert_eq!(judged(grain, (18, 21), 0..2, &old), (None, 0));
        assert_eq!(judged(grain, (18, 21), 0..2, &new), (None, 0));
        assert_eq!(judged(grain, (26, 29), 0..2, &old).0, Some(Fault::Old));
        assert_eq!(judged(grain, (18, 19), 0..2, &new).0, Some(Fault::Invented));
    }
}

#[test]
fn half_of_a_commit_is_torn() {
    let half = [shown(1, 1, 0), shown(2, 2, 0)];
    assert_eq!(judged(Grain::Whole, (18, 21), 0..2, &half), (Some(Fault::Torn), 0));
    assert_eq!(judged(Grain::Each, (18, 21), 0..2, &half), (None, 1));
}

#[test]
fn row_that_was_there_all_the_time_must_not_lack() {
    let lacks = [shown(1, 2, 0)];
    for grain in [Grain::Whole, Grain::Each] {
        assert_eq!(judged(grain, (26, 29), 0..2, &lacks).0, Some(Fault::Missing));
        assert_eq!(judged(grain, (56, 59), 0..2, &[shown(1, 3, 1)]), (None, 0));
        assert_eq!(judged(grain, (56, 59), 0..1, &[]), (None, 0));
        assert_eq!(judged(grain, (56, 59), 1..2, &[]).0, Some(Fault::Missing));
    }
    // It moves meanwhile, within what is asked.
    let lacks = [shown(2, 2, 0)];
    assert_eq!(judged(Grain::Whole, (28, 31), 0..2, &lacks), (Some(Fault::Torn), 0));
    assert_eq!(judged(Grain::Each, (28, 31), 0..2, &lacks), (None, 1));
}

#[test]
fn row_that_nobody_committed_or_not_there_is_invented() {
    let of = |row: Shown| judged(Grain::Each, (46, 49), 0..2, &[row, shown(2, 2, 0)]).0;
    assert_eq!(of(shown(1, 3, 1)), None);
    assert_eq!(of(shown(1, 4, 0)), Some(Fault::Invented), "rolled back");
    assert_eq!(of(shown(1, 3, 0)), Some(Fault::Invented), "in another bucket");
    assert_eq!(of(shown(7, 3, 0)), Some(Fault::Invented), "no such row");
    let twice = [shown(1, 3, 1), shown(1, 3, 1)];
    assert_eq!(judged(Grain::Each, (46, 49), 0..2, &twice).0, Some(Fault::Twice));
}

#[test]
fn joined_record_is_of_one_moment() {
    let mut history = vec![wrote(1, 1, Some(0)), wrote(LABELS, 2, Some(0))];
    history.extend([wrote(1, 3, Some(0)), wrote(LABELS, 4, Some(0))]);
    let judged = |version, label, includes| {
        let shown = vec![Shown { id: 1, version, bucket: 0, label: Some(label) }];
        let asked = Asked { ids: 0..9, buckets: 0..9, residue: None };
        let answer = Answer { asked, shown, ended: 99, includes, grain: Grain::Each, way: () };
        check(&history, &[answer]).wrong.keys().next().copied()
    };
    assert_eq!(judged(1, 2, 0), None);
    assert_eq!(judged(3, 2, 0), None);
    assert_eq!(judged(1, 4, 0), Some(Fault::Torn), "label 4 came after version 3");
    assert_eq!(judged(3, 2, 50), Some(Fault::Old));
    assert_eq!(judged(3, 4, 50), None);
}
