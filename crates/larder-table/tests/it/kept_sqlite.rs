//! Tables that begin with what was saved, on a real SQLite database that was written while nobody
//! listened.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Change, Clock, Epoch, Error, ErrorKind, Invalidation, Moment, Position,
    feed::{Doubt, Feed, FeedSink},
    fork::Fork,
};
use larder_sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin, Track, track};
use larder_table::{Codec, Definition, Image, Index, Lost, Ranges, Record, Restored, Rules, Table};
use larder_testkit::temp::TempDir;

use super::database::{connect, drop_triggers, write};

#[derive(Clone, Debug, PartialEq)]
struct Person {
    id: i64,
    city: i64,
    name: String,
}

impl Record for Person {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

struct Ground {
    dir: TempDir,
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE person (id INTEGER PRIMARY KEY, city INTEGER, name TEXT);
    INSERT INTO person VALUES (1, 1, 'Ada'), (2, 2, 'Bob'), (3, 1, 'Cyd'), (9, 9, 'Zoe');";

impl Ground {
    fn new() -> Self {
        let dir = TempDir::new("table-kept").unwrap();
        let ground = Self { dir };
        ground.write(SCHEMA);
        ground.track();
        ground
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("people.sqlite")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("people.kept")
    }

    fn track(&self) {
        let params = ["id", "city", "name"]
            .map(|name| Param { name: name.into(), kind: ParamKind::Integer });
        let sql = "SELECT * FROM person WHERE id = :id AND city = :city AND name = :name";
        let statement = self.origin(Track::Rows).prepare(sql, &params).unwrap();
        let plan = track::plan(&self.path(), &"people".into(), &[statement]).unwrap();
        plan.apply(&self.path()).unwrap();
    }

    fn origin(&self, track: Track) -> Arc<SqliteOrigin> {
        let options = OriginOptions { track, ..OriginOptions::new("people", self.path()) };
        SqliteOrigin::open(options).unwrap()
    }

    /// A table by city, which follows nothing yet.
    fn begin(&self) -> Process {
        let mut definition = Definition::new("people");
        let by_city = definition.index("city", |one: &Person| one.city);
        let (path, loads) = (self.path(), Arc::new(AtomicUsize::new(0)));
        let own = loads.clone();
        definition.loads_by(&by_city, move |cities: Ranges<i64>, fill| {
            own.fetch_add(1, Ordering::SeqCst);
            let all = people(&path).into_iter().filter(|one| cities.contains(&one.city));
            std::future::ready(fill.put_all(all))
        });
        Process { table: definition.build(&by_city).unwrap(), by_city, loads }
    }

    fn write(&self, sql: &str) {
        write(&self.path(), sql);
    }

    /// A process that loads cities 0 to 4, saves them, and ends.
    async fn save(&self, rules: Means) {
        let (process, feed) = (self.begin(), self.origin(Track::Rows).feed().unwrap());
        process.table.follow(feed, rules(&process.by_city), Clock::system()).unwrap();
        process.table.load(Ranges::of(0..5).unwrap()).await.unwrap();
        process.table.save(self.kept(), &codec()).await.unwrap();
    }

    /// A process that begins with what was saved.
    async fn restore(&self, rules: Means) -> (Process, Restored) {
        let (process, feed) = (self.begin(), self.origin(Track::Rows).feed().unwrap());
        let (rules, codec) = (rules(&process.by_city), codec());
        let restored = process.table.restore(self.kept(), &codec, feed, rules, Clock::system());
        let restored = restored.await.unwrap();
        (process, restored)
    }

    /// What was saved is of no use, and the table is loaded as ever.
    async fn is_lost(&self) {
        let (process, restored) = self.restore(ARE).await;
        assert!(matches!(restored, Restored::Lost(Lost::Anew(_))), "{restored:?}");
        assert_eq!(process.table.stats().records, 0);
        process.table.load(Ranges::of(0..5).unwrap()).await.unwrap();
        self.expect_true(&process).await;
        assert_eq!(process.loads(), 1);
    }

