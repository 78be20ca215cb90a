//! What matroska-cache promised, and the faults it had, where no other file has the subject.
//!
//! The list of both is `docs/requirements.md`; each of its lines names its tests. **Invariant**
//! under test: an entry is one thing, with its value, its links and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder::{
    Cache, Change, Dependency, Error, ErrorKind, Load, LoadError, Region, RowChange, Scope,
    Tracked, TrackedChange, Value,
};

use crate::gate::cache;

const MINUTE: Duration = Duration::from_secs(60);

fn author(number: i64) -> Dependency {
    Dependency::id("app", "Author", [number])
}

/// Values put by hand.
fn shelf(cache: &Cache) -> Region<u32, String> {
    cache.region("shelf").ttl(MINUTE).stale_while_revalidate(MINUTE).build().unwrap()
}

async fn put(region: &Region<u32, String>, key: u32, on: impl IntoIterator<Item = Dependency>) {
    let begun = region.begin(&key);
    begun.load().depends_on_all(on);
    begun.finish(format!("value {key}")).await.unwrap();
}

async fn is_there(region: &Region<u32, String>, key: u32) -> bool {
    region.get(&key).await.unwrap().is_some()
}

/// M1: an entry is put with what it depends on and how long it lives; without either only where
/// that is said by name.
#[tokio::test]
async fn an_entry_is_put_with_its_dependencies_and_its_time() {
    let (cache, clock) = cache();
    let region = shelf(&cache);
    let begun = region.begin(&1);
    begun.load().depends_on(author(1)).expires_within(MINUTE / 2);
    begun.finish("one".into()).await.unwrap();
    let kept = region.explain(&1);
    assert_eq!(kept.dependencies, [author(1)]);
    assert_eq!(kept.ttl_left, Some(MINUTE / 2));
    let error = region.begin(&2).finish("two".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untracked);
    assert!(cache.region::<u32, String>("without a time").build().is_err());
    let free = cache.region::<u32, i64>("free").ttl(MINUTE).build_untracked().unwrap();
    free.insert(&1, 7).await.unwrap();
    assert_eq!(*free.get(&1).await.unwrap().unwrap(), 7);
    clock.advance(MINUTE / 2);
    assert!(!is_there(&region, 1).await);
    assert!(free.get(&1).await.unwrap().is_some());
}

/// M2: a value that is there, one that is not, and one that was deleted.
#[tokio::test]
async fn get_says_what_is_there_and_remove_takes_it_away() {
    let (cache, _) = cache();
    let region = shelf(&cache);
    assert!(region.get(&1).await.unwrap().is_none());
    put(&region, 1, [author(1)]).await;
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), "value 1");
    assert!(region.remove(&1).await.unwrap());
    assert!(region.get(&1).await.unwrap().is_none());
    assert!(!region.remove(&1).await.unwrap(), "nothing is there to be deleted twice");
}

/// M4: one entry on many objects falls with any of them; one object takes along all its entries.
#[tokio::test]
async fn many_entries_hang_on_many_objects() {
    let (cache, _) = cache();
    let region = shelf(&cache);
    for fallen in 0..3 {
        put(&region, 1, (0..3).map(author)).await;
        let done = cache.invalidate([author(fallen)]).await.unwrap();
        assert_eq!(done.touched, [1], "by author {fallen}");
        assert!(!is_there(&region, 1).await);
    }
    for key in 0..5 {
        put(&region, key, [author(9), author(i64::from(key))]).await;
    }
    assert_eq!(cache.invalidate([author(3)]).await.unwrap().touched, [1]);
    assert_eq!(cache.invalidate([author(9)]).await.unwrap().touched, [4]);
    for key in 0..5 {
        assert!(!is_there(&region, key).await);
    }
}

/// M3: all of them fall, and what nobody depends on changes nothing.
#[tokio::test]
async fn every_entry_that_named_one_of_several_falls() {
    let (cache, _) = cache();
    let region = shelf(&cache);
    for key in 0..4 {
        put(&region, key, [author(i64::from(key))]).await;
    }
    let done = cache.invalidate([author(0), author(2), author(77)]).await.unwrap();
    assert_eq!(done.touched, [1, 1, 0]);
    let left = [is_there(&region, 0).await, is_there(&region, 1).await];
    assert_eq!(left, [false, true]);
    let left = [is_there(&region, 2).await, is_there(&region, 3).await];
    assert_eq!(left, [false, true]);
}

