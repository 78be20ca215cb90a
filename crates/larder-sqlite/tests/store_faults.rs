//! A store on a disk that is full, that fails, that may only be read, or that somebody else holds.
//!
//! What needs a process of its own (limits, other users, other mounts) is done by this test, which
//! starts itself again. **Invariant**: whatever the fault, the error has its documented kind, what
//! was acknowledged is there, and the store goes on when the fault has gone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is unexpected ends it")]

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use larder_sqlite::store::{Depth, Lifetime, NewEntry, Select, SqliteStore, StoreOptions, Stored};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

const PATH: &str = "LARDER_STORE_FAULTS_PATH";
const WORK: &str = "LARDER_STORE_FAULTS_WORK";

/// The user that nobody is, on every Linux.
const NOBODY: u32 = 65_534;

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

fn entry(text: &str) -> NewEntry {
    NewEntry::new(Stored::text(text), Lifetime::Forever)
}

/// This test again, doing `work` with the store at `path`.
fn again(mut command: Command, path: &Path, work: &str) -> String {
    let output = command.env(PATH, path).env(WORK, work).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    said
}

const ARGUMENTS: [&str; 3] = ["--exact", "a_process_works_under_a_fault", "--nocapture"];

/// What runs in the other processes. Does nothing unless it was started by the tests below.
#[test]
fn a_process_works_under_a_fault() {
    let Ok(path) = env::var(PATH) else { return };
    let path = PathBuf::from(path);
    match env::var(WORK).unwrap().as_str() {
        "fill" => run(fill(&path)),
        "fill with files" => run(fill_with_files(&path)),
        _ => run(open_and_write(&path)),
    }
}

/// Writes until nothing fits, and goes on as far as one can.
async fn fill(path: &Path) {
    let options = StoreOptions::new().keep_every(Duration::from_secs(3600)).mmap(0);
    let ballast = path.with_file_name("ballast");
    fs::write(&ballast, vec![1; 1_900_000]).unwrap();
    let store = SqliteStore::open_with(path, options).await.unwrap();
    let epoch = store.epoch().await.unwrap();
    let entries = store.entries("r").durable();
    let text = "x".repeat(50_000);
    let mut count = 0;
    let error = loop {
        match entries.insert(format!("{count}"), entry(&text)).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 10_000, "the disk was never full");
    };
    // Nothing of a bulk write that does not fit.
    let bulk = (0..50).map(|number| (format!("bulk {number}"), entry(&text)));
    let refused = entries.insert_many(bulk).await.unwrap_err();
    assert_eq!(refused.kind(), error.kind());
    let everything = Select::everything();
    assert_eq!(entries.count(&everything).await.unwrap(), count);
    for number in 0..count {
        let read = entries.get(&format!("{number}")).await.unwrap();
        assert_eq!(read, Some(Stored::text(&*text)), "{number} of {count}");
    }
    if error.kind() == ErrorKind::Full {
        backup_in_vain(&store).await;
    }
    // On a full disk all the room is the log's, which cannot be copied: somebody has to give some.
    fs::remove_file(&ballast).unwrap();
    // What cannot be written for want of room does not keep the log from being copied.
    store.keep().await.ok();
    store.keep().await.unwrap();
    assert_eq!(entries.remove_matching(&everything).await.unwrap(), count);
    store.keep().await.unwrap();
    entries.insert("after", entry(&text)).await.unwrap();
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
    drop(store);
    let store = SqliteStore::open(path).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), epoch);
    assert!(store.entries("r").contains("after").await.unwrap());
    println!("fault {:?} after {count}", error.kind());
}

