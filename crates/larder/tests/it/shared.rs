//! Tracked values and invalidations of caches, and of processes, on one store.
//!
//! Two caches with a handle each stand for two processes where nothing has to die; where one is to
//! be killed or stopped, this program is started again. **Invariant** under test: what one of them
//! invalidates is new in the other once that has looked, and at once in what both keep in the
//! store; a node that could not look calls nothing fresh.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    BoxFuture, Cache, Change, Clock, Dependency, Description, Error, Feed, FeedSink, Load,
    MemoryLimit, Name, Notice, Region, SingleFlight, Source, Span, Subscription, Tracked, Value,
    sqlite::store::SqliteStore,
};
use larder_core::feed::Mark;
use larder_testkit::{random::Random, temp::TempDir};
use tokio::sync::Semaphore;

use crate::peer::{self, Peer};

const MINUTE: Duration = Duration::from_secs(60);

/// A file, a clock, and an origin whose value is how often it was asked.
struct Place {
    directory: TempDir,
    clock: Clock,
    loads: Arc<AtomicUsize>,
    /// Loads of keys that begin with `gated` that came, and those that may go on.
    came: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// One of the nodes.
struct Node {
    cache: Cache,
    region: Region<String, u64>,
    store: SqliteStore,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("shared").unwrap();
        let (came, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        Self { directory, clock: Clock::manual(), loads: Arc::default(), came, open }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("cache.db")
    }

    async fn node(&self) -> Node {
        self.node_with(Vec::new(), Duration::from_secs(1)).await
    }

    /// A node that does not count on what it has not asked.
    async fn careful(&self) -> Node {
        self.node_with(Vec::new(), Duration::ZERO).await
    }

    async fn node_with(&self, feeds: Vec<Arc<dyn Feed>>, max_staleness: Duration) -> Node {
        let options = crate::options().clock(self.clock.clone());
        let store = SqliteStore::open_with(self.path(), options).await.unwrap();
        let builder = Cache::builder().clock(self.clock.clone()).store(store.clone());
        let cache = feeds.into_iter().fold(builder, larder::CacheBuilder::feed);
        let cache = cache.build().unwrap();
        let (loads, came, open) = (self.loads.clone(), self.came.clone(), self.open.clone());
        let region = cache
            .region::<String, u64>("numbers")
            .ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .max_staleness(max_staleness)
            .stored()
            .loader(move |key: String, load: Load| {
                let number = loads.fetch_add(1, Ordering::SeqCst) as u64;
                let (came, open) = (came.clone(), open.clone());
                async move {
                    load.depends_on(dependency(&key));
                    if key.starts_with("gated") {
                        came.add_permits(1);
                        open.acquire().await.unwrap().forget();
                    }
                    Ok::<_, Error>(number)
                }
            })
            .build()
            .unwrap();
        Node { cache, region, store }
    }
}

impl Node {
    async fn read(&self, key: &str) -> (u64, Source) {
        let fetched = self.region.fetch(&key.to_owned()).await.unwrap();
        (*fetched.value, fetched.source)
    }

    async fn invalidate(&self, name: &str) {
        drop(self.cache.invalidate([dependency(name)]).await.unwrap());
    }
}

/// What the key names: `tag:x`, `id:1`, `scope:1`, `from:1`, `shop:x`.
fn dependency(key: &str) -> Dependency {
    let (kind, name) = key.split_once(':').unwrap();
    let number = || name.parse::<i64>().unwrap();
    match kind {
        "id" => Dependency::id("app", "Book", [number()]),
        "scope" => Dependency::scope("app", "Book", [("shelf", number())]),
        "from" => {
            let from = std::ops::Bound::Included(number().into());
            let span = Span::between(from, std::ops::Bound::Unbounded);
            Dependency::table("app", "Book").within("shelf", span)
        }
        "shop" => Dependency::table("shop", name),
        _ => Dependency::tag(name),
    }
}

#[tokio::test]
async fn both_see_each_others_entries() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.node().await];
    assert_eq!(one.read("tag:a").await, (0, Source::Loaded));
    assert_eq!(other.read("tag:a").await, (0, Source::Store));
    assert_eq!(other.read("tag:b").await, (1, Source::Loaded));
    assert_eq!(one.read("tag:b").await, (1, Source::Store));
}

