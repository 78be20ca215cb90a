//! Sets of dependencies that are larger than their limit.

use larder_core::{
    Change, Dependency, DependencySet, Epoch, History, Position, Stamp,
    history::Verdict,
    widen::{covers, widened},
};
use proptest::prelude::*;

const SHOP: &str = "shop";

fn row(table: &'static str, id: i64) -> Dependency {
    Dependency::id(SHOP, table, [id])
}

fn table(name: &'static str) -> Dependency {
    Dependency::table(SHOP, name)
}

fn names(set: &DependencySet) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

#[test]
fn the_largest_tables_are_widened_until_the_rest_fits() {
    let mut set: DependencySet = (0..6).map(|id| row("Album", id)).collect();
    set.extend((0..3).map(|id| row("Artist", id)));
    set.extend([Dependency::scope(SHOP, "Album", [("ArtistId", 7)]), table("Genre")]);
    assert_eq!(
        names(&widened(&set, 5)),
        [
            "shop/Table(Album)",
            "shop/Id(Artist, 0)",
            "shop/Id(Artist, 1)",
            "shop/Id(Artist, 2)",
            "shop/Table(Genre)"
        ]
    );
    assert_eq!(
        names(&widened(&set, 4)),
        ["shop/Table(Album)", "shop/Table(Artist)", "shop/Table(Genre)"]
    );
    assert_eq!(names(&widened(&set, 2)), ["shop/Everything"]);
    assert!(widened(&set, 5).is_widened() && !set.is_widened());
}

#[test]
fn a_timeline_that_has_few_is_left_alone() {
    let mut set: DependencySet = (0..9).map(|tag| Dependency::tag(format!("{tag}"))).collect();
    set.add(row("Album", 1));
    assert_eq!(names(&widened(&set, 3)), ["app/Everything", "shop/Id(Album, 1)"]);
    assert_eq!(names(&widened(&set, 1)).len(), 2, "as few as there are timelines");
}

#[test]
fn a_wide_dependency_covers_what_is_within_it() {
    let set: DependencySet = [table("Album"), Dependency::everything("app")].into_iter().collect();
    assert!(covers(&set, &row("Album", 1)) && covers(&set, &table("Album")));
    assert!(covers(&set, &Dependency::scope(SHOP, "Album", [("ArtistId", 7)])));
    assert!(covers(&set, &Dependency::tag("any")));
    assert!(!covers(&set, &row("Artist", 1)) && !covers(&set, &Dependency::everything(SHOP)));
}

fn any() -> impl Strategy<Value = Dependency> {
    let tables = prop::sample::select(vec!["Album", "Artist", "Genre"]);
    let timelines = prop::sample::select(vec![SHOP, "app"]);
    (timelines, tables, 0..5_i64, 0..5).prop_map(|(timeline, table, number, kind)| match kind {
        0 => Dependency::table(timeline, table),
        1 => Dependency::scope(timeline, table, [("Column", number)]),
        2 => Dependency::tag(format!("tag {number}")),
        3 => Dependency::everything(timeline),
        _ => Dependency::id(timeline, table, [number]),
    })
}

proptest! {
    /// Whatever touches one of the set touches the widened set.
    #[test]
    fn a_widened_set_falls_with_all_that_the_set_falls_with(
        set in prop::collection::vec(any(), 1..20),
        touched in any(),
        on_app in prop::bool::ANY,
        limit in 1..12_usize,
    ) {
        let set: DependencySet = set.into_iter().collect();
        let wide = widened(&set, limit);
        let timelines = if set.reads("app") && set.reads(SHOP) { 2 } else { 1 };
        prop_assert!(wide.len() <= limit.max(timelines));
        // `invalidate` writes on `app` whatever it names; a feed writes on its own timeline.
        let name = if on_app { "app".into() } else { touched.timeline().clone() };
        let mut history = History::new(name.clone(), Epoch(1), Position(0), 1000);
        set.iter().for_each(|dependency| history.register(dependency));
        history.apply(Position(1), &[Change::Touch(touched)]);
        let stamp = Stamp { timeline: name, epoch: Epoch(1), as_of: Position(0) };
        let verdict = |set: &DependencySet| history.verdict(&stamp, set, Position(1));
        if verdict(&set) == Verdict::Touched {
            prop_assert_eq!(verdict(&wide), Verdict::Touched);
        }
    }
}
