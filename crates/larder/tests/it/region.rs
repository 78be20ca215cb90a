//! Building regions, untracked values, null, explanations, limits.
//!
//! **Invariant** under test: a mistake is an error with a way out, and a miss, a null and an error
//! are three answers.

use std::time::Duration;

use larder::{Cache, Dependency, EntryState, Error, ErrorKind, Load, LoadError, MemoryLimit};

use crate::gate::{Gate, cache};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn null_is_a_value() {
    // KD14, X7, SD12.
    let (cache, _) = cache();
    let builder = cache.region::<u32, Option<String>>("nullable").ttl(MINUTE);
    let loader = async |_, load: Load| {
        load.tag("nullable");
        Ok::<_, Error>(None)
    };
    let region = builder.loader(loader).build().unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
    assert_eq!(*region.get_or_load(&1).await.unwrap(), None);
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), None);
    assert_eq!(region.stats().loads, 1);
}

#[tokio::test]
async fn an_entry_that_depends_on_nothing_is_an_error() {
    let (cache, _) = cache();
    let region = cache.region::<u32, i64>("immune").ttl(MINUTE);
    let region = region.loader(async |_, _| Ok::<_, Error>(1)).build().unwrap();
    let error = region.get_or_load(&1).await.unwrap_err();
    assert!(matches!(&error, LoadError::Cache(error) if error.kind() == ErrorKind::Untracked));
    assert!(error.to_string().contains("`immune`"), "{error}");
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn an_untracked_region_takes_values_by_hand() {
    let (cache, clock) = cache();
    let region = cache.region::<String, i64>("plain").ttl(MINUTE).build_untracked().unwrap();
    region.insert(&"a".into(), 1).await.unwrap();
    assert_eq!(*region.get(&"a".into()).await.unwrap().unwrap(), 1);
    assert!(region.get(&"A".into()).await.unwrap().is_none());
    clock.advance(MINUTE);
    assert!(region.get(&"a".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_region_without_a_ttl_or_with_a_taken_name_is_refused() {
    // X4: "never" is said, and zero is a mistake.
    let (cache, _) = cache();
    let unset = cache.region::<u32, i64>("a").build().unwrap_err();
    assert!(unset.to_string().contains("never_expires"), "{unset}");
    assert!(cache.region::<u32, i64>("a").ttl(Duration::ZERO).build().is_err());
    cache.region::<u32, i64>("a").never_expires().build().unwrap();
    let taken = cache.region::<u32, i64>("a").never_expires().build().unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn regions_do_not_share_keys() {
    // M13, KD10.
    let (cache, _) = cache();
    let one = cache.region::<u32, i64>("one").ttl(MINUTE).build_untracked().unwrap();
    let two = cache.region::<u32, String>("two").ttl(MINUTE).build_untracked().unwrap();
    one.insert(&1, 1).await.unwrap();
    assert!(two.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn an_explanation_tells_what_an_entry_is_made_of_and_why_it_fell() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    assert_eq!(region.explain(&1).state, EntryState::Absent);
    region.get_or_load(&1).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let fresh = region.explain(&1);
    assert_eq!(fresh.state, EntryState::Fresh);
    assert_eq!(fresh.age, Some(Duration::from_secs(1)));
    assert_eq!(fresh.ttl_left, Some(MINUTE - Duration::from_secs(1)));
    assert_eq!(fresh.dependencies, [Dependency::id("app", "Row", [1])]);
    assert!(fresh.stamps.get("app").is_some());
    cache.invalidate([Dependency::table("app", "Row")]).await.unwrap();
    let fallen = region.explain(&1);
    assert_ne!(fallen.state, EntryState::Fresh);
    assert_eq!(&*fallen.last_invalidation.unwrap().what, "app/Table(Row)");
}

#[tokio::test]
async fn a_value_too_large_to_keep_is_returned_all_the_same() {
    let cache = Cache::builder().memory(MemoryLimit::bytes(4 << 20)).build().unwrap();
    let region = cache.region::<u32, Vec<u8>>("large").ttl(MINUTE);
    let region = region
        .loader(async |_, load: Load| {
            load.tag("large");
            Ok::<_, Error>(vec![0; 8 << 20])
        })
        .build()
        .unwrap();
    assert_eq!(region.get_or_load(&1).await.unwrap().len(), 8 << 20);
    assert!(region.get(&1).await.unwrap().is_none());
    assert_eq!(region.stats().too_large, 1);
}

#[tokio::test]
async fn a_closed_cache_begins_no_load() {
    let (cache, _) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    cache.close().await;
    let error = region.get_or_load(&1).await.unwrap_err();
    assert!(matches!(error, LoadError::Cache(error) if error.kind() == ErrorKind::Closed));
}

#[test]
fn a_cache_outside_a_runtime_is_refused() {
    let error = Cache::builder().build().unwrap_err();
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[tokio::test]
async fn a_sampled_hit_that_differs_is_counted_and_dropped() {
    let (cache, _) = cache();
    let gate = Gate::open();
    let region = gate.region(&cache).ttl(MINUTE).sample(1, |a, b| a == b).build().unwrap();
    region.get_or_load(&1).await.unwrap();
    // The row changes and nobody reports it.
    gate.write(2);
    region.get_or_load(&1).await.unwrap();
    while region.stats().sampled == 0 {
        tokio::task::yield_now().await;
    }
    while region.get(&1).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(region.stats().violations, 1);
    assert_eq!(*region.get_or_load(&1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_dependency_on_a_timeline_that_is_not_there_is_an_error() {
    // No change could ever reach such an entry.
    let (cache, _) = cache();
    let region =
        cache.region::<u32, i64>("misspelt").ttl(MINUTE).loader(|_, load: Load| async move {
            load.depends_on(Dependency::table("shopp", "Artist"));
            Ok::<_, Error>(1)
        });
    let error = region.build().unwrap().get_or_load(&1).await.unwrap_err();
    assert!(matches!(&error, LoadError::Cache(error) if error.kind() == ErrorKind::NotFound));
}

#[tokio::test]
async fn a_value_too_large_to_keep_is_refused_by_insert_and_only_returned_by_finish() {
    let memory = MemoryLimit::bytes(1 << 20);
    let cache = Cache::builder().memory(memory).build().unwrap();
    let region = cache.region::<u32, Vec<u8>>("blobs").ttl(MINUTE).build_untracked().unwrap();
    region.insert(&1, vec![0; 10]).await.unwrap();
    let error = region.insert(&1, vec![0; 2 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("2097"), "it has the number: {error}");
    assert!(region.get(&1).await.unwrap().is_none(), "what was there is gone");
    let kept = region.begin(&1).finish(vec![0; 2 << 20]).await.unwrap();
    assert_eq!((kept.len(), region.stats().too_large), (2 << 20, 2));
    assert!(region.get(&1).await.unwrap().is_none());
}
