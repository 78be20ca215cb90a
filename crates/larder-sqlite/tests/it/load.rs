//! Statements, limits, deadlines, errors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use larder_core::{Epoch, ErrorKind, Position, Stamp, Value, origin::Origin};
use larder_sqlite::{
    NoticeLevel, OriginOptions, ParamKind, Query, SqliteOrigin, Track, linked_version,
};

use crate::place::{NAME, Place, World, block_on, declare, query, writer};

const ITEMS: &str = "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, data BLOB);
    INSERT INTO item VALUES (1, 'salt', 0.5, x'00ff'), (2, NULL, 9e999, x'');";

#[test]
fn the_linked_sqlite_has_the_fix_of_the_wal_reset_bug() {
    assert!(3_051_003 <= linked_version(), "SQLite {} is linked", linked_version());
}

#[test]
fn every_type_of_value_comes_through() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", ITEMS), Track::Database);
    let statement = world.prepare("SELECT * FROM item ORDER BY id", &[]);
    let rows = world.load(&query(&statement, vec![])).unwrap().rows;
    let names: Vec<&str> = rows.columns.iter().map(|name| &**name).collect();
    assert_eq!(names, ["id", "name", "price", "data"]);
    assert_eq!(
        rows.rows,
        [
            vec![1.into(), "salt".into(), 0.5.into(), Value::Blob([0, 255].into())],
            vec![2.into(), Value::Null, f64::INFINITY.into(), Value::Blob([].into())],
        ]
    );
}

#[test]
fn parameters_are_bound_in_declared_order() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", ITEMS), Track::Database);
    let params = [("b", ParamKind::Text), ("a", ParamKind::Integer)];
    let statement = world.prepare("SELECT :a AS a, :b AS b, :a AS c FROM item LIMIT 1", &params);
    let rows = world.load(&query(&statement, vec!["x".into(), 7.into()])).unwrap().rows.rows;
    assert_eq!(rows, [[7.into(), "x".into(), 7.into()]]);
    let wrong = [vec![7.into(), 7.into()], vec!["x".into()], vec![]];
    for values in wrong {
        let error = world.load(&query(&statement, values)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[test]
fn only_one_reading_statement_with_its_parameters_is_accepted() {
    let place = Place::new();
    let path = place.database("a.db", "wal", ITEMS);
    let origin = SqliteOrigin::open(OriginOptions::new(NAME, &path)).unwrap();
    let id = [("id", ParamKind::Integer)];
    let refused: &[(&str, &[(&str, ParamKind)])] = &[
        ("DELETE FROM item", &[]),
        ("INSERT INTO item(id) VALUES (3) RETURNING id", &[]),
        ("SELECT 1 AS a; SELECT 2 AS b", &[]),
        ("", &[]),
        ("ATTACH 'x' AS y", &[]),
        ("PRAGMA user_version", &[]),
        ("PRAGMA journal_mode = delete", &[]),
        ("BEGIN", &[]),
        ("EXPLAIN SELECT * FROM item", &[]),
        ("SELECT load_extension('x') AS a", &[]),
        ("SELECT id, id FROM item", &[]),
        ("SELECT nothing FROM item", &[]),
        ("SELECT * FROM nowhere", &[]),
        ("SELECT * FROM item WHERE id = :id", &[]),
        ("SELECT * FROM item WHERE id = ?", &[]),
        ("SELECT * FROM item WHERE id = ?1", &id),
        ("SELECT * FROM item WHERE id = @id", &id),
        ("SELECT * FROM item", &id),
        ("SELECT * FROM item WHERE id = :id", &[id[0], id[0]]),
    ];
    for (sql, params) in refused {
        let error = origin.prepare(sql, &declare(params)).unwrap_err();
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Config | ErrorKind::Origin), "{sql}: {error:?}");
        assert!(!error.is_retryable());
    }
    assert!(origin.prepare("SELECT * FROM item WHERE id = :id; ", &declare(&id)).is_ok());
}

#[test]
fn a_result_over_a_limit_is_an_error_that_names_the_limit() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", ITEMS), Track::Database);
    let statement = world.prepare("SELECT name FROM item", &[]);
    let over_rows = Query { max_rows: 1, ..query(&statement, vec![]) };
    let over_bytes = Query { max_bytes: 3, ..query(&statement, vec![]) };
    for (query, limit) in [(over_rows, "max_rows"), (over_bytes, "max_bytes")] {
        let error = world.load(&query).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains(limit), "{error}");
    }
    assert!(world.load(&Query { max_rows: 2, max_bytes: 5, ..query(&statement, vec![]) }).is_ok());
}

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
    SELECT count(*) AS c FROM n";

#[test]
fn a_load_ends_at_its_deadline_and_the_reader_goes_on() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", ITEMS), Track::Database);
    let endless = world.prepare(ENDLESS, &[]);
    let endless = Query { deadline: Duration::from_millis(20), ..query(&endless, vec![]) };
    let quick = world.prepare("SELECT id FROM item", &[]);
    for _ in 0..3 {
        assert_eq!(world.load(&endless).unwrap_err().kind(), ErrorKind::Timeout);
        assert!(world.load(&query(&quick, vec![])).is_ok());
    }
}

#[test]
fn a_dropped_load_and_a_dropped_origin_interrupt_the_statement() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", ITEMS), Track::Database);
    let endless = query(&world.prepare(ENDLESS, &[]), vec![]);
    let endless = Query { deadline: Duration::from_secs(3600), ..endless };
    let quick = query(&world.prepare("SELECT id FROM item", &[]), vec![]);
    for _ in 0..4 {
        // More than there are readers, so all of them would be lost.
        let mut load = world.origin.load_boxed(&endless, world.ledger.stamp());
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        assert!(load.as_mut().poll(&mut context).is_pending());
    }
    assert!(world.load(&quick).is_ok());
    let mut load = world.origin.load_boxed(&endless, world.ledger.stamp());
    let mut context = Context::from_waker(Waker::noop());
    assert!(load.as_mut().poll(&mut context).is_pending());
    drop(load);
    drop(world);
}

