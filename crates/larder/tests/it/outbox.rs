//! Invalidations that are committed with the data of a SQLite database, by nodes that share it.
//!
//! The values under test are read behind larder's back and have nothing but a tag, which no trigger
//! could know of: only the record can make them fall. **Invariant** under test: the commit of the
//! data is all that has to happen.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder::{
    Cache, Dependency, Error, Event, Invalidation, Load, Mode, Notice, Position, Region, Source,
    Subscription, What,
    sqlite::{OriginOptions, SqliteOrigin, Track, outbox, track},
};
use larder_testkit::temp::TempDir;
use rusqlite::{Connection, Transaction};

use crate::gate::{Gate, row_dependency, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);
const FRONT: &str = "front";

struct Place {
    directory: TempDir,
    application: Connection,
}

/// One process that serves from the database.
struct Node {
    shop: Arc<SqliteOrigin>,
    cache: Cache,
    pages: Region<u32, String>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("outbox").unwrap();
        let application = Connection::open(directory.join("shop.db")).unwrap();
        application.pragma_update(None, "journal_mode", "wal").unwrap();
        let schema = "CREATE TABLE page(text TEXT); INSERT INTO page VALUES ('old')";
        application.execute_batch(schema).unwrap();
        let place = Self { directory, application };
        track::plan(&place.path(), &"shop".into(), &[]).unwrap().apply(&place.path()).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    /// A node whose feed looks when it is asked, unless something is written.
    fn node(&self) -> Node {
        let options =
            OriginOptions { track: Track::Rows, ..OriginOptions::new("shop", self.path()) };
        let shop = SqliteOrigin::open(options).unwrap();
        let cache = Cache::builder().feed(shop.feed().unwrap()).build().unwrap();
        let path = self.path();
        let loader = move |_: u32, load: Load| {
            let path = path.clone();
            async move {
                load.tag(FRONT);
                Ok::<_, Error>(text(&path))
            }
        };
        let builder = cache.region::<u32, String>("pages").ttl(MINUTE);
        let pages = builder.stale_while_revalidate(MINUTE).loader(loader).build().unwrap();
        Node { shop, cache, pages }
    }

    /// Writes `text` and records `invalidation`, in a transaction that is not ended yet.
    fn begin(&mut self, node: &Node, text: &str, invalidation: &Invalidation) -> Transaction<'_> {
        let transaction = self.application.transaction().unwrap();
        transaction.execute("UPDATE page SET text = ?1", [text]).unwrap();
        for record in node.shop.records(invalidation).unwrap() {
            transaction.execute(outbox::INSERT, [record.bytes()]).unwrap();
        }
        transaction
    }
}

fn text(path: &std::path::Path) -> String {
    let connection = Connection::open(path).unwrap();
    connection.query_row("SELECT text FROM page", [], |row| row.get(0)).unwrap()
}

fn front(mode: Mode) -> Invalidation {
    let mut invalidation = Invalidation::new(mode);
    invalidation.extend([Dependency::tag(FRONT)]);
    invalidation
}

impl Node {
    async fn read(&self) -> (String, Source) {
        let fetched = self.pages.fetch(&1).await.unwrap();
        (fetched.value.to_string(), fetched.source)
    }
}

/// What is told next; fails where nothing is, for the wait has no other end.
async fn next(told: &mut Subscription) -> Event {
    match tokio::time::timeout(MINUTE, told.next()).await {
        Ok(Some(Notice::Invalidated(event))) => event,
        other => panic!("{other:?}"),
    }
}

fn got(text: &str, source: Source) -> (String, Source) {
    (text.to_owned(), source)
}

#[tokio::test]
async fn what_was_rolled_back_was_never_recorded() {
    let mut place = Place::new();
    let node = place.node();
    node.read().await;
    let position = app(&node.cache);
    place.begin(&node, "new", &front(Mode::Hard)).rollback().unwrap();
    node.cache.catch_up().await.unwrap();
    assert_eq!(node.read().await, got("old", Source::Hit));
    assert_eq!(app(&node.cache), position);
}

fn app(cache: &Cache) -> Position {
    let status = cache.status();
    status.timelines.iter().find(|timeline| &*timeline.name == "app").unwrap().applied
}

