//! Each safeguard of this crate taken out in turn: the promise must break where a test looks.
//!
//! One test, because the switch is of the whole process.

#![cfg(feature = "mutants")]
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the place is shared with the other test binary")]

#[path = "it/place.rs"]
mod place;

use larder_core::{
    Change, Dependency, Digest, Epoch, Invalidation, Mode, Position,
    claim::Fence,
    safeguard::Safeguard,
    store::{Begins, Follows, Judgement, NewRecord, SchemesKnown, Step, Store as _},
};
use larder_sqlite::{
    Track, outbox,
    store::{Lifetime, NewEntry, SqliteStore, Stored},
};
use rusqlite::Connection;

use crate::place::{Place, World, query, track_rows, writer};

const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT UNIQUE, grp INTEGER);
    INSERT INTO t VALUES (1, 'one', 5), (2, 'two', 5), (3, 'three', 6);";
const ASK: &str = "SELECT id, code FROM t WHERE grp = 5 ORDER BY id";

/// Whether an answer that a change has made wrong is still called valid afterwards.
fn serves_stale(track: Track, journal: &str, change: impl Fn(&std::path::Path, &Place)) -> bool {
    let place = Place::new();
    let path = place.database("a.db", journal, SCHEMA);
    if track == Track::Rows {
        track_rows(&path, &[ASK]);
    }
    let world = World::open(&path, track);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    let answer = world.load(&ask).unwrap();
    assert!(world.is_valid(&answer));
    change(&path, &place);
    let fresh = Connection::open(&path).unwrap();
    let mut now = fresh.prepare(ASK).unwrap();
    let now = now.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    let now: Vec<_> = now.unwrap().map(Result::unwrap).collect();
    let then: Vec<_> = answer.rows.rows.iter().map(|row| format!("{row:?}")).collect();
    let now: Vec<_> = now.iter().map(|(id, code)| format!("[{id}, {code:?}]")).collect();
    assert_ne!(then, now, "the change must matter");
    world.is_valid(&answer)
}

fn displace(path: &std::path::Path, _: &Place) {
    writer(path).execute("REPLACE INTO t VALUES (8, 'one', 9)", []).unwrap();
}

fn rebuild(path: &std::path::Path, _: &Place) {
    writer(path)
        .execute_batch(
            "CREATE TABLE new(id INTEGER PRIMARY KEY, code TEXT UNIQUE, grp INTEGER); \
             INSERT INTO new SELECT * FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t",
        )
        .unwrap();
}

fn replace_file(path: &std::path::Path, place: &Place) {
    let other = place.database("other", "delete", SCHEMA);
    writer(&other).execute("UPDATE t SET code = 'x' WHERE id = 1", []).unwrap();
    for side in ["a.db-wal", "a.db-shm"] {
        std::fs::remove_file(place.path(side)).ok();
    }
    std::fs::rename(&other, path).unwrap();
}

fn update(path: &std::path::Path, _: &Place) {
    writer(path).execute("UPDATE t SET code = 'x' WHERE id = 1", []).unwrap();
}

/// A rebuilt table whose next change is after the feed has looked.
fn rebuilt_then_changed() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    rebuild(&path, &place);
    world.catch_up().unwrap();
    let answer = world.load(&ask).unwrap();
    update(&path, &place);
    world.is_valid(&answer)
}

/// A change under the number of another that a load saw and that was deleted from the log.
fn number_used_again() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    let application = writer(&path);
    application.execute_batch("DROP TRIGGER larder_cut").unwrap();
    world.catch_up().unwrap();
    update(&path, &place);
    let answer = world.load(&ask).unwrap();
    application
        .execute_batch("DELETE FROM larder_log; UPDATE t SET code = 'y' WHERE id = 1")
        .unwrap();
    world.is_valid(&answer)
}

/// A change between the load's snapshot and the moment when it reads its stamp.
fn changed_during_the_load() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    let statement = world.prepare(ASK, &[]);
    let ask = query(&statement, vec![]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = writer(&path);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                other.execute("UPDATE t SET code = abs(random()) WHERE id = 1", []).unwrap();
                std::thread::yield_now();
            }
        });
        let check = Connection::open(&path).unwrap();
        // The gap is a few microseconds wide: without the safeguard it is found within thousands of
        // loads, on a busy machine later.
        let tries = if Safeguard::AsOfInsideTransaction.is_off() { 500_000 } else { 3_000 };
        let stale = (0..tries).any(|_| {
            let answer = world.load(&ask).unwrap();
            let now: String =
                check.query_row("SELECT code FROM t WHERE id = 1", [], |row| row.get(0)).unwrap();
            // What differed after the load has changed since the load, and is known by now.
            world.is_valid(&answer) && answer.rows.rows[0][1] != larder_core::Value::from(now)
        });
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        stale
    })
}

