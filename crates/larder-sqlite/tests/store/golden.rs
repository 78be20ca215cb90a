//! The format of a store file, kept: what is written now, and a file that was written once.
//!
//! Beside it stand a store (`format-2.db` with its witness and its value files) and the rows in it
//! as text. Whoever changes the one or the other on purpose raises the version of the format, goes
//! on reading these, and adds new ones: `LARDER_WRITE_GOLDEN=1` makes this test write them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{
    Clock, Dependency, Epoch, Position, WallMillis,
    claim::Fence,
    store::{Begins, Follows, Judgement, NewRecord, SchemesKnown, Step, Store as _, Written},
};
use larder_sqlite::store::{Depth, Lifetime, NewEntry, Select, SqliteStore, StoreOptions, Stored};
use rusqlite::{Connection, types::Value};

use crate::{
    files::directory_of,
    place::{Place, run},
};

const NAME: &str = "format-2.db";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden")
}

fn options(place: &Place) -> StoreOptions {
    place.options().compress_above(500).file_above(1000)
}

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Digits that compression makes half as long.
fn digits(length: usize) -> String {
    noise(length / 2).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every form of an entry: its key, and what is written under it.
fn entries() -> Vec<(&'static str, NewEntry)> {
    // Far enough away for a file that is read for ever.
    let until = Lifetime::Until(WallMillis(253_402_300_799_000));
    let forever = |value| NewEntry::new(value, Lifetime::Forever);
    vec![
        ("bytes", forever(Stored::bytes([0, 255]))),
        ("empty", forever(Stored::text("")).tags(["b", "a"])),
        ("filed", forever(Stored::bytes(noise(1200)))),
        ("filed and packed", NewEntry::new(Stored::json(digits(4000)), until).pinned().tags(["a"])),
        ("json", NewEntry::new(Stored::json("null"), until).pinned()),
        ("packed", forever(Stored::text("x".repeat(1000)))),
    ]
}

fn dependency() -> Dependency {
    Dependency::scope("shop", "Album", [("ArtistId", 90_i64)])
}

fn record(bytes: &[u8], of: &Dependency) -> NewRecord {
    NewRecord {
        bytes: bytes.to_vec(),
        until: None,
        digests: vec![of.digest()],
        schemes: of.scheme().into_iter().collect(),
        judge: Box::new(|_| Judgement::Right(Position(0))),
        fence: Fence::Open,
    }
}

async fn write(store: &SqliteStore) {
    for (key, entry) in entries() {
        store.entries("region").insert(key, entry).await.unwrap();
    }
    let untracked = b"record".to_vec();
    let put = store.put("untracked", &[1, 0, 255], untracked, None, Fence::Open);
    assert_eq!(put.await.unwrap(), Written::Kept);
    let tracked = store.attach(&["shop".into()], Follows::Places).unwrap().unwrap().tracked;
    let app = Dependency::tag("front");
    for (key, of) in [(&[1], &dependency()), (&[2], &app)] {
        let written = tracked.put("tracked", key, record(b"tracked", of)).await.unwrap();
        assert_eq!(written, Written::Kept);
    }
    let step = |position, digests, begins, mark| Step {
        timeline: "shop".into(),
        epoch: Epoch(7),
        begins,
        position: Position(position),
        digests,
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark,
        announced: None,
    };
    let begun = step(5, Vec::new(), Begins::Anew(None), None);
    let other = Dependency::scope("shop", "Album", [("ArtistId", 91_i64)]);
    let moved = step(6, vec![other.digest()], Begins::After(Position(5)), Some(vec![9, 8]));
    tracked.apply(vec![begun, moved], Arc::new(|_| true)).await.unwrap();
}

/// The rows of a store as text, but for what is drawn at random.
fn rows(path: &Path) -> String {
    let file = Connection::open(path).unwrap();
    let statements = [
        "PRAGMA application_id",
        "PRAGMA user_version",
        "PRAGMA auto_vacuum",
        // A table more is no other format.
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name IN ('region', \
         'entry', 'tag', 'tagged', 'dead', 'total', 'store', 'standing', 'link', 'linked', \
         'scheme', 'filed', 'loose', 'unflushed') ORDER BY name",
        "SELECT * FROM region ORDER BY id",
        "SELECT id, region, key, expires, reads, size, form, tags, checksum, value FROM entry \
         ORDER BY id",
        "SELECT * FROM tag ORDER BY id",
        "SELECT * FROM tagged ORDER BY tag, entry",
        "SELECT * FROM total WHERE 0 < region ORDER BY region",
        "SELECT entry, length(name), bytes FROM filed ORDER BY entry",
        "SELECT * FROM link ORDER BY digest, entry",
        "SELECT * FROM linked ORDER BY entry",
        "SELECT * FROM scheme ORDER BY digest",
        "SELECT timeline, position, floor, mark FROM standing ORDER BY timeline",
        "SELECT entry FROM dead",
    ];
    let mut text = String::new();
    for sql in statements {
        text.push_str(&format!("-- {sql}\n"));
        let mut statement = file.prepare(sql).unwrap();
        let count = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let words: Vec<String> = (0..count).map(|at| word(row.get_unwrap(at))).collect();
            text.push_str(&format!("{}\n", words.join(" | ")));
        }
    }
    text
}

