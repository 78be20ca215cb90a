//! The log, its triggers, and what happens when they go.

use larder_core::{Change, Dependency, feed::Doubt, origin::Origin};
use larder_sqlite::{Query, Track, UNWATCHED, track};
use rusqlite::{Connection, config::DbConfig};

use crate::place::{NAME, Place, World, block_on, query, track_rows, writer};

const SCHEMA: &str = "CREATE TABLE artist(id INTEGER PRIMARY KEY, name TEXT, bio TEXT);
    CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER REFERENCES artist, title TEXT);
    CREATE TABLE visits(n INTEGER);
    INSERT INTO artist VALUES (90, 'Iron', ''), (7, 'Other', '');
    INSERT INTO album VALUES (1, 90, 'a'), (2, 90, 'b'), (3, 7, 'c');";
const ASK: &str = "SELECT al.id, al.title, ar.name FROM album al \
    JOIN artist ar ON ar.id = al.artist WHERE al.artist = 90 ORDER BY al.id";
const USING: &str = "SELECT a.id, a.title FROM album a JOIN fav f USING (artist) WHERE f.who = 1";

fn ask(world: &World) -> Query {
    query(&world.prepare(ASK, &[]), vec![])
}

fn tracked(place: &Place, journal: &str) -> std::path::PathBuf {
    let path = place.database("a.db", journal, SCHEMA);
    let plan = track_rows(&path, &[ASK]);
    assert!(plan.tables.iter().all(|table| table.by_row), "{:?}", plan.tables);
    path
}

#[test]
fn the_main_job_works_by_row() {
    for journal in ["wal", "delete"] {
        let place = Place::new();
        let path = tracked(&place, journal);
        let world = World::open(&path, Track::Rows);
        let other = writer(&path);
        let mut answer = world.load(&ask(&world)).unwrap();
        let steps = [
            ("UPDATE album SET title = 'z' WHERE id = 1", false),
            ("INSERT INTO album VALUES (4, 90, 'd')", false),
            ("UPDATE album SET artist = 7 WHERE id = 2", false),
            ("UPDATE album SET artist = 90 WHERE id = 3", false),
            ("UPDATE artist SET name = 'Maiden' WHERE id = 90", false),
            ("UPDATE artist SET name = 'x' WHERE id = 7", true),
            ("UPDATE artist SET bio = 'long' WHERE id = 90", true),
            ("INSERT INTO album VALUES (5, 7, 'e')", true),
            ("INSERT INTO visits VALUES (1)", true),
        ];
        for (change, stays) in steps {
            assert!(world.is_valid(&answer));
            other.execute(change, []).unwrap();
            assert_eq!(world.is_valid(&answer), stays, "{journal}: {change}");
            let after = world.load(&ask(&world)).unwrap();
            assert_eq!(after.rows == answer.rows, stays, "{journal}: {change}");
            answer = after;
        }
        assert_eq!(world.ledger.doubts(), [Doubt::Started]);
    }
}

#[test]
fn a_column_that_only_using_names_is_watched() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    writer(&path)
        .execute_batch(
            "CREATE TABLE fav(who INTEGER, artist INTEGER, PRIMARY KEY (who, artist)); \
             INSERT INTO fav VALUES (1, 90)",
        )
        .unwrap();
    track_rows(&path, &[USING]);
    let world = World::open(&path, Track::Rows);
    let using = query(&world.prepare(USING, &[]), vec![]);
    let other = writer(&path);
    for change in [
        "UPDATE album SET artist = 7 WHERE id = 1",
        "UPDATE fav SET artist = 7",
        "UPDATE album SET artist = 7 WHERE id = 2",
    ] {
        let answer = world.load(&using).unwrap();
        assert!(world.is_valid(&answer));
        other.execute(change, []).unwrap();
        assert!(!world.is_valid(&answer), "{change}");
    }
}

#[test]
fn the_stamp_is_the_snapshot_and_not_the_moment_after() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let other = writer(&path);
    let before = world.ledger.stamp();
    other.execute("UPDATE album SET title = 'y' WHERE id = 1", []).unwrap();
    // Nobody has looked since, and still the load knows that it has seen this commit.
    let answer = world.load(&ask(&world)).unwrap();
    assert!(before.as_of < answer.stamp.as_of);
    assert!(world.is_valid(&answer));
}

