//! What becomes of value files: garbage, faults, backups, other processes, earlier formats.

use std::{fs, path::PathBuf};

use larder_core::ErrorKind;
use larder_sqlite::store::{
    Condition, Depth, OnCorruption, Refill, Select, SqliteStore, StoreOptions, Stored,
};
use rusqlite::Connection;

use crate::{
    files::{directory_of, entry, files, large, options, sound},
    place::{Place, forever, run},
};

async fn filled(place: &Place, words: &[&str]) -> SqliteStore {
    let store = place.open_with(options(place)).await;
    store.entries("r").insert_many(words.iter().map(|word| (*word, entry(word)))).await.unwrap();
    store
}

async fn get(store: &SqliteStore, key: &str) -> Option<Stored> {
    store.entries("r").get(key).await.unwrap()
}

/// The file that `word` is in.
fn file_of(place: &Place, word: &str) -> PathBuf {
    let is_it = |path: &PathBuf| fs::read(path).unwrap() == large(word).bytes;
    files(&place.path()).into_iter().find(is_it).unwrap()
}

#[test]
fn files_that_nobody_names_are_found_and_removed() {
    run(async {
        let place = Place::new();
        let store = filled(&place, &["a"]).await;
        let name = |number: u8| directory_of(&place.path()).join(format!("{number:032x}"));
        // Of a session that is over, begun and whole; and of somebody else.
        fs::write(name(1), "whole").unwrap();
        fs::write(name(2).with_extension("part"), "begun").unwrap();
        fs::write(directory_of(&place.path()).join("README"), "mine").unwrap();
        let report = store.check(Depth::Quick).await.unwrap();
        assert_eq!((report.files, report.strays, report.findings), (1, 2, Vec::new()));
        store.keep().await.unwrap();
        assert_eq!(files(&place.path()), [file_of(&place, "a")]);
        assert!(directory_of(&place.path()).join("README").exists());
        // What another store writes now is not.
        let other = place.open_with(options(&place)).await;
        other.entries("r").insert("b", entry("b")).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(get(&store, "b").await, Some(large("b")));
        other.entries("r").insert("a", entry("other")).await.unwrap();
        assert_eq!(get(&store, "a").await, Some(large("other")));
        store.keep().await.unwrap();
        assert_eq!(files(&place.path()).len(), 2);
        sound(&other).await;
    });
}

#[test]
fn a_file_that_is_gone_or_changed_is_named_and_never_served() {
    run(async {
        for fault in ["gone", "flipped", "cut"] {
            let place = Place::new();
            let store = filled(&place, &["a", "b"]).await;
            store.keep().await.unwrap();
            let broken = file_of(&place, "a");
            match fault {
                "gone" => fs::remove_file(&broken).unwrap(),
                "flipped" => {
                    let mut bytes = fs::read(&broken).unwrap();
                    bytes[500] ^= 1;
                    fs::write(&broken, bytes).unwrap();
                }
                _ => fs::write(&broken, "cut").unwrap(),
            }
            let name = broken.display().to_string();
            let entries = store.entries("r");
            let errors = [
                entries.get("a").await.unwrap_err(),
                entries.get_many(["b", "a"]).await.unwrap_err(),
                entries.entry("a").await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault}: {error}");
                assert!(error.to_string().contains(&name), "{fault}: {error}");
            }
            assert_eq!(get(&store, "b").await, Some(large("b")));
            let quick = store.check(Depth::Quick).await.unwrap();
            assert_eq!(quick.is_sound(), fault == "flipped", "{quick:?}");
            let full = store.check(Depth::Full).await.unwrap();
            assert_eq!(full.findings.len(), 1, "{full:?}");
            assert!(full.findings[0].contains(&name), "{full:?}");
            assert!(matches!(store.condition(), Condition::Corrupt(_)));
            assert_eq!(store.backup(place.beside("kept")).await.is_err(), fault != "flipped");
            drop((entries, store));
            // The entry goes, and all else stays: no backup is worth more.
            let options = options(&place).on_corruption(OnCorruption::Replace);
            let store = place.open_with(options).await;
            store.entries("r").get("a").await.ok();
            store.keep().await.unwrap();
            assert!(matches!(store.condition(), Condition::Mended(_)), "{:?}", store.condition());
            assert_eq!(get(&store, "a").await, None);
            assert_eq!(get(&store, "b").await, Some(large("b")));
            sound(&store).await;
        }
    });
}

