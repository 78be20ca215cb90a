//! A cache over an origin with a feed: what is announced, what is visible, what is known.
//!
//! The origin is the simulated one, so that every order of events can be had. **Invariant** under
//! test: announced is not visible, and silence is not knowledge.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Clock, Dependency, Error, Load, Region, Source};
use larder_testkit::{
    conformance::{Ask, Row, Write},
    sim::{SimOrigin, StampFrom},
};
use tokio::sync::Semaphore;

const MINUTE: Duration = Duration::from_secs(60);

type Rows = Vec<u64>;

struct World {
    origin: SimOrigin,
    clock: Clock,
    cache: Cache,
    region: Region<i64, Rows>,
}

/// A cache of buckets over an origin in which row 1 of bucket 1 has version 1.
fn world() -> World {
    let clock = Clock::manual();
    let origin = SimOrigin::new("shop", 1, clock.clone(), StampFrom::Before);
    let commit = origin.emit(&[put(1, 1, 1)]);
    origin.show(commit);
    let feed = Arc::new(origin.clone());
    let cache = Cache::builder().clock(clock.clone()).feed(feed).build().unwrap();
    while origin.deliver() {}
    origin.confirm();
    let loads = origin.clone();
    let loader = move |bucket: i64, load: Load| {
        let origin = loads.clone();
        async move {
            let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
            Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
        }
    };
    let builder = cache.region::<i64, Rows>("buckets").ttl(MINUTE).stale_if_error(MINUTE);
    let region = builder.loader(loader).build().unwrap();
    World { origin, clock, cache, region }
}

fn put(id: i64, bucket: i64, version: u64) -> Write {
    Write::Put(Row { id, bucket, version })
}

impl World {
    async fn read(&self) -> (Rows, Source) {
        let fetched = self.region.fetch(&1).await.unwrap();
        (fetched.value.to_vec(), fetched.source)
    }

    /// Commits, shows, delivers and confirms.
    fn commit(&self, write: Write) {
        let commit = self.origin.emit(&[write]);
        self.origin.show(commit);
        while self.origin.deliver() {}
        self.origin.confirm();
    }
}

#[tokio::test]
async fn a_change_of_a_row_in_the_scope_is_seen_by_the_next_read() {
    let world = world();
    assert_eq!(world.read().await, (vec![1], Source::Loaded));
    assert_eq!(world.read().await, (vec![1], Source::Hit));
    world.commit(put(1, 1, 2));
    assert_eq!(world.read().await, (vec![2], Source::Loaded));
}

#[tokio::test]
async fn a_row_that_enters_or_leaves_the_scope_is_seen_and_others_are_not() {
    // MD7: old and new values.
    let world = world();
    world.read().await;
    world.commit(put(2, 2, 2));
    assert_eq!(world.read().await, (vec![1], Source::Hit));
    world.commit(put(2, 1, 3));
    assert_eq!(world.read().await, (vec![1, 3], Source::Loaded));
    world.commit(put(1, 2, 4));
    assert_eq!(world.read().await, (vec![3], Source::Loaded));
    world.commit(Write::Remove(2));
    assert_eq!(world.read().await, (vec![], Source::Loaded));
}

#[tokio::test(start_paused = true)]
async fn a_commit_announced_before_it_is_visible_is_not_cached_over() {
    let world = world();
    world.read().await;
    // 1. The commit arrives; no load can see it yet.
    let commit = world.origin.emit(&[put(1, 1, 2)]);
    assert!(world.origin.deliver());
    // 2. Who loads now reads the old row, is told so, and it is not stored.
    let (rows, source) = world.read().await;
    assert_eq!((rows, source), (vec![1], Source::Unproven));
    assert!(source.is_stale());
    assert!(world.region.get(&1).await.unwrap().is_none());
    // 3. It becomes visible.
    world.origin.show(commit);
    world.origin.confirm();
    assert_eq!(world.read().await, (vec![2], Source::Loaded));
    assert_eq!(world.read().await, (vec![2], Source::Hit));
}

#[tokio::test]
async fn knowledge_that_is_too_old_is_renewed_before_a_value_is_called_fresh() {
    let world = world();
    world.read().await;
    // The row changes, and the feed says nothing.
    let commit = world.origin.emit(&[put(1, 1, 2)]);
    world.origin.show(commit);
    assert_eq!(world.read().await, (vec![1], Source::Hit));
    world.clock.advance(Duration::from_secs(1));
    assert!(world.region.get(&1).await.unwrap().is_none());
    assert_eq!(world.read().await, (vec![2], Source::Loaded));
}

#[tokio::test]
async fn an_origin_that_cannot_be_asked_shows_older_values_only_as_stale() {
    let world = world();
    world.read().await;
    world.origin.cut();
    assert_eq!(world.read().await, (vec![1], Source::Hit));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.read().await, (vec![1], Source::StaleOnError));
    // Known to have changed is not the same as not known.
    world.cache.invalidate([Dependency::table("shop", "item")]).await.unwrap();
    assert!(world.region.fetch(&1).await.is_err());
    world.origin.mend();
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.read().await, (vec![1], Source::Loaded));
}

