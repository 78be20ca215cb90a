//! Opening, making and replacing a store, with each call failing in turn.

use std::{fs, path::Path, time::Duration};

use larder_sqlite::store::{SqliteStore, StoreOptions, Stored};

use crate::{
    disk::{
        self,
        Call::{Lock, Name, Open, Read, Resize, Sync, Write},
        Disk,
        Failure::{Broken, Cut, Full, Many},
        Fault, Rounds,
        Times::{On, Once},
    },
    kept::{Kept, entry, open as open_sound, options},
};

const FAULTS: &[Fault] = &[
    Fault(Open, Broken, "cache.db*", Once),
    Fault(Open, Many, "cache.db*", On),
    Fault(Read, Broken, "cache.db*", Once),
    Fault(Read, Broken, "cache.db*", On),
    Fault(Write, Broken, "cache.db*", Once),
    Fault(Write, Full, "cache.db*", On),
    Fault(Write, Cut, "cache.db*", Once),
    Fault(Sync, Broken, "cache.db*", Once),
    Fault(Resize, Full, "cache.db*", Once),
    Fault(Lock, Broken, "cache.db*", Once),
    Fault(Name, Broken, "cache.db*", Once),
];

#[test]
fn whatever_call_of_opening_fails_the_store_is_as_it_was() {
    // S16b, SD18, S17: a fault of the disk is no corruption, and nothing is replaced for it.
    disk::works("open");
}

#[test]
fn whatever_call_of_making_a_store_fails_it_is_made_the_next_time() {
    // SD18.
    disk::works("create");
}

#[test]
fn whatever_call_of_replacing_fails_the_backup_takes_the_place_in_the_end() {
    // S17, SD13.
    disk::works("replace");
}

/// Opens it on a disk that fails.
async fn attempt(path: &Path, fault: Fault) {
    match SqliteStore::open_with(path, options()).await {
        Ok(store) => drop(store),
        Err(error) => fault.explains(&error),
    }
}

pub async fn open(disk: &Disk, directory: &Path) {
    let (path, mut kept) = (directory.join("cache.db"), Kept::default());
    let store = open_sound(&path).await;
    let value = "some value ".repeat(500);
    for key in ["a", "b", "c"] {
        store.entries("r").insert(key, entry(&value)).await.unwrap();
        kept.values.insert(key.into(), value.clone());
    }
    drop(store);
    for fault in FAULTS {
        let mut rounds = Rounds::of(3);
        loop {
            // Sometimes with a log that must be read, as after a crash.
            let is_open = rounds.spared() % 2 == 0;
            let other = if is_open { Some(open_sound(&path).await) } else { None };
            disk.fails(*fault, rounds.spared());
            attempt(&path, *fault).await;
            let failed = disk.is_mended();
            drop(other);
            kept.is_at(&path).await;
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
}

pub async fn create(disk: &Disk, directory: &Path) {
    for (number, fault) in FAULTS.iter().enumerate() {
        let mut rounds = Rounds::of(5);
        loop {
            let place = directory.join(format!("{number}-{}", rounds.spared()));
            fs::create_dir(&place).unwrap();
            let path = place.join("cache.db");
            disk.fails(*fault, rounds.spared());
            attempt(&path, *fault).await;
            let failed = disk.is_mended();
            let mut kept = Kept::default();
            let store = open_sound(&path).await;
            store.entries("r").durable().insert("a", entry("x")).await.unwrap();
            kept.values.insert("a".into(), "x".into());
            kept.is_in(&store).await;
            drop(store);
            kept.is_at(&path).await;
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
}

/// A store that is garbage, with a good backup in its directory.
async fn broken(place: &Path) -> StoreOptions {
    fs::create_dir(place).unwrap();
    let path = place.join("cache.db");
    let options = || options().backups(place.join("kept"), Duration::from_secs(3600), 3);
    let store = SqliteStore::open_with(&path, options()).await.unwrap();
    store.entries("r").insert("a", entry("saved")).await.unwrap();
    store.keep().await.unwrap();
    drop(store);
    fs::write(&path, "garbage ".repeat(2000)).unwrap();
    options()
}

pub async fn replace(disk: &Disk, directory: &Path) {
    for (number, fault) in FAULTS.iter().enumerate() {
        let mut rounds = Rounds::of(11);
        loop {
            let place = directory.join(format!("{number}-{}", rounds.spared()));
            let options = broken(&place).await;
            let path = place.join("cache.db");
            disk.fails(*fault, rounds.spared());
            let first = SqliteStore::open_with(&path, options.clone()).await;
            let failed = disk.is_mended();
            drop(first.inspect_err(|error| fault.explains(error)));
            let store = SqliteStore::open_with(&path, options).await.unwrap();
            let read = store.entries("r").get("a").await.unwrap();
            let context = format!("{fault:?} {}", rounds.spared());
            assert_eq!(read, Some(Stored::text("saved")), "{context}");
            // What was there is still there, under its other name.
            let beside = fs::read_dir(&place).unwrap().flatten();
            let mut names = beside.map(|file| file.file_name().into_string().unwrap());
            assert!(names.any(|name| name.ends_with(".corrupt")), "{context}");
            drop(store);
            fs::remove_dir_all(&place).unwrap();
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
}
