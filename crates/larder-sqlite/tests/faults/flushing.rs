//! A flush that fails once, and what of it is on the disk when the power goes later.
//!
//! Linux may call pages clean that a failed flush did not write; the shim does so always, and keeps
//! beside the log what of it the disk has. **Invariant**: what was acknowledged durably, before and
//! after the flush that failed, is there after a failure of power.

use std::{env, fs, path::Path, time::Duration};

use larder_core::ErrorKind;
use larder_sqlite::store::{Depth, SqliteStore};
use larder_testkit::temp::TempDir;

use crate::{
    disk::{
        self,
        Call::{Open, Sync, Write},
        Disk, Failure, Fault,
        Times::{On, Once},
    },
    kept::{Kept, entry, open, options},
};

#[test]
fn a_flush_that_failed_loses_nothing_that_is_acknowledged_later() {
    // SD15, S16b: SQLite reads a log up to the first hole.
    disk::works("flush");
}

#[test]
fn what_was_copied_before_a_flush_failed_is_written_again() {
    // SD15, S16b: SQLite copies no page of a log twice.
    disk::works("flush file");
}

#[test]
fn a_flush_beside_writers_that_failed_is_made_up_for() {
    // SD15, S16b: the flush is none of SQLite's.
    disk::works("flush beside");
}

#[test]
fn a_value_file_whose_flush_failed_is_written_again() {
    // SD15, S(c): values in files.
    disk::works("flush values");
}

/// What is there after the power went: the file, and of its log what the disk has.
async fn after_power_loss(place: &Path) -> (TempDir, SqliteStore) {
    let copy = TempDir::new("flushed").unwrap();
    // By another process: whoever closes a file of the store drops the locks of its own.
    let copied = std::process::Command::new("cp")
        .args(["cache.db", "cache.db-witness"].map(|name| place.join(name)))
        .arg(copy.path())
        .env_remove("LD_PRELOAD")
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    let log = env::var_os(disk::ON_DISK).unwrap();
    fs::copy(log, copy.join("cache.db-wal")).unwrap();
    let store = open(&copy.join("cache.db")).await;
    (copy, store)
}

