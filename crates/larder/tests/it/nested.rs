//! Entries that are built from entries: M(c), the doll.
//!
//! - here: what a parent inherits, however its child was answered
//! - `race`: a child that changes while its parent is loaded
//! - `spawn`: who inherits within a task, and who in another one
//! - `limit`: sets that are too large
//!
//! **Invariant** under test: a parent falls with its child's data, not with its child's entry, and
//! is never fresher than its child.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{
    Cache, Clock, Dependency, EntryState, Error, ErrorKind, Kept, Load, LoadError, Position,
    Region, RegionBuilder, Source,
};

use crate::gate::{Gate, TRANSIENT, cache, row_dependency};

mod limit;

mod race;

mod spawn;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Numbered rows, for loaders.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<BTreeMap<u32, i64>>>);

impl Rows {
    fn read(&self, id: u32) -> i64 {
        self.0.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    fn write(&self, id: u32, value: i64) {
        self.0.lock().unwrap().insert(id, value);
    }

    /// Writes and says so.
    async fn change(&self, cache: &Cache, id: u32, value: i64) {
        self.write(id, value);
        cache.invalidate([row(id)]).await.unwrap();
    }

    /// Begins a region of these rows.
    fn region(&self, cache: &Cache, name: &'static str) -> RegionBuilder<u32, i64> {
        let rows = self.clone();
        let loader = move |id: u32, load: Load| {
            load.depends_on(row(id));
            let value = rows.read(id);
            async move { Ok::<_, Error>(value) }
        };
        cache.region(name).loader(loader)
    }
}

fn row(id: u32) -> Dependency {
    Dependency::id("app", "Row", [id])
}

/// Begins a region whose values are those of `child` plus 100.
fn parent_of(
    cache: &Cache,
    name: &'static str,
    child: &Region<u32, i64>,
) -> RegionBuilder<u32, i64> {
    let child = child.clone();
    cache.region(name).loader(move |id: u32, load: Load| {
        let child = child.clone();
        async move { Ok::<_, Error>(*load.get_or_load(&child, &id).await? + 100) }
    })
}

async fn source(region: &Region<u32, i64>) -> (i64, Source) {
    let fetched = region.fetch(&1).await.unwrap();
    (*fetched.value, fetched.source)
}

fn app_position(region: &Region<u32, i64>) -> Position {
    region.explain(&1).stamps.get("app").unwrap().as_of
}

#[tokio::test]
async fn a_parent_falls_with_the_data_of_its_child_at_any_depth() {
    // M(c) nested entries, M4.
    let (cache, _) = cache();
    let rows = Rows::default();
    let mut regions = vec![rows.region(&cache, "level 0").ttl(MINUTE).build().unwrap()];
    for name in ["level 1", "level 2", "level 3", "level 4", "level 5"] {
        let region = parent_of(&cache, name, regions.last().unwrap()).ttl(MINUTE);
        regions.push(region.build().unwrap());
    }
    let top = regions.last().unwrap();
    assert_eq!(source(top).await, (500, Source::Loaded));
    assert_eq!(source(top).await, (500, Source::Hit));
    rows.change(&cache, 2, 9).await;
    assert_eq!(source(top).await, (500, Source::Hit), "another row");
    rows.change(&cache, 1, 7).await;
    assert!(top.get(&1).await.unwrap().is_none());
    assert_ne!(top.explain(&1).state, EntryState::Fresh);
    assert_eq!(source(top).await, (507, Source::Loaded));
}

#[tokio::test]
async fn a_child_that_is_hit_is_inherited_as_one_that_is_loaded() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).build().unwrap();
    child.get_or_load(&1).await.unwrap();
    parent.get_or_load(&1).await.unwrap();
    assert_eq!(child.stats().hits, 1);
    assert_eq!(parent.explain(&1).dependencies, [row(1)]);
    rows.change(&cache, 1, 7).await;
    assert_eq!(source(&parent).await, (107, Source::Loaded));
}

#[tokio::test]
async fn a_parent_outlives_its_childs_entry_but_not_its_childs_data() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).build().unwrap();
    parent.get_or_load(&1).await.unwrap();
    // Removed, then loaded again without a change: neither says anything about the data.
    assert!(child.remove(&1).await.unwrap());
    assert_eq!(source(&parent).await.1, Source::Hit);
    child.get_or_load(&1).await.unwrap();
    assert_eq!(source(&parent).await.1, Source::Hit);
    // With the child's entry gone the parent still hears of the data.
    child.remove(&1).await.unwrap();
    rows.change(&cache, 1, 7).await;
    assert_eq!(source(&parent).await, (107, Source::Loaded));
}

