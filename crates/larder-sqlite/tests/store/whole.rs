//! Backups, and what becomes of them: S16, S17, SD13, SD14, J5.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use larder_core::{ErrorKind, clock::WallMillis};
use larder_sqlite::store::{
    Condition, Depth, Eviction, Refill, Select, SqliteStore, StoreOptions, Stored, backups_in,
};
use rusqlite::Connection;

use crate::place::{Place, forever, run};

async fn value(store: &SqliteStore, region: &str, key: &str) -> Option<Stored> {
    store.entries(region).get(key).await.unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A store with ten entries in region `r`, tagged, of some kilobytes.
async fn filled(place: &Place) -> SqliteStore {
    let store = place.open().await;
    let text = "x".repeat(3000);
    let entries = (0..10).map(|number| (format!("{number}"), forever(&text).tags(["t"])));
    store.entries("r").insert_many(entries).await.unwrap();
    store
}

#[test]
fn a_backup_is_restored_into_the_store_that_is_open() {
    // S22, S16, SD13.
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        let backup = store.backup(place.beside("kept")).await.unwrap();
        assert_eq!(backup.taken, place.clock.wall());
        store.entries("r").remove_matching(&Select::everything()).await.unwrap();
        store.entries("r").insert("later", forever("y")).await.unwrap();
        store.entries("later").insert("a", forever("z")).await.unwrap();
        store.restore(&backup.path).await.unwrap();
        assert_eq!(store.entries("r").count(&Select::everything()).await.unwrap(), 10);
        assert!(value(&store, "r", "3").await.is_some());
        assert_eq!(value(&store, "r", "later").await, None);
        assert_eq!(value(&store, "later", "a").await, None);
        assert_eq!(store.stats().await.unwrap().entries, 10);
        // It goes on being a store: tags, writes, the keeper.
        let tagged = Select::everything().any_of(["t"]);
        assert_eq!(store.entries("r").remove_matching(&tagged).await.unwrap(), 10);
        store.entries("r").insert("more", forever("m")).await.unwrap();
        store.entries("later").insert("a", forever("again")).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(value(&store, "later", "a").await, Some(Stored::text("again")));
        let report = store.check(Depth::Full).await.unwrap();
        assert_eq!((report.entries, report.findings), (2, Vec::new()));
    });
}

#[test]
fn another_process_sees_what_is_restored() {
    // S16, SD13: checked-out connections keep the old file.
    run(async {
        let place = Place::new();
        let (one, other) = (filled(&place).await, place.open().await);
        let backup = one.backup(place.beside("kept")).await.unwrap();
        other.entries("r").insert("0", forever("changed")).await.unwrap();
        assert_eq!(value(&other, "r", "0").await, Some(Stored::text("changed")));
        one.restore(&backup.path).await.unwrap();
        for store in [&one, &other] {
            assert_eq!(value(store, "r", "0").await, Some(Stored::text("x".repeat(3000))));
        }
        other.entries("r").insert("0", forever("new")).await.unwrap();
        assert_eq!(value(&one, "r", "0").await, Some(Stored::text("new")));
    });
}

#[test]
fn regions_keep_their_numbers_when_a_strange_backup_is_restored() {
    run(async {
        let (place, strange) = (Place::new(), Place::new());
        let store = place.open().await;
        for region in ["a", "b", "c"] {
            store.entries(region).insert("k", forever(region)).await.unwrap();
        }
        let other = strange.open().await;
        for region in ["c", "x", "a", "y"] {
            let entry = forever(&format!("other {region}")).tags([region]);
            other.entries(region).insert("k", entry).await.unwrap();
        }
        // This handle has seen the numbers, and goes on with them.
        let backup = other.backup(strange.beside("kept")).await.unwrap();
        store.restore(&backup.path).await.unwrap();
        for region in ["c", "x", "a", "y"] {
            let wanted = Some(Stored::text(format!("other {region}")));
            assert_eq!(value(&store, region, "k").await, wanted, "{region}");
            let tagged = Select::everything().any_of([region]);
            assert_eq!(store.entries(region).count(&tagged).await.unwrap(), 1, "{region}");
        }
        assert_eq!(value(&store, "b", "k").await, None);
        let report = store.check(Depth::Full).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    });
}

