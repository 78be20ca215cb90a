//! Scopes with a range, alone and inside other entries, and when they are let go.
//!
//! **Invariant** under test: a range is compared with changes exactly while something depends on
//! it, however that something came to do so.

use std::time::Duration;

use larder::{
    Cache, Change, Description, Error, ErrorKind, Load, LoadError, Order, Region, Scope, Tracked,
    Value, any_of,
};

use crate::gate::cache;

const MINUTE: Duration = Duration::from_secs(60);

struct Book {
    id: i64,
    price: i64,
}

impl Tracked for Book {
    fn description() -> &'static Description {
        static OF_BOOK: std::sync::LazyLock<Description> = std::sync::LazyLock::new(|| {
            Description::of("app", "Book").with_columns(&["id", "price"], &[0])
        });
        &OF_BOOK
    }

    fn image(&self) -> Vec<Value> {
        vec![self.id.into(), self.price.into()]
    }
}

fn books() -> Scope {
    Book::description().scope()
}

fn within(range: impl larder::Asks<i64>) -> Scope {
    books().with("price", range.condition())
}

/// A region whose entries depend on what `scope` says of their key.
fn region(cache: &Cache, name: &str, scope: fn(i64) -> Scope) -> Region<i64, i64> {
    let builder = cache.region::<i64, i64>(name).ttl(MINUTE);
    let builder = builder.loader(move |key: i64, load: Load| async move {
        load.depends_on(scope(key));
        Ok::<_, Error>(key)
    });
    builder.build().unwrap()
}

async fn reprice(cache: &Cache, old: i64, new: i64) {
    let (old, new) = (Book { id: 1, price: old }, Book { id: 1, price: new });
    cache.changed(Change::updated(&old, &new)).await.unwrap();
}

async fn is_there(region: &Region<i64, i64>, key: i64) -> bool {
    region.get(&key).await.unwrap().is_some()
}

/// M(c): price < 10, and what happens above it.
#[tokio::test]
async fn a_range_falls_with_what_happens_within_it() {
    let (cache, _) = cache();
    let cheap = region(&cache, "cheap", |below| within(..below));
    for below in [10, 50] {
        cheap.get_or_load(&below).await.unwrap();
    }
    reprice(&cache, 60, 50).await;
    assert!(is_there(&cheap, 10).await && is_there(&cheap, 50).await);
    reprice(&cache, 60, 20).await;
    assert!(is_there(&cheap, 10).await && !is_there(&cheap, 50).await);
    // It leaves: the row before counts as much as the one after.
    reprice(&cache, 9, 60).await;
    assert!(!is_there(&cheap, 10).await);
}

/// The first two by price, of which `found` came back and the last costs 12.
fn page(found: usize) -> Scope {
    books().page("price", Order::Ascending, 2, found, Some(Value::Integer(12)))
}

/// M(c): the first two by price; a dearer book does not matter, one at the same price does.
#[tokio::test]
async fn a_full_page_depends_on_what_stands_before_its_end() {
    let (cache, _) = cache();
    let full = region(&cache, "full", |_| page(2));
    let short = region(&cache, "short", |_| page(1));
    for region in [&full, &short] {
        region.get_or_load(&0).await.unwrap();
    }
    reprice(&cache, 30, 13).await;
    assert!(is_there(&full, 0).await, "it stays behind the page");
    assert!(!is_there(&short, 0).await, "a short page holds every row");
    reprice(&cache, 30, 12).await;
    assert!(!is_there(&full, 0).await, "a tie may come first");
}

/// MD6: what was noticed for an entry is let go with it, in whatever way it ends.
#[tokio::test]
async fn nothing_is_noticed_any_more_when_its_entries_are_gone() {
    let (cache, _) = cache();
    let cheap = region(&cache, "cheap", |below| within(..below));
    for below in 0..100 {
        cheap.get_or_load(&below).await.unwrap();
    }
    assert_eq!(cache.status().ranges, 100);
    for below in 0..50 {
        cheap.remove(&below).await.unwrap();
    }
    reprice(&cache, 0, 70).await;
    reprice(&cache, 0, 0).await;
    for below in 0..100 {
        assert!(!is_there(&cheap, below).await);
    }
    settle(&cache).await;
    assert_eq!(cache.status().links, 0);
}

/// Waits for the sweeper, which is another thread: entries beyond the first few end behind.
async fn settle(cache: &Cache) {
    while cache.status().ranges != 0 {
        tokio::task::yield_now().await;
    }
}

/// The doll: an entry that inherited a range keeps it noticed after its child is gone.
#[tokio::test]
async fn a_range_is_noticed_for_the_parent_when_the_child_is_gone() {
    let (cache, _) = cache();
    let cheap = region(&cache, "cheap", |below| within(..below));
    let inner = cheap.clone();
    let builder = cache.region::<i64, i64>("page").ttl(MINUTE);
    let builder = builder.loader(move |key: i64, load: Load| {
        let inner = inner.clone();
        async move { Ok::<_, Error>(*load.get_or_load(&inner, &key).await?) }
    });
    let page = builder.build().unwrap();
    // Once from a load of the child, once from the child in memory.
    for way in ["loaded", "hit"] {
        page.get_or_load(&10).await.unwrap();
        assert!(cheap.remove(&10).await.unwrap(), "{way}");
        assert_eq!(cache.status().ranges, 1, "{way}");
        reprice(&cache, 60, 50).await;
        assert!(is_there(&page, 10).await, "{way}");
        reprice(&cache, 60, 5).await;
        assert!(!is_there(&page, 10).await, "{way}");
        cheap.get_or_load(&10).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_of_no_values_is_an_error_that_names_the_region() {
    let (cache, _) = cache();
    let none = region(&cache, "none", |_| within(any_of::<[i64; 0]>([])));
    let error = none.get_or_load(&1).await.unwrap_err();
    let LoadError::Cache(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("`none`") && text.contains("Book.price"), "{text}");
    assert_eq!(cache.status().entries, 0);
}
