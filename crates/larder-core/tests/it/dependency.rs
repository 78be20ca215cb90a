//! What a touch reaches: the mirror between changes and dependencies.

use larder_core::{
    Change, Dependency, DependencySet, Epoch, History, Position, Stamp, history::Verdict,
    timeline::APP,
};

/// The verdict about a value that depends on `dependency` after `change` on `timeline`.
fn after(timeline: &str, change: &Dependency, dependency: &Dependency) -> Verdict {
    let mut history = History::new(timeline.into(), Epoch(1), Position(4), 100);
    let stamp = Stamp { timeline: timeline.into(), epoch: Epoch(1), as_of: Position(4) };
    history.apply(Position(5), &[Change::Touch(change.clone())]);
    let set: DependencySet = [dependency.clone()].into_iter().collect();
    history.verdict(&stamp, &set, Position(5))
}

fn all_on_shop() -> [Dependency; 4] {
    [
        Dependency::id("shop", "Album", [1i64]),
        Dependency::scope("shop", "Album", [("ArtistId", 90i64)]),
        Dependency::table("shop", "Album"),
        Dependency::everything("shop"),
    ]
}

#[test]
fn whatever_depends_on_everything_falls_with_every_change() {
    for change in all_on_shop() {
        for timeline in ["shop", APP] {
            let verdict = after(timeline, &change, &Dependency::everything("shop"));
            assert_eq!(verdict, Verdict::Touched, "{change} on {timeline}");
        }
    }
    let verdict = after(APP, &Dependency::tag("front"), &Dependency::everything(APP));
    assert_eq!(verdict, Verdict::Touched);
}

#[test]
fn touching_everything_by_name_reaches_every_dependency_of_that_timeline() {
    for dependency in all_on_shop() {
        for timeline in ["shop", APP] {
            let verdict = after(timeline, &Dependency::everything("shop"), &dependency);
            assert_eq!(verdict, Verdict::Touched, "{dependency} on {timeline}");
        }
    }
}

#[test]
fn touching_everything_of_one_origin_leaves_another_alone() {
    let other = Dependency::id("depot", "Album", [1i64]);
    assert_eq!(after(APP, &Dependency::everything("shop"), &other), Verdict::Untouched);
    assert_eq!(after(APP, &Dependency::table("shop", "Album"), &other), Verdict::Untouched);
    let everything = Dependency::everything("depot");
    assert_eq!(
        after(APP, &Dependency::id("shop", "Album", [1i64]), &everything),
        Verdict::Untouched
    );
}

#[test]
fn touching_a_table_reaches_all_within_it_and_nothing_beside_it() {
    let album = Dependency::table("shop", "Album");
    for dependency in all_on_shop() {
        assert_eq!(after(APP, &album, &dependency), Verdict::Touched, "{dependency}");
    }
    let artist = Dependency::id("shop", "Artist", [1i64]);
    assert_eq!(after(APP, &album, &artist), Verdict::Untouched);
}

#[test]
fn touching_a_row_by_name_reaches_who_reads_it_and_who_reads_its_table() {
    let row = Dependency::id("shop", "Album", [1i64]);
    assert_eq!(after(APP, &row, &row), Verdict::Touched);
    assert_eq!(after(APP, &row, &Dependency::table("shop", "Album")), Verdict::Touched);
    assert_eq!(after(APP, &row, &Dependency::id("shop", "Album", [2i64])), Verdict::Untouched);
}
