//! What is computed outside larder while others remove (MD2).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use larder_sqlite::store::{Entries, Fence, Finished, Pattern, Placed, Select, SqliteStore};

use crate::place::{Place, forever, run};

/// Begins `key`, lets `meanwhile` happen, and finishes with the tags `x` and `y`.
async fn interleaved<T>(entries: &Entries, key: &str, meanwhile: impl AsyncFn() -> T) -> Finished {
    let begun = entries.begin(key).await.unwrap();
    meanwhile().await;
    begun.finish(forever("computed").tags(["x", "y"])).await.unwrap()
}

/// MD2: in an untracked region, by whatever way something is removed.
#[test]
fn what_was_removed_since_the_beginning_is_not_stored() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        // Nothing was ever written into the region: there is nothing to remove, and it counts.
        let entries = store.entries("r");
        let stored = Finished::Placed(Placed::Inserted);
        let removed = interleaved(&entries, "a", async || entries.remove("a").await.unwrap());
        assert_eq!(removed.await, Finished::Removed);
        let all = Select::everything;
        let selections = [
            (all(), Finished::Removed),
            (all().matching(Pattern::prefix("a_")), Finished::Removed),
            (all().matching(Pattern::percent("%_1")), Finished::Removed),
            (all().matching(Pattern::glob("a[_]?")), Finished::Removed),
            (all().matching(Pattern::glob("A[_]?")), stored),
            (all().matching(Pattern::percent("b%1")), stored),
            (all().any_of(["z", "x"]), Finished::Removed),
            (all().all_of(["y", "x"]), Finished::Removed),
            (all().all_of(["y", "z"]), stored),
            (all().any_of(["z"]), stored),
            (all().none_of(["z"]), Finished::Removed),
            (all().none_of(["x"]), stored),
            (all().matching(Pattern::percent("a%")).any_of(["z"]), stored),
            (all().any_of(Vec::<String>::new()), stored),
        ];
        for (select, expected) in selections {
            entries.remove("a_1").await.unwrap();
            let finished = interleaved(&entries, "a_1", async || {
                entries.remove_matching(&select).await.unwrap();
            });
            assert_eq!(finished.await, expected, "{select:?}");
            let is_there = entries.contains("a_1").await.unwrap();
            assert_eq!(is_there, expected == stored, "{select:?}");
        }
        let by_pop = interleaved(&entries, "p", async || entries.pop("p").await.unwrap());
        assert_eq!(by_pop.await, Finished::Removed);
        let by_list = interleaved(&entries, "l", async || {
            entries.remove_many(["k", "l"]).await.unwrap();
        });
        assert_eq!(by_list.await, Finished::Removed);
    });
}

#[test]
fn what_does_not_concern_it_does_not_keep_a_value_out() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let (entries, other) = (store.entries("r"), store.entries("other"));
        entries.insert("a", forever("old")).await.unwrap();
        entries.remove("a").await.unwrap();
        let finished = interleaved(&entries, "a", async || {
            other.remove("a").await.unwrap();
            other.remove_matching(&Select::everything()).await.unwrap();
            entries.remove("b").await.unwrap();
            entries.insert("a", forever("by somebody else")).await.unwrap();
        });
        assert_eq!(finished.await, Finished::Placed(Placed::Replaced));
        let begun = entries.begin("a").await.unwrap();
        let present = begun.finish_if_absent(forever("late")).await.unwrap();
        assert_eq!(present, Finished::Placed(Placed::Present));
        assert_eq!(entries.get("a").await.unwrap().unwrap().bytes, b"computed");
        // Begun after the removal, it may see what came after it.
        entries.remove("a").await.unwrap();
        let begun = entries.begin("a").await.unwrap();
        let finished = begun.finish(forever("new")).await.unwrap();
        assert_eq!(finished, Finished::Placed(Placed::Inserted));
    });
}

#[test]
fn what_another_process_removed_is_not_overlooked() {
    run(async {
        let place = Place::new();
        let (one, two) = (place.open().await, place.open().await);
        let (here, there) = (one.entries("r"), two.entries("r"));
        let finished = interleaved(&here, "a", async || there.remove("b").await.unwrap());
        assert_eq!(finished.await, Finished::Unknown, "what it was is not known here");
        // The next one begins after it, and own removals are exact again.
        let finished = interleaved(&here, "a", async || here.remove("b").await.unwrap());
        assert_eq!(finished.await, Finished::Placed(Placed::Inserted));
        // Begun here and finished there.
        let fence = here.begin("c").await.unwrap().fence();
        let fence = Fence::from_bytes(fence.to_bytes());
        let finished = there.begun("c", fence).finish(forever("x")).await.unwrap();
        assert_eq!(finished, Finished::Placed(Placed::Inserted));
        here.remove("c").await.unwrap();
        let finished = there.begun("c", fence).finish(forever("x")).await.unwrap();
        assert_eq!(finished, Finished::Unknown);
        let finished = here.begun("c", fence).finish(forever("x")).await.unwrap();
        assert_eq!(finished, Finished::Removed);
    });
}