#[test]
fn a_backup_has_files_of_its_own() {
    // S16: the copy is whole, whatever becomes of the store.
    run(async {
        let place = Place::new();
        let store = filled(&place, &["a", "b"]).await;
        store.entries("r").insert("c", forever("c")).await.unwrap();
        let kept = place.beside("kept");
        store.backup(&kept).await.unwrap();
        assert_eq!(files(&kept).len(), 2);
        store.entries("r").insert("a", entry("later")).await.unwrap();
        store.entries("r").remove("b").await.unwrap();
        store.keep().await.unwrap();
        assert_eq!((files(&kept).len(), files(&place.path()).len()), (2, 1));
        store.restore(&kept).await.unwrap();
        assert_eq!(get(&store, "a").await, Some(large("a")));
        assert_eq!(get(&store, "b").await, Some(large("b")));
        store.keep().await.unwrap();
        sound(&store).await;
        assert_eq!((files(&kept).len(), files(&place.path()).len()), (2, 2));
        // Once more, and over the one that is there.
        store.entries("r").remove("b").await.unwrap();
        store.keep().await.unwrap();
        store.backup(&kept).await.unwrap();
        assert_eq!(files(&kept).len(), 1);
        let copy = place.beside("copy.db");
        SqliteStore::restore_file(&copy, &kept).await.unwrap();
        let copied = SqliteStore::open_with(&copy, options(&place)).await.unwrap();
        assert_eq!(get(&copied, "a").await, Some(large("a")));
        sound(&copied).await;
        // It can also be opened where it is.
        drop(SqliteStore::open_with(&kept, options(&place)).await.unwrap());
    });
}

#[test]
fn a_backup_whose_files_are_not_whole_restores_nothing() {
    // SD13: checked first, the live data is untouched.
    run(async {
        for fault in ["gone", "flipped"] {
            let place = Place::new();
            let store = filled(&place, &["a"]).await;
            let kept = place.beside("kept");
            store.backup(&kept).await.unwrap();
            store.entries("r").insert("a", entry("later")).await.unwrap();
            let broken = &files(&kept)[0];
            // Both are names of one file, so it is not written over.
            let mut bytes = fs::read(broken).unwrap();
            fs::remove_file(broken).unwrap();
            bytes[500] ^= 1;
            if fault == "flipped" {
                fs::write(broken, bytes).unwrap();
            }
            let refused = store.restore(&kept).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            assert!(refused.to_string().contains(&broken.display().to_string()), "{refused}");
            assert_eq!(get(&store, "a").await, Some(large("later")));
            store.keep().await.unwrap();
            sound(&store).await;
            assert_eq!(files(&place.path()).len(), 1);
        }
    });
}

#[test]
fn a_backup_that_is_given_up_leaves_no_file() {
    run(async {
        let place = Place::new();
        let store = filled(&place, &["a"]).await;
        let kept = place.beside("kept");
        fs::write(&kept, "something else").unwrap();
        store.backup(&kept).await.unwrap_err();
        assert!(!directory_of(&kept).exists());
        let broken = place.beside("broken");
        fs::remove_file(file_of(&place, "a")).unwrap();
        store.backup(&broken).await.unwrap_err();
        assert!(!directory_of(&broken).exists() && !broken.exists());
    });
}

#[test]
fn old_backups_go_with_their_files() {
    // S17: retention.
    run(async {
        let place = Place::new();
        let every = std::time::Duration::from_secs(60);
        let directory = place.beside("backups");
        let store = place.open_with(options(&place).backups(&directory, every, 2)).await;
        for word in ["a", "b", "c"] {
            store.entries("r").insert("k", entry(word)).await.unwrap();
            store.keep().await.unwrap();
            place.clock.advance(every);
        }
        let mut names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names[1].ends_with(".backup-values"), "{names:?}");
        let oldest = store.backups().await.unwrap()[0].clone();
        store.restore(&oldest.path).await.unwrap();
        assert_eq!(get(&store, "k").await, Some(large("b")));
        // What a killed process left of one has no pages.
        let left = directory.join("cache.db.20200101T000000.000Z.backup-values");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(format!("{:032x}", 7)), "x").unwrap();
        store.keep().await.unwrap();
        assert!(!left.exists());
    });
}

