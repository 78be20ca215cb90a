//! Lives of a store: what goes on, and what begins anew.
//!
//! Inside the crate, because only the log of the timeline `app` moves it, and nobody outside does.

use std::{fs, path::PathBuf};

use larder_testkit::temp::TempDir;

use super::{super::handle::SqliteStore, *};
use crate::store::{Durability, Lifetime, NewEntry, StoreOptions, Stored, witness, writer::Effort};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new("life").unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.join("cache.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open_with(self.path(), StoreOptions::new()).await.unwrap()
    }

    /// Files that are not open, copied with everything but the witness.
    fn copy(&self, from: &str, to: &str) {
        for suffix in ["", "-wal", "-shm"] {
            let to = self.0.join(&format!("{to}{suffix}"));
            let _ = fs::remove_file(&to);
            let from = self.0.join(&format!("{from}{suffix}"));
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

async fn change(store: &SqliteStore, position: u64) {
    let act = move |writing: &mut Writing<'_>| advance(writing, Position(position));
    store.writer_queue().write(Durability::Durable, Effort::MUCH, act).await.unwrap();
}

async fn epoch_after(place: &Place) -> Epoch {
    place.open().await.epoch().await.unwrap()
}

#[test]
fn a_file_is_compared_with_what_was_seen_last() {
    let seen = Life { id: 1, epoch: Epoch(2), position: Position(10), nonce: 3 };
    let is_unbroken = |life: Life| life.since(Some(&seen)) == Continuity::Unbroken;
    assert!(is_unbroken(seen));
    assert!(is_unbroken(Life { position: Position(11), nonce: 4, ..seen }));
    assert!(!is_unbroken(Life { position: Position(9), ..seen }));
    assert!(!is_unbroken(Life { nonce: 4, ..seen }));
    assert!(!is_unbroken(Life { epoch: Epoch(3), position: Position(99), ..seen }));
    assert!(!is_unbroken(Life { id: 2, position: Position(99), ..seen }));
    assert_ne!(seen.since(None), Continuity::Unbroken);
    let renewed = seen.renewed().unwrap();
    assert_eq!(renewed.id, seen.id);
    assert_ne!(renewed.epoch, seen.epoch);
}

#[test]
fn a_store_that_is_closed_and_opened_lives_on() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let first = store.epoch().await.unwrap();
        change(&store, 1).await;
        let entry = NewEntry::new(Stored::text("x"), Lifetime::Forever);
        store.entries("r").insert("a", entry).await.unwrap();
        drop(store);
        assert_eq!(epoch_after(&place).await, first);
        assert_eq!(epoch_after(&place).await, first);
    });
}

#[test]
fn a_file_that_is_copied_back_begins_anew() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        change(&store, 1).await;
        let first = store.epoch().await.unwrap();
        drop(store);
        place.copy("cache.db", "copy.db");
        // As long as nothing was acknowledged in between, nothing was forgotten.
        place.copy("copy.db", "cache.db");
        let store = place.open().await;
        assert_eq!(store.epoch().await.unwrap(), first);
        change(&store, 2).await;
        drop(store);
        place.copy("copy.db", "cache.db");
        let second = epoch_after(&place).await;
        assert_ne!(second, first);
        assert_eq!(epoch_after(&place).await, second);
        // And once more, with a position that was there before.
        place.copy("copy.db", "cache.db");
        let store = place.open().await;
        let third = store.epoch().await.unwrap();
        assert!(![first, second].contains(&third));
    });
}

#[test]
fn a_store_whose_last_commits_are_lost_begins_anew() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        change(&store, 1).await;
        let first = store.epoch().await.unwrap();
        // All that was written is in the file; what follows is only in the log.
        store.keep(None).await.unwrap();
        change(&store, 2).await;
        place.copy("cache.db", "killed.db");
        drop(store);
        // As a disk that said "written" and then lost power leaves it.
        place.copy("killed.db", "cache.db");
        let log = fs::OpenOptions::new().write(true).open(place.0.join("cache.db-wal")).unwrap();
        log.set_len(32 + 100).unwrap();
        drop(log);
        assert_ne!(epoch_after(&place).await, first);
    });
}

#[test]
fn a_killed_store_with_its_whole_log_lives_on() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let first = store.epoch().await.unwrap();
        change(&store, 1).await;
        change(&store, 2).await;
        place.copy("cache.db", "killed.db");
        drop(store);
        place.copy("killed.db", "cache.db");
        assert_eq!(epoch_after(&place).await, first);
    });
}

#[test]
fn a_store_without_its_witness_begins_anew() {
    run(async {
        let place = Place::new();
        let first = epoch_after(&place).await;
        let witness = witness::path_of(&place.path());
        let bytes = fs::read(&witness).unwrap();
        fs::remove_file(&witness).unwrap();
        let second = epoch_after(&place).await;
        assert_ne!(second, first);
        // A witness of an earlier life, and one that is torn.
        fs::write(&witness, &bytes).unwrap();
        let third = epoch_after(&place).await;
        assert_ne!(third, second);
        fs::write(&witness, &bytes[..20]).unwrap();
        assert_ne!(epoch_after(&place).await, third);
    });
}

#[test]
fn a_change_that_was_rolled_back_is_not_witnessed() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let first = store.epoch().await.unwrap();
        let act = |writing: &mut Writing<'_>| -> Result<(), Error> {
            advance(writing, Position(7))?;
            Err(Error::new(ErrorKind::Conflict, "test"))
        };
        store.writer_queue().write(Durability::Durable, Effort::MUCH, act).await.unwrap_err();
        drop(store);
        assert_eq!(epoch_after(&place).await, first);
    });
}

#[test]
fn a_restored_store_begins_anew() {
    // J5.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        change(&store, 1).await;
        let first = store.epoch().await.unwrap();
        let backup = place.0.join("kept.backup");
        store.backup_with(&backup, |_| {}).await.unwrap();
        store.restore(&backup).await.unwrap();
        let second = store.epoch().await.unwrap();
        assert_ne!(second, first);
        drop(store);
        assert_eq!(epoch_after(&place).await, second);
        crate::store::operation::restore_file(&place.path(), &backup).unwrap();
        assert!(![first, second].contains(&epoch_after(&place).await));
    });
}