#[test]
fn a_backup_does_not_keep_writers_waiting_and_shows_one_moment() {
    // S16.
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        let text = "x".repeat(100_000);
        let large = (0..40).map(|number| (format!("large {number}"), forever(&text)));
        store.entries("r").insert_many(large).await.unwrap();
        let before = store.stats().await.unwrap().entries;
        let (wrote, writes) = mpsc::channel();
        let entries = store.entries("r");
        let mut told = 0;
        let backup = store
            .backup_with(place.beside("kept"), move |progress| {
                told += 1;
                assert!(told < 1000, "it begins again with every commit");
                // From inside the copy: a writer that had to wait for it would wait for ever.
                let (entries, wrote) = (entries.clone(), wrote.clone());
                let write = move || {
                    run(async {
                        let key = format!("during {}", progress.done);
                        entries.insert(key, forever("d")).await.unwrap();
                        wrote.send(progress).unwrap();
                    });
                };
                std::thread::spawn(write).join().unwrap();
            })
            .await
            .unwrap();
        let progress: Vec<_> = writes.try_iter().collect();
        assert!(3 <= progress.len(), "{progress:?}");
        assert!(progress.iter().all(|at| at.pages == progress[0].pages));
        assert_eq!(progress.last().map(|at| at.done), Some(progress[0].pages));
        assert!(progress.is_sorted_by_key(|at| at.done));
        assert_eq!(store.stats().await.unwrap().entries, before + progress.len() as u64);
        let restored = SqliteStore::restore_file(place.beside("other.db"), &backup.path).await;
        assert_eq!(restored.unwrap(), Condition::Sound);
        let other = SqliteStore::open(place.beside("other.db")).await.unwrap();
        assert_eq!(other.stats().await.unwrap().entries, before);
    });
}

#[test]
fn a_backup_stands_alone_and_leaves_nothing_else() {
    // SD14.
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        let before = names(&place.directory());
        store.backup(place.beside("kept")).await.unwrap();
        store.backup(place.beside("kept")).await.unwrap();
        let mut wanted = before;
        wanted.push("kept".into());
        wanted.sort_unstable();
        assert_eq!(names(&place.directory()), wanted);
        let backup = Connection::open(place.beside("kept")).unwrap();
        let mode: String = backup.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
    });
}

#[test]
fn nothing_but_a_backup_is_replaced_by_one() {
    // SD14.
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        fs::write(place.beside("letter"), "dear reader").unwrap();
        let other = Connection::open(place.beside("other.db")).unwrap();
        other.execute_batch("CREATE TABLE notes(text)").unwrap();
        drop(other);
        let used = SqliteStore::open(place.beside("used.db")).await.unwrap();
        used.entries("r").insert("a", forever("x")).await.unwrap();
        let closed = SqliteStore::open(place.beside("closed.db")).await.unwrap();
        closed.entries("r").insert("a", forever("x")).await.unwrap();
        drop(closed);
        assert!(!place.beside("closed.db-wal").exists());
        for name in ["letter", "other.db", "used.db", "closed.db", "cache.db", "."] {
            let before = fs::read(place.beside(name)).ok();
            let refused = store.backup(place.beside(name)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict, "{name}: {refused}");
            assert_eq!(fs::read(place.beside(name)).ok(), before);
        }
        let refused = store.backup(place.beside("nowhere").join("kept")).await.unwrap_err();
        assert!(refused.to_string().contains("nowhere"), "{refused}");
        let left = names(&place.directory()).into_iter().filter(|name| name.contains(".part"));
        assert_eq!(left.count(), 0);
    });
}