struct Book {
    category: &'static str,
}

impl Tracked for Book {
    fn description() -> &'static larder::Description {
        use std::sync::LazyLock;
        static OF_BOOK: LazyLock<larder::Description> = LazyLock::new(|| {
            larder::Description::of("app", "Book").with_columns(&["category", "id"], &[1])
        });
        &OF_BOOK
    }

    fn image(&self) -> Vec<Value> {
        assert!(!self.category.is_empty(), "the book has no category");
        vec![self.category.into(), 1.into()]
    }
}

/// M11: a row type that panics inside a loader is an error for those who wait, and leaves nothing
/// half-linked.
#[tokio::test]
async fn a_row_type_that_panics_in_a_load_leaves_nothing_behind() {
    let (cache, _) = cache();
    let panics = Arc::new(AtomicBool::new(true));
    let told = panics.clone();
    let loader = move |_key: u32, load: Load| {
        let category = if told.load(Ordering::SeqCst) { "" } else { "sci-fi" };
        async move {
            load.depends_on(author(1));
            load.depends_on(&Book { category });
            Ok::<_, Error>(category.to_owned())
        }
    };
    let region = cache.region::<u32, String>("books").ttl(MINUTE).loader(loader).build().unwrap();
    assert!(matches!(region.get_or_load(&1).await, Err(LoadError::Panicked)));
    let status = cache.status();
    assert_eq!((status.entries, status.links, status.loads_running), (0, 0, 0));
    panics.store(false, Ordering::SeqCst);
    assert_eq!(*region.get_or_load(&2).await.unwrap(), "sci-fi");
    let change = Change::updated(&Book { category: "sci-fi" }, &Book { category: "crime" });
    assert_eq!(cache.changed(change).await.unwrap().entries, 1);
}

/// M11: a change that does not say all it should drops every list of its table, and no other.
#[tokio::test]
async fn a_change_with_the_wrong_columns_drops_all_lists_of_its_kind() {
    let (cache, _) = cache();
    let region = shelf(&cache);
    let list = |kind: &str, category: &str| {
        let mut found = Vec::new();
        let is = larder::Condition::AnyOf(vec![category.into()]);
        let scope = Scope::of("app", kind).with("category", is);
        larder::DependsOn::each(scope, &mut |one| found.push(one)).unwrap();
        found
    };
    put(&region, 1, list("Book", "sci-fi")).await;
    put(&region, 2, list("Book", "crime")).await;
    put(&region, 3, list("Film", "crime")).await;
    // Two columns, and one value.
    let row = RowChange {
        table: "Book".into(),
        columns: ["category", "id"].map(Into::into).into(),
        key: [1].into(),
        old: None,
        new: Some(vec!["poetry".into()]),
    };
    let change = TrackedChange::untyped("app", Change::Row(row));
    assert_eq!(cache.changed(change).await.unwrap().entries, 2);
    assert!(is_there(&region, 3).await);
}

/// M13: caches are apart from each other, also where everything in them has the same names.
#[tokio::test]
async fn two_caches_share_neither_values_nor_invalidations() {
    let ((one, _), (two, _)) = (cache(), cache());
    let (here, there) = (shelf(&one), shelf(&two));
    put(&here, 1, [author(1)]).await;
    assert!(!is_there(&there, 1).await);
    put(&there, 1, [author(1)]).await;
    assert_eq!(one.invalidate([author(1)]).await.unwrap().touched, [1]);
    assert!(!is_there(&here, 1).await);
    assert!(is_there(&there, 1).await);
}

/// M13, MD5: a link lives exactly as long as its entry, whatever else hung on the same object.
#[tokio::test]
async fn a_link_lives_as_long_as_its_entry() {
    let (cache, clock) = cache();
    let region = shelf(&cache);
    let short = region.begin(&1);
    short.load().depends_on(author(1)).expires_within(Duration::from_secs(1));
    short.finish("short".into()).await.unwrap();
    put(&region, 2, [author(1)]).await;
    // Both are past their time, the second by its last second but one, and still may be served.
    clock.advance(2 * MINUTE - Duration::from_secs(1));
    region.get(&1).await.unwrap();
    let found = region.explain(&2).state;
    assert_eq!(found, larder::EntryState::Stale);
    let done = cache.invalidate([author(1)]).await.unwrap();
    assert_eq!(done.touched, [1], "the one that is left");
    assert_ne!(region.explain(&2).state, larder::EntryState::Stale);
}