#[tokio::test]
async fn what_one_invalidates_is_new_in_the_other_once_that_has_looked() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.node().await];
    for node in [&one, &other] {
        assert_eq!(node.read("tag:a").await.0, 0);
        assert_eq!(node.read("tag:b").await.0, 1);
    }
    let mut told = other.cache.subscribe();
    one.invalidate("tag:a").await;
    // Nobody asks: the commit wakes the other node.
    let Some(Notice::Invalidated(event)) = told.next().await else { panic!("nothing was told") };
    assert_eq!(event.what.to_string(), "app/Tag(a)");
    assert_eq!(event.entries, 1);
    assert_eq!(other.read("tag:a").await, (2, Source::Loaded));
    assert_eq!(other.read("tag:b").await, (1, Source::Hit));
    assert_eq!(one.read("tag:a").await, (2, Source::Store));
}

#[tokio::test]
async fn whoever_asks_before_each_read_waits_for_nobody() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.careful().await];
    assert_eq!(other.read("tag:a").await.0, 0);
    for number in 1..20 {
        one.invalidate("tag:a").await;
        assert_eq!(other.read("tag:a").await.0, number);
    }
}

#[tokio::test]
async fn a_token_of_one_node_is_reached_on_the_other() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.node().await];
    assert_eq!(other.read("tag:a").await.0, 0);
    let invalidated = one.cache.invalidate([dependency("tag:a")]).await.unwrap();
    other.cache.reach(&invalidated.token, MINUTE).await.unwrap();
    assert_eq!(other.read("tag:a").await, (1, Source::Loaded));
}

#[tokio::test]
async fn what_is_softened_is_stale_in_the_other_too() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.node().await];
    assert_eq!(other.read("tag:a").await.0, 0);
    let soft = one.cache.invalidation().drop_all_of([dependency("tag:a")]).soft();
    drop(soft.commit().await.unwrap());
    other.cache.catch_up().await.unwrap();
    assert_eq!(other.read("tag:a").await, (0, Source::StaleWhileRevalidate));
}

#[tokio::test]
async fn a_load_that_another_node_overtakes_leaves_nothing_in_the_store() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.node().await];
    let reader = tokio::spawn({
        let region = other.region.clone();
        async move { *region.get_or_load(&"gated:a".into()).await.unwrap() }
    });
    place.came.acquire().await.unwrap().forget();
    // In its transaction, the other node's writer finds what it has not looked at.
    one.invalidate("gated:a").await;
    place.open.add_permits(1);
    assert_eq!(reader.await.unwrap(), 0);
    let third = place.node().await;
    assert_eq!(third.region.get(&"gated:a".into()).await.unwrap(), None);
}

#[tokio::test]
async fn an_invalidation_is_one_commit_in_each_file_and_a_claimed_load_two() {
    // What sharing costs where nobody shares: no transaction more than before for an invalidation.
    let place = Place::new();
    let options = crate::options().clock(place.clock.clone()).keep_every(MINUTE * 60);
    let store = SqliteStore::open_with(place.path(), options).await.unwrap();
    let cache = Cache::builder().clock(place.clock.clone()).store(store.clone()).build().unwrap();
    let commits = async || store.stats().await.unwrap().commits;
    let flights = [(SingleFlight::PerStore, 2), (SingleFlight::PerProcess, 1)];
    for (name, (single, expected)) in ["claimed", "unclaimed"].into_iter().zip(flights) {
        let region = cache.region::<String, u64>(name).ttl(MINUTE).stored().single_flight(single);
        let region = region.loader(async |_, load: Load| {
            load.tag("a");
            Ok::<_, Error>(1)
        });
        let region = region.build().unwrap();
        let before = commits().await;
        region.get_or_load(&"key".into()).await.unwrap();
        assert_eq!(commits().await - before, expected, "{name}");
    }
    let before = commits().await;
    drop(cache.invalidate([Dependency::tag("a")]).await.unwrap());
    assert_eq!(commits().await - before, store.paths().len() as u64);
}

