//! Who waits, and what is looked up how: S2, S12, SD3 to SD5.

use std::{
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use larder_core::ErrorKind;
use larder_sqlite::store::{Depth, Select, SqliteStore};
use larder_testkit::wait::block_on;
use rusqlite::Connection;

use crate::place::{Place, forever, living, run};

#[test]
fn everything_that_is_looked_up_has_an_index() {
    // S2: key, deadline, tag, and what goes first; a scan of the table is none of them.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        store.entries("r").insert("a", living("x", 1000).tags(["t"])).await.unwrap();
        let file = Connection::open(place.path()).unwrap();
        for (sql, index) in [
            ("SELECT value FROM entry WHERE region = 1 AND key = 'a'", "entry_key"),
            ("SELECT key FROM entry WHERE region = 1 AND key > 'a' ORDER BY key", "entry_key"),
            ("SELECT id FROM entry WHERE expires <= 5", "entry_expires"),
            ("SELECT entry FROM tagged WHERE tag = 1", "PRIMARY KEY"),
            ("SELECT id FROM tag WHERE region = 1 AND name = 't'", "sqlite_autoindex_tag_1"),
            ("SELECT id FROM entry WHERE form & 4 = 0 ORDER BY accessed LIMIT 1", "evict_recent"),
        ] {
            let plan: String =
                file.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap();
            assert!(plan.contains(index), "{sql}: {plan}");
        }
    });
}

#[test]
fn the_queues_tell_who_waits_and_who_waited_in_vain() {
    // S12.
    run(async {
        let place = Place::new();
        let options = place.options().readers(2).busy_timeout(Duration::from_millis(50));
        let store = place.open_with(options).await;
        let entries = store.entries("r");
        entries.insert("a", forever("x")).await.unwrap();
        entries.get("a").await.unwrap();
        let queues = store.queues();
        assert_eq!((queues.connections_max, queues.connections_open), (2, 1), "{queues:?}");
        assert_eq!((queues.connections_used, queues.reads_waiting), (0, 0));
        assert_eq!((queues.writes_waiting, queues.writes_late), (0, 0));
        let other = Connection::open(place.path()).unwrap();
        let mut late = 0;
        // The two come after the first was taken, but for a thread that was slow.
        for attempt in 0.. {
            late += two_behind_one(&place, &store, &other).await;
            assert_eq!(store.queues().writes_late, late);
            if 0 < late {
                break;
            }
            assert!(attempt < 50, "none of them ever waited");
        }
        entries.insert("b", forever("x")).await.unwrap();
        assert_eq!(store.queues().writes_waiting, 0);
    });
}

#[test]
fn a_read_writes_nothing() {
    // SD17: what reads leave behind is written by the keeper, many at a time.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        entries.insert("a", forever("x")).await.unwrap();
        let before = store.stats().await.unwrap().commits;
        for _ in 0..100 {
            entries.get("a").await.unwrap();
            entries.get("missing").await.unwrap();
        }
        assert_eq!(store.stats().await.unwrap().commits, before);
        store.keep().await.unwrap();
        assert_eq!(store.stats().await.unwrap().commits, before + 1);
        assert_eq!(entries.entry("a").await.unwrap().unwrap().meta.access_count, 100);
    });
}

/// A write that finds the file locked, and two that wait behind it until their time is over; how
/// many of these were told so.
async fn two_behind_one(place: &Place, store: &SqliteStore, other: &Connection) -> u64 {
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = |key: &'static str| {
        let entries = store.entries("r");
        tokio::spawn(async move { entries.insert(key, forever("x")).await })
    };
    let first = write("b");
    while store.queues().writes_waiting == 0 && !first.is_finished() {
        tokio::task::yield_now().await;
    }
    while 0 < store.queues().writes_waiting {
        tokio::task::yield_now().await;
    }
    let behind = [write("c"), write("d")];
    while store.queues().writes_waiting < 2 && !first.is_finished() {
        tokio::task::yield_now().await;
    }
    place.clock.advance(Duration::from_millis(51));
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    let mut late = 0;
    for write in behind {
        let refused = write.await.unwrap().unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Timeout | ErrorKind::Unavailable));
        late += u64::from(refused.kind() == ErrorKind::Timeout);
    }
    other.execute_batch("ROLLBACK").unwrap();
    late
}

#[test]
fn one_connection_is_enough_for_every_question_at_once() {
    // SD3, SD4, SD5: who holds a connection waits for nothing else, statistics included.
    let place = Place::new();
    let options = place.options().readers(1).busy_timeout(Duration::from_secs(5));
    let store = block_on(place.open_with(options));
    let entries = store.entries("r");
    let many = (0..50).map(|number| (format!("{number}"), forever("x").tags(["t"])));
    block_on(entries.insert_many(many)).unwrap();
    let (ended, end) = mpsc::channel();
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for worker in 0..8 {
            let (store, ended, start) = (&store, ended.clone(), &start);
            scope.spawn(move || {
                start.wait();
                let entries = store.entries("r");
                let (all, key) = (Select::everything(), format!("{worker}"));
                for _ in 0..20 {
                    block_on(async {
                        assert_eq!(store.stats().await.unwrap().entries, 50);
                        assert!(entries.get(&key).await.unwrap().is_some());
                        assert_eq!(entries.count(&all).await.unwrap(), 50);
                        assert_eq!(entries.stats().await.unwrap().entries, 50);
                        assert_eq!(entries.page(&all, None, 10).await.unwrap().len(), 10);
                        entries.insert(&*key, forever("x").tags(["t"])).await.unwrap();
                    });
                }
                assert!(block_on(store.check(Depth::Quick)).unwrap().is_sound());
                ended.send(()).unwrap();
            });
        }
        for _ in 0..8 {
            end.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
        }
    });
    let queues = store.queues();
    assert_eq!((queues.reads_late, queues.writes_late), (0, 0), "{queues:?}");
    assert_eq!((queues.connections_max, queues.connections_used), (1, 0));
}
