//! Standings: what several caches apply to what a store keeps of one origin, each for itself.

use std::sync::Arc;

use larder_core::{
    Dependency, Digest, Epoch, Position,
    claim::Fence,
    store::{
        Applied, Attached, Begins, Follows, Judgement, Knows, NewRecord, Origins, SchemesKnown,
        Standing, Step, Store, Written,
    },
};
use larder_sqlite::store::SqliteStore;

use crate::place::{Place, run};

/// A step in the life 8, to a place whose mark is `mark`.
fn step(begins: Begins, to: u64, digest: u64, mark: u8) -> Step {
    Step {
        timeline: "shop".into(),
        epoch: Epoch(8),
        begins,
        position: Position(to),
        digests: vec![Digest(digest)],
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: Some(vec![mark]),
        announced: None,
    }
}

fn after(before: u64, to: u64, digest: u64, mark: u8) -> Step {
    step(Begins::After(Position(before)), to, digest, mark)
}

fn attach(store: &SqliteStore) -> Attached {
    attach_to(store, Follows::Places)
}

fn attach_to(store: &SqliteStore, follows: Follows) -> Attached {
    store.attach(&["shop".into()], follows).unwrap().unwrap()
}

fn record(digest: u64) -> NewRecord {
    NewRecord {
        bytes: vec![1],
        until: None,
        digests: vec![Digest(digest)],
        schemes: Vec::new(),
        judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
        fence: Fence::Open,
    }
}

/// Brings a step of somebody who has come by the places with these marks.
async fn bring(cache: &Attached, step: Step, marks: &'static [u8]) -> Vec<Standing> {
    let is_passed = |mark: &[u8]| matches!(mark, [one] if marks.contains(one));
    let knows: Knows = Arc::new(move |own| own.mark.as_deref().is_some_and(is_passed));
    let Applied { place, refused } = cache.tracked.apply(vec![step], knows).await.unwrap();
    assert_eq!(place, None);
    refused
}

/// Where the store stands: life, position, floor and mark.
async fn stands(cache: &Attached) -> (u64, u64, u64, u8) {
    put(cache, "any", 0).await;
    let found = cache.tracked.get("r", b"any").await.unwrap().unwrap();
    let own = found.standings.iter().find(|own| &*own.timeline == "shop").unwrap();
    (own.epoch.0, own.position.0, own.floor.0, own.mark.as_ref().unwrap()[0])
}

async fn put(cache: &Attached, key: &str, digest: u64) {
    let written = cache.tracked.put("r", key.as_bytes(), record(digest)).await.unwrap();
    assert_eq!(written, Written::Kept);
}

async fn is_there(cache: &Attached, key: &str) -> bool {
    cache.tracked.get("r", key.as_bytes()).await.unwrap().is_some()
}

#[test]
fn two_that_bring_the_same_move_a_standing_once_and_none_of_them_back() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store), attach(&store)];
        assert_eq!(bring(&one, step(Begins::Anew(None), 5, 0, 5), &[]).await, []);
        assert_eq!(stands(&one).await, (8, 5, 5, 5));
        assert_eq!(bring(&one, after(5, 9, 1, 9), &[5]).await, []);
        // The slower one brings the same, and less, and what it brings beyond is applied.
        assert_eq!(bring(&other, after(5, 9, 1, 9), &[5]).await, []);
        assert_eq!(bring(&other, after(5, 7, 1, 7), &[5]).await, []);
        assert_eq!(stands(&other).await, (8, 9, 5, 9));
        put(&one, "a", 2).await;
        put(&one, "b", 3).await;
        assert_eq!(bring(&other, after(7, 12, 2, 12), &[7, 9]).await, []);
        assert_eq!(stands(&other).await, (8, 12, 5, 12));
        assert!(!is_there(&one, "a").await && is_there(&one, "b").await);
        // Over what it has missed nobody looks back.
        assert_eq!(bring(&one, after(13, 14, 0, 14), &[12]).await, []);
        assert_eq!(stands(&one).await, (8, 14, 14, 14));
    });
}

#[test]
fn nobody_moves_a_standing_that_is_not_on_the_log_which_he_follows() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store), attach(&store)];
        bring(&one, step(Begins::Anew(None), 5, 0, 5), &[]).await;
        bring(&one, after(5, 9, 0, 9), &[5]).await;
        // It has been at 5 in the same log; the 9 that it came by is another one.
        let refused = bring(&other, after(5, 12, 0, 112), &[5, 109]).await;
        assert_eq!(refused[0].mark, Some(vec![9]));
        assert_eq!(stands(&one).await, (8, 9, 5, 9));
        // Also over a gap: the place would have two meanings in one life.
        assert_eq!(bring(&other, after(11, 12, 0, 112), &[5, 109]).await.len(), 1);
        // What a record needs is refused in the same place.
        let judge = Box::new(|standings: &[Standing]| {
            let own = standings.iter().find(|own| &*own.timeline == "shop").unwrap();
            assert_eq!(own.mark, Some(vec![9]));
            Judgement::Wrong
        });
        let record = NewRecord { judge, ..record(1) };
        let written = other.tracked.put("r", b"key", record).await.unwrap();
        assert_eq!(written, Written::NotRight);
    });
}

