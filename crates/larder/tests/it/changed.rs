//! Rows told by the application, against what was built from scopes of them.
//!
//! **Invariant** under test: what a row enters, leaves, or may have left falls, and nothing else
//! that can be told apart.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use larder::{
    Cache, Change, Dependency, DependsOn, Description, Error, ErrorKind, Load, Region, Scope,
    Tracked, Value,
};
use larder_testkit::sim::{SimOrigin, StampFrom};
use tokio::sync::Semaphore;

use crate::gate::cache;

const MINUTE: Duration = Duration::from_secs(60);

/// A book, whose kind is nobody's but the application's.
#[derive(Clone)]
struct Book {
    id: i64,
    category: &'static str,
    price: i64,
}

/// The columns of a book on `timeline`.
fn of_book(timeline: &str) -> Description {
    Description::of(timeline, "Book").with_columns(&["category", "id", "price"], &[1])
}

static OF_BOOK: LazyLock<Description> = LazyLock::new(|| of_book("app"));
static OF_OWNED: LazyLock<Description> = LazyLock::new(|| of_book("shop"));
static OF_STRAY: LazyLock<Description> = LazyLock::new(|| of_book("nowhere"));

impl Tracked for Book {
    fn description() -> &'static Description {
        &OF_BOOK
    }

    fn image(&self) -> Vec<Value> {
        assert!(0 <= self.price, "a price below nothing");
        vec![self.category.into(), self.id.into(), self.price.into()]
    }
}

fn book(category: &'static str, price: i64) -> Book {
    Book { id: 1, category, price }
}

/// Counts of categories: membership is all that matters.
fn counts(cache: &Cache) -> Region<String, usize> {
    let builder = cache.region::<String, usize>("counts").ttl(MINUTE);
    let builder = builder.loader(async |category: String, load: Load| {
        depend(&load, Scope::of("app", "Book").with("category", one(category)).membership());
        Ok::<_, Error>(0)
    });
    builder.build().unwrap()
}

fn one(value: impl Into<Value>) -> larder::Condition {
    larder::Condition::AnyOf(vec![value.into()])
}

fn depend(load: &Load, what: impl DependsOn) {
    what.each(&mut |dependency| {
        load.depends_on(dependency);
    })
    .unwrap();
}

async fn fill(counts: &Region<String, usize>) {
    for category in ["sci-fi", "fantasy", "crime"] {
        counts.get_or_load(&category.to_owned()).await.unwrap();
    }
}

async fn left(counts: &Region<String, usize>) -> Vec<&'static str> {
    let mut left = Vec::new();
    for category in ["sci-fi", "fantasy", "crime"] {
        if counts.get(&category.to_owned()).await.unwrap().is_some() {
            left.push(category);
        }
    }
    left
}

/// MD7: the scope that the row leaves falls like the one it enters. M12.
#[tokio::test]
async fn a_row_that_moves_drops_what_it_leaves_and_what_it_enters() {
    let (cache, _) = cache();
    let counts = counts(&cache);
    fill(&counts).await;
    let change = Change::updated(&book("sci-fi", 5), &book("fantasy", 5));
    assert_eq!(cache.changed(change).await.unwrap().entries, 2);
    assert_eq!(left(&counts).await, ["crime"]);
}

/// M9, M12: what does not touch a category's membership leaves it alone.
#[tokio::test]
async fn a_row_that_stays_drops_nothing_that_does_not_watch_it() {
    let (cache, _) = cache();
    let counts = counts(&cache);
    fill(&counts).await;
    cache.changed(Change::updated(&book("sci-fi", 5), &book("sci-fi", 6))).await.unwrap();
    assert_eq!(left(&counts).await.len(), 3);
    cache.changed(Change::created(&book("crime", 5))).await.unwrap();
    assert_eq!(left(&counts).await, ["sci-fi", "fantasy"]);
    cache.changed(Change::deleted(&book("sci-fi", 5))).await.unwrap();
    assert_eq!(left(&counts).await, ["fantasy"]);
}

/// M8, MD12: without the row before, every scope it may have left falls; with the columns named,
/// only where they matter; and naming none means that none changed.
#[tokio::test]
async fn an_update_without_its_past_is_widened_as_far_as_it_must_be() {
    let (cache, _) = cache();
    let counts = counts(&cache);
    fill(&counts).await;
    let dearer = Change::updated_to(&book("sci-fi", 6)).modified(["price"]);
    cache.changed(dearer).await.unwrap();
    assert_eq!(left(&counts).await, ["fantasy", "crime"]);
    let nothing = Change::updated_to(&book("fantasy", 6)).modified::<&str>([]);
    cache.changed(nothing).await.unwrap();
    assert_eq!(left(&counts).await, ["crime"]);
    fill(&counts).await;
    cache.changed(Change::updated_to(&book("fantasy", 6))).await.unwrap();
    assert!(left(&counts).await.is_empty());
}

