//! Values that outlive the process: a region over memory and a SQLite file.
//!
//! **Invariant** under test: what the store gives is what was stored, for as long as it was to
//! live; a store that does not answer is told from a miss and costs no more than a load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    BoxFuture, Cache, Clock, Codec, Dependency, Error, ErrorKind, Load, MemoryLimit, Source, Store,
    UntrackedRegion, WallMillis,
    sqlite::store::{SqliteStore, StoreOptions},
};
use larder_core::{claim::Fence, store::Written};
use larder_testkit::temp::TempDir;

const MINUTE: Duration = Duration::from_secs(60);

/// A file, a clock, and loads that are counted.
struct Place {
    directory: TempDir,
    clock: Clock,
    loads: Arc<AtomicUsize>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new("l2").unwrap();
        Self { directory, clock: Clock::manual(), loads: Arc::default() }
    }

    async fn store(&self) -> SqliteStore {
        let options = StoreOptions::new().clock(self.clock.clone());
        SqliteStore::open_with(self.directory.path().join("cache.db"), options).await.unwrap()
    }

    /// One life of a process.
    async fn cache(&self) -> Cache {
        let store = self.store().await;
        Cache::builder().clock(self.clock.clone()).store(store).build().unwrap()
    }

    fn region(&self, cache: &Cache, version: u32) -> UntrackedRegion<String, Vec<u64>> {
        let loads = self.loads.clone();
        cache
            .region::<String, Vec<u64>>("numbers")
            .ttl(MINUTE)
            .stored()
            .version(version)
            .loader(move |key: String, load: Load| {
                let load_number = loads.fetch_add(1, Ordering::SeqCst) as u64;
                async move {
                    if key.starts_with("tagged") {
                        load.tag("numbers");
                    }
                    Ok::<_, Error>(vec![load_number])
                }
            })
            .build_untracked()
            .unwrap()
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_value_outlives_the_process_for_its_ttl_and_no_longer() {
    let place = Place::new();
    {
        let region = place.region(&place.cache().await, 0);
        assert_eq!(*region.get_or_load(&"a".into()).await.unwrap(), [0]);
    }
    place.clock.advance(Duration::from_secs(20));
    {
        let region = place.region(&place.cache().await, 0);
        let fetched = region.fetch(&"a".into()).await.unwrap();
        assert_eq!((&*fetched.value, fetched.source), (&vec![0], Source::Store));
        assert_eq!(fetched.age, Duration::from_secs(20));
        assert_eq!(fetched.ttl_left, Some(Duration::from_secs(40)));
        // And then from memory.
        assert_eq!(region.fetch(&"a".into()).await.unwrap().source, Source::Hit);
        let stats = region.stats();
        assert_eq!((stats.store_hits, stats.hits, stats.misses), (1, 1, 0));
        place.clock.advance(Duration::from_secs(40));
        assert_eq!(region.fetch(&"a".into()).await.unwrap().source, Source::Loaded);
    }
    place.clock.advance(MINUTE);
    let region = place.region(&place.cache().await, 0);
    assert_eq!(*region.get_or_load(&"a".into()).await.unwrap(), [2]);
    assert_eq!(place.loads(), 3);
}

#[tokio::test]
async fn a_read_that_never_loads_asks_the_store_too() {
    let place = Place::new();
    drop(place.region(&place.cache().await, 0).insert(&"a".into(), vec![7]).await.unwrap());
    let region = place.region(&place.cache().await, 0);
    assert_eq!(region.get(&"a".into()).await.unwrap().as_deref(), Some(&vec![7]));
    assert_eq!(region.get(&"b".into()).await.unwrap(), None);
    assert_eq!(place.loads(), 0);
}

#[tokio::test]
async fn a_crowd_takes_one_value_from_the_store() {
    let place = Place::new();
    drop(place.region(&place.cache().await, 0).insert(&"a".into(), vec![7]).await.unwrap());
    let region = Arc::new(place.region(&place.cache().await, 0));
    let readers = (0..50).map(|_| {
        let region = region.clone();
        tokio::spawn(async move { region.fetch(&"a".into()).await.unwrap().source })
    });
    let readers: Vec<_> = readers.collect();
    for reader in readers {
        assert!(matches!(reader.await.unwrap(), Source::Store | Source::Hit));
    }
    assert_eq!(place.loads(), 0);
}

#[tokio::test]
async fn another_version_of_a_region_does_not_read_what_the_old_one_left() {
    // S23: a version beside the value.
    let place = Place::new();
    drop(place.region(&place.cache().await, 1).insert(&"a".into(), vec![7]).await.unwrap());
    let region = place.region(&place.cache().await, 2);
    assert_eq!(region.get(&"a".into()).await.unwrap(), None);
    assert_eq!(*region.get_or_load(&"a".into()).await.unwrap(), [0]);
}

#[tokio::test]
async fn a_type_that_changed_is_a_miss_that_is_counted() {
    let place = Place::new();
    drop(place.region(&place.cache().await, 0).insert(&"a".into(), vec![7]).await.unwrap());
    let cache = place.cache().await;
    let builder = cache.region::<String, String>("numbers").ttl(MINUTE).stored();
    let loader = async |_, _: Load| Ok::<_, Error>("text".to_owned());
    let region = builder.loader(loader).build_untracked().unwrap();
    assert_eq!(region.get(&"a".into()).await.unwrap(), None);
    assert_eq!(*region.get_or_load(&"a".into()).await.unwrap(), "text");
    // Once by the first read, and twice by the flight: under its claim it looks again.
    assert_eq!(region.stats().store_undecodable, 3);
}

#[tokio::test]
async fn what_is_removed_does_not_come_back() {
    // KD8.
    let place = Place::new();
    let cache = place.cache().await;
    let region = place.region(&cache, 0);
    region.insert(&"a".into(), vec![7]).await.unwrap();
    assert!(region.remove(&"a".into()).await.unwrap());
    assert!(!region.remove(&"a".into()).await.unwrap());
    assert_eq!(region.get(&"a".into()).await.unwrap(), None);
}

#[tokio::test]
async fn what_depends_on_something_falls_in_the_store_too() {
    let place = Place::new();
    {
        let cache = place.cache().await;
        let region = place.region(&cache, 0);
        region.get_or_load(&"tagged".into()).await.unwrap();
        assert!(region.get(&"tagged".into()).await.unwrap().is_some());
        cache.invalidate([Dependency::tag("numbers")]).await.unwrap();
        assert_eq!(region.get(&"tagged".into()).await.unwrap(), None);
    }
    {
        let region = place.region(&place.cache().await, 0);
        assert_eq!(region.get(&"tagged".into()).await.unwrap(), None);
        region.get_or_load(&"tagged".into()).await.unwrap();
    }
    let region = place.region(&place.cache().await, 0);
    assert!(region.get(&"tagged".into()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_tracked_region_needs_a_store_that_tracks_and_says_so() {
    let cache = Cache::builder().store(Down).build().unwrap();
    let refused = cache.region::<u32, u32>("tracked").ttl(MINUTE).stored().build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("build_untracked"), "{refused}");
    let bare = Cache::builder().build().unwrap();
    let refused = bare.region::<u32, u32>("bare").ttl(MINUTE).stored().build_untracked();
    assert!(refused.unwrap_err().to_string().contains("has no store"));
}

/// A store that answers nothing.
#[derive(Debug)]
struct Down;

impl Store for Down {
    fn get<'a>(&'a self, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "ask the store")) })
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: &'a [u8],
        _: Vec<u8>,
        _: Option<WallMillis>,
        _: Fence,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(std::future::pending())
    }

    fn remove<'a>(&'a self, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "ask the store")) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_no_miss_and_no_obstacle() {
    // SD18, X7, X14.
    let cache = Cache::builder().store(Down).build().unwrap();
    let region = cache
        .region::<u32, u32>("down")
        .ttl(MINUTE)
        .stored_as(Codec::message_pack())
        .loader(async |key, _: Load| Ok::<_, Error>(key))
        .build_untracked()
        .unwrap();
    assert_eq!(region.get(&1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // A put that never ends is waited for no longer than the bound.
    assert_eq!(*region.get_or_load(&1).await.unwrap(), 1);
    assert_eq!(region.get(&1).await.unwrap().as_deref(), Some(&1));
    assert_eq!(region.remove(&1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // Two looks, a put, and taking away what the put did not replace.
    assert_eq!(region.stats().store_errors, 4);
}

#[tokio::test]
async fn a_region_that_lets_values_live_shorter_today_does_not_keep_to_yesterday() {
    // X3.
    let place = Place::new();
    let cache = place.cache().await;
    let builder = cache.region::<String, u64>("ages").never_expires().stored();
    builder.build_untracked().unwrap().insert(&"a".into(), 7).await.unwrap();
    drop(cache);
    place.clock.advance(Duration::from_secs(40));
    let cache = place.cache().await;
    let builder = cache.region::<String, u64>("ages").ttl(MINUTE).stored();
    let region = builder.build_untracked().unwrap();
    assert_eq!(region.get(&"a".into()).await.unwrap().as_deref(), Some(&7));
    drop((cache, region));
    place.clock.advance(Duration::from_secs(20));
    let cache = place.cache().await;
    let builder = cache.region::<String, u64>("ages").ttl(MINUTE).stored();
    assert_eq!(builder.build_untracked().unwrap().get(&"a".into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_value_that_cannot_be_kept_takes_its_predecessor_with_it() {
    // KD9: the older one must not come back.
    let place = Place::new();
    let store = place.store().await;
    let small = MemoryLimit::bytes(1 << 20);
    let builder = Cache::builder().clock(place.clock.clone()).memory(small).store(store);
    let region = place.region(&builder.build().unwrap(), 0);
    region.insert(&"a".into(), vec![7]).await.unwrap();
    let refused = region.insert(&"a".into(), vec![8; 1 << 20]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
    assert_eq!(region.get(&"a".into()).await.unwrap(), None);
}
