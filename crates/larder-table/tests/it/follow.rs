//! Tables that follow a real SQLite database, written by other connections.

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{Clock, Error};
use larder_sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin, Track, track};
use larder_table::{Definition, Fill, Image, Index, Ranges, Record, Rules, Table};
use larder_testkit::temp::TempDir;
use parking_lot::Mutex;

use super::database::{connect, drop_triggers, write};

#[derive(Clone, Debug, PartialEq)]
struct Person {
    id: i64,
    name: String,
    city_id: i64,
    city: String,
}

impl Record for Person {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, city_id INTEGER, version INTEGER);
    INSERT INTO city VALUES (1, 'Bern'), (2, 'Rome');
    INSERT INTO person VALUES (1, 'Ada', 1, 0), (2, 'Bob', 2, 0), (3, 'Cyd', 1, 0);
    INSERT INTO person VALUES (9, 'Zoe', 2, 0);";

struct Ground {
    _dir: TempDir,
    path: PathBuf,
    origin: Arc<SqliteOrigin>,
    loads: Arc<AtomicUsize>,
}

impl Ground {
    fn new() -> Self {
        let dir = TempDir::new("table").unwrap();
        let path = dir.path().join("people.sqlite");
        write(&path, SCHEMA);
        let options =
            || OriginOptions { track: Track::Rows, ..OriginOptions::new("people", &path) };
        let origin = SqliteOrigin::open(options()).unwrap();
        // What is selected is watched; what a condition names is what the log has of a row.
        let all = [
            "SELECT * FROM person WHERE city_id = :one AND version = :two",
            "SELECT * FROM city WHERE id = :one OR id = :two",
        ];
        let params =
            ["one", "two"].map(|name| Param { name: name.into(), kind: ParamKind::Integer });
        let statements = all.map(|sql| origin.prepare(sql, &params).unwrap());
        track::plan(&path, &"people".into(), &statements).unwrap().apply(&path).unwrap();
        Self { _dir: dir, origin, path, loads: Arc::default() }
    }

    /// Joined records of which `condition` holds, by city where it speaks of that, else by id.
    fn people(
        &self,
        condition: &'static str,
    ) -> impl Fn(Ranges<i64>, Fill<Person>) -> Ready<Result<(), Error>> + use<> {
        let (path, loads) = (self.path.clone(), self.loads.clone());
        move |ranges, fill| {
            loads.fetch_add(1, Ordering::SeqCst);
            let connection = connect(&path);
            let sql = format!(
                "SELECT p.id, p.name, p.city_id, c.name FROM person p JOIN city c \
                 ON c.id = p.city_id WHERE {condition}"
            );
            let mut select = connection.prepare(&sql).unwrap();
            let people = select.query_map([], |row| {
                Ok(Person {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    city_id: row.get(2)?,
                    city: row.get(3)?,
                })
            });
            let people: Vec<Person> = people.unwrap().map(Result::unwrap).collect();
            let key =
                |one: &Person| if condition.contains("city_id >") { one.city_id } else { one.id };
            ready(fill.put_all(people.into_iter().filter(|one| ranges.contains(&key(one)))))
        }
    }

    fn follow<R: Record>(&self, table: &Table<R, i64>, rules: Rules<R>) {
        let feed = self.origin.feed().expect("rows are tracked");
        table.follow(feed, rules.max_staleness(Duration::ZERO), Clock::system()).unwrap();
    }

