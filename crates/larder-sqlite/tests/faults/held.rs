//! A write lock that another process holds: as long as one waits for it, and longer.
//!
//! The wait is `StoreOptions::busy_timeout`, so that the test takes a tenth of a second; with the
//! full budget the lock is also held for ten seconds, with the settings that a user has.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdout},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use larder_core::ErrorKind;
use larder_sqlite::store::{SqliteStore, StoreOptions, Stored};
use larder_testkit::{temp::TempDir, wait::block_on};
use rusqlite::Connection;

use crate::{disk, kept::entry};

/// Holds the write lock until nobody is there to say how long.
pub fn hold(directory: &Path) {
    let held = Connection::open(directory.join("cache.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("held");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    held.execute_batch("ROLLBACK").unwrap();
}

/// A process that has the lock, and what it says.
struct Holder(Child, BufReader<ChildStdout>);

impl Holder {
    fn start(directory: &Path) -> Self {
        let mut child = disk::start("hold", directory);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        assert!(out.by_ref().lines().map_while(Result::ok).any(|line| line.contains("held")));
        Self(child, out)
    }

    fn gives_it_back(mut self) {
        drop(self.0.stdin.take());
        std::io::copy(&mut self.1, &mut std::io::sink()).unwrap();
        self.0.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how long a user waits")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_lock_of_another_process_is_waited_for_so_long_and_no_longer() {
    // S16b, S11, SD15.
    let directory = TempDir::new("held").unwrap();
    let path = directory.join("cache.db");
    let wait = Duration::from_millis(100);
    let options = StoreOptions::new().busy_timeout(wait);
    let store = block_on(SqliteStore::open_with(&path, options)).unwrap();
    let entries = store.entries("r");
    block_on(entries.insert("a", entry("before"))).unwrap();
    let holder = Holder::start(directory.path());
    let began = now();
    let refused = block_on(entries.insert("a", entry("during"))).unwrap_err();
    let waited = began.elapsed();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    // SQLite waits in steps, the last of which may be cut short. Ten times as long would be a hang.
    assert!(wait / 2 < waited && waited < wait * 10, "waited for {waited:?}");
    assert_eq!(block_on(entries.get("a")).unwrap(), Some(Stored::text("before")));
    holder.gives_it_back();
    block_on(entries.insert("a", entry("after"))).unwrap();
    assert_eq!(block_on(entries.get("a")).unwrap(), Some(Stored::text("after")));
}

#[test]
fn a_lock_that_is_held_for_ten_seconds_delays_writes_and_nothing_else() {
    // S16b, S19. Half a second with the small budget.
    let held = match env::var("LARDER_SOAK_BUDGET").as_deref() {
        Ok("full") => Duration::from_secs(10),
        _ => Duration::from_millis(500),
    };
    let directory = TempDir::new("held").unwrap();
    let store = block_on(SqliteStore::open(directory.join("cache.db"))).unwrap();
    let entries = store.entries("r");
    block_on(entries.insert("a", entry("before"))).unwrap();
    let holder = Holder::start(directory.path());
    let began = now();
    let (told, written) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            block_on(entries.insert("b", entry("written"))).unwrap();
            told.send(now()).unwrap();
        });
        let mut slowest = Duration::ZERO;
        while began.elapsed() < held {
            let asked = now();
            assert_eq!(block_on(entries.get("a")).unwrap(), Some(Stored::text("before")));
            slowest = slowest.max(asked.elapsed());
            written.try_recv().unwrap_err();
        }
        let given_back = now();
        holder.gives_it_back();
        let waited = written.recv_timeout(Duration::from_secs(5)).unwrap() - given_back;
        println!("held for {held:?}: slowest read {slowest:?}, written {waited:?} after it");
        assert!(slowest < Duration::from_secs(1), "a read took {slowest:?}");
        assert!(waited < Duration::from_secs(1), "a write took {waited:?} more");
    });
}