#[test]
fn what_is_no_sound_backup_is_refused_and_changes_nothing() {
    // SD13.
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        store.entries("r").insert("short", forever("unmistakable")).await.unwrap();
        let backup = store.backup(place.beside("kept")).await.unwrap().path;
        let whole = fs::read(&backup).unwrap();
        let mut zeroed = whole.clone();
        let middle = zeroed.len() / 2 / 4096 * 4096;
        zeroed[middle..middle + 4096].fill(0);
        // One that only the checksum of the value knows of.
        let mut flipped = whole.clone();
        let at = whole.windows(12).position(|window| window == b"unmistakable").unwrap();
        flipped[at] ^= 1;
        fs::write(place.beside("flipped"), &flipped).unwrap();
        let other = Connection::open(place.beside("other.db")).unwrap();
        other.execute_batch("CREATE TABLE notes(text)").unwrap();
        drop(other);
        fs::write(place.beside("garbage"), "no database".repeat(1000)).unwrap();
        fs::write(place.beside("empty"), "").unwrap();
        fs::write(place.beside("short"), &whole[..whole.len() / 2]).unwrap();
        fs::write(place.beside("zeroed"), &zeroed).unwrap();
        store.entries("r").insert("after", forever("a")).await.unwrap();
        let epoch = store.epoch().await.unwrap();
        for (name, kind) in [
            ("garbage", ErrorKind::Corrupt),
            ("short", ErrorKind::Corrupt),
            ("zeroed", ErrorKind::Corrupt),
            ("flipped", ErrorKind::Corrupt),
            ("empty", ErrorKind::Unsupported),
            ("other.db", ErrorKind::Unsupported),
            ("nowhere", ErrorKind::NotFound),
        ] {
            let refused = store.restore(place.beside(name)).await.unwrap_err();
            assert_eq!(refused.kind(), kind, "{name}: {refused}");
        }
        assert_eq!(store.epoch().await.unwrap(), epoch);
        assert_eq!(store.stats().await.unwrap().entries, 12);
        store.entries("r").insert("still", forever("s")).await.unwrap();
        store.keep().await.unwrap();
        assert!(store.check(Depth::Full).await.unwrap().is_sound());
    });
}

#[test]
fn backups_are_taken_when_due_and_the_oldest_go() {
    // SC9, S17, S11.
    run(async {
        let place = Place::new();
        let day = Duration::from_secs(86_400);
        let directory = place.beside("backups");
        let options = || place.options().backups(&directory, day, 3);
        let store = place.open_with(options()).await;
        for number in 0..5 {
            store.entries("r").insert("day", forever(&number.to_string())).await.unwrap();
            store.keep().await.unwrap();
            // Not before the next day, and not because it was opened again.
            place.clock.advance(day / 2);
            store.keep().await.unwrap();
            drop(place.open_with(options()).await);
            assert_eq!(store.backups().await.unwrap().len(), (number + 1).min(3));
            place.clock.advance(day / 2);
        }
        fs::write(directory.join("letter"), "dear reader").unwrap();
        let kept = store.backups().await.unwrap();
        assert_eq!(kept, backups_in(&directory, place.path()).unwrap());
        let files: Vec<PathBuf> = kept.iter().map(|backup| backup.path.clone()).collect();
        assert!(files.is_sorted());
        // To where it was on the fourth day, at noon.
        let fourth = WallMillis(kept[1].taken.0 + 12 * 3_600_000);
        let chosen = store.backup_as_of(fourth).await.unwrap();
        assert_eq!(chosen, kept[1]);
        store.restore(&chosen.path).await.unwrap();
        assert_eq!(value(&store, "r", "day").await, Some(Stored::text("3")));
        let before = WallMillis(kept[0].taken.0 - 1);
        let none = store.backup_as_of(before).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        assert!(none.to_string().contains("20260103T000000"), "{none}");
    });
}

#[test]
fn a_corrupt_store_is_put_aside_and_its_backup_takes_its_place() {
    // S17.
    run(async {
        let place = Place::new();
        let options =
            || place.options().backups(place.beside("backups"), Duration::from_secs(60), 3);
        let store = place.open_with(options()).await;
        store.entries("r").insert("a", forever("saved")).await.unwrap();
        store.keep().await.unwrap();
        store.entries("r").insert("b", forever("lost")).await.unwrap();
        drop(store);
        let bytes = fs::read(place.path()).unwrap();
        for broken in [&b"garbage"[..], &bytes[..bytes.len() / 2], b"", &vec![0; bytes.len()]] {
            if broken.is_empty() {
                // An empty file is a store that begins, in a new epoch.
                continue;
            }
            place.clock.advance(Duration::from_millis(1));
            fs::write(place.path(), broken).unwrap();
            let store = place.open_with(options()).await;
            let Condition::Replaced { put_aside: Some(aside), refill: Refill::Backup(_) } =
                store.condition()
            else {
                panic!("{:?}", store.condition());
            };
            assert!(fs::read(aside).unwrap() == broken);
            assert_eq!(value(&store, "r", "a").await, Some(Stored::text("saved")));
            assert_eq!(value(&store, "r", "b").await, None);
        }
        // Without a backup it begins empty.
        fs::write(place.path(), "garbage").unwrap();
        place.clock.advance(Duration::from_millis(1));
        let store = place.open().await;
        assert!(matches!(store.condition(), Condition::Replaced { refill: Refill::Empty, .. }));
        assert_eq!(store.stats().await.unwrap().entries, 0);
    });
}