pub async fn flush(disk: &Disk, directory: &Path) {
    let path = directory.join("cache.db");
    let fault = Fault(Sync, Failure::Broken, "cache.db-wal", Once);
    let store = open(&path).await;
    let (durable, relaxed) = (store.entries("r").durable(), store.entries("r"));
    let mut kept = Kept::default();
    for key in ["a", "c", "d"] {
        kept.values.insert(key.into(), key.into());
    }
    durable.insert("a", entry("a")).await.unwrap();
    relaxed.insert("b", entry("b")).await.unwrap();
    disk.fails(fault, 0);
    let refused = durable.insert("x", entry("x")).await.unwrap_err();
    assert_eq!((refused.kind(), disk.is_mended()), (ErrorKind::Unavailable, 1), "{refused}");
    // `b` is in the log and the disk has no part of it; what comes behind it is of no use alone.
    durable.insert("c", entry("c")).await.unwrap();
    relaxed.insert("e", entry("e")).await.unwrap();
    durable.insert("d", entry("d")).await.unwrap();
    let (_copy, found) = after_power_loss(directory).await;
    for (key, value) in &kept.values {
        let read = found.entries("r").get(key).await.unwrap();
        assert!(read.is_some_and(|read| read.bytes == value.as_bytes()), "{key} is lost");
    }
    assert!(found.check(Depth::Full).await.unwrap().is_sound());
    drop(found);

    // As long as the log cannot be written again, nothing is written and nothing is copied.
    disk.fails(fault, 0);
    durable.insert("x", entry("x")).await.unwrap_err();
    disk.is_mended();
    let before = fs::read(env::var_os(disk::ON_DISK).unwrap()).unwrap();
    disk.fails(Fault(Write, Failure::Broken, "cache.db-wal", On), 0);
    for refused in [
        relaxed.insert("y", entry("y")).await.map(drop),
        durable.insert("y", entry("y")).await.map(drop),
        store.keep().await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(0 < disk.is_mended());
    let read = relaxed.get("d").await.unwrap();
    assert!(read.is_some(), "reading goes on");
    assert_eq!(fs::read(env::var_os(disk::ON_DISK).unwrap()).unwrap(), before);
    store.keep().await.unwrap();
    drop((store, durable, relaxed));
    let store = SqliteStore::open_with(&path, options()).await.unwrap();
    for key in ["b", "e"] {
        kept.values.insert(key.into(), key.into());
    }
    kept.is_in(&store).await;
}

pub async fn flush_file(disk: &Disk, directory: &Path) {
    let path = directory.join("cache.db");
    let store = open(&path).await;
    let entries = store.entries("r");
    let mut kept = Kept::default();
    let big = "x".repeat(3000);
    for number in 0..50 {
        entries.insert(format!("{number}"), entry(&big)).await.unwrap();
        kept.values.insert(format!("{number}"), big.clone());
    }
    // A part of the log is copied, and flushed by nobody: somebody reads, and the rest has to wait.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM entry").unwrap();
    entries.insert("last", entry("x")).await.unwrap();
    kept.values.insert("last".into(), "x".into());
    store.keep().await.unwrap();
    reader.execute_batch("COMMIT").unwrap();
    disk.fails(Fault(Sync, Failure::Broken, "cache.db", Once), 0);
    store.keep().await.unwrap_err();
    assert_eq!(disk.is_mended(), 1);
    // The rest alone is less than this.
    disk.fails(Fault(Write, Failure::Broken, "cache.db", On), 30);
    store.keep().await.unwrap_err();
    assert!(0 < disk.is_mended(), "all of it is written again, and could not be");
    store.keep().await.unwrap();
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
    disk.fails(Fault(Write, Failure::Broken, "cache.db", On), 0);
    store.keep().await.unwrap();
    assert_eq!(disk.is_mended(), 0, "once is enough");
    drop((reader, entries, store));
    kept.is_at(&path).await;
}

pub async fn flush_beside(disk: &Disk, directory: &Path) {
    let path = directory.join("cache.db");
    let options = options().keep_every(Duration::from_millis(10)).wal_limit(1);
    let store = SqliteStore::open_with(&path, options).await.unwrap();
    let entries = store.entries("r").durable();
    let mut kept = Kept::default();
    entries.insert("0", entry("0")).await.unwrap();
    // As long as somebody reads, SQLite copies a part of the log only, and flushes nothing.
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM entry").unwrap();
    disk.fails(Fault(Sync, Failure::Broken, "cache.db", On), 0);
    let mut count = 1;
    while disk.failed() == 0 {
        assert!(count < 10_000, "nobody flushes the file");
        entries.insert(format!("{count}"), entry("x")).await.unwrap();
        count += 1;
    }
    disk.fails(Fault(Open, Failure::Broken, "cache.db", On), 0);
    reader.execute_batch("COMMIT").unwrap();
    store.keep().await.unwrap_err();
    assert!(0 < disk.is_mended(), "it is written again, and could not be");
    store.keep().await.unwrap();
    kept.values.insert("0".into(), "0".into());
    kept.values.extend((1..count).map(|number| (format!("{number}"), "x".to_owned())));
    drop((reader, entries, store));
    kept.is_at(&path).await;
}

pub async fn flush_values(disk: &Disk, directory: &Path) {
    let path = directory.join("cache.db");
    let store = SqliteStore::open_with(&path, options().file_above(1000)).await.unwrap();
    let entries = store.entries("r");
    for key in ["a", "b"] {
        entries.insert(key, entry(&key.repeat(3000))).await.unwrap();
    }
    let of = |call, times| Fault(call, Failure::Broken, "cache.db-values/*", times);
    disk.fails(of(Sync, Once), 0);
    store.keep().await.unwrap_err();
    assert_eq!(disk.is_mended(), 1);
    // A flush alone would say that all is well.
    disk.fails(of(Write, On), 0);
    store.keep().await.unwrap_err();
    assert_eq!(disk.is_mended(), 1, "it was written again, and could not be");
    store.keep().await.unwrap();
    disk.fails(of(Write, On), 0);
    store.keep().await.unwrap();
    assert_eq!(disk.is_mended(), 0, "once is enough");
    for key in ["a", "b"] {
        let read = entries.get(key).await.unwrap().unwrap();
        assert_eq!(read.bytes, key.repeat(3000).as_bytes());
    }
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
}
