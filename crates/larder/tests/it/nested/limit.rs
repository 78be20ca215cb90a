//! Sets that are too large: they become wider, visibly.
//!
//! **Invariant** under test: a widened entry falls with everything it would have fallen with.

use super::*;

fn limited(count: usize) -> Cache {
    Cache::builder().clock(Clock::manual()).max_dependencies(count).build().unwrap()
}

/// A region whose values depend on `dependencies`.
fn on(cache: &Cache, name: &'static str, dependencies: Vec<Dependency>) -> Region<u32, i64> {
    let builder = cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |_: u32, load: Load| {
        load.depends_on_all(dependencies.clone());
        async { Ok::<_, Error>(1) }
    });
    builder.build().unwrap()
}

#[tokio::test]
async fn rows_beyond_the_limit_become_their_table_and_the_rest_stays_precise() {
    let cache = limited(10);
    let shelf = |id| Dependency::id("app", "Shelf", [id]);
    let mut rows: Vec<Dependency> = (0..20).map(row).collect();
    rows.extend([shelf(1), shelf(2)]);
    let region = on(&cache, "wide", rows);
    region.get_or_load(&1).await.unwrap();
    let explained = region.explain(&1);
    assert!(explained.widened);
    let table = Dependency::table("app", "Row");
    assert_eq!(explained.dependencies, [table, shelf(1), shelf(2)]);
    assert_eq!((region.stats().widened, cache.stats().widened), (1, 1));
    cache.invalidate([shelf(3)]).await.unwrap();
    assert_eq!(source(&region).await.1, Source::Hit);
    for fell in [row(3), row(500), shelf(2), Dependency::everything("app")] {
        cache.invalidate([fell.clone()]).await.unwrap();
        assert_eq!(source(&region).await.1, Source::Loaded, "{fell}");
    }
}

#[tokio::test]
async fn too_many_tables_become_everything_of_the_timeline() {
    let cache = limited(10);
    let tags = (0..20).map(|number| Dependency::tag(format!("tag {number}"))).collect();
    let region = on(&cache, "tags", tags);
    region.get_or_load(&1).await.unwrap();
    assert_eq!(region.explain(&1).dependencies, [Dependency::everything("app")]);
    cache.invalidate([Dependency::tag("any")]).await.unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_set_at_its_limit_stays_as_it_is() {
    let cache = limited(10);
    let region = on(&cache, "exact", (0..10).map(row).collect());
    region.get_or_load(&1).await.unwrap();
    assert!(!region.explain(&1).widened);
    assert_eq!((region.explain(&1).dependencies.len(), region.stats().widened), (10, 0));
    assert!(Cache::builder().max_dependencies(0).build().is_err());
}

#[tokio::test]
async fn what_children_add_up_to_counts_and_a_widened_child_widens_its_parent() {
    let cache = limited(10);
    let children: Vec<Region<u32, i64>> = [("first", 0..8), ("second", 8..16), ("wide", 0..99)]
        .map(|(name, rows)| on(&cache, name, rows.map(row).collect()))
        .into();
    let parent = |name, count| {
        let children: Vec<_> = children.iter().skip(2 - count).take(count).cloned().collect();
        cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |id: u32, load: Load| {
            let children = children.clone();
            async move {
                for child in &children {
                    load.get_or_load(child, &id).await?;
                }
                Ok::<_, Error>(1)
            }
        })
    };
    let sum = parent("sum", 2).build().unwrap();
    sum.get_or_load(&1).await.unwrap();
    assert_eq!(sum.explain(&1).dependencies, [Dependency::table("app", "Row")]);
    let one = parent_of(&cache, "one", children.last().unwrap()).ttl(MINUTE).build().unwrap();
    one.get_or_load(&1).await.unwrap();
    assert!(one.explain(&1).widened);
    cache.invalidate([row(15)]).await.unwrap();
    assert!(sum.get(&1).await.unwrap().is_none() && one.get(&1).await.unwrap().is_none());
}