fn word(value: Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{digits}'")
        }
    }
}

/// Copies a store that is closed, with all that belongs to it.
fn copy(from: &Path, to: &Path) {
    let with = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["", "-witness"] {
        fs::copy(with(from, suffix), with(to, suffix)).unwrap();
    }
    fs::create_dir_all(directory_of(to)).unwrap();
    for file in fs::read_dir(directory_of(from)).unwrap().map(Result::unwrap) {
        if file.file_name().len() == 32 {
            fs::copy(file.path(), directory_of(to).join(file.file_name())).unwrap();
        }
    }
}

#[test]
fn what_is_written_is_the_format() {
    run(async {
        let place = Place::new();
        let store = place.open_with(options(&place)).await;
        write(&store).await;
        store.keep().await.unwrap();
        drop(store);
        let rows = rows(&place.path());
        let text = golden().join("format-2.txt");
        if std::env::var_os("LARDER_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(golden()).unwrap();
            copy(&place.path(), &golden().join(NAME));
            fs::write(&text, &rows).unwrap();
        }
        let expected = fs::read_to_string(text).unwrap();
        for (is, was) in rows.lines().zip(expected.lines()) {
            assert_eq!(is, was, "what is written is another format");
        }
        assert_eq!(rows, expected);
    });
}

#[test]
fn a_store_that_was_written_once_is_read() {
    run(async {
        let place = Place::new();
        copy(&golden().join(NAME), &place.path());
        assert_eq!(rows(&place.path()), fs::read_to_string(golden().join("format-2.txt")).unwrap());
        let store = place.open_with(options(&place).clock(Clock::system())).await;
        let report = store.check(Depth::Full).await.unwrap();
        assert_eq!((report.entries, report.files, report.findings), (9, 2, Vec::new()));
        let region = store.entries("region");
        for (key, entry) in entries() {
            let found = region.entry(key).await.unwrap().unwrap();
            // What is shown of a new entry is what was given.
            let of = format!("{entry:?}");
            assert!(of.contains(&format!("{:?}", found.value)), "{key}");
            assert_eq!(found.meta.is_pinned, of.contains("pinned: Yes"), "{key}");
            assert_eq!(found.meta.expires.is_some(), of.contains("Until"), "{key}");
        }
        let tagged = Select::everything().all_of(["a", "b"]);
        assert_eq!(region.page(&tagged, None, 9).await.unwrap()[0].0, "empty");
        let untracked = store.get("untracked", &[1, 0, 255]).await.unwrap();
        assert_eq!(untracked.as_deref(), Some(&b"record"[..]));
        is_served_and_falls(&store).await;
    });
}

/// What depends on the origin `shop` is there and falls with it: it is the life that it was.
pub async fn is_served_and_falls(store: &SqliteStore) {
    let attached = store.attach(&["shop".into()], Follows::Places).unwrap().unwrap();
    assert_eq!(attached.schemes, dependency().scheme().into_iter().collect::<Vec<_>>());
    let shop = attached.standings.iter().find(|standing| &*standing.timeline == "shop");
    let shop = shop.unwrap();
    assert_eq!((shop.epoch, shop.position, shop.floor), (Epoch(7), Position(6), Position(5)));
    assert_eq!(shop.mark.as_deref(), Some(&[9, 8][..]));
    let found = async |key| attached.tracked.get("tracked", key).await.unwrap();
    assert_eq!(found(&[1]).await.unwrap().bytes, b"tracked");
    // And the links lead to it.
    let touched = Step {
        timeline: "shop".into(),
        epoch: Epoch(7),
        begins: Begins::After(Position(6)),
        position: Position(7),
        digests: vec![dependency().digest()],
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: None,
        announced: None,
    };
    attached.tracked.apply(vec![touched], Arc::new(|_| true)).await.unwrap();
    assert_eq!(found(&[1]).await, None);
    assert!(found(&[2]).await.is_some());
}