#[tokio::test]
async fn zero_staleness_asks_before_every_read() {
    let world = world();
    let origin = world.origin.clone();
    let builder = world.cache.region::<i64, Rows>("strict").ttl(MINUTE);
    let loader = move |bucket: i64, load: Load| {
        let origin = origin.clone();
        async move {
            let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
            Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
        }
    };
    let strict = builder.max_staleness(Duration::ZERO).loader(loader).build().unwrap();
    for version in 2..10 {
        let commit = world.origin.emit(&[put(1, 1, version)]);
        world.origin.show(commit);
        assert_eq!(*strict.get_or_load(&1).await.unwrap(), [version]);
        assert_eq!(strict.fetch(&1).await.unwrap().source, Source::Hit);
    }
}

#[tokio::test]
async fn a_reader_whose_node_knows_too_little_asks_before_it_joins() {
    // 1. A load reads the old row. 2. The row changes and nobody hears of it. 3. Later than
    // `max_staleness` a reader comes, and must not take the result of that load.
    let world = world();
    let slow = world.cache.region::<i64, Rows>("slow").ttl(MINUTE);
    let (begun, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let loader = {
        let (origin, begun, leave) = (world.origin.clone(), begun.clone(), leave.clone());
        move |bucket: i64, load: Load| {
            let (origin, begun, leave) = (origin.clone(), begun.clone(), leave.clone());
            async move {
                let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
                begun.add_permits(1);
                leave.acquire().await.unwrap().forget();
                Ok::<_, Error>(rows.iter().map(|row| row.version).collect::<Rows>())
            }
        }
    };
    let slow = slow.loader(loader).build().unwrap();
    let read = |region: &Region<i64, Rows>| {
        let region = region.clone();
        tokio::spawn(async move { region.get_or_load(&1).await.unwrap().to_vec() })
    };
    let first = read(&slow);
    begun.acquire().await.unwrap().forget();
    let commit = world.origin.emit(&[put(1, 1, 2)]);
    world.origin.show(commit);
    world.clock.advance(Duration::from_secs(2));
    let second = read(&slow);
    tokio::task::yield_now().await;
    leave.add_permits(2);
    assert_eq!(first.await.unwrap(), [1]);
    assert_eq!(second.await.unwrap(), [2]);
}

#[tokio::test]
async fn a_reader_whose_origin_is_silent_takes_no_load_that_began_before_it() {
    // As above, but the origin cannot be asked when the reader comes, and can be when it loads.
    let world = world();
    let slow = world.cache.region::<i64, Rows>("slow").ttl(MINUTE);
    let (begun, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let loader = {
        let (origin, begun, leave) = (world.origin.clone(), begun.clone(), leave.clone());
        move |bucket: i64, load: Load| {
            let (origin, begun, leave) = (origin.clone(), begun.clone(), leave.clone());
            async move {
                let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
                begun.add_permits(1);
                leave.acquire().await.unwrap().forget();
                Ok::<_, Error>(rows.iter().map(|row| row.version).collect::<Rows>())
            }
        }
    };
    let slow = slow.loader(loader).build().unwrap();
    let read = |region: &Region<i64, Rows>| {
        let region = region.clone();
        tokio::spawn(async move { region.get_or_load(&1).await.unwrap().to_vec() })
    };
    let first = read(&slow);
    begun.acquire().await.unwrap().forget();
    let commit = world.origin.emit(&[put(1, 1, 2)]);
    world.origin.show(commit);
    world.clock.advance(Duration::from_secs(2));
    world.origin.cut();
    let second = read(&slow);
    tokio::task::yield_now().await;
    world.origin.mend();
    leave.add_permits(2);
    assert_eq!(first.await.unwrap(), [1]);
    assert_eq!(second.await.unwrap(), [2]);
}

#[tokio::test]
async fn a_silent_origin_costs_only_those_who_read_it() {
    let clock = Clock::manual();
    let origins = ["shop", "crm"].map(|name| {
        let origin = SimOrigin::new(name, 1, clock.clone(), StampFrom::Before);
        let commit = origin.emit(&[put(1, 1, 1)]);
        origin.show(commit);
        origin
    });
    let [shop, crm] = origins.clone();
    let builder = Cache::builder().clock(clock.clone());
    let cache = builder.feed(Arc::new(shop.clone())).feed(Arc::new(crm.clone())).build().unwrap();
    let region = |name: &'static str, origin: &SimOrigin| {
        let asked = origin.clone();
        let builder = cache.region::<i64, Rows>(name).ttl(MINUTE).max_staleness(Duration::ZERO);
        let loader = move |bucket: i64, load: Load| {
            let origin = asked.clone();
            async move {
                let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
                Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
            }
        };
        builder.reads(name).loader(loader).build().unwrap()
    };
    let (orders, people) = (region("shop", &shop), region("crm", &crm));
    orders.get_or_load(&1).await.unwrap();
    people.get_or_load(&1).await.unwrap();
    crm.cut();
    assert_eq!(orders.fetch(&1).await.unwrap().source, Source::Hit);
    assert!(people.fetch(&1).await.is_err());
    let unknown = cache.region::<i64, i64>("x").ttl(MINUTE).reads("nowhere").build();
    assert_eq!(unknown.unwrap_err().kind(), larder::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_timeline_in_doubt_is_a_miss_for_everything_on_it() {
    let world = world();
    world.read().await;
    let plain = world.cache.region::<i64, i64>("plain").ttl(MINUTE).build_untracked().unwrap();
    plain.insert(&1, 1).await.unwrap();
    world.origin.replace();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.read().await.1, Source::Loaded);
    assert!(plain.get(&1).await.unwrap().is_some());
    assert!(world.cache.status().timelines.iter().any(|t| t.last_doubt.is_some()));
}

#[tokio::test]
async fn an_explicit_invalidation_may_name_what_the_feed_owns() {
    let world = world();
    world.read().await;
    let row = Dependency::id("shop", "item", [7]);
    let scope = Dependency::scope("shop", "item", [("version", 3)]);
    // The entry depends on the scope of its bucket; a row named without its values may be in it,
    // and a scope by another column may share rows with it.
    for named in [Dependency::table("shop", "item"), row, scope, Dependency::everything("shop")] {
        assert_eq!(world.cache.invalidate([named]).await.unwrap().touched, [1]);
        assert_eq!(world.read().await.1, Source::Loaded);
    }
    let elsewhere = Dependency::table("shop", "other");
    assert_eq!(world.cache.invalidate([elsewhere]).await.unwrap().touched, [0]);
}

#[tokio::test]
async fn a_token_of_the_origin_is_reached_by_asking_it() {
    let world = world();
    world.read().await;
    let commit = world.origin.emit(&[put(1, 1, 2)]);
    world.origin.show(commit);
    let known = world.cache.token();
    let (name, epoch, position) = known.iter().find(|(name, ..)| &**name == "shop").unwrap();
    let mut token = larder::Token::new();
    token.require(name.clone(), *epoch, position.next());
    world.cache.reach(&token, Duration::from_secs(1)).await.unwrap();
    assert_eq!(world.read().await, (vec![2], Source::Loaded));
}

#[tokio::test]
async fn a_sample_finds_what_differs_also_where_every_read_asks_the_origin() {
    let world = world();
    let unseen = Arc::new(AtomicU64::new(1));
    let loader = {
        let (origin, unseen) = (world.origin.clone(), unseen.clone());
        move |bucket: i64, load: Load| {
            let (origin, unseen) = (origin.clone(), unseen.clone());
            async move {
                load.ask(&origin, &Ask::Bucket(bucket)).await?;
                Ok::<_, Error>(vec![unseen.load(Ordering::SeqCst)])
            }
        }
    };
    let builder = world.cache.region::<i64, Rows>("strict").ttl(MINUTE);
    let builder = builder.max_staleness(Duration::ZERO).sample(1, |a, b| a == b);
    let region = builder.loader(loader).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    // It changes, and no log and no feed has it.
    unseen.store(2, Ordering::SeqCst);
    assert_eq!(region.fetch(&1).await.unwrap().source, Source::Hit);
    while region.stats().sampled == 0 {
        tokio::task::yield_now().await;
    }
    // The comparison is the last thing that the task does, and it waits for nobody.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(region.stats().violations, 1);
    assert_eq!(*region.get_or_load(&1).await.unwrap(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_load_waits_only_for_the_origins_its_region_reads() {
    let clock = Clock::manual();
    let [shop, crm] = ["shop", "crm"].map(|name| {
        let origin = SimOrigin::new(name, 1, clock.clone(), StampFrom::Before);
        let commit = origin.emit(&[put(1, 1, 1)]);
        origin.show(commit);
        origin
    });
    let builder = Cache::builder().clock(clock).feed(Arc::new(shop.clone()));
    let cache = builder.feed(Arc::new(crm.clone())).build().unwrap();
    for origin in [&shop, &crm] {
        while origin.deliver() {}
        origin.confirm();
    }
    let loader = move |bucket: i64, load: Load| {
        let origin = shop.clone();
        async move {
            let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
            Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
        }
    };
    let builder = cache.region::<i64, Rows>("shop").ttl(MINUTE).reads("shop");
    let region = builder.loader(loader).build().unwrap();
    // Announced, and kept from loads for longer than anybody waits.
    crm.emit(&[put(1, 1, 2)]);
    assert!(crm.deliver());
    let began = tokio::time::Instant::now();
    assert_eq!(*region.get_or_load(&1).await.unwrap(), [1]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