#[test]
fn of_two_that_begin_a_life_the_second_is_told_of_the_first() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store), attach(&store)];
        let life = |epoch, instead: Option<u64>, to| {
            let begins = Begins::Anew(instead.map(Epoch));
            Step { epoch: Epoch(epoch), ..step(begins, to, 0, 1) }
        };
        assert_eq!(bring(&one, life(1, None, 5), &[]).await, []);
        let refused = bring(&other, life(2, None, 6), &[]).await;
        assert_eq!((refused[0].epoch, refused[0].position), (Epoch(1), Position(5)));
        // From a life that both were in.
        assert_eq!(bring(&one, life(3, Some(1), 7), &[]).await, []);
        assert_eq!(bring(&other, life(4, Some(1), 8), &[]).await.len(), 1);
        assert_eq!(stands(&one).await, (3, 7, 7, 1));
        // A step of the old life does not revive it.
        let late = Step { epoch: Epoch(1), ..after(5, 9, 0, 9) };
        assert_eq!(bring(&other, late, &[1]).await.len(), 1);
        assert_eq!(stands(&one).await, (3, 7, 7, 1));
        // Where the answer was lost, the same is said again; others may have gone on.
        assert_eq!(bring(&one, life(3, Some(1), 7), &[]).await, []);
        let on = Step { epoch: Epoch(3), ..after(7, 8, 0, 1) };
        assert_eq!(bring(&other, on, &[1]).await, []);
        assert_eq!(bring(&one, life(3, Some(1), 7), &[]).await, []);
        assert_eq!(stands(&one).await, (3, 8, 7, 1));
        assert_eq!(bring(&other, life(5, Some(3), 9), &[]).await, []);
        assert_eq!(stands(&one).await, (5, 9, 9, 1));
    });
}

#[test]
fn in_a_store_that_was_restored_nobody_goes_on_in_an_old_life() {
    // J5.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let one = attach(&store);
        bring(&one, step(Begins::Anew(None), 5, 0, 5), &[]).await;
        let backup = place.beside("backup.db");
        store.backup(&backup).await.unwrap();
        store.restore(&backup).await.unwrap();
        let later = attach(&store);
        assert_eq!(later.standings, []);
        let refused = bring(&one, after(5, 9, 0, 9), &[5]).await;
        assert_eq!((refused[0].epoch, &refused[0].mark), (Epoch::VOID, &None));
        let begun = Step { epoch: Epoch(9), ..step(Begins::Anew(Some(Epoch(8))), 9, 0, 9) };
        assert_eq!(bring(&one, begun, &[]).await, []);
        assert_eq!(stands(&later).await, (9, 9, 9, 9));
    });
}

#[test]
fn whoever_does_not_know_all_schemes_buries_whole_tables_of_an_origin_too() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store), attach(&store)];
        let (table, line) = (Digest(10), one.cursor.epoch);
        bring(&one, step(Begins::Anew(None), 5, 0, 5), &[]).await;
        let cases = [(line, 1, false), (line, 0, true), (Epoch(line.0 ^ 1), 1, true)];
        for (number, (epoch, count, falls)) in (5..).zip(cases) {
            let scheme = Dependency::scope("shop", "Book", [("shelf", 1)]).scheme().unwrap();
            let record = NewRecord { schemes: vec![scheme], ..record(table.0) };
            other.tracked.put("r", b"key", record).await.unwrap();
            let schemes = SchemesKnown { epoch, count };
            let step = after(number, number + 1, 99, 5);
            let refused = bring(&one, Step { tables: vec![table], schemes, ..step }, &[5]).await;
            assert_eq!(refused, []);
            assert_eq!(is_there(&other, "key").await, !falls, "{schemes:?}");
        }
    });
}

#[test]
fn what_cannot_be_shared_one_cache_keeps_until_it_is_gone() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let sharing = attach(&store);
        assert_eq!(sharing.origins, Origins::NotKept);
        // Whoever shares what it follows is in nobody's way.
        let one = attach_to(&store, Follows::Positions);
        assert_eq!(one.origins, Origins::Kept);
        bring(&one, step(Begins::Anew(None), 5, 0, 5), &[]).await;
        let other = attach_to(&store, Follows::Positions);
        assert_eq!(other.origins, Origins::NotKept);
        assert_eq!(other.standings[0].epoch, Epoch(8), "what can be, goes on there too");
        drop(one);
        assert_eq!(attach_to(&store, Follows::Positions).origins, Origins::Kept);
    });
}
