//! Backups of several files.
//!
//! **Invariant** under test: what lies under the name of a backup is whole or not there, and files
//! of different moments are never served as one store.

use std::{fs, path::Path, time::Duration};

use larder_core::ErrorKind;
use larder_sqlite::store::{Depth, SqliteStore};

use crate::place::{Place, forever, run};

async fn fill(place: &Place, text: &str) {
    let entries = place.open().await.entries("r");
    entries.insert_many((0..40).map(|key| (key.to_string(), forever(text)))).await.unwrap();
}

/// Which texts the entries have.
async fn texts(store: &SqliteStore) -> Vec<String> {
    let keys = (0..40).map(|key| key.to_string());
    let values = store.entries("r").get_many(keys).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let mut texts: Vec<_> = values.into_iter().flatten().map(|stored| text(stored.bytes)).collect();
    texts.dedup();
    texts
}

/// The files beside the backup `name`.
fn copies_of(place: &Place, name: &str) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(place.directory()).unwrap().map(|entry| entry.unwrap().path());
    let is_copy = |path: &std::path::PathBuf| {
        let own = path.file_name().unwrap().to_str().unwrap();
        own.starts_with(&format!("{name}-"))
    };
    let mut copies: Vec<_> = paths.filter(is_copy).collect();
    copies.sort();
    copies
}

#[test]
fn a_backup_is_restored_as_a_whole() {
    run(async {
        let place = Place::new();
        fill(&place, "old").await;
        let store = place.open().await;
        let backup = store.backup(place.beside("monday")).await.unwrap();
        assert_eq!(copies_of(&place, "monday").len(), 2);
        fill(&place, "new").await;
        let epoch = store.epoch().await.unwrap();
        store.restore(&backup.path).await.unwrap();
        assert_eq!(texts(&store).await, ["old"]);
        assert_ne!(store.epoch().await.unwrap(), epoch);
        assert!(store.check(Depth::Full).await.unwrap().is_sound());
        drop(store);
        // Also where there is nothing, in as many files.
        let empty = place.beside("other.db");
        SqliteStore::restore_file(&empty, &backup.path).await.unwrap();
        let other = SqliteStore::open_with(&empty, place.options()).await.unwrap();
        assert_eq!(texts(&other).await, ["old"]);
        // And where one of the files is broken.
        fill(&place, "new").await;
        fs::write(place.beside("cache.db-2of3"), [7; 8192]).unwrap();
        SqliteStore::restore_file(place.path(), &backup.path).await.unwrap();
        assert_eq!(texts(&place.open().await).await, ["old"]);
    });
}

#[test]
fn a_backup_takes_the_place_of_one_with_its_name_and_leaves_nothing_of_it() {
    run(async {
        let place = Place::new();
        fill(&place, "old").await;
        let store = place.open().await;
        store.backup(place.beside("daily")).await.unwrap();
        let before = copies_of(&place, "daily");
        fill(&place, "new").await;
        store.backup(place.beside("daily")).await.unwrap();
        let after = copies_of(&place, "daily");
        assert_eq!((before.len(), after.len()), (2, 2));
        assert!(before.iter().all(|path| !after.contains(path)));
        store.restore(place.beside("daily")).await.unwrap();
        assert_eq!(texts(&store).await, ["new"]);
    });
}

