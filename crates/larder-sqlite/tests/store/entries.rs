//! What is written is what is read, for as long as it lives.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_sqlite::store::{Lifetime, NewEntry, Placed, Stored, ValueKind};

use crate::place::{Place, forever, living, run};

#[test]
fn an_entry_tells_all_that_is_known_of_it() {
    // SC6, S1, S4.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let stocks = store.entries("stocks");
        let entry = living("[1, 2]", 1500).tags(["twse", "stock_2330", "twse"]);
        assert_eq!(stocks.insert("stock_2330", entry).await.unwrap(), Placed::Inserted);
        assert_eq!(stocks.get("stock_2330").await.unwrap(), Some(Stored::text("[1, 2]")));
        store.keep().await.unwrap();
        let meta = stocks.entry("stock_2330").await.unwrap().unwrap().meta;
        let tags: Vec<&str> = meta.tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["stock_2330", "twse"]);
        assert_eq!((meta.kind, meta.size_bytes), (ValueKind::Text, 6));
        assert_eq!(meta.expires, Some(meta.created.plus(Duration::from_millis(1500))));
        assert_eq!((meta.access_count, meta.accessed), (1, meta.created));
        assert!(!meta.is_pinned);
    });
}

#[test]
fn null_empty_and_false_values_are_values() {
    // SD12, KD14.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("values");
        let values = [
            Stored::json("null"),
            Stored::json("[]"),
            Stored::json("{}"),
            Stored::json("false"),
            Stored::text(""),
            Stored::bytes([]),
            Stored::bytes([0, 255, 0]),
        ];
        for value in values {
            let entry = NewEntry::new(value.clone(), Lifetime::Forever);
            entries.insert("value", entry).await.unwrap();
            assert_eq!(entries.get("value").await.unwrap(), Some(value));
        }
        assert_eq!(entries.get("other").await.unwrap(), None);
    });
}

#[test]
fn an_entry_lives_to_the_millisecond_and_is_gone_everywhere() {
    // S22, SD10, X2.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("short");
        entries.insert("a", living("a", 3).tags(["t"])).await.unwrap();
        place.clock.advance(Duration::from_millis(2));
        assert!(entries.contains("a").await.unwrap());
        place.clock.advance(Duration::from_millis(1));
        let all = larder_sqlite::store::Select::everything();
        assert_eq!(entries.get("a").await.unwrap(), None);
        assert!(!entries.contains("a").await.unwrap());
        assert!(entries.entry("a").await.unwrap().is_none());
        assert_eq!(entries.get_many(["a"]).await.unwrap(), [None]);
        assert_eq!(entries.count(&all).await.unwrap(), 0);
        assert!(entries.page(&all, None, 10).await.unwrap().is_empty());
        assert!(entries.tags(None, 10).await.unwrap().is_empty());
        assert_eq!(entries.remove_matching(&all).await.unwrap(), 0);
        assert!(!entries.touch("a", Lifetime::Forever).await.unwrap());
        assert!(!entries.remove("a").await.unwrap());
        assert!(entries.pop("a").await.unwrap().is_none());
        assert_eq!(entries.add("a", forever("b")).await.unwrap(), Placed::Inserted);
    });
}

#[test]
fn only_touch_prolongs_a_life() {
    // SC7, X3, X4.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("touched");
        entries.insert("a", living("a", 10)).await.unwrap();
        place.clock.advance(Duration::from_millis(9));
        assert!(entries.get("a").await.unwrap().is_some());
        assert!(entries.touch("a", Lifetime::For(Duration::from_millis(10))).await.unwrap());
        place.clock.advance(Duration::from_millis(9));
        assert!(entries.get("a").await.unwrap().is_some());
        place.clock.advance(Duration::from_millis(1));
        assert!(entries.get("a").await.unwrap().is_none());
        let refused = entries.insert("b", living("b", 0)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        entries.insert("b", forever("b")).await.unwrap();
        let refused = entries.touch("b", Lifetime::For(Duration::ZERO)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert_eq!(entries.entry("b").await.unwrap().unwrap().meta.expires, None);
    });
}

#[test]
fn a_write_replaces_value_lifetime_tags_and_count_as_one() {
    // X15, SD8.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("replaced");
        entries.insert("a", living("old", 10).tags(["x", "y"])).await.unwrap();
        entries.get("a").await.unwrap();
        store.keep().await.unwrap();
        let placed = entries.insert("a", forever("new").tags(["y", "z"])).await.unwrap();
        assert_eq!(placed, Placed::Replaced);
        let entry = entries.entry("a").await.unwrap().unwrap();
        assert_eq!((entry.meta.expires, entry.meta.access_count), (None, 0));
        assert_eq!(entries.tags(None, 10).await.unwrap(), [("y".into(), 1), ("z".into(), 1)]);
        let old = larder_sqlite::store::Select::default().any_of(["x"]);
        assert_eq!(entries.remove_matching(&old).await.unwrap(), 0);
        assert_eq!(entries.get("a").await.unwrap(), Some(Stored::text("new")));
    });
}

