//! Announcements: what caches tell each other through the file.

use std::sync::Arc;

use larder_core::{
    Dependency, Digest, Epoch, Mode, Position,
    announcement::{Announced, Announcement, Cursor, News},
    claim::Fence,
    store::{
        Attached, Begins, Follows, Judgement, NewRecord, SchemesKnown, Step, Store, TrackedStore,
        Written,
    },
};
use larder_sqlite::store::SqliteStore;

use crate::place::{Place, run};

/// Announcements that the line keeps.
const KEPT: u64 = 4096;

/// A step that an author announces, at `position` of its own.
fn announced(position: u64, digest: u64) -> Step {
    Step {
        timeline: "app".into(),
        epoch: Epoch(0),
        begins: Begins::After(Position(position - 1)),
        position: Position(position),
        digests: vec![Digest(digest)],
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: None,
        announced: Some(Announced {
            mode: Mode::Soft,
            tables: Vec::new(),
            schemes: 0,
            epoch: Epoch(0),
            what: "something".into(),
        }),
    }
}

async fn attach(store: &SqliteStore) -> Attached {
    store.attach(&[], Follows::Places).unwrap().unwrap()
}

async fn apply(tracked: &Arc<dyn TrackedStore>, steps: Vec<Step>) -> Cursor {
    tracked.apply(steps, Arc::new(|_| true)).await.unwrap().place.unwrap()
}

async fn news(attached: &Attached, since: Cursor) -> Option<Vec<Announcement>> {
    match attached.tracked.look(since, 0).await.unwrap().news {
        News::All(all) => Some(all),
        News::Lost => None,
    }
}

#[test]
fn what_one_announces_the_other_reads_as_it_was_said() {
    run(async {
        let place = Place::new();
        let [store, same] = [place.open().await, place.open().await];
        let [one, other] = [attach(&store).await, attach(&same).await];
        assert_ne!(one.author, other.author);
        assert_eq!(one.cursor, other.cursor);
        assert_eq!(news(&other, other.cursor).await, Some(Vec::new()));
        let first = apply(&one.tracked, vec![announced(7, 1)]).await;
        let second = apply(&other.tracked, vec![announced(3, 2)]).await;
        assert_eq!(second.position, first.position.next());
        let all = news(&other, other.cursor).await.unwrap();
        let said = all.iter().map(|one| (one.cursor, one.author, one.upto.0, one.mode));
        let expected = [(first, one.author, 7, Mode::Soft), (second, other.author, 3, Mode::Soft)];
        assert_eq!(said.collect::<Vec<_>>(), expected);
        assert_eq!(all[0].digests, [Digest(1)]);
        assert_eq!(&*all[0].what, "something");
        assert_eq!(news(&other, first).await.unwrap(), all[1..]);
        assert_eq!(news(&other, second).await, Some(Vec::new()));
    });
}

#[test]
fn what_the_line_does_not_keep_or_never_said_is_lost() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let one = attach(&store).await;
        let many = (1..=KEPT + 1).map(|number| announced(number, number));
        apply(&one.tracked, many.collect()).await;
        // One more than are kept.
        assert_eq!(news(&one, one.cursor).await, None);
        let later = attach(&store).await;
        let many = (1..=KEPT).map(|number| announced(number, number));
        apply(&one.tracked, many.collect()).await;
        // As many as are kept; with the number that stands before them gone.
        assert_eq!(news(&later, later.cursor).await.map(|all| all.len() as u64), Some(KEPT));
        let last = apply(&one.tracked, vec![announced(1, 1)]).await;
        assert_eq!(news(&later, later.cursor).await, None);
        // Beyond the end, of another life, and with another number at the same place.
        let beyond = Cursor { position: last.position.next(), ..last };
        let strange = Cursor { nonce: last.nonce ^ 1, ..last };
        let elsewhere = Cursor { epoch: Epoch(last.epoch.0 ^ 1), ..last };
        for cursor in [beyond, strange, elsewhere] {
            assert_eq!(news(&one, cursor).await, None, "{cursor:?}");
        }
        assert_eq!(news(&one, last).await, Some(Vec::new()));
    });
}

