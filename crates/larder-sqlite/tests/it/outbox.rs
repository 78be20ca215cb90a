//! Invalidations that are committed with the data, and every way in which one could get lost.

use std::path::{Path, PathBuf};

use larder_core::{Dependency, ErrorKind, Invalidation, Mode, feed::Doubt};
use larder_sqlite::{OriginOptions, SqliteOrigin, Track, outbox, track};
use rusqlite::{Connection, config::DbConfig};

use crate::place::{NAME, Place, Shell, World, query, statements_of, track_rows, writer};

const SCHEMA: &str = "CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER, title TEXT);
    INSERT INTO album VALUES (1, 90, 'a'), (2, 7, 'b');";
const ASK: &str = "SELECT id, title FROM album WHERE artist = 90";
const CHANGE: &str = "UPDATE album SET title = title || '!' WHERE id = 1";

fn tracked(place: &Place, journal: &str) -> PathBuf {
    let path = place.database("a.db", journal, SCHEMA);
    track_rows(&path, &[ASK]);
    path
}

/// Something on every timeline that there may be.
fn some(mode: Mode) -> Invalidation {
    let mut invalidation = Invalidation::new(mode);
    invalidation.extend([
        Dependency::tag("front"),
        Dependency::id(NAME, "album", [1]),
        Dependency::everything("crm"),
    ]);
    invalidation
}

/// Writes `invalidation` into the transaction that `application` is in.
fn record(application: &Connection, invalidation: &Invalidation) {
    for record in outbox::records(invalidation).unwrap() {
        application.execute(outbox::INSERT, [record.bytes()]).unwrap();
    }
}

fn commit(application: &Connection, invalidation: &Invalidation) {
    application.execute_batch("BEGIN").unwrap();
    application.execute(CHANGE, []).unwrap();
    record(application, invalidation);
    application.execute_batch("COMMIT").unwrap();
}

/// Whether the outbox is followed without a doubt from here on.
fn goes_on(world: &World, application: &Connection) {
    world.ledger.forget();
    commit(application, &some(Mode::Hard));
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), [Some(some(Mode::Hard))]);
    assert_eq!(world.ledger.doubts(), []);
}

#[test]
fn a_record_is_told_once_when_its_transaction_is_committed_and_never_when_it_is_not() {
    for journal in ["wal", "delete"] {
        let place = Place::new();
        let path = tracked(&place, journal);
        let world = World::open(&path, Track::Rows);
        let application = writer(&path);
        application.execute_batch("BEGIN").unwrap();
        record(&application, &some(Mode::Hard));
        if journal == "wal" {
            world.catch_up().unwrap();
            assert_eq!(world.ledger.records(), [], "not before the commit");
        }
        application.execute_batch("ROLLBACK").unwrap();
        world.catch_up().unwrap();
        assert_eq!(world.ledger.records(), []);
        for mode in [Mode::Hard, Mode::Soft] {
            world.ledger.forget();
            commit(&application, &some(mode));
            world.catch_up().unwrap();
            world.catch_up().unwrap();
            assert_eq!(world.ledger.records(), [Some(some(mode))]);
        }
        assert_eq!(world.ledger.doubts(), []);
    }
}

#[test]
fn a_record_is_told_before_anybody_can_know_its_position() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let before = world.ledger.stamp().as_of;
    commit(&writer(&path), &some(Mode::Hard));
    world.ledger.forget();
    world.catch_up().unwrap();
    use crate::place::Said::{Confirmed, Received, Recorded};
    let said = world.ledger.said();
    assert!(matches!(&said[..], [Recorded(_), Received(_), Confirmed]), "{said:?}");
    assert_eq!(world.ledger.stamp().as_of.0, before.0 + 2, "a row and a record");
}

#[test]
fn a_record_alone_makes_nothing_fall_that_it_does_not_name() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    let answer = world.load(&ask).unwrap();
    record(&application, &some(Mode::Hard));
    // A load that saw the commit before the feed did stands at its position, and not beyond.
    let later = world.load(&ask).unwrap();
    assert!(world.is_valid(&answer) && world.is_valid(&later));
    assert!(answer.stamp.as_of < later.stamp.as_of);
    application.execute(CHANGE, []).unwrap();
    assert!(!world.is_valid(&answer) && !world.is_valid(&later));
}

