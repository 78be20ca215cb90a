//! Deadlines, stale answers, and pauses after errors.
//!
//! **Invariant** under test: a deadline is decided at read time, and a value that is not fresh says
//! so.

use std::time::Duration;

use larder::{LoadError, Source};

use crate::gate::{Gate, LASTING, TRANSIENT, cache, row_dependency};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_entry_is_dead_the_moment_its_ttl_is_over() {
    // KD5, X2: decided at read time, dead when the deadline is reached.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(region.get(&1).await.unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(region.get(&1).await.unwrap().is_none());
    assert_eq!(region.fetch(&1).await.unwrap().source, Source::Loaded);
}

#[tokio::test]
async fn reading_does_not_prolong_an_entry() {
    // KD7, X3.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    for _ in 0..6 {
        region.get_or_load(&1).await.unwrap();
        clock.advance(SECOND * 10);
    }
    region.get_or_load(&1).await.unwrap();
    assert_eq!(gate.loads(), 2);
}

#[tokio::test]
async fn a_load_may_shorten_its_own_ttl() {
    let (cache, clock) = cache();
    let region = cache.region::<u32, i64>("short").ttl(MINUTE);
    let region = region
        .loader(async |_, load: larder::Load| {
            load.tag("short").expires_within(SECOND);
            Ok::<_, larder::Error>(1)
        })
        .build()
        .unwrap();
    region.get_or_load(&1).await.unwrap();
    assert_eq!(region.explain(&1).ttl_left, Some(SECOND));
    clock.advance(SECOND);
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stale_value_is_served_while_one_load_replaces_it() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let builder = gate.region(&cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let region = builder.build().unwrap();
    region.get_or_load(&1).await.unwrap();
    gate.begun().await;
    gate.write(2);
    clock.advance(MINUTE);
    let stale = region.fetch(&1).await.unwrap();
    assert_eq!((*stale.value, stale.source), (1, Source::StaleWhileRevalidate));
    assert!(stale.source.is_stale());
    gate.begun().await;
    while *region.fetch(&1).await.unwrap().value != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.loads(), 2);
}

#[tokio::test]
async fn an_invalidated_value_is_not_served_while_it_is_loaded_again() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let builder = gate.region(&cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let region = builder.build().unwrap();
    region.get_or_load(&1).await.unwrap();
    clock.advance(MINUTE);
    gate.write(2);
    cache.invalidate([row_dependency()]).await.unwrap();
    let fetched = region.fetch(&1).await.unwrap();
    assert_eq!((*fetched.value, fetched.source), (2, Source::Loaded));
}

#[tokio::test]
async fn an_older_value_stands_in_for_a_load_that_failed_for_a_while() {
    // SC8, KD11, SD20: a failed refresh leaves the good value.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).stale_if_error(MINUTE).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    clock.advance(MINUTE);
    gate.fail(TRANSIENT);
    let stale = region.fetch(&1).await.unwrap();
    assert_eq!((*stale.value, stale.source), (1, Source::StaleOnError));
    // The next attempt is 30 s later: until then nobody waits for the origin.
    region.fetch(&1).await.unwrap();
    assert_eq!(gate.loads(), 2);
    clock.advance(SECOND * 30);
    region.fetch(&1).await.unwrap();
    assert_eq!(gate.loads(), 3);
    clock.advance(SECOND * 30);
    assert!(region.fetch(&1).await.is_err());
}

#[tokio::test]
async fn the_rest_after_a_stale_answer_ends_with_the_value_that_was_served() {
    // 1. The origin fails once; the older value is served and the key rests for 30 s.
    // 2. The value is invalidated. 3. The origin is back: readers must not be told otherwise.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).stale_if_error(MINUTE).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    clock.advance(MINUTE);
    gate.fail(TRANSIENT);
    assert_eq!(region.fetch(&1).await.unwrap().source, Source::StaleOnError);
    gate.fail(crate::gate::FINE);
    cache.invalidate([row_dependency()]).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(region.fetch(&1).await.unwrap().source, Source::Loaded);
}

#[tokio::test]
async fn a_lasting_error_is_an_answer_and_shows_nothing_older() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).stale_if_error(MINUTE).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    clock.advance(MINUTE);
    gate.fail(LASTING);
    assert!(matches!(region.fetch(&1).await, Err(LoadError::Load(_))));
}

#[tokio::test]
async fn an_invalidated_value_is_not_served_even_when_the_origin_is_down() {
    let (cache, _) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).stale_if_error(MINUTE).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    gate.fail(TRANSIENT);
    cache.invalidate([row_dependency()]).await.unwrap();
    assert!(region.fetch(&1).await.is_err());
}

#[tokio::test]
async fn a_failing_key_rests_longer_and_longer() {
    // KD3: a failure is never for ever; KD4: polling does not storm the origin.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    gate.fail(TRANSIENT);
    let mut loads = Vec::new();
    for _ in 0..100 {
        assert!(region.get_or_load(&1).await.is_err());
        loads.push(gate.loads());
        clock.advance(Duration::from_millis(100));
    }
    // Pauses of 100, 200, 400, 800, 1600, 3200 and 5000 ms within ten seconds.
    assert_eq!(loads.last(), Some(&7));
    clock.advance(SECOND * 5);
    gate.fail(crate::gate::FINE);
    assert_eq!(*region.get_or_load(&1).await.unwrap(), 1);
}