/// A record that was committed before the schema moved, and of which the node is told nothing.
fn record_passed_over() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    let mut invalidation = Invalidation::new(Mode::Hard);
    invalidation.extend([Dependency::tag("front")]);
    let application = writer(&path);
    for record in outbox::records(&invalidation).unwrap() {
        application.execute(outbox::INSERT, [record.bytes()]).unwrap();
    }
    application.execute_batch("CREATE TABLE other(a)").unwrap();
    world.catch_up().unwrap();
    world.ledger.records().is_empty()
}

/// An entry that is removed after the source was read for it and before it is written.
fn removed_while_it_was_computed() -> bool {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(place.path("cache.db")).await.unwrap();
        let entries = store.entries("r");
        let begun = entries.begin("a").await.unwrap();
        entries.remove("a").await.unwrap();
        begun.finish(NewEntry::new(Stored::text("old"), Lifetime::Forever)).await.unwrap();
        entries.contains("a").await.unwrap()
    })
}

/// A log that went back while nobody watched, and grew again to where it had been left.
fn grown_again() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    update(&path, &place);
    world.catch_up().unwrap();
    let mut answer = world.load(&ask).unwrap();
    let left = world.leave();
    answer.stamp.as_of = left.position;
    // The same number under another nonce is another line: of a change that nobody was told of.
    let application = writer(&path);
    application
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .unwrap();
    application
        .execute_batch(
            "UPDATE t SET code = 'y' WHERE id = 1;
             UPDATE larder_log SET nonce = nonce + 1",
        )
        .unwrap();
    World::resumed(&path, Track::Rows, &left).is_valid(&answer)
}

/// An entry that chooses rows by a column of which whoever brings a change has never heard.
fn change_of_a_row_nobody_told_of() -> bool {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(place.path("cache.db")).await.unwrap();
        let attached = store.attach(&["shop".into()], Follows::Places).unwrap().unwrap();
        let step = |begins, to, tables| Step {
            timeline: "shop".into(),
            epoch: Epoch(1),
            begins,
            position: Position(to),
            digests: Vec::new(),
            tables,
            schemes: SchemesKnown { epoch: attached.cursor.epoch, count: 0 },
            everything: false,
            mark: None,
            announced: None,
        };
        let bring = async |step| {
            let applied = attached.tracked.apply(vec![step], std::sync::Arc::new(|_| true));
            assert_eq!(applied.await.unwrap().refused, []);
        };
        bring(step(Begins::Anew(None), 5, Vec::new())).await;
        let record = NewRecord {
            bytes: vec![1],
            until: None,
            digests: vec![Digest(7)],
            schemes: vec![Dependency::scope("shop", "t", [("grp", 5)]).scheme().unwrap()],
            judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
            fence: Fence::Open,
        };
        attached.tracked.put("r", b"key", record).await.unwrap();
        bring(step(Begins::After(Position(5)), 6, vec![Digest(7)])).await;
        attached.tracked.get("r", b"key").await.unwrap().is_some()
    })
}

/// An ignored insert, after which the row that was in its way is told as one that has gone.
fn told_as_gone() -> bool {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    world.catch_up().unwrap();
    writer(&path).execute("INSERT OR IGNORE INTO t VALUES (8, 'one', 9)", []).unwrap();
    world.catch_up().unwrap();
    world.ledger.changes().iter().any(|change| matches!(change, Change::Row(_)))
}

#[test]
fn each_safeguard_that_is_taken_out_is_missed() {
    type Violation = (&'static str, Safeguard, fn() -> bool);
    let violations: [Violation; 14] = [
        ("displaced", Safeguard::DisplacedRowTrigger, || {
            serves_stale(Track::Rows, "wal", displace)
        }),
        ("ignored", Safeguard::DisplacedMayStay, told_as_gone),
        ("rebuilt", Safeguard::TriggersVerified, rebuilt_then_changed),
        ("used again", Safeguard::TriggersVerified, number_used_again),
        ("replaced, wal", Safeguard::InodeCompared, || {
            serves_stale(Track::Database, "wal", replace_file)
        }),
        ("replaced, delete", Safeguard::InodeCompared, || {
            serves_stale(Track::Database, "delete", replace_file)
        }),
        ("changed, wal", Safeguard::DataVersionRead, || {
            serves_stale(Track::Database, "wal", update)
        }),
        ("changed, delete", Safeguard::DataVersionRead, || {
            serves_stale(Track::Database, "delete", update)
        }),
        ("changed, rows", Safeguard::DataVersionRead, || serves_stale(Track::Rows, "wal", update)),
        ("grown again", Safeguard::NonceCompared, grown_again),
        ("record", Safeguard::RecordsReadOnRestart, record_passed_over),
        ("fence", Safeguard::FenceCompared, removed_while_it_was_computed),
        ("schemes", Safeguard::SchemesCompared, change_of_a_row_nobody_told_of),
        ("stamp", Safeguard::AsOfInsideTransaction, changed_during_the_load),
    ];
    for (name, safeguard, violated) in violations {
        assert!(!violated(), "{name}: violated with every safeguard in place");
        safeguard.take_out();
        let missed = violated();
        Safeguard::restore_all();
        assert!(missed, "{name}: nobody would notice that {safeguard:?} is gone");
    }
}
