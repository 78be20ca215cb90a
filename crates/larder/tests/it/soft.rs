//! Soft invalidation: stale at once, loaded again behind, gone when the windows end.
//!
//! **Invariant** under test: after a soft invalidation returned, no reader is told that an older
//! value is fresh.

use std::time::Duration;

use larder::{EntryState, Error, Load, Mode, Notice, Region, Source};

use crate::gate::{Gate, TRANSIENT, cache, row_dependency, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);

async fn read(region: &Region<u32, i64>) -> (i64, Source) {
    let fetched = region.fetch(&1).await.unwrap();
    (*fetched.value, fetched.source)
}

#[tokio::test]
async fn a_softened_value_is_served_as_stale_while_one_load_runs_behind() {
    let (cache, clock) = cache();
    let gate = Gate::closed();
    let builder = gate.region(&cache).never_expires().stale_while_revalidate(MINUTE);
    let region = builder.build().unwrap();
    gate.let_one_end();
    assert_eq!(read(&region).await, (1, Source::Loaded));
    gate.begun().await;
    gate.write(2);
    let mut subscription = cache.subscribe();
    let soft = cache.invalidation().drop_all_of([row_dependency()]).soft();
    assert_eq!(soft.commit().await.unwrap().touched, [1]);
    let Some(Notice::Invalidated(told)) = subscription.next().await else { panic!("not told") };
    assert_eq!((told.mode, told.entries), (Mode::Soft, 1));
    assert!(region.get(&1).await.unwrap().is_none(), "`get` gives what is fresh only");
    let explained = region.explain(&1);
    assert_eq!(explained.state, EntryState::Stale);
    assert!(explained.last_invalidation.is_some());
    for _ in 0..3 {
        assert_eq!(read(&region).await, (1, Source::StaleWhileRevalidate));
    }
    clock.advance(Duration::from_secs(7));
    let late = region.fetch(&1).await.unwrap();
    assert_eq!((late.source, late.past_ttl.as_secs()), (Source::StaleWhileRevalidate, 7));
    gate.begun().await;
    gate.let_one_end();
    while region.get(&1).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&region).await, (2, Source::Hit));
    assert_eq!((gate.loads(), region.stats().revalidations), (2, 1));
    assert_eq!(cache.status().softened, 1);
}

#[tokio::test]
async fn a_region_that_serves_nothing_stale_loses_its_entries() {
    let (cache, _) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).stale_if_error(MINUTE).build().unwrap();
    read(&region).await;
    gate.write(2);
    cache.invalidation().drop_all_of([row_dependency()]).soft().commit().await.unwrap();
    assert_eq!(read(&region).await, (2, Source::Loaded));
}

#[tokio::test]
async fn a_load_that_ran_over_a_soft_invalidation_is_not_stored() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let builder = gate.region(&cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let region = builder.build().unwrap();
    let before = spawn_read(&region);
    gate.begun().await;
    gate.write(2);
    cache.invalidation().drop_all_of([row_dependency()]).soft().commit().await.unwrap();
    // Who comes now must not be given what was read before.
    let after = spawn_read(&region);
    tokio::task::yield_now().await;
    gate.let_one_end();
    gate.let_one_end();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2);
    assert_eq!(read(&region).await, (2, Source::Hit));
    assert_eq!(region.stats().overtaken, 1);
}

#[tokio::test]
async fn a_softened_value_ends_with_its_windows_and_covers_for_errors_until_then() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let builder = gate.region(&cache).never_expires().stale_while_revalidate(MINUTE);
    let region = builder.stale_if_error(10 * MINUTE).build().unwrap();
    read(&region).await;
    clock.advance(1000 * MINUTE);
    cache.invalidation().drop_all_of([row_dependency()]).soft().commit().await.unwrap();
    gate.fail(TRANSIENT);
    clock.advance(2 * MINUTE);
    assert_eq!(read(&region).await, (1, Source::StaleOnError));
    clock.advance(8 * MINUTE);
    assert!(region.fetch(&1).await.is_err());
}

#[tokio::test]
async fn what_was_invalidated_is_not_served_even_if_it_was_softened_before() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let builder = gate.region(&cache).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let region = builder.stale_if_error(MINUTE).build().unwrap();
    read(&region).await;
    cache.invalidation().drop_all_of([row_dependency()]).soft().commit().await.unwrap();
    cache.invalidation().drop_all_of([row_dependency()]).hard().commit().await.unwrap();
    gate.fail(TRANSIENT);
    assert!(region.fetch(&1).await.is_err());
    gate.fail(crate::gate::FINE);
    clock.advance(Duration::from_secs(30));
    assert_eq!(read(&region).await, (1, Source::Loaded));
}

#[tokio::test]
async fn a_softened_value_covers_for_errors_in_a_loader_as_well() {
    // Its window for errors is the longer one.
    let (cache, clock) = cache();
    let gate = Gate::open();
    let builder = gate.region(&cache).never_expires().stale_while_revalidate(MINUTE);
    let child = builder.stale_if_error(10 * MINUTE).build().unwrap();
    let parent = cache.region::<u32, i64>("parent").ttl(MINUTE).loader({
        let child = child.clone();
        move |id: u32, load: Load| {
            let child = child.clone();
            async move { Ok::<_, Error>(load.fetch(&child, &id).await?.value.wrapping_add(100)) }
        }
    });
    let parent = parent.build().unwrap();
    read(&child).await;
    cache.invalidation().drop_all_of([row_dependency()]).soft().commit().await.unwrap();
    gate.fail(TRANSIENT);
    for minutes in [0, 2] {
        clock.advance(minutes * MINUTE);
        // What it is built on was touched before it began.
        assert_eq!(read(&parent).await, (101, Source::Unproven));
        assert_eq!(read(&child).await.0, 1, "as a reader gets it");
    }
    assert!(parent.get(&1).await.unwrap().is_none(), "what it is built on was touched");
    clock.advance(8 * MINUTE);
    assert!(parent.fetch(&1).await.is_err() && child.fetch(&1).await.is_err());
    // What was taken away for good is given to no loader either.
    gate.fail(crate::gate::FINE);
    clock.advance(MINUTE);
    read(&child).await;
    gate.fail(TRANSIENT);
    cache.invalidate([row_dependency()]).await.unwrap();
    assert!(parent.fetch(&1).await.is_err());
}
