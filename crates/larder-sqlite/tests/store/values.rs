//! Values of any size, and the bytes that rows are made of.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_sqlite::store::{Depth, Entries, Lifetime, NewEntry, SqliteStore, Stored};
use rusqlite::Connection;

use crate::place::{Place, forever, run};

fn long(word: &str) -> String {
    format!("{word} ").repeat(40_000)
}

/// Everything that reads a value.
async fn read_everywhere(entries: &Entries, key: &str, value: &Stored) {
    assert_eq!(entries.get(key).await.unwrap().as_ref(), Some(value));
    assert_eq!(entries.get_many([key]).await.unwrap()[0].as_ref(), Some(value));
    assert_eq!(&entries.entry(key).await.unwrap().unwrap().value, value);
}

#[test]
fn a_large_value_takes_less_room_and_is_given_back_exactly() {
    // SC2: compression, values of any size.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().compress_above(8 << 10)).await;
        let entries = store.entries("r");
        // Packed where the caller stands, and on a thread of the store.
        for (key, text) in [("one", long("a").chars().take(9_000).collect()), ("two", long("b"))] {
            let value = Stored::text(text);
            let entry = NewEntry::new(value.clone(), Lifetime::Forever);
            entries.insert(key, entry.clone()).await.unwrap();
            read_everywhere(&entries, key, &value).await;
            entries.insert_many([(key, entry)]).await.unwrap();
            read_everywhere(&entries, key, &value).await;
            let meta = entries.entry(key).await.unwrap().unwrap().meta;
            assert!(meta.size_bytes < 100, "{} bytes", meta.size_bytes);
        }
        assert!(store.stats().await.unwrap().bytes < 200);
        assert_eq!(store.check(Depth::Full).await.unwrap().findings, Vec::<String>::new());
        let popped = entries.pop("two").await.unwrap().unwrap();
        assert_eq!(popped.value, Stored::text(long("b")));
    });
}

#[test]
fn each_region_says_what_is_compressed() {
    // SC2: per region.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options()).await;
        let (never, above) = (store.entries("r"), store.entries("s").compress_above(100));
        let text = "x".repeat(1000);
        never.insert("a", forever(&text)).await.unwrap();
        above.insert("a", forever(&text)).await.unwrap();
        above.insert("small", forever(&text[..100])).await.unwrap();
        let size = async |entries: &Entries, key| {
            entries.entry(key).await.unwrap().unwrap().meta.size_bytes
        };
        assert_eq!(size(&never, "a").await, 1000);
        assert!(size(&above, "a").await < 100);
        assert_eq!(size(&above, "small").await, 100);
        // A handle that compresses nothing reads what another one wrote.
        assert_eq!(store.entries("s").get("a").await.unwrap(), Some(Stored::text(text)));
    });
}

#[test]
fn the_limit_of_one_entry_is_about_what_is_given_back() {
    // S23: a small row must not become any number of bytes.
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().max_value_bytes(50_000)).await;
        let refused = store.entries("r").insert("a", forever(&long("a"))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        drop(store);
        let store = place.open().await;
        let entries = store.entries("r").compress_above(1000);
        entries.insert("a", forever(&long("a"))).await.unwrap();
        drop((store, entries));
        let store = place.open_with(place.options().max_value_bytes(50_000)).await;
        let refused = store.entries("r").get("a").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert!(refused.to_string().contains("unpacked it has 80000 bytes"), "{refused}");
    });
}

#[test]
fn a_number_may_follow_a_compressed_value() {
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().compress_above(8 << 10)).await;
        let entries = store.entries("r");
        entries.insert("a", forever(&long("a"))).await.unwrap();
        let refused = entries.incr("a", 1, Lifetime::Forever).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        entries.insert("a", NewEntry::new(Stored::json("1"), Lifetime::Forever)).await.unwrap();
        assert_eq!(entries.incr("a", 1, Lifetime::Forever).await.unwrap(), 2);
    });
}

/// Rows as version 1 of the format writes them: key, form, size, checksum and value in hexadecimal
/// digits. Who changes one of them makes files that exist unreadable: raise the version of the
/// format instead, and keep reading these.
const GOLDEN: [(&str, i64, i64, i64, &str); 4] = [
    ("bytes", 2, 7, 7_155_981_137_495_187_022, "00FF"),
    ("json", 4, 8, 4_218_323_205_925_951_501, "6E756C6C"),
    ("packed", 9, 33, 7_957_968_789_523_629_654, PACKED),
    ("text", 1, 4, 9_030_578_917_928_650_449, ""),
];

/// The length in eight bytes, and a frame of zstd.
const PACKED: &str = "E80300000000000028B52FFD60E8024D00001078780100E32B8005";

/// What the rows of [`GOLDEN`] hold.
fn golden() -> [(&'static str, NewEntry); 4] {
    let live = Lifetime::For(Duration::from_secs(60));
    [
        ("bytes", NewEntry::new(Stored::bytes([0, 255]), Lifetime::Forever)),
        ("json", NewEntry::new(Stored::json("null"), live).pinned()),
        ("packed", NewEntry::new(Stored::text("x".repeat(1000)), Lifetime::Forever)),
        ("text", NewEntry::new(Stored::text(""), live).tags(["b", "a"])),
    ]
}

#[test]
fn rows_of_the_first_format_are_written_and_read() {
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().compress_above(500)).await;
        for (key, entry) in golden() {
            store.entries("r").insert(key, entry).await.unwrap();
        }
        drop(store);
        let rows = rows(&place);
        let expected = GOLDEN.map(|(key, form, size, checksum, value)| {
            (key.to_owned(), form, size, checksum, value.to_owned())
        });
        assert_eq!(rows, expected, "what is written is another format");
        golden_rows_are_read(&place).await;
    });
}

fn rows(place: &Place) -> Vec<(String, i64, i64, i64, String)> {
    let file = Connection::open(place.path()).unwrap();
    let mut rows = file
        .prepare("SELECT key, form, size, checksum, hex(value) FROM entry ORDER BY key")
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Puts the rows in by hand, in place of what a later version of the compressor wrote, say.
async fn golden_rows_are_read(place: &Place) {
    let file = Connection::open(place.path()).unwrap();
    for (key, form, size, checksum, value) in GOLDEN {
        let changed = file
            .execute(
                "UPDATE entry SET form = ?2, size = ?3, checksum = ?4, value = unhex(?5) \
                 WHERE key = ?1",
                (key, form, size, checksum, value),
            )
            .unwrap();
        assert_eq!(changed, 1);
    }
    drop(file);
    let store: SqliteStore = place.open().await;
    let expected = [
        ("bytes", Stored::bytes([0, 255])),
        ("json", Stored::json("null")),
        ("packed", Stored::text("x".repeat(1000))),
        ("text", Stored::text("")),
    ];
    for (key, value) in expected {
        assert_eq!(store.entries("r").get(key).await.unwrap(), Some(value), "{key}");
    }
    assert!(store.entries("r").entry("json").await.unwrap().unwrap().meta.is_pinned);
}
