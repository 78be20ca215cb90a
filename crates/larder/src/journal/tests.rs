//! What becomes of steps that wait together, and of those that a store refuses.

use std::future::ready;

use larder_core::{
    BoxFuture, Clock, Dependency, Digest, Epoch, Invalidation, Mode, Moment, Name, Position,
    announcement::{Cursor, Look},
    feed::{Doubt, FeedSink, Mark},
    store::{Attached, FoundRecord, NewRecord, Origins, SchemesKnown, Written},
};
use larder_memory::{MemoryLimit, MemoryTier};
use tokio::{sync::Semaphore, time::timeout};

use super::*;
use crate::invalidation::Limit;

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

const SHOP: &str = "shop";

/// A store that another node has just moved on whenever it is told of an origin, so many times.
#[derive(Debug, Default)]
struct Contended {
    refusals: Mutex<u64>,
    carried_out: Mutex<Vec<Step>>,
}

impl TrackedStore for Contended {
    fn get<'a>(
        &'a self,
        _: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<FoundRecord>, Error>> {
        Box::pin(ready(Ok(None)))
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: &'a [u8],
        _: NewRecord,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(ready(Ok(Written::NotRight)))
    }

    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>> {
        let (mut applied, mut refusals) = (Applied::default(), self.refusals.lock());
        for step in steps {
            let standing = Standing {
                timeline: step.timeline.clone(),
                epoch: step.epoch,
                position: Position(*refusals),
                floor: Position::START,
                mark: Some(vec![99]),
            };
            if step.announced.is_none() && 0 < *refusals && !knows(&standing) {
                *refusals -= 1;
                applied.refused.push(standing);
            } else {
                self.carried_out.lock().push(step);
            }
        }
        Box::pin(ready(Ok(applied)))
    }

    fn look(&self, since: Cursor, _: usize) -> BoxFuture<'static, Result<Look, Error>> {
        let news = larder_core::announcement::News::All(Vec::new());
        Box::pin(ready(Ok(Look { since, cursor: since, news, schemes: None })))
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// A feed that vouches for every place, once it may answer.
#[derive(Debug)]
struct Vouching {
    name: Name,
    answers: Semaphore,
}

impl Feed for Vouching {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, _: Arc<dyn FeedSink>) -> Result<(), Error> {
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn has_passed<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async {
            self.answers.acquire().await.unwrap().forget();
            Ok(true)
        })
    }

    fn stop(&self) {}
}

/// A node that follows the shop from place 100 on, and its store.
fn shop(answers: usize) -> (SharedNode, Arc<Contended>) {
    let clock = Clock::manual();
    let tier = MemoryTier::new(MemoryLimit::default(), clock.clone());
    let store = Arc::new(Contended::default());
    let attached = Attached {
        tracked: store.clone(),
        author: 1,
        cursor: Cursor { epoch: Epoch(9), position: Position::START, nonce: 0 },
        origins: Origins::Kept,
        standings: Vec::new(),
        schemes: Vec::new(),
    };
    let node = Node::new(tier, clock, [SHOP.into()], 100);
    let journal = Journal::new(attached.tracked.clone());
    let node = Arc::new(node.with_store(&attached, journal.clone(), Moment::EARLIEST));
    let feed: Arc<dyn Feed> =
        Arc::new(Vouching { name: SHOP.into(), answers: Semaphore::new(answers) });
    tokio::spawn(journal.run(node.clone(), [feed].into()));
    mark(&node, 100);
    node.restarted(SHOP, Epoch(7), Position(100), Doubt::Started);
    (node, store)
}

fn mark(node: &Node, place: u64) {
    let bytes = place.to_le_bytes().to_vec();
    node.marking(SHOP, Some(Mark { bytes, place: Some(Position(place)) }));
}

fn change(node: &Node, place: u64) {
    mark(node, place);
    node.received(SHOP, Position(place), &[]);
}

fn invalidate(node: &Node, tag: &'static str) {
    let mut invalidation = Invalidation::new(Mode::Hard);
    invalidation.extend([Dependency::tag(tag)]);
    node.invalidate(&invalidation, Limit::None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_by_name_does_not_wait_until_an_origin_answers() {
    let (node, store) = shop(0);
    let journal = node.journal().unwrap();
    journal.written().await.unwrap();
    *store.refusals.lock() = 1;
    change(&node, 101);
    invalidate(&node, "with it");
    let soon = Duration::from_millis(1);
    for _ in 0..3 {
        timeout(soon, node.make_durable()).await.unwrap().unwrap();
        invalidate(&node, "while it is asked");
    }
    assert!(timeout(soon, journal.written()).await.is_err(), "it waits for the origin");
    let announced = |step: &Step| step.announced.as_ref().map(|one| one.what.to_string());
    let named: Vec<_> = store.carried_out.lock().iter().filter_map(announced).collect();
    assert_eq!(named[..2], ["app/Tag(with it)", "app/Tag(while it is asked)"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_refused_again_and_again_is_written_in_the_end() {
    let (node, store) = shop(usize::from(u8::MAX));
    let journal = node.journal().unwrap();
    journal.written().await.unwrap();
    let refusals = u64::from(3 * REFUSALS_MAX);
    *store.refusals.lock() = refusals;
    change(&node, 101);
    assert_eq!(journal.written().await.unwrap_err().kind(), ErrorKind::Conflict);
    change(&node, 102);
    let pauses = PAUSE * u32::try_from(refusals).unwrap();
    let written = async {
        while journal.written().await.is_err() {
            journal.progress.subscribe().changed().await.unwrap();
        }
    };
    timeout(pauses, written).await.unwrap();
    let carried_out = store.carried_out.lock();
    let step = carried_out.last().unwrap();
    // As one, from where the store stood: nothing that others keep there falls.
    assert_eq!((step.begins, step.position), (Begins::After(Position(100)), Position(102)));
    assert_eq!(*store.refusals.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_a_doubt_about_the_log_begins_a_life_in_the_store() {
    let (node, store) = shop(0);
    let journal = node.journal().unwrap();
    let lives = async || {
        journal.written().await.unwrap();
        let carried_out = store.carried_out.lock();
        carried_out.iter().filter(|step| matches!(step.begins, Begins::Anew(_))).count()
    };
    assert_eq!(lives().await, 1);
    let own = [Doubt::Started, Doubt::Overflow, Doubt::Panicked];
    let of_log = [
        Doubt::Replaced,
        Doubt::LogBroken,
        Doubt::SchemaChanged,
        Doubt::TrackingLost,
        Doubt::Undecodable,
    ];
    let mut place = 100;
    let mut restart = |doubt| {
        place += 10;
        mark(&node, place);
        node.restarted(SHOP, Epoch(place), Position(place), doubt);
        change(&node, place + 1);
        place
    };
    for doubt in own {
        let place = restart(doubt);
        assert_eq!(lives().await, 1, "{doubt:?}");
        let last = store.carried_out.lock().last().unwrap().clone();
        // It does not say what happened before.
        assert_eq!(last.begins, Begins::After(Position(place)), "{doubt:?}");
    }
    for (doubt, count) in of_log.into_iter().zip(2..) {
        restart(doubt);
        assert_eq!(lives().await, count, "{doubt:?}");
    }
    node.restarted(SHOP, Epoch(1), Position(1), Doubt::Overflow);
    assert_eq!(lives().await, 7, "its places are its own");
}