#[test]
fn every_node_is_told_though_the_writer_dies_right_after_its_commit() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let worlds = [World::open(&path, Track::Rows), World::open(&path, Track::Rows)];
    let Some(mut shell) = Shell::open(&path) else { return };
    let [record] = &outbox::records(&some(Mode::Soft)).unwrap()[..] else { panic!("it is small") };
    let hex: String = record.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let insert = outbox::INSERT.replace("?1", &format!("x'{hex}'"));
    shell.run(&format!("BEGIN; {CHANGE}; {insert}; COMMIT;"));
    shell.run(&format!("BEGIN; {insert};"));
    shell.kill();
    for world in &worlds {
        world.catch_up().unwrap();
        assert_eq!(world.ledger.records(), [Some(some(Mode::Soft))], "the first, not the second");
    }
}

#[test]
fn a_record_is_told_though_the_schema_changed_before_anybody_looked() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    world.ledger.forget();
    commit(&application, &some(Mode::Soft));
    application.execute_batch("CREATE TABLE other(a)").unwrap();
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), [Some(some(Mode::Soft))]);
    assert_eq!(world.ledger.doubts(), [Doubt::SchemaChanged]);
    goes_on(&world, &application);
}

#[test]
fn a_record_is_told_though_more_changes_waited_than_are_delivered_one_by_one() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    world.ledger.forget();
    commit(&application, &some(Mode::Hard));
    let many = "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
                INSERT INTO album SELECT i, 7, '' FROM n";
    application.execute_batch(many).unwrap();
    world.catch_up().unwrap();
    // Once from the first batch, and again by the new life, which cannot know of it.
    let records = world.ledger.records();
    assert!(!records.is_empty() && records.iter().all(Option::is_some), "{records:?}");
    assert_eq!(world.ledger.doubts(), [Doubt::Overflow]);
    goes_on(&world, &application);
}

#[test]
fn a_record_that_nobody_understands_is_a_doubt_about_everything() {
    let later = [b"LRI9", &outbox::records(&some(Mode::Hard)).unwrap()[0].bytes()[4..]].concat();
    for garbage in ["NULL", "''", "7", "x'00'", "'text'", &format!("x'{}'", "ab".repeat(99))] {
        unreadable(|application| {
            let sql = format!("INSERT INTO larder_outbox(record) VALUES ({garbage})");
            application.execute(&sql, []).unwrap();
        });
    }
    unreadable(|application| {
        application.execute(outbox::INSERT, [&later]).unwrap();
    });
}

fn unreadable(write: impl Fn(&Connection)) {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    world.ledger.forget();
    write(&application);
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), [None]);
    assert_eq!(world.ledger.doubts(), [Doubt::Undecodable]);
    goes_on(&world, &application);
}

#[test]
fn records_that_may_have_been_missed_are_a_doubt_about_everything() {
    let ways: [fn(&Connection, &Path); 3] = [
        |application, _| application.execute_batch("DELETE FROM larder_log").unwrap(),
        |_, path| {
            let wider = "SELECT id FROM album WHERE title = :title";
            assert!(!track_rows(path, &[ASK, wider]).sql.is_empty());
        },
        |_, path| {
            let copy = path.with_extension("copy");
            writer(path).execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
            for side in ["-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(side);
                std::fs::remove_file(name).ok();
            }
            std::fs::rename(copy, path).unwrap();
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let place = Place::new();
        let path = tracked(&place, "wal");
        let world = World::open(&path, Track::Rows);
        world.ledger.forget();
        let application = writer(&path);
        commit(&application, &some(Mode::Hard));
        way(&application, &path);
        world.catch_up().unwrap();
        assert_eq!(world.ledger.records(), [None], "way {number}");
        goes_on(&world, &writer(&path));
    }
}

#[test]
fn a_feed_that_could_not_ask_when_it_started_does_not_pass_over_records() {
    let place = Place::new();
    let path = tracked(&place, "delete");
    let world = World::unstarted(&path, Track::Rows);
    let application = writer(&path);
    application.execute_batch("BEGIN EXCLUSIVE").unwrap();
    record(&application, &some(Mode::Hard));
    // Started, and not able to look: whatever is read meanwhile may be stored.
    world.start();
    assert_eq!(world.ledger.said().len(), 0);
    application.execute_batch("COMMIT").unwrap();
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), [None]);
    goes_on(&world, &application);
}

