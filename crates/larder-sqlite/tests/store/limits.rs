//! Limits that hold: never above them, never more evicted than the excess.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_sqlite::store::{Eviction, Lifetime, Select, SqliteStore, Stored};

use crate::place::{Place, forever, living, run};

async fn keys(store: &SqliteStore) -> Vec<String> {
    let page = store.entries("r").page(&Select::everything(), None, 1000).await.unwrap();
    page.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn the_eleventh_entry_takes_the_place_of_one() {
    // SD2, S13.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(10)).await;
        let entries = store.entries("r");
        for number in 0..10 {
            place.clock.advance(Duration::from_millis(1));
            entries.insert(format!("{number}"), forever("x")).await.unwrap();
        }
        // Overwriting needs no room.
        entries.insert("0", forever("y")).await.unwrap();
        assert_eq!(keys(&store).await.len(), 10);
        // Reading makes recent.
        place.clock.advance(Duration::from_millis(1));
        entries.get("1").await.unwrap();
        place.clock.advance(Duration::from_millis(1));
        entries.insert("new", forever("x")).await.unwrap();
        let left = keys(&store).await;
        assert_eq!(left, ["0", "1", "3", "4", "5", "6", "7", "8", "9", "new"]);
        assert_eq!(store.stats().await.unwrap().evicted, 1);
    });
}

#[test]
fn bulk_writes_keep_the_limit_too() {
    // SD2.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(10)).await;
        let entries = store.entries("r");
        entries
            .insert_many((0..9).map(|number| (format!("{number}"), forever("x"))))
            .await
            .unwrap();
        entries
            .insert_many((100..150).map(|number| (format!("{number}"), forever("x"))))
            .await
            .unwrap();
        assert_eq!(keys(&store).await.len(), 10);
        assert_eq!(store.stats().await.unwrap().entries, 10);
    });
}

#[test]
fn what_is_gone_makes_room_before_what_is_there() {
    // SD2, S13.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(3)).await;
        let entries = store.entries("r");
        entries.insert("oldest", forever("x")).await.unwrap();
        entries.insert("short", living("x", 5)).await.unwrap();
        entries.insert("tagged", forever("x").tags(["t"])).await.unwrap();
        place.clock.advance(Duration::from_millis(5));
        entries.insert("one", forever("x")).await.unwrap();
        assert_eq!(keys(&store).await, ["oldest", "one", "tagged"]);
        entries.remove_matching(&Select::everything().any_of(["t"])).await.unwrap();
        entries.insert("two", forever("x")).await.unwrap();
        assert_eq!(keys(&store).await, ["oldest", "one", "two"]);
        assert_eq!(store.stats().await.unwrap().evicted, 0);
    });
}

#[test]
fn bytes_are_limited_exactly() {
    // SC1, S23.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_bytes(1000)).await;
        let entries = store.entries("r");
        for number in 0..9 {
            place.clock.advance(Duration::from_millis(1));
            // Ten bytes of key, ninety of value.
            entries.insert(format!("{number:010}"), forever(&"x".repeat(90))).await.unwrap();
        }
        place.clock.advance(Duration::from_millis(1));
        entries.insert("large", forever(&"x".repeat(295))).await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.entries, stats.bytes, stats.evicted), (8, 1000, 2));
        let refused = entries.insert("huge", forever(&"x".repeat(497))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert!(refused.to_string().contains("501 bytes, the limit for one entry is 500"));
        let after = store.stats().await.unwrap();
        assert_eq!((after.entries, after.bytes, after.evicted), (8, 1000, 2));
    });
}

#[test]
fn pinned_entries_stay_and_count() {
    // X5.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(2)).await;
        let entries = store.entries("r");
        entries.insert("pinned", forever("x").pinned()).await.unwrap();
        for number in 0..5 {
            place.clock.advance(Duration::from_millis(1));
            entries.insert(format!("{number}"), forever("x")).await.unwrap();
        }
        assert_eq!(keys(&store).await, ["4", "pinned"]);
        entries.insert("4", forever("x").pinned()).await.unwrap();
        let refused = entries.insert("5", forever("x")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Full);
        assert_eq!(keys(&store).await, ["4", "pinned"]);
        assert_eq!(store.stats().await.unwrap().entries, 2);
    });
}

#[test]
fn each_policy_chooses_its_own() {
    // SC4.
    let left = |eviction: Eviction| {
        let mut left = Vec::new();
        run(async {
            let place = Place::new();
            let options = place.options().max_entries(3).eviction(eviction);
            let store = place.open_with(options).await;
            let entries = store.entries("r");
            for key in ["a", "b", "c"] {
                place.clock.advance(Duration::from_millis(1));
                entries.insert(key, forever(key)).await.unwrap();
            }
            // Read: `b` twice and first, `a` once and last, `c` once.
            for key in ["b", "b", "c", "a"] {
                place.clock.advance(Duration::from_millis(1));
                assert_eq!(entries.get(key).await.unwrap(), Some(Stored::text(key)));
            }
            let written = entries.insert("d", forever("d")).await;
            assert_eq!(written.is_err(), eviction == Eviction::Refuse);
            left = keys(&store).await;
        });
        left
    };
    assert_eq!(left(Eviction::LeastRecent), ["a", "c", "d"]);
    assert_eq!(left(Eviction::LeastFrequent), ["a", "b", "d"]);
    assert_eq!(left(Eviction::Oldest), ["b", "c", "d"]);
    assert_eq!(left(Eviction::Refuse), ["a", "b", "c"]);
}

#[test]
fn an_entry_that_was_overwritten_goes_as_late_as_one_that_was_read() {
    // S13, SC4: there are more of them than are chosen from at once.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_entries(300)).await;
        let entries = store.entries("r");
        let write = async |number: u32, with: &str| {
            place.clock.advance(Duration::from_millis(1));
            entries.insert(format!("{number:03}"), forever(with)).await.unwrap();
        };
        for number in 0..300 {
            write(number, "x").await;
        }
        for number in (0..200).rev() {
            write(number, if number % 2 == 0 { "y" } else { "longer" }).await;
        }
        // First the hundred that were never overwritten, then the others, the last of them first.
        for number in 300..450 {
            write(number, "x").await;
        }
        let names = |range: std::ops::Range<u32>| range.map(|number| format!("{number:03}"));
        let left: Vec<String> = names(0..150).chain(names(300..450)).collect();
        assert_eq!(keys(&store).await, left);
        let meta = entries.entry("149").await.unwrap().unwrap().meta;
        assert_eq!(meta.accessed, meta.created);
    });
}

#[test]
fn a_number_that_grows_needs_room_too() {
    // SD2.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_bytes(100)).await;
        let entries = store.entries("r");
        entries.insert("older", forever(&"x".repeat(44))).await.unwrap();
        place.clock.advance(Duration::from_millis(1));
        entries.insert("newer", forever(&"x".repeat(44))).await.unwrap();
        place.clock.advance(Duration::from_millis(1));
        entries.incr("n", 9, Lifetime::Forever).await.unwrap();
        assert_eq!(store.stats().await.unwrap().bytes, 100);
        entries.incr("n", 1, Lifetime::Forever).await.unwrap();
        assert_eq!(keys(&store).await, ["n", "newer"]);
        assert_eq!(store.stats().await.unwrap().bytes, 52);
    });
}