trait LoadBoxed {
    fn load_boxed<'a>(
        &'a self,
        query: &'a Query,
        before: Stamp,
    ) -> larder_core::BoxFuture<
        'a,
        Result<larder_core::origin::Answer<larder_sqlite::Rows>, larder_core::Error>,
    >;
}

impl LoadBoxed for Arc<SqliteOrigin> {
    fn load_boxed<'a>(
        &'a self,
        query: &'a Query,
        before: Stamp,
    ) -> larder_core::BoxFuture<
        'a,
        Result<larder_core::origin::Answer<larder_sqlite::Rows>, larder_core::Error>,
    > {
        Origin::load(&**self, query, before)
    }
}

#[test]
fn a_missing_file_is_named_and_not_created() {
    let place = Place::new();
    let path = place.path("missing.db");
    let error = SqliteOrigin::open(OriginOptions::new(NAME, &path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("missing.db"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_database_is_said_to_be_none() {
    let place = Place::new();
    let path = place.path("text.db");
    std::fs::write(&path, "no database at all, and longer than a header has to be".repeat(20))
        .unwrap();
    let error = SqliteOrigin::open(OriginOptions::new(NAME, &path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_locked_database_is_unavailable_and_not_wrong() {
    let place = Place::new();
    let path = place.database("a.db", "delete", ITEMS);
    let world = World::open(&path, Track::Database);
    let statement = world.prepare("SELECT id FROM item", &[]);
    let lock = writer(&path);
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = world.load(&query(&statement, vec![])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    lock.execute_batch("COMMIT").unwrap();
    assert!(world.load(&query(&statement, vec![])).is_ok());
}

#[test]
fn a_changed_schema_is_analysed_again_before_the_answer() {
    let place = Place::new();
    let path = place.database("a.db", "wal", ITEMS);
    let world = World::open(&path, Track::Database);
    let statement = world.prepare("SELECT * FROM item WHERE id = 1", &[]);
    assert_eq!(world.load(&query(&statement, vec![])).unwrap().rows.columns.len(), 4);
    writer(&path).execute_batch("ALTER TABLE item ADD COLUMN shelf TEXT DEFAULT 'A'").unwrap();
    let answer = world.load(&query(&statement, vec![])).unwrap();
    assert_eq!(answer.rows.columns.len(), 5);
    assert_eq!(answer.rows.rows[0].len(), 5);
    assert_eq!(statement.columns().len(), 5);
}

#[test]
fn an_untracked_origin_has_no_feed_and_still_answers() {
    let place = Place::new();
    let path = place.database("a.db", "wal", ITEMS);
    let options = OriginOptions { track: Track::None, ..OriginOptions::new(NAME, &path) };
    let origin = SqliteOrigin::open(options).unwrap();
    assert!(origin.feed().is_none());
    let statement = origin.prepare("SELECT id FROM item", &[]).unwrap();
    let before = Stamp { timeline: NAME.into(), epoch: Epoch(1), as_of: Position(0) };
    let answer = block_on(Origin::load(&*origin, &query(&statement, vec![]), before.clone()));
    let answer = answer.unwrap();
    assert_eq!(answer.rows.rows.len(), 2);
    assert_eq!(answer.stamp, before);
}

#[test]
fn check_says_what_the_journal_means() {
    let place = Place::new();
    for (journal, level) in [("wal", NoticeLevel::Info), ("delete", NoticeLevel::Warning)] {
        let path = place.database(&format!("{journal}.db"), journal, ITEMS);
        let origin = SqliteOrigin::open(OriginOptions::new(NAME, &path)).unwrap();
        let notices = origin.check();
        let about = notices.iter().find(|notice| notice.text.contains("journal mode is"));
        assert_eq!(about.unwrap().level, level);
    }
}

/// A waker as of an executor that has a fault.
#[derive(Debug, Default)]
struct Faulty(AtomicBool);

impl Wake for Faulty {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        panic!("on purpose, on a reader's thread");
    }
}

#[test]
fn a_panic_on_a_readers_thread_leaves_the_reader_at_work() {
    let place = Place::new();
    let path = place.database("a.db", "wal", ITEMS);
    let options = OriginOptions { readers: 1, ..OriginOptions::new(NAME, &path) };
    let origin = SqliteOrigin::open(options).unwrap();
    let count = query(&origin.prepare("SELECT count(*) AS n FROM item", &[]).unwrap(), vec![]);
    let stamp = Stamp { timeline: NAME.into(), epoch: Epoch(0), as_of: Position::START };
    for _ in 0..3 {
        let faulty = Arc::new(Faulty::default());
        // A load that is answered before it is polled wakes nobody.
        while !faulty.0.load(Ordering::SeqCst) {
            let mut load = origin.load(&count, stamp.clone());
            let waker = Waker::from(faulty.clone());
            let polled = load.as_mut().poll(&mut Context::from_waker(&waker));
            while polled.is_pending() && !faulty.0.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
        let (done, answered) = std::sync::mpsc::channel();
        let (again, count, stamp) = (origin.clone(), count.clone(), stamp.clone());
        std::thread::spawn(move || done.send(block_on(again.load(&count, stamp))));
        let answer = answered.recv_timeout(Duration::from_secs(10));
        assert_eq!(answer.expect("the reader answers").unwrap().rows.rows, [[2.into()]]);
    }
}
