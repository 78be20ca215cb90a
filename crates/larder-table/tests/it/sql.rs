//! Tables of a SELECT on SQLite: loads by ranges, records with and without types, and what is
//! refused.

use std::{ops::Bound, path::PathBuf, sync::Arc};

use larder_core::{Error, ErrorKind, Value};
use larder_sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin};
use larder_table::{
    Ranges, Record,
    sql::{Row, RowKey, SqlRow, SqlSource},
};
use larder_testkit::temp::TempDir;

use super::database::{connect, write};

struct Ground {
    _dir: TempDir,
    path: PathBuf,
    origin: Arc<SqliteOrigin>,
}

/// 1,000 readings of ten devices, and the devices; every seventh reading has no value.
const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT, room TEXT COLLATE NOCASE);
    CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, value REAL);
    CREATE INDEX reading_time ON reading (time);
    WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
    INSERT INTO reading SELECT n, n % 10, n * 3 % 1000, iif(n % 7, n / 8.0, NULL) FROM n;
    INSERT INTO device SELECT id, 'device ' || id, 'Hall' FROM reading WHERE id < 10;";

const JOIN: &str = "SELECT r.id, r.time, r.value, d.name AS device, room FROM reading r \
    JOIN device d ON d.id = r.device -- each has one";

impl Ground {
    fn new() -> Self {
        let dir = TempDir::new("table-sql").unwrap();
        let path = dir.path().join("plant.sqlite");
        write(&path, SCHEMA);
        let origin = SqliteOrigin::open(OriginOptions::new("plant", &path)).unwrap();
        Self { _dir: dir, path, origin }
    }

    fn source(&self, sql: &str) -> SqlSource {
        SqlSource::new(&self.origin, sql).unwrap()
    }

    fn count(&self, condition: &str) -> usize {
        let sql = format!("SELECT count(*) FROM reading WHERE {condition}");
        let connection = connect(&self.path);
        connection.query_row(&sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize
    }
}

#[derive(Debug)]
struct Reading {
    id: i64,
    device: String,
    time: i64,
    value: Option<f64>,
}

impl Record for Reading {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

fn reading(row: &SqlRow<'_>) -> Result<Reading, Error> {
    let (id, device) = (row.get("id")?, row.get("device")?);
    Ok(Reading { id, device, time: row.get("time")?, value: row.get("value")? })
}

/// T22; T3, T4: a window, another one, a miss and a read by a second index, all from one text.
#[tokio::test]
async fn ranges_of_a_join_are_loaded_by_each_index() {
    let ground = Ground::new();
    let mut readings = ground.source(JOIN).table("readings", reading);
    let by_id = readings.key(&["id"]).unwrap();
    let by_time = readings.index("time", &["time"], |one: &Reading| one.time).unwrap();
    let device_time = |one: &Reading| (one.device.clone(), one.time);
    let by_device = readings.index("device", &["device", "time"], device_time).unwrap();
    let table = readings.build(&by_time).unwrap();
    let loaded = table.load(Ranges::of(100..300).unwrap()).await.unwrap();
    assert_eq!(loaded, ground.count("time >= 100 AND time < 300"));
    let adjusted = table.adjust(Ranges::of(200..=400).unwrap()).await.unwrap();
    assert_eq!(adjusted.loaded.len(), ground.count("time >= 300 AND time <= 400"));
    assert_eq!(table.stats().records, ground.count("time BETWEEN 200 AND 400") as u64);

    let device = |number: i64| (format!("device {number}"), 250);
    let of_three = Ranges::of(device(3)..device(4)).unwrap();
    let found = table.select(&by_device, of_three).read().await.unwrap();
    assert!(found.iter().map(|one| device_time(one)).is_sorted());
    let wanted = "device = 3 AND time >= 250 OR device = 4 AND time < 250";
    assert_eq!(found.count(), ground.count(wanted), "the window's index was not named: all of it");

    let keys = [1, 2, 500, 999, 4_000];
    let found = table.select(&by_id, Ranges::only(keys)).read().await.unwrap();
    assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2, 500, 999]);
    let values = found.iter().map(|one| one.value);
    assert_eq!(values.collect::<Vec<_>>(), [Some(0.125), Some(0.25), Some(62.5), Some(124.875)]);
}

fn integers(values: &[i64]) -> Vec<Value> {
    values.iter().copied().map(Value::Integer).collect()
}

