//! Going on where an earlier feed left: what is told of what happened in between, and every doubt
//! that makes everything a miss.

use larder_core::{Change, Dependency, Invalidation, Mode, Position, feed::Doubt, store::Standing};
use larder_sqlite::{Track, outbox, track};
use rusqlite::Connection;

use crate::place::{NAME, Place, Said, World, query, track_rows, writer};

const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, grp INTEGER);
    CREATE TABLE bare(id INTEGER PRIMARY KEY);
    INSERT INTO t VALUES (1, 5), (2, 6);";
const ASK: &str = "SELECT id FROM t WHERE grp = :grp";

/// A tracked database and the standing that a first life left, which saw one change of `t`.
fn left(journal: &str) -> (Place, std::path::PathBuf, Standing) {
    let place = Place::new();
    let path = place.database("a.db", journal, SCHEMA);
    track_rows(&path, &[ASK]);
    let world = World::open(&path, Track::Rows);
    writer(&path).execute("INSERT INTO t VALUES (3, 7)", []).unwrap();
    let left = world.leave();
    assert!(left.mark.is_some(), "{left:?}");
    (place, path, left)
}

/// What a second life says first of all; it has caught up.
fn resumed(path: &std::path::Path, left: &Standing) -> World {
    let world = World::resumed(path, Track::Rows, left);
    world.catch_up().unwrap();
    world
}

/// Rows that it told of; the other changes stand for what no line tells of.
fn rows(world: &World) -> usize {
    world.ledger.changes().iter().filter(|change| matches!(change, Change::Row(_))).count()
}

#[track_caller]
fn assert_begins_anew(world: &World) {
    assert_eq!(world.ledger.resumed(), None);
    assert_eq!(world.ledger.doubts(), [Doubt::Started]);
}

fn record(path: &std::path::Path, tag: &str) {
    let mut invalidation = Invalidation::new(Mode::Hard);
    invalidation.extend([Dependency::tag(tag)]);
    for record in outbox::records(&invalidation).unwrap() {
        writer(path).execute(outbox::INSERT, [record.bytes()]).unwrap();
    }
}

#[test]
fn what_changed_in_between_is_told_with_its_records_and_what_did_not_stands() {
    for journal in ["wal", "delete"] {
        let (_place, path, left) = left(journal);
        writer(&path).execute("UPDATE t SET grp = 8 WHERE id = 1", []).unwrap();
        record(&path, "front");
        let world = resumed(&path, &left);
        assert_eq!(world.ledger.resumed(), Some(left.position));
        assert_eq!(world.ledger.records().len(), 1);
        let said = world.ledger.said();
        assert!(matches!(said[0], Said::Resumed(_)), "{said:?}");
        assert_eq!(rows(&world), 1, "{said:?}");
        // A third life goes on from there, and hears of nothing twice.
        let world = resumed(&path, &world.leave());
        assert!(world.ledger.resumed().is_some());
        assert_eq!(world.ledger.records().len(), 0);
        assert_eq!(rows(&world), 0);
    }
}

#[test]
fn a_later_life_never_means_less_by_a_position_than_an_earlier_one() {
    let (_place, path, left) = left("wal");
    let first = resumed(&path, &left);
    // Read by somebody, so that every commit to a table that is not watched counts.
    first.load(&query(&first.prepare("SELECT id FROM bare", &[]), vec![])).unwrap();
    for id in 0..10 {
        writer(&path).execute("INSERT INTO bare VALUES (?1)", [id]).unwrap();
        first.catch_up().unwrap();
    }
    let Standing { position: reached, .. } = first.leave();
    // The store was not told of any of it.
    let second = resumed(&path, &left);
    assert_eq!(second.ledger.resumed(), Some(left.position));
    let again = second.ledger.standing().position;
    assert!(left.position < reached);
    let third = resumed(&path, &second.leave());
    assert!(reached < third.ledger.standing().position, "{reached:?} {again:?}");
}

