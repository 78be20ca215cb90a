//! Files that are stores, files that are not, and what is done to either.

use std::{fs, time::Duration};

use larder_core::ErrorKind;
use larder_sqlite::store::{Depth, Select, SqliteStore, StoreOptions};
use rusqlite::Connection;

use crate::place::{Place, forever, living, run};

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_was() {
    run(async {
        let place = Place::new();
        let other = Connection::open(place.path()).unwrap();
        other.execute_batch("CREATE TABLE notes(text)").unwrap();
        drop(other);
        let before = fs::read(place.path()).unwrap();
        let refused = SqliteStore::open(place.path()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(fs::read(place.path()).unwrap(), before);
    });
}

#[test]
fn garbage_is_refused_and_left_as_it_was() {
    // SD13.
    run(async {
        let place = Place::new();
        fs::write(place.path(), "this is no database at all".repeat(100)).unwrap();
        let before = fs::read(place.path()).unwrap();
        let refused = SqliteStore::open(place.path()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(place.path()).unwrap(), before);
    });
}

#[test]
fn a_later_format_is_refused_by_name() {
    // S21.
    run(async {
        let place = Place::new();
        drop(place.open().await);
        let other = Connection::open(place.path()).unwrap();
        other.pragma_update(None, "user_version", 99).unwrap();
        drop(other);
        let refused = SqliteStore::open(place.path()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("its format is 99"), "{refused}");
    });
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    // SD18.
    run(async {
        let place = Place::new();
        let path = place.path().join("nowhere").join("cache.db");
        let refused = SqliteStore::open(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.to_string().contains("nowhere"), "{refused}");
    });
}

#[test]
fn settings_that_cannot_be_are_refused() {
    // S11.
    run(async {
        let place = Place::new();
        for options in [
            StoreOptions::new().max_entries(0),
            StoreOptions::new().max_bytes(0),
            StoreOptions::new().keep_every(Duration::ZERO),
        ] {
            let refused = SqliteStore::open_with(place.path(), options).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
        }
        assert!(!place.path().exists());
    });
}

#[test]
fn the_file_gets_smaller_when_entries_go() {
    // SD17, S10.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        let text = "x".repeat(10_000);
        entries
            .insert_many((0..1000).map(|number| (format!("{number}"), forever(&text))))
            .await
            .unwrap();
        store.keep().await.unwrap();
        let full = fs::metadata(place.path()).unwrap().len();
        assert!(10_000_000 < full);
        assert_eq!(entries.remove_matching(&Select::everything()).await.unwrap(), 1000);
        store.keep().await.unwrap();
        let left = fs::metadata(place.path()).unwrap().len();
        assert!(left < full / 5, "{full} bytes, then {left}");
    });
}

#[test]
fn keeping_removes_what_has_expired_and_says_how_much() {
    // S10.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        // More than one piece of the keeper's work.
        let short = (0..250).map(|number| (format!("short {number}"), living("x", 5).tags(["t"])));
        entries.insert_many(short).await.unwrap();
        entries.insert("long", living("x", 1000)).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(store.stats().await.unwrap().expired, 0);
        place.clock.advance(Duration::from_millis(5));
        store.keep().await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.expired, stats.removed, stats.evicted), (250, 0, 0));
        assert_eq!((stats.entries, entries.stats().await.unwrap().entries), (1, 1));
        assert_eq!(store.check(Depth::Full).await.unwrap().entries, 1);
    });
}

#[test]
fn a_read_says_why_the_file_cannot_be_opened() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        // The threads that read open it when first needed.
        fs::rename(place.path(), place.beside("moved.db")).unwrap();
        let refused = store.stats().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.to_string().contains("open the store"), "{refused}");
    });
}

#[test]
fn a_log_that_a_killed_process_left_is_copied_though_nobody_writes() {
    // S11: checkpoint policy.
    run(async {
        let (place, copy) = (Place::new(), Place::new());
        let store = place.open().await;
        store.entries("r").insert("a", forever("x")).await.unwrap();
        for name in ["cache.db", "cache.db-wal", "cache.db-witness"] {
            fs::copy(place.beside(name), copy.beside(name)).unwrap();
        }
        let log = || fs::metadata(copy.beside("cache.db-wal")).unwrap().len();
        assert!(0 < log());
        let other = copy.open().await;
        other.keep().await.unwrap();
        assert_eq!(log(), 0);
        // And what a reader kept from being copied is copied when it has gone.
        other.entries("r").insert("b", forever("y")).await.unwrap();
        let reader = Connection::open(copy.path()).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM entry;").unwrap();
        other.entries("r").insert("c", forever("z")).await.unwrap();
        other.keep().await.unwrap();
        assert!(0 < log());
        reader.execute_batch("COMMIT").unwrap();
        other.keep().await.unwrap();
        assert_eq!(log(), 0);
    });
}