#[tokio::test]
async fn a_child_read_twice_is_inherited_once() {
    // A diamond: top -> left, right -> bottom.
    let (cache, _) = cache();
    let rows = Rows::default();
    let bottom = rows.region(&cache, "bottom").ttl(MINUTE).build().unwrap();
    let left = parent_of(&cache, "left", &bottom).ttl(MINUTE).build().unwrap();
    let right = parent_of(&cache, "right", &bottom).ttl(MINUTE).build().unwrap();
    let top = cache.region::<u32, i64>("top").ttl(MINUTE).loader({
        let (left, right) = (left.clone(), right.clone());
        move |id: u32, load: Load| {
            let (left, right) = (left.clone(), right.clone());
            async move {
                let both =
                    tokio::join!(load.get_or_load(&left, &id), load.get_or_load(&right, &id));
                let again = *load.get_or_load(&left, &id).await?;
                Ok::<_, Error>(*both.0? + *both.1? + again)
            }
        }
    });
    let top = top.build().unwrap();
    assert_eq!(source(&top).await, (300, Source::Loaded));
    assert_eq!(top.explain(&1).dependencies, [row(1)]);
    assert_eq!(bottom.stats().loads, 1);
    rows.change(&cache, 1, 1).await;
    assert_eq!(source(&top).await, (303, Source::Loaded));
}

#[tokio::test]
async fn a_parent_expires_with_its_earliest_child() {
    let (cache, clock) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(SECOND * 10).build().unwrap();
    let plain = cache.region::<u32, i64>("plain").ttl(SECOND * 5).build_untracked().unwrap();
    plain.insert(&1, 1000).await.unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).build().unwrap();
    clock.advance(SECOND);
    parent.get_or_load(&1).await.unwrap();
    assert_eq!(parent.explain(&1).ttl_left, Some(SECOND * 10), "a child that was loaded");
    clock.advance(SECOND);
    parent.remove(&1).await.unwrap();
    parent.get_or_load(&1).await.unwrap();
    assert_eq!(parent.explain(&1).ttl_left, Some(SECOND * 9), "a child that was hit");
    let both = cache.region::<u32, i64>("both").ttl(MINUTE).loader(move |id: u32, load: Load| {
        let (child, plain) = (child.clone(), plain.clone());
        async move {
            let child = *load.get_or_load(&child, &id).await?;
            Ok::<_, Error>(child + *load.get_or_load(&plain, &id).await?)
        }
    });
    let both = both.build().unwrap();
    assert_eq!(source(&both).await, (1000, Source::Loaded));
    assert_eq!(both.explain(&1).ttl_left, Some(SECOND * 3), "an untracked child");
}

#[tokio::test]
async fn an_untracked_child_alone_does_not_make_a_tracked_parent() {
    let (cache, _) = cache();
    let plain = cache.region::<u32, i64>("plain").ttl(MINUTE).build_untracked().unwrap();
    plain.insert(&1, 1).await.unwrap();
    let parent = parent_of(&cache, "parent", &plain).ttl(MINUTE).build().unwrap();
    let error = parent.get_or_load(&1).await.unwrap_err();
    assert!(matches!(error, LoadError::Cache(error) if error.kind() == ErrorKind::Untracked));
    let parent = parent_of(&cache, "untracked parent", &plain).ttl(MINUTE * 2);
    let parent = parent.build_untracked().unwrap();
    parent.get_or_load(&1).await.unwrap();
    assert_eq!(parent.explain(&1).ttl_left, Some(MINUTE));
}