#[test]
fn applying_twice_is_applying_once_and_untracking_leaves_nothing() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let schema = |connection: &Connection| -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    let other = writer(&path);
    let installed = schema(&other);
    let plan = track_rows(&path, &[ASK]);
    assert!(plan.sql.is_empty(), "{:?}", plan.sql);
    assert_eq!(schema(&other), installed);
    let untrack = track::untrack_plan(&path).unwrap();
    assert!(!untrack.sql.is_empty());
    untrack.apply(&path).unwrap();
    untrack.apply(&path).unwrap();
    assert!(track::untrack_plan(&path).unwrap().sql.is_empty());
    let left = schema(&other);
    assert!(left.iter().all(|name| !name.starts_with("larder_")), "{left:?}");
    let fresh = track_rows(&path, &[ASK]);
    assert!(!fresh.sql.is_empty());
    assert_eq!(schema(&other), installed);
    let more = track_rows(&path, &[ASK, "SELECT bio FROM artist"]);
    assert!(!more.sql.is_empty(), "another column is read now");
}

#[test]
fn a_statement_that_reads_more_than_is_logged_is_dropped_by_any_change() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let wide = query(&world.prepare("SELECT bio FROM artist WHERE id = 90", &[]), vec![]);
    let visits = query(&world.prepare("SELECT count(*) AS n FROM visits", &[]), vec![]);
    let narrow = ask(&world);
    let other = writer(&path);
    for change in ["UPDATE artist SET bio = bio || '!'", "INSERT INTO visits VALUES (1)"] {
        for _ in 0..3 {
            let wide_answer = world.load(&wide).unwrap();
            let visits_answer = world.load(&visits).unwrap();
            let narrow_answer = world.load(&narrow).unwrap();
            assert!(world.is_valid(&wide_answer) && world.is_valid(&visits_answer));
            other.execute(change, []).unwrap();
            assert!(!world.is_valid(&wide_answer));
            assert!(!world.is_valid(&visits_answer));
            assert!(world.is_valid(&narrow_answer), "what is tracked stays precise");
            other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
            assert!(!world.is_valid(&narrow_answer));
        }
    }
}

#[test]
fn what_is_tracked_later_is_not_touched_by_every_commit_any_more() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let bios = query(&world.prepare("SELECT bio FROM artist", &[]), vec![]);
    let visits = query(&world.prepare("SELECT count(*) AS n FROM visits", &[]), vec![]);
    let other = writer(&path);
    let unwatched = Dependency::table(NAME, UNWATCHED);
    let is_it = |change: &Change| matches!(change, Change::Touch(named) if *named == unwatched);
    let is_touched = || {
        world.ledger.forget();
        other.execute("INSERT INTO visits VALUES (1)", []).unwrap();
        world.catch_up().unwrap();
        world.ledger.changes().iter().any(is_it)
    };
    world.load(&bios).unwrap();
    assert!(is_touched());
    track_rows(&path, &[ASK, "SELECT bio FROM artist"]);
    world.catch_up().unwrap();
    let answer = world.load(&bios).unwrap();
    assert!(!is_touched() && world.is_valid(&answer), "all that is read is logged");
    world.load(&visits).unwrap();
    assert!(is_touched() && world.is_valid(&answer), "something else is read now");
}

#[test]
fn what_is_not_logged_can_still_be_named() {
    let place = Place::new();
    let world = World::open(&tracked(&place, "wal"), Track::Rows);
    let wide = query(&world.prepare("SELECT bio FROM artist WHERE id = 90", &[]), vec![]);
    let visits = query(&world.prepare("SELECT count(*) AS n FROM visits", &[]), vec![]);
    let schema = query(&world.prepare("SELECT name FROM sqlite_schema", &[]), vec![]);
    let artist = Dependency::id(NAME, "artist", [90]);
    let all = |table: &str| Dependency::table(NAME, table);
    let cases = [(wide, artist), (visits, all("visits")), (schema, Dependency::everything(NAME))];
    for (ask, named) in cases {
        let answer = world.load(&ask).unwrap();
        assert_eq!(answer.dependencies, [named, all("*")]);
    }
}