#[tokio::test]
async fn rows_without_types_are_read_by_the_beginning_of_a_key() {
    let ground = Ground::new();
    let param = Param { name: "least".into(), kind: ParamKind::Integer };
    let sql = "SELECT * FROM reading WHERE id >= :least;";
    let source = SqlSource::with_params(&ground.origin, sql, [(param, Value::Integer(10))]);
    let mut readings = source.unwrap().rows("readings", &["id"]).unwrap();
    let by_device = readings.columns("device_time", &["device", "time"]).unwrap();
    let by_value = readings.columns("value", &["value"]).unwrap();
    let table = readings.build(&by_device).unwrap();
    table.load(Ranges::<RowKey>::prefix(integers(&[7]))).await.unwrap();
    assert_eq!(table.stats().records, ground.count("device = 7 AND id >= 10") as u64);
    let found = table.select(&by_device, Ranges::<RowKey>::prefix(integers(&[7])));
    let found = found.read().await.unwrap();
    let column = |row: &Row, name: &str| row.get(name).cloned().unwrap();
    assert!(found.iter().all(|row| column(row, "device") == Value::Integer(7)));
    let each: u64 = found.iter().map(|row| row.bytes() as u64).sum();
    assert_eq!(table.stats().bytes, each, "each row counts what it takes");

    let (from, to) = (Bound::Excluded(integers(&[7, 100])), Bound::Included(integers(&[7, 400])));
    let some = table.select(&by_device, RowKey::within(from, to).unwrap()).read().await.unwrap();
    assert_eq!(some.count(), ground.count("device = 7 AND time > 100 AND time <= 400"));
    // NULL comes first, and is asked for like any value.
    let none = Ranges::<RowKey>::prefix(vec![Value::Null]);
    let none = table.select(&by_value, none).read().await.unwrap();
    assert_eq!(none.count(), ground.count("value IS NULL AND id >= 10"));
    let key = RowKey::new([Value::Integer(17)]);
    assert_eq!(table.get(&key).await.unwrap().map(|row| row.key()), Some(key));
}