#[tokio::test]
async fn every_node_learns_of_a_commit_whose_writer_says_nothing_more() {
    let mut place = Place::new();
    let (first, second) = (place.node(), place.node());
    first.read().await;
    second.read().await;
    let mut told = second.cache.subscribe();
    place.begin(&first, "new", &front(Mode::Hard)).commit().unwrap();
    drop(place.application);
    // Nobody is asked: its watcher finds it.
    let event = next(&mut told).await;
    assert_eq!((event.what, event.entries), (What::Named([Dependency::tag(FRONT)].into()), 1));
    assert_eq!(second.read().await, got("new", Source::Loaded));
    // Whoever wants to read it here and now asks.
    first.cache.catch_up().await.unwrap();
    assert_eq!(first.read().await, got("new", Source::Loaded));
    assert_eq!(first.read().await, got("new", Source::Hit));
}

#[tokio::test]
async fn a_token_of_one_node_brings_what_was_recorded_to_another() {
    let mut place = Place::new();
    let (first, second) = (place.node(), place.node());
    second.read().await;
    place.begin(&first, "new", &front(Mode::Hard)).commit().unwrap();
    first.cache.catch_up().await.unwrap();
    second.cache.reach(&first.cache.token(), MINUTE).await.unwrap();
    assert_eq!(second.read().await, got("new", Source::Loaded));
}

#[tokio::test]
async fn a_node_that_starts_after_the_crash_serves_nothing_from_before_it() {
    let mut place = Place::new();
    let gone = place.node();
    gone.read().await;
    place.begin(&gone, "new", &front(Mode::Hard)).commit().unwrap();
    drop(gone);
    let node = place.node();
    assert_eq!(node.read().await, got("new", Source::Loaded));
    assert_eq!(node.read().await, got("new", Source::Hit));
}

#[tokio::test]
async fn a_soft_record_leaves_stale_values_behind() {
    let mut place = Place::new();
    let node = place.node();
    node.read().await;
    place.begin(&node, "new", &front(Mode::Soft)).commit().unwrap();
    node.cache.catch_up().await.unwrap();
    let (text, source) = node.read().await;
    assert_eq!(text, "old");
    assert!(source.is_stale(), "{source:?}");
}

#[tokio::test]
async fn a_load_that_ran_over_a_record_is_not_stored() {
    let mut place = Place::new();
    let node = place.node();
    let gate = Gate::closed();
    let region = gate.region(&node.cache).ttl(MINUTE).build().unwrap();
    let before = spawn_read(&region);
    gate.begun().await;
    gate.write(2);
    let mut named = Invalidation::new(Mode::Hard);
    named.extend([row_dependency()]);
    place.begin(&node, "new", &named).commit().unwrap();
    node.cache.catch_up().await.unwrap();
    let after = spawn_read(&region);
    tokio::task::yield_now().await;
    gate.let_one_end();
    gate.let_one_end();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2);
    assert_eq!(region.stats().overtaken, 1);
}

#[tokio::test]
async fn everything_falls_when_a_record_cannot_be_read() {
    let place = Place::new();
    let node = place.node();
    node.read().await;
    let mut told = node.cache.subscribe();
    place.application.execute(outbox::INSERT, [vec![7]]).unwrap();
    place.application.execute("UPDATE page SET text = 'new'", []).unwrap();
    node.cache.catch_up().await.unwrap();
    let event = next(&mut told).await;
    assert_eq!((&*event.timeline, event.entries), ("app", 1));
    assert_eq!(event.what, What::Restarted(larder::Doubt::Undecodable));
    assert_eq!(node.read().await, got("new", Source::Loaded));
    assert_eq!(node.read().await, got("new", Source::Hit), "and then it goes on");
}

#[tokio::test]
async fn a_load_that_ran_over_a_record_that_cannot_be_read_is_not_stored() {
    let place = Place::new();
    let node = place.node();
    let gate = Gate::closed();
    let region = gate.region(&node.cache).ttl(MINUTE).build().unwrap();
    let before = spawn_read(&region);
    gate.begun().await;
    gate.write(2);
    place.application.execute(outbox::INSERT, [vec![7]]).unwrap();
    node.cache.catch_up().await.unwrap();
    let after = spawn_read(&region);
    tokio::task::yield_now().await;
    gate.let_one_end();
    gate.let_one_end();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2);
    assert_eq!(region.stats().overtaken, 1);
}