#[test]
fn a_commit_during_the_first_load_of_what_is_not_logged_is_seen() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let slow = "SELECT count(*) + (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 \
        FROM c WHERE x < 2000000) SELECT sum(x) * 0 FROM c) AS n FROM visits";
    let slow = query(&world.prepare(slow, &[]), vec![]);
    let before = world.ledger.stamp();
    let answer = std::thread::scope(|scope| {
        let load = scope.spawn(|| block_on(world.origin.load(&slow, before)).unwrap());
        // One commit after the other, from before it began to read until it has read.
        let writer = writer(&path);
        while !load.is_finished() {
            writer.execute("INSERT INTO visits VALUES (1)", []).unwrap();
            world.catch_up().unwrap();
        }
        load.join().unwrap()
    });
    let again = world.load(&slow).unwrap();
    // Where the machine is so busy that the load began after the last commit, it has what it shows.
    assert!(answer.rows == again.rows || !world.is_valid(&answer), "{:?}", world.ledger.said());
}

/// What an application may have whose names begin like larder's.
const SIMILAR: &str = "CREATE TABLE larder_orders(a TEXT UNIQUE); \
    CREATE INDEX orders ON larder_orders(a); \
    CREATE TRIGGER larder_audit AFTER INSERT ON larder_orders BEGIN SELECT 1; END; \
    CREATE TRIGGER larder_7_insert AFTER INSERT ON visits BEGIN \
    INSERT INTO larder_orders VALUES (NEW.n); END; \
    CREATE TRIGGER larder_2024_visits AFTER INSERT ON visits BEGIN SELECT 1; END";

#[test]
fn tables_of_the_application_with_a_similar_name_are_left_alone() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let other = writer(&path);
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%larder%'";
    let ours: i64 = other.query_row(left, [], |row| row.get(0)).unwrap();
    other.execute_batch(SIMILAR).unwrap();
    let both: i64 = other.query_row(left, [], |row| row.get(0)).unwrap();
    track::untrack_plan(&path).unwrap().apply(&path).unwrap();
    assert_eq!(other.query_row(left, [], |row| row.get(0)), Ok(both - ours));
}

#[test]
fn tables_of_the_application_with_a_similar_name_do_not_disturb_tracking() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let other = writer(&path);
    other.execute_batch(SIMILAR).unwrap();
    assert!(track_rows(&path, &[ASK]).sql.is_empty(), "nothing has to be done");
    let world = World::open(&path, Track::Rows);
    let answer = world.load(&ask(&world)).unwrap();
    other.execute("INSERT INTO visits VALUES (1)", []).unwrap();
    assert!(world.is_valid(&answer), "still by row");
    other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
    assert!(!world.is_valid(&answer));
}

#[test]
fn what_was_made_of_a_renamed_table_and_log_is_removed_too() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let other = writer(&path);
    let renames = "ALTER TABLE album RENAME TO \"BEGIN\"; ALTER TABLE larder_log RENAME TO l";
    other.execute_batch(renames).unwrap();
    track::untrack_plan(&path).unwrap().apply(&path).unwrap();
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name <> 'l'";
    assert_eq!(other.query_row(triggers, [], |row| row.get(0)), Ok(0));
    other.execute("UPDATE \"BEGIN\" SET title = 'x'", []).unwrap();
}

#[test]
fn a_changed_schema_is_a_miss_and_tracking_goes_on() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let other = writer(&path);
    for change in
        ["ALTER TABLE album ADD COLUMN label TEXT", "CREATE INDEX by_title ON album(title)"]
    {
        world.ledger.forget();
        let answer = world.load(&ask(&world)).unwrap();
        other.execute_batch(change).unwrap();
        assert!(!world.is_valid(&answer), "{change}");
        assert_eq!(world.ledger.doubts(), [Doubt::SchemaChanged], "{change}");
        let answer = world.load(&ask(&world)).unwrap();
        other.execute("UPDATE artist SET name = 'x' WHERE id = 7", []).unwrap();
        assert!(world.is_valid(&answer), "{change}: still by row");
        other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
        assert!(!world.is_valid(&answer), "{change}: still by row");
    }
}

