//! One load for many readers, and who may take its result.
//!
//! **Invariant** under test: a read costs at most two loads, and none is shown less than this node
//! knew when it arrived.

use std::{sync::Arc, time::Duration};

use larder::{Cache, LoadError, OnAbandon, Source};

use crate::gate::{Gate, PANIC, cache, row_dependency, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_crowd_at_a_cold_key_costs_one_load() {
    // KD1: 100 first reads, 1 load; here 10 000.
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let readers: Vec<_> = (0..10_000).map(|_| spawn_read(&region)).collect();
    gate.begun().await;
    gate.let_one_end();
    for reader in readers {
        assert_eq!(*reader.await.unwrap().unwrap(), 1);
    }
    assert_eq!(gate.loads(), 1);
}

#[tokio::test]
async fn reader_after_change_does_not_take_the_older_flight() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    // 1. A begins a flight, which reads the old row.
    let before = spawn_read(&region);
    gate.begun().await;
    // 2. The row changes.
    gate.write(2);
    cache.invalidate([row_dependency()]).await.unwrap();
    // 3. B and C arrive and join the running flight.
    let after = spawn_read(&region);
    let beside = spawn_read(&region);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    // 4. The flight ends; A may have its result, B and C share one new flight.
    gate.let_one_end();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    gate.begun().await;
    gate.let_one_end();
    assert_eq!(*after.await.unwrap().unwrap(), 2);
    assert_eq!(*beside.await.unwrap().unwrap(), 2);
    assert_eq!(gate.loads(), 2);
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), 2);
    assert_eq!(region.stats().overtaken, 1);
}

#[tokio::test]
async fn a_result_that_lost_its_race_is_not_stored() {
    // MD2, J4: the deeper race of read, change, put.
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let reader = spawn_read(&region);
    gate.begun().await;
    gate.write(2);
    cache.invalidate([row_dependency()]).await.unwrap();
    gate.let_one_end();
    assert_eq!(*reader.await.unwrap().unwrap(), 1);
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_that_changes_faster_than_it_loads_still_answers() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    for round in 2..50 {
        let reader = spawn_read(&region);
        gate.begun().await;
        gate.write(round);
        cache.invalidate([row_dependency()]).await.unwrap();
        gate.let_one_end();
        assert_eq!(*reader.await.unwrap().unwrap(), round - 1);
    }
    assert_eq!(gate.loads(), 48);
}

#[tokio::test]
async fn a_change_elsewhere_does_not_send_a_joiner_away() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let first = spawn_read(&region);
    gate.begun().await;
    cache.invalidate([larder::Dependency::id("app", "Row", [2])]).await.unwrap();
    let joiner = {
        let region = region.clone();
        tokio::spawn(async move { region.fetch(&1).await.unwrap().source })
    };
    tokio::task::yield_now().await;
    gate.let_one_end();
    first.await.unwrap().unwrap();
    assert_eq!(joiner.await.unwrap(), Source::Joined);
    assert_eq!(gate.loads(), 1);
}

#[tokio::test]
async fn a_panicking_loader_answers_everybody_and_poisons_nothing() {
    let (cache, clock) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    gate.fail(PANIC);
    let readers = [spawn_read(&region), spawn_read(&region)];
    gate.begun().await;
    gate.let_one_end();
    for reader in readers {
        assert!(matches!(reader.await.unwrap(), Err(LoadError::Panicked)));
    }
    gate.fail(crate::gate::FINE);
    clock.advance(Duration::from_millis(100));
    gate.let_one_end();
    assert_eq!(*region.get_or_load(&1).await.unwrap(), 1);
}

#[tokio::test]
async fn an_abandoned_load_ends_and_is_stored() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let leader = spawn_read(&region);
    gate.begun().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    let follower = spawn_read(&region);
    gate.let_one_end();
    assert_eq!(*follower.await.unwrap().unwrap(), 1);
    assert_eq!(gate.loads(), 1);
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_is_cancelled_if_the_region_says_so() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).on_abandon(OnAbandon::Cancel).build().unwrap();
    let reader = spawn_read(&region);
    gate.begun().await;
    reader.abort();
    assert!(reader.await.unwrap_err().is_cancelled());
    while cache.status().loads_running != 0 {
        tokio::task::yield_now().await;
    }
    assert!(region.get(&1).await.unwrap().is_none());
    let second = spawn_read(&region);
    gate.begun().await;
    gate.let_one_end();
    assert_eq!(*second.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_past_its_limit_is_a_timeout() {
    let cache = Cache::builder().build().unwrap();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).load_timeout(Duration::from_secs(1));
    let error = region.build().unwrap().get_or_load(&1).await.unwrap_err();
    assert!(matches!(error, LoadError::Cache(error) if error.kind() == larder::ErrorKind::Timeout));
}

#[tokio::test]
async fn loads_over_the_limit_are_refused_at_once() {
    let cache = Cache::builder().max_loads(1, 1).build().unwrap();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let spawn = |key: u32| {
        let region = region.clone();
        tokio::spawn(async move { region.get_or_load(&key).await })
    };
    let running = spawn(1);
    gate.begun().await;
    let waiting = spawn(2);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let refused = spawn(3).await.unwrap().unwrap_err();
    let LoadError::Cache(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.kind(), larder::ErrorKind::Overloaded);
    gate.let_one_end();
    gate.let_one_end();
    assert!(running.await.unwrap().is_ok());
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_gets_no_turn_is_refused_after_its_own_limit() {
    let cache = Cache::builder().max_loads(1, 1).build().unwrap();
    let (long, short) = (Gate::closed(), Gate::open());
    let hour = Duration::from_secs(3600);
    let patient = long.region(&cache).ttl(MINUTE).load_timeout(hour).build().unwrap();
    let hasty = cache.region("hasty").loader({
        let gate = short.clone();
        move |_key: u32, load| gate.clone().load(load)
    });
    let hasty = hasty.ttl(MINUTE).load_timeout(Duration::from_secs(1)).build().unwrap();
    let running = spawn_read(&patient);
    long.begun().await;
    let asked = tokio::time::Instant::now();
    // The second one finds the place in the queue that the first gave back.
    for _ in 0..2 {
        let refused = hasty.get_or_load(&1).await.unwrap_err();
        let LoadError::Cache(refused) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.kind(), larder::ErrorKind::Overloaded);
        assert!(refused.to_string().contains("within 1s"), "{refused}");
    }
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!((short.loads(), hasty.stats().overloaded), (0, 2));
    long.let_one_end();
    assert_eq!(*running.await.unwrap().unwrap(), 1);
    assert_eq!(*hasty.get_or_load(&1).await.unwrap(), 1, "a refusal begins no pause");
}

#[tokio::test]
async fn a_loader_of_one_call_may_own_what_it_captured() {
    let (cache, _) = cache();
    let region = cache.region::<u32, String>("names").ttl(MINUTE).build().unwrap();
    let owned = String::from("captured");
    let value = region
        .get_or_load_with(&1, async move |load| {
            load.tag("names");
            Ok(owned)
        })
        .await
        .unwrap();
    assert_eq!(*value, "captured");
    let again = region.get_or_load_with(&1, async |_| Ok(String::from("other"))).await.unwrap();
    assert!(Arc::ptr_eq(&value, &again));
}
