//! From one number of files to another.
//!
//! **Invariant** under test: every entry is there before and after with all that is known of it,
//! and whenever it is killed, the store is the one or the other.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use larder_core::{ErrorKind, WallMillis, store::Store};
use larder_sqlite::store::{
    Depth, Lifetime, NewEntry, OnCorruption, Select, SqliteStore, StoreOptions, Stored, reshard,
};
use larder_testkit::temp::TempDir;

use crate::place::{Place, forever, run};

const PATH: &str = "LARDER_RESHARD_PATH";
const COUNT: &str = "LARDER_RESHARD_COUNT";
const STOP: &str = "LARDER_RESHARD_STOP";

fn entry(number: u64) -> (String, NewEntry) {
    let lifetime = match number % 3 {
        0 => Lifetime::Forever,
        // Far from now by any clock.
        _ => Lifetime::Until(WallMillis(1 << 42)),
    };
    let entry = NewEntry::new(Stored::text(number.to_string()), lifetime);
    let entry = entry.tags([format!("t{}", number % 5), "all".to_owned()]);
    (format!("k{number:05}"), if number.is_multiple_of(7) { entry.pinned() } else { entry })
}

/// All entries with all that is known of them.
async fn content(store: &SqliteStore) -> Vec<String> {
    let mut lines = Vec::new();
    for region in store.regions().await.unwrap() {
        let entries = store.entries(&*region);
        for (key, meta) in entries.page(&Select::everything(), None, 100_000).await.unwrap() {
            let value = entries.entry(&key).await.unwrap().unwrap().value;
            lines.push(format!("{region} {key} {meta:?} {value:?}"));
        }
        lines.push(format!("{:?}", entries.tags(None, 1000).await.unwrap()));
    }
    lines
}

#[test]
fn all_that_is_known_of_an_entry_goes_along() {
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().shards(1)).await;
        for region in ["a", "b"] {
            store.entries(region).insert_many((0..200).map(entry)).await.unwrap();
        }
        store.entries("a").get("k00007").await.unwrap();
        store.put("c", b"bytes", vec![7], None, larder_core::claim::Fence::Open).await.unwrap();
        store.entries("b").remove("k00003").await.unwrap();
        store.keep().await.unwrap();
        let before = content(&store).await;
        drop(store);
        for (from, to) in [(1, 4), (4, 3), (3, 1), (1, 2), (2, 5)] {
            let mut told = (0, 0);
            let (tell, hear) = std::sync::mpsc::channel();
            let progress = move |done, all| tell.send((done, all)).unwrap();
            let done = reshard(place.path(), to, progress).await.unwrap();
            hear.try_iter().for_each(|step| told = step);
            assert_eq!((done.before, done.entries, done.left), (from, 400, 0));
            assert_eq!(told, (400, 400));
            let store = place.open_with(place.options().shards(to)).await;
            assert_eq!(store.paths().len(), to as usize);
            assert_eq!(content(&store).await, before, "{from} to {to}");
            assert_eq!(store.get("c", b"bytes").await.unwrap(), Some(vec![7]));
            let report = store.check(Depth::Full).await.unwrap();
            assert!(report.is_sound(), "{report:?}");
            drop(store);
            let all = fs::read_dir(place.directory()).unwrap();
            let names: Vec<_> = all.map(|file| file.unwrap().file_name()).collect();
            let old = format!("of{from}");
            let is_left = |name: &&std::ffi::OsString| name.to_str().unwrap().contains(&old);
            assert_eq!(names.iter().find(is_left), None);
        }
        let same = reshard(place.path(), 5, |_, _| {}).await.unwrap();
        assert_eq!((same.before, same.entries), (5, 0));
    });
}

#[test]
fn values_in_files_of_their_own_go_along_and_leave_nothing() {
    run(async {
        let place = Place::new();
        let options = |count| place.options().shards(count).file_above(1000);
        let text = |number: u32| number.to_string().repeat(1000);
        let store = place.open_with(options(1)).await;
        let entries = (0..20).map(|number| (number.to_string(), forever(&text(number + 10))));
        store.entries("r").insert_many(entries).await.unwrap();
        drop(store);
        for to in [3, 2, 1] {
            reshard(place.path(), to, |_, _| {}).await.unwrap();
            let store = place.open_with(options(to)).await;
            let backup = store.backup(place.beside("copy")).await.unwrap();
            assert!(40_000 < backup.bytes(), "{}", backup.bytes());
            store.entries("r").remove_matching(&Select::everything()).await.unwrap();
            store.keep().await.unwrap();
            store.restore(&backup.path).await.unwrap();
            for number in 0..20 {
                let value = store.entries("r").get(&number.to_string()).await.unwrap().unwrap();
                assert_eq!(value.bytes, text(number + 10).as_bytes(), "{number} of {to}");
            }
            // What was taken over and what is left of the old files is removed behind.
            store.keep().await.unwrap();
            let report = store.check(Depth::Full).await.unwrap();
            assert!(report.is_sound(), "{report:?}");
            assert_eq!((report.files, report.strays), (20, 0));
        }
    });
}

