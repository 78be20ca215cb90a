//! What can be invalidated, when one of the files is not where the others are.
//!
//! **Invariant** under test: what a file shows is right up to where it says that it stands; a file
//! that was left behind is brought along, and one from another moment ends all that it had.
//!
//! A file is left behind by a lock on it: to the others it is as if the process had been killed
//! between them.

use std::{fs, sync::Arc, time::Duration};

use larder_core::{
    Dependency, Digest, Epoch, Mode, Position,
    announcement::{Announced, Cursor},
    claim::Fence,
    store::{
        Attached, Begins, Follows, FoundRecord, Judgement, NewRecord, SchemesKnown, Standing, Step,
        Store, Written,
    },
    timeline::APP,
};
use larder_sqlite::store::SqliteStore;
use rusqlite::Connection;

use crate::place::{Place, run};

/// Records of a test: some in each file.
const RECORDS: u64 = 30;

/// What reaches each of them.
const TABLE: Digest = Digest(1000);

async fn open(place: &Place) -> SqliteStore {
    place.open_with(place.options().busy_timeout(Duration::from_millis(20))).await
}

fn attach(store: &SqliteStore) -> Attached {
    store.attach(&["shop".into()], Follows::Places).unwrap().unwrap()
}

fn record(number: u64) -> NewRecord {
    NewRecord {
        bytes: vec![1],
        until: None,
        digests: vec![Digest(number), TABLE],
        schemes: Vec::new(),
        judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
        fence: Fence::Open,
    }
}

async fn fill(cache: &Attached) {
    for number in 0..RECORDS {
        let written = cache.tracked.put("r", &number.to_le_bytes(), record(number)).await.unwrap();
        assert_eq!(written, Written::Kept);
    }
}

/// Those that are there, by their numbers.
async fn found(cache: &Attached) -> Vec<(u64, FoundRecord)> {
    let mut all = Vec::new();
    for number in 0..RECORDS {
        let record = cache.tracked.get("r", &number.to_le_bytes()).await.unwrap();
        all.extend(record.map(|record| (number, record)));
    }
    all
}

fn on<'a>(record: &'a FoundRecord, timeline: &str) -> Option<&'a Standing> {
    record.standings.iter().find(|own| *own.timeline == *timeline)
}

/// Whether a record counts that was stamped with this.
fn counts(record: &FoundRecord, timeline: &str, epoch: Epoch, as_of: Position) -> bool {
    on(record, timeline)
        .is_some_and(|own| own.epoch == epoch && own.floor <= as_of && as_of <= own.position)
}

/// How many of all count that were stamped with `stamp` on `app`.
async fn counted(cache: &Attached, stamp: Cursor) -> usize {
    let counts =
        |(_, record): &(u64, FoundRecord)| counts(record, APP, stamp.epoch, stamp.position);
    found(cache).await.iter().filter(|one| counts(one)).count()
}

fn announced(position: u64, digests: impl IntoIterator<Item = u64>) -> Step {
    Step {
        timeline: APP.into(),
        epoch: Epoch(0),
        begins: Begins::After(Position(position - 1)),
        position: Position(position),
        digests: digests.into_iter().map(Digest).collect(),
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: None,
        announced: Some(Announced {
            mode: Mode::Hard,
            tables: Vec::new(),
            schemes: 0,
            epoch: Epoch(0),
            what: "something".into(),
        }),
    }
}

/// A step of the origin in the life `epoch`, whose places are their own marks.
fn told(epoch: u64, begins: Begins, to: u8, digest: u64) -> Step {
    Step {
        timeline: "shop".into(),
        epoch: Epoch(epoch),
        begins,
        position: Position(to.into()),
        digests: vec![Digest(digest)],
        mark: Some(vec![to]),
        announced: None,
        ..announced(1, [])
    }
}

fn after(epoch: u64, from: u64, to: u8) -> Step {
    told(epoch, Begins::After(Position(from)), to, u64::MAX)
}

/// Brings a step of somebody who has come by all places.
async fn apply(cache: &Attached, step: Step) -> Option<Cursor> {
    let applied = cache.tracked.apply(vec![step], Arc::new(|_| true)).await.unwrap();
    assert_eq!(applied.refused, []);
    applied.place
}