#[tokio::test]
async fn everything_falls_for_all() {
    let place = Place::new();
    let [one, other] = [place.node().await, place.careful().await];
    assert_eq!(other.read("tag:a").await.0, 0);
    drop(one.cache.invalidate([Dependency::everything("app")]).await.unwrap());
    assert_eq!(other.read("tag:a").await, (1, Source::Loaded));
    assert_eq!(one.read("tag:a").await, (1, Source::Store));
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
async fn a_row_that_one_tells_of_falls_into_scopes_that_only_the_other_knows() {
    let place = Place::new();
    // The one that tells has never heard of a scope or a range of this table.
    let one = place.node().await;
    let other = place.careful().await;
    for key in ["scope:1", "from:1", "tag:a"] {
        assert!(matches!(other.read(key).await.1, Source::Loaded));
    }
    drop(one.cache.changed([Change::created(&Book { id: 7, shelf: 1 })]).await.unwrap());
    for (key, is_new) in [("scope:1", true), ("from:1", true), ("tag:a", false)] {
        let third = place.node().await;
        let stored = third.region.get(&key.into()).await.unwrap();
        assert_eq!(stored.is_none(), is_new, "{key} in the store");
        assert_eq!(other.read(key).await.1 == Source::Loaded, is_new, "{key}");
    }
}

#[tokio::test]
async fn rows_are_as_precise_as_what_the_teller_knows() {
    let place = Place::new();
    let one = place.node().await;
    let other = place.careful().await;
    for key in ["scope:1", "scope:2"] {
        other.read(key).await;
    }
    // By now the one knows by which columns the other chooses.
    one.cache.catch_up().await.unwrap();
    drop(one.cache.changed([Change::created(&Book { id: 7, shelf: 1 })]).await.unwrap());
    let third = place.node().await;
    assert_eq!(third.region.get(&"scope:1".into()).await.unwrap(), None);
    assert!(third.region.get(&"scope:2".into()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_restore_by_one_lets_everything_fall_in_the_other() {
    // J5.
    let place = Place::new();
    let [one, other] = [place.node().await, place.careful().await];
    assert_eq!(other.read("tag:a").await.0, 0);
    let backup = place.directory.join("backup.db");
    one.store.backup(&backup).await.unwrap();
    one.invalidate("tag:b").await;
    one.invalidate("tag:a").await;
    one.store.restore(&backup).await.unwrap();
    // The first after it gets the place that `tag:b` had.
    one.invalidate("tag:c").await;
    let [here, there] = [one.read("tag:a").await.0, other.read("tag:a").await.0];
    assert!(0 < here && 0 < there, "{here} {there}");
    one.invalidate("tag:a").await;
    assert!(here.max(there) < other.read("tag:a").await.0);
}

/// A feed that says nothing.
#[derive(Debug)]
struct Silent(Name);

impl Feed for Silent {
    fn timeline(&self) -> &Name {
        &self.0
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        let epoch = larder::Epoch(u64::from(std::process::id()));
        let start = larder::Position::START;
        sink.restarted(&self.0, epoch, start, larder::Doubt::Started);
        sink.confirmed(&self.0, start, larder::Moment::NEVER);
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) {}
}

#[tokio::test]
async fn what_depends_on_an_origin_is_kept_by_one_and_the_rest_by_both() {
    let place = Place::new();
    let feed = || -> Vec<Arc<dyn Feed>> { vec![Arc::new(Silent("shop".into()))] };
    let staleness = Duration::from_secs(1);
    let one = place.node_with(feed(), staleness).await;
    let other = place.node_with(feed(), staleness).await;
    // With its feed everything fell, since nobody could say what was recorded before.
    other.invalidate("tag:none").await;
    one.cache.catch_up().await.unwrap();
    assert_eq!(one.read("shop:x").await, (0, Source::Loaded));
    assert_eq!(one.read("tag:a").await, (1, Source::Loaded));
    // The same life of the origin by name, but nobody has said that it is the same.
    assert_eq!(other.read("shop:x").await, (2, Source::Loaded));
    assert_eq!(other.read("tag:a").await, (1, Source::Store));
    assert_eq!(other.region.stats().store_overtaken, 1);
}

/// A feed that is at a place of its log, and does not answer when it is asked about another one.
#[derive(Debug)]
struct Distant {
    name: Name,
    mark: u8,
    asked: Arc<AtomicUsize>,
}

impl Feed for Distant {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        let place = Some(larder::Position(1));
        sink.marking(&self.name, Some(Mark { bytes: vec![self.mark], place }));
        Silent(self.name.clone()).start(sink)
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn has_passed<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn stop(&self) {}
}

#[tokio::test]
async fn an_origin_is_asked_only_about_what_depends_on_it() {
    let place = Place::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let feed = |mark, asked: &Arc<AtomicUsize>| -> Vec<Arc<dyn Feed>> {
        vec![Arc::new(Distant { name: "shop".into(), mark, asked: asked.clone() })]
    };
    let staleness = Duration::from_secs(1);
    let one = place.node_with(feed(1, &asked), staleness).await;
    one.invalidate("tag:none").await;
    // In place of the life that `one` is in, which is not told of that.
    let other = place.node_with(feed(2, &Arc::default()), staleness).await;
    other.invalidate("tag:none").await;
    one.cache.catch_up().await.unwrap();
    for (key, number) in [("tag:a", 0), ("shop:x", 1)] {
        assert_eq!(other.read(key).await, (number, Source::Loaded));
    }
    assert_eq!(one.read("tag:a").await, (0, Source::Store));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(one.read("shop:x").await, (2, Source::Loaded));
    assert_ne!(asked.load(Ordering::SeqCst), 0);
}

/// How old the knowledge of the child may be.
const CHILD_STALENESS: Duration = Duration::from_millis(50);

/// Run in a process of its own by the tests below. For each line it is told, `read KEY` or
/// `drop KEY`, it does that and says what it found. It subscribes when it is told to `listen`, and
/// told to `hear` waits until something was invalidated since.
#[test]
fn life_of_a_peer() {
    let Some(path) = peer::place() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = system_node(&path, 100).await;
        let mut told = node.cache.subscribe();
        peer::say("ready");
        for line in peer::told() {
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("read", key) => {
                    let (value, source) = node.read(key).await;
                    peer::say(format_args!("{value} {source:?}"));
                }
                ("drop", key) => {
                    node.invalidate(key).await;
                    peer::say("dropped");
                }
                ("listen", _) => {
                    told = node.cache.subscribe();
                    peer::say("listens");
                }
                _ => {
                    hears(&mut told).await;
                    peer::say("heard");
                }
            }
        }
    });
}

/// A node by the clock of the machine, whose loads count from `first`.
async fn system_node(path: &Path, first: u64) -> Node {
    let store = SqliteStore::open_with(path, crate::options()).await.unwrap();
    let cache = Cache::builder().store(store.clone()).build().unwrap();
    let loads = Arc::new(AtomicU64::new(first));
    let region = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
    let region = region
        .max_staleness(CHILD_STALENESS)
        .loader(move |key: String, load: Load| {
            load.depends_on(dependency(&key));
            let number = loads.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Error>(number) }
        })
        .build()
        .unwrap();
    Node { cache, region, store }
}

