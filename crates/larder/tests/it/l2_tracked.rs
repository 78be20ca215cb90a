//! Values that can be invalidated and outlive the process: a region over memory and a SQLite file.
//!
//! **Invariant** under test: what was invalidated does not come back from the store, whoever asks
//! and whatever ended in between; what was not touched does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    BoxFuture, Cache, Change, Clock, Dependency, Description, Error, Feed, FeedSink, Load, Name,
    Region, Source, Span, Store, Tracked, Value, WallMillis, sqlite::store::SqliteStore,
};
use larder_core::{
    Epoch, Position,
    announcement::{Cursor, Look},
    claim::Fence,
    store::{
        Applied, Attached, Begins, Follows, FoundRecord, Judgement, Knows, NewRecord, SchemesKnown,
        Step, TrackedStore, Written,
    },
};
use larder_testkit::temp::TempDir;
use tokio::sync::Semaphore;

use crate::peer::{self, Peer};

const MINUTE: Duration = Duration::from_secs(60);

/// A file, a clock, and loads that are counted.
struct Place {
    directory: TempDir,
    clock: Clock,
    loads: Arc<AtomicUsize>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("tracked").unwrap();
        Self { directory, clock: Clock::manual(), loads: Arc::default() }
    }

    async fn store(&self) -> SqliteStore {
        let options = crate::options().clock(self.clock.clone());
        SqliteStore::open_with(self.directory.path().join("cache.db"), options).await.unwrap()
    }

    /// One life of a process.
    async fn life(&self) -> (Cache, Region<String, u64>) {
        let cache = Cache::builder().clock(self.clock.clone()).store(self.store().await);
        let cache = cache.build().unwrap();
        let region = self.region(&cache).unwrap();
        (cache, region)
    }

    /// The value under a key is the number of its load, and depends on what the key names.
    fn region(&self, cache: &Cache) -> Result<Region<String, u64>, Error> {
        let loads = self.loads.clone();
        let builder = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
        builder
            .loader(move |key: String, load: Load| {
                let number = loads.fetch_add(1, Ordering::SeqCst) as u64;
                async move {
                    load.depends_on(dependency(&key));
                    Ok::<_, Error>(number)
                }
            })
            .build()
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

/// What the key names: `tag:x`, `id:1`, `scope:1`, `from:1`.
fn dependency(key: &str) -> Dependency {
    let (kind, name) = key.split_once(':').unwrap();
    let number = || name.parse::<i64>().unwrap();
    match kind {
        "id" => Dependency::id("app", "Book", [number()]),
        "scope" => Dependency::scope("app", "Book", [("shelf", number())]),
        "from" => {
            let span = Span::between(
                std::ops::Bound::Included(number().into()),
                std::ops::Bound::Unbounded,
            );
            Dependency::table("app", "Book").within("shelf", span)
        }
        _ => Dependency::tag(name),
    }
}

async fn source(region: &Region<String, u64>, key: &str) -> Source {
    region.fetch(&key.into()).await.unwrap().source
}

#[tokio::test]
async fn a_tracked_value_outlives_the_process() {
    let place = Place::new();
    {
        let (_cache, region) = place.life().await;
        assert_eq!(source(&region, "tag:a").await, Source::Loaded);
    }
    let (cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Store);
    assert_eq!(source(&region, "tag:a").await, Source::Hit);
    // And falls as if it had been loaded here.
    assert_eq!(cache.invalidate([Dependency::tag("a")]).await.unwrap().touched, [1]);
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
    assert_eq!(place.loads(), 2);
}

#[tokio::test]
async fn what_was_invalidated_does_not_come_back_and_the_rest_does() {
    let place = Place::new();
    let keys = ["tag:a", "tag:b", "id:1", "id:2", "scope:1", "scope:2"];
    {
        let (cache, region) = place.life().await;
        for key in keys {
            assert_eq!(source(&region, key).await, Source::Loaded);
        }
        cache.invalidate(["tag:a", "id:1", "scope:1"].map(dependency)).await.unwrap();
    }
    let (_cache, region) = place.life().await;
    for (key, expected) in keys.into_iter().zip([
        Source::Loaded,
        Source::Store,
        Source::Loaded,
        Source::Store,
        Source::Loaded,
        Source::Store,
    ]) {
        assert_eq!(source(&region, key).await, expected, "{key}");
    }
}

#[tokio::test]
async fn what_is_only_in_the_store_falls_in_the_next_life() {
    let place = Place::new();
    let keys = ["tag:a", "tag:b", "from:1"];
    {
        let (_cache, region) = place.life().await;
        for key in keys {
            source(&region, key).await;
        }
    }
    {
        // Nobody reads here: memory has nothing that could fall.
        let (cache, _region) = place.life().await;
        let fell = ["tag:a", "scope:1"].map(dependency);
        assert_eq!(cache.invalidate(fell).await.unwrap().touched, [0, 0]);
        drop(cache.invalidate([Dependency::tag("c")]).await.unwrap());
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
    assert_eq!(source(&region, "tag:b").await, Source::Store);
    // Nobody held the range, so the whole table counts.
    assert_eq!(source(&region, "from:1").await, Source::Loaded);
}

#[tokio::test]
async fn everything_falls_in_one_step() {
    let place = Place::new();
    {
        let (cache, region) = place.life().await;
        source(&region, "tag:a").await;
        cache.invalidate([Dependency::everything("app")]).await.unwrap();
        source(&region, "tag:b").await;
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
    assert_eq!(source(&region, "tag:b").await, Source::Store);
}

#[tokio::test]
async fn a_load_that_was_overtaken_leaves_nothing_in_the_store() {
    let place = Place::new();
    {
        let (cache, region) = place.life().await;
        let begun = region.begin(&"tag:a".into());
        begun.load().depends_on(Dependency::tag("a"));
        cache.invalidate([Dependency::tag("a")]).await.unwrap();
        assert_eq!(*begun.finish(7).await.unwrap(), 7);
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
}

#[tokio::test]
async fn a_restored_store_shows_nothing_that_was_invalidated_since() {
    // J5: the line begins a new life, which this node takes up, and the next one finds.
    let place = Place::new();
    let backup = place.directory.path().join("backup.db");
    {
        let (cache, region) = place.life().await;
        source(&region, "tag:a").await;
        let store = place.store().await;
        store.backup(&backup).await.unwrap();
        cache.invalidate([Dependency::tag("a")]).await.unwrap();
        store.restore(&backup).await.unwrap();
        assert_eq!(source(&region, "tag:a").await, Source::Loaded);
        // Once the node has looked, the store takes what it loads again.
        cache.catch_up().await.unwrap();
        let overtaken = region.stats().store_overtaken;
        assert_eq!(source(&region, "tag:b").await, Source::Loaded);
        assert_eq!(region.stats().store_overtaken, overtaken);
        store.restore(&backup).await.unwrap();
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
}

/// A row with a shelf.
struct Book {
    id: i64,
    shelf: i64,
}

impl Tracked for Book {
    fn description() -> &'static Description {
        static OF_BOOK: std::sync::LazyLock<Description> = std::sync::LazyLock::new(|| {
            Description::of("app", "Book").with_columns(&["id", "shelf"], &[0])
        });
        &OF_BOOK
    }

    fn image(&self) -> Vec<Value> {
        vec![self.id.into(), self.shelf.into()]
    }
}

#[tokio::test]
async fn a_row_falls_into_the_scopes_of_an_earlier_life_and_into_no_others() {
    let place = Place::new();
    {
        let (_cache, region) = place.life().await;
        for key in ["scope:1", "scope:2"] {
            source(&region, key).await;
        }
    }
    {
        let (cache, _region) = place.life().await;
        let book = Book { id: 7, shelf: 1 };
        cache.changed([Change::created(&book)]).await.unwrap();
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "scope:1").await, Source::Loaded);
    assert_eq!(source(&region, "scope:2").await, Source::Store);
}

/// A feed that says nothing, of an origin that may have recorded anything meanwhile.
#[derive(Debug)]
struct Silent(Name);

impl Feed for Silent {
    fn timeline(&self) -> &Name {
        &self.0
    }

    fn start(&self, _: Arc<dyn FeedSink>) -> Result<(), Error> {
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) {}
}

#[tokio::test]
async fn everything_falls_where_an_origin_may_have_recorded_something_in_between() {
    let place = Place::new();
    {
        let (_cache, region) = place.life().await;
        source(&region, "tag:a").await;
    }
    {
        let feed = Arc::new(Silent("shop".into()));
        let cache = Cache::builder().clock(place.clock.clone()).store(place.store().await);
        let cache = cache.feed(feed).build().unwrap();
        cache.close().await;
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
}

/// A store whose writes of records wait until a test lets them go on.
#[derive(Debug)]
struct Late {
    store: SqliteStore,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    came: Semaphore,
    open: Semaphore,
}

#[derive(Debug)]
struct LateTracked {
    tracked: Arc<dyn TrackedStore>,
    gate: Arc<Gate>,
}

impl Store for Late {
    fn get<'a>(&'a self, r: &'a str, k: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        self.store.get(r, k)
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: Vec<u8>,
        until: Option<WallMillis>,
        fence: Fence,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Store::put(&self.store, region, key, record, until, fence)
    }

    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Store::remove(&self.store, region, key)
    }

    fn attach(&self, origins: &[Name], follows: Follows) -> Result<Option<Attached>, Error> {
        let gate = self.gate.clone();
        let late = |attached: Attached| Attached {
            tracked: Arc::new(LateTracked { tracked: attached.tracked, gate }),
            ..attached
        };
        Ok(self.store.attach(origins, follows)?.map(late))
    }
}

impl TrackedStore for LateTracked {
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<FoundRecord>, Error>> {
        self.tracked.get(region, key)
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(async move {
            self.gate.came.add_permits(1);
            self.gate.open.acquire().await.unwrap().forget();
            self.tracked.put(region, key, record).await
        })
    }

    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>> {
        self.tracked.apply(steps, knows)
    }

    fn look(&self, since: Cursor, schemes: usize) -> BoxFuture<'static, Result<Look, Error>> {
        self.tracked.look(since, schemes)
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        self.tracked.next_commit()
    }
}

#[tokio::test]
async fn a_write_that_was_overtaken_on_its_way_into_the_store_is_not_done() {
    let place = Place::new();
    {
        let gate = Arc::new(Gate { came: Semaphore::new(0), open: Semaphore::new(0) });
        let store = Late { store: place.store().await, gate: gate.clone() };
        let cache = Cache::builder().clock(place.clock.clone()).store(store).build().unwrap();
        let region = place.region(&cache).unwrap();
        let reader = tokio::spawn({
            let region = region.clone();
            async move { source(&region, "tag:a").await }
        });
        gate.came.acquire().await.unwrap().forget();
        // In memory, and in the store, before the record is.
        cache.invalidate([Dependency::tag("a")]).await.unwrap();
        gate.open.add_permits(1);
        assert_eq!(reader.await.unwrap(), Source::Loaded);
        assert_eq!(region.stats().store_overtaken, 1);
    }
    let (_cache, region) = place.life().await;
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
}

#[tokio::test]
async fn a_store_that_missed_a_step_shows_nothing_from_before_it() {
    let place = Place::new();
    let store = place.store().await;
    let attached = store.attach(&["shop".into()], Follows::Places).unwrap().unwrap();
    assert_eq!(attached.standings, []);
    let step = |epoch, from, to| Step {
        timeline: "shop".into(),
        epoch: Epoch(epoch),
        begins: from,
        position: Position(to),
        digests: Vec::new(),
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: None,
        announced: None,
    };
    let after = |from, to| step(1, Begins::After(Position(from)), to);
    let tracked = &attached.tracked;
    let brought = async |step| tracked.apply(vec![step], Arc::new(|_| true)).await.unwrap().refused;
    assert_eq!(brought(step(1, Begins::Anew(None), 10)).await, []);
    assert_eq!(floor(tracked).await, Position(10));
    assert_eq!(brought(after(10, 11)).await, []);
    assert_eq!(floor(tracked).await, Position(10));
    // Told twice it is the same step.
    assert_eq!(brought(after(10, 11)).await, []);
    assert_eq!(floor(tracked).await, Position(10));
    assert_eq!(brought(after(12, 13)).await, []);
    assert_eq!(floor(tracked).await, Position(13));
}

/// The floor of `shop`, as whoever reads a record is told.
async fn floor(tracked: &Arc<dyn TrackedStore>) -> Position {
    let record = NewRecord {
        bytes: vec![1],
        until: None,
        digests: Vec::new(),
        schemes: Vec::new(),
        judge: Box::new(|_| Judgement::Right(Position(u64::MAX))),
        fence: Fence::Open,
    };
    assert_eq!(tracked.put("numbers", b"any", record).await.unwrap(), Written::Kept);
    let FoundRecord { standings, .. } = tracked.get("numbers", b"any").await.unwrap().unwrap();
    standings.iter().find(|own| &*own.timeline == "shop").unwrap().floor
}

/// Run in a process of its own by the test below.
#[test]
fn life_of_a_process_that_is_killed() {
    let Some(path) = peer::place() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open_with(path, crate::options()).await.unwrap();
        let cache = Cache::builder().store(store).build().unwrap();
        let place = Place::new();
        let region = place.region(&cache).unwrap();
        for key in ["tag:a", "tag:b"] {
            assert_eq!(source(&region, key).await, Source::Loaded);
        }
        cache.invalidate([Dependency::tag("a")]).await.unwrap();
        peer::say("invalidated");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn what_was_invalidated_stays_so_where_the_process_is_killed_at_once() {
    let directory = TempDir::new("killed").unwrap();
    let path = directory.path().join("cache.db");
    let mut peer = Peer::start("l2_tracked::life_of_a_process_that_is_killed", &path);
    assert_eq!(peer.says(), "invalidated");
    peer.kill();
    let cache = Cache::builder()
        .store(SqliteStore::open_with(&path, crate::options()).await.unwrap())
        .build()
        .unwrap();
    let region = Place::new().region(&cache).unwrap();
    assert_eq!(source(&region, "tag:a").await, Source::Loaded);
    assert_eq!(source(&region, "tag:b").await, Source::Store);
}
