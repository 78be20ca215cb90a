//! Rows that are handed over while they are read: one snapshot, refusals, and nobody left to take
//! them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use larder_core::{Error, ErrorKind, Value};
use larder_sqlite::{ParamKind, Part, SqlRow, SqliteOrigin, Stream, Track};

use crate::place::{Place, World, block_on, query};

const NUMBERS: &str = "CREATE TABLE number(n INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE);
    WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 19999)
    INSERT INTO number SELECT n, 'n' || n FROM c;";

fn stream(world: &World, parts: Vec<Part>) -> Stream {
    let statement = world.prepare("SELECT n, name FROM number", &[]);
    let deadline = Duration::from_secs(60);
    Stream { statement, params: Vec::new(), parts, shape: None, deadline }
}

fn below(end: i64) -> Part {
    Part { condition: Some("n < :larder_0".into()), values: vec![Value::Integer(end)] }
}

fn take(
    origin: &SqliteOrigin,
    stream: Stream,
    mut each: impl FnMut(usize, i64) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    let sink = move |part: usize, row: &SqlRow<'_>| each(part, row.at(0)?);
    block_on(origin.stream(stream, sink))
}

/// More rows than an answer may have, and all parts of one moment.
#[test]
fn parts_are_of_one_moment_whatever_is_committed_meanwhile() {
    let place = Place::new();
    let path = place.database("a.db", "wal", NUMBERS);
    let world = World::open(&path, Track::Database);
    let asked = stream(&world, vec![below(3), Part::whole()]);
    let writer = rusqlite::Connection::open(&path).unwrap();
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let own = counts.clone();
    let each = move |part: usize, n: i64| {
        if part == 0 && n == 0 {
            writer.execute_batch("DELETE FROM number WHERE n > 5").unwrap();
        }
        own[part].fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    take(&world.origin, asked, each).unwrap();
    let [few, all] = &*counts;
    assert_eq!((few.load(Ordering::SeqCst), all.load(Ordering::SeqCst)), (3, 20_000));
    let again = stream(&world, vec![Part::whole()]);
    let (sender, receiver) = mpsc::channel();
    let each = move |_, n| {
        sender.send(n).unwrap();
        Ok(())
    };
    take(&world.origin, again, each).unwrap();
    assert_eq!(receiver.iter().collect::<Vec<i64>>(), [0, 1, 2, 3, 4, 5]);
}

/// A part is asked for in parentheses around the text, in which such an end could not stand.
#[test]
fn text_may_end_as_sqlite_lets_it_end() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    for text in [
        "SELECT n FROM number",
        "SELECT n FROM number ;",
        "SELECT n FROM number -- all",
        "SELECT n FROM number; -- all; of\n-- them\n",
        "SELECT n FROM number /* all; */ ; ; /* of them */ -- them",
        "SELECT n FROM number; /* without an end",
        "SELECT n, ';--' AS a, '/*''; ' AS \"; \"\"/*\", 1 -- ;\n AS [;--], 2 AS `--` FROM number;",
        "SELECT n FROM number WHERE name <> 'a;--' -- '\n AND name <> '\u{e9}/*';",
    ] {
        let statement = world.prepare(text, &[]);
        world.origin.result_shape(&statement).unwrap();
        assert_eq!(
            world.load(&query(&statement, Vec::new())).unwrap_err().kind(),
            ErrorKind::Limit
        );
        let (parts, deadline) = (vec![below(7), Part::whole()], Duration::from_secs(60));
        let asked = Stream { statement, params: Vec::new(), parts, shape: None, deadline };
        let (sender, receiver) = mpsc::channel();
        let each = move |part, n| {
            sender.send((part, n)).unwrap();
            Ok(())
        };
        take(&world.origin, asked, each).unwrap();
        let counts = receiver.iter().fold([0, 0], |mut counts, (part, _)| {
            counts[part] += 1;
            counts
        });
        assert_eq!(counts, [7, 20_000], "{text}");
    }
    let two = world.origin.prepare("SELECT 1 AS n; -- one\nSELECT 2 AS n", &[]).unwrap_err();
    assert!(two.to_string().contains("more than one statement"), "{two}");
}