/// Keeps everybody from writing into a file of the store.
fn lock(place: &Place, name: &str) -> Connection {
    let connection = Connection::open(place.beside(name)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// Copies files from or to the side, while nobody has the store open.
fn copy(place: &Place, names: &[&str], to: impl Fn(&str) -> (String, String)) {
    for name in names {
        let (from, to) = to(name);
        fs::copy(place.beside(&from), place.beside(&to)).unwrap();
        if !to.ends_with("witness") {
            let _ = fs::remove_file(place.beside(&format!("{to}-wal")));
        }
    }
}

fn put_aside(place: &Place, names: &[&str]) {
    copy(place, names, |name| (name.into(), format!("aside-{name}")));
}

fn put_back(place: &Place, names: &[&str]) {
    copy(place, names, |name| (format!("aside-{name}"), name.into()));
}

#[test]
fn what_one_file_has_heard_and_another_not_is_in_none_once_it_is_brought_along() {
    run(async {
        // By whoever attaches, whoever announces next, and whoever writes there.
        for way in 0..3 {
            let place = Place::new();
            let store = open(&place).await;
            let one = attach(&store);
            fill(&one).await;
            let locked = lock(&place, "cache.db-2of3");
            let even = (0..RECORDS).filter(|number| number % 2 == 0);
            let at = apply(&one, announced(1, even)).await.unwrap();
            drop(locked);
            let left = found(&one).await;
            let even: Vec<_> = left.iter().filter(|(number, _)| number % 2 == 0).collect();
            assert!((1..15).contains(&even.len()), "{way}: {}", even.len());
            // Whoever reads it is told that it stands before.
            let is_before = |record: &FoundRecord| on(record, APP).unwrap().position < at.position;
            assert!(even.iter().all(|(_, record)| is_before(record)), "{way}");
            match way {
                0 => drop(attach(&store)),
                1 => drop(apply(&one, announced(2, [])).await),
                _ => {
                    let number = even[0].0;
                    let judge = move |standings: &[Standing]| {
                        let own = standings.iter().find(|own| *own.timeline == *APP).unwrap();
                        assert!(at.position <= own.position);
                        Judgement::Wrong
                    };
                    let record = NewRecord { judge: Box::new(judge), ..record(number) };
                    let key = number.to_le_bytes();
                    let written = one.tracked.put("r", &key, record).await.unwrap();
                    assert_eq!(written, Written::NotRight);
                }
            }
            let now = found(&one).await;
            assert!(now.iter().all(|(number, _)| number % 2 == 1), "{way}");
            assert_eq!(now.len(), 15, "{way}: what was not touched is left");
            assert_eq!(counted(&one, one.cursor).await, 15, "{way}: and counts");
        }
    });
}

#[test]
fn a_file_that_cannot_be_written_keeps_nobody_from_attaching() {
    run(async {
        let place = Place::new();
        let store = open(&place).await;
        let one = attach(&store);
        fill(&one).await;
        let locked = lock(&place, "cache.db-2of3");
        apply(&one, announced(1, 0..RECORDS)).await.unwrap();
        let later = attach(&store);
        let all = found(&later).await;
        assert!(!all.is_empty());
        // What it shows is of before that cache knows anything, so it is a miss.
        let is_before = |(_, record): &(u64, FoundRecord)| {
            on(record, APP).unwrap().position < later.cursor.position
        };
        assert!(all.iter().all(is_before));
        drop(locked);
        apply(&later, announced(1, [])).await;
        assert!(found(&later).await.is_empty());
    });
}

#[test]
fn more_than_the_line_keeps_leaves_nothing_in_a_file_that_was_left_behind() {
    run(async {
        let place = Place::new();
        let store = open(&place).await;
        let one = attach(&store);
        fill(&one).await;
        let locked = lock(&place, "cache.db-3of3");
        let many = (1..=5000).map(|number| announced(number, [])).collect();
        one.tracked.apply(many, Arc::new(|_| true)).await.unwrap();
        drop(locked);
        let before = counted(&one, one.cursor).await;
        assert_eq!(before as u64, RECORDS);
        let later = attach(&store);
        let now = counted(&later, one.cursor).await;
        assert!((1..before).contains(&now), "{now}");
    });
}

#[test]
fn a_file_that_was_copied_back_ends_what_it_has_and_the_others_keep_theirs() {
    // J5.
    run(async {
        let place = Place::new();
        let names = ["cache.db-2of3"];
        let stamp = {
            let store = open(&place).await;
            let one = attach(&store);
            fill(&one).await;
            one.cursor
        };
        put_aside(&place, &names);
        let some = {
            let store = open(&place).await;
            apply(&attach(&store), announced(1, [0, 1, 2])).await;
            // In the life of the line, and nobody has heard of it but for the witness.
            found(&attach(&store)).await.len()
        };
        assert_eq!(some as u64, RECORDS - 3);
        put_back(&place, &names);
        let store = open(&place).await;
        let one = attach(&store);
        assert_eq!(one.cursor.epoch, stamp.epoch, "the line goes on");
        let all = found(&one).await;
        let count = counted(&one, stamp).await;
        assert!((1..all.len()).contains(&count), "{count} of {}", all.len());
        // None of those that count is in the file.
        let connection = Connection::open(place.beside(names[0])).unwrap();
        let has = |number: u64| -> bool {
            let sql = "SELECT EXISTS(SELECT 1 FROM entry WHERE key = ?1)";
            connection.query_row(sql, [number.to_le_bytes()], |row| row.get(0)).unwrap()
        };
        for (number, record) in &all {
            let is_right = counts(record, APP, stamp.epoch, stamp.position);
            assert_eq!(is_right, !has(*number), "{number}");
        }
        drop(connection);
        // And it can be written again.
        fill(&one).await;
        assert_eq!(counted(&one, one.cursor).await as u64, RECORDS);
    });
}

#[test]
fn a_line_that_went_back_unnoticed_is_contradicted_by_the_other_files() {
    run(async {
        let place = Place::new();
        let names = ["cache.db", "cache.db-witness"];
        let stamp = {
            let store = open(&place).await;
            let one = attach(&store);
            fill(&one).await;
            one.cursor
        };
        put_aside(&place, &names);
        apply(&attach(&open(&place).await), announced(1, [0])).await;
        put_back(&place, &names);
        let one = attach(&open(&place).await);
        assert_ne!(one.cursor.epoch, stamp.epoch);
        assert_eq!(counted(&one, stamp).await, 0);
    });
}

#[test]
fn a_line_that_went_back_and_on_another_way_is_contradicted_too() {
    run(async {
        let others = ["cache.db-2of3", "cache.db-3of3"];
        let others = others.map(|name| [name.to_owned(), format!("{name}-witness")]);
        let others: Vec<&str> = others.iter().flatten().map(String::as_str).collect();
        let all = [&["cache.db", "cache.db-witness"], &*others].concat();
        // It stands at the same place, and beyond.
        for often in [1, 2] {
            let place = Place::new();
            let stamp = {
                let store = open(&place).await;
                let one = attach(&store);
                fill(&one).await;
                one.cursor
            };
            put_aside(&place, &all);
            apply(&attach(&open(&place).await), announced(1, [0])).await;
            copy(&place, &others, |name| (name.into(), format!("later-{name}")));
            put_back(&place, &all);
            for _ in 0..often {
                apply(&attach(&open(&place).await), announced(1, [1])).await;
            }
            copy(&place, &others, |name| (format!("later-{name}"), name.into()));
            let one = attach(&open(&place).await);
            assert_ne!(one.cursor.epoch, stamp.epoch, "{often}");
            assert_eq!(counted(&one, stamp).await, 0, "{often}");
        }
    });
}

#[test]
fn a_feed_goes_on_from_where_the_last_of_the_files_stands() {
    run(async {
        let place = Place::new();
        let store = open(&place).await;
        let one = attach(&store);
        apply(&one, told(7, Begins::Anew(None), 5, 0)).await;
        fill(&one).await;
        let locked = lock(&place, "cache.db-2of3");
        apply(&one, told(7, Begins::After(Position(5)), 9, 3)).await;
        drop(locked);
        let stands = |cache: &Attached| {
            let own = &cache.standings[0];
            (own.epoch.0, own.position.0, own.mark.clone())
        };
        let later = attach(&store);
        assert_eq!(stands(&later), (7, 5, Some(vec![5])));
        // Who counts for himself does not count twice alike.
        let alone = store.attach(&["shop".into()], Follows::Positions).unwrap().unwrap();
        assert_eq!(stands(&alone), (7, 9, None));
        drop(alone);
        // Told again it is applied where it was not, and done elsewhere.
        apply(&later, told(7, Begins::After(Position(5)), 9, 3)).await;
        let all = found(&later).await;
        assert_eq!(all.len() as u64, RECORDS - 1);
        assert!(all.iter().all(|(number, record)| {
            *number != 3
                && counts(record, "shop", Epoch(7), Position(5))
                && on(record, "shop").unwrap().position == Position(9)
        }));
        assert_eq!(stands(&attach(&store)), (7, 9, Some(vec![9])));
        // Not told again it is a gap, over which the file does not look back.
        let locked = lock(&place, "cache.db-3of3");
        apply(&later, after(7, 9, 12)).await;
        drop(locked);
        apply(&later, after(7, 12, 14)).await;
        let all = found(&later).await;
        let right =
            |(_, record): &&(u64, FoundRecord)| counts(record, "shop", Epoch(7), Position(9));
        let count = all.iter().filter(right).count();
        assert!((1..all.len()).contains(&count), "{count} of {}", all.len());
    });
}

#[test]
fn a_life_that_did_not_come_to_all_files_does_so_with_the_next_step() {
    run(async {
        let place = Place::new();
        let store = open(&place).await;
        let one = attach(&store);
        apply(&one, told(7, Begins::Anew(None), 5, 0)).await;
        fill(&one).await;
        let locked = lock(&place, "cache.db-2of3");
        apply(&one, told(8, Begins::Anew(Some(Epoch(7))), 6, 0)).await;
        drop(locked);
        let is_in = |epoch| {
            move |(_, record): &(u64, FoundRecord)| {
                on(record, "shop").unwrap().epoch == Epoch(epoch)
            }
        };
        let all = found(&one).await;
        assert!(all.iter().any(is_in(7)) && all.iter().any(is_in(8)));
        apply(&one, after(8, 6, 9)).await;
        let all = found(&one).await;
        assert!(all.iter().all(is_in(8)));
        assert!(!all.iter().any(|(_, one)| counts(one, "shop", Epoch(7), Position(5))));
        // A step of the life before is refused, and nowhere carried out.
        let late = vec![after(7, 5, 20)];
        let applied = one.tracked.apply(late, Arc::new(|_| true)).await.unwrap();
        assert_eq!(applied.refused[0].epoch, Epoch(8));
        assert!(found(&one).await.iter().all(is_in(8)));
    });
}

#[test]
fn a_file_is_not_put_back_into_a_life_of_which_it_has_entries() {
    run(async {
        let place = Place::new();
        let names = ["cache.db"];
        let stamp = {
            let store = open(&place).await;
            let one = attach(&store);
            apply(&one, told(7, Begins::Anew(None), 20, 0)).await;
            one.cursor
        };
        put_aside(&place, &names);
        {
            let store = open(&place).await;
            let one = attach(&store);
            apply(&one, after(7, 20, 25)).await;
            // As of 25, in the life 7.
            fill(&one).await;
            apply(&one, told(8, Begins::Anew(Some(Epoch(7))), 26, 0)).await;
        }
        // A failure of power has taken the last commits from the first file: none was durable.
        put_back(&place, &names);
        let store = open(&place).await;
        let one = attach(&store);
        assert_eq!((one.cursor, one.standings[0].epoch), (stamp, Epoch(7)));
        apply(&one, after(7, 20, 22)).await;
        apply(&one, after(7, 22, 30)).await;
        let all = found(&one).await;
        assert!(!all.is_empty());
        for (number, record) in all {
            assert_eq!(on(&record, "shop").unwrap().epoch, Epoch(7));
            let on_shop = counts(&record, "shop", Epoch(7), Position(25));
            let on_app = counts(&record, APP, stamp.epoch, stamp.position);
            assert!(!(on_shop && on_app), "{number}");
        }
    });
}

#[test]
fn whoever_knows_all_schemes_of_the_first_file_knows_those_of_all() {
    run(async {
        let place = Place::new();
        let store = open(&place).await;
        let one = attach(&store);
        let scheme = |number: u64| {
            let column = format!("column{}", number % 5);
            Dependency::scope("app", "Book", [(column, 1)]).scheme().unwrap()
        };
        let fill = async || {
            for number in 0..RECORDS {
                let record = NewRecord { schemes: vec![scheme(number)], ..record(number) };
                one.tracked.put("r", &number.to_le_bytes(), record).await.unwrap();
            }
        };
        fill().await;
        let epoch = one.cursor.epoch;
        assert_eq!(attach(&store).schemes.len(), 5);
        for (schemes, left) in [(5, RECORDS), (4, 0)] {
            fill().await;
            let (mode, what, tables) = (Mode::Hard, "a row".into(), vec![TABLE]);
            let announced = Some(Announced { mode, tables, schemes, epoch, what });
            apply(&one, Step { announced, ..self::announced(1, []) }).await;
            assert_eq!(found(&one).await.len() as u64, left, "{schemes}");
        }
    });
}