#[test]
fn files_of_different_backups_are_not_restored_together() {
    run(async {
        let place = Place::new();
        fill(&place, "old").await;
        let store = place.open().await;
        store.backup(place.beside("one")).await.unwrap();
        store.backup(place.beside("two")).await.unwrap();
        let (ours, theirs) = (copies_of(&place, "one"), copies_of(&place, "two"));
        fs::copy(&theirs[0], &ours[0]).unwrap();
        fill(&place, "new").await;
        let error = store.restore(place.beside("one")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        fs::remove_file(&ours[0]).unwrap();
        let error = store.restore(place.beside("one")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(texts(&store).await, ["new"], "nothing was changed");
    });
}

#[test]
fn a_store_of_which_only_a_part_was_restored_is_not_opened() {
    run(async {
        let place = Place::new();
        fill(&place, "old").await;
        place.open().await.backup(place.beside("whole")).await.unwrap();
        fill(&place, "new").await;
        let kept: Vec<_> = place.open().await.paths();
        let second = fs::read(&kept[1]).unwrap();
        let witness = |path: &Path| format!("{}-witness", path.display());
        let seen = fs::read(witness(&kept[1])).unwrap();
        SqliteStore::restore_file(place.path(), place.beside("whole")).await.unwrap();
        // As if it had been killed before it came to the second.
        fs::write(&kept[1], second).unwrap();
        fs::write(witness(&kept[1]), seen).unwrap();
        let opened = SqliteStore::open_with(place.path(), place.options()).await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("restore the backup again"), "{error}");
        SqliteStore::restore_file(place.path(), place.beside("whole")).await.unwrap();
        assert_eq!(texts(&place.open().await).await, ["old"]);
    });
}

#[test]
fn a_backup_of_another_number_of_files_is_refused() {
    run(async {
        let (place, other) = (Place::new(), Place::new());
        fill(&place, "three").await;
        let one = other.open_with(other.options().shards(1)).await;
        one.entries("r").insert("k", forever("one")).await.unwrap();
        let (three, backup) = (place.open().await, place.beside("three"));
        three.backup(&backup).await.unwrap();
        one.backup(other.beside("one")).await.unwrap();
        for error in [
            one.restore(&backup).await.unwrap_err(),
            three.restore(other.beside("one")).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains("reshard"), "{error}");
        }
        drop((one, three));
        let error = SqliteStore::restore_file(other.path(), &backup).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let error = SqliteStore::restore_file(place.path(), other.beside("one")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert_eq!(texts(&place.open().await).await, ["three"]);
    });
}

#[test]
fn backups_are_taken_of_all_files_when_they_are_due() {
    run(async {
        let place = Place::new();
        fill(&place, "old").await;
        let hour = Duration::from_secs(3600);
        let options = || place.options().backups(place.beside("kept"), hour, 2);
        let mut first = Vec::new();
        for round in 0..4 {
            let store = place.open_with(options().keep_every(Duration::from_millis(5))).await;
            let taken = || async { store.backups().await.unwrap() };
            let mut kept = taken().await;
            while kept.last().is_none_or(|newest| newest.taken != place.clock.wall()) {
                tokio::task::yield_now().await;
                kept = taken().await;
            }
            drop(store);
            let kept = place.open_with(options()).await.backups().await.unwrap();
            let files = fs::read_dir(place.beside("kept")).unwrap().count();
            assert_eq!((kept.len(), files), (2.min(round + 1), 3 * 2.min(round + 1)));
            first.push(kept.last().unwrap().path.clone());
            place.clock.advance(hour);
            fill(&place, "new").await;
        }
        let store = place.open_with(options()).await;
        store.restore(first.last().unwrap()).await.unwrap();
        assert_eq!(texts(&store).await, ["new"]);
    });
}

#[test]
fn a_check_tells_in_which_file_the_fault_is() {
    run(async {
        let place = Place::new();
        fill(&place, "text").await;
        let store = place.open().await;
        store.keep().await.unwrap();
        let sound = store.check(Depth::Full).await.unwrap();
        assert_eq!((sound.entries, sound.findings.len()), (40, 0));
        drop(store);
        let path = place.beside("cache.db-2of3");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(4).position(|window| window == b"text").unwrap();
        bytes[at] = b'T';
        fs::write(&path, bytes).unwrap();
        let store = place.open().await;
        let report = store.check(Depth::Full).await.unwrap();
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].starts_with("file 2 of 3: "), "{:?}", report.findings);
    });
}
