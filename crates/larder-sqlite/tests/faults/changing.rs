//! Writes, deletions and the keeper's work, with each call on the file and its log failing in turn.

use std::{fs, path::Path, process::Command};

use larder_sqlite::store::{Depth, Lifetime, Select, SqliteStore, StoreOptions, Stored};
use larder_testkit::temp::TempDir;

use crate::{
    disk::{
        self,
        Call::{Lock, Name, Open, Read, Resize, Sync, Write},
        Disk,
        Failure::{Broken, Cut, Full, Many, Short},
        Fault, Rounds,
        Times::{On, Once},
    },
    kept::{Kept, entry, open, options},
};

const FAULTS: &[Fault] = &[
    Fault(Write, Broken, "cache.db-wal", Once),
    Fault(Write, Full, "cache.db-wal", On),
    Fault(Write, Cut, "cache.db-wal", Once),
    Fault(Write, Short, "cache.db-wal", On),
    Fault(Sync, Broken, "cache.db-wal", Once),
    Fault(Sync, Broken, "cache.db-wal", On),
    Fault(Write, Broken, "cache.db", Once),
    Fault(Write, Full, "cache.db", On),
    Fault(Write, Cut, "cache.db", Once),
    Fault(Sync, Broken, "cache.db", Once),
    Fault(Resize, Broken, "cache.db*", Once),
    Fault(Read, Broken, "cache.db*", Once),
    Fault(Read, Short, "cache.db*", On),
    Fault(Lock, Broken, "cache.db*", Once),
    Fault(Open, Many, "cache.db*", On),
];

/// The same for values in files of their own.
const FAULTS_OF_VALUES: &[Fault] = &[
    Fault(Write, Broken, "cache.db-values*", Once),
    Fault(Write, Full, "cache.db-values*", On),
    Fault(Write, Cut, "cache.db-values*", Once),
    Fault(Write, Short, "cache.db-values*", On),
    Fault(Sync, Broken, "cache.db-values*", Once),
    Fault(Sync, Broken, "cache.db-values*", On),
    Fault(Read, Broken, "cache.db-values*", Once),
    Fault(Read, Short, "cache.db-values*", On),
    Fault(Open, Broken, "cache.db-values*", Once),
    Fault(Open, Many, "cache.db-values*", On),
    Fault(Name, Broken, "cache.db-values*", Once),
];

#[test]
fn whatever_call_of_a_write_fails_nothing_acknowledged_is_lost() {
    // SD15, SD16, SD18, S16b: a bulk write is there as a whole or not at all.
    disk::works("change");
}

#[test]
fn whatever_call_on_a_value_file_fails_nothing_acknowledged_is_lost() {
    // S(c), SD15, SD18.
    disk::works("change values");
}

#[test]
fn whatever_a_flush_did_before_the_process_died_each_write_is_whole() {
    // SD15, SD16.
    disk::works("change and die");
}

/// Everything that changes entries, once each, acknowledged or not.
async fn change_all(store: &SqliteStore, kept: &mut Kept, fault: Fault, round: i64) {
    let (relaxed, durable) = (store.entries("r"), store.entries("r").durable());
    let value = format!("{round} ").repeat(2000);
    let insert = |key: &'static str, value: &str| {
        let value = value.to_owned();
        move |kept: &mut Kept, _| drop(kept.values.insert(key.into(), value))
    };
    kept.told(fault, durable.insert("durable", entry(&value)).await, insert("durable", &value));
    kept.told(fault, relaxed.insert("relaxed", entry("small")).await, insert("relaxed", "small"));
    let bulk = || (0..20).map(|number| format!("bulk {number}"));
    let entries = bulk().map(|key| (key, entry(&value[..500])));
    kept.told(fault, relaxed.insert_many(entries).await, |kept, _| {
        kept.values.extend(bulk().map(|key| (key, value[..500].to_owned())));
    });
    kept.told(fault, store.keep().await, |_, ()| ());
    kept.told(fault, durable.incr("sum", 1, Lifetime::Forever).await, |kept, sum| {
        kept.values.insert("sum".into(), sum.to_string());
    });
    // The other threads of the store read too, and what they read is right.
    match relaxed.get("durable").await {
        Ok(read) => assert_eq!(read, kept.values.get("durable").map(|text| Stored::text(&**text))),
        Err(error) => fault.explains(&error),
    }
    let tagged = Select::everything().any_of(["t"]);
    kept.told(fault, relaxed.remove_matching(&tagged).await, |kept, count| {
        assert_eq!(count, kept.values.keys().filter(|key| *key != "sum").count() as u64);
        kept.values.retain(|key, _| key == "sum");
    });
    kept.told(fault, relaxed.insert("again", entry("again")).await, insert("again", "again"));
    kept.told(fault, store.keep().await, |_, ()| ());
}

