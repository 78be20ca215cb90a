//! `database` mode in both journals.

use larder_core::{Change, Dependency, ErrorKind, feed::Doubt};
use larder_sqlite::{Query, Track};
use rusqlite::Connection;

use crate::place::{NAME, Place, Shell, World, query, writer};

const SCHEMA: &str = "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO item VALUES (1, 'salt'), (2, 'rice');";

const JOURNALS: [&str; 3] = ["wal", "delete", "truncate"];

fn item(world: &World) -> Query {
    query(&world.prepare("SELECT name FROM item WHERE id = 1", &[]), vec![])
}

#[test]
fn the_feed_begins_with_a_new_life_and_confirms_it() {
    let place = Place::new();
    for journal in JOURNALS {
        let path = place.database(journal, journal, SCHEMA);
        let world = World::open(&path, Track::Database);
        assert_eq!(world.ledger.doubts(), [Doubt::Started]);
        assert_eq!(world.ledger.confirmed(), 1);
        world.catch_up().unwrap();
        assert_eq!(world.ledger.confirmed(), 2);
        assert!(world.ledger.changes().is_empty());
    }
}

#[test]
fn a_commit_of_another_connection_touches_everything_and_nothing_else_does() {
    let place = Place::new();
    for journal in JOURNALS {
        let path = place.database(journal, journal, SCHEMA);
        let world = World::open(&path, Track::Database);
        let other = writer(&path);
        let answer = world.load(&item(&world)).unwrap();
        assert_eq!(answer.dependencies, [Dependency::everything(NAME)]);
        assert!(world.is_valid(&answer));
        other.execute_batch("BEGIN; UPDATE item SET name = 'x'; ROLLBACK").unwrap();
        assert!(world.is_valid(&answer), "{journal}: rolled back");
        for _ in 0..3 {
            let answer = world.load(&item(&world)).unwrap();
            assert!(world.is_valid(&answer));
            other.execute("UPDATE item SET name = name || '!' WHERE id = 1", []).unwrap();
            assert!(!world.is_valid(&answer), "{journal}: committed");
        }
        let answer = world.load(&item(&world)).unwrap();
        assert_eq!(answer.rows.rows, [["salt!!!".into()]]);
        assert!(world.is_valid(&answer));
    }
}

#[test]
fn a_file_replaced_by_rename_is_a_new_life_and_is_read() {
    let place = Place::new();
    for journal in JOURNALS {
        let path = place.database(journal, journal, SCHEMA);
        let other = place.database("other", "delete", SCHEMA);
        Connection::open(&other).unwrap().execute("UPDATE item SET name = 'new'", []).unwrap();
        let world = World::open(&path, Track::Database);
        let answer = world.load(&item(&world)).unwrap();
        for side in ["-wal", "-shm"] {
            std::fs::remove_file(place.path(&format!("{journal}{side}"))).ok();
        }
        std::fs::rename(&other, &path).unwrap();
        assert!(!world.is_valid(&answer));
        assert_eq!(world.ledger.doubts(), [Doubt::Started, Doubt::Replaced]);
        let answer = world.load(&item(&world)).unwrap();
        assert_eq!(answer.rows.rows, [["new".into()]]);
        assert!(world.is_valid(&answer));
        writer(&path).execute("UPDATE item SET name = 'newer'", []).unwrap();
        assert!(!world.is_valid(&answer));
    }
}

#[test]
fn a_missing_file_is_not_confirmed_until_it_is_back() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let answer = world.load(&item(&world)).unwrap();
    let away = place.path("away.db");
    std::fs::rename(&path, &away).unwrap();
    world.ledger.forget();
    assert!(world.catch_up().is_err());
    assert!(world.load(&item_without_prepare(&answer, &world)).is_err());
    assert_eq!(world.ledger.confirmed(), 0);
    std::fs::rename(&away, &path).unwrap();
    assert!(!world.is_valid(&answer), "what happened meanwhile is not known");
}

fn item_without_prepare<R>(_: &larder_core::origin::Answer<R>, world: &World) -> Query {
    // The path is gone, so the statement must have been prepared before: make one elsewhere.
    let place = Place::new();
    let path = place.database("b.db", "wal", SCHEMA);
    let elsewhere = World::open(&path, Track::Database);
    let _ = world;
    item(&elsewhere)
}

#[test]
fn a_locked_database_is_not_known_and_not_confirmed() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let Some(mut shell) = Shell::open(&path) else { return };
    let answer = world.load(&item(&world)).unwrap();
    // The cache is too small for the change, so that pages are written before the commit.
    shell.run("PRAGMA cache_size = 5; BEGIN EXCLUSIVE; UPDATE item SET name = 'x' WHERE id = 1;");
    world.ledger.forget();
    world.catch_up().unwrap();
    assert!(world.is_valid(&answer), "nothing was committed");
    shell.run("COMMIT;");
    assert!(!world.is_valid(&answer));
}

