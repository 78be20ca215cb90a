//! Good histories pass, and each kind of bad one is found.

use std::sync::Arc;

use super::{
    Ask, Kind, Label, Loaded, Micros, Minimum, Notes, Order, Outcome, Part, Read, Report, TOLD,
    Violation, Way, Written, check,
};

fn wrote(row: i64, version: u64, bucket: i64, began: Micros, ended: Micros) -> Written {
    let (bucket, outcome) = (Some(bucket), Outcome::Committed);
    Written { row, version, bucket, began, ended, outcome }
}

fn removed(row: i64, version: u64, began: Micros, ended: Micros) -> Written {
    Written { bucket: None, ..wrote(row, version, 0, began, ended) }
}

fn read(ask: Ask, seen: &[(i64, u64)], began: Micros, ended: Micros) -> Read {
    Read {
        kind: ask.kind(),
        parts: Arc::new(vec![Part { ask, seen: seen.to_vec() }]),
        began,
        ended,
        includes_origin: began,
        includes_told: began,
        way: Way::Hit,
        label: Label::Fresh,
    }
}

fn judge(written: &[Written], reads: &[Read]) -> Report {
    let notes = Notes { written: written.to_vec(), reads: reads.to_vec(), loads: vec![] };
    check(&notes)
}

/// Two commits of row 1, the second of which moves it; row 2 comes and goes.
fn story() -> [Written; 4] {
    [
        wrote(1, 10, 0, 100, 110),
        wrote(1, 11, 5, 200, 220),
        wrote(2, 12, 5, 300, 310),
        removed(2, 13, 400, 410),
    ]
}

#[track_caller]
fn good(read: Read) {
    let report = judge(&story(), &[read]);
    assert_eq!(report.violations, []);
}