pub async fn change(disk: &Disk, directory: &Path) {
    change_beside(disk, directory, options(), FAULTS).await;
}

pub async fn change_values(disk: &Disk, directory: &Path) {
    // All but the smallest are in files.
    change_beside(disk, directory, options().file_above(400), FAULTS_OF_VALUES).await;
}

async fn change_beside(disk: &Disk, directory: &Path, options: StoreOptions, faults: &[Fault]) {
    for (number, fault) in faults.iter().enumerate() {
        let place = directory.join(format!("{number}"));
        fs::create_dir(&place).unwrap();
        let (path, mut kept) = (place.join("cache.db"), Kept::default());
        kept.is_at(&path).await;
        let mut rounds = Rounds::of(7);
        loop {
            let store = SqliteStore::open_with(&path, options.clone()).await.unwrap();
            disk.fails(*fault, rounds.spared());
            change_all(&store, &mut kept, *fault, rounds.spared()).await;
            let failed = disk.is_mended();
            kept.is_in(&store).await;
            // It goes on as if nothing had been.
            store.entries("r").durable().insert("after", entry("after")).await.unwrap();
            kept.values.insert("after".into(), "after".into());
            store.keep().await.unwrap();
            drop(store);
            kept.is_at(&path).await;
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
}

/// A write fails, and the process is gone before anything else is written: what failed may be there
/// or not, but never in part, and what was acknowledged is.
pub async fn die(disk: &Disk) {
    let mut outcomes = [0, 0];
    for fault in FAULTS.iter().filter(|fault| matches!(fault.0, Write | Sync | Resize)) {
        for spared in 0..4 {
            let (place, copy) = (TempDir::new("died").unwrap(), TempDir::new("died").unwrap());
            let path = place.join("cache.db");
            let store = open(&path).await;
            let before = "before ".repeat(1000);
            store.entries("r").durable().insert("a", entry(&before)).await.unwrap();
            let after = "after ".repeat(3000);
            disk.fails(*fault, spared);
            let written = store.entries("r").durable().insert("a", entry(&after)).await;
            disk.is_mended();
            // What a process that dies here leaves is what is on the disk now. Copied by another
            // one: whoever closes a file of the store drops the locks that its process has.
            let files = ["cache.db", "cache.db-wal", "cache.db-witness"];
            let copied = Command::new("cp")
                .args(files.map(|name| place.join(name)))
                .arg(copy.path())
                .env_remove("LD_PRELOAD")
                .status();
            assert!(copied.is_ok_and(|status| status.success()));
            let store = open(&copy.join("cache.db")).await;
            let read = store.entries("r").get("a").await.unwrap().unwrap();
            let is_after = read == Stored::text(&*after);
            assert!(is_after || read == Stored::text(&*before), "{fault:?}: a part of a write");
            assert!(is_after || written.is_err(), "{fault:?}: acknowledged and lost");
            let report = store.check(Depth::Full).await.unwrap();
            assert!(report.is_sound(), "{fault:?}: {report:?}");
            if let Err(error) = written {
                outcomes[usize::from(is_after)] += 1;
                fault.explains(&error);
            }
        }
    }
    println!("writes that failed: {} were not there, {} were", outcomes[0], outcomes[1]);
}