#[test]
fn an_announcement_of_too_much_says_everything() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store).await, attach(&store).await];
        let digests: Vec<Digest> = (0..2000).map(Digest).collect();
        apply(&one.tracked, vec![Step { digests, ..announced(1, 1) }]).await;
        let all = news(&other, other.cursor).await.unwrap();
        assert!(all[0].everything && all[0].digests.is_empty());
    });
}

#[test]
fn a_restored_store_begins_one_life_for_all() {
    // J5: nobody flips it back.
    run(async {
        let place = Place::new();
        let [store, same] = [place.open().await, place.open().await];
        let [one, other] = [attach(&store).await, attach(&same).await];
        let backup = place.beside("backup.db");
        store.backup(&backup).await.unwrap();
        let before = apply(&one.tracked, vec![announced(1, 1)]).await;
        store.restore(&backup).await.unwrap();
        let looked = other.tracked.look(before, 0).await.unwrap();
        assert_eq!(looked.news, News::Lost);
        assert_ne!(looked.cursor.epoch, before.epoch);
        // Whoever announces and whoever attaches finds that life, and so does every other file.
        let after = apply(&one.tracked, vec![announced(2, 2)]).await;
        assert_eq!(after.epoch, looked.cursor.epoch);
        assert_eq!(after.epoch, store.epoch().await.unwrap());
        let later = attach(&same).await;
        assert_eq!(later.cursor.epoch, after.epoch);
        assert_eq!(news(&later, later.cursor).await, Some(Vec::new()));
        let record = NewRecord {
            bytes: vec![1],
            until: None,
            digests: Vec::new(),
            schemes: Vec::new(),
            judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
            fence: Fence::Open,
        };
        one.tracked.put("r", b"key", record).await.unwrap();
        let found = one.tracked.get("r", b"key").await.unwrap().unwrap();
        assert_eq!(found.standings[0].epoch, after.epoch);
        let said = news(&other, looked.cursor).await.unwrap();
        assert_eq!(said.iter().filter(|said| said.author == one.author).count(), 1);
    });
}

#[test]
fn whoever_does_not_know_all_schemes_buries_whole_tables() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store).await, attach(&store).await];
        let table = Digest(10);
        let record = || NewRecord {
            bytes: vec![1],
            until: None,
            digests: vec![table],
            schemes: vec![Dependency::scope("app", "Book", [("shelf", 1)]).scheme().unwrap()],
            judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
            fence: Fence::Open,
        };
        let knows = |schemes, epoch| {
            let mut step = announced(1, 99);
            let tables = vec![table];
            let (mode, what) = (Mode::Hard, "a row".into());
            step.announced = Some(Announced { mode, tables, schemes, epoch, what });
            step
        };
        let epoch = one.cursor.epoch;
        for (step, falls) in [
            (knows(1, epoch), false),
            (knows(0, epoch), true),
            // What it knows is of another life.
            (knows(1, Epoch(epoch.0 ^ 1)), true),
        ] {
            let written = other.tracked.put("r", b"key", record()).await.unwrap();
            assert_eq!(written, Written::Kept);
            apply(&one.tracked, vec![step.clone()]).await;
            let found = other.tracked.get("r", b"key").await.unwrap();
            assert_eq!(found.is_none(), falls, "{step:?}");
        }
    });
}

#[test]
fn a_record_is_written_only_if_nothing_reaches_it_that_its_judge_has_not_heard_of() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [attach(&store).await, attach(&store).await];
        let record = |known: Position| NewRecord {
            bytes: vec![1],
            until: None,
            digests: vec![Digest(1), Digest(2)],
            schemes: Vec::new(),
            judge: Box::new(move |_| Judgement::Right(known)),
            fence: Fence::Open,
        };
        let mut known = one.cursor.position;
        let cases = [(2, Written::NotRight), (3, Written::Kept)];
        for (digest, expected) in cases {
            let at = apply(&one.tracked, vec![announced(1, digest)]).await;
            let written = other.tracked.put("r", b"key", record(known)).await.unwrap();
            assert_eq!(written, expected, "others said {digest}");
            // Its author has it in its own history; whoever has heard of it, too.
            let own = one.tracked.put("r", b"key", record(known)).await.unwrap();
            assert_eq!(own, Written::Kept);
            let heard = other.tracked.put("r", b"key", record(at.position)).await.unwrap();
            assert_eq!(heard, Written::Kept);
            known = at.position;
        }
    });
}
