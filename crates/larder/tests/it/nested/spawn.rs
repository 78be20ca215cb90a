//! Who inherits: plain reads within the loader's task, clones and scopes in others.
//!
//! **Invariant** under test: nothing is inherited that was not read for the load, and nothing that
//! was is lost within one task.

use larder::Begun;

use super::*;

/// A region whose loader runs `read` on a plain region, and also depends on a tag.
fn reading<F>(
    cache: &Cache,
    name: &'static str,
    child: &Region<u32, i64>,
    read: impl Fn(Load, Region<u32, i64>, u32) -> F + Send + Sync + 'static,
) -> Region<u32, i64>
where
    F: Future<Output = Result<i64, Error>> + Send + 'static,
{
    let child = child.clone();
    let builder = cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |id: u32, load: Load| {
        load.tag("parent");
        read(load, child.clone(), id)
    });
    builder.build().unwrap()
}

fn inherits(region: &Region<u32, i64>) -> bool {
    region.explain(&1).dependencies.contains(&row(1))
}

#[tokio::test]
async fn plain_reads_in_the_loaders_own_task_are_inherited() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let cold = reading(&cache, "cold", &child, |_, child, id| async move {
        tokio::task::yield_now().await;
        Ok(*child.get_or_load(&id).await?)
    });
    let warm = reading(&cache, "warm", &child, |_, child, id| async move {
        Ok(*child.get_or_load(&id).await?)
    });
    let looked = reading(&cache, "looked", &child, |_, child, id| async move {
        Ok(child.get(&id).await?.map_or(-1, |value| *value))
    });
    let fetched = reading(&cache, "fetched", &child, |_, child, id| async move {
        Ok(*child.fetch(&id).await?.value)
    });
    let own = reading(&cache, "own loader", &child, |_, child, id| async move {
        Ok(*child.get_or_load_with(&id, async |_| Ok(-1)).await?)
    });
    for region in [&cold, &warm, &looked, &fetched, &own] {
        assert_eq!(*region.get_or_load(&1).await.unwrap(), 0, "{region:?}");
        assert!(inherits(region), "{region:?}");
    }
    assert_eq!(child.stats().loads, 1);
    rows.change(&cache, 1, 7).await;
    for region in [&cold, &warm, &looked, &fetched, &own] {
        assert!(region.get(&1).await.unwrap().is_none(), "{region:?}");
    }
}

#[tokio::test]
async fn a_miss_of_get_inherits_nothing() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let looked = reading(&cache, "looked", &child, |_, child, id| async move {
        Ok(child.get(&id).await?.map_or(-1, |value| *value))
    });
    assert_eq!(*looked.get_or_load(&1).await.unwrap(), -1);
    assert!(!inherits(&looked));
}

#[tokio::test]
async fn a_spawned_task_inherits_through_a_clone_or_a_scope_and_not_without() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let cloned = reading(&cache, "cloned", &child, |load, child, id| async move {
        let load = load.clone();
        let part = tokio::spawn(async move { load.get_or_load(&child, &id).await });
        Ok(*part.await.unwrap()?)
    });
    let scoped = reading(&cache, "scoped", &child, |load, child, id| async move {
        let part = load.scope(async move { child.get_or_load(&id).await });
        Ok(*tokio::spawn(part).await.unwrap()?)
    });
    let neither = reading(&cache, "neither", &child, |_, child, id| async move {
        let part = tokio::spawn(async move { child.get_or_load(&id).await });
        Ok(*part.await.unwrap()?)
    });
    for region in [&cloned, &scoped, &neither] {
        region.get_or_load(&1).await.unwrap();
    }
    assert!(inherits(&cloned) && inherits(&scoped) && !inherits(&neither));
}

#[tokio::test]
async fn a_scope_ends_with_its_poll() {
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let region = cache.region::<u32, i64>("by hand").ttl(MINUTE).build().unwrap();
    let begun: Begun<_, _, _> = region.begin(&1);
    begun.load().tag("by hand");
    // Beside it in the same task, read at the same time, and after it panicked.
    let inside = begun.load().scope(async {
        tokio::task::yield_now().await;
        child.get_or_load(&2).await.unwrap()
    });
    let (_, outside) = tokio::join!(inside, child.get_or_load(&3));
    outside.unwrap();
    let panicking = begun.load().scope(async { panic!("on purpose") });
    let ended = tokio::spawn(panicking).await;
    assert!(ended.unwrap_err().is_panic());
    child.get_or_load(&4).await.unwrap();
    begun.finish(1).await.unwrap();
    assert_eq!(region.explain(&1).dependencies, [Dependency::tag("by hand"), row(2)]);
}

#[tokio::test]
async fn a_value_computed_by_hand_inherits() {
    // MD1, MD2 for nested entries.
    let (cache, _) = cache();
    let rows = Rows::default();
    let child = rows.region(&cache, "child").ttl(MINUTE).build().unwrap();
    let region = cache.region::<u32, i64>("by hand").ttl(MINUTE).build().unwrap();
    let begun = region.begin(&1);
    let value = *begun.load().get_or_load(&child, &1).await.unwrap();
    rows.change(&cache, 1, 7).await;
    begun.finish(value).await.unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
    let begun = region.begin(&1);
    let with = begun.load().get_or_load_with(&child, &1, async |_| Ok(-1)).await;
    assert!(with.unwrap_err().to_string().contains("`child`"));
    let begun = region.begin(&1);
    let value = *begun.load().get_or_load(&child, &1).await.unwrap();
    begun.finish(value).await.unwrap();
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), 7);
    rows.change(&cache, 1, 8).await;
    assert!(region.get(&1).await.unwrap().is_none());
}