/// What is refused, does not fit or panics ends this stream, and the reader goes on.
#[test]
fn stream_ends_with_what_its_sink_refuses() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    let whole = || stream(&world, vec![Part::whole()]);
    let each = |_, n| match n {
        7 => Err(Error::new(ErrorKind::Limit, "take")),
        8.. => panic!("row {n} after a refusal"),
        _ => Ok(()),
    };
    assert_eq!(take(&world.origin, whole(), each).unwrap_err().kind(), ErrorKind::Limit);
    let sink = |_: usize, row: &SqlRow<'_>| row.get::<i64>("name").map(drop);
    let error = block_on(world.origin.stream(whole(), sink)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Origin);
    assert!(error.to_string().contains("`name`") && error.to_string().contains("text"), "{error}");
    let absent = |_: usize, row: &SqlRow<'_>| row.get::<i64>("nought").map(drop);
    let error = block_on(world.origin.stream(whole(), absent)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let panics = |_, _| panic!("a test panics on purpose");
    let error = take(&world.origin, whole(), panics).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let condition = Some("1; DELETE FROM number".to_owned());
    let part = Part { condition, values: Vec::new() };
    let error = take(&world.origin, stream(&world, vec![part]), |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Origin);
    assert!(take(&world.origin, whole(), |_, _| Ok(())).is_ok());
}

/// Dropping the future ends the reading, though the statement is far from its end.
#[test]
fn stream_that_nobody_waits_for_ends() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    let asked = stream(&world, vec![Part::whole(); 1_000]);
    let (taken, first) = mpsc::channel();
    let (ends, ended) = mpsc::channel::<()>();
    let sink = move |_: usize, _: &SqlRow<'_>| {
        let _ends = &ends;
        taken.send(()).ok();
        Ok(())
    };
    let mut reading = Box::pin(world.origin.stream(asked, sink));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(reading.as_mut().poll(&mut context).is_pending());
    first.recv().unwrap();
    drop(reading);
    // The sink goes when the reader is done with it, which takes the other half of this along.
    assert!(ended.recv().is_err());
    assert!(first.iter().count() < 20_000_000 - 1, "not all was read");
}

/// Many short statements are stopped too: SQLite counts the steps of all runs of one.
#[test]
fn stream_of_many_parts_ends_by_its_deadline() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    let parts = vec![below(0); 200_000];
    let asked = Stream { deadline: Duration::from_millis(20), ..stream(&world, parts) };
    let error = take(&world.origin, asked, |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// However many streams there are, one reader is left for loads, and the streams come in turn.
#[test]
fn loads_go_on_beside_streams() {
    let place = Place::new();
    let path = place.database("a.db", "wal", NUMBERS);
    let world = World::open(&path, Track::Database);
    let question = query(&world.prepare("SELECT count(*) FROM number", &[]), Vec::new());
    let (opens, gate) = mpsc::channel::<()>();
    let (gate, (loaded, ends)) = (Arc::new(Mutex::new(gate)), mpsc::channel());
    std::thread::scope(|scope| {
        // Dropped at the end of this, whatever the end is: then the gate is open.
        let _opens = opens;
        for _ in 0..3 {
            let (gate, asked) = (gate.clone(), stream(&world, vec![below(1)]));
            let each = move |_, _| gate.lock().unwrap().recv().or(Ok(()));
            let origin = &world.origin;
            scope.spawn(move || take(origin, asked, each).unwrap());
        }
        let (world, question) = (&world, &question);
        scope.spawn(move || {
            // So many that streams which come late to the queue are behind some of them.
            (0..100).for_each(|_| drop(world.load(question).unwrap()));
            loaded.send(()).unwrap();
        });
        ends.recv_timeout(Duration::from_secs(60)).expect("a stream has taken the last reader");
    });
}

#[test]
fn columns_of_a_result_say_how_they_compare_and_what_they_are() {
    let place = Place::new();
    let schema =
        "CREATE TABLE a(id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT COLLATE NOCASE,
            code TEXT COLLATE RTRIM);
        CREATE TABLE b(id INTEGER PRIMARY KEY, a INTEGER);
        CREATE VIEW v AS SELECT name AS id FROM a UNION ALL SELECT a FROM b;";
    let world = World::open(&place.database("a.db", "wal", schema), Track::Database);
    let columns = |sql: &str| {
        let statement = world.prepare(sql, &[]);
        let columns = world.origin.result_shape(&statement).unwrap().columns;
        let said = columns.iter().map(|column| {
            let source = column.source.as_ref();
            let source = source.map(|(table, own)| format!("{table}.{}", own.name));
            (column.is_binary, column.never_null, source.unwrap_or_default())
        });
        said.collect::<Vec<_>>()
    };
    let said = |is_binary, never_null, source: &str| (is_binary, never_null, source.to_owned());
    let plain = "SELECT a.id, name, city, code, city COLLATE BINARY AS c, id + 1 AS d FROM a";
    assert_eq!(
        columns(plain),
        [
            said(true, true, "a.id"),
            said(true, true, "a.name"),
            said(false, false, "a.city"),
            said(false, false, "a.code"),
            said(true, false, ""),
            said(true, false, ""),
        ]
    );
    let outer = "SELECT b.id, a.name FROM b LEFT JOIN a ON a.id = b.a -- all of b";
    assert_eq!(columns(outer), [said(true, false, "b.id"), said(true, false, "a.name")]);
    let union = "SELECT id FROM a UNION SELECT a FROM b";
    assert_eq!(columns(union), [said(true, false, "")]);
    assert_eq!(columns("SELECT id FROM v"), [said(true, false, "")]);
}