    /// The table shows what the origin has.
    async fn expect_true(&self, process: &Process) {
        let found = process.table.range(&process.by_city, 0..5).await.unwrap();
        let mut shown: Vec<Person> = found.iter().map(|one| (**one).clone()).collect();
        shown.sort_by_key(|one| one.id);
        let mut truth = people(&self.path());
        truth.retain(|one| (0..5).contains(&one.city));
        assert_eq!(shown, truth);
    }
}

/// A table of a process, and how often it has asked the origin.
struct Process {
    table: Table<Person, i64>,
    by_city: Index<Person, i64>,
    loads: Arc<AtomicUsize>,
}

impl Process {
    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

/// What a row means.
type Means = fn(&Index<Person, i64>) -> Rules<Person>;

/// It is the record.
const ARE: Means = |_| {
    let person = |row: &Image<'_>| {
        let (id, city) = (row.integer("id")?, row.integer("city")?);
        Some(Person { id, city, name: row.text("name")?.to_owned() })
    };
    Rules::new().records("person", person).max_staleness(Duration::ZERO)
};

/// Its city is loaded again.
const TOUCH: Means = |by_city| {
    let rules = Rules::new().touches("person", by_city, |row: &Image<'_>| row.integer("city"));
    rules.max_staleness(Duration::ZERO)
};

fn codec() -> Codec<Person> {
    let encode = |one: &Person, out: &mut Vec<u8>| {
        [one.id, one.city].iter().for_each(|part| out.extend_from_slice(&part.to_le_bytes()));
        out.extend_from_slice(one.name.as_bytes());
    };
    Codec::new(1, encode, |bytes| {
        let corrupt = || Error::new(ErrorKind::Corrupt, "decode a person");
        let (id, rest) = bytes.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (city, name) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let [id, city] = [id, city].map(|part| i64::from_le_bytes(*part));
        let name = String::from_utf8(name.to_vec()).map_err(|_| corrupt())?;
        Ok(Person { id, city, name })
    })
}

fn people(path: &Path) -> Vec<Person> {
    let connection = connect(path);
    let mut select = connection.prepare("SELECT id, city, name FROM person ORDER BY id").unwrap();
    let person = |row: &rusqlite::Row<'_>| {
        Ok(Person { id: row.get(0)?, city: row.get(1)?, name: row.get(2)? })
    };
    select.query_map([], person).unwrap().map(Result::unwrap).collect()
}

/// Issue 5: a warm restart. What changed while nobody listened is shown, and nobody is asked.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_table_shows_what_changed_meanwhile_without_a_load() {
    let ground = Ground::new();
    ground.save(ARE).await;
    ground.write(
        "UPDATE person SET name = 'Abe' WHERE id = 1; DELETE FROM person WHERE id = 2;
         INSERT INTO person VALUES (4, 3, 'Dan'); UPDATE person SET city = 7 WHERE id = 3;
         UPDATE person SET city = 2 WHERE id = 9;",
    );
    for _ in 0..2 {
        // Twice from the same file: a process may end before it saves.
        let (process, restored) = ground.restore(ARE).await;
        assert!(matches!(restored, Restored::Whole(3)), "{restored:?}");
        ground.expect_true(&process).await;
        ground.write("UPDATE person SET city = city + 1 WHERE id = 4");
        ground.expect_true(&process).await;
        assert_eq!(process.loads(), 0);
    }
    let (process, _) = ground.restore(ARE).await;
    process.table.save(ground.kept(), &codec()).await.unwrap();
    ground.write("UPDATE person SET name = 'Ann' WHERE id = 1");
    drop(process);
    let (process, restored) = ground.restore(ARE).await;
    assert!(matches!(restored, Restored::Whole(_)), "{restored:?}");
    ground.expect_true(&process).await;
    assert_eq!(process.loads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_table_loads_only_what_was_touched_meanwhile() {
    let ground = Ground::new();
    ground.save(TOUCH).await;
    ground.write("UPDATE person SET name = 'Abe' WHERE id = 1");
    let (process, restored) = ground.restore(TOUCH).await;
    assert!(matches!(restored, Restored::Whole(3)), "{restored:?}");
    assert_eq!(process.table.range(&process.by_city, 2..5).await.unwrap().count(), 1);
    assert_eq!(process.loads(), 0, "nothing of city 2 changed");
    ground.expect_true(&process).await;
    assert_eq!(process.loads(), 1);
    // Who did not follow a table, or followed it otherwise, may have missed it.
    let more: Means = |by_city| TOUCH(by_city).doubts("city");
    for others in [more, ARE] {
        let (_, restored) = ground.restore(others).await;
        assert!(matches!(restored, Restored::Lost(Lost::File(_))), "{restored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_whose_log_does_not_go_on_is_loaded() {
    // The database went back to an older state, and went another way.
    let ground = Ground::new();
    let older = ground.dir.path().join("older.sqlite");
    let copy = format!("VACUUM INTO '{}'", older.display());
    ground.write(&copy);
    ground.write("UPDATE person SET name = 'Abe' WHERE id = 1");
    ground.save(ARE).await;
    let back = |ground: &Ground| {
        let read = fs::read(&older).unwrap();
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", ground.path().display())).ok();
        }
        // The same file, by its number.
        fs::write(ground.path(), read).unwrap();
    };
    back(&ground);
    ground.is_lost().await;
    ground.write("UPDATE person SET name = 'Amy' WHERE id = 1");
    ground.is_lost().await;
    // Another file of the same content.
    let ground = Ground::new();
    ground.save(ARE).await;
    let moved = ground.dir.path().join("moved.sqlite");
    fs::copy(ground.path(), &moved).unwrap();
    fs::rename(&moved, ground.path()).unwrap();
    ground.is_lost().await;
    // The triggers were gone for a while.
    let ground = Ground::new();
    ground.save(ARE).await;
    drop_triggers(&ground.path());
    ground.write("UPDATE person SET name = 'Abe' WHERE id = 1");
    ground.track();
    ground.is_lost().await;
    // More happened than the log has.
    let ground = Ground::new();
    ground.save(ARE).await;
    ground.write("UPDATE person SET name = 'Abe' WHERE id = 1; DELETE FROM larder_log;");
    ground.is_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_is_told_of_any_commit_only_is_not_saved() {
    let ground = Ground::new();
    let (process, feed) = (ground.begin(), ground.origin(Track::Database).feed().unwrap());
    let rules = Rules::new().doubts("person");
    process.table.follow(feed, rules, Clock::system()).unwrap();
    process.table.load(Ranges::of(0..5).unwrap()).await.unwrap();
    let error = process.table.save(ground.kept(), &codec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("larder track"), "{error}");
}

/// Follows the feed only so that it is started.
#[derive(Debug)]
struct First;

impl FeedSink for First {
    fn received(&self, _: &str, _: Position, _: &[Change]) {}
    fn confirmed(&self, _: &str, _: Position, _: Moment) {}
    fn restarted(&self, _: &str, _: Epoch, _: Position, _: Doubt) {}
    fn recorded(&self, _: &str, _: &Invalidation) {}
    fn records_lost(&self, _: &str, _: Doubt) {}
}

impl Ground {
    /// A branch of a feed that somebody else has started.
    fn shared(&self) -> (Fork, Arc<dyn Feed>) {
        let fork = Fork::new(self.origin(Track::Rows).feed().unwrap());
        fork.branch().start(Arc::new(First)).unwrap();
        (fork.clone(), fork.branch())
    }
}

/// Issue 5: tables of a server share one watcher with its cache.
#[tokio::test(flavor = "multi_thread")]
async fn table_on_a_feed_that_others_started_is_saved_at_once_and_begins_with_that() {
    for means in [ARE, TOUCH] {
        let ground = Ground::new();
        let (process, (fork, feed)) = (ground.begin(), ground.shared());
        process.table.follow(feed, means(&process.by_city), Clock::system()).unwrap();
        process.table.load(Ranges::of(0..5).unwrap()).await.unwrap();
        process.table.save(ground.kept(), &codec()).await.unwrap();
        drop((process, fork));
        ground.write(
            "UPDATE person SET name = 'Abe' WHERE id = 1; DELETE FROM person WHERE id = 2;
             INSERT INTO person VALUES (4, 3, 'Dan'); UPDATE person SET city = 7 WHERE id = 3;",
        );
        for _ in 0..2 {
            let (process, (_fork, feed)) = (ground.begin(), ground.shared());
            // What is told between the beginning of the feed and that of the table.
            ground.write("UPDATE person SET name = name || '!' WHERE id = 1");
            let (rules, codec) = (means(&process.by_city), codec());
            let restored =
                process.table.restore(ground.kept(), &codec, feed, rules, Clock::system());
            let restored = restored.await.unwrap();
            assert!(matches!(restored, Restored::Whole(_)), "{restored:?}");
            ground.expect_true(&process).await;
            ground.write("UPDATE person SET city = city + 1 WHERE id = 4");
            ground.expect_true(&process).await;
            // By city what changed is loaded again, as ever.
            assert_eq!(process.loads() == 0, process.table.stats().refreshes == 0);
        }
        ground.write("DELETE FROM larder_log");
        let (process, (_fork, feed)) = (ground.begin(), ground.shared());
        let (rules, codec) = (means(&process.by_city), codec());
        let restored = process.table.restore(ground.kept(), &codec, feed, rules, Clock::system());
        let restored = restored.await.unwrap();
        assert!(matches!(restored, Restored::Lost(Lost::Anew(_))), "{restored:?}");
    }
}
