//! What a store says of itself.

use std::time::Duration;

use larder_core::{Error, ErrorKind};
use larder_sqlite::store::{Lifetime, NewEntry, Placed, Select, Stored};

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
    // S22, S19.
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

#[test]
fn what_went_is_counted_by_its_region_and_reads_by_tag() {
    // S3, S9, S19: evictions by cause, per region and per tag.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(3)).await;
        let (one, two) = (store.entries("one"), store.entries("two"));
        let short = NewEntry::new(Stored::text("x"), Lifetime::For(Duration::from_secs(1)));
        one.insert("short", short).await.unwrap();
        place.clock.advance(Duration::from_secs(2));
        store.keep().await.unwrap();
        one.insert("a", forever("x").tags(["t", "u"])).await.unwrap();
        place.clock.advance(Duration::from_secs(2));
        two.insert_many([("b", forever("xyz").tags(["t"])), ("c", forever("x"))]).await.unwrap();
        two.insert("d", forever("x")).await.unwrap();
        let stats = [one.stats().await.unwrap(), two.stats().await.unwrap()];
        assert_eq!([stats[0].expired, stats[1].expired], [1, 0]);
        assert_eq!([stats[0].evicted, stats[1].evicted], [1, 0]);
        two.get("b").await.unwrap();
        two.get("b").await.unwrap();
        store.keep().await.unwrap();
        let tags = two.tag_stats(None, 10).await.unwrap();
        let tag = (&*tags[0].name, tags[0].entries, tags[0].bytes, tags[0].reads);
        assert_eq!((tags.len(), tag), (1, ("t", 1, 4, 2)));
        assert!(one.tag_stats(None, 10).await.unwrap().is_empty(), "its entry was evicted");
        let recent = two.stats().await.unwrap();
        assert_eq!((recent.hits_recent, recent.misses_recent), (2, 0));
        place.clock.advance(Duration::from_secs(320));
        assert_eq!(two.stats().await.unwrap().hits_recent, 0);
    });
}

#[test]
fn bulk_forms_change_all_or_none_and_say_which_failed() {
    // SD16, S23.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("a", forever("text")).await.unwrap();
        let added = entries.add_many([("a", forever("x")), ("b", forever("x"))]).await.unwrap();
        assert_eq!(added, [Placed::Present, Placed::Inserted]);
        assert_eq!(entries.get("a").await.unwrap().unwrap().bytes, b"text");
        let life = Lifetime::For(Duration::from_secs(60));
        let failed = entries.incr_many([("n", 1, life), ("a", 1, life)]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Conflict);
        assert!(failed.to_string().contains("(item 1)"), "{failed}");
        assert!(!entries.contains("n").await.unwrap(), "all or none");
        let sums = entries.incr_many([("n", 1, life), ("n", 2, life)]).await.unwrap();
        assert_eq!(sums, [1, 3]);
        let touched = entries.touch_many([("b", life), ("c", life)]).await.unwrap();
        assert_eq!(touched, [true, false]);
        place.clock.advance(Duration::from_secs(61));
        assert!(!entries.contains("b").await.unwrap());
        entries.insert("big", forever(&"x".repeat(100))).await.unwrap();
        let each = entries.get_each(["a", "missing", "big", "a"], 50).await.unwrap();
        let kinds = each.iter().map(|one| one.as_ref().map(Option::is_some));
        let kinds: Vec<_> = kinds.map(|one| one.map_err(Error::kind)).collect();
        assert_eq!(kinds, [Ok(true), Ok(false), Err(ErrorKind::Limit), Ok(true)]);
        rusqlite::Connection::open(place.path())
            .unwrap()
            .execute("UPDATE entry SET value = x'00' WHERE key = 'big'", [])
            .unwrap();
        let each = entries.get_each(["big", "a"], 1000).await.unwrap();
        assert_eq!(each[0].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(each[1].as_ref().unwrap().is_some(), "the others are given");
    });
}
