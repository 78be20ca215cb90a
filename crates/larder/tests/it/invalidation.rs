//! Explicit changes, and every late writer that must respect them.
//!
//! **Invariant** under test: when `invalidate` returned, nothing built from what it named is
//! served.

use std::time::Duration;

use larder::{Cache, Dependency, Error, ErrorKind, Load, Region};

use crate::gate::cache;

const MINUTE: Duration = Duration::from_secs(60);

fn articles(cache: &Cache) -> Region<u32, String> {
    let builder = cache.region::<u32, String>("articles").ttl(MINUTE);
    let builder = builder.loader(async |id: u32, load: Load| {
        load.depends_on(Dependency::id("app", "Article", [id]));
        load.depends_on(Dependency::scope("app", "Article", [("category", i64::from(id % 2))]));
        load.tag("articles");
        Ok::<_, Error>(format!("article {id}"))
    });
    builder.build().unwrap()
}

async fn is_there(region: &Region<u32, String>, id: u32) -> bool {
    region.get(&id).await.unwrap().is_some()
}

#[tokio::test]
async fn an_id_drops_what_was_built_from_it_and_nothing_else() {
    // M3, M4.
    let (cache, _) = cache();
    let region = articles(&cache);
    region.get_or_load(&1).await.unwrap();
    region.get_or_load(&2).await.unwrap();
    let done = cache.invalidate([Dependency::id("app", "Article", [1])]).await.unwrap();
    assert_eq!(done.touched, [1]);
    assert!(!is_there(&region, 1).await);
    assert!(is_there(&region, 2).await);
}

#[tokio::test]
async fn a_scope_a_tag_and_a_table_drop_what_they_name() {
    let (cache, _) = cache();
    let region = articles(&cache);
    for id in [1, 2, 3] {
        region.get_or_load(&id).await.unwrap();
    }
    let odd = Dependency::scope("app", "Article", [("category", 1)]);
    assert_eq!(cache.invalidate([odd]).await.unwrap().touched, [2]);
    assert!(is_there(&region, 2).await);
    assert_eq!(cache.invalidate([Dependency::tag("articles")]).await.unwrap().touched, [1]);
    region.get_or_load(&1).await.unwrap();
    let table = Dependency::table("app", "Article");
    assert_eq!(cache.invalidate([table]).await.unwrap().touched, [1]);
    region.get_or_load(&1).await.unwrap();
    let everything = Dependency::everything("app");
    assert_eq!(cache.invalidate([everything]).await.unwrap().touched, [1]);
    assert!(!is_there(&region, 1).await);
}

#[tokio::test]
async fn one_is_not_the_text_one() {
    // MD10.
    let (cache, _) = cache();
    let region = articles(&cache);
    region.get_or_load(&1).await.unwrap();
    let text = Dependency::id("app", "Article", ["1"]);
    assert_eq!(cache.invalidate([text]).await.unwrap().touched, [0]);
    assert!(is_there(&region, 1).await);
}

#[tokio::test]
async fn nothing_named_or_nothing_known_drops_nothing() {
    // M3.
    let (cache, _) = cache();
    let region = articles(&cache);
    region.get_or_load(&1).await.unwrap();
    assert!(cache.invalidate([]).await.unwrap().touched.is_empty());
    assert_eq!(cache.invalidate([Dependency::tag("unheard of")]).await.unwrap().touched, [0]);
    let error = cache.invalidate([Dependency::table("nowhere", "Article")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(is_there(&region, 1).await);
}

#[tokio::test]
async fn a_refilled_entry_falls_by_its_new_dependencies_and_not_by_its_old_ones() {
    // MD4, X15.
    let (cache, _) = cache();
    let region = cache.region::<u32, i64>("refilled").ttl(MINUTE).build().unwrap();
    for (tag, value) in [("a", 1), ("b", 2)] {
        let begun = region.begin(&1);
        begun.load().tag(tag);
        begun.finish(value).await.unwrap();
    }
    cache.invalidate([Dependency::tag("a")]).await.unwrap();
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), 2);
    cache.invalidate([Dependency::tag("b")]).await.unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_value_computed_by_hand_is_not_stored_over_a_change() {
    // MD1, MD2.
    let (cache, _) = cache();
    let region = cache.region::<u32, i64>("by hand").ttl(MINUTE).build().unwrap();
    let begun = region.begin(&1);
    cache.invalidate([Dependency::tag("a")]).await.unwrap();
    begun.load().tag("a");
    assert_eq!(*begun.finish(1).await.unwrap(), 1);
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_scope_first_heard_of_in_a_load_is_right_from_the_load_on() {
    let (cache, _) = cache();
    let region = cache.region::<u32, i64>("scopes").ttl(MINUTE).build().unwrap();
    let begun = region.begin(&1);
    // The change came before anybody had asked for this shape of scope.
    cache.invalidate([Dependency::id("app", "Book", [7])]).await.unwrap();
    begun.load().depends_on(Dependency::scope("app", "Book", [("shelf", 3)]));
    begun.finish(1).await.unwrap();
    assert!(region.get(&1).await.unwrap().is_none());
}

#[tokio::test]
async fn removing_is_not_invalidating() {
    let (cache, _) = cache();
    let region = articles(&cache);
    region.get_or_load(&1).await.unwrap();
    assert!(region.remove(&1).await.unwrap());
    assert!(!region.remove(&1).await.unwrap());
    assert!(!is_there(&region, 1).await);
    assert!(region.explain(&1).last_invalidation.is_none());
}

#[tokio::test]
async fn the_token_of_an_invalidation_is_reached_on_the_node_that_took_it() {
    let (cache, _) = cache();
    let done = cache.invalidate([Dependency::tag("a")]).await.unwrap();
    cache.reach(&done.token, Duration::ZERO).await.unwrap();
    cache.reach(&cache.token(), Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_position_that_does_not_come_is_a_timeout() {
    let (cache, _) = cache();
    let mut token = larder::Token::new();
    let known = cache.token();
    let (name, epoch, position) = known.iter().next().unwrap();
    token.require(name.clone(), *epoch, position.next());
    let error = cache.reach(&token, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_retryable());
}