#[test]
fn a_feed_that_starts_later_has_nothing_to_be_told_of() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let application = writer(&path);
    commit(&application, &some(Mode::Hard));
    let world = World::open(&path, Track::Rows);
    assert_eq!(world.ledger.records(), []);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    let answer = world.load(&ask).unwrap();
    assert!(format!("{:?}", answer.rows).contains("a!"), "its loads see the commit");
    goes_on(&world, &application);
}

/// Tracks as it was done before there was an outbox.
fn track_without_outbox(path: &Path) {
    let mut plan = track::plan(path, &NAME.into(), &statements_of(path, &[ASK])).unwrap();
    plan.sql.retain(|sql| !sql.contains("larder_outbox"));
    plan.apply(path).unwrap();
}

#[test]
fn a_database_that_was_tracked_before_there_was_an_outbox_works_on_and_says_what_it_lacks() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    track_without_outbox(&path);
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    let ask = query(&world.prepare(ASK, &[]), vec![]);
    let answer = world.load(&ask).unwrap();
    application.execute("UPDATE album SET title = 'z' WHERE id = 2", []).unwrap();
    assert!(world.is_valid(&answer), "tracked by row as before");
    let refused = world.origin.records(&some(Mode::Hard)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("run `larder track` again"), "{refused}");
    let [record] = &outbox::records(&some(Mode::Hard)).unwrap()[..] else { panic!("it is small") };
    let driver = application.execute(outbox::INSERT, [record.bytes()]).unwrap_err();
    assert!(driver.to_string().contains("no such table: larder_outbox"), "{driver}");
    let says = |part: &str| world.origin.check().iter().any(|notice| notice.text.contains(part));
    assert!(says("there is no larder_outbox, so no"));
    // The schema changes, and nobody has recorded anything: nothing else falls.
    application.execute_batch("CREATE TABLE other(a)").unwrap();
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), []);
    assert!(!track_rows(&path, &[ASK]).sql.is_empty());
    assert!(track_rows(&path, &[ASK]).sql.is_empty(), "once");
    assert!(says("larder_outbox is there"));
    assert_eq!(world.origin.records(&some(Mode::Hard)).unwrap().len(), 1);
    // Somebody may have recorded since it was installed.
    world.catch_up().unwrap();
    assert_eq!(world.ledger.records(), [None]);
    goes_on(&world, &application);
}

#[test]
fn a_large_invalidation_is_several_records_and_a_record_too_large_is_refused_by_the_database() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let application = writer(&path);
    let mut large = Invalidation::new(Mode::Hard);
    large.extend((0..50_000).map(|id| Dependency::id(NAME, "album", [id])));
    let parts = outbox::records(&large).unwrap();
    assert!(1 < parts.len());
    assert!(parts.iter().all(|part| part.bytes().len() <= outbox::RECORD_BYTES_MAX));
    commit(&application, &large);
    world.catch_up().unwrap();
    let told = world.ledger.records().into_iter().flatten();
    let told: Vec<Dependency> = told.flat_map(|one| one.dependencies().to_vec()).collect();
    assert!(told == large.dependencies(), "{} of {}", told.len(), large.dependencies().len());
    let fits = vec![7; outbox::RECORD_BYTES_MAX];
    let too_large = vec![7; outbox::RECORD_BYTES_MAX + 1];
    application.execute_batch("BEGIN").unwrap();
    application.execute(outbox::INSERT, [&fits]).unwrap();
    let refused = application.execute(outbox::INSERT, [too_large]).unwrap_err();
    assert!(refused.to_string().contains("more than 65536 bytes"), "{refused}");
    application.execute_batch("ROLLBACK").unwrap();
    let mut one = Invalidation::new(Mode::Hard);
    one.extend([Dependency::tag("x".repeat(outbox::RECORD_BYTES_MAX))]);
    assert_eq!(outbox::records(&one).unwrap_err().kind(), ErrorKind::Limit);
    let nothing = Invalidation::new(Mode::Hard);
    assert_eq!(outbox::records(&nothing).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_connection_without_triggers_cannot_record_in_vain() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let application = writer(&path);
    application.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    let refused = application.execute(outbox::INSERT, [vec![7]]).unwrap_err();
    assert!(refused.to_string().contains("because it is a view"), "{refused}");
}