#[tokio::test]
async fn what_is_built_on_a_stale_child_is_never_fresh() {
    let (cache, clock) = cache();
    let gate = Gate::closed();
    gate.let_one_end();
    let child = gate.region(&cache).ttl(SECOND * 10).stale_while_revalidate(MINUTE);
    let child = child.build().unwrap();
    let plain = parent_of(&cache, "plain", &child).ttl(MINUTE).build().unwrap();
    let patient = parent_of(&cache, "patient", &child).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let patient = patient.build().unwrap();
    child.get_or_load(&1).await.unwrap();
    clock.advance(SECOND * 15);
    gate.write(2);
    // Both are told, and the child is refreshed behind them. What could only be served as stale is
    // not kept where that is not allowed.
    let (first, second) = (plain.fetch(&1).await.unwrap(), patient.fetch(&1).await.unwrap());
    assert_eq!((*first.value, first.source, first.kept), (101, Source::BuiltOnStale, Kept::Not));
    assert_eq!((*second.value, second.source), (101, Source::BuiltOnStale));
    assert!(second.source.is_stale() && second.ttl_left == Some(Duration::ZERO));
    assert_eq!(second.kept, Kept::InMemory);
    assert_eq!((plain.stats().built_on_stale, patient.stats().built_on_stale), (1, 1));
    assert_eq!(patient.explain(&1).state, EntryState::Stale);
    assert!(patient.get(&1).await.unwrap().is_none());
    gate.let_one_end();
    while child.get(&1).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(source(&plain).await, (102, Source::Loaded));
    assert_eq!(source(&patient).await, (101, Source::StaleWhileRevalidate));
    while patient.get(&1).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(source(&patient).await, (102, Source::Hit));
}

#[tokio::test]
async fn a_stale_grandchild_is_felt_at_the_top() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let child = gate.region(&cache).ttl(SECOND).stale_while_revalidate(MINUTE).build().unwrap();
    let middle = parent_of(&cache, "middle", &child).ttl(MINUTE).build().unwrap();
    let top = parent_of(&cache, "top", &middle).ttl(MINUTE).build().unwrap();
    child.get_or_load(&1).await.unwrap();
    clock.advance(SECOND * 2);
    assert_eq!(source(&top).await, (201, Source::BuiltOnStale));
    assert!(top.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_child_served_stale_on_error_makes_a_stale_parent_that_still_falls() {
    let (cache, clock) = cache();
    let gate = Gate::open();
    let child = gate.region(&cache).ttl(SECOND * 10).stale_if_error(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).stale_while_revalidate(MINUTE);
    let parent = parent.build().unwrap();
    child.get_or_load(&1).await.unwrap();
    clock.advance(SECOND * 10);
    gate.fail(TRANSIENT);
    assert_eq!(source(&parent).await, (101, Source::BuiltOnStale));
    assert_eq!(child.stats().stale_hits, 1);
    assert_eq!(parent.explain(&1).dependencies, [row_dependency()]);
    assert_eq!(source(&parent).await, (101, Source::StaleWhileRevalidate));
    cache.invalidate([row_dependency()]).await.unwrap();
    let error = parent.get_or_load(&1).await.unwrap_err();
    let LoadError::Load(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.operation(), "reach the origin", "the child's own error");
}

#[tokio::test]
async fn the_childs_error_is_typed() {
    let (cache, _) = cache();
    let child = cache
        .region::<u32, i64>("child")
        .ttl(MINUTE)
        .loader(async |_, _| Err::<i64, _>(std::io::Error::other("broken")));
    let child = child.build().unwrap();
    let parent = cache.region::<u32, String>("parent").ttl(MINUTE).loader(move |id, load: Load| {
        let child = child.clone();
        async move {
            load.tag("parent");
            match load.get_or_load(&child, &id).await {
                Err(LoadError::Load(error)) => Ok::<_, Error>(error.to_string()),
                other => Err(Error::new(ErrorKind::Origin, "fail").detail(format!("{other:?}"))),
            }
        }
    });
    let parent = parent.build().unwrap();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), "broken");
}

#[tokio::test]
async fn an_old_child_counts_as_of_where_it_was_validated() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let hand_made = cache.region::<u32, i64>("by hand").ttl(MINUTE).build().unwrap();
    child.get_or_load(&1).await.unwrap();
    let start = app_position(&child);
    for other in 10..13 {
        cache.invalidate([row(other)]).await.unwrap();
    }
    let begun = hand_made.begin(&1);
    let value = *begun.load().get_or_load(&child, &1).await.unwrap();
    assert_eq!(child.stats().hits, 1);
    begun.finish(value).await.unwrap();
    assert_eq!(app_position(&child), start);
    assert_eq!(app_position(&hand_made), Position(start.0 + 3));
}