/// What breaks the tracking of `album`, each time otherwise.
const BREAKS: [&str; 10] = [
    "CREATE TABLE new(id INTEGER PRIMARY KEY, artist INTEGER, title TEXT); \
     INSERT INTO new SELECT * FROM album; DROP TABLE album; ALTER TABLE new RENAME TO album",
    "ALTER TABLE album RENAME TO old; CREATE TABLE album(id INTEGER PRIMARY KEY, \
     artist INTEGER, title TEXT); INSERT INTO album SELECT * FROM old",
    "DROP TRIGGER larder_1_update",
    "DROP TRIGGER larder_1_displaced_insert",
    "CREATE UNIQUE INDEX later ON album(artist, title)",
    "DROP TRIGGER larder_1_update; CREATE TRIGGER larder_1_update AFTER UPDATE ON album \
     WHEN NEW.id > 100 BEGIN INSERT INTO larder_log(tbl, op) VALUES (1, 4); END",
    "DROP TRIGGER larder_cut",
    "DROP TRIGGER larder_cut; CREATE TRIGGER larder_cut BEFORE DELETE ON larder_log BEGIN \
     SELECT 1; END",
    "CREATE TRIGGER larder_own AFTER INSERT ON larder_log BEGIN DELETE FROM larder_log; END",
    "DROP TABLE larder_log",
];

#[test]
fn a_table_rebuilt_without_its_triggers_is_never_served_as_tracked() {
    for journal in ["wal", "delete"] {
        for change in BREAKS {
            let place = Place::new();
            let path = tracked(&place, journal);
            let world = World::open(&path, Track::Rows);
            let other = Connection::open(&path).unwrap();
            let answer = world.load(&ask(&world)).unwrap();
            world.ledger.forget();
            other.execute_batch(&format!("BEGIN; {change}; COMMIT")).unwrap();
            if change.contains("larder_log") && change.starts_with("DROP TABLE") {
                untrigger(&other);
            }
            // The very next change, before anybody looked, fires no trigger.
            other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
            assert!(!world.is_valid(&answer), "{change}");
            assert_eq!(world.ledger.doubts(), [Doubt::TrackingLost], "{change}");
            for _ in 0..3 {
                let answer = world.load(&ask(&world)).unwrap();
                assert!(world.is_valid(&answer));
                other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
                assert!(!world.is_valid(&answer), "{journal}: {change}");
            }
            world.ledger.forget();
            track_rows(&path, &[ASK]);
            world.catch_up().unwrap();
            assert_eq!(world.ledger.doubts(), [Doubt::SchemaChanged], "{change}");
            let answer = world.load(&ask(&world)).unwrap();
            other.execute("UPDATE artist SET name = 'x' WHERE id = 7", []).unwrap();
            assert!(world.is_valid(&answer), "{change}: tracked by row again");
            other.execute("UPDATE album SET title = title || '!' WHERE id = 1", []).unwrap();
            assert!(!world.is_valid(&answer), "{change}: tracked by row again");
        }
    }
}

/// Without the log the triggers fail, so an application that dropped it must drop them too.
fn untrigger(connection: &Connection) {
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'larder%'")
        .unwrap();
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for name in names {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
}

#[test]
fn a_log_restored_to_an_older_state_is_a_new_life() {
    let place = Place::new();
    let path = tracked(&place, "delete");
    let other = writer(&path);
    for step in 0..5 {
        other.execute("UPDATE album SET title = ?1 WHERE id = 1", [step]).unwrap();
    }
    let old = std::fs::read(&path).unwrap();
    for step in 5..10 {
        other.execute("UPDATE album SET title = ?1 WHERE id = 1", [step]).unwrap();
    }
    let world = World::open(&path, Track::Rows);
    let answer = world.load(&ask(&world)).unwrap();
    world.ledger.forget();
    drop(other);
    // The same file gets its old bytes, and then grows to the same numbers with other rows.
    let backup = place.path("backup.db");
    std::fs::write(&backup, &old).unwrap();
    restore(&backup, &path);
    let other = writer(&path);
    for step in 20..25 {
        other.execute("UPDATE album SET title = ?1 WHERE id = 1", [step]).unwrap();
    }
    assert!(!world.is_valid(&answer));
    assert_eq!(world.ledger.doubts().len(), 1, "{:?}", world.ledger.doubts());
    let answer = world.load(&ask(&world)).unwrap();
    assert!(world.is_valid(&answer));
}

/// What a backup program does: the database's pages are written over, the file stays.
fn restore(from: &std::path::Path, to: &std::path::Path) {
    let connection = writer(to);
    let from = from.display();
    // Without the backup API: the rows go back, and as with pages no trigger sees it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    connection
        .execute_batch(&format!(
            "ATTACH '{from}' AS b; \
             DELETE FROM larder_log WHERE seq > (SELECT max(seq) FROM b.larder_log); DETACH b"
        ))
        .unwrap();
}

#[test]
fn a_log_with_a_hole_is_a_new_life() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let other = writer(&path);
    other.execute("UPDATE album SET title = 'x' WHERE id = 1", []).unwrap();
    let world = World::open(&path, Track::Rows);
    let answer = world.load(&ask(&world)).unwrap();
    world.ledger.forget();
    other.execute_batch("DELETE FROM larder_log").unwrap();
    assert!(!world.is_valid(&answer));
    assert_eq!(world.ledger.doubts(), [Doubt::LogBroken]);
    let answer = world.load(&ask(&world)).unwrap();
    assert!(world.is_valid(&answer));
    other.execute("UPDATE album SET title = 'y' WHERE id = 1", []).unwrap();
    assert!(!world.is_valid(&answer));
}

