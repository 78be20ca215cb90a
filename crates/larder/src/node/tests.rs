//! Of which position a value counts that is read now.

use std::ops::Bound::{Excluded, Included};

use larder_core::{
    Change, DependencySet, Invalidation, Span,
    announcement::Cursor,
    feed::FeedSink,
    flight::Arrival,
    store::{Judgement, Standing},
};
use larder_memory::MemoryLimit;

use super::*;
use crate::{invalidation::Limit, places::Places};

const SHOP: &str = "shop";
const LIFE: Epoch = Epoch(7);

fn row(id: i64) -> Dependency {
    Dependency::id(SHOP, "Row", [id])
}

/// A node that has heard of changes to other rows up to position 5.
fn node(capacity: usize) -> Node {
    let clock = Clock::manual();
    let tier = MemoryTier::new(MemoryLimit::default(), clock.clone());
    let node = Node::new(tier, clock, [SHOP.into()], capacity);
    node.restarted(SHOP, LIFE, Position::START, Doubt::Started);
    (1..=5).for_each(|position| touch(&node, position, 100));
    node
}

fn touch(node: &Node, position: u64, id: i64) {
    node.received(SHOP, Position(position), &[Change::Touch(row(id))]);
}

/// What a value as of `as_of` that depends on row 1 counts as.
fn validated(node: &Node, epoch: Epoch, as_of: u64, arrival: &Arrival) -> (u64, Validity) {
    let stamp = Stamp { timeline: SHOP.into(), epoch, as_of: Position(as_of) };
    let dependencies = [row(1)].into_iter().collect();
    let (stamps, validity) = node.validated(&[stamp].into_iter().collect(), &dependencies, arrival);
    (stamps.get(SHOP).map_or(0, |stamp| stamp.as_of.0), validity)
}

#[test]
fn an_untouched_value_counts_as_of_what_was_known() {
    let node = node(100);
    let arrival = node.arrival();
    assert_eq!(validated(&node, LIFE, 2, &arrival), (5, Validity::Shown));
    // What comes after the arrival is not answered for, and a later stamp is not lowered.
    touch(&node, 6, 100);
    touch(&node, 7, 100);
    assert_eq!(validated(&node, LIFE, 2, &arrival), (5, Validity::Shown));
    assert_eq!(validated(&node, LIFE, 6, &arrival), (6, Validity::Shown));
}

#[test]
fn a_touched_value_keeps_its_own_stamp() {
    let node = node(100);
    touch(&node, 6, 1);
    assert_eq!(validated(&node, LIFE, 2, &node.arrival()), (2, Validity::NotShown));
    assert_eq!(validated(&node, LIFE, 6, &node.arrival()), (6, Validity::Shown));
}

#[test]
fn a_value_touched_after_the_position_was_noted_is_not_shown() {
    // 1. The position is noted. 2. The row changes. 3. The history is asked.
    let node = node(100);
    let arrival = node.arrival();
    touch(&node, 6, 1);
    assert_eq!(validated(&node, LIFE, 2, &arrival), (2, Validity::NotShown));
}

#[test]
fn what_is_forgotten_of_another_life_or_beyond_is_not_shown() {
    let forgetful = node(3);
    assert_eq!(validated(&forgetful, LIFE, 1, &forgetful.arrival()), (1, Validity::NotShown));
    let node = node(100);
    assert_eq!(validated(&node, Epoch(8), 2, &node.arrival()), (2, Validity::NotShown));
    assert_eq!(validated(&node, LIFE, 9, &node.arrival()), (9, Validity::NotShown));
    // The life changed after the position was noted.
    let arrival = node.arrival();
    node.restarted(SHOP, Epoch(8), Position(5), Doubt::Replaced);
    assert_eq!(validated(&node, Epoch(8), 5, &arrival), (5, Validity::NotShown));
}

/// Lets `node` come by a place of the log at each of the positions `at`: ten more, in another life.
fn follow(node: &Node, at: &[u8]) {
    let mark = |at: u8| Mark { bytes: vec![10 + at], place: Some(Position(u64::from(10 + at))) };
    let (first, next) = at.split_first().unwrap();
    let mut places = Places::begin(Epoch(70), Position((*first).into()), Some(mark(*first)));
    for at in next {
        places.advance(Position((*at).into()), Some(mark(*at)));
    }
    node.timeline(SHOP).unwrap().knowledge.lock().in_store = InStore::in_life(places);
}