#[track_caller]
fn misses(read: Read, version: u64) {
    let report = judge(&story(), &[read]);
    match &report.violations[..] {
        [Violation::Missed { missed, .. }] => assert_eq!(missed.version, version),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn invents(read: Read) {
    let report = judge(&story(), &[read]);
    assert!(matches!(&report.violations[..], [Violation::Invented { .. }]), "{report:?}");
}

#[test]
fn an_answer_may_be_as_new_as_it_likes() {
    good(read(Ask::Row(1), &[(1, 10)], 150, 160));
    good(read(Ask::Row(1), &[(1, 11)], 230, 240));
    // A commit that is under way may be seen or not.
    good(read(Ask::Row(1), &[(1, 10)], 210, 230));
    good(read(Ask::Row(1), &[(1, 11)], 210, 215));
}

/// Two tasks change one row and tell of it: the second one first.
#[test]
fn what_was_told_must_be_shown_once_all_before_it_was_told() {
    let row = TOLD + 1;
    let written = [
        wrote(row, 10, TOLD, 0, 10),
        wrote(row, 11, TOLD + 1, 100, 300),
        removed(row, 12, 200, 210),
    ];
    let old = |began| read(Ask::Bucket(TOLD), &[(row, 10)], began, began + 10);
    assert_eq!(judge(&written, &[old(220)]).violations, []);
    assert_eq!(judge(&written, &[old(301)]).violated, 1);
    let below =
        |write: &Written| Written { row: 1, bucket: write.bucket.map(|b| b - TOLD), ..*write };
    let origin = [&written[0], &written[1], &written[2]].map(below);
    let report = judge(&origin, &[read(Ask::Bucket(0), &[(1, 10)], 220, 230)]);
    assert_eq!(report.violated, 1, "an origin tells in the order of its commits");
}

#[test]
fn an_answer_must_show_what_was_acknowledged_before_it_began() {
    misses(read(Ask::Row(1), &[(1, 10)], 221, 230), 11);
    misses(read(Ask::Row(1), &[], 120, 130), 10);
    misses(read(Ask::Bucket(5), &[], 230, 240), 11);
    misses(read(Ask::Bucket(5), &[(1, 11)], 320, 330), 12);
}

#[test]
fn a_row_that_moved_away_must_be_gone() {
    good(read(Ask::Bucket(0), &[(1, 10)], 150, 160));
    misses(read(Ask::Bucket(0), &[(1, 10)], 230, 240), 11);
    good(read(Ask::Bucket(0), &[], 230, 240));
    // It may be gone as soon as the commit that takes it away began.
    good(read(Ask::Bucket(0), &[], 150, 205));
    misses(read(Ask::Bucket(0), &[], 150, 160), 10);
}

#[test]
fn a_row_that_was_removed_must_be_gone() {
    good(read(Ask::Row(2), &[(2, 12)], 320, 330));
    misses(read(Ask::Row(2), &[(2, 12)], 420, 430), 13);
    good(read(Ask::Row(2), &[], 420, 430));
    good(read(Ask::Bucket(5), &[(1, 11)], 420, 430));
}

#[test]
fn what_nobody_committed_must_not_be_seen() {
    invents(read(Ask::Row(1), &[(1, 99)], 150, 160));
    // Seen before it was written.
    invents(read(Ask::Row(1), &[(1, 11)], 150, 160));
    // In a bucket where it never was.
    invents(read(Ask::Bucket(7), &[(1, 10)], 150, 160));
    let rolled_back = Written { outcome: Outcome::RolledBack, ..wrote(1, 15, 0, 500, 510) };
    let report = judge(&[rolled_back], &[read(Ask::Row(1), &[(1, 15)], 505, 520)]);
    assert_eq!(report.violated, 1);
    let report = judge(&[rolled_back], &[read(Ask::Row(1), &[], 520, 530)]);
    assert_eq!(report.violated, 0);
}

#[test]
fn staleness_excuses_what_is_younger_than_it() {
    let late =
        |includes_origin| Read { includes_origin, ..read(Ask::Row(1), &[(1, 10)], 1000, 1010) };
    good(late(220));
    misses(late(221), 11);
}

#[test]
fn an_answer_that_says_nobody_can_tell_may_be_old_but_not_invented() {
    let of = |seen: &[(i64, u64)]| read(Ask::Row(1), seen, 1000, 1010);
    let unproven = |seen| Read { label: Label::Unproven, ..of(seen) };
    good(unproven(&[(1, 10)]));
    invents(unproven(&[(1, 99)]));
}

#[test]
fn an_answer_that_says_it_is_stale_may_lack_what_was_told_softly_and_nothing_else() {
    let of = |seen: &[(i64, u64)]| read(Ask::Row(1), seen, 1000, 1010);
    let stale = |seen| Read { label: Label::Stale, ..of(seen) };
    misses(stale(&[(1, 10)]), 11);
    invents(stale(&[(1, 99)]));
    let written = story().map(|one| Written { outcome: Outcome::Softened, ..one });
    assert_eq!(judge(&written, &[stale(&[(1, 10)])]).violated, 0);
    assert_eq!(judge(&written, &[of(&[(1, 10)])]).violated, 1);
}

#[test]
fn a_range_holds_what_lies_in_any_of_its_buckets() {
    let range = |low, high| Ask::Range { low, high };
    good(read(range(0, 4), &[], 230, 240));
    misses(read(range(0, 5), &[], 230, 240), 11);
    misses(read(range(5, 9), &[(1, 11)], 320, 330), 12);
    good(read(range(5, 9), &[(1, 11), (2, 12)], 320, 330));
    invents(read(range(6, 9), &[(1, 11)], 320, 330));
}

#[test]
fn a_full_page_may_end_before_a_row_and_a_short_one_may_not() {
    let page = |order, limit| Ask::Page { bucket: 5, order, limit };
    good(read(page(Order::ById, 1), &[(1, 11)], 320, 330));
    misses(read(page(Order::ById, 2), &[(1, 11)], 320, 330), 12);
    misses(read(page(Order::ById, 1), &[(2, 12)], 320, 330), 11);
    good(read(page(Order::Newest, 1), &[(2, 12)], 320, 330));
    misses(read(page(Order::Newest, 1), &[(1, 11)], 320, 330), 12);
}

#[test]
fn each_part_of_a_nested_answer_is_judged() {
    let one = read(Ask::Row(1), &[(1, 11)], 320, 330);
    let part = |ask, seen: &[(i64, u64)]| Part { ask, seen: seen.to_vec() };
    let nested = |second| Read {
        kind: Kind::Nested,
        parts: Arc::new(vec![part(Ask::Row(1), &[(1, 11)]), second]),
        ..one.clone()
    };
    good(nested(part(Ask::Bucket(5), &[(1, 11), (2, 12)])));
    misses(nested(part(Ask::Bucket(5), &[(1, 11)])), 12);
    invents(nested(part(Ask::Row(2), &[(2, 99)])));
}

#[test]
fn what_the_process_was_told_of_counts_from_another_moment() {
    let written = [wrote(TOLD, 10, TOLD, 100, 110), wrote(TOLD, 11, TOLD, 200, 220)];
    for ask in [Ask::Row(TOLD), Ask::Bucket(TOLD), Ask::Range { low: TOLD, high: TOLD + 1 }] {
        let old = Read { includes_origin: 0, ..read(ask, &[(TOLD, 10)], 1000, 1010) };
        assert_eq!(judge(&written, std::slice::from_ref(&old)).violated, 1);
        assert_eq!(judge(&written, &[Read { includes_told: 0, ..old }]).violated, 0);
    }
}

#[test]
fn commits_that_are_acknowledged_out_of_order_count_by_version() {
    let written = [wrote(1, 10, 0, 100, 500), wrote(1, 11, 0, 120, 200)];
    assert_eq!(judge(&written, &[read(Ask::Row(1), &[(1, 11)], 600, 610)]).violated, 0);
    assert_eq!(judge(&written, &[read(Ask::Row(1), &[(1, 10)], 600, 610)]).violated, 1);
    assert_eq!(judge(&written, &[read(Ask::Row(1), &[(1, 10)], 300, 310)]).violated, 1);
}

#[test]
fn a_run_that_did_too_little_is_void() {
    let minimum = Minimum {
        reads: 2,
        close_reads: 1,
        overlapping_loads: 1,
        each_way: 1,
        ways: vec![Way::Hit, Way::Joined],
        each_kind: 1,
        kinds: vec![Kind::Id, Kind::Scope],
    };
    let close = read(Ask::Row(1), &[(1, 10)], 111, 112);
    let joined = Read { way: Way::Joined, ..read(Ask::Bucket(5), &[], 150, 160) };
    let beside = Loaded { began: 105, ended: 107 };
    let whole =
        Notes { written: story().to_vec(), reads: vec![close, joined], loads: vec![beside] };
    assert_eq!(check(&whole).lacks(&minimum), [] as [String; 0]);

    let mut part = whole.clone();
    part.reads.pop();
    let void = check(&part).lacks(&minimum);
    assert_eq!(
        void,
        [
            "1 reads, at least 2 are needed",
            "0 reads by Joined, at least 1 are needed",
            "0 reads of Scope, at least 1 are needed",
        ]
    );
    let mut part = whole.clone();
    part.loads = vec![Loaded { began: 111, ended: 199 }];
    assert_eq!(check(&part).lacks(&minimum).len(), 1);
    let mut part = whole;
    part.reads.iter_mut().for_each(|read| read.began += 10_000);
    assert_eq!(check(&part).lacks(&minimum).len(), 1);
}

#[test]
fn a_full_run_needs_what_the_promise_was_given_for() {
    let full = Minimum::full();
    assert_eq!((full.reads, full.close_reads), (1_000_000, 100_000));
    assert_eq!((full.overlapping_loads, full.each_way), (20_000, 1_000));
    assert_eq!((full.ways.len(), full.kinds.len(), full.each_kind), (19, 7, 10_000));
    assert_eq!(Minimum::full().smaller(5000).each_way, 1);
}

#[test]
fn a_writers_line_comes_back_as_it_was_or_is_an_error() {
    for note in story() {
        let line = note.to_string();
        assert_eq!(line.parse(), Ok(note));
        for length in 0..line.len() {
            assert!(line[..length].parse::<Written>().is_err(), "{:?}", &line[..length]);
        }
    }
    assert!("1 2 3 4 5 committed. 6".parse::<Written>().is_err());
}