#[test]
fn a_store_that_somebody_has_open_is_left_as_it_is() {
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.entries("r").insert("k", forever("x")).await.unwrap();
        let error = reshard(place.path(), 2, |_, _| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(store.entries("r").contains("k").await.unwrap());
        drop(store);
        reshard(place.path(), 2, |_, _| {}).await.unwrap();
        let missing = reshard(place.beside("none"), 2, |_, _| {}).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let silly = reshard(place.path(), 0, |_, _| {}).await.unwrap_err();
        assert_eq!(silly.kind(), ErrorKind::Config);
    });
}

#[test]
fn what_can_be_invalidated_is_left_and_counted() {
    use larder_core::{
        Dependency, DependencySet, Position,
        store::{Follows, Judgement, NewRecord},
    };
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().shards(1)).await;
        store.entries("r").insert("k", forever("x")).await.unwrap();
        {
            let attached = store.attach(&[], Follows::Places).unwrap().unwrap();
            let on: DependencySet = [Dependency::tag("t")].into_iter().collect();
            let record = NewRecord {
                bytes: vec![1],
                until: None,
                digests: on.lasting_digests(10),
                schemes: Vec::new(),
                judge: Box::new(|_| Judgement::Right(Position::START)),
                fence: larder_core::claim::Fence::Open,
            };
            attached.tracked.put("r", b"tracked", record).await.unwrap();
        }
        drop(store);
        let done = reshard(place.path(), 2, |_, _| {}).await.unwrap();
        assert_eq!((done.entries, done.left), (1, 1));
        let store = place.open_with(place.options().shards(2)).await;
        assert_eq!(store.get("r", b"tracked").await.unwrap(), None);
    });
}

/// Not a test of itself: what [`killed_at_any_moment_it_is_the_old_or_the_new`] kills.
#[test]
fn child_that_reshards() {
    let Ok(path) = env::var(PATH) else { return };
    let number = |name| env::var(name).unwrap().parse::<u32>().unwrap();
    let (count, stop, mut words) = (number(COUNT), number(STOP), 0);
    run(async {
        let progress = move |_, _| {
            words += 1;
            println!("word {words}");
            if words == stop {
                loop {
                    std::thread::park();
                }
            }
        };
        reshard(path, count, progress).await.unwrap();
    });
}

const ENTRIES: u64 = 3000;

/// Words of a run: one for each thousand, one at the end of them, one before the step that decides
/// and one after it.
const WORDS: u32 = 6;

/// Reshards in a process that is killed once it said `killed_at`; where it stops if that is
/// `stopped_at`.
fn reshard_and_kill(path: &Path, count: u32, killed_at: u32, stopped_at: u32) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "resharding::child_that_reshards", "--nocapture"])
        .env(PATH, path)
        .env(COUNT, count.to_string())
        .env(STOP, stopped_at.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = format!("word {killed_at}");
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with(&last)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_at_any_moment_it_is_the_old_or_the_new() {
    let directory = TempDir::new("reshard").unwrap();
    let path = directory.join("cache.db");
    let options = || StoreOptions::new().shards_as_found().on_corruption(OnCorruption::Refuse);
    run(async {
        let store = SqliteStore::open_with(&path, options()).await.unwrap();
        store.entries("r").insert_many((0..ENTRIES).map(entry)).await.unwrap();
    });
    let mut kept = 1;
    // Each step of it, both ways; and the one that decides, somewhere within.
    let stops = (1..=WORDS).flat_map(|word| [(word, word), (word, word)]);
    let steps = stops.chain([(WORDS - 1, 0); 6]);
    for (killed_at, stopped_at) in steps {
        let (before, after) = (kept, if kept == 1 { 3 } else { 1 });
        reshard_and_kill(&path, after, killed_at, stopped_at);
        run(async {
            let store = SqliteStore::open_with(&path, options()).await.unwrap();
            kept = u32::try_from(store.paths().len()).unwrap();
            match stopped_at {
                0 => assert!([before, after].contains(&kept), "{kept}"),
                WORDS => assert_eq!(kept, after),
                word => assert_eq!(kept, before, "{word}"),
            }
            let count = store.entries("r").count(&Select::everything()).await.unwrap();
            assert_eq!(count, ENTRIES, "killed at {killed_at}");
            let report = store.check(Depth::Full).await.unwrap();
            assert!(report.is_sound(), "killed at {killed_at}: {report:?}");
        });
        if before == kept {
            // Run again it comes to its end, and leaves nothing of the one that did not.
            run(async {
                reshard(&path, after, |_, _| {}).await.unwrap();
            });
            kept = after;
            let files = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
            let strays = format!("of{}", if after == 1 { 3 } else { 2 });
            let is_stray = |file: &PathBuf| file.to_str().unwrap().contains(&strays);
            assert_eq!(files.filter(is_stray).count(), 0);
        }
    }
}