/// Two letters of UTF-16 are in another order than the bytes of UTF-8.
#[test]
fn no_column_of_a_database_in_utf16_compares_as_utf8() {
    let place = Place::new();
    let schema = "CREATE TABLE a(id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO a VALUES (1, '\u{ffe6}'), (2, '\u{1f600}');";
    let of = |encoding: &str| {
        let schema = format!("PRAGMA encoding = '{encoding}'; {schema}");
        let path = place.database(&format!("{encoding}.db"), "delete", &schema);
        let world = World::open(&path, Track::Database);
        let statement = world.prepare("SELECT id, name FROM a ORDER BY name", &[]);
        let columns = world.origin.result_shape(&statement).unwrap().columns;
        let rows = world.load(&query(&statement, Vec::new())).unwrap().rows.rows;
        let ids: Vec<Value> = rows.into_iter().map(|row| row[0].clone()).collect();
        (columns.iter().map(|own| own.is_binary).collect::<Vec<_>>(), ids)
    };
    let (first, second) = (Value::Integer(1), Value::Integer(2));
    assert_eq!(of("UTF-8"), (vec![true, true], vec![first.clone(), second.clone()]));
    assert_eq!(of("UTF-16be"), (vec![false, false], vec![second, first]));
}

/// A condition names the columns of the result, so each must be found by its name.
#[test]
fn columns_that_a_condition_cannot_name_are_refused() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    let of = |sql: &str, params: &[(&str, ParamKind)]| {
        world.origin.result_shape(&world.prepare(sql, params))
    };
    let like_parameter = [("larder_0", ParamKind::Integer)];
    for (sql, params, named) in [
        ("SELECT n AS id, name AS ID FROM number", &[][..], "`ID`"),
        ("SELECT n, name COLLATE BINARY FROM number", &[], "COLLATE BINARY`"),
        ("SELECT n FROM number WHERE n < :larder_0", &like_parameter, "larder_0"),
    ] {
        let error = of(sql, params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{sql}");
        assert!(error.to_string().contains(named), "{sql}: {error}");
    }
    assert!(of("SELECT n, name COLLATE BINARY AS name FROM number", &[]).is_ok());
}

/// Says on drop whether its thread panics.
struct Tells(mpsc::Sender<bool>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(std::thread::panicking()).unwrap();
    }
}

/// Whoever takes rows may have the last handle on the origin, and is dropped on its reader.
#[test]
fn origin_that_ends_on_its_own_reader_does_not_wait_for_it() {
    let place = Place::new();
    let world = World::open(&place.database("a.db", "wal", NUMBERS), Track::Database);
    let asked = stream(&world, vec![below(1)]);
    let origin = world.origin.clone();
    drop(world);
    let (tell, told) = mpsc::channel();
    let (begin, began) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let held = (origin.clone(), Tells(tell));
    let sink = move |_: usize, _: &SqlRow<'_>| {
        let (_origin, _tells) = &held;
        begin.send(()).unwrap();
        gone.recv().unwrap();
        Ok(())
    };
    let mut future = Box::pin(origin.stream(asked, sink));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    began.recv().unwrap();
    drop(future);
    drop(origin);
    go.send(()).unwrap();
    assert!(!told.recv_timeout(Duration::from_secs(60)).unwrap());
}
