//! Backups and restores, with each call failing in turn.

use std::{fs, path::Path};

use larder_core::ErrorKind;
use larder_sqlite::store::{Condition, Depth, SqliteStore, Stored};

use crate::{
    disk::{
        self,
        Call::{Lock, Name, Open, Read, Resize, Sync, Write},
        Disk,
        Failure::{Broken, Cut, Full, Many},
        Fault, Rounds,
        Times::{On, Once},
    },
    kept::{entry, open},
};

const FAULTS: &[Fault] = &[
    Fault(Open, Many, "files/*", On),
    Fault(Read, Broken, "files/*", Once),
    Fault(Write, Broken, "files/*", Once),
    Fault(Write, Full, "files/*", On),
    Fault(Write, Cut, "files/*", Once),
    Fault(Sync, Broken, "files*", Once),
    Fault(Resize, Broken, "files/*", Once),
    Fault(Name, Broken, "files/*", Once),
    Fault(Lock, Broken, "files/*", Once),
];

#[test]
fn a_backup_that_fails_anywhere_leaves_the_one_before_it() {
    // S16, SD14.
    disk::works("back up");
}

#[test]
fn a_restore_that_fails_anywhere_changes_nothing() {
    // S16, SD13.
    disk::works("restore");
}

/// Twenty entries that all say the same.
async fn say(store: &SqliteStore, word: &str) {
    let text = format!("{word} ").repeat(1000);
    let entries = (0..20).map(|number| (format!("{number}"), entry(&text)));
    store.entries("r").insert_many(entries).await.unwrap();
}

/// What all of them say.
async fn said(store: &SqliteStore) -> String {
    let mut words = Vec::new();
    for number in 0..20 {
        let read = store.entries("r").get(&format!("{number}")).await.unwrap().unwrap();
        let text = String::from_utf8(read.bytes).unwrap();
        words.push(text.split(' ').next().unwrap().to_owned());
    }
    words.dedup();
    assert_eq!(words.len(), 1, "a part of a restore: {words:?}");
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
    words.remove(0)
}

/// That no part of a copy is left, unless it was its removal that failed.
fn leaves_no_part(fault: Fault, directory: &Path) {
    let files = fs::read_dir(directory).unwrap().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().contains(".part")) {
        assert!(fault.0 == Name, "{fault:?}: {file:?}");
        fs::remove_file(file.path()).unwrap();
    }
}

pub async fn back_up(disk: &Disk, directory: &Path) {
    let files = directory.join("files");
    fs::create_dir(&files).unwrap();
    let (path, backup) = (files.join("cache.db"), files.join("kept"));
    let store = open(&path).await;
    say(&store, "first").await;
    store.backup(&backup).await.unwrap();
    let mut in_backup = "first".to_owned();
    for (number, fault) in FAULTS.iter().enumerate() {
        let mut rounds = Rounds::of(5);
        loop {
            let word = format!("{number}-{}", rounds.spared());
            say(&store, &word).await;
            disk.fails(*fault, rounds.spared());
            let taken = store.backup(&backup).await;
            let failed = disk.is_mended();
            match taken {
                Ok(_) => in_backup = word,
                // What lies in its place cannot be read, and so might be anything.
                Err(error)
                    if matches!(fault.0, Read | Open | Lock)
                        && error.kind() == ErrorKind::Conflict => {}
                Err(error) if fault.0 == Sync && said_in(&backup).await == word => {
                    // Renamed, and whether the name is on the disk is not known.
                    fault.explains(&error);
                    in_backup = word;
                }
                Err(error) => fault.explains(&error),
            }
            assert_eq!(said_in(&backup).await, in_backup, "{fault:?} {}", rounds.spared());
            leaves_no_part(*fault, &files);
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
    assert!(matches!(store.condition(), Condition::Sound | Condition::Unchecked));
}

/// What a backup says, restored beside.
async fn said_in(backup: &Path) -> String {
    let other = backup.with_file_name("other.db");
    SqliteStore::restore_file(&other, backup).await.unwrap();
    said(&open(&other).await).await
}

pub async fn restore(disk: &Disk, directory: &Path) {
    let files = directory.join("files");
    fs::create_dir(&files).unwrap();
    let (path, backup) = (files.join("cache.db"), files.join("kept"));
    let store = open(&path).await;
    say(&store, "saved").await;
    store.backup(&backup).await.unwrap();
    drop(store);
    for fault in FAULTS {
        let mut rounds = Rounds::of(9);
        loop {
            let store = open(&path).await;
            say(&store, "live").await;
            disk.fails(*fault, rounds.spared());
            let restored = store.restore(&backup).await;
            let failed = disk.is_mended();
            let expected = match restored {
                Ok(()) => "saved",
                Err(error) => {
                    fault.explains(&error);
                    "live"
                }
            };
            let context = format!("{fault:?} {}", rounds.spared());
            assert_eq!(said(&store).await, expected, "{context}");
            store.entries("r").durable().insert("after", entry("after")).await.unwrap();
            drop(store);
            let store = open(&path).await;
            assert_eq!(said(&store).await, expected, "{context}: after it was opened again");
            let after = store.entries("r").get("after").await.unwrap();
            assert_eq!(after, Some(Stored::text("after")), "{context}");
            leaves_no_part(*fault, &files);
            assert!(matches!(store.condition(), Condition::Sound | Condition::Unchecked));
            drop(store);
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
}