/// M14: everything ends by a time, unless "never" was said; and values are what was put.
#[tokio::test]
async fn everything_ends_by_its_time_or_never_by_name() {
    let (cache, clock) = cache();
    let timed = shelf(&cache);
    let lasting = cache.region::<u32, (i64, String)>("lasting").never_expires().build().unwrap();
    put(&timed, 1, [author(1)]).await;
    let begun = lasting.begin(&1);
    begun.load().depends_on(author(1));
    begun.finish((7, "plain \"text\"".into())).await.unwrap();
    assert_eq!(timed.explain(&1).ttl_left, Some(MINUTE));
    assert_eq!(lasting.explain(&1).ttl_left, None);
    clock.advance(1_000_000 * MINUTE);
    assert!(!is_there(&timed, 1).await);
    let value = lasting.get(&1).await.unwrap().unwrap();
    assert_eq!(*value, (7, "plain \"text\"".to_owned()));
}

/// MD4: what was deleted and put again hangs on nothing that it hung on before.
#[tokio::test]
async fn an_entry_put_again_after_its_removal_has_no_old_link() {
    let (cache, _) = cache();
    let region = cache.region::<u32, i64>("free").ttl(MINUTE).build_untracked().unwrap();
    let begun = region.begin(&1);
    begun.load().tag("a");
    begun.finish(1).await.unwrap();
    assert!(region.remove(&1).await.unwrap());
    region.insert(&1, 2).await.unwrap();
    assert_eq!(cache.invalidate([Dependency::tag("a")]).await.unwrap().touched, [0]);
    assert_eq!(*region.get(&1).await.unwrap().unwrap(), 2);
}

/// MD11: what was put is found, whatever its bytes are, by keys of text and of bytes alike.
#[tokio::test]
async fn a_value_comes_back_whatever_bytes_it_is_made_of() {
    let (cache, _) = cache();
    let all: Vec<u8> = (0..=255).collect();
    let bytes = cache.region::<Arc<[u8]>, Vec<u8>>("bytes").ttl(MINUTE).build_untracked().unwrap();
    let texts = cache.region::<String, String>("texts").ttl(MINUTE).build_untracked().unwrap();
    for value in [&all[..], b"", b"\0", b"\xff\xfe", b"None"] {
        bytes.insert(&value.into(), value.to_vec()).await.unwrap();
    }
    for value in [&all[..], b"", b"\0", b"\xff\xfe", b"None"] {
        assert_eq!(*bytes.get(&value.into()).await.unwrap().unwrap(), value);
    }
    for value in ["", "None", "caf\u{e9}", "a\0b"] {
        texts.insert(&value.into(), value.into()).await.unwrap();
        assert_eq!(*texts.get(&value.into()).await.unwrap().unwrap(), value);
    }
}

/// MD13: whether there is a value and which one is a single question; what it gave stays, whatever
/// befalls the entry after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_come_between_asking_and_getting() {
    let cache = Cache::builder().build().unwrap();
    let region = shelf(&cache);
    let is_over = Arc::new(AtomicBool::new(false));
    let (other, over) = (region.clone(), is_over.clone());
    let disturbing = tokio::spawn(async move {
        while !over.load(Ordering::SeqCst) {
            put(&other, 1, [author(1)]).await;
            other.remove(&1).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let (mut found, mut missed) = (0, 0);
    while found < 1_000 || missed < 1_000 {
        match region.get(&1).await.unwrap() {
            Some(value) => {
                cache.invalidate([author(1)]).await.unwrap();
                assert_eq!(*value, "value 1");
                found += 1;
            }
            None => missed += 1,
        }
        tokio::task::yield_now().await;
    }
    is_over.store(true, Ordering::SeqCst);
    disturbing.await.unwrap();
}
