//! What becomes of steps that wait together.

use larder_core::{Digest, Epoch, Position, store::SchemesKnown};

use super::*;

fn step(epoch: u64, begins: Begins, position: u64, digest: u64) -> Step {
    Step {
        timeline: "shop".into(),
        epoch: Epoch(epoch),
        begins,
        position: Position(position),
        digests: vec![Digest(digest)],
        tables: vec![Digest(100 + digest)],
        schemes: SchemesKnown { epoch: Epoch(9), count: usize::try_from(digest).unwrap() },
        everything: false,
        mark: None,
        announced: None,
    }
}

fn after(epoch: u64, before: u64, position: u64, digest: u64) -> Step {
    step(epoch, Begins::After(Position(before)), position, digest)
}

fn merged(own: Step, next: Step) -> Step {
    let mut own = own;
    merge(&mut own, next);
    own
}

#[test]
fn one_step_after_the_other_is_one_that_touches_both_and_knows_what_both_knew() {
    let all = merged(after(1, 3, 5, 2), after(1, 5, 9, 1));
    assert_eq!((all.begins, all.position), (Begins::After(Position(3)), Position(9)));
    assert_eq!(all.digests, [Digest(2), Digest(1)]);
    assert_eq!(all.tables, [Digest(102), Digest(101)]);
    assert_eq!(all.schemes.count, 1);
    let mut of_another_line = after(1, 5, 9, 1);
    of_another_line.schemes.epoch = Epoch(8);
    assert_eq!(merged(after(1, 3, 5, 2), of_another_line).schemes, SchemesKnown::NONE);
}

#[test]
fn a_life_that_begins_takes_the_place_of_what_the_store_is_in() {
    let begun = |epoch| step(epoch, Begins::Anew(None), 9, 0);
    let anew = merged(after(1, 3, 5, 2), begun(7));
    assert_eq!((anew.epoch, anew.begins), (Epoch(7), Begins::Anew(None)));
    assert!(anew.digests.is_empty() && anew.tables.is_empty());
    let second = merged(anew, begun(8));
    assert_eq!((second.epoch, second.begins), (Epoch(8), Begins::Anew(None)));
    let on = merged(second, after(2, 9, 12, 3));
    assert_eq!((on.epoch, on.position), (Epoch(8), Position(12)));
    assert!(on.digests.is_empty(), "nothing was written in this life yet");
}

#[test]
fn a_step_of_a_life_that_is_over_is_forgotten() {
    let own = merged(after(1, 3, 5, 2), after(2, 20, 22, 1));
    assert_eq!(own, after(2, 20, 22, 1));
}