#[tokio::test]
async fn a_child_whose_position_is_forgotten_is_loaded_again_for_its_parent() {
    let clock = Clock::manual();
    let cache = Cache::builder().clock(clock).changes_remembered(10).build().unwrap();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &child).ttl(MINUTE).build().unwrap();
    child.get_or_load(&1).await.unwrap();
    for other in 10..100 {
        cache.invalidate([row(other)]).await.unwrap();
    }
    assert_eq!(source(&child).await.1, Source::Hit, "for a reader its mark is proof");
    let fetched = parent.fetch(&1).await.unwrap();
    assert_eq!((fetched.source, fetched.kept), (Source::Loaded, Kept::InMemory));
    assert_eq!(child.stats().loads, 2);
    assert_eq!((parent.stats().forgotten, parent.stats().overtaken), (0, 0));
}

#[tokio::test]
async fn a_region_of_another_cache_is_refused_unless_time_is_all_it_passes_on() {
    let (cache, _) = cache();
    let (other, other_clock) = crate::gate::cache();
    let rows = Rows::default();
    let tracked = rows.region(&other, "tracked").ttl(MINUTE).build().unwrap();
    let parent = parent_of(&cache, "parent", &tracked).ttl(MINUTE).build().unwrap();
    let error = parent.get_or_load(&1).await.unwrap_err().to_string();
    let LoadError::Load(refused) = parent.get_or_load(&1).await.unwrap_err() else {
        panic!("{error}")
    };
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("`tracked`"), "{refused}");
    let plain = other.region::<u32, i64>("plain").ttl(SECOND * 10).build_untracked().unwrap();
    other_clock.advance(MINUTE * 60);
    plain.insert(&1, 1).await.unwrap();
    let capped = parent_of(&cache, "capped", &plain).ttl(MINUTE).build_untracked().unwrap();
    capped.get_or_load(&1).await.unwrap();
    assert_eq!(capped.explain(&1).ttl_left, Some(SECOND * 10));
}

#[tokio::test]
async fn an_untracked_child_of_another_cache_is_refused_where_changes_would_end_it() {
    let ((own, _), (other, _)) = (cache(), cache());
    let names = Arc::new(Mutex::new(false));
    let child = other.region::<u32, i64>("child").ttl(MINUTE).stale_if_error(MINUTE).loader({
        let names = names.clone();
        move |_: u32, load: Load| {
            let names = names.clone();
            async move {
                if *names.lock().unwrap() {
                    load.tag("child");
                }
                Ok::<_, Error>(1)
            }
        }
    });
    let child = child.build_untracked().unwrap();
    let parent = own.region::<u32, i64>("parent").ttl(MINUTE).loader({
        let child = Region::clone(&child);
        move |id: u32, load: Load| {
            let child = child.clone();
            async move { Ok::<_, Error>(*load.get_or_load(&child, &id).await? + 100) }
        }
    });
    let parent = parent.build_untracked().unwrap();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), 101, "nothing but time ends the child");
    *names.lock().unwrap() = true;
    // Once it is loaded for the parent, once it is found in memory, once by a plain look.
    for key in [2, 3] {
        if key == 3 {
            child.get_or_load(&3).await.unwrap();
        }
        let error = parent.get_or_load(&key).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("Config") && text.contains("child"), "{text}");
    }
    let begun = parent.begin(&4);
    let looked = begun.load().scope(child.get(&3)).await;
    assert_eq!(looked.unwrap_err().kind(), ErrorKind::Config);
    // Nothing was stored that would outlive the change.
    assert!(parent.get(&2).await.unwrap().is_none() && parent.get(&3).await.unwrap().is_none());
}

#[tokio::test]
async fn every_read_that_ends_in_an_error_is_counted() {
    let ((own, _), (other, _)) = (cache(), cache());
    let rows = Rows::default();
    let child = rows.region(&other, "child").ttl(MINUTE).build().unwrap();
    let parent = own.region::<u32, i64>("parent").ttl(MINUTE).build().unwrap();
    let begun = parent.begin(&1);
    assert!(begun.load().get_or_load(&child, &1).await.is_err());
    assert_eq!(child.stats().errors, 1);
    assert!(begun.load().scope(child.get(&1)).await.is_err());
    assert_eq!(child.stats().errors, 2);
}