#[test]
fn a_corrupt_store_is_put_aside_with_its_files_and_replaced_with_those_of_the_backup() {
    run(async {
        for is_open in [true, false] {
            let place = Place::new();
            let every = std::time::Duration::from_secs(3600);
            let directory = place.beside("backups");
            let options = || {
                let options = options(&place).on_corruption(OnCorruption::Replace);
                options.backups(&directory, every, 2).mmap(0).page_cache(0)
            };
            let store = place.open_with(options()).await;
            store.entries("r").insert("a", entry("a")).await.unwrap();
            store.keep().await.unwrap();
            store.entries("r").insert("b", entry("b")).await.unwrap();
            let bulk = (0..100).map(|number| (format!("{number}"), forever(&"x".repeat(900))));
            store.entries("r").insert_many(bulk).await.unwrap();
            store.keep().await.unwrap();
            let store = if is_open {
                Some(store)
            } else {
                drop(store);
                None
            };
            crate::whole::zero_pages(&place.path(), if is_open { 24..40 } else { 0..1 });
            let store = match store {
                Some(store) => {
                    for number in 0..100 {
                        store.entries("r").get(&format!("{number}")).await.ok();
                    }
                    // The reads that it would write first are in the pages that are gone.
                    store.keep().await.ok();
                    store.keep().await.ok();
                    store
                }
                None => place.open_with(options()).await,
            };
            let Condition::Replaced { put_aside, refill } = store.condition() else {
                panic!("open: {is_open}: {:?}", store.condition());
            };
            assert!(matches!(refill, Refill::Backup(_)));
            assert_eq!(files(&put_aside.unwrap()).len(), 2);
            assert_eq!(get(&store, "a").await, Some(large("a")));
            assert_eq!(get(&store, "b").await, None);
            store.keep().await.unwrap();
            sound(&store).await;
            assert_eq!(files(&place.path()).len(), 1);
        }
    });
}

#[test]
fn a_value_that_a_failure_of_power_took_is_a_miss() {
    // Durability: what was not acknowledged as durable may be gone, and never half there.
    run(async {
        let place = Place::new();
        let store = filled(&place, &["a", "b"]).await;
        store.keep().await.unwrap();
        store.entries("r").insert("relaxed", entry("relaxed")).await.unwrap();
        store.entries("r").durable().insert("durable", entry("durable")).await.unwrap();
        let lost = file_of(&place, "relaxed");
        // As a killed process leaves it: nothing of what is done behind was done.
        let copy = Place::new();
        for suffix in ["", "-wal", "-witness"] {
            let name = format!("cache.db{suffix}");
            fs::copy(place.beside(&name), copy.beside(&name)).unwrap();
        }
        fs::create_dir(directory_of(&copy.path())).unwrap();
        for file in files(&place.path()) {
            let content = fs::read(&file).unwrap();
            // The kernel had written its name and its length.
            let content = if file == lost { vec![0; content.len()] } else { content };
            fs::write(directory_of(&copy.path()).join(file.file_name().unwrap()), content).unwrap();
        }
        let store = copy.open_with(options(&copy)).await;
        assert_eq!(get(&store, "relaxed").await, None);
        for key in ["a", "b", "durable"] {
            assert_eq!(get(&store, key).await, Some(large(key)));
        }
        sound(&store).await;
        store.keep().await.unwrap();
        assert_eq!(files(&copy.path()).len(), 3);
    });
}

#[test]
fn a_store_of_the_first_format_goes_on() {
    run(async {
        let place = Place::new();
        let store = filled(&place, &[]).await;
        store.entries("r").insert("a", forever("a")).await.unwrap();
        let backup = store.backup(place.beside("kept")).await.unwrap();
        drop(store);
        for path in [place.path(), backup.path.clone()] {
            let file = Connection::open(path).unwrap();
            file.execute_batch(
                "DROP TABLE filed; DROP TABLE loose; DROP TABLE unflushed; \
                 PRAGMA user_version = 1;",
            )
            .unwrap();
        }
        let store = place.open_with(options(&place)).await;
        assert_eq!(get(&store, "a").await, Some(Stored::text("a")));
        store.entries("r").insert("b", entry("b")).await.unwrap();
        sound(&store).await;
        store.restore(&backup.path).await.unwrap();
        assert_eq!(store.entries("r").count(&Select::everything()).await.unwrap(), 1);
        store.entries("r").insert("b", entry("b")).await.unwrap();
        assert_eq!(get(&store, "b").await, Some(large("b")));
        sound(&store).await;
    });
}

#[test]
fn a_file_of_a_later_format_is_left_alone() {
    run(async {
        let place = Place::new();
        drop(filled(&place, &["a"]).await);
        let file = Connection::open(place.path()).unwrap();
        file.pragma_update(None, "user_version", 3).unwrap();
        drop(file);
        let refused = SqliteStore::open_with(place.path(), StoreOptions::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(files(&place.path()).len(), 1);
    });
}
