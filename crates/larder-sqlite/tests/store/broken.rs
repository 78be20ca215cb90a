//! Files that something happened to: it is noticed, and what is wrong is never served.

use std::{fs, path::Path};

use larder_core::ErrorKind;
use larder_sqlite::store::{
    Condition, Depth, OnCorruption, SqliteStore, StoreOptions, Stored, backups_in,
};

use crate::place::{Place, forever, run};
use crate::whole::zero_pages;

const ENTRIES: usize = 60;

fn value(number: usize) -> String {
    // Some in the row, some on pages of their own.
    format!("{number} ").repeat(if number.is_multiple_of(10) { 3000 } else { 100 })
}

async fn write(place: &Place) {
    let store = place.open().await;
    let entries =
        (0..ENTRIES).map(|number| (format!("{number}"), forever(&value(number)).tags(["t"])));
    store.entries("r").insert_many(entries).await.unwrap();
    store.keep().await.unwrap();
}

fn refusing(place: &Place) -> StoreOptions {
    // Nothing of the file stays in memory.
    place.options().on_corruption(OnCorruption::Refuse).mmap(0).page_cache(0)
}

/// Reads everything; how much of it was an error.
async fn read_all(store: &SqliteStore) -> usize {
    let mut errors = 0;
    for number in 0..ENTRIES {
        match store.entries("r").get(&number.to_string()).await {
            Ok(read) => assert_eq!(read, Some(Stored::text(value(number))), "{number}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                errors += 1;
            }
        }
    }
    errors
}

#[test]
fn whichever_page_is_zeroed_nothing_wrong_is_read() {
    run(async {
        let place = Place::new();
        write(&place).await;
        let whole = fs::read(place.path()).unwrap();
        let (mut refused, mut found, mut failed) = (0, 0, 0);
        let pages = whole.len() / 4096;
        for page in 0..pages {
            fs::write(place.path(), &whole).unwrap();
            zero_pages(&place.path(), page..page + 1);
            let store = match SqliteStore::open_with(place.path(), refusing(&place)).await {
                Ok(store) => store,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "page {page}: {error}");
                    refused += 1;
                    continue;
                }
            };
            let errors = read_all(&store).await;
            let report = store.check(Depth::Full).await.unwrap();
            assert!(errors == 0 || !report.is_sound(), "page {page}");
            failed += usize::from(0 < errors);
            found += usize::from(!report.is_sound());
            if !report.is_sound() {
                assert!(matches!(store.condition(), Condition::Corrupt(_)));
            }
        }
        println!("{pages} pages: {refused} refused, {found} found, {failed} not read");
        // But for the pages that are free, every one is missed.
        assert!(pages - 3 <= refused + found, "{pages}: {refused}, {found}");
        assert!(pages / 2 <= refused + failed);
    });
}