/// MD1, MD2: a load that read the old rows is not stored when the change was told meanwhile.
#[tokio::test]
async fn a_load_over_a_told_change_is_not_kept() {
    let (cache, _) = cache();
    let (begun, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let row = Arc::new(AtomicI64::new(1));
    let seen = (begun.clone(), leave.clone(), row.clone());
    let loader = move |category: String, load: Load| {
        let (begun, leave, row) = seen.clone();
        async move {
            depend(&load, Scope::of("app", "Book").with("category", one(category)));
            let read = row.load(Ordering::SeqCst);
            begun.add_permits(1);
            leave.acquire().await.unwrap().forget();
            Ok::<_, Error>(read)
        }
    };
    let builder = cache.region::<String, i64>("late").ttl(MINUTE);
    let region = builder.loader(loader).build().unwrap();
    let (other, key) = (region.clone(), "sci-fi".to_owned());
    let reader = tokio::spawn(async move { other.get_or_load(&"sci-fi".to_owned()).await });
    begun.acquire().await.unwrap().forget();
    row.store(2, Ordering::SeqCst);
    cache.changed(Change::updated(&book("crime", 1), &book("sci-fi", 1))).await.unwrap();
    leave.add_permits(2);
    assert_eq!(*reader.await.unwrap().unwrap(), 1);
    assert!(region.get(&key).await.unwrap().is_none());
    assert_eq!(*region.get_or_load(&key).await.unwrap(), 2);
}

/// A kind that a feed watches can be told by hand as well: one naming for both.
#[tokio::test]
async fn a_row_of_an_origin_is_told_by_hand() {
    struct Owned(Book);
    impl Tracked for Owned {
        fn description() -> &'static Description {
            &OF_OWNED
        }
        fn image(&self) -> Vec<Value> {
            self.0.image()
        }
    }
    let clock = larder::Clock::manual();
    let origin = SimOrigin::new("shop", 1, clock.clone(), StampFrom::Before);
    let feed = Arc::new(origin.clone());
    let cache = Cache::builder().clock(clock).feed(feed).build().unwrap();
    while origin.deliver() {}
    origin.confirm();
    let builder = cache.region::<String, usize>("counts").ttl(MINUTE);
    let builder = builder.loader(async |category: String, load: Load| {
        load.depends_on(Dependency::scope("shop", "Book", [("category", category)]));
        Ok::<_, Error>(0)
    });
    let counts = builder.build().unwrap();
    fill(&counts).await;
    let (old, new) = (Owned(book("sci-fi", 1)), Owned(book("crime", 1)));
    assert_eq!(cache.changed(Change::updated(&old, &new)).await.unwrap().entries, 2);
    assert_eq!(left(&counts).await, ["fantasy"]);
}

/// M11: a row type that panics takes nothing with it, and what is wrong is told before anything
/// falls.
#[tokio::test]
async fn what_cannot_be_told_drops_nothing() {
    struct Stray;
    impl Tracked for Stray {
        fn description() -> &'static Description {
            &OF_STRAY
        }
        fn image(&self) -> Vec<Value> {
            book("sci-fi", 1).image()
        }
    }
    let (cache, _) = cache();
    let counts = counts(&cache);
    fill(&counts).await;
    let told = [Change::deleted(&book("sci-fi", 1)), Change::deleted(&Stray)];
    let error = cache.changed(told).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nowhere"), "{error}");
    let panics = std::panic::catch_unwind(|| Change::created(&book("sci-fi", -1)));
    assert!(panics.is_err());
    assert_eq!(left(&counts).await.len(), 3);
}

#[tokio::test]
async fn nothing_told_is_nothing_dropped_and_no_step() {
    let (cache, _) = cache();
    let counts = counts(&cache);
    fill(&counts).await;
    let before = cache.token();
    let told = cache.changed([]).await.unwrap();
    assert_eq!((told.entries, &told.token), (0, &before));
    assert_eq!((cache.token(), cache.stats().invalidations), (before, 0));
    assert_eq!(left(&counts).await.len(), 3);
}
