//! Which files belong together.
//!
//! **Invariant** under test: a store that is asked for in the wrong files is an error that says
//! what is there, and nothing is changed by having asked.

use std::fs;

use larder_core::{Error, ErrorKind};
use larder_sqlite::store::{SqliteStore, StoreOptions};

use crate::{
    FILES,
    place::{Place, forever, run},
};

async fn refused(place: &Place, options: StoreOptions) -> Error {
    SqliteStore::open_with(place.path(), options).await.unwrap_err()
}

async fn filled(place: &Place) {
    let entries = place.open().await.entries("r");
    entries.insert_many((0..30).map(|key| (key.to_string(), forever("x")))).await.unwrap();
}

#[test]
fn the_files_of_a_store_lie_beside_the_first() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        assert_eq!(store.path(), place.path());
        let names = ["cache.db", "cache.db-2of3", "cache.db-3of3"];
        assert_eq!(store.paths(), names.map(|name| place.beside(name)));
        drop(store);
        filled(&place).await;
        let count = place.open().await.stats().await.unwrap().entries;
        assert_eq!(count, 30);
    });
}

#[test]
fn another_number_of_files_is_an_error_and_no_miss() {
    run(async {
        let place = Place::new();
        filled(&place).await;
        for other in [1, 2, 4] {
            let error = refused(&place, place.options().shards(other)).await;
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains("`shards = 3`"), "{error}");
        }
        // And nothing was made by asking.
        assert!(!place.beside("cache.db-2of2").exists());
        assert_eq!(place.open().await.stats().await.unwrap().entries, 30);
        let found = place.open_with(place.options().shards_as_found()).await;
        assert_eq!(found.paths().len(), FILES as usize);
    });
}

#[test]
fn a_store_of_one_file_is_not_taken_for_the_first_of_several() {
    run(async {
        let place = Place::new();
        let one = place.open_with(place.options().shards(1)).await;
        one.entries("r").insert("k", forever("x")).await.unwrap();
        drop(one);
        let error = refused(&place, place.options()).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("`shards = 1`"), "{error}");
        let one = place.open_with(place.options().shards(1)).await;
        assert!(one.entries("r").contains("k").await.unwrap());
    });
}

#[test]
fn files_that_do_not_belong_together_are_an_error() {
    run(async {
        let (place, other) = (Place::new(), Place::new());
        filled(&place).await;
        filled(&other).await;
        let second = place.beside("cache.db-2of3");
        let aside = place.beside("aside");
        // Of another store.
        fs::rename(&second, &aside).unwrap();
        fs::copy(other.beside("cache.db-2of3"), &second).unwrap();
        let error = refused(&place, place.options()).await;
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("belongs to other files"), "{error}");
        // Another one of this store.
        fs::copy(place.beside("cache.db-3of3"), &second).unwrap();
        let error = refused(&place, place.options()).await;
        assert!(error.to_string().contains("another of the files"), "{error}");
        // Right again.
        fs::rename(&aside, &second).unwrap();
        assert_eq!(place.open().await.stats().await.unwrap().entries, 30);
        // The first is gone.
        fs::remove_file(place.path()).unwrap();
        let error = refused(&place, place.options()).await;
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(!place.path().exists());
    });
}

#[test]
fn a_file_that_is_gone_begins_empty_and_the_others_stay() {
    run(async {
        let place = Place::new();
        filled(&place).await;
        fs::remove_file(place.beside("cache.db-2of3")).unwrap();
        let store = place.open().await;
        let left = store.stats().await.unwrap().entries;
        assert!((10..30).contains(&left), "{left}");
        filled(&place).await;
        assert_eq!(store.stats().await.unwrap().entries, 30);
    });
}

#[test]
fn a_part_that_was_corrupt_is_one_of_the_store_again() {
    run(async {
        let place = Place::new();
        filled(&place).await;
        for part in ["cache.db", "cache.db-3of3"] {
            fs::write(place.beside(part), [7; 8192]).unwrap();
            let store = place.open().await;
            let left = store.stats().await.unwrap().entries;
            assert!((5..30).contains(&left), "{left}");
            drop(store);
            // And it says so: opened again it is not taken for nothing.
            filled(&place).await;
            assert_eq!(place.open().await.stats().await.unwrap().entries, 30);
        }
    });
}

#[test]
fn one_life_for_all_files() {
    run(async {
        let place = Place::new();
        filled(&place).await;
        let epoch = place.open().await.epoch().await.unwrap();
        assert_eq!(place.open().await.epoch().await.unwrap(), epoch);
        // One of them forgets where it was.
        fs::remove_file(place.beside("cache.db-2of3-witness")).unwrap();
        assert_ne!(place.open().await.epoch().await.unwrap(), epoch);
    });
}

#[test]
fn many_that_make_a_store_at_the_same_time_all_open_it() {
    for _ in 0..20 {
        let place = Place::new();
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    run(async { drop(place.open().await) });
                });
            }
        });
    }
}

#[test]
fn a_number_that_cannot_be_is_refused() {
    run(async {
        let place = Place::new();
        for (options, said) in [
            (place.options().shards(0), "1 to 64"),
            (place.options().shards(65), "1 to 64"),
            (place.options().shards(8).max_entries(7), "cannot be divided"),
        ] {
            let error = refused(&place, options).await;
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(said), "{error}");
        }
    });
}
