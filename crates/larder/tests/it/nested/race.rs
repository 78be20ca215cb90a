//! A child that changes while its parent is loaded, in every order, and late writers.
//!
//! **Invariant** under test: whichever of the change and the read came first, no reader who comes
//! after the change is shown a parent without it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use larder_testkit::{
    conformance::{Ask, Row, Write},
    sim::{SimOrigin, StampFrom},
};
use tokio::sync::Semaphore;

use super::*;
use crate::gate::spawn_read;

/// A parent whose loader reads its child, says so, and waits for leave.
fn slow_parent(
    cache: &Cache,
    name: &'static str,
    child: &Region<u32, i64>,
) -> (RegionBuilder<u32, i64>, Arc<Semaphore>, Arc<Semaphore>) {
    let (read, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let loader = {
        let (child, read, leave) = (child.clone(), read.clone(), leave.clone());
        move |id: u32, load: Load| {
            let (child, read, leave) = (child.clone(), read.clone(), leave.clone());
            async move {
                let value = *load.get_or_load(&child, &id).await?;
                read.add_permits(1);
                leave.acquire().await.unwrap().forget();
                Ok::<_, Error>(value + 100)
            }
        }
    };
    (cache.region(name).loader(loader), read, leave)
}

#[tokio::test]
async fn a_child_that_changes_after_it_was_read_keeps_its_parent_from_being_stored() {
    // 1. The parent reads the child. 2. The row changes. 3. The parent ends.
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    for warm in [false, true] {
        rows.change(&cache, 1, 0).await;
        if warm {
            child.get_or_load(&1).await.unwrap();
            cache.invalidate([row(99)]).await.unwrap();
        }
        let name = if warm { "over a hit" } else { "over a load" };
        let (parent, read, leave) = slow_parent(&cache, name, &child);
        let parent = parent.ttl(MINUTE).build().unwrap();
        let before = spawn_read(&parent);
        read.acquire().await.unwrap().forget();
        rows.change(&cache, 1, 7).await;
        let after = spawn_read(&parent);
        tokio::task::yield_now().await;
        leave.add_permits(1);
        assert_eq!(*before.await.unwrap().unwrap(), 100, "who came before may have it");
        read.acquire().await.unwrap().forget();
        leave.add_permits(1);
        assert_eq!(*after.await.unwrap().unwrap(), 107, "who came after may not");
        assert_eq!(parent.stats().overtaken, 1);
        assert_eq!(source(&parent).await, (107, Source::Hit));
    }
}

#[tokio::test]
async fn a_child_that_changed_before_it_is_read_is_loaded_again() {
    // 1. The parent's load begins. 2. The row changes. 3. The parent reads the child.
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let parent = cache.region::<u32, i64>("parent").ttl(MINUTE).build().unwrap();
    child.get_or_load(&1).await.unwrap();
    let begun = parent.begin(&1);
    rows.change(&cache, 1, 7).await;
    let value = *begun.load().get_or_load(&child, &1).await.unwrap();
    assert_eq!(value, 7);
    begun.finish(value).await.unwrap();
    // It is right; but its one stamp on `app` is of its beginning, so it cannot be shown to be.
    assert!(parent.get(&1).await.unwrap().is_none());
    let begun = parent.begin(&1);
    let value = *begun.load().get_or_load(&child, &1).await.unwrap();
    begun.finish(value).await.unwrap();
    assert_eq!(*parent.get(&1).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_flight_of_the_child_is_inherited_by_all_parents_that_join_it() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let child = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let own = parent_of(&cache, "own", &child).ttl(MINUTE).build().unwrap();
    let joined = parent_of(&cache, "joined", &child).ttl(MINUTE).build().unwrap();
    let readers = [spawn_read(&own), spawn_read(&joined)];
    gate.begun().await;
    while cache.stats().loads < 3 {
        tokio::task::yield_now().await;
    }
    gate.let_one_end();
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 101);
    }
    assert_eq!((gate.loads(), child.stats().joined), (1, 1));
    for parent in [&own, &joined] {
        assert_eq!(parent.explain(&1).dependencies, [row_dependency()]);
        assert_eq!(source(parent).await, (101, Source::Hit));
    }
    cache.invalidate([row_dependency()]).await.unwrap();
    assert!(own.get(&1).await.unwrap().is_none() && joined.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_parent_that_came_after_a_change_inherits_from_the_second_flight() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let child = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).build().unwrap();
    // 1. A flight of the child reads the old row. 2. The row changes. 3. The parent joins it.
    let before = spawn_read(&child);
    gate.begun().await;
    gate.write(2);
    cache.invalidate([row_dependency()]).await.unwrap();
    let reader = spawn_read(&parent);
    while parent.stats().loads == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    gate.let_one_end();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    gate.begun().await;
    gate.let_one_end();
    assert_eq!(*reader.await.unwrap().unwrap(), 102);
    assert_eq!(child.stats().second_flights, 1);
    assert_eq!(source(&parent).await, (102, Source::Hit));
    cache.invalidate([row_dependency()]).await.unwrap();
    assert!(parent.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_refreshed_parent_depends_on_what_it_was_refreshed_from() {
    // The late writer behind a stale answer inherits anew.
    let (cache, clock) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE * 60).build().unwrap();
    let chosen = Arc::new(AtomicU32::new(1));
    let parent = cache.region::<u32, i64>("parent").loader({
        let (child, chosen) = (child.clone(), chosen.clone());
        move |_: u32, load: Load| {
            let (child, chosen) = (child.clone(), chosen.load(Ordering::SeqCst));
            async move { Ok::<_, Error>(*load.get_or_load(&child, &chosen).await?) }
        }
    });
    let parent = parent.ttl(MINUTE).stale_while_revalidate(MINUTE).build().unwrap();
    parent.get_or_load(&1).await.unwrap();
    rows.write(2, 20);
    chosen.store(2, Ordering::SeqCst);
    clock.advance(MINUTE);
    assert_eq!(source(&parent).await, (0, Source::StaleWhileRevalidate));
    while parent.get(&1).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(parent.explain(&1).dependencies, [row(2)]);
    rows.change(&cache, 1, 11).await;
    assert_eq!(source(&parent).await, (20, Source::Hit));
    rows.change(&cache, 2, 22).await;
    assert_eq!(source(&parent).await, (22, Source::Loaded));
}

/// Two origins, and a region over each.
struct Shops {
    origins: [SimOrigin; 2],
    regions: [Region<i64, Vec<u64>>; 2],
    cache: Cache,
    clock: Clock,
}

const SHOPS: [&str; 2] = ["shop", "crm"];

fn shops() -> Shops {
    let clock = Clock::manual();
    let origins = SHOPS.map(|name| SimOrigin::new(name, 1, clock.clone(), StampFrom::Before));
    let feeds = Cache::builder().clock(clock.clone());
    let [shop, crm] = origins.clone();
    let cache = feeds.feed(Arc::new(shop)).feed(Arc::new(crm)).build().unwrap();
    let region = |(name, origin): (&'static str, &SimOrigin)| {
        commit(origin, 1);
        let origin = origin.clone();
        let builder = cache.region::<i64, Vec<u64>>(name).ttl(MINUTE).reads(name);
        let loader = move |bucket: i64, load: Load| {
            let origin = origin.clone();
            async move {
                let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
                Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
            }
        };
        builder.loader(loader).build().unwrap()
    };
    let regions = [(SHOPS[0], &origins[0]), (SHOPS[1], &origins[1])].map(region);
    Shops { origins, regions, cache, clock }
}

/// Commits a version of row 1 and shows it to loads; nobody is told yet.
fn commit(origin: &SimOrigin, version: u64) {
    let commit = origin.emit(&[Write::Put(Row { id: 1, bucket: 1, version })]);
    origin.show(commit);
}

fn tell(origin: &SimOrigin) {
    while origin.deliver() {}
    origin.confirm();
}

/// The first of each region, joined.
fn joined(shops: &Shops, name: &'static str) -> RegionBuilder<i64, Vec<u64>> {
    let regions = shops.regions.clone();
    shops.cache.region(name).ttl(MINUTE).loader(move |bucket: i64, load: Load| {
        let [shop, crm] = regions.clone();
        async move {
            let mut rows = load.get_or_load(&shop, &bucket).await?.to_vec();
            rows.extend(load.get_or_load(&crm, &bucket).await?.iter());
            Ok::<_, Error>(rows)
        }
    })
}

#[tokio::test]
async fn a_parent_of_two_origins_is_stamped_on_both_and_falls_with_either() {
    let shops = shops();
    shops.origins.iter().for_each(tell);
    let parent = joined(&shops, "parent").build().unwrap();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), [1, 1]);
    let stamps = parent.explain(&1).stamps;
    let names: Vec<&str> = stamps.iter().map(|stamp| &*stamp.timeline).collect();
    assert_eq!(names, ["app", "crm", "shop"]);
    for (number, origin) in shops.origins.iter().enumerate() {
        assert_eq!(parent.fetch(&1).await.unwrap().source, Source::Hit);
        commit(origin, 2);
        tell(origin);
        let fetched = parent.fetch(&1).await.unwrap();
        assert_eq!(fetched.source, Source::Loaded);
        assert_eq!(*fetched.value, if number == 0 { [2, 1] } else { [2, 2] });
    }
    // A new life of an origin ends the parent as it ends the child.
    shops.origins[1].replace();
    shops.clock.advance(SECOND);
    assert_eq!(parent.fetch(&1).await.unwrap().source, Source::Loaded);
}

