//! Loads that are single across caches and processes on one store.
//!
//! Two caches with a handle each stand for two processes where nothing has to die; where one is to
//! be killed or stopped, this program is started again. **Invariant** under test: one load for all,
//! unless its owner is lost; and of two loads the later one is what the store keeps.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    Cache, Clock, Error, ErrorKind, Load, SingleFlight, Source, UntrackedRegion,
    sqlite::store::SqliteStore,
};
use larder_core::claim::LAPSE;
use larder_testkit::temp::TempDir;
use tokio::sync::Semaphore;

use crate::peer::{self, Peer};

const MINUTE: Duration = Duration::from_secs(60);

type Numbers = Arc<UntrackedRegion<String, u64>>;

/// A file, a clock, and an origin whose value is how often it was asked.
struct Place {
    directory: TempDir,
    clock: Clock,
    loads: Arc<AtomicUsize>,
    /// Loads that came to the origin, and for each of them whether it may go on.
    came: Arc<Semaphore>,
    open: Arc<[Semaphore; 2]>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("claimed").unwrap();
        let shut = || Semaphore::new(0);
        let (came, open) = (Arc::new(shut()), Arc::new([shut(), shut()]));
        Self { directory, clock: Clock::manual(), loads: Arc::default(), came, open }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("cache.db")
    }

    async fn node(&self, single: SingleFlight) -> Numbers {
        self.node_that_loads(64, single).await
    }

    /// One that runs so many loads at once.
    async fn node_that_loads(&self, most: usize, single: SingleFlight) -> Numbers {
        let options = crate::options().clock(self.clock.clone());
        let store = SqliteStore::open_with(self.path(), options).await.unwrap();
        let cache = Cache::builder().clock(self.clock.clone()).max_loads(most, 10).store(store);
        let cache = cache.build().unwrap();
        let (loads, came, open) = (self.loads.clone(), self.came.clone(), self.open.clone());
        let region = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
        region
            .single_flight(single)
            .loader(move |key: String, _: Load| {
                let number = loads.fetch_add(1, Ordering::SeqCst);
                let (came, open) = (came.clone(), open.clone());
                async move {
                    came.add_permits(1);
                    open[number].acquire().await.unwrap().forget();
                    match key.as_str() {
                        "fails" if number == 0 => Err(Error::new(ErrorKind::Unavailable, "answer")),
                        _ => Ok(number as u64),
                    }
                }
            })
            .build_untracked()
            .map(Arc::new)
            .unwrap()
    }

    /// Waits until a load has come to the origin.
    async fn load_came(&self) {
        self.came.acquire().await.unwrap().forget();
    }

    fn let_go_on(&self, number: usize) {
        self.open[number].add_permits(1);
    }
}

fn read(region: &Numbers, key: &str) -> tokio::task::JoinHandle<(u64, Source)> {
    let (region, key) = (region.clone(), key.to_owned());
    tokio::spawn(async move {
        let fetched = region.fetch(&key).await.unwrap();
        (*fetched.value, fetched.source)
    })
}