#[test]
fn tables_that_are_not_watched_count_as_changed() {
    let (_place, path, left) = left("wal");
    let world = World::open(&path, Track::Rows);
    let [bare, tracked] = ["SELECT id FROM bare", "SELECT id FROM t WHERE grp = 5"]
        .map(|sql| query(&world.prepare(sql, &[]), vec![]));
    drop(world);
    let first = resumed(&path, &left);
    let answers = [&bare, &tracked].map(|query| first.load(query).unwrap());
    let left = first.leave();
    writer(&path).execute("INSERT INTO bare VALUES (1)", []).unwrap();
    let second = World::unstarted(&path, Track::Rows);
    answers.iter().for_each(|answer| second.ledger.register(&answer.dependencies));
    second.feed.start_from(second.ledger.clone(), &left).unwrap();
    assert!(second.ledger.resumed().is_some());
    let [bare, tracked] = answers.map(|mut answer| {
        answer.stamp.as_of = answer.stamp.as_of.max(left.position);
        second.is_valid(&answer)
    });
    assert!(!bare, "nobody can know what was committed to it");
    assert!(tracked);
}

#[test]
fn another_file_under_the_same_path_begins_anew() {
    let (place, path, left) = left("delete");
    let copy = place.path("copy");
    std::fs::copy(&path, &copy).unwrap();
    // The same bytes, log and nonces included.
    std::fs::rename(&copy, &path).unwrap();
    let world = resumed(&path, &left);
    assert_begins_anew(&world);
    assert_eq!(world.ledger.records(), [None], "what the other file recorded is not known");
}

#[test]
fn tracking_that_was_lost_in_between_begins_anew() {
    let (_place, path, left) = left("wal");
    let application = writer(&path);
    let trigger: String = application
        .query_row(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 't' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    application.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    application.execute("UPDATE t SET grp = 9", []).unwrap();
    assert_begins_anew(&resumed(&path, &left));
    // Also where it is there again, as it was.
    track_rows(&path, &[ASK]);
    assert_begins_anew(&resumed(&path, &left));
    // And where nothing is left of it.
    track::untrack_plan(&path).unwrap().apply(&path).unwrap();
    assert_begins_anew(&resumed(&path, &left));
}

#[test]
fn a_log_that_went_back_and_grew_again_begins_anew() {
    let (_place, path, left) = left("wal");
    let application = writer(&path);
    application.execute("UPDATE larder_log SET nonce = nonce + 1", []).unwrap();
    application.execute("UPDATE t SET grp = 9", []).unwrap();
    assert_begins_anew(&resumed(&path, &left));
}

#[test]
fn a_log_that_was_emptied_or_lost_a_line_begins_anew() {
    for sql in ["DELETE FROM larder_log", "DELETE FROM larder_log WHERE seq > 1"] {
        let (_place, path, left) = left("wal");
        let application = writer(&path);
        application.execute("UPDATE t SET grp = 9", []).unwrap();
        application.execute(sql, []).unwrap();
        let world = resumed(&path, &left);
        assert_eq!(world.ledger.doubts().len(), 1, "{sql}: {:?}", world.ledger.said());
    }
}

#[test]
fn a_backlog_that_is_too_long_to_be_told_begins_anew() {
    let (_place, path, left) = left("wal");
    writer(&path)
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
             INSERT INTO t SELECT i, 1 FROM n",
        )
        .unwrap();
    let world = resumed(&path, &left);
    assert_eq!(world.ledger.doubts(), [Doubt::Overflow]);
    assert_eq!(
        world.ledger.said().iter().filter(|said| matches!(said, Said::Confirmed)).count(),
        2
    );
}

