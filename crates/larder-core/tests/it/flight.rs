//! Who may take the result of a shared load, and who may keep it.

use larder_core::{
    Change, Dependency, DependencySet, Epoch, History, Position, Stamp, Stamps,
    flight::{Arrival, may_begin, may_store, may_take},
    timeline::APP,
};

const SHOP: &str = "shop";

fn row(id: i64) -> Dependency {
    Dependency::id(SHOP, "Album", [id])
}

fn on_row(id: i64) -> DependencySet {
    [row(id)].into_iter().collect()
}

fn history(epoch: u64, touched: &[(u64, i64)]) -> History {
    let mut history = History::new(SHOP.into(), Epoch(epoch), Position(0), 100);
    for (position, id) in touched {
        history.apply(Position(*position), &[Change::Touch(row(*id))]);
    }
    history
}

fn stamps(epoch: u64, as_of: u64) -> Stamps {
    let stamp = Stamp { timeline: SHOP.into(), epoch: Epoch(epoch), as_of: Position(as_of) };
    [stamp].into_iter().collect()
}

fn arrived(history: &History) -> Arrival {
    let mut arrival = Arrival::default();
    arrival.note(history);
    arrival
}

#[test]
fn a_reader_takes_what_was_loaded_before_changes_that_came_after_it() {
    let mut history = history(1, &[(1, 1)]);
    let arrival = arrived(&history);
    history.apply(Position(2), &[Change::Touch(row(7))]);
    assert!(may_take(&history, &stamps(1, 1), &on_row(7), &arrival));
    assert!(!may_store(&history, &stamps(1, 1), &on_row(7)));
}

#[test]
fn a_reader_does_not_take_what_misses_a_change_it_came_after() {
    let history = history(1, &[(1, 1), (2, 7)]);
    let arrival = arrived(&history);
    assert!(!may_take(&history, &stamps(1, 1), &on_row(7), &arrival));
    assert!(may_take(&history, &stamps(1, 1), &on_row(8), &arrival));
    assert!(may_take(&history, &stamps(1, 2), &on_row(7), &arrival));
}

#[test]
fn a_result_from_beyond_what_was_received_includes_what_the_reader_knew() {
    // A load that reads its position in its own transaction can be ahead of the feed.
    let history = history(1, &[(1, 7)]);
    let arrival = arrived(&history);
    assert!(may_take(&history, &stamps(1, 5), &on_row(7), &arrival));
    assert!(!may_store(&history, &stamps(1, 5), &on_row(7)), "not before the feed is there");
}

#[test]
fn positions_of_two_lives_are_never_compared() {
    let before = history(1, &[(1, 7), (50, 1)]);
    let arrival = arrived(&before);
    let mut after = history(1, &[(1, 7), (50, 1)]);
    after.restart(Epoch(2), Position(0));
    after.apply(Position(1), &[Change::Touch(row(7))]);
    // Loaded in the old life: right if it reached what was known, unknown if it did not.
    assert!(may_take(&after, &stamps(1, 50), &on_row(7), &arrival));
    assert!(!may_take(&after, &stamps(1, 49), &on_row(8), &arrival));
    // Loaded in the new life, which began after the reader came.
    assert!(may_take(&after, &stamps(2, 0), &on_row(7), &arrival));
    // Loaded in a life that is neither.
    assert!(!may_take(&after, &stamps(3, 99), &on_row(7), &arrival));
    // A reader of the new life takes nothing of the old one.
    assert!(!may_take(&after, &stamps(1, 50), &on_row(7), &arrived(&after)));
    assert!(!may_store(&after, &stamps(1, 50), &on_row(7)));
}

#[test]
fn a_value_without_a_stamp_of_what_it_read_is_nobodys() {
    let history = history(1, &[]);
    let arrival = arrived(&history);
    let none = Stamps::new();
    assert!(!may_take(&history, &none, &on_row(7), &arrival));
    assert!(!may_store(&history, &none, &on_row(7)));
    let elsewhere: DependencySet = [Dependency::tag("front")].into_iter().collect();
    assert!(may_take(&history, &none, &elsewhere, &arrival));
    assert!(may_store(&history, &none, &elsewhere));
}

#[test]
fn an_explicit_invalidation_of_a_row_counts_on_the_timeline_it_was_written_to() {
    let mut app = History::new(APP.into(), Epoch(5), Position(0), 100);
    app.apply(Position(1), &[Change::Touch(row(7))]);
    let arrival = arrived(&app);
    let on_app = |as_of| -> Stamps {
        [Stamp { timeline: APP.into(), epoch: Epoch(5), as_of: Position(as_of) }]
            .into_iter()
            .chain(stamps(1, 99).iter().cloned())
            .collect()
    };
    assert!(!may_take(&app, &on_app(0), &on_row(7), &arrival));
    assert!(!may_store(&app, &on_app(0), &on_row(7)));
    assert!(may_take(&app, &on_app(1), &on_row(7), &arrival));
}

#[test]
fn a_second_flight_waits_until_what_its_readers_knew_is_visible() {
    let mut history = history(1, &[(1, 7)]);
    let arrival = arrived(&history);
    assert!(!may_begin(&history, &arrival));
    history.confirm(Position(1));
    assert!(may_begin(&history, &arrival));
    history.restart(Epoch(2), Position(0));
    assert!(may_begin(&history, &arrival), "what was known is visible where a life begins");
}
