//! Deleting from the log: no number is ever used again, and whoever looks later knows.
//!
//! It stands beside `rows`, which has what else can happen to a log. Each case has a load that saw
//! a change of which the watcher never heard: were its number another change's later, the load
//! would count as having seen that too.

use larder_core::feed::Doubt;
use larder_sqlite::{Query, Track, track};
use rusqlite::{Connection, config::DbConfig};

use crate::place::{NAME, Place, World, query, statements_of, track_rows, writer};

const SCHEMA: &str = "CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER, title TEXT);
    INSERT INTO album VALUES (1, 90, 'a'), (2, 90, 'b'), (3, 7, 'c');";
const ASK: &str = "SELECT id, title FROM album WHERE artist = 90 ORDER BY id";
const CHANGE: &str = "UPDATE album SET title = title || '!' WHERE id = 1";
const ELSEWHERE: &str = "UPDATE album SET title = title || '!' WHERE id = 3";

/// Ways to delete the newest line, each after three lines.
const DELETIONS: [&str; 7] = [
    "DELETE FROM larder_log",
    "DELETE FROM larder_log WHERE true",
    "DELETE FROM larder_log WHERE seq = (SELECT max(seq) FROM larder_log)",
    "DELETE FROM larder_log WHERE seq > 1",
    "DELETE FROM larder_log WHERE seq = 3; DELETE FROM larder_log WHERE seq = 2; \
     DELETE FROM larder_log WHERE seq = 1",
    "DELETE FROM larder_log WHERE seq = 3; DELETE FROM larder_log",
    "BEGIN; DELETE FROM larder_log; SAVEPOINT s; DELETE FROM larder_log; ROLLBACK TO s; COMMIT",
];

fn tracked(place: &Place) -> std::path::PathBuf {
    let path = place.database("a.db", "wal", SCHEMA);
    track_rows(&path, &[ASK]);
    path
}

fn ask(world: &World) -> Query {
    query(&world.prepare(ASK, &[]), vec![])
}