#[tokio::test]
async fn a_strict_parent_reads_its_children_as_strictly() {
    // The parent says that it reads one origin and reads the other through a child, whose region
    // would trust what it heard within the last second.
    let shops = shops();
    shops.origins.iter().for_each(tell);
    shops.regions[1].get_or_load(&1).await.unwrap();
    commit(&shops.origins[1], 2);
    let parent = joined(&shops, "strict").reads("shop").max_staleness(Duration::ZERO);
    assert_eq!(*parent.build().unwrap().get_or_load(&1).await.unwrap(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_be_proven_makes_a_parent_that_is_not_fresh() {
    let shops = shops();
    shops.origins.iter().for_each(tell);
    let parent = joined(&shops, "parent").build().unwrap();
    // Announced and not visible: the child's load is too old for who knows of it.
    let hidden = shops.origins[0].emit(&[Write::Put(Row { id: 1, bucket: 1, version: 2 })]);
    assert!(shops.origins[0].deliver());
    let fetched = parent.fetch(&1).await.unwrap();
    assert_eq!((&**fetched.value, fetched.kept), (&[1, 1][..], Kept::Not));
    assert!(fetched.source.is_stale(), "{:?}", fetched.source);
    shops.origins[0].show(hidden);
    shops.origins[0].confirm();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), [2, 1]);
    assert_eq!(parent.fetch(&1).await.unwrap().source, Source::Hit);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_too_old_for_its_own_parent_can_be_begun_again() {
    let clock = Clock::manual();
    let origin = SimOrigin::new("shop", 1, clock.clone(), StampFrom::Before);
    commit(&origin, 1);
    let builder = Cache::builder().clock(clock).changes_remembered(3);
    let cache = builder.feed(Arc::new(origin.clone())).build().unwrap();
    tell(&origin);
    let asked = origin.clone();
    let child = cache.region::<i64, Vec<u64>>("child").ttl(MINUTE);
    let child = child.loader(move |bucket: i64, load: Load| {
        let origin = asked.clone();
        async move {
            let rows = load.ask(&origin, &Ask::Bucket(bucket)).await?;
            Ok::<_, Error>(rows.iter().map(|row| row.version).collect())
        }
    });
    let child = child.build().unwrap();
    let parent = cache.region::<u32, i64>("parent").ttl(MINUTE).build().unwrap();
    // 1. A commit is announced and kept back, so what the parent loads is too old for it.
    let hidden = origin.emit(&[Write::Put(Row { id: 1, bucket: 1, version: 2 })]);
    assert!(origin.deliver());
    let begun = parent.begin(&1);
    let mut read = Box::pin(begun.load().fetch(&child, &1));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_pending());
    child.get_or_load(&1).await.unwrap();
    // 2. The commit is shown, a reader has it loaded, and how it was found is forgotten.
    origin.show(hidden);
    origin.confirm();
    assert_eq!(*child.get_or_load(&1).await.unwrap(), [2]);
    for step in 0..9 {
        cache.invalidate([row(100 + step)]).await.unwrap();
    }
    assert_eq!(child.fetch(&1).await.unwrap().source, Source::Hit);
    // 3. Only now the parent goes on: what memory has cannot be built from.
    let fetched = read.await.unwrap();
    assert_eq!(*fetched.value, [2]);
}