#[test]
fn a_writer_that_dies_with_its_pages_written_is_never_taken_for_a_commit() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let answer = world.load(&item(&world)).unwrap();
    // What such a writer leaves: a header that moved, beside a journal that undoes it.
    let before = std::fs::read(&path).unwrap();
    let image = place.path("image.db");
    std::fs::write(&image, &before).unwrap();
    let Some(mut shell) = Shell::open(&path) else { return };
    shell.run("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;");
    shell.run(
        "CREATE TABLE filler(a); INSERT INTO filler SELECT randomblob(3000) FROM \
        (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
        SELECT i FROM n); UPDATE item SET name = 'lost' WHERE id = 1;",
    );
    shell.kill();
    world.ledger.forget();
    let confirmed = world.catch_up();
    if confirmed.is_err() {
        assert_eq!(world.ledger.confirmed(), 0);
        let error = world.load(&item_without_prepare(&answer, &world)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    // The application comes back and repairs the file.
    let other = writer(&path);
    other.execute("UPDATE item SET name = 'found' WHERE id = 1", []).unwrap();
    assert!(!world.is_valid(&answer));
    let answer = world.load(&item(&world)).unwrap();
    assert_eq!(answer.rows.rows, [["found".into()]]);
    assert!(world.is_valid(&answer));
}

/// The interleaving that `watcher` tells, step by step.
#[test]
fn a_header_that_moved_before_its_commit_is_touched_and_not_confirmed_until_settled() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let statement = item(&world);
    let answer = world.load(&statement).unwrap();
    assert!(world.is_valid(&answer));
    let Some(mut shell) = Shell::open(&path) else { return };
    // 1. A writer holds the file and has written page 1 with its new counter.
    shell.run("BEGIN EXCLUSIVE;");
    let before = counter(&path);
    set_counter(&path, before + 1);
    // 2. The watcher sees it: touched, and nothing is confirmed.
    world.ledger.forget();
    assert_eq!(world.catch_up().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.ledger.changes().len(), 1);
    assert_eq!(world.ledger.confirmed(), 0);
    // 3. The writer dies and the header goes back.
    shell.kill();
    set_counter(&path, before);
    // 4. Another one commits and brings the counter to where it was in 2.
    let other = writer(&path);
    other.execute("UPDATE item SET name = 'other' WHERE id = 1", []).unwrap();
    assert_eq!(counter(&path), before + 1);
    assert!(!world.is_valid(&answer));
    assert_eq!(world.ledger.confirmed(), 1);
    let answer = world.load(&statement).unwrap();
    assert_eq!(answer.rows.rows, [["other".into()]]);
    assert!(world.is_valid(&answer));
    other.execute("UPDATE item SET name = 'more' WHERE id = 1", []).unwrap();
    assert!(!world.is_valid(&answer));
}

fn counter(path: &std::path::Path) -> u32 {
    u32::from_be_bytes(with_header(path, |file| {
        let mut bytes = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 24).unwrap();
        bytes
    }))
}

fn set_counter(path: &std::path::Path, counter: u32) {
    let bytes = counter.to_be_bytes();
    with_header(path, |file| {
        std::os::unix::fs::FileExt::write_all_at(file, &bytes, 24).unwrap();
    });
}

/// The file is never closed again, because that would drop the locks of this process on it.
fn with_header<T>(path: &std::path::Path, then: impl FnOnce(&std::fs::File) -> T) -> T {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let result = then(&file);
    std::mem::forget(file);
    result
}

#[test]
fn a_journal_mode_that_changes_at_run_time_is_followed() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let statement = item(&world);
    let other = writer(&path);
    let answer = world.load(&statement).unwrap();
    assert!(world.is_valid(&answer));
    let mode: String = other.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    for _ in 0..3 {
        world.catch_up().unwrap();
        let answer = world.load(&statement).unwrap();
        assert!(world.is_valid(&answer));
        other.execute("UPDATE item SET name = name || '!' WHERE id = 1", []).unwrap();
        assert!(!world.is_valid(&answer));
    }
}

#[test]
fn watching_a_rollback_journal_takes_no_lock_while_nothing_changes() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let world = World::open(&path, Track::Database);
    let other = writer(&path);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Asking SQLite would find the file locked.
    world.catch_up().unwrap();
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn looking_at_the_header_never_drops_the_locks_of_this_process() {
    let place = Place::new();
    let path = place.database("a.db", "delete", SCHEMA);
    let own = writer(&path);
    own.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let world = World::open(&path, Track::Database);
        world.catch_up().unwrap();
        let statement = item(&world);
        world.load(&statement).unwrap();
    }
    let Some(mut shell) = Shell::open(&path) else { return };
    shell.run("UPDATE item SET name = 'stolen' WHERE id = 1;");
    own.execute_batch("COMMIT").unwrap();
    let name: String =
        own.query_row("SELECT name FROM item WHERE id = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "salt", "the other process was kept out until the commit");
}

#[test]
fn the_thread_notices_by_itself_and_is_silent_after_stop() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    let options = larder_sqlite::OriginOptions::new(NAME, &path);
    let origin = larder_sqlite::SqliteOrigin::open(options).unwrap();
    let world = World::open(&path, Track::Database);
    world.feed.stop();
    let feed = origin.feed().unwrap();
    feed.start(world.ledger.clone()).unwrap();
    let other = writer(&path);
    world.ledger.forget();
    other.execute("UPDATE item SET name = 'x'", []).unwrap();
    while !world.ledger.changes().iter().any(|change| matches!(change, Change::Touch(_))) {
        std::thread::yield_now();
    }
    feed.stop();
    world.ledger.forget();
    other.execute("UPDATE item SET name = 'y'", []).unwrap();
    assert_eq!(crate::place::block_on(feed.catch_up()).unwrap_err().kind(), ErrorKind::Closed);
    assert!(world.ledger.said().is_empty());
    feed.start(world.ledger.clone()).unwrap();
    assert_eq!(world.ledger.doubts(), [Doubt::Started]);
    feed.stop();
}