/// Waits until so many flights of `region` wait for somebody else.
async fn awaits(region: &Numbers, count: u64) {
    while region.stats().claims_awaited < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cold_key_is_loaded_once_for_two_caches() {
    // KD1.
    let place = Place::new();
    let [one, other] =
        [place.node(SingleFlight::PerStore).await, place.node(SingleFlight::PerStore).await];
    let first: Vec<_> = (0..50).map(|_| read(&one, "a")).collect();
    place.load_came().await;
    let second: Vec<_> = (0..50).map(|_| read(&other, "a")).collect();
    awaits(&other, 1).await;
    place.let_go_on(0);
    for reader in first {
        assert_eq!(reader.await.unwrap().0, 0);
    }
    for reader in second {
        assert_eq!(reader.await.unwrap(), (0, Source::Store));
    }
    assert_eq!(place.loads.load(Ordering::SeqCst), 1);
    assert_eq!((one.stats().claims_awaited, other.stats().claims_awaited), (0, 1));
}

#[tokio::test]
async fn where_it_is_asked_for_each_cache_loads() {
    let place = Place::new();
    let single = SingleFlight::PerProcess;
    let [one, other] = [place.node(single).await, place.node(single).await];
    let readers = [read(&one, "a"), read(&other, "a")];
    place.load_came().await;
    place.load_came().await;
    place.let_go_on(0);
    place.let_go_on(1);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(place.loads.load(Ordering::SeqCst), 2);
}

/// What stands in the queue of one cache is not claimed, so no other waits for it.
#[tokio::test]
async fn a_load_that_waits_for_its_turn_keeps_nobody_waiting() {
    let place = Place::new();
    let busy = place.node_that_loads(1, SingleFlight::PerStore).await;
    let other = place.node(SingleFlight::PerStore).await;
    let first = read(&busy, "a");
    place.load_came().await;
    let queued = read(&busy, "b");
    // It looks into the store where it stands, and then stands in the queue.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let free = read(&other, "b");
    place.load_came().await;
    place.let_go_on(1);
    assert_eq!(free.await.unwrap().0, 1);
    place.let_go_on(0);
    assert_eq!(first.await.unwrap().0, 0);
    assert_eq!(queued.await.unwrap(), (1, Source::Store));
    assert_eq!(other.stats().claims_awaited, 0);
}

#[tokio::test]
async fn a_load_that_fails_elsewhere_is_begun_here() {
    // KD3.
    let place = Place::new();
    let [one, other] =
        [place.node(SingleFlight::PerStore).await, place.node(SingleFlight::PerStore).await];
    let failing = tokio::spawn({
        let one = one.clone();
        async move { one.fetch(&"fails".into()).await.unwrap_err() }
    });
    place.load_came().await;
    let waiting = read(&other, "fails");
    awaits(&other, 1).await;
    place.let_go_on(0);
    place.let_go_on(1);
    drop(failing.await.unwrap());
    assert_eq!(waiting.await.unwrap(), (1, Source::Loaded));
}

#[tokio::test]
async fn an_owner_that_was_away_does_not_write_over_what_was_loaded_since() {
    // KD9: by the fence; with `PerProcess` the older value wins, which shows what the fence is for.
    for (single, kept) in [(SingleFlight::PerStore, 1), (SingleFlight::PerProcess, 0)] {
        let place = Place::new();
        let [one, other] = [place.node(single).await, place.node(single).await];
        let late = read(&one, "a");
        place.load_came().await;
        // It gives no sign of life for longer than it may.
        place.clock.advance(LAPSE);
        let next = read(&other, "a");
        place.load_came().await;
        place.let_go_on(1);
        assert_eq!(next.await.unwrap(), (1, Source::Loaded));
        place.let_go_on(0);
        assert_eq!(late.await.unwrap(), (0, Source::Loaded));
        if single == SingleFlight::PerStore {
            assert_eq!(one.stats().outrun, 1);
            // Nor does its own process go on with it.
            assert_eq!(read(&one, "a").await.unwrap(), (1, Source::Store));
        }
        let third = place.node(single).await;
        assert_eq!(third.get(&"a".into()).await.unwrap().as_deref(), Some(&kept));
    }
}

#[tokio::test]
async fn whoever_waited_for_as_long_as_a_load_may_take_loads() {
    let place = Place::new();
    let one = place.node(SingleFlight::PerStore).await;
    let held = read(&one, "a");
    place.load_came().await;
    let store = SqliteStore::open_with(place.path(), crate::options().clock(place.clock.clone()));
    let cache = Cache::builder().clock(place.clock.clone()).store(store.await.unwrap());
    let cache = cache.build().unwrap();
    let impatient = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
    let impatient = impatient
        .load_timeout(Duration::from_millis(50))
        .loader(async |_, _: Load| Ok::<_, Error>(99))
        .build_untracked()
        .map(Arc::new)
        .unwrap();
    assert_eq!(read(&impatient, "a").await.unwrap(), (99, Source::Loaded));
    // And what the other one loads is older by now.
    place.let_go_on(0);
    assert_eq!(held.await.unwrap().0, 0);
    assert_eq!(one.stats().outrun, 1);
    assert_eq!(one.get(&"a".into()).await.unwrap().as_deref(), Some(&99));
}

#[tokio::test]
async fn a_flight_that_is_cancelled_gives_its_claim_back() {
    let place = Place::new();
    let options = crate::options().clock(place.clock.clone());
    let store = SqliteStore::open_with(place.path(), options).await.unwrap();
    let cache = Cache::builder().clock(place.clock.clone()).store(store).build().unwrap();
    let region = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
    let came = place.came.clone();
    let region = region
        .on_abandon(larder::OnAbandon::Cancel)
        .loader(move |_, _: Load| {
            let came = came.clone();
            async move {
                came.add_permits(1);
                std::future::pending::<Result<u64, Error>>().await
            }
        })
        .build_untracked()
        .map(Arc::new)
        .unwrap();
    let left = read(&region, "a");
    place.load_came().await;
    left.abort();
    // Whoever comes next need not wait until the claim lapses, which it never would: the clock of
    // this test stands still.
    let other = place.node(SingleFlight::PerStore).await;
    let reader = read(&other, "a");
    place.load_came().await;
    place.let_go_on(0);
    assert_eq!(reader.await.unwrap(), (0, Source::Loaded));
}

/// Run in a process of its own by the tests below. It loads `a`, whose value is 1, once it is told
/// to go on, and then says what became of it.
#[test]
fn life_of_a_claimant() {
    let Some(path) = peer::place() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let region = system_node(&path, 1, Asks::BeforeItAnswers).await;
        let fetched = region.fetch(&"a".into()).await.unwrap();
        let (kept, stats) = (fetched.kept == larder::Kept::InMemory, region.stats());
        let next = region.fetch(&"a".into()).await.unwrap();
        peer::say(format_args!("ended {} {kept} {} {}", fetched.value, stats.outrun, next.value));
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nobody,
    /// Says that it loads, and reads a line before it does.
    BeforeItAnswers,
}

/// A node by the clock of the machine, whose loads give `value`.
async fn system_node(path: &Path, value: u64, asks: Asks) -> Numbers {
    let store = SqliteStore::open_with(path, crate::options()).await.unwrap();
    let cache = Cache::builder().store(store).build().unwrap();
    let region = cache.region::<String, u64>("numbers").ttl(MINUTE).stored();
    region
        .loader(move |_, _: Load| async move {
            if asks == Asks::BeforeItAnswers {
                let asked = tokio::task::spawn_blocking(|| {
                    peer::say("loading");
                    peer::told().next();
                });
                asked.await.unwrap();
            }
            Ok::<_, Error>(value)
        })
        .build_untracked()
        .map(Arc::new)
        .unwrap()
}

/// A process that loads.
fn claimant_at(place: &Place) -> Peer {
    let mut claimant = Peer::start("claimed::life_of_a_claimant", &place.path());
    assert_eq!(claimant.says(), "loading");
    claimant
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_load_a_cold_key_once() {
    // KD1.
    let place = Place::new();
    let mut claimant = claimant_at(&place);
    let here = system_node(&place.path(), 2, Asks::Nobody).await;
    let readers: Vec<_> = (0..20).map(|_| read(&here, "a")).collect();
    awaits(&here, 1).await;
    claimant.tell("go on");
    for reader in readers {
        // Whoever comes after the flight has ended finds its value in memory.
        let (value, source) = reader.await.unwrap();
        assert!(value == 1 && matches!(source, Source::Store | Source::Hit), "{source:?}");
    }
    assert_eq!(here.stats().loads, 0);
    assert_eq!(claimant.says(), "ended 1 true 0 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_owner_is_killed_the_next_one_loads() {
    // KD2: after three seconds without a sign of life.
    let place = Place::new();
    let mut claimant = claimant_at(&place);
    let here = system_node(&place.path(), 2, Asks::Nobody).await;
    let reader = read(&here, "a");
    awaits(&here, 1).await;
    assert_eq!(here.stats().loads, 0);
    claimant.kill();
    assert_eq!(reader.await.unwrap(), (2, Source::Loaded));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_and_wakes_late_does_not_write_over_the_newer_value() {
    // KD9.
    let place = Place::new();
    let mut claimant = claimant_at(&place);
    claimant.signal("-STOP");
    let here = system_node(&place.path(), 2, Asks::Nobody).await;
    assert_eq!(read(&here, "a").await.unwrap(), (2, Source::Loaded));
    claimant.signal("-CONT");
    claimant.tell("go on");
    // What it loaded goes to its reader, is not kept, and the next reader finds what is newer.
    assert_eq!(claimant.says(), "ended 1 false 1 2");
    let third = system_node(&place.path(), 3, Asks::Nobody).await;
    assert_eq!(third.get(&"a".into()).await.unwrap().as_deref(), Some(&2));
}
