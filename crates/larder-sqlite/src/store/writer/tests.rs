//! What the writer does when the disk ends a transaction in the middle of a group, and at its end.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use larder_core::{Clock, ErrorKind};
use larder_testkit::temp::TempDir;

use super::super::{
    entry::{Lifetime, NewEntry, Stored},
    handle::SqliteStore,
    options::{Durability, StoreOptions},
    writer::{Effort, Writer, queue::WAITING_BYTES_MAX},
};

#[tokio::test]
async fn a_transaction_that_the_disk_ends_takes_the_whole_group_and_nothing_after_it() {
    let directory = TempDir::new("group").unwrap();
    let options = StoreOptions::new().compress_above(u64::MAX).file_above(u64::MAX);
    let store = SqliteStore::open_with(directory.join("cache.db"), options).await.unwrap();
    let entries = store.entries("r");
    let entry = |bytes: usize| NewEntry::new(Stored::bytes(vec![7; bytes]), Lifetime::Forever);
    entries.insert("before", entry(10)).await.unwrap();
    // A disk that is full after a few more pages.
    let queue = entries.queue();
    let pages = queue.alone(|connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages + 4).unwrap();
        Ok(pages)
    });
    pages.await.unwrap();
    // The writer is kept busy until all three wait, so that they are one group.
    let (go, wait) = mpsc::channel::<()>();
    let busy = queue.alone(move |_| {
        wait.recv().ok();
        Ok(())
    });
    let first = entries.insert("first", entry(10));
    let large = entries.insert("large", entry(1 << 20));
    let last = entries.insert("last", entry(10));
    let release = async move {
        go.send(()).unwrap();
    };
    let (busy, first, large, last, ()) = tokio::join!(biased; busy, first, large, last, release);
    busy.unwrap();
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(large.unwrap_err().kind(), ErrorKind::Full);
    // It was not begun with the others, so it is written by itself.
    last.unwrap();
    assert!(entries.get("first").await.unwrap().is_none());
    let there = ["before", "last"].map(|key| entries.contains(key));
    for there in there {
        assert!(there.await.unwrap());
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.bytes), (2, 6 + 10 + 4 + 10));
}

#[tokio::test]
async fn the_last_handle_may_be_dropped_while_a_write_is_under_way() {
    let directory = TempDir::new("last").unwrap();
    let store =
        SqliteStore::open_with(directory.join("cache.db"), StoreOptions::new()).await.unwrap();
    let entries = store.entries("r");
    let entry = NewEntry::new(Stored::text("x"), Lifetime::Forever);
    entries.insert("read", entry.clone()).await.unwrap();
    // Something for the keeper's last round to write.
    entries.get("read").await.unwrap();
    let (begun, has_begun) = mpsc::channel::<()>();
    let (go, wait) = mpsc::channel::<()>();
    let writing = entries.clone();
    let task = tokio::spawn(async move {
        writing
            .write(Effort::MUCH, move |_, _| {
                begun.send(()).ok();
                wait.recv().ok();
                Ok(())
            })
            .await
    });
    while has_begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    task.abort();
    drop(task.await);
    // Whoever drops the last handle waits for the writer, on a thread of its own. Were the write an
    // owner too, it would be the last one, inside its transaction on the writer's thread.
    let inner = Arc::downgrade(&entries.inner);
    let dropped = std::thread::spawn(move || drop((store, entries)));
    while 1 < inner.strong_count() {
        std::thread::yield_now();
    }
    go.send(()).unwrap();
    dropped.join().unwrap();
    let options = StoreOptions::new().busy_timeout(Duration::from_secs(1));
    let again = SqliteStore::open_with(directory.join("cache.db"), options).await.unwrap();
    again.entries("r").insert("again", entry).await.unwrap();
}

#[tokio::test]
async fn who_waited_too_long_is_told_so_without_waiting_for_a_foreign_lock() {
    // SD3: every wait is bounded.
    let directory = TempDir::new("late").unwrap();
    let (path, clock) = (directory.join("cache.db"), Clock::manual());
    let limit = Duration::from_secs(5);
    let options = StoreOptions::new().clock(clock.clone()).busy_timeout(limit);
    let options = options.keep_every(Duration::from_secs(3600));
    let store = SqliteStore::open_with(&path, options).await.unwrap();
    let entries = store.entries("r");
    let (go, wait) = mpsc::channel::<()>();
    let busy = entries.queue().alone(move |_| {
        wait.recv().ok();
        Ok(())
    });
    let entry = NewEntry::new(Stored::text("x"), Lifetime::Forever);
    let late = entries.insert("late", entry.clone());
    let foreign = rusqlite::Connection::open(&path).unwrap();
    let release = async {
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        clock.advance(limit + Duration::from_millis(1));
        go.send(()).unwrap();
    };
    let (busy, late, ()) = tokio::join!(biased; busy, late, release);
    busy.unwrap();
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    foreign.execute_batch("ROLLBACK").unwrap();
    entries.insert("in time", entry).await.unwrap();
    assert!(!entries.contains("late").await.unwrap());
}

#[test]
fn a_writer_that_is_about_to_wait_hears_that_it_is_over() {
    // S21: closing ends.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        // Its end meets each moment of its beginning.
        for turns in 0..3_000 {
            let connection = rusqlite::Connection::open_in_memory().unwrap();
            let (access, counters) = (Arc::default(), Arc::default());
            let options = StoreOptions::new();
            let writer = Writer::start(connection, "".into(), options, access, counters).unwrap();
            (0..turns % 500 * 20).for_each(|_| std::hint::spin_loop());
            drop(writer);
        }
        ended.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(20)).expect("each of them ends");
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes() {
    // SD3: everything has a limit.
    let directory = TempDir::new("bytes").unwrap();
    let store =
        SqliteStore::open_with(directory.join("cache.db"), StoreOptions::new()).await.unwrap();
    let entries = store.entries("r");
    let queue = entries.queue();
    let (go, wait) = mpsc::channel::<()>();
    let busy = queue.alone(move |_| {
        wait.recv().ok();
        Ok(())
    });
    // One alone may be larger than all that may wait.
    let large =
        queue.write(Durability::Relaxed, Effort::Much { bytes: 2 * WAITING_BYTES_MAX }, |_| Ok(()));
    let more = queue.write(Durability::Relaxed, Effort::Much { bytes: 1 }, |_| Ok(()));
    let more = async {
        let refused = more.await;
        go.send(()).unwrap();
        refused
    };
    let (busy, large, more) = tokio::join!(biased; busy, large, more);
    busy.unwrap();
    large.unwrap();
    assert_eq!(more.unwrap_err().kind(), ErrorKind::Overloaded);
    for _ in 0..3 {
        let effort = Effort::Much { bytes: WAITING_BYTES_MAX };
        queue.write(Durability::Relaxed, effort, |_| Ok(())).await.unwrap();
    }
}
