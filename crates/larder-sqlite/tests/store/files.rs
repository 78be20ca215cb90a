//! S(c): values that are too large for a row, in files beside the store.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use larder_core::ErrorKind;
use larder_sqlite::store::{
    Condition, Depth, Lifetime, NewEntry, OnCorruption, Select, SqliteStore, StoreOptions, Stored,
};

use rusqlite::Connection;

use crate::place::{Place, forever, run};

/// Values with more bytes are in files.
const ABOVE: u64 = 1000;

pub fn options(place: &Place) -> StoreOptions {
    place.options().file_above(ABOVE).on_corruption(OnCorruption::Refuse)
}

/// A value that is in a file, another one for each word.
pub fn large(word: &str) -> Stored {
    Stored::text(format!("{word} ").repeat(1000))
}

pub fn entry(word: &str) -> NewEntry {
    NewEntry::new(large(word), Lifetime::Forever)
}

pub fn directory_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-values");
    name.into()
}

/// The value files of the store or backup at `path`, sorted.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| {
            path.file_name().unwrap().len() == 32 || path.extension().is_some_and(|e| e == "part")
        })
        .collect();
    files.sort_unstable();
    files
}

pub async fn sound(store: &SqliteStore) {
    let report = store.check(Depth::Full).await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[test]
fn a_large_value_is_in_a_file_and_everything_reads_it() {
    run(async {
        let place = Place::new();
        let store = place.open_with(options(&place)).await;
        let entries = store.entries("r");
        entries.insert("small", forever(&"x".repeat(1000))).await.unwrap();
        assert!(!directory_of(&place.path()).exists(), "nothing is made for what is small");
        entries.insert("a", entry("a").tags(["t"])).await.unwrap();
        entries.insert_many([("b", entry("b")), ("c", forever("c"))]).await.unwrap();
        assert_eq!(files(&place.path()).len(), 2);
        assert_eq!(fs::read(&files(&place.path())[0]).unwrap(), large("a").bytes);
        assert_eq!(entries.get("a").await.unwrap(), Some(large("a")));
        let many = entries.get_many(["b", "none", "c", "a"]).await.unwrap();
        assert_eq!(many, [Some(large("b")), None, Some(Stored::text("c")), Some(large("a"))]);
        let whole = entries.entry("a").await.unwrap().unwrap();
        assert_eq!((whole.value, whole.meta.size_bytes), (large("a"), 2000));
        assert!(
            entries.incr("a", 1, Lifetime::Forever).await.unwrap_err().kind()
                == ErrorKind::Conflict
        );
        // Counted as any other bytes.
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.entries, stats.bytes), (4, 5 + 1000 + 1 + 2000 + 1 + 2000 + 2));
        assert_eq!((stats.files, stats.file_bytes), (2, 4000));
        let popped = entries.pop("b").await.unwrap().unwrap();
        assert_eq!(popped.value, large("b"));
        assert_eq!(entries.get("b").await.unwrap(), None);
        store.keep().await.unwrap();
        assert_eq!(files(&place.path()).len(), 1);
        // And again, by somebody who was not there when they were written.
        drop((entries, store));
        let store = place.open_with(options(&place)).await;
        assert_eq!(store.entries("r").get("a").await.unwrap(), Some(large("a")));
        let report = store.check(Depth::Full).await.unwrap();
        assert_eq!((report.files, report.strays, report.findings), (1, 0, Vec::new()));
    });
}

#[test]
fn what_is_small_when_it_is_compressed_needs_no_file() {
    run(async {
        let place = Place::new();
        let store = place.open_with(options(&place).compress_above(1000)).await;
        let entries = store.entries("r");
        entries.insert("a", entry("a")).await.unwrap();
        assert_eq!(files(&place.path()).len(), 0);
        // Noise is compressed to half by its alphabet, and needs one.
        let noise: String = (0..100).map(|n: u32| noise(n)).collect();
        let value = Stored::text(&*noise);
        entries.insert("b", NewEntry::new(value.clone(), Lifetime::Forever)).await.unwrap();
        let length = fs::metadata(&files(&place.path())[0]).unwrap().len();
        assert!(ABOVE < length && length < noise.len() as u64, "{length}");
        assert_eq!(entries.entry("b").await.unwrap().unwrap().meta.size_bytes, length);
        for value in
            [entries.get("b").await.unwrap(), entries.pop("b").await.unwrap().map(|e| e.value)]
        {
            assert_eq!(value, Some(Stored::text(&*noise)));
        }
    });
}

