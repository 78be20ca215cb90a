//! Rows of an origin that a loader read by its own means and named by hand.
//!
//! The feed tells of what its triggers log; of the rest it can only tell that something was
//! committed. **Invariant** under test: whatever a loader names, no commit to it goes unheard.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{
    Cache, Dependency, Error, Load, Region,
    sqlite::{OriginOptions, SqliteOrigin, Track, track},
};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

const MINUTE: Duration = Duration::from_secs(60);

/// A database in which `book` is tracked with all its columns, `author` with one of two, and
/// `note` not at all.
struct Place {
    directory: TempDir,
    application: Mutex<Connection>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("named").unwrap();
        let application = Connection::open(directory.join("shop.db")).unwrap();
        application
            .execute_batch(
                "PRAGMA journal_mode = wal;
                 CREATE TABLE book(id INTEGER PRIMARY KEY, text TEXT);
                 CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT, text TEXT);
                 CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT);
                 INSERT INTO book VALUES (1, 'old');
                 INSERT INTO author VALUES (1, 'name', 'old');
                 INSERT INTO note VALUES (1, 'old')",
            )
            .unwrap();
        let place = Self { directory, application: Mutex::new(application) };
        let origin = SqliteOrigin::open(OriginOptions::new("shop", place.path())).unwrap();
        let statements = ["SELECT * FROM book", "SELECT id, name FROM author"]
            .map(|sql| origin.prepare(sql, &[]).unwrap());
        let plan = track::plan(&place.path(), &"shop".into(), &statements).unwrap();
        plan.apply(&place.path()).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    /// A region whose loader reads row 1 of the table of that name and names it.
    fn region(&self) -> (Cache, Region<String, String>) {
        let options =
            OriginOptions { track: Track::Rows, ..OriginOptions::new("shop", self.path()) };
        let shop = SqliteOrigin::open(options).unwrap();
        let cache = Cache::builder().feed(shop.feed().unwrap()).build().unwrap();
        let path = Arc::new(self.path());
        let loader = move |table: String, load: Load| {
            let path = path.clone();
            async move {
                let connection = Connection::open(&*path).unwrap();
                let sql = format!("SELECT text FROM {table} WHERE id = 1");
                let text: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
                load.depends_on(Dependency::id("shop", table.as_str(), [1]));
                Ok::<_, Error>(text)
            }
        };
        let builder = cache.region::<String, String>("texts").ttl(MINUTE).max_staleness(MINUTE);
        let region = builder.loader(loader).build().unwrap();
        (cache, region)
    }

    fn execute(&self, sql: &str, params: [&str; 1]) {
        self.application.lock().unwrap().execute(sql, params).unwrap();
    }

    fn set(&self, table: &str, text: &str) {
        let sql = format!("UPDATE {table} SET text = ?1 WHERE id = 1");
        self.execute(&sql, [text]);
    }
}

#[tokio::test]
async fn no_commit_to_what_was_named_goes_unheard() {
    for table in ["book", "author", "note"] {
        let place = Place::new();
        let (cache, region) = place.region();
        let key = table.to_owned();
        // Of a table that is not watched whole the first value is not kept: see `companion`.
        region.get_or_load(&key).await.unwrap();
        assert_eq!(*region.get_or_load(&key).await.unwrap(), "old", "{table}");
        cache.catch_up().await.unwrap();
        assert!(region.get(&key).await.unwrap().is_some(), "{table} is cached");
        place.set(table, "new");
        cache.catch_up().await.unwrap();
        assert_eq!(*region.get_or_load(&key).await.unwrap(), "new", "{table}");
    }
}

#[tokio::test]
async fn what_is_tracked_whole_falls_with_its_own_row_alone() {
    let place = Place::new();
    let (cache, region) = place.region();
    region.get_or_load(&"book".into()).await.unwrap();
    for _ in 0..2 {
        region.get_or_load(&"note".into()).await.unwrap();
    }
    assert!(region.get(&"note".into()).await.unwrap().is_some());
    place.execute("INSERT INTO book VALUES (2, ?1)", ["other"]);
    cache.catch_up().await.unwrap();
    assert!(region.get(&"book".into()).await.unwrap().is_some());
    // Of this table nobody can say that it was not changed.
    assert!(region.get(&"note".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_table_that_is_not_there_falls_with_every_commit() {
    let place = Place::new();
    let (cache, _) = place.region();
    let loader = async |_, load: Load| {
        load.depends_on(Dependency::table("shop", "boook"));
        Ok::<_, Error>(0)
    };
    let region = cache.region::<u32, u32>("mistaken").ttl(MINUTE).loader(loader).build().unwrap();
    for _ in 0..2 {
        region.get_or_load(&1).await.unwrap();
    }
    assert!(region.get(&1).await.unwrap().is_some());
    place.set("book", "new");
    cache.catch_up().await.unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_between_the_reading_and_the_naming_is_heard() {
    let place = Arc::new(Place::new());
    let (cache, _) = place.region();
    let application = place.clone();
    let loader = move |_: u32, load: Load| {
        let place = application.clone();
        async move {
            let connection = Connection::open(place.path()).unwrap();
            let sql = "SELECT text FROM note WHERE id = 1";
            let text: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
            if text == "old" {
                connection.execute("UPDATE note SET text = 'new'", []).unwrap();
            }
            load.depends_on(Dependency::id("shop", "note", [1]));
            Ok::<_, Error>(text)
        }
    };
    let region = cache.region::<u32, String>("raced").ttl(MINUTE).loader(loader).build().unwrap();
    assert_eq!(*region.get_or_load(&1).await.unwrap(), "old");
    assert_eq!(*region.get_or_load(&1).await.unwrap(), "new");
}
