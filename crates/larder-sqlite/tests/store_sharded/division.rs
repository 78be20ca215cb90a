//! What is divided among the files, and what is put together again.

use larder_core::{
    WallMillis,
    claim::Fence,
    store::{Store, Written},
};
use larder_sqlite::store::{Eviction, Lifetime, NewEntry, Pattern, Select, Stored};

use crate::place::{Place, forever, run};

fn numbered(count: u64) -> impl Iterator<Item = (String, NewEntry)> {
    (0..count).map(|number| {
        let tags = [format!("t{}", number % 7), "all".to_owned()];
        (format!("k{number:04}"), forever("value").tags(tags))
    })
}

#[test]
fn pages_and_tags_are_those_of_one_file() {
    run(async {
        let (place, other) = (Place::new(), Place::new());
        let many = place.open().await.entries("r");
        let one = other.open_with(other.options().shards(1)).await.entries("r");
        many.insert_many(numbered(500)).await.unwrap();
        one.insert_many(numbered(500)).await.unwrap();
        for select in [
            Select::everything(),
            Select::everything().matching(Pattern::percent("k%3")),
            Select::everything().any_of(["t1", "t3"]).none_of(["t3"]),
        ] {
            let mut after: Option<String> = None;
            loop {
                let keys = |page: Vec<(String, _)>| page.into_iter().map(|(key, _)| key);
                let page: Vec<String> =
                    keys(many.page(&select, after.as_deref(), 37).await.unwrap()).collect();
                let same: Vec<String> =
                    keys(one.page(&select, after.as_deref(), 37).await.unwrap()).collect();
                assert_eq!(page, same);
                let Some(last) = page.last() else { break };
                after = Some(last.clone());
            }
            assert_eq!(many.count(&select).await.unwrap(), one.count(&select).await.unwrap());
        }
        for (after, limit) in [(None, 3), (Some("all"), 4), (Some("t3"), 100)] {
            let tags = many.tags(after, limit).await.unwrap();
            assert_eq!(tags, one.tags(after, limit).await.unwrap());
        }
        let gone = Select::everything().any_of(["t5"]);
        let removed = many.remove_matching(&gone).await.unwrap();
        assert_eq!(removed, one.remove_matching(&gone).await.unwrap());
        assert_eq!(many.count(&Select::everything()).await.unwrap(), 500 - removed);
    });
}

#[test]
fn many_keys_are_answered_in_their_order() {
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("r");
        let text = |number: u64| (format!("k{number}"), forever(&number.to_string()));
        entries.insert_many((0..100).map(text)).await.unwrap();
        let keys: Vec<String> = (0..120).rev().map(|number| format!("k{number}")).collect();
        let values = entries.get_many(keys.clone()).await.unwrap();
        let expected = (0..120_u64).rev().map(|number| (number < 100).then(|| number.to_string()));
        let read = values.iter().map(|value| {
            value.as_ref().map(|stored| String::from_utf8(stored.bytes.clone()).unwrap())
        });
        assert!(read.eq(expected));
        // A bound on the bytes is one for all files together.
        let each = entries.get_each(keys[20..].to_vec(), 50).await.unwrap();
        let bytes: usize = each.iter().flatten().flatten().map(|stored| stored.bytes.len()).sum();
        assert!((45..=50).contains(&bytes), "{bytes}");
        assert!(each.iter().any(Result::is_err));
        let sums = (0..10).map(|number| (format!("n{}", number % 5), number, Lifetime::Forever));
        let sums = entries.incr_many(sums).await.unwrap();
        assert_eq!(sums, [0, 1, 2, 3, 4, 5, 7, 9, 11, 13]);
        let removed = entries.remove_many(["k1", "no", "k2"]).await.unwrap();
        assert_eq!(removed, [true, false, true]);
    });
}

#[test]
fn the_limit_of_all_is_never_passed() {
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(100)).await;
        let entries = store.entries("r");
        entries.insert_many(numbered(1000)).await.unwrap();
        let count = store.stats().await.unwrap().entries;
        assert_eq!(count, 100);
        let refusing = place.options().max_entries(100).eviction(Eviction::Refuse);
        drop((store, entries));
        let store = place.open_with(refusing).await;
        let error = store.entries("r").insert("one more", forever("x")).await.unwrap_err();
        assert_eq!(error.kind(), larder_core::ErrorKind::Full);
    });
}

#[test]
fn statistics_are_of_all_files() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert_many(numbered(60)).await.unwrap();
        for number in 0..80 {
            entries.get(&format!("k{number:04}")).await.unwrap();
        }
        let (stats, own) = (store.stats().await.unwrap(), entries.stats().await.unwrap());
        assert_eq!((stats.entries, stats.hits, stats.misses, stats.written), (60, 60, 20, 60));
        assert_eq!((own.entries, own.hits, own.misses, own.written), (60, 60, 20, 60));
        assert_eq!(store.regions().await.unwrap(), ["r"]);
        let reads: u64 =
            entries.tag_stats(None, 1).await.unwrap().iter().map(|tag| tag.entries).sum();
        assert_eq!(reads, 60);
    });
}

#[test]
fn records_of_a_cache_are_found_where_they_were_put() {
    run(async {
        let place = Place::new();
        {
            let store = place.open().await;
            for number in 0..50_u8 {
                let key = [number];
                let put = store.put("r", &key, vec![number], None, Fence::Open);
                assert_eq!(put.await.unwrap(), Written::Kept);
            }
        }
        let store = place.open().await;
        for number in 0..50_u8 {
            assert_eq!(store.get("r", &[number]).await.unwrap(), Some(vec![number]));
            assert!(store.remove("r", &[number]).await.unwrap());
            assert_eq!(store.get("r", &[number]).await.unwrap(), None);
        }
        let late = store.put("r", b"late", vec![1], Some(WallMillis(1)), Fence::Open);
        assert_eq!(late.await.unwrap(), Written::NotRight);
        let entries = store.entries("r");
        entries.insert("k", NewEntry::new(Stored::text("x"), Lifetime::Forever)).await.unwrap();
        assert_eq!(store.get("r", b"k").await.unwrap(), None, "text is no bytes");
    });
}