#[test]
fn a_row_of_the_log_that_cannot_be_read_is_a_new_life() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let other = writer(&path);
    for row in ["(77, 1)", "(1, 9)", "(NULL, 1)", "(1, NULL)"] {
        let world = World::open(&path, Track::Rows);
        let answer = world.load(&ask(&world)).unwrap();
        other.execute_batch(&format!("INSERT INTO larder_log(tbl, op) VALUES {row}")).unwrap();
        assert!(!world.is_valid(&answer));
        assert_eq!(world.ledger.doubts(), [Doubt::Started, Doubt::Undecodable]);
    }
}

#[test]
fn the_log_trims_itself_and_a_watcher_that_kept_up_does_not_notice() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    let other = writer(&path);
    let fill = |count: u32| {
        other
            .execute_batch(&format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
                 INSERT INTO larder_log(tbl, op, v0, v1) SELECT 2, 1, i, i FROM n"
            ))
            .unwrap();
    };
    for _ in 0..11 {
        fill(10_000);
        world.catch_up().unwrap();
    }
    assert_eq!(world.ledger.doubts(), [Doubt::Started]);
    let (rows, floor): (i64, i64) = other
        .query_row("SELECT (SELECT count(*) FROM larder_log), seq FROM larder_meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!((100_000..100_300).contains(&rows), "{rows} rows are kept");
    assert!(9_000 < floor, "the floor is {floor}");
    let cuts = "SELECT count(*) FROM larder_log WHERE op NOT IN (1, 2, 3, 4)";
    assert_eq!(other.query_row(cuts, [], |row| row.get(0)), Ok(0));
    fill(50_000);
    world.catch_up().unwrap();
    assert_eq!(world.ledger.doubts(), [Doubt::Started, Doubt::Overflow]);
}

#[test]
fn many_changes_at_once_arrive_as_rows_with_old_and_new_values() {
    let place = Place::new();
    let path = tracked(&place, "wal");
    let world = World::open(&path, Track::Rows);
    writer(&path)
        .execute_batch("PRAGMA foreign_keys = off; UPDATE album SET artist = artist + 1")
        .unwrap();
    world.catch_up().unwrap();
    let changes = world.ledger.changes();
    assert_eq!(changes.len(), 3);
    let Change::Row(row) = &changes[0] else { panic!("{changes:?}") };
    assert_eq!(&*row.table, "album");
    assert_eq!(row.columns.iter().map(|name| &**name).collect::<Vec<_>>(), ["artist", "id"]);
    assert_eq!(&*row.key, [1]);
    assert_eq!(row.old, Some(vec![90.into(), 1.into()]));
    assert_eq!(row.new, Some(vec![91.into(), 1.into()]));
}

#[test]
fn rows_mode_without_triggers_is_database_mode_and_says_so() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    let world = World::open(&path, Track::Rows);
    let answer = world.load(&ask(&world)).unwrap();
    assert_eq!(answer.dependencies, [Dependency::everything(NAME)]);
    let notices = world.origin.check();
    assert!(notices.iter().any(|notice| notice.text.contains("larder track")), "{notices:?}");
    writer(&path).execute("INSERT INTO visits VALUES (1)", []).unwrap();
    assert!(!world.is_valid(&answer));
    track_rows(&path, &[ASK]);
    let notices = world.origin.check();
    assert!(notices.iter().any(|notice| notice.text.contains("cannot drop")), "{notices:?}");
    world.catch_up().unwrap();
    let answer = world.load(&ask(&world)).unwrap();
    writer(&path).execute("INSERT INTO visits VALUES (1)", []).unwrap();
    assert!(world.is_valid(&answer));
}