/// 64 hexadecimal digits that nobody can foresee.
fn noise(number: u32) -> String {
    let mut state = u64::from(number) + 1;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        format!("{:016x}", state ^ (state >> 29))
    };
    (0..4).map(|_| next()).collect()
}

/// Files that are known to be needed no more.
fn loose(place: &Place) -> i64 {
    let file = Connection::open(place.path()).unwrap();
    file.query_row("SELECT count(*) FROM loose", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_file_goes_with_its_entry_whatever_became_of_it() {
    run(async {
        let place = Place::new();
        let store = place.open_with(options(&place).max_entries(6)).await;
        let entries = store.entries("r");
        let there = async || {
            store.keep().await.unwrap();
            sound(&store).await;
            files(&place.path()).len()
        };
        for key in ["a", "b", "c", "d", "e", "f"] {
            entries.insert(key, entry(key).tags(["t"])).await.unwrap();
        }
        assert_eq!(there().await, 6);
        place.clock.advance(Duration::from_millis(1));
        entries.insert("a", entry("again")).await.unwrap();
        assert_eq!(entries.get("a").await.unwrap(), Some(large("again")));
        assert_eq!(loose(&place), 1, "the old one is known to go");
        assert_eq!(there().await, 6);
        entries.insert("a", forever("small")).await.unwrap();
        assert_eq!(there().await, 5);
        entries.remove("b").await.unwrap();
        assert_eq!(there().await, 4);
        // Evicted for two that are small.
        entries.insert("g", forever("g")).await.unwrap();
        entries.insert("h", forever("h")).await.unwrap();
        assert_eq!(there().await, 3);
        let short = Lifetime::For(Duration::from_millis(10));
        entries.touch("d", short).await.unwrap();
        place.clock.advance(Duration::from_millis(10));
        assert_eq!(there().await, 2);
        entries.add("e", entry("not written")).await.unwrap();
        assert_eq!(there().await, 2);
        let tagged = Select::everything().any_of(["t"]);
        entries.remove_matching(&tagged).await.unwrap();
        assert_eq!(there().await, 0);
        assert_eq!(store.stats().await.unwrap().file_bytes, 0);
    });
}

#[test]
fn a_write_that_fails_leaves_no_file() {
    run(async {
        let place = Place::new();
        let options =
            options(&place).max_bytes(9_000).eviction(larder_sqlite::store::Eviction::Refuse);
        let store = place.open_with(options).await;
        let entries = store.entries("r");
        for key in ["a", "b", "c", "d"] {
            entries.insert(key, entry(key)).await.unwrap();
        }
        let refused = entries.insert("e", entry("e")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Full);
        // One that can never fit is not even written.
        let over = Stored::text("x".repeat(5000));
        let refused =
            entries.insert("f", NewEntry::new(over, Lifetime::Forever)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert_eq!(files(&place.path()).len(), 5);
        store.keep().await.unwrap();
        assert_eq!(files(&place.path()).len(), 4);
        sound(&store).await;
    });
}

#[test]
fn a_reader_beside_writers_gets_a_whole_value_or_a_miss() {
    // MD1 of values in files: never another's bytes, never an error.
    run(async {
        let place = Place::new();
        let store = place.open_with(options(&place)).await;
        let words: Vec<String> = (0..4).map(|number| format!("word{number}")).collect();
        let values: Vec<Stored> = words.iter().map(|word| large(word)).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                run(async {
                    let entries = store.entries("r");
                    for round in 0..300 {
                        let word = &words[round % words.len()];
                        match round % 7 {
                            6 => drop(entries.remove("k").await.unwrap()),
                            _ => drop(entries.insert("k", entry(word)).await.unwrap()),
                        }
                        if round % 3 == 0 {
                            // Removes the files that are not needed any more at once.
                            store.keep().await.unwrap();
                        }
                    }
                    is_over.store(true, Ordering::Relaxed);
                });
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    run(async {
                        let entries = store.entries("r");
                        let mut seen = 0;
                        while !is_over.load(Ordering::Relaxed) {
                            let many = entries.get_many(["k", "k"]).await.unwrap();
                            let one = entries.get("k").await.unwrap();
                            let whole = entries.entry("k").await.unwrap().map(|entry| entry.value);
                            for value in many.into_iter().chain([one, whole]).flatten() {
                                assert!(values.contains(&value));
                                seen += 1;
                            }
                        }
                        assert!(0 < seen);
                    });
                });
            }
        });
        assert!(!matches!(store.condition(), Condition::Corrupt(_) | Condition::Mended(_)));
    });
}