/// A store that stands at a place of the log.
fn shop(place: u8) -> Standing {
    Standing {
        timeline: SHOP.into(),
        epoch: Epoch(70),
        position: Position(place.into()),
        floor: Position::START,
        mark: Some(vec![place]),
    }
}

#[test]
fn a_value_that_shows_some_of_a_batch_is_not_given_to_a_store_that_lacks_the_batch() {
    // The log may go back to 13: then what the value shows, at 15 or before, never was.
    let node = node(100);
    let cursor = Cursor { epoch: Epoch(9), position: Position::START, nonce: 0 };
    node.app().knowledge.lock().line = Some(Line::new(1, cursor, 0));
    follow(&node, &[3, 5]);
    let line = Standing { timeline: APP.into(), epoch: cursor.epoch, ..shop(0) };
    let dependencies: DependencySet = [row(1)].into_iter().collect();
    let stamp = Stamp { timeline: SHOP.into(), epoch: LIFE, as_of: Position(4) };
    let stamps: Stamps = [node.stamp(APP).unwrap(), stamp].into_iter().collect();
    let mut kept = node.in_places(&stamps).unwrap();
    kept.set(node.announced_stamp().unwrap());
    assert_eq!(kept.get(SHOP).unwrap().as_of, Position(13));
    let judged = |shop| node.judge(&stamps, &dependencies, &kept, &[line.clone(), shop]);
    assert_eq!(judged(shop(13)), Judgement::Wrong);
    assert_eq!(judged(shop(15)), Judgement::Right(Position::START));
}

#[test]
fn a_store_is_given_and_gives_nothing_from_beyond_where_it_stands() {
    let node = node(100);
    let cursor = Cursor { epoch: Epoch(9), position: Position::START, nonce: 0 };
    node.app().knowledge.lock().line = Some(Line::new(1, cursor, 0));
    // In the store the life and the places of the log are others than those of this node.
    follow(&node, &[3, 4, 5]);
    let standing = Standing { timeline: APP.into(), epoch: cursor.epoch, ..shop(0) };
    let dependencies: DependencySet = [row(1)].into_iter().collect();
    let stamp = |as_of| Stamp { timeline: SHOP.into(), epoch: LIFE, as_of: Position(as_of) };
    let stamps: Stamps = [node.stamp(APP).unwrap(), stamp(4)].into_iter().collect();
    let mut kept = node.in_places(&stamps).unwrap();
    kept.set(node.announced_stamp().unwrap());
    let kept_of_shop = kept.get(SHOP).unwrap();
    assert_eq!((kept_of_shop.epoch, kept_of_shop.as_of), (Epoch(70), Position(14)));
    let judged = |shop| node.judge(&stamps, &dependencies, &kept, &[standing.clone(), shop]);
    let raised = |shop| node.raised(&kept, &dependencies, &[standing.clone(), shop]);
    // The origin can go back to 13 before the store hears of 14; what the value shows then never
    // was.
    assert_eq!(judged(shop(13)), Judgement::Wrong);
    assert_eq!(raised(shop(13)), None);
    for place in [14, 15] {
        assert_eq!(judged(shop(place)), Judgement::Right(Position::START));
        let raised = raised(shop(place)).unwrap().get(SHOP).unwrap().clone();
        assert_eq!((raised.epoch, raised.as_of.0), (LIFE, u64::from(place) - 10));
    }
    // Nor where it stands on a log of which this node does not know, beyond it, or in another life.
    let strange = Standing { mark: Some(vec![0]), ..shop(15) };
    let elsewhere = Standing { epoch: Epoch(71), ..shop(15) };
    for unknown in [strange, shop(16), elsewhere] {
        assert_eq!(judged(unknown.clone()), Judgement::Wrong, "{unknown:?}");
        assert_eq!(raised(unknown.clone()), None, "{unknown:?}");
    }
}

#[test]
fn ranges_that_nobody_depends_on_leave_although_only_names_are_invalidated() {
    let node = node(100);
    let range = |low: i64| {
        let years = Span::between(Included(low.into()), Excluded((low + 5).into()));
        Dependency::scope(APP, "Book", [("id", 1)]).within("year", years)
    };
    for low in 0..10_000 {
        drop(node.register(&range(low)));
        assert!(node.releases.len() <= 1000, "the queue grows without end");
    }
    let held: Vec<_> = (0..10_000).map(|low| node.register(&range(low))).collect();
    drop(held);
    let invalidation = Invalidation::new(Mode::Hard);
    assert!(node.invalidate(&invalidation, Limit::None).is_some());
    assert_eq!(node.releases.len(), 0);
}
