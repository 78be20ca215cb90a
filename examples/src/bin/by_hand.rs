//! A value computed outside a loader, and explicit invalidation: for data that no feed watches.
//!
//! The stamps are taken at `begin`, so a change between reading and storing is not lost.

use std::{error::Error, time::Duration};

use larder::{Cache, Dependency};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cache = Cache::builder().build()?;
    let pages = cache.region::<String, String>("pages").ttl(Duration::from_secs(60)).build()?;
    let front = String::from("front");

    let begun = pages.begin(&front);
    begun
        .load()
        .tag("front-page")
        .depends_on(Dependency::id("app", "Article", [1]))
        .depends_on(Dependency::scope("app", "Article", [("category", "sci-fi")]));
    begun.finish("one article".into()).await?;
    assert!(pages.get(&front).await?.is_some());

    // An article of another category leaves the page alone.
    let other = Dependency::scope("app", "Article", [("category", "fantasy")]);
    assert_eq!(cache.invalidate([other]).await?.touched, [0]);
    assert!(pages.get(&front).await?.is_some());

    // One of its own drops it, and so it says when asked.
    let own = Dependency::scope("app", "Article", [("category", "sci-fi")]);
    assert_eq!(cache.invalidate([own]).await?.touched, [1]);
    assert!(pages.get(&front).await?.is_none());
    let why = pages.explain(&front).last_invalidation.ok_or("it fell just now")?;
    println!("the page fell because of {}", why.what);

    // A change while the value is computed: the value is returned, and not kept.
    let begun = pages.begin(&front);
    begun.load().tag("front-page");
    cache.invalidate([Dependency::tag("front-page")]).await?;
    begun.finish("already old".into()).await?;
    assert!(pages.get(&front).await?.is_none());
    println!("what was computed before the change was not stored");
    Ok(())
}
