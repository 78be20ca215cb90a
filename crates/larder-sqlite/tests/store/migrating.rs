//! The format before this one: a file that was written by the larder that had it.
//!
//! `golden/format-1.db` has every form of an entry that there was then; values in files came with
//! format 2. **Invariant**: what an earlier larder wrote is read, and what it promised still holds.

use std::{fs, path::Path};

use larder_core::{Clock, store::Store as _};
use larder_sqlite::store::{Depth, Lifetime, NewEntry, Select, SqliteStore, Stored};
use rusqlite::Connection;

use crate::{
    golden::is_served_and_falls,
    place::{Place, run},
};

/// The place of a copy of the file, with its witness.
fn copied() -> Place {
    let place = Place::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden");
    for suffix in ["", "-witness"] {
        let to = format!("{}{suffix}", place.path().display());
        fs::copy(golden.join(format!("format-1.db{suffix}")), to).unwrap();
    }
    place
}

/// The version of the format, and how many of the tables that came with the second one are there.
fn format(place: &Place) -> (i64, i64) {
    let file = Connection::open(place.path()).unwrap();
    let ask = |sql| file.query_row(sql, [], |row| row.get(0)).unwrap();
    let tables = "SELECT count(*) FROM sqlite_schema \
         WHERE name IN ('filed', 'loose', 'unflushed', 'announced')";
    (ask("PRAGMA user_version"), ask(tables))
}

/// Everything that is in the file.
async fn is_as_it_was(store: &SqliteStore) {
    let region = store.entries("region");
    for (key, value) in [
        ("bytes", Stored::bytes([0, 255])),
        ("empty", Stored::text("")),
        ("json", Stored::json("null")),
        ("packed", Stored::text("x".repeat(1000))),
    ] {
        let found = region.entry(key).await.unwrap().unwrap();
        assert_eq!(found.value, value, "{key}");
        let is_json = key == "json";
        assert_eq!((found.meta.is_pinned, found.meta.expires.is_some()), (is_json, is_json));
    }
    let tagged = Select::everything().all_of(["a", "b"]);
    assert_eq!(region.page(&tagged, None, 9).await.unwrap()[0].0, "empty");
    let untracked = store.get("untracked", &[1, 0, 255]).await.unwrap();
    assert_eq!(untracked.as_deref(), Some(&b"record"[..]));
    assert!(store.check(Depth::Full).await.unwrap().is_sound());
}

#[test]
fn a_store_of_format_1_becomes_one_of_this_format_with_all_that_is_in_it() {
    // S21: the migration that there is.
    run(async {
        let place = copied();
        assert_eq!(format(&place), (1, 0));
        let options = || place.options().clock(Clock::system()).file_above(1000);
        let store = place.open_with(options()).await;
        is_as_it_was(&store).await;
        let report = store.check(Depth::Full).await.unwrap();
        assert_eq!((report.entries, report.files), (7, 0));
        // It is the life that it was: what depends on something has not fallen, and still does.
        is_served_and_falls(&store).await;
        // And what came with this format works in it.
        let bytes = vec![7; 3000];
        let large = NewEntry::new(Stored::bytes(bytes.clone()), Lifetime::Forever);
        store.entries("region").insert("large", large).await.unwrap();
        drop(store);
        assert_eq!(format(&place), (2, 4));
        let store = place.open_with(options()).await;
        is_as_it_was(&store).await;
        assert_eq!(store.stats().await.unwrap().files, 1);
        let large = store.entries("region").get("large").await.unwrap().unwrap();
        assert_eq!(large.bytes, bytes);
    });
}

#[test]
fn a_backup_of_format_1_is_restored() {
    // S21, S16.
    run(async {
        let (old, place) = (copied(), Place::new());
        let store = place.open_with(place.options().clock(Clock::system())).await;
        store.restore(old.path()).await.unwrap();
        is_as_it_was(&store).await;
        drop(store);
        assert_eq!((format(&place), format(&old)), ((2, 4), (1, 0)), "the backup is as it was");
    });
}