#[test]
fn bulk_forms_are_atomic_and_answer_for_each_key() {
    // S22, S5, SD16, SD19.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("bulk");
        let count = 40_000;
        let keys: Vec<String> = (0..count).map(|number| format!("key {number}")).collect();
        let all = keys.iter().map(|key| (key.clone(), forever(key)));
        let placed = entries.insert_many(all).await.unwrap();
        assert_eq!(placed, vec![Placed::Inserted; count]);
        let mut asked = keys.clone();
        asked.push("absent".into());
        asked.push(keys[7].clone());
        let found = entries.get_many(asked).await.unwrap();
        assert_eq!(found.iter().flatten().count(), count + 1);
        assert_eq!(found[count], None);
        assert_eq!(found[count + 1], Some(Stored::text("key 7")));
        assert!(entries.get_many(Vec::<String>::new()).await.unwrap().is_empty());
        let bad = [("key 1", forever("other")), ("key 2", living("never", 0))];
        assert_eq!(entries.insert_many(bad).await.unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(entries.get("key 1").await.unwrap(), Some(Stored::text("key 1")));
        let removed = entries.remove_many(["key 1", "absent", "key 2"]).await.unwrap();
        assert_eq!(removed, [true, false, true]);
    });
}

#[test]
fn every_read_is_counted_once() {
    // S9, SD11, KD12.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("counted");
        let stats = store.stats().await.unwrap();
        assert!(stats.hit_rate().abs() < f64::EPSILON);
        entries.insert("a", forever("a")).await.unwrap();
        entries.get("a").await.unwrap();
        entries.get("b").await.unwrap();
        entries.get_many(["a", "a", "b", "c"]).await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.hits, stats.misses, stats.errors), (3, 3, 0));
        assert_eq!((stats.entries, stats.bytes, stats.written), (1, 2, 1));
    });
}

#[test]
fn numbers_are_counted_in_one_step() {
    // S23.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("numbers");
        let short = Lifetime::For(Duration::from_millis(5));
        assert_eq!(entries.incr("n", 5, short).await.unwrap(), 5);
        assert_eq!(entries.incr("n", -7, Lifetime::Forever).await.unwrap(), -2);
        assert_eq!(entries.get("n").await.unwrap(), Some(Stored::json("-2")));
        place.clock.advance(Duration::from_millis(5));
        assert_eq!(entries.incr("n", 1, Lifetime::Forever).await.unwrap(), 1);
        entries.incr("n", i64::MAX - 1, Lifetime::Forever).await.unwrap();
        let over = entries.incr("n", 1, Lifetime::Forever).await.unwrap_err();
        assert_eq!(over.kind(), ErrorKind::Limit);
        entries.insert("word", forever("word")).await.unwrap();
        let word = entries.incr("word", 1, Lifetime::Forever).await.unwrap_err();
        assert_eq!(word.kind(), ErrorKind::Conflict);
        assert_eq!(entries.get("word").await.unwrap(), Some(Stored::text("word")));
    });
}

#[test]
fn add_and_pop_happen_once() {
    // S23.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("once");
        assert_eq!(entries.add("a", forever("first")).await.unwrap(), Placed::Inserted);
        assert_eq!(entries.add("a", forever("second")).await.unwrap(), Placed::Present);
        let popped = entries.pop("a").await.unwrap().unwrap();
        assert_eq!(popped.value, Stored::text("first"));
        assert!(entries.pop("a").await.unwrap().is_none());
    });
}

#[test]
fn regions_do_not_see_each_other() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let (one, other) = (store.entries("one"), store.entries("other"));
        one.insert("a", forever("one").tags(["t"])).await.unwrap();
        assert_eq!(other.get("a").await.unwrap(), None);
        other.insert("a", forever("other").tags(["t"])).await.unwrap();
        let tagged = larder_sqlite::store::Select::default().any_of(["t"]);
        assert_eq!(one.remove_matching(&tagged).await.unwrap(), 1);
        assert_eq!(other.get("a").await.unwrap(), Some(Stored::text("other")));
        assert_eq!(store.regions().await.unwrap(), ["one", "other"]);
    });
}

#[test]
fn entries_outlive_the_process_that_wrote_them() {
    // S21: closing loses nothing. S22.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.entries("kept").insert("a", forever("a")).await.unwrap();
        drop(store);
        let store = place.open().await;
        assert_eq!(store.entries("kept").get("a").await.unwrap(), Some(Stored::text("a")));
    });
}