#[test]
fn faults_that_are_found_behind_are_mended_while_the_store_is_open() {
    // S17.
    run(async {
        let place = Place::new();
        let options = || {
            let options = place.options().backups(place.beside("kept"), Duration::from_secs(60), 3);
            // Nothing of the file stays in memory.
            options.mmap(0).page_cache(0)
        };
        let store = place.open_with(options()).await;
        let text = "x".repeat(20_000);
        let many = (0..50).map(|number| (format!("{number}"), forever(&text)));
        store.entries("r").insert_many(many).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(store.condition(), Condition::Sound);
        drop(store);
        zero_pages(&place.path(), 40..60);
        let store = place.open_with(options()).await;
        assert_eq!(store.condition(), Condition::Unchecked);
        store.keep().await.unwrap();
        let Condition::Replaced { put_aside: Some(aside), refill: Refill::Backup(_) } =
            store.condition()
        else {
            panic!("{:?}", store.condition());
        };
        assert!(aside.exists());
        assert!(store.check(Depth::Full).await.unwrap().is_sound());
        for number in 0..50 {
            let read = value(&store, "r", &number.to_string()).await;
            assert_eq!(read, Some(Stored::text(&*text)), "{number}");
        }
    });
}

#[test]
fn a_number_that_is_remembered_means_no_other_region_after_a_replacement() {
    // SD13.
    run(async {
        let place = Place::new();
        let options = || place.options().mmap(0).page_cache(0);
        let store = place.open_with(options()).await;
        let one = store.entries("one");
        one.insert("k", forever("one")).await.unwrap();
        store.keep().await.unwrap();
        assert_eq!(value(&store, "one", "k").await, Some(Stored::text("one")));
        // All but the header, under the eyes of whoever has it open.
        let pages = fs::metadata(place.path()).unwrap().len() / 4096;
        zero_pages(&place.path(), 1..usize::try_from(pages).unwrap());
        one.get("k").await.unwrap_err();
        // The round itself meets it, and then replaces what is there.
        store.keep().await.unwrap_err();
        assert!(matches!(store.condition(), Condition::Replaced { refill: Refill::Empty, .. }));
        // In another process the first region is another one.
        let other = place.open_with(options()).await;
        other.entries("two").insert("k", forever("two")).await.unwrap();
        assert_eq!(one.get("k").await.unwrap(), None);
        one.insert("k", forever("new")).await.unwrap();
        assert_eq!(value(&other, "two", "k").await, Some(Stored::text("two")));
        assert_eq!(value(&other, "one", "k").await, Some(Stored::text("new")));
        assert_eq!(other.regions().await.unwrap(), ["one", "two"]);
    });
}