#[test]
fn an_outbox_that_was_altered_is_said_and_mended_by_tracking_again() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let application = writer(&path);
    application
        .execute_batch(
            "DROP TRIGGER larder_outbox_insert; \
             CREATE TRIGGER larder_outbox_insert INSTEAD OF INSERT ON larder_outbox \
             BEGIN SELECT 1; END",
        )
        .unwrap();
    let world = World::open(&path, Track::Rows);
    let says = |part: &str| world.origin.check().iter().any(|notice| notice.text.contains(part));
    assert!(says("larder_outbox: it was altered"));
    assert_eq!(world.origin.records(&some(Mode::Hard)).unwrap_err().kind(), ErrorKind::NotFound);
    track_rows(&path, &[ASK]);
    assert!(!says("it was altered"));
    world.catch_up().unwrap();
    goes_on(&world, &application);
}

#[test]
fn untracking_takes_the_outbox_along_and_leaves_what_only_has_its_name() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    track::untrack_plan(&path).unwrap().apply(&path).unwrap();
    let application = writer(&path);
    let left = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'larder_*'";
    assert_eq!(application.query_row(left, [], |row| row.get(0)), Ok(0));
    application.execute_batch("CREATE VIEW larder_outbox AS SELECT id FROM album").unwrap();
    assert!(track::untrack_plan(&path).unwrap().sql.is_empty());
}

#[test]
fn a_node_in_database_mode_reads_the_records_and_no_other_line() {
    for journal in ["wal", "delete"] {
        let place = Place::new();
        let path = tracked(&place, journal);
        let world = World::open(&path, Track::Database);
        let application = writer(&path);
        for mode in [Mode::Hard, Mode::Soft] {
            world.ledger.forget();
            commit(&application, &some(mode));
            world.catch_up().unwrap();
            assert_eq!(world.ledger.records(), [Some(some(mode))], "{journal}");
            application.execute(CHANGE, []).unwrap();
            world.catch_up().unwrap();
            assert_eq!(world.ledger.records().len(), 1, "{journal}");
        }
        application.execute(outbox::INSERT, [vec![7]]).unwrap();
        world.ledger.forget();
        world.catch_up().unwrap();
        assert_eq!(world.ledger.records(), [None], "{journal}");
        goes_on(&world, &application);
        let place = Place::new();
        let plain = place.database("b.db", journal, SCHEMA);
        let world = World::open(&plain, Track::Database);
        writer(&plain).execute(CHANGE, []).unwrap();
        world.catch_up().unwrap();
        assert_eq!(world.ledger.records(), [], "no outbox, no records");
    }
}

#[test]
fn a_log_that_cannot_be_trusted_may_carry_a_record_with_each_commit() {
    for track in [Track::Rows, Track::Database] {
        for harm in ["DROP TRIGGER larder_cut", "DROP TRIGGER larder_outbox_insert"] {
            let place = Place::new();
            let path = tracked(&place, "wal");
            let application = writer(&path);
            application.execute_batch(harm).unwrap();
            let world = World::open(&path, track);
            assert_eq!(world.ledger.records(), [], "nothing is there yet");
            for _ in 0..2 {
                world.ledger.forget();
                application.execute(CHANGE, []).unwrap();
                world.catch_up().unwrap();
                assert_eq!(world.ledger.records(), [None], "{track:?} after {harm}");
            }
        }
    }
}

#[test]
fn an_origin_that_nobody_watches_refuses_to_record() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let options = |track| OriginOptions { track, ..OriginOptions::new(NAME, &path) };
    let refused = SqliteOrigin::open(options(Track::None)).unwrap().records(&some(Mode::Hard));
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("set `track` to rows"), "{refused}");
    for track in [Track::Rows, Track::Database] {
        let origin = SqliteOrigin::open(options(track)).unwrap();
        assert_eq!(origin.records(&some(Mode::Hard)).unwrap().len(), 1, "before its feed started");
    }
}