/// A window that is larger than memory, and every way in which a definition can be wrong.
#[tokio::test]
async fn what_cannot_be_a_table_is_refused_with_names() {
    let ground = Ground::new();
    let refused = |error: Error, kind, words: &[&str]| {
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let readings = || ground.source(JOIN).table("readings", reading);
    let error = readings().index("place", &["place"], |one: &Reading| one.time).unwrap_err();
    refused(error, ErrorKind::Config, &["`readings`", "`place`", "id, time, value, device, room"]);
    let error = readings().index("room", &["room"], |one: &Reading| one.time).unwrap_err();
    refused(error, ErrorKind::Config, &["`readings`", "`room`", "COLLATE BINARY"]);
    let error = readings().index("time", &["time", "id"], |one: &Reading| one.time).unwrap_err();
    refused(error, ErrorKind::Config, &["`time`", "made of 1 columns, 2 are named"]);
    let error = SqlSource::new(&ground.origin, "SELECT 1 AS a, 2 AS a").unwrap_err();
    refused(error, ErrorKind::Config, &["two columns of the result are called a"]);

    let mut small = readings();
    let by_time = small.index("time", &["time"], |one: &Reading| one.time).unwrap();
    small.definition().limit(100 * 64, |_| 64);
    let table = small.build(&by_time).unwrap();
    refused(
        table.load(Ranges::all()).await.unwrap_err(),
        ErrorKind::Limit,
        &["`readings`", "6400"],
    );
    assert_eq!(table.load(Ranges::of(0..50).unwrap()).await.unwrap(), 50, "nothing was changed");

    let doubled = "SELECT device AS id, id AS time, value, 'x' AS device FROM reading";
    let mut doubled = ground.source(doubled).table("doubled", reading);
    let by_id = doubled.key(&["id"]).unwrap();
    let table = doubled.build(&by_id).unwrap();
    refused(table.load(Ranges::all()).await.unwrap_err(), ErrorKind::Conflict, &["`doubled`"]);

    let nulls = ground.source("SELECT value, id FROM reading");
    let mut nulls = nulls.rows("nulls", &["value"]).unwrap();
    let own = nulls.definition().primary();
    let table = nulls.build(&own).unwrap();
    let error = table.load(Ranges::all()).await.unwrap_err();
    refused(error, ErrorKind::Origin, &["`nulls`", "`value`", "NULL"]);

    let wrong = |row: &SqlRow<'_>| Ok(Reading { time: row.get("device")?, ..reading(row)? });
    let mut wrong = ground.source(JOIN).table("wrong", wrong);
    let by_id = wrong.key(&["id"]).unwrap();
    let error = wrong.build(&by_id).unwrap().load(Ranges::all()).await.unwrap_err();
    refused(error, ErrorKind::Origin, &["`wrong`", "`primary`", "`device`", "text"]);
}

/// A condition that a text with digits cannot narrow reads every row; those count nothing.
#[tokio::test]
async fn rows_outside_a_range_do_not_count_against_the_limit() {
    let ground = Ground::new();
    let sql = "SELECT id, CAST(time AS TEXT) COLLATE BINARY AS code FROM reading";
    let mut readings = ground.source(sql).rows("readings", &["id"]).unwrap();
    let by_code = readings.columns("code", &["code"]).unwrap();
    readings.definition().limit(20 * 64, |_| 64);
    let table = readings.build(&by_code).unwrap();
    let text = |text: &str| RowKey::new([Value::Text(text.into())]);
    let loaded = table.load(Ranges::of(text("500")..text("501")).unwrap()).await.unwrap();
    assert_eq!(loaded, 1);
}

/// Two such texts would be one key, and one that nothing finds. Beside the keys it is only shown.
#[tokio::test]
async fn text_that_is_not_utf8_is_no_key() {
    let ground = Ground::new();
    let broken = "UPDATE device SET name = CAST(X'ff' AS TEXT) WHERE id = 3;";
    write(&ground.path, broken);
    let sql = "SELECT id, name FROM device";
    let devices = || ground.source(sql).rows("devices", &["id"]).unwrap();
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Origin, "{error}");
        let text = error.to_string();
        let words = ["`devices`", "`name`", "not UTF-8", "CAST(name AS BLOB)"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    // By an index that was there before the one that could not find it.
    let mut by_both = devices();
    let by_id = by_both.definition().primary();
    by_both.columns("name", &["name"]).unwrap();
    refused(by_both.build(&by_id).unwrap().load(Ranges::all()).await.unwrap_err());
    let mut by_name = ground.source(sql).rows("devices", &["name"]).unwrap();
    let own = by_name.definition().primary();
    let table = by_name.build(&own).unwrap();
    refused(table.load(Ranges::all()).await.unwrap_err());
    let text = |text: &str| RowKey::new([Value::Text(text.into())]);
    let some = Ranges::of(text("device 4")..=text("device 6")).unwrap();
    assert_eq!(table.load(some).await.unwrap(), 3, "what is asked for has none");

    let mut shown = devices();
    let by_id = shown.definition().primary();
    let table = shown.build(&by_id).unwrap();
    assert_eq!(table.load(Ranges::all()).await.unwrap(), 10);
    let third = table.get(&RowKey::new(integers(&[3]))).await.unwrap().unwrap();
    assert_eq!(third.get("name"), Some(&Value::from("\u{fffd}")));
    let as_bytes = ground.source("SELECT id, CAST(name AS BLOB) AS name FROM device");
    let mut as_bytes = as_bytes.rows("devices", &["name"]).unwrap();
    let own = as_bytes.definition().primary();
    let table = as_bytes.build(&own).unwrap();
    let broken = RowKey::new([Value::Blob(Arc::from([0xff]))]);
    assert_eq!(table.load(Ranges::only([broken.clone()])).await.unwrap(), 1);
    let found = table.get(&broken).await.unwrap().unwrap();
    assert_eq!(found.get("id"), Some(&Value::Integer(3)));
}

/// Same tables, same names, and conditions that would find other rows.
#[tokio::test]
async fn column_that_is_declared_otherwise_now_ends_loads() {
    let plain = "id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, value REAL";
    let others = [
        ("`time`", "id INTEGER PRIMARY KEY, device INTEGER, time TEXT, value REAL"),
        ("`time`", "id INTEGER PRIMARY KEY, device INTEGER, time INTEGER NOT NULL, value REAL"),
        (
            "`time`",
            "id INTEGER PRIMARY KEY, device INTEGER, time INTEGER COLLATE RTRIM, value REAL",
        ),
        ("`id`", "id INT PRIMARY KEY, device INTEGER, time INTEGER, value REAL"),
    ];
    for (column, other) in others {
        let ground = Ground::new();
        let mut readings = ground.source(JOIN).table("readings", reading);
        let by_time = readings.index("time", &["time"], |one: &Reading| one.time).unwrap();
        let table = readings.build(&by_time).unwrap();
        table.load(Ranges::of(100..200).unwrap()).await.unwrap();
        let again = |columns: &str| {
            let sql = format!(
                "CREATE TABLE again ({columns}); INSERT INTO again SELECT * FROM reading;
                 DROP TABLE reading; ALTER TABLE again RENAME TO reading"
            );
            write(&ground.path, &sql);
        };
        again(plain);
        table.adjust(Ranges::of(100..300).unwrap()).await.unwrap();
        again(other);
        let error = table.adjust(Ranges::of(100..400).unwrap()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        let words = ["`readings`", "schema has changed", column];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        again(plain);
        table.adjust(Ranges::of(100..400).unwrap()).await.unwrap();
    }
}

#[cfg(feature = "derive")]
#[derive(Debug, PartialEq, larder_table::Record, larder_table::sql::FromRow)]
#[record(crate = "larder_table")]
struct Sample {
    #[record(key)]
    device: i64,
    value: Option<f64>,
    #[record(key, column = "time")]
    at: i64,
}

#[cfg(feature = "derive")]
#[tokio::test]
async fn derived_record_is_read_by_the_names_of_its_fields() {
    let ground = Ground::new();
    let source = ground.source("SELECT time, device, value FROM reading");
    let mut samples = source.typed::<Sample>("samples").unwrap();
    let by_key = samples.definition().primary();
    let table = samples.build(&by_key).unwrap();
    table.load(Ranges::prefix(3)).await.unwrap();
    assert_eq!(table.stats().records, ground.count("device = 3") as u64);
    let found = table.get(&(3, 9)).await.unwrap().unwrap();
    assert_eq!(*found, Sample { device: 3, value: Some(0.375), at: 9 });
    let earlier = Sample { device: 3, value: None, at: 8 };
    assert!(earlier.order(&found).is_lt() && found.order(&earlier).is_gt());
    let without = ground.source("SELECT time, device FROM reading").typed::<Sample>("samples");
    let text = without.unwrap_err().to_string();
    assert!(text.contains("`samples`") && text.contains("`value`"), "{text}");
}