/// Writes values in files until nothing fits, and goes on as far as one can.
async fn fill_with_files(path: &Path) {
    let options = StoreOptions::new()
        .keep_every(Duration::from_secs(3600))
        .mmap(0)
        .compress_above(u64::MAX)
        .file_above(10_000);
    let store = SqliteStore::open_with(path, options).await.unwrap();
    let entries = store.entries("r").durable();
    let text = "x".repeat(300_000);
    let mut count = 0;
    let error = loop {
        match entries.insert(format!("{count}"), entry(&text)).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 100, "the disk was never full");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    let files = || {
        let names = fs::read_dir(path.with_file_name("cache.db-values")).unwrap().flatten();
        names.filter(|file| file.metadata().unwrap().len() == 300_000).count()
    };
    // One by one as a bulk write got them, and not one of them stays.
    let bulk = (0..50).map(|number| (format!("bulk {number}"), entry(&text)));
    assert_eq!(entries.insert_many(bulk).await.unwrap_err().kind(), ErrorKind::Full);
    // What is there is given back; over it, nothing fits either, and it stays.
    let refused = entries.insert("0", entry(&"y".repeat(300_000))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    for number in 0..count {
        let read = entries.get(&format!("{number}")).await.unwrap();
        assert_eq!(read, Some(Stored::text(&*text)), "{number} of {count}");
    }
    assert!(entries.remove("0").await.unwrap());
    store.keep().await.unwrap();
    assert_eq!(files() + 1, count);
    entries.insert("after", entry(&text)).await.unwrap();
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
    println!("fault {:?} after {count}", error.kind());
}

/// A backup that does not fit leaves nothing.
async fn backup_in_vain(store: &SqliteStore) {
    let refused = store.backup(store.path().with_file_name("kept")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    let left = fs::read_dir(store.path().parent().unwrap()).unwrap().flatten();
    let names: Vec<_> = left.map(|file| file.file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("kept")), "{names:?}");
}

/// Says what happens to one who opens a store and writes to it.
async fn open_and_write(path: &Path) {
    let write = async || -> Result<(), Error> {
        let store = SqliteStore::open(path).await?;
        store.entries("r").insert("a", entry("x")).await.map(drop)
    };
    match write().await {
        Ok(()) => println!("fault none"),
        Err(error) => println!("fault {:?}: {error}", error.kind()),
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_kind_and_loses_nothing() {
    // S22, SD18.
    on_a_small_disk("fill");
}

#[test]
fn a_disk_that_is_full_of_value_files_loses_nothing() {
    // SD18.
    on_a_small_disk("fill with files");
}

/// Does `work` on a disk of four mebibytes.
fn on_a_small_disk(work: &str) {
    let directory = TempDir::new("store-faults").unwrap();
    // A mount in a name space of its own is gone when the process is.
    let script = "mount -t tmpfs -o size=4m none \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]);
    command.arg(directory.path()).arg(env::current_exe().unwrap()).args(ARGUMENTS);
    let is_possible = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    if !is_possible.is_ok_and(|status| status.success()) {
        println!("this machine lets nobody mount: a file that may not grow stands for a full disk");
        return;
    }
    let said = again(command, &directory.join("cache.db"), work);
    assert!(said.contains("fault Full after"), "{said}");
}

#[test]
fn a_disk_that_fails_is_unavailable_and_loses_nothing() {
    // SD18. A file that may not grow fails with an error that is none of a full disk.
    let directory = TempDir::new("store-faults").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 4000; exec \"$@\"", "sh"]);
    command.arg(env::current_exe().unwrap()).args(ARGUMENTS);
    let said = again(command, &directory.join("cache.db"), "fill");
    assert!(said.contains("fault Unavailable after"), "{said}");
}

/// What `work` as a user who may not do everything says about a store with such modes.
fn with_modes(directory_mode: u32, file_mode: u32) -> String {
    let directory = TempDir::new("store-faults").unwrap();
    let path = directory.join("cache.db");
    run(async {
        let store = SqliteStore::open(&path).await.unwrap();
        store.entries("r").insert("a", entry("x")).await.unwrap();
    });
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(ARGUMENTS);
    let files = fs::read_dir(directory.path()).unwrap().flatten().map(|file| file.path());
    for file in files.chain([directory.path().to_owned()]) {
        // Whoever may do everything must become somebody else; others need not.
        if std::os::unix::fs::chown(&file, Some(NOBODY), Some(NOBODY)).is_ok() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mode = if file == directory.path() { directory_mode } else { file_mode };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = again(command, &path, "open");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    said
}

#[test]
fn what_may_only_be_read_is_an_error_of_its_kind() {
    // SD18.
    assert!(with_modes(0o755, 0o644).contains("fault none"));
    let said = with_modes(0o755, 0o444);
    assert!(said.contains("fault ReadOnly"), "{said}");
    let said = with_modes(0o555, 0o644);
    assert!(said.contains("fault ReadOnly") && said.contains("its directory"), "{said}");
    let said = with_modes(0o755, 0o000);
    assert!(said.contains("fault Unavailable"), "{said}");
}

#[test]
fn a_lock_that_is_held_too_long_is_unavailable_and_reads_go_on() {
    // S16b, SD15: the next write is not disturbed by the one that failed.
    run(async {
        let directory = TempDir::new("store-faults").unwrap();
        let path = directory.join("cache.db");
        let options = StoreOptions::new().busy_timeout(Duration::from_millis(50));
        let store = SqliteStore::open_with(&path, options).await.unwrap();
        let entries = store.entries("r");
        entries.insert("a", entry("before")).await.unwrap();
        let backup = store.backup(directory.join("kept")).await.unwrap().path;
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..2 {
            let refused = entries.insert("a", entry("during")).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
            assert!(refused.is_retryable());
        }
        let refused = store.restore(&backup).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert_eq!(entries.get("a").await.unwrap(), Some(Stored::text("before")));
        assert!(store.check(Depth::Full).await.unwrap().is_sound());
        store.backup(&backup).await.unwrap();
        other.execute_batch("ROLLBACK").unwrap();
        entries.insert("a", entry("after")).await.unwrap();
        assert_eq!(entries.get("a").await.unwrap(), Some(Stored::text("after")));
        store.restore(&backup).await.unwrap();
        assert_eq!(entries.get("a").await.unwrap(), Some(Stored::text("before")));
    });
}

#[test]
fn a_lock_that_is_given_back_in_time_is_waited_for() {
    // S16b.
    let directory = TempDir::new("store-faults").unwrap();
    let path = directory.join("cache.db");
    let mut store = None;
    run(async { store = Some(SqliteStore::open(&path).await.unwrap()) });
    let entries = store.as_ref().unwrap().entries("r");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (wrote, written) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            run(async {
                entries.insert("a", entry("x")).await.unwrap();
                wrote.send(()).unwrap();
            });
        });
        // Longer than any step of waiting, and nothing is written.
        written.recv_timeout(Duration::from_millis(300)).unwrap_err();
        other.execute_batch("COMMIT").unwrap();
        written.recv().unwrap();
    });
}
