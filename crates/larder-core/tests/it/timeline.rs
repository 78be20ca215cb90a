//! Stamps: what holds for two values together.

use larder_core::{
    Dependency, DependencySet, Epoch, History, Position, Stamp, Stamps, history::Verdict,
};

fn stamp(timeline: &str, epoch: u64, as_of: u64) -> Stamp {
    Stamp { timeline: timeline.into(), epoch: Epoch(epoch), as_of: Position(as_of) }
}

#[test]
fn two_stamps_of_one_life_hold_together_up_to_the_earlier() {
    let stamps: Stamps =
        [stamp("shop", 1, 7), stamp("app", 9, 3), stamp("shop", 1, 5)].into_iter().collect();
    assert_eq!(stamps.get("shop"), Some(&stamp("shop", 1, 5)));
    assert_eq!(stamps.get("app"), Some(&stamp("app", 9, 3)));
    assert_eq!(stamps.iter().len(), 2);
}

#[test]
fn stamps_of_two_lives_are_never_current_together() {
    let row: DependencySet = [Dependency::id("shop", "Album", [1i64])].into_iter().collect();
    for (first, second) in [((1, 5), (2, 0)), ((2, 0), (1, 5)), ((2, 3), (1, 3))] {
        let stamps: Stamps = [
            stamp("shop", first.0, first.1),
            stamp("shop", second.0, second.1),
            // A third part must not bring it back.
            stamp("shop", 2, 3),
        ]
        .into_iter()
        .collect();
        // The later life began at the start of all positions and nothing was touched in it yet.
        for epoch in [1, 2] {
            let mut history = History::new("shop".into(), Epoch(epoch), Position::START, 10);
            history.apply(Position(3), &[]);
            let mixed = stamps.get("shop").unwrap();
            assert_eq!(history.verdict(mixed, &row, Position(3)), Verdict::OtherEpoch);
        }
    }
}

#[test]
fn a_stamp_that_is_set_replaces_the_one_before() {
    let mut stamps: Stamps = [stamp("shop", 1, 7)].into_iter().collect();
    stamps.set(stamp("shop", 2, 1));
    assert_eq!(stamps.get("shop"), Some(&stamp("shop", 2, 1)));
}
