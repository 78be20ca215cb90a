//! Invalidating and rewarming: the hottest first, as flights, within a budget.
//!
//! **Invariant** under test: what is loaded again is loaded as a reader would, and never holds the
//! invalidation up.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Dependency, Error, ErrorKind, Load, Region, Rewarm, Rewarmed};
use tokio::sync::Semaphore;

use crate::gate::{Gate, TRANSIENT, cache, row_dependency, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);

type Loaded = Arc<Mutex<Vec<u32>>>;

fn all() -> Dependency {
    Dependency::tag("all")
}

/// A region of ten entries, and the order in which keys are loaded.
async fn filled(cache: &Cache) -> (Region<u32, u32>, Loaded) {
    let loaded = Loaded::default();
    let order = loaded.clone();
    let loader = move |key: u32, load: Load| {
        order.lock().unwrap().push(key);
        async move {
            load.depends_on(all());
            Ok::<_, Error>(key)
        }
    };
    let region = cache.region::<u32, u32>("numbers").ttl(MINUTE).loader(loader).build().unwrap();
    for key in 0..10 {
        region.get_or_load(&key).await.unwrap();
    }
    loaded.lock().unwrap().clear();
    (region, loaded)
}

fn rewarm(at_most: usize, concurrency: usize) -> Rewarm {
    Rewarm { at_most, concurrency }
}

async fn counts(done: larder::Invalidated) -> (u64, u64, u64) {
    let Rewarmed { loaded, failed, skipped, left, .. } = done.rewarming.unwrap().ended().await;
    assert_eq!(left, 0);
    (loaded, failed, skipped)
}

#[tokio::test]
async fn the_most_read_entries_come_back_first_and_no_more_than_asked_for() {
    let (cache, _) = cache();
    let (region, loaded) = filled(&cache).await;
    for (key, reads) in [(7, 6000), (2, 3000), (4, 1500)] {
        for _ in 0..reads {
            region.get_or_load(&key).await.unwrap();
        }
    }
    let invalidation = cache.invalidation().drop_all_of([all()]).rewarm(rewarm(3, 1));
    let done = invalidation.commit().await.unwrap();
    assert_eq!(done.touched, [10]);
    assert_eq!(counts(done).await, (3, 0, 0));
    assert_eq!(*loaded.lock().unwrap(), [7, 2, 4]);
    assert!(region.get(&7).await.unwrap().is_some());
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn no_more_than_the_budget_are_loaded_at_once() {
    let (cache, _) = cache();
    let (running, leave) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let begun = Arc::new(Semaphore::new(0));
    let loader = {
        let (running, leave, begun) = (running.clone(), leave.clone(), begun.clone());
        move |key: u32, load: Load| {
            let (running, leave, begun) = (running.clone(), leave.clone(), begun.clone());
            async move {
                load.depends_on(all());
                running.fetch_add(1, Ordering::SeqCst);
                begun.add_permits(1);
                leave.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Error>(key)
            }
        }
    };
    let region = cache.region::<u32, u32>("slow").ttl(MINUTE).loader(loader).build().unwrap();
    for key in 0..9 {
        leave.add_permits(1);
        region.get_or_load(&key).await.unwrap();
        begun.acquire().await.unwrap().forget();
    }
    let invalidation = cache.invalidation().drop_all_of([all()]).rewarm(rewarm(100, 3));
    let done = invalidation.commit().await.unwrap();
    assert_eq!(done.rewarming.as_ref().unwrap().so_far().left, 9);
    let mut most = 0;
    for _ in 0..9 {
        begun.acquire().await.unwrap().forget();
        tokio::task::yield_now().await;
        most = most.max(running.load(Ordering::SeqCst));
        leave.add_permits(1);
    }
    assert_eq!(most, 3);
    assert_eq!(counts(done).await, (9, 0, 0));
}

#[tokio::test]
async fn a_reader_joins_the_load_that_was_begun_for_nobody() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    gate.let_one_end();
    region.get_or_load(&1).await.unwrap();
    gate.begun().await;
    gate.write(2);
    let invalidation = cache.invalidation().drop_all_of([row_dependency()]).rewarm(rewarm(1, 1));
    let done = invalidation.commit().await.unwrap();
    gate.begun().await;
    let reader = spawn_read(&region);
    tokio::task::yield_now().await;
    gate.let_one_end();
    assert_eq!(*reader.await.unwrap().unwrap(), 2);
    assert_eq!(counts(done).await, (1, 0, 0));
    assert_eq!(gate.loads(), 2);
}

#[tokio::test]
async fn a_load_that_was_under_way_at_the_commit_is_not_taken_for_the_rewarm() {
    let (cache, clock) = cache();
    let gate = Gate::closed();
    let builder = gate.region(&cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let region = builder.build().unwrap();
    gate.let_one_end();
    region.get_or_load(&1).await.unwrap();
    gate.begun().await;
    // 1. A refresh reads the old row. 2. The row changes, and that is told. 3. The rewarm finds the
    // refresh under way.
    clock.advance(MINUTE);
    region.get_or_load(&1).await.unwrap();
    gate.begun().await;
    gate.write(2);
    let invalidation = cache.invalidation().drop_all_of([row_dependency()]).rewarm(rewarm(1, 1));
    let done = invalidation.commit().await.unwrap();
    tokio::task::yield_now().await;
    gate.let_one_end();
    gate.let_one_end();
    assert_eq!(counts(done).await, (1, 0, 0));
    assert_eq!(region.get(&1).await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn what_cannot_be_loaded_again_is_counted() {
    let (cache, _) = cache();
    let by_hand = cache.region::<u32, u32>("by hand").ttl(MINUTE).build().unwrap();
    let begun = by_hand.begin(&1);
    begun.load().depends_on(row_dependency());
    begun.finish(1).await.unwrap();
    let borrowed = cache.region::<&'static str, u32>("borrowed").ttl(MINUTE);
    let borrowed = borrowed.loader(async |_: &'static str, load: Load| {
        load.depends_on(row_dependency());
        Ok::<_, Error>(1)
    });
    let borrowed = borrowed.build().unwrap();
    borrowed.get_or_load(&"a").await.unwrap();
    let gate = Gate::open();
    let failing = gate.region(&cache).ttl(MINUTE).build().unwrap();
    failing.get_or_load(&1).await.unwrap();
    gate.fail(TRANSIENT);
    let invalidation = cache.invalidation().drop_all_of([row_dependency()]).rewarm(rewarm(10, 2));
    let done = invalidation.commit().await.unwrap();
    assert_eq!(done.touched, [3]);
    assert_eq!(counts(done).await, (0, 1, 2));
}

#[tokio::test]
async fn a_rewarm_that_may_load_nothing_at_once_is_refused_and_nothing_falls() {
    let (cache, _) = cache();
    let (region, _) = filled(&cache).await;
    let invalidation = cache.invalidation().drop_all_of([all()]).rewarm(rewarm(10, 0));
    assert_eq!(invalidation.commit().await.unwrap_err().kind(), ErrorKind::Config);
    assert!(region.get(&1).await.unwrap().is_some());
}

#[tokio::test]
async fn a_rewarming_does_not_outlive_the_cache() {
    let (cache, _) = cache();
    let (region, _) = filled(&cache).await;
    let invalidation = cache.invalidation().drop_all_of([all()]).rewarm(rewarm(10, 1));
    let done = invalidation.commit().await.unwrap();
    drop((cache, region));
    assert_eq!(counts(done).await, (0, 0, 10));
}