#[test]
fn a_mark_that_cannot_be_read_or_does_not_fit_begins_anew() {
    let (_place, path, left) = left("wal");
    let mut torn = left.clone();
    torn.mark.as_mut().unwrap().pop();
    let mut later = left.clone();
    later.mark.as_mut().unwrap()[0] = 200;
    let unmarked = Standing { mark: None, ..left.clone() };
    let before = Standing { position: Position(left.position.0 - 1), ..left.clone() };
    for doubtful in [torn, later, unmarked] {
        let world = resumed(&path, &doubtful);
        assert_begins_anew(&world);
        assert_eq!(world.ledger.records(), [None], "{doubtful:?}");
    }
    // How far the outbox was followed does not depend on the position.
    assert_begins_anew(&resumed(&path, &before));
}

#[test]
fn in_database_mode_a_life_begins_anew_and_hears_of_what_was_recorded() {
    let (_place, path, _) = left("wal");
    let world = World::open(&path, Track::Database);
    writer(&path).execute("UPDATE t SET grp = 9", []).unwrap();
    let left = world.leave();
    record(&path, "front");
    let world = World::resumed(&path, Track::Database, &left);
    assert_begins_anew(&world);
    let records = world.ledger.records();
    assert!(matches!(&records[..], [Some(_)]), "{records:?}");
    // One mode does not go on where the other left.
    let left = world.leave();
    assert_begins_anew(&resumed(&path, &left));
    let left = resumed(&path, &left).leave();
    assert_begins_anew(&World::resumed(&path, Track::Database, &left));
}

#[test]
fn without_an_outbox_nothing_is_lost_unless_there_can_have_been_one() {
    let place = Place::new();
    let path = place.database("a.db", "wal", SCHEMA);
    let left = World::open(&path, Track::Database).leave();
    writer(&path).execute("UPDATE t SET grp = 9", []).unwrap();
    let world = World::resumed(&path, Track::Database, &left);
    assert_begins_anew(&world);
    assert_eq!(world.ledger.records().len(), 0);
    drop(world);
    writer(&path).execute_batch("CREATE TABLE other(a); DROP TABLE other").unwrap();
    assert_eq!(World::resumed(&path, Track::Database, &left).ledger.records(), [None]);
}

#[test]
fn a_first_look_that_finds_the_database_locked_does_not_forget_where_it_was() {
    let (_place, path, left) = left("delete");
    let (world, application) = (World::unstarted(&path, Track::Rows), writer(&path));
    application.execute_batch("BEGIN EXCLUSIVE; UPDATE t SET grp = 8 WHERE id = 1").unwrap();
    world.feed.start_from(world.ledger.clone(), &left).unwrap();
    assert_eq!(world.ledger.said().len(), 0, "it is not known yet");
    application.execute_batch("COMMIT").unwrap();
    world.catch_up().unwrap();
    assert_eq!(world.ledger.resumed(), Some(left.position));
    assert_eq!(rows(&world), 1);
    assert_eq!(world.ledger.records().len(), 0);
}

#[test]
fn what_is_committed_after_going_on_is_told_once() {
    let (_place, path, left) = left("wal");
    let world = resumed(&path, &left);
    world.ledger.forget();
    writer(&path).execute("UPDATE t SET grp = 8 WHERE id = 1", []).unwrap();
    world.catch_up().unwrap();
    assert_eq!(rows(&world), 1, "{:?}", world.ledger.said());
    // As one step, as long as nobody reads what is not watched.
    let is_step = |said: &Said| matches!(said, Said::Received(_));
    let steps = || world.ledger.said().iter().filter(|said| is_step(said)).count();
    assert_eq!(steps(), 1);
    let bare = query(&world.prepare("SELECT id FROM bare", &[]), vec![]);
    let answer = world.load(&bare).unwrap();
    writer(&path).execute("INSERT INTO bare VALUES (1)", []).unwrap();
    world.catch_up().unwrap();
    assert!(!world.is_valid(&answer));
    assert_eq!(steps(), 2);
    // A schema that moves while it runs ends the life, as ever.
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE more(a)").unwrap();
    world.catch_up().unwrap();
    assert_eq!(world.ledger.doubts(), [Doubt::SchemaChanged]);
    assert_eq!(world.feed.timeline(), &NAME.into());
}