fn newest(connection: &Connection) -> i64 {
    connection.query_row("SELECT max(seq) FROM larder_log", [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn goes_on_by_row(world: &World, application: &Connection) {
    let answer = world.load(&ask(world)).unwrap();
    application.execute(ELSEWHERE, []).unwrap();
    assert!(world.is_valid(&answer));
    application.execute(CHANGE, []).unwrap();
    assert!(!world.is_valid(&answer));
}

#[test]
fn a_deleted_line_that_only_a_load_saw_is_a_new_life() {
    for recursive in [false, true] {
        for deletion in DELETIONS {
            let place = Place::new();
            let path = tracked(&place);
            let world = World::open(&path, Track::Rows);
            let application = writer(&path);
            application.pragma_update(None, "recursive_triggers", recursive).unwrap();
            (0..3).for_each(|_| assert_eq!(application.execute(CHANGE, []), Ok(1)));
            let answer = world.load(&ask(&world)).unwrap();
            let highest = newest(&application);
            application.execute_batch(deletion).unwrap();
            assert!(highest < newest(&application), "{deletion}");
            application.execute(CHANGE, []).unwrap();
            assert!(!world.is_valid(&answer), "{deletion}");
            assert_eq!(world.ledger.doubts(), [Doubt::Started, Doubt::LogBroken], "{deletion}");
            goes_on_by_row(&world, &application);
        }
    }
}

#[test]
fn a_deletion_that_is_rolled_back_leaves_no_trace() {
    for recursive in [false, true] {
        for (begin, end) in [
            ("SAVEPOINT s", "ROLLBACK TO s; RELEASE s"),
            ("BEGIN; UPDATE album SET title = 'x' WHERE id = 3; SAVEPOINT s", "ROLLBACK"),
            ("BEGIN", "ROLLBACK"),
        ] {
            let place = Place::new();
            let path = tracked(&place);
            let world = World::open(&path, Track::Rows);
            let application = writer(&path);
            application.pragma_update(None, "recursive_triggers", recursive).unwrap();
            application.execute(CHANGE, []).unwrap();
            let answer = world.load(&ask(&world)).unwrap();
            assert!(world.is_valid(&answer));
            let highest = newest(&application);
            let sql = format!("{begin}; DELETE FROM larder_log; {end}");
            application.execute_batch(&sql).unwrap();
            assert_eq!(newest(&application), highest, "{sql}");
            application.execute(ELSEWHERE, []).unwrap();
            assert!(world.is_valid(&answer), "{sql}");
            assert_eq!(world.ledger.doubts(), [Doubt::Started], "{sql}");
        }
    }
}

#[test]
fn no_number_is_given_to_two_changes() {
    let place = Place::new();
    let application = writer(&tracked(&place));
    let mut highest = 0;
    for step in 0..2_000 {
        application.execute(CHANGE, []).unwrap();
        let number = newest(&application);
        assert!(highest < number, "{number} after {highest} in step {step}");
        highest = number;
        if step % 3 == 0 {
            application.execute_batch(DELETIONS[step % 4]).unwrap();
        }
    }
}

#[test]
fn an_application_that_empties_every_table_is_not_disturbed() {
    let place = Place::new();
    let path = tracked(&place);
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    application.execute(CHANGE, []).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut tables = application.prepare(tables).unwrap();
    let names = tables.query_map([], |row| row.get(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    let answer = world.load(&ask(&world)).unwrap();
    for name in names {
        application.execute_batch(&format!("DELETE FROM {name}")).unwrap();
    }
    assert!(!world.is_valid(&answer));
    for _ in 0..3 {
        let answer = world.load(&ask(&world)).unwrap();
        assert!(world.is_valid(&answer));
        application
            .execute("INSERT INTO album SELECT 1 + count(*), 90, '' FROM album", [])
            .unwrap();
        assert!(!world.is_valid(&answer), "what was tracked is not known any more");
    }
}

#[test]
fn the_lines_of_a_log_emptied_without_triggers_are_read_from_the_start() {
    let place = Place::new();
    let path = tracked(&place);
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    (0..3).for_each(|_| assert_eq!(application.execute(CHANGE, []), Ok(1)));
    let answer = world.load(&ask(&world)).unwrap();
    assert!(world.is_valid(&answer));
    application.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    application.execute_batch("DELETE FROM larder_log").unwrap();
    application.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
    assert!(!world.is_valid(&answer));
    assert_eq!(world.ledger.doubts(), [Doubt::Started, Doubt::LogBroken]);
    goes_on_by_row(&world, &application);
    assert_eq!(newest(&application), 2, "the numbers began again");
}

/// The log as an earlier format had it: the first was numbered by AUTOINCREMENT, and without the
/// cut; the second told a row that may be displaced as one that was deleted.
fn track_in_format(path: &std::path::Path, format: i64) {
    let statements = statements_of(path, &[ASK]);
    let mut plan = track::plan(path, &NAME.into(), &statements).unwrap();
    let is_first = format == 1;
    plan.sql.retain(|sql| !is_first || !sql.starts_with("CREATE TRIGGER larder_cut"));
    for sql in &mut plan.sql {
        *sql = sql.replace("VALUES (1, 3,", &format!("VALUES (1, {format},"));
        match is_first {
            true => {
                let numbered = "(seq INTEGER PRIMARY KEY AUTOINCREMENT,";
                *sql = sql.replace("(seq INTEGER PRIMARY KEY,", numbered);
            }
            false => *sql = sql.replace(" SELECT 1, 7,", " SELECT 1, 2,"),
        }
    }
    plan.apply(path).unwrap();
    let written = "SELECT format FROM larder_meta";
    assert_eq!(writer(path).query_row(written, [], |row| row.get(0)), Ok(format));
}

#[test]
fn a_log_of_the_format_before_is_replaced_by_tracking_again() {
    replaced_by_tracking_again(1);
    replaced_by_tracking_again(2);
}

fn replaced_by_tracking_again(format: i64) {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_in_format(&path, format);
    let application = writer(&path);
    application.execute(CHANGE, []).unwrap();
    let world = World::open(&path, Track::Rows);
    let notices = world.origin.check();
    let says = |part: &str| notices.iter().any(|notice| notice.text.contains(part));
    assert!(
        says(&format!("in format {format};")) && says("`larder track` replaces"),
        "{notices:?}"
    );
    let answer = world.load(&ask(&world)).unwrap();
    application.execute(ELSEWHERE, []).unwrap();
    assert!(!world.is_valid(&answer), "nothing that the old log says is believed");
    let answer = world.load(&ask(&world)).unwrap();
    assert!(!track_rows(&path, &[ASK]).sql.is_empty());
    assert!(track_rows(&path, &[ASK]).sql.is_empty());
    assert!(!world.is_valid(&answer));
    goes_on_by_row(&world, &application);
}

#[test]
fn a_log_of_the_format_before_can_be_untracked() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_in_format(&path, 1);
    track::untrack_plan(&path).unwrap().apply(&path).unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'larder_*'";
    assert_eq!(writer(&path).query_row(left, [], |row| row.get(0)), Ok(0));
}