    fn write(&self, sql: &str) {
        write(&self.path, sql);
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

/// T15 is no more: joined records follow the rows of both tables.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_join_are_loaded_again_when_a_row_of_either_table_changes() {
    let ground = Ground::new();
    let mut definition = Definition::new("people");
    let by_id = definition.primary();
    let by_city = definition.index("city", |one: &Person| one.city_id);
    definition.loads_by(&by_id, ground.people("p.id > 0"));
    definition.loads_by(&by_city, ground.people("p.city_id > 0"));
    let table = definition.build(&by_id).unwrap();
    let rules = Rules::new()
        .touches("person", &by_id, |row: &Image<'_>| row.integer("id"))
        .touches("city", &by_city, |row| row.integer("id"));
    ground.follow(&table, rules);
    table.load(Ranges::of(0..5).unwrap()).await.unwrap();
    let names = async |index: &Index<Person, i64>, low: i64, high: i64| {
        let found = table
            .select(index, Ranges::of(low..high).unwrap())
            .and(&by_id, Ranges::of(0..5).unwrap());
        let found = found.read().await.unwrap();
        found.iter().map(|one| format!("{} of {}", one.name, one.city)).collect::<Vec<_>>()
    };
    assert_eq!(names(&by_id, 0, 5).await, ["Ada of Bern", "Bob of Rome", "Cyd of Bern"]);
    let loads = ground.loads();
    ground.write("UPDATE city SET name = 'Berne' WHERE id = 1");
    assert_eq!(names(&by_city, 2, 3).await, ["Bob of Rome"]);
    assert_eq!(ground.loads(), loads, "nothing of city 2 changed");
    assert_eq!(names(&by_city, 1, 2).await, ["Ada of Berne", "Cyd of Berne"]);
    assert_eq!(ground.loads(), loads + 1);
    ground.write(
        "UPDATE person SET city_id = 2 WHERE id = 3; DELETE FROM person WHERE id = 1;
         INSERT INTO person VALUES (4, 'Dan', 1, 0); UPDATE person SET id = 7 WHERE id = 2;",
    );
    assert_eq!(names(&by_id, 0, 5).await, ["Cyd of Rome", "Dan of Berne"]);
    assert_eq!(table.stats().records, 2, "what left the window is gone");
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: i64,
    city: i64,
    version: i64,
}

impl Record for Row {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

fn row(image: &Image<'_>) -> Option<Row> {
    let version = image.integer("version")?;
    Some(Row { id: image.integer("id")?, city: image.integer("city_id")?, version })
}

/// A table of the rows of `person` as they are, by city.
fn rows(ground: &Ground) -> (Table<Row, i64>, Index<Row, i64>) {
    let mut definition = Definition::new("rows");
    let by_city = definition.index("city", |one: &Row| one.city);
    let (path, loads) = (ground.path.clone(), ground.loads.clone());
    definition.loads_by(&by_city, move |cities: Ranges<i64>, fill| {
        loads.fetch_add(1, Ordering::SeqCst);
        let connection = connect(&path);
        let mut select = connection.prepare("SELECT id, city_id, version FROM person").unwrap();
        let rows = select.query_map([], |row| {
            Ok(Row { id: row.get(0)?, city: row.get(1)?, version: row.get(2)? })
        });
        let rows: Vec<Row> = rows.unwrap().map(Result::unwrap).collect();
        ready(fill.put_all(rows.into_iter().filter(|row| cities.contains(&row.city))))
    });
    let table = definition.build(&by_city).unwrap();
    ground.follow(&table, Rules::new().records("person", row));
    (table, by_city)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_records_come_and_go_without_a_load() {
    let ground = Ground::new();
    let (table, by_city) = rows(&ground);
    table.load(Ranges::of(1..2).unwrap()).await.unwrap();
    let loads = ground.loads();
    ground.write(
        "INSERT INTO person VALUES (5, 'Eve', 1, 7), (6, 'Fay', 2, 7);
         UPDATE person SET city_id = 1, version = 8 WHERE id = 2;
         UPDATE person SET city_id = 2 WHERE id = 1;
         UPDATE person SET version = 9 WHERE id = 3; DELETE FROM person WHERE id = 5;",
    );
    let found = table.range(&by_city, 1..2).await.unwrap();
    let found: Vec<(i64, i64)> = found.iter().map(|one| (one.id, one.version)).collect();
    assert_eq!(found, [(2, 8), (3, 9)]);
    assert_eq!(ground.loads(), loads);
}

/// Another file under the same name, or a lost log: everything is loaded again.
#[tokio::test(flavor = "multi_thread")]
async fn doubt_about_the_origin_puts_everything_in_doubt() {
    let ground = Ground::new();
    let (table, by_city) = rows(&ground);
    table.load(Ranges::all()).await.unwrap();
    assert_eq!(table.range(&by_city, ..).await.unwrap().count(), 4);
    drop_triggers(&ground.path);
    ground.write("DELETE FROM person WHERE id < 3");
    assert_eq!(table.range(&by_city, ..).await.unwrap().count(), 2);
}

/// What must be seen of each row: the version that was committed last; and how many there were.
#[derive(Default)]
struct Truth(Mutex<BTreeMap<i64, i64>>, AtomicUsize);

/// T15: readers, two writers and adjusts at once: no read that began after a commit lacks it, and
/// no row of a covered range is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_a_commit_that_ended_before_it_began() {
    let ground = Ground::new();
    let (table, by_city) = rows(&ground);
    let truth = Arc::new(Truth::default());
    let insert: String = (100..160)
        .map(|id| format!("INSERT INTO person VALUES ({id}, '', {}, 0);", id % 6))
        .collect();
    ground.write(&insert);
    table.load(Ranges::of(0..3).unwrap()).await.unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2_i64)
        .map(|own| {
            let (path, truth, ends) = (ground.path.clone(), truth.clone(), ends.clone());
            std::thread::spawn(move || {
                let connection = connect(&path);
                let mut version = 0;
                while !ends.load(Ordering::Relaxed) {
                    version += 1;
                    let id = 100 + own + 2 * ((version * 7 + own) % 30);
                    let sql =
                        "UPDATE person SET version = ?1, city_id = (city_id + 1) % 6 WHERE id = ?2";
                    connection.execute(sql, (version, id)).unwrap();
                    truth.0.lock().insert(id, version);
                    truth.1.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let adjusting = tokio::spawn({
        let (table, ends) = (table.clone(), ends.clone());
        async move {
            let mut low = 0;
            while !ends.load(Ordering::Relaxed) {
                low = (low + 1) % 3;
                table.adjust(Ranges::of(low..low + 3).unwrap()).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut seen, mut reads) = (0, 0);
    while reads < 300 || truth.1.load(Ordering::SeqCst) < 200 {
        reads += 1;
        let committed = truth.0.lock().clone();
        // City 2 is in every window, the rest is loaded.
        let found = table.range(&by_city, 0..6).await.unwrap();
        let found: BTreeMap<i64, i64> = found.iter().map(|one| (one.id, one.version)).collect();
        for (id, version) in committed {
            // A row that moves between the part that is kept and the part that is loaded may be in
            // neither, which are of two moments.
            if let Some(own) = found.get(&id) {
                assert!(version <= *own, "row {id} is of version {own}, {version} was committed");
                seen += 1;
            }
        }
        let own = table.range(&by_city, 2..3).await.unwrap();
        assert!(own.iter().all(|one| one.city == 2));
    }
    ends.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    adjusting.await.unwrap();
    assert!(1000 < seen, "{seen} rows compared");
    table.adjust(Ranges::all()).await.unwrap();
    let last = table.range(&by_city, ..).await.unwrap();
    let last: BTreeMap<i64, i64> = last.iter().map(|one| (one.id, one.version)).collect();
    for (id, version) in truth.0.lock().iter() {
        assert_eq!(last.get(id), Some(version));
    }
    assert_eq!(last.len(), 64);
}

/// A table that nobody tracks, or that is not there, would never be told of.
#[tokio::test(flavor = "multi_thread")]
async fn rule_for_a_table_that_the_feed_does_not_watch_is_refused() {
    let ground = Ground::new();
    let mut definition = Definition::new("rows");
    let by_city = definition.index("city", |one: &Row| one.city);
    definition.loads_by(&by_city, |_, _| ready(Ok(())));
    let table = definition.build(&by_city).unwrap();
    ground.follow(&table, Rules::new().records("persons", row));
    let refused = table.load(Ranges::all()).await.unwrap_err();
    assert!(refused.to_string().contains("`persons`"), "{refused}");
}
