//! Files that are replaced or taken away in the middle of a read or a write.

use std::sync::Arc;

use larder_core::{ErrorKind, clock::WallMillis};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

use super::{
    super::{
        entry::{Lifetime, NewEntry, Placed},
        find::{self, Reading},
        handle::SqliteStore,
        options::StoreOptions,
        put::{self, IfPresent},
        writer::Effort,
    },
    *,
};
use crate::connection::in_snapshot;

fn text(number: usize) -> Stored {
    Stored::text(format!("{number} ").repeat(100))
}

fn options() -> StoreOptions {
    StoreOptions::new().file_above(100).keep_every(std::time::Duration::from_secs(3600))
}

async fn store_in(directory: &TempDir) -> (SqliteStore, Connection) {
    let path = directory.join("cache.db");
    let store = SqliteStore::open_with(&path, options()).await.unwrap();
    write(&store, 0).await;
    (store, Connection::open(path).unwrap())
}

async fn write(store: &SqliteStore, number: usize) {
    let entry = NewEntry::new(text(number), Lifetime::Forever);
    store.entries("r").insert("k", entry).await.unwrap();
}

/// On a thread, because it is done in the middle of what a runtime does.
fn meanwhile(store: &SqliteStore, act: impl AsyncFnOnce(&SqliteStore) + Send) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(act(store));
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

/// Reads the value; between the row and its file, `between` is done.
fn read(
    store: &SqliteStore,
    connection: &Connection,
    between: impl Fn(usize),
) -> Result<Option<Stored>, Error> {
    let mut count = 0;
    Reader::run(store.values().directory(), |files| {
        count += 1;
        let read = |connection: &Connection| {
            let (key, reading) = ("k".into(), Reading::all(store.options()));
            let found = find::unread(connection, 1, key, WallMillis(0), reading);
            between(count);
            let Some(found) = found? else { return Ok(None) };
            files.read(connection, found.id, found.kept, u64::MAX)
        };
        in_snapshot(connection, |connection| rusqlite::Result::Ok(read(connection)))
            .map_err(Writing::failed("test"))
            .flatten()
    })
}

#[tokio::test]
async fn a_value_that_is_replaced_while_it_is_read_is_the_old_one_the_new_one_or_a_miss() {
    let directory = TempDir::new("filed").unwrap();
    let (store, connection) = store_in(&directory).await;
    let replace = |number| {
        meanwhile(&store, async move |store| {
            write(store, number).await;
            // The snapshot of the reader keeps the log from being copied, and no file from going.
            store.keep(None).await.ok();
        });
    };
    let once = |count| {
        if count == 1 {
            replace(1);
        }
    };
    assert_eq!(read(&store, &connection, once).unwrap(), Some(text(1)));
    let for_ever = |count| replace(count + 1);
    assert_eq!(read(&store, &connection, for_ever).unwrap(), None);
    let removed = |_| {
        meanwhile(&store, async |store| {
            store.entries("r").remove("k").await.unwrap();
            store.keep(None).await.ok();
        });
    };
    assert_eq!(read(&store, &connection, removed).unwrap(), None);
}

#[tokio::test]
async fn a_file_that_is_missing_in_a_later_snapshot_too_is_an_error() {
    let directory = TempDir::new("filed").unwrap();
    let (store, connection) = store_in(&directory).await;
    let name = holders(&connection).unwrap()[0].name;
    store.values().directory().remove(name).unwrap();
    let error = read(&store, &connection, |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&name.to_string()), "{error}");
}

#[tokio::test]
async fn a_file_that_flies_is_no_garbage_and_one_that_was_taken_for_it_gets_no_row() {
    let directory = TempDir::new("filed").unwrap();
    let (store, connection) = store_in(&directory).await;
    let values = store.values().clone();
    let flying = values.publish(b"flying", Durability::Relaxed).unwrap();
    assert!(!values.strays().unwrap().contains(&flying.name));
    // By another store either, as long as this one is open.
    let other = super::super::values::Values::of(&directory.join("cache.db"));
    assert_eq!(other.strays().unwrap(), []);
    let name = flying.name;
    drop(flying);
    assert!(values.strays().unwrap().contains(&name));
    // As if the locks of the file system did not work.
    let taken = values.publish(&text(1).bytes, Durability::Relaxed).unwrap();
    note_loose(&connection, taken.name).unwrap();
    assert_eq!(put_with(&store, taken).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let gone = values.publish(&text(1).bytes, Durability::Relaxed).unwrap();
    values.directory().remove(gone.name).unwrap();
    assert_eq!(put_with(&store, gone).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.entries("r").get("k").await.unwrap(), Some(text(0)));
}

/// Writes an entry whose value is in `file` already.
async fn put_with(store: &SqliteStore, file: Arc<Published>) -> Result<Placed, Error> {
    let mut entry = NewEntry::new(text(1), Lifetime::Forever);
    entry.value.bytes = file.reference.encode();
    entry.file = Some(file);
    let entries = store.entries("r");
    entries
        .write(Effort::MUCH, move |writing, region| {
            put::put(writing, region, "k".into(), &entry, IfPresent::Replace)
        })
        .await
}

#[tokio::test]
async fn what_is_held_is_not_removed() {
    let directory = TempDir::new("filed").unwrap();
    let (store, connection) = store_in(&directory).await;
    let name = holders(&connection).unwrap()[0].name;
    let hold = store.values().directory().hold().unwrap();
    write(&store, 1).await;
    store.keep(None).await.unwrap();
    assert!(store.values().directory().path_of(name).exists());
    drop(hold);
    store.keep(None).await.unwrap();
    assert!(!store.values().directory().path_of(name).exists());
}

#[tokio::test]
async fn a_session_that_is_over_leaves_its_garbage_to_the_next() {
    let directory = TempDir::new("filed").unwrap();
    let path = directory.join("cache.db");
    let (one, other) =
        (super::super::values::Values::of(&path), super::super::values::Values::of(&path));
    let file = one.publish(b"one", Durability::Durable).unwrap();
    let name = file.name;
    drop(file);
    // It is there to look after it itself.
    assert_eq!(other.strays().unwrap(), []);
    assert_eq!(one.strays().unwrap(), [name]);
    drop(one);
    assert_eq!(other.strays().unwrap(), [name]);
}
