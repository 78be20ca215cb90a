//! What a store says of itself.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_sqlite::store::{Lifetime, NewEntry, Select, Stored};

use crate::place::{Place, forever, run};

#[test]
fn each_region_counts_its_own_and_the_store_counts_all() {
    // S3, S9, S12, SD11.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let (one, two) = (store.entries("one"), store.entries("two"));
        one.insert("a", forever("xy")).await.unwrap();
        two.insert_many([("a", forever("x")), ("b", forever("x").tags(["t"]))]).await.unwrap();
        one.get("a").await.unwrap();
        one.get("missing").await.unwrap();
        // The same key twice is read twice.
        two.get_many(["a", "a", "missing"]).await.unwrap();
        two.remove("a").await.unwrap();
        let of_one = one.stats().await.unwrap();
        assert_eq!((of_one.entries, of_one.bytes, of_one.written, of_one.removed), (1, 3, 1, 0));
        assert_eq!((of_one.hits, of_one.misses, of_one.errors), (1, 1, 0));
        // Another handle of the same region counts with it.
        let of_two = store.entries("two").stats().await.unwrap();
        assert_eq!((of_two.entries, of_two.bytes, of_two.written, of_two.removed), (1, 2, 2, 1));
        assert_eq!((of_two.hits, of_two.misses), (2, 1));
        assert!((of_two.hit_rate() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(two.tags(None, 10).await.unwrap(), [("t".to_owned(), 1)]);
        let all = store.stats().await.unwrap();
        assert_eq!((all.hits, all.misses, all.written, all.removed), (3, 2, 3, 1));
        let nowhere = store.entries("never written").stats().await.unwrap();
        assert_eq!((nowhere.entries, nowhere.hits), (0, 0));
    });
}

#[test]
fn the_recent_rate_forgets_what_is_long_past() {
    // S19.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("a", forever("x")).await.unwrap();
        entries.get("missing").await.unwrap();
        place.clock.advance(Duration::from_secs(200));
        entries.get("a").await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.hits_recent, stats.misses_recent), (1, 1));
        place.clock.advance(Duration::from_secs(101));
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.hits_recent, stats.misses_recent), (1, 0));
        assert!((stats.hit_rate_recent() - 1.0).abs() < 1e-9);
        place.clock.advance(Duration::from_secs(199));
        // The place of a second that is past is used again.
        entries.get("missing").await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.hits_recent, stats.misses_recent), (0, 1));
        assert_eq!((stats.hits, stats.misses), (1, 2));
    });
}

#[test]
fn operations_are_remembered_without_their_keys_and_not_for_ever() {
    // S3: what is done is told, bounded (SD17) and without secrets.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("secret", forever("x")).await.unwrap();
        entries.get("secret").await.unwrap();
        entries.remove("secret").await.unwrap();
        let zero = NewEntry::new(Stored::text("x"), Lifetime::For(Duration::ZERO));
        entries.insert("other", zero).await.unwrap_err();
        entries.remove_matching(&Select::everything()).await.unwrap();
        let told = store.operations();
        let names: Vec<&str> = told.iter().map(|operation| operation.name).collect();
        // A read that was quick is counted only.
        assert_eq!(names, ["insert", "remove", "insert", "remove_matching"]);
        assert_eq!(told[0].key, told[1].key);
        assert_ne!(told[0].key, told[2].key);
        assert_eq!((told[2].failed, told[3].key), (Some(ErrorKind::Config), None));
        assert!(!format!("{told:?}").contains("secret"));
        for _ in 0..1000 {
            entries.remove("a").await.unwrap();
        }
        let told = store.operations();
        assert_eq!(told.len(), 1000);
        assert!(told.iter().all(|operation| operation.name == "remove"));
    });
}

#[test]
fn slow_reads_are_remembered_too() {
    // S19.
    run(async {
        let place = Place::new();
        // Everything takes at least no time at all.
        let store = place.open_with(place.options().slow_above(Duration::ZERO)).await;
        store.entries("r").get("a").await.unwrap();
        let told = store.operations();
        assert_eq!((told.len(), told[0].name, told[0].failed), (1, "get", None));
        assert!(told[0].key.is_some());
    });
}