#[test]
fn a_fence_outlives_the_process_as_long_as_nothing_was_removed() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let fence = store.entries("r").begin("a").await.unwrap().fence();
        drop(store);
        let store = place.open().await;
        let finish = async |store: &SqliteStore| {
            store.entries("r").begun("a", fence).finish(forever("x")).await.unwrap()
        };
        assert_eq!(finish(&store).await, Finished::Placed(Placed::Inserted));
        store.entries("r").remove("b").await.unwrap();
        assert_eq!(finish(&store).await, Finished::Placed(Placed::Replaced));
        drop(store);
        let store = place.open().await;
        assert_eq!(finish(&store).await, Finished::Unknown, "who removed what is forgotten");
    });
}

/// J5: a store that is restored has forgotten what was removed since the backup.
#[test]
fn a_fence_from_before_a_restore_is_refused() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("a", forever("x")).await.unwrap();
        store.backup(place.beside("b")).await.unwrap();
        let begun = entries.begin("a").await.unwrap();
        entries.remove("a").await.unwrap();
        store.restore(place.beside("b")).await.unwrap();
        assert_eq!(begun.finish(forever("old")).await.unwrap(), Finished::Unknown);
        // What was remembered from before must not speak for what happens after.
        let finished = interleaved(&entries, "c", async || entries.remove("c").await.unwrap());
        assert_eq!(finished.await, Finished::Removed);
        let finished = interleaved(&entries, "d", async || entries.remove("c").await.unwrap());
        assert_eq!(finished.await, Finished::Placed(Placed::Inserted));
    });
}

#[test]
fn more_removals_than_are_remembered_are_not_known() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        let begun = entries.begin("a").await.unwrap();
        for _ in 0..4097 {
            entries.remove("b").await.unwrap();
        }
        assert_eq!(begun.finish(forever("x")).await.unwrap(), Finished::Unknown);
        // One that is too large is widened to its region.
        let begun =
            [entries.begin("a").await.unwrap(), store.entries("s").begin("a").await.unwrap()];
        entries.remove_many((0..10_000).map(|number| format!("key {number}"))).await.unwrap();
        let [own, other] = begun;
        assert_eq!(own.finish(forever("x")).await.unwrap(), Finished::Removed);
        assert_eq!(other.finish(forever("x")).await.unwrap(), Finished::Placed(Placed::Inserted));
    });
}

#[test]
fn a_removal_that_failed_leaves_no_trace() {
    run(async {
        let place = Place::new();
        let (store, other) = (place.open().await, place.open().await);
        let (entries, foreign) = (store.entries("r"), other.entries("r"));
        entries.insert("broken", forever("x")).await.unwrap();
        entries.remove("first").await.unwrap();
        for path in store.paths() {
            let file = rusqlite::Connection::open(path).unwrap();
            file.execute("UPDATE entry SET value = x'00'", []).unwrap();
        }
        let begun = entries.begin("broken").await.unwrap();
        entries.pop("broken").await.unwrap_err();
        // The position that the failed one had is now that of another removal.
        foreign.remove("a").await.unwrap();
        let finished = entries.begun("a", begun.fence()).finish(forever("x")).await.unwrap();
        assert_eq!(finished, Finished::Unknown);
        let begun = entries.begin("broken").await.unwrap();
        entries.pop("broken").await.unwrap_err();
        let finished = begun.finish(forever("x")).await.unwrap();
        assert_eq!(finished, Finished::Placed(Placed::Replaced), "nothing was removed");
    });
}

/// MD2 with many at once: after a removal there is nothing older than what it stood for.
#[test]
fn nothing_that_was_computed_before_a_removal_is_there_after_it() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let (source, stored) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        // Until both sides had their turns, however the machine deals them out.
        let goes_on = |source: &AtomicU64, stored: &AtomicU64| match source.load(Ordering::SeqCst) {
            ..300 => true,
            version => version < 30_000 && stored.load(Ordering::SeqCst) == 0,
        };
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (entries, source, stored) =
                    (store.entries("r"), source.clone(), stored.clone());
                tokio::spawn(async move {
                    while goes_on(&source, &stored) {
                        let begun = entries.begin("a").await.unwrap();
                        let version = source.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        let entry = forever(&version.to_string()).tags(["source"]);
                        let finished = begun.finish(entry).await.unwrap();
                        let is_placed = matches!(finished, Finished::Placed(_));
                        stored.fetch_add(is_placed.into(), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let (entries, by_tag) = (store.entries("r"), Select::everything().any_of(["source"]));
        while goes_on(&source, &stored) {
            let version = source.fetch_add(1, Ordering::SeqCst) + 1;
            match version % 2 {
                0 => u64::from(entries.remove("a").await.unwrap()),
                _ => entries.remove_matching(&by_tag).await.unwrap(),
            };
            if let Some(found) = entries.get("a").await.unwrap() {
                let found: u64 = String::from_utf8(found.bytes).unwrap().parse().unwrap();
                assert!(version <= found, "{found} was computed before {version} was made known");
            }
        }
        for reader in readers {
            reader.await.unwrap();
        }
        let stored = stored.load(Ordering::SeqCst);
        assert!(0 < stored, "nothing was ever stored: void");
    });
}