/// Overwrites pages of a file that nobody has open.
pub fn zero_pages(path: &Path, pages: std::ops::Range<usize>) {
    let mut bytes = fs::read(path).unwrap();
    bytes[pages.start * 4096..pages.end * 4096].fill(0);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_that_may_not_be_replaced_is_left_as_it_is() {
    run(async {
        let place = Place::new();
        drop(filled(&place).await);
        fs::write(place.path(), "garbage").unwrap();
        let options: StoreOptions =
            place.options().on_corruption(larder_sqlite::store::OnCorruption::Refuse);
        let refused = SqliteStore::open_with(place.path(), options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(place.path()).unwrap(), b"garbage");
    });
}

#[test]
fn a_backup_that_nobody_waits_for_leaves_nothing() {
    run(async {
        let place = Place::new();
        let store = filled(&place).await;
        let text = "x".repeat(100_000);
        let large = (0..40).map(|number| (format!("large {number}"), forever(&text)));
        store.entries("r").insert_many(large).await.unwrap();
        let (told, progress) = mpsc::channel();
        let (go, going) = mpsc::channel::<()>();
        let (own, path) = (store.clone(), place.beside("kept"));
        let progress_told = move |at| {
            told.send(at).unwrap();
            let _ = going.recv();
        };
        let backup = tokio::spawn(async move { own.backup_with(path, progress_told).await });
        tokio::task::yield_now().await;
        progress.recv().unwrap();
        backup.abort();
        backup.await.unwrap_err();
        drop(go);
        // The sender of progress is gone when the thread is done with the copy.
        while progress.recv().is_ok() {}
        let left = names(&place.directory());
        assert!(left.iter().all(|name| name.starts_with("cache.db")), "{left:?}");
    });
}

#[test]
fn a_backup_from_the_future_neither_hastens_backups_nor_outlives_them() {
    // S17: a clock that was set back.
    run(async {
        let place = Place::new();
        let day = Duration::from_secs(86_400);
        let directory = place.beside("backups");
        let store = place.open_with(place.options().backups(&directory, day, 2)).await;
        store.keep().await.unwrap();
        let first = store.backups().await.unwrap();
        let future = directory.join("cache.db.21000101T000000.000Z.backup");
        fs::copy(&first[0].path, &future).unwrap();
        place.clock.advance(Duration::from_secs(1));
        store.keep().await.unwrap();
        assert_eq!(store.backups().await.unwrap().len(), 2, "it is not time yet");
        place.clock.advance(day);
        store.keep().await.unwrap();
        let kept = store.backups().await.unwrap();
        assert_eq!((kept.len(), &kept[0]), (2, &first[0]));
        assert!(!future.exists());
    });
}

#[test]
fn a_backup_that_fails_is_tried_again_after_longer_and_longer() {
    // S17.
    run(async {
        let place = Place::new();
        let directory = place.beside("backups");
        fs::write(&directory, "in the way").unwrap();
        let options = place.options().backups(&directory, Duration::from_secs(3), 2);
        let store = place.open_with(options).await;
        let second = Duration::from_secs(1);
        for pause in [1, 2, 3, 3] {
            store.keep().await.unwrap_err();
            for _ in 0..pause {
                store.keep().await.unwrap();
                place.clock.advance(second);
            }
        }
        fs::remove_file(&directory).unwrap();
        store.keep().await.unwrap();
        assert_eq!(store.backups().await.unwrap().len(), 1);
    });
}

/// The index of those who evict.
fn index(place: &Place) -> String {
    Connection::open(place.path())
        .and_then(|file| {
            let sql = "SELECT group_concat(name) FROM sqlite_schema WHERE name GLOB 'evict_*'";
            file.query_row(sql, [], |row| row.get(0))
        })
        .unwrap()
}

#[test]
fn what_evicts_keeps_its_index_through_tools_and_restores() {
    // S13, S16.
    run(async {
        let place = Place::new();
        let backup = filled(&place).await.backup(place.beside("kept")).await.unwrap().path;
        let frequent = || place.options().eviction(Eviction::LeastFrequent);
        let store = place.open_with(frequent()).await;
        assert_eq!(index(&place), "evict_frequent");
        drop(place.open_with(place.options().eviction(Eviction::OfOthers)).await);
        assert_eq!(index(&place), "evict_frequent");
        store.restore(&backup).await.unwrap();
        assert_eq!(index(&place), "evict_frequent");
        SqliteStore::restore_file(place.path(), &backup).await.unwrap();
        assert_eq!(index(&place), "evict_frequent");
    });
}

#[test]
fn a_file_that_gives_nothing_back_does_not_keep_the_keeper() {
    // SD17: a vacuum by hand may turn it off.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        run(async {
            let place = Place::new();
            drop(filled(&place).await);
            let file = Connection::open(place.path()).unwrap();
            file.execute_batch("PRAGMA journal_mode=DELETE; PRAGMA auto_vacuum=NONE; VACUUM")
                .unwrap();
            drop(file);
            let store = place.open().await;
            let text = "x".repeat(100_000);
            let large = (0..40).map(|number| (format!("large {number}"), forever(&text)));
            store.entries("r").insert_many(large).await.unwrap();
            store.entries("r").remove_matching(&Select::everything()).await.unwrap();
            store.keep().await.unwrap();
            ended.send(()).unwrap();
        });
    });
    end.recv_timeout(Duration::from_secs(60)).expect("a round ends");
}
