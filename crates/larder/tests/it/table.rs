//! Entries that are built from the records of a cached table (ruling J2).
//!
//! **Invariant** under test: an entry falls with every change that its table hears of, however the
//! table hears of it, and none is stored from records that were older than its stamp.

use std::{
    ops::Bound,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    BoxFuture, Cache, Change, Clock, Dependency, Doubt, Epoch, Error, ErrorKind, Feed, FeedSink,
    Fork, Load, Name, Position, Region,
    sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin, Track, track},
    table::{Asked, Definition, Index, Ranges, Record, Rules, Table},
};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
struct Reading {
    id: i64,
    device: i64,
    value: i64,
}

impl Record for Reading {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

type Readings = (Table<Reading, i64>, Index<Reading, i64>);

/// A table of what `rows` finds, with its window on the devices.
fn readings(rows: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Readings {
    let mut definition = Definition::new("readings");
    let by_device = definition.index("device", |one: &Reading| one.device);
    let by_id = definition.primary();
    let rows = Arc::new(rows);
    let own = rows.clone();
    definition.loads_by(&by_device, move |devices: Ranges<i64>, fill| {
        let found = own().into_iter().filter(move |one| devices.contains(&one.device));
        std::future::ready(fill.put_all(found))
    });
    definition.loads_by(&by_id, move |ids: Ranges<i64>, fill| {
        let found = rows().into_iter().filter(move |one| ids.contains(&one.id));
        std::future::ready(fill.put_all(found))
    });
    (definition.build(&by_device).unwrap(), by_device)
}

/// The sum of the values of a device, built from the table.
struct Sums {
    region: Region<i64, i64>,
    loads: Arc<AtomicUsize>,
}

impl Sums {
    fn new(cache: &Cache, asked: Asked<Reading, i64, i64>) -> Self {
        let (asked, loads) = (Arc::new(asked), Arc::<AtomicUsize>::default());
        let counted = loads.clone();
        let region = cache.region("sums").never_expires().loader(move |device: i64, load: Load| {
            let asked = asked.clone();
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let rows = load.ask(&*asked, &Ranges::only([device])).await?;
                Ok::<i64, Error>(rows.iter().map(|one| one.value).sum())
            }
        });
        Self { region: region.build().unwrap(), loads }
    }

    async fn of(&self, device: i64) -> i64 {
        *self.region.get_or_load(&device).await.unwrap()
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

/// A change in the origin drops what was built from the records that it is in, and nothing else.
#[tokio::test]
async fn entries_fall_with_the_rows_of_the_records_they_were_built_from() {
    let directory = TempDir::new("table").unwrap();
    let path = directory.join("shop.db");
    let application = Connection::open(&path).unwrap();
    application
        .execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE reading(id INTEGER PRIMARY KEY, device INTEGER, value INTEGER);
             INSERT INTO reading VALUES (1, 7, 10), (2, 7, 20), (3, 8, 30);",
        )
        .unwrap();
    let options = OriginOptions { track: Track::Rows, ..OriginOptions::new("shop", &path) };
    let shop = SqliteOrigin::open(options).unwrap();
    let device = Param { name: "device".to_owned(), kind: ParamKind::Integer };
    let all = shop.prepare("SELECT * FROM reading WHERE device = :device", &[device]).unwrap();
    track::plan(&path, &"shop".into(), &[all]).unwrap().apply(&path).unwrap();

    let fork = Fork::new(shop.feed().unwrap());
    let cache = Cache::builder().feed(fork.branch()).build().unwrap();
    let other = Mutex::new(Connection::open(&path).unwrap());
    let (table, by_device) = readings(move || {
        let other = other.lock().unwrap();
        let mut select = other.prepare("SELECT id, device, value FROM reading").unwrap();
        let rows = select.query_map([], |row| {
            Ok(Reading { id: row.get(0)?, device: row.get(1)?, value: row.get(2)? })
        });
        rows.unwrap().map(Result::unwrap).collect()
    });
    let rules = Rules::new().touches("reading", &by_device, |row| row.integer("device"));
    table.follow(fork.branch(), rules, Clock::system()).unwrap();
    table.load(Ranges::all()).await.unwrap();
    let asked = table.asked_by(&by_device).naming(|devices| {
        let scope = |(low, _): (Bound<&i64>, _)| match low {
            Bound::Included(device) => Dependency::scope("shop", "reading", [("device", *device)]),
            _ => Dependency::table("shop", "reading"),
        };
        devices.iter().map(scope).collect()
    });
    let sums = Sums::new(&cache, asked);

    assert_eq!((sums.of(7).await, sums.of(8).await), (30, 30));
    application.execute("UPDATE reading SET value = 11 WHERE id = 1", []).unwrap();
    cache.catch_up().await.unwrap();
    assert_eq!((sums.of(7).await, sums.of(8).await, sums.loads()), (31, 30, 3));
    application.execute("UPDATE reading SET device = 8 WHERE id = 2", []).unwrap();
    cache.catch_up().await.unwrap();
    assert_eq!((sums.of(7).await, sums.of(8).await, sums.loads()), (11, 50, 5));
}

/// An origin in memory that tells nobody.
fn silent(rows: &[(i64, i64, i64)]) -> (Arc<Mutex<Vec<Reading>>>, Readings) {
    let reading = |&(id, device, value): &(i64, i64, i64)| Reading { id, device, value };
    let rows = Arc::new(Mutex::new(rows.iter().map(reading).collect::<Vec<_>>()));
    let own = rows.clone();
    (rows, readings(move || own.lock().unwrap().clone()))
}

/// What the application invalidates in the table falls in the cache, also where reads of the table
/// are served stale by name until somebody refreshes.
#[tokio::test]
async fn entries_fall_with_what_is_invalidated_by_hand_and_are_never_built_from_stale_records() {
    let (rows, (table, by_device)) = silent(&[(1, 7, 10), (2, 7, 20)]);
    table.load(Ranges::all()).await.unwrap();
    let cache = Cache::builder().build().unwrap();
    let sums = Sums::new(&cache, table.asked_by(&by_device));
    assert_eq!(sums.of(7).await, 30);
    rows.lock().unwrap()[0].value = 11;
    assert_eq!((sums.of(7).await, sums.loads()), (30, 1), "nobody was told");
    table.invalidation().keys([1]).serve_stale().commit().unwrap();
    cache.invalidate([table.dependency()]).await.unwrap();
    assert_eq!((sums.of(7).await, sums.loads()), (31, 2));
}

/// A feed that tells when it is asked, and not before.
#[derive(Debug)]
struct Late {
    name: Name,
    sink: OnceLock<Arc<dyn FeedSink>>,
    committed: Arc<AtomicU64>,
}

impl Late {
    fn new(committed: &Arc<AtomicU64>) -> Arc<Self> {
        let (sink, committed) = (OnceLock::new(), committed.clone());
        Arc::new(Self { name: "shop".into(), sink, committed })
    }
}

impl Feed for Late {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        sink.restarted("shop", Epoch(1), Position(0), Doubt::Started);
        self.sink.set(sink).map_err(|_| Error::new(ErrorKind::Conflict, "start twice"))
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        let (sink, position) =
            (self.sink.get().unwrap(), Position(self.committed.load(Ordering::SeqCst)));
        if Position(0) < position {
            let changed = Change::Touch(Dependency::table("shop", "reading"));
            sink.received("shop", position, &[changed]);
        }
        sink.confirmed("shop", position, Clock::system().now());
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) {}
}

/// The cache knows a commit that the table was not told of: what is built then shows it.
#[tokio::test]
async fn table_that_was_told_less_than_the_cache_is_told_before_it_answers() {
    let (rows, (table, by_device)) = silent(&[(1, 7, 10)]);
    let committed = Arc::<AtomicU64>::default();
    let (own, other) = (Late::new(&committed), Late::new(&committed));
    let cache = Cache::builder().feed(own).build().unwrap();
    let rules = Rules::new().touches("reading", &by_device, |row| row.integer("device"));
    table.follow(other, rules.max_staleness(HOUR), Clock::system()).unwrap();
    table.load(Ranges::all()).await.unwrap();
    let sums = Sums::new(&cache, table.asked_by(&by_device));
    rows.lock().unwrap()[0].value = 11;
    committed.store(1, Ordering::SeqCst);
    cache.catch_up().await.unwrap();
    assert_eq!(sums.of(7).await, 11);
    let late = table.range(&by_device, 7..8).await.unwrap();
    assert_eq!(late.iter().map(|one| one.value).collect::<Vec<_>>(), [11]);
}

/// Who asked before there was a feed would be stamped on the wrong timeline.
#[tokio::test]
async fn table_that_follows_a_feed_since_is_not_asked_on_the_old_timeline() {
    let (_, (table, by_device)) = silent(&[(1, 7, 10)]);
    let cache = Cache::builder().build().unwrap();
    let sums = Sums::new(&cache, table.asked_by(&by_device));
    table.follow(Late::new(&Arc::default()), Rules::new(), Clock::system()).unwrap();
    table.load(Ranges::all()).await.unwrap();
    let refused = sums.region.get_or_load(&7).await.unwrap_err();
    let refused = format!("{refused:?}");
    assert!(refused.contains("after `follow`"), "{refused}");
}