#[test]
fn wherever_a_file_is_cut_nothing_wrong_is_read() {
    run(async {
        let place = Place::new();
        write(&place).await;
        let whole = fs::read(place.path()).unwrap();
        for eighth in 1..8 {
            fs::write(place.path(), &whole[..whole.len() * eighth / 8]).unwrap();
            let refused = SqliteStore::open_with(place.path(), refusing(&place)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{eighth}: {refused}");
        }
    });
}

#[test]
fn a_store_that_is_corrupt_gives_no_backup() {
    // S16, S17.
    run(async {
        let place = Place::new();
        write(&place).await;
        let store = SqliteStore::open_with(place.path(), refusing(&place)).await.unwrap();
        store.backup(place.beside("kept")).await.unwrap();
        drop(store);
        let good = fs::read(place.beside("kept")).unwrap();
        zero_pages(&place.path(), 20..22);
        let store = SqliteStore::open_with(place.path(), refusing(&place)).await.unwrap();
        let refused = store.backup(place.beside("kept")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        // The good one is still there.
        assert!(fs::read(place.beside("kept")).unwrap() == good);
    });
}

#[test]
fn bits_that_flip_in_values_are_noticed() {
    run(async {
        let place = Place::new();
        write(&place).await;
        let mut bytes = fs::read(place.path()).unwrap();
        let needle = "30 30 30 30 ".as_bytes();
        let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
        bytes[at] ^= 1;
        fs::write(place.path(), bytes).unwrap();
        let store = SqliteStore::open_with(place.path(), refusing(&place)).await.unwrap();
        assert_eq!(read_all(&store).await, 1);
        // SQLite sees nothing wrong about the page; the checksum does.
        assert!(store.check(Depth::Quick).await.unwrap().is_sound());
        assert!(!store.check(Depth::Full).await.unwrap().is_sound());
        drop(store);
        // A read that met it has the keeper look closely, and replace the file.
        let store = place.open().await;
        store.entries("r").get("30").await.unwrap_err();
        store.keep().await.unwrap();
        assert!(matches!(store.condition(), Condition::Replaced { .. }));
        assert_eq!(store.entries("r").get("30").await.unwrap(), None);
    });
}

/// The log of another store at `place`, which was killed; what it wrote is all that there ever was,
/// or fits into a file that is like this one page by page.
async fn strange_log(place: &Place, log: &str) -> Vec<u8> {
    if log == "that of a twin" {
        write(place).await;
    }
    let store = place.open().await;
    let strange = value(31).replace("31", "13");
    store.entries("r").insert("31", forever(&strange).tags(["t"])).await.unwrap();
    fs::read(wal(&place.path())).unwrap()
}

fn wal(path: &Path) -> std::path::PathBuf {
    path.with_file_name("cache.db-wal")
}

#[test]
fn a_log_of_another_store_is_never_read() {
    run(async {
        for log in ["that of a twin", "all of it"] {
            let (place, strange) = (Place::new(), Place::new());
            write(&place).await;
            let whole = fs::read(place.path()).unwrap();
            let log = strange_log(&strange, log).await;
            assert!(!log.is_empty());
            fs::write(wal(&place.path()), &log).unwrap();
            let refused = SqliteStore::open_with(place.path(), refusing(&place)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            // Nothing of it came into the file.
            assert!(fs::read(place.path()).unwrap() == whole);
            assert!(fs::read(wal(&place.path())).unwrap() == log);
            let store = place.open().await;
            assert!(matches!(store.condition(), Condition::Replaced { .. }));
            assert_eq!(store.entries("r").get("31").await.unwrap(), None);
            assert!(store.check(Depth::Full).await.unwrap().is_sound());
            // The log went with the file that it lay beside.
            drop(store);
            let aside = fs::read_dir(place.directory()).unwrap();
            let names = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut kept: Vec<_> = names.filter(|name| name.contains(".corrupt")).collect();
            kept.sort_unstable();
            assert!(kept.iter().any(|name| name.ends_with(".corrupt-wal")), "{kept:?}");
        }
    });
}

#[test]
fn a_store_copied_over_another_begins_a_new_epoch() {
    run(async {
        let (place, strange) = (Place::new(), Place::new());
        write(&place).await;
        write(&strange).await;
        let store = place.open().await;
        let epoch = store.epoch().await.unwrap();
        drop(store);
        fs::copy(strange.path(), place.path()).unwrap();
        let store = place.open().await;
        assert_ne!(store.epoch().await.unwrap(), epoch);
        assert_eq!(read_all(&store).await, 0);
        assert_eq!(backups_in(place.directory(), place.path()).unwrap(), []);
    });
}

#[test]
fn a_file_that_is_exchanged_under_an_open_store_is_told() {
    run(async {
        let place = Place::new();
        write(&place).await;
        let store = place.open().await;
        store.keep().await.unwrap();
        assert_eq!(store.condition(), Condition::Sound);
        fs::rename(place.path(), place.beside("moved.db")).unwrap();
        // The round cannot do what needs the file, and says what it saw all the same.
        store.keep().await.ok();
        assert_eq!(store.condition(), Condition::Moved);
    });
}

#[test]
fn a_store_that_was_restored_is_not_put_aside_for_what_was_found_before() {
    run(async {
        for is_open in [true, false] {
            let place = Place::new();
            write(&place).await;
            let store = place.open().await;
            let backup = store.backup(place.beside("kept")).await.unwrap();
            // As the keeper of a process leaves it that could not replace the store.
            fs::write(place.beside("cache.db-corrupt"), "").unwrap();
            if is_open {
                store.restore(&backup.path).await.unwrap();
            } else {
                SqliteStore::restore_file(place.path(), &backup.path).await.unwrap();
            }
            drop(store);
            let store = place.open().await;
            assert_eq!(store.condition(), Condition::Unchecked, "open: {is_open}");
            assert_eq!(read_all(&store).await, 0);
        }
    });
}