/// Waits until something was invalidated.
async fn hears(told: &mut Subscription) {
    let notice = tokio::time::timeout(MINUTE, told.next()).await;
    assert!(matches!(notice, Ok(Some(Notice::Invalidated(_)))));
}

/// A process on the same store.
fn peer_at(place: &Place) -> Peer {
    let mut peer = Peer::start("shared::life_of_a_peer", &place.path());
    assert_eq!(peer.says(), "ready");
    peer
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_see_each_others_entries_and_invalidations() {
    let place = Place::new();
    let mut peer = peer_at(&place);
    let here = system_node(&place.path(), 0).await;
    let (key, value) = kept_by_both(&mut peer, &here).await;
    let mut told = here.cache.subscribe();
    assert_eq!(peer.does(format!("drop {key}")), "dropped");
    hears(&mut told).await;
    assert!(here.read(&key).await.0 < 100);
    assert_eq!(peer.does("listen"), "listens");
    here.invalidate(&key).await;
    assert_eq!(peer.does("hear"), "heard");
    assert_eq!(peer.does(format!("read {key}")), format!("{} Loaded", value + 1));
}

/// A key that the peer has loaded and this node has from the store, and its value. On a machine
/// that is too busy for that within the time that a flight has for the store, another one is tried.
async fn kept_by_both(peer: &mut Peer, here: &Node) -> (String, u64) {
    for number in 0..100 {
        let key = format!("tag:{number}");
        let said = peer.does(format!("read {key}"));
        let read = here.read(&key).await;
        if said == format!("{} Loaded", read.0) && read.1 == Source::Store {
            return (key, read.0);
        }
    }
    panic!("nothing came through the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_by_a_process_that_is_killed_then_is_known_here() {
    // A kill between its history and the commit leaves nothing, and nobody was told otherwise.
    let place = Place::new();
    let mut peer = peer_at(&place);
    let here = system_node(&place.path(), 0).await;
    assert_eq!(here.read("tag:a").await, (0, Source::Loaded));
    assert_eq!(here.read("tag:b").await, (1, Source::Loaded));
    assert_eq!(peer.does("drop tag:a"), "dropped");
    peer.kill();
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.read("tag:a").await, (2, Source::Loaded));
    assert_eq!(here.read("tag:b").await, (1, Source::Hit));
    // Another one begins, and this one goes on.
    let mut peer = peer_at(&place);
    assert_eq!(peer.does("drop tag:b"), "dropped");
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.read("tag:b").await, (3, Source::Loaded));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_for_longer_than_max_staleness_serves_nothing_old() {
    let place = Place::new();
    let mut peer = peer_at(&place);
    let here = system_node(&place.path(), 0).await;
    assert_eq!(peer.does("read tag:a"), "100 Loaded");
    for round in 1..=5 {
        peer.signal("-STOP");
        here.invalidate("tag:a").await;
        // How long it is stopped is what this is about.
        tokio::time::sleep(CHILD_STALENESS * 2).await;
        // It has the line before it goes on, so that nothing is quicker than its next read.
        peer.tell("read tag:a");
        peer.signal("-CONT");
        assert_eq!(peer.says(), format!("{} Loaded", 100 + round));
    }
}

/// An origin of the random test: how often each tag changed, and what of it was acknowledged.
#[derive(Default)]
struct Tag {
    changes: AtomicU64,
    acknowledged: AtomicU64,
}

const TAGS: u64 = 8;

/// Reads on two nodes with so little memory that much comes from the store, while what they are
/// built from changes and is invalidated on either. What was acknowledged before a reader looked at
/// the line is in its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_invalidations_on_two_nodes_are_never_missed() {
    for seed in larder_testkit::random::seeds() {
        let place = Place::new();
        let tags: Arc<Vec<Tag>> = Arc::new((0..TAGS).map(|_| Tag::default()).collect());
        let mut nodes = Vec::new();
        for _ in 0..2 {
            // SD3: with one connection, looks and reads wait for nothing that the other has.
            let options = crate::options().readers(1);
            let store = SqliteStore::open_with(place.path(), options).await.unwrap();
            let memory = MemoryLimit::bytes(256 << 10);
            let cache = Cache::builder().memory(memory).store(store).build().unwrap();
            let (origin, builder) = (tags.clone(), cache.region::<(u64, u64), Answer>("random"));
            let region = builder.ttl(MINUTE).stored().loader(move |(tag, _), load: Load| {
                load.tag(tag.to_string());
                let changes = origin[usize::try_from(tag).unwrap()].changes.load(Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    Ok::<_, Error>((changes, "some weight".repeat(100)))
                }
            });
            nodes.push((cache, region.build().unwrap()));
        }
        let tasks = (0..6).map(|stream| {
            let (nodes, tags, random) = (nodes.clone(), tags.clone(), Random::new(seed));
            tokio::spawn(read_and_invalidate(nodes, tags, random.split(stream)))
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let (one, other) = (nodes[0].1.stats(), nodes[1].1.stats());
        println!("one {one:?}\nother {other:?}");
        for stats in [one, other] {
            assert!(0 < stats.hits && 0 < stats.store_hits && 0 < stats.loads, "{stats:?}");
        }
    }
}

type Answer = (u64, String);

type Reader = (Cache, Region<(u64, u64), Answer>);

async fn read_and_invalidate(nodes: Vec<Reader>, tags: Arc<Vec<Tag>>, mut random: Random) {
    for _ in 0..300 {
        let number = random.below(TAGS);
        let tag = &tags[usize::try_from(number).unwrap()];
        let (cache, region) = random.pick(&nodes);
        if random.once_in(8) {
            let change = tag.changes.fetch_add(1, Ordering::SeqCst) + 1;
            let name = Dependency::tag(number.to_string());
            drop(cache.invalidate([name]).await.unwrap());
            tag.acknowledged.fetch_max(change, Ordering::SeqCst);
        } else {
            let least = tag.acknowledged.load(Ordering::SeqCst);
            cache.catch_up().await.unwrap();
            let key = (number, random.below(32));
            let answer = region.fetch(&key).await.unwrap();
            assert!(least <= answer.value.0, "{key:?}: {answer:?}, acknowledged {least}");
        }
    }
}
