//! Reads and checks of a store whose file cannot be read, at each of their calls in turn.

use std::path::Path;

use larder_sqlite::store::{Condition, Depth, OnCorruption, SqliteStore, Stored};

use crate::{
    disk::{
        self,
        Call::{Lock, Open, Read},
        Disk,
        Failure::{Broken, Many, Short},
        Fault, Rounds,
        Times::{On, Once},
    },
    kept::{Kept, entry, open, options},
};

const FAULTS: &[Fault] = &[
    Fault(Read, Broken, "cache.db", Once),
    Fault(Read, Broken, "cache.db", On),
    Fault(Read, Broken, "cache.db-wal", On),
    Fault(Read, Short, "cache.db*", On),
    Fault(Lock, Broken, "cache.db*", Once),
    Fault(Open, Many, "cache.db*", On),
];

#[test]
fn a_disk_that_cannot_be_read_is_an_error_and_no_corruption() {
    // SD18, S17: else a cable that was loose for a second would cost the whole store.
    disk::works("read");
}

async fn read_all(store: &SqliteStore, kept: &Kept, fault: Fault) {
    for (key, value) in &kept.values {
        match store.entries("r").get(key).await {
            Ok(read) => assert!(read == Some(Stored::text(&**value)), "{key}"),
            Err(error) => fault.explains(&error),
        }
    }
    let keys: Vec<&String> = kept.values.keys().collect();
    match store.entries("r").get_many(keys.iter().copied()).await {
        Ok(read) => assert_eq!(read.into_iter().flatten().count(), keys.len()),
        Err(error) => fault.explains(&error),
    }
}

pub async fn read(disk: &Disk, directory: &Path) {
    let (path, mut kept) = (directory.join("cache.db"), Kept::default());
    let store = open(&path).await;
    for number in 0..40 {
        let (key, value) = (format!("{number}"), format!("{number} ").repeat(300));
        kept.values.insert(key, value);
    }
    let entries = kept.values.iter().map(|(key, value)| (key.clone(), entry(value)));
    store.entries("r").insert_many(entries).await.unwrap();
    store.keep().await.unwrap();
    // A part of it stands in the log.
    store.entries("r").insert("0", entry("new")).await.unwrap();
    kept.values.insert("0".into(), "new".into());
    for fault in FAULTS {
        let mut rounds = Rounds::of(29);
        loop {
            // One that would replace the store if it believed it to be corrupt.
            let replacing = options().on_corruption(OnCorruption::Replace);
            let other = SqliteStore::open_with(&path, replacing).await.unwrap();
            disk.fails(*fault, rounds.spared());
            read_all(&other, &kept, *fault).await;
            for depth in [Depth::Quick, Depth::Full] {
                match other.check(depth).await {
                    Ok(report) => assert!(report.is_sound(), "{fault:?}: {report:?}"),
                    Err(error) => fault.explains(&error),
                }
            }
            other.keep().await.inspect_err(|error| fault.explains(error)).ok();
            let failed = disk.is_mended();
            assert!(
                matches!(other.condition(), Condition::Sound | Condition::Unchecked),
                "{fault:?}: {:?}",
                other.condition()
            );
            kept.is_in(&other).await;
            drop(other);
            if !rounds.go_on(failed) {
                break;
            }
        }
        rounds.end(*fault);
    }
    drop(store);
    kept.is_at(&path).await;
}
