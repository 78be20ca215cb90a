//! Many at once: threads, regions and processes' worth of connections.

use std::{sync::Arc, thread, time::Duration};

use larder_sqlite::store::{Lifetime, NewEntry, Placed, Select, Stored};

use crate::place::{Place, forever, living, run};

#[test]
fn threads_write_count_and_read_without_losing_anything() {
    // S22, S15, SD3, SD5, SD15.
    let place = Arc::new(Place::new());
    let mut store = None;
    run(async { store = Some(place.open_with(place.options().max_entries(50).readers(1)).await) });
    let store = store.unwrap();
    run(async {
        let sum = NewEntry::new(Stored::json("0"), Lifetime::Forever).pinned();
        store.entries("r").insert("sum", sum).await.unwrap();
    });
    thread::scope(|scope| {
        for worker in 0..8 {
            let entries = store.entries("r");
            scope.spawn(move || {
                run(async {
                    for number in 0..100 {
                        let key = format!("{worker} {number}");
                        entries.insert(key.clone(), forever(&key)).await.unwrap();
                        if let Some(value) = entries.get(&key).await.unwrap() {
                            assert_eq!(value, Stored::text(key));
                        }
                        entries.incr("sum", 1, Lifetime::Forever).await.unwrap();
                        // Refused in the middle of a group, it takes nobody with it.
                        entries.insert("refused", living("x", 0)).await.unwrap_err();
                    }
                });
            });
        }
    });
    run(async {
        let all = Select::everything();
        assert_eq!(store.entries("r").count(&all).await.unwrap(), 50);
        let sum = store.entries("r").get("sum").await.unwrap();
        assert_eq!(sum, Some(Stored::json("800")));
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.entries, stats.evicted), (50, 8 * 100 + 1 - 50));
    });
}

#[test]
fn an_expired_entry_that_is_read_does_not_take_the_new_one_with_it() {
    // SD1.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("a", living("old", 5)).await.unwrap();
        place.clock.advance(Duration::from_millis(5));
        // The reader looks, the writer writes, the keeper removes what had expired.
        assert_eq!(entries.get("a").await.unwrap(), None);
        entries.insert("a", forever("new")).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(entries.get("a").await.unwrap(), Some(Stored::text("new")));
    });
}

#[test]
fn only_one_of_many_adds_succeeds() {
    // S23.
    let place = Place::new();
    let mut store = None;
    run(async { store = Some(place.open().await) });
    let store = store.unwrap();
    let inserted: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let entries = store.entries("r");
                scope.spawn(move || {
                    let mut placed = None;
                    run(async {
                        let entry = forever(&worker.to_string());
                        placed = Some(entries.add("a", entry).await.unwrap());
                    });
                    placed
                })
            })
            .collect();
        let placed = workers.into_iter().map(|worker| worker.join().unwrap());
        placed.filter(|placed| *placed == Some(Placed::Inserted)).count()
    });
    assert_eq!(inserted, 1);
}

#[test]
fn two_handles_on_one_file_see_each_other_and_share_the_limit() {
    // SC3, S15, SD2.
    run(async {
        let place = Place::new();
        let one = place.open_with(place.options().max_entries(5)).await;
        let other = place.open_with(place.options().max_entries(5)).await;
        for number in 0..10 {
            place.clock.advance(Duration::from_millis(1));
            let store = if number % 2 == 0 { &one } else { &other };
            store.entries("r").insert(format!("{number}"), forever("x")).await.unwrap();
        }
        for store in [&one, &other] {
            assert_eq!(store.entries("r").count(&Select::everything()).await.unwrap(), 5);
            assert!(store.entries("r").contains("9").await.unwrap());
            assert!(store.entries("r").contains("8").await.unwrap());
        }
        one.entries("r").remove_matching(&Select::everything()).await.unwrap();
        assert_eq!(other.entries("r").get("9").await.unwrap(), None);
    });
}
