//! Tables of a SELECT that begin with what was saved.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_core::{Clock, ErrorKind, Value};
use larder_sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin, Track, track};
use larder_table::{
    Index, Lost, Ranges, Restored, Table,
    sql::{Row, RowKey, SqlDefinition, SqlSource},
};
use larder_testkit::temp::TempDir;

use super::database::{connect, write};

struct Ground {
    dir: TempDir,
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT, unseen TEXT);
    CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, value, unseen TEXT);
    CREATE TABLE aside (id INTEGER PRIMARY KEY);
    INSERT INTO device VALUES (1, 'one', ''), (2, 'two', '');
    INSERT INTO reading VALUES (10, 1, 0.5, ''), (11, 2, 'text', ''), (12, 1, x'00ff', ''),
        (13, 2, NULL, '');";

const JOIN: &str = "SELECT r.id, d.id AS device, d.name, r.value FROM reading r \
    JOIN device d ON d.id = r.device";

impl Ground {
    fn new() -> Self {
        let ground = Self { dir: TempDir::new("table-kept").unwrap() };
        ground.write(SCHEMA);
        ground
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("plant.sqlite")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("readings.kept")
    }

    fn write(&self, sql: &str) {
        write(&self.path(), sql);
    }

    /// A process that has not begun yet.
    fn process(&self, sql: &str, at_least: i64) -> Process {
        let path = self.path();
        let options = OriginOptions { track: Track::Rows, ..OriginOptions::new("plant", &path) };
        let origin = SqliteOrigin::open(options).unwrap();
        let param = Param { name: "least".into(), kind: ParamKind::Integer };
        let params = sql.contains(":least").then_some((param, Value::Integer(at_least)));
        let source = SqlSource::with_params(&origin, sql, params).unwrap();
        let mut definition = source.rows("readings", &["id"]).unwrap();
        definition.max_staleness(Duration::ZERO);
        let by_device = definition.columns("device", &["device", "id"]).unwrap();
        let own = definition.columns("own", &["device"]).unwrap();
        if sql.contains("JOIN") {
            definition.follows("device", &["id"], &own).unwrap();
        }
        Process { origin, definition, by_device }
    }

    fn track(&self, definition: &SqlDefinition<Row>) {
        let statements = [definition.statement().clone()];
        let looked_at = definition.looks_at();
        let plan = track::plan_with(&self.path(), &"plant".into(), &statements, &looked_at);
        plan.unwrap().apply(&self.path()).unwrap();
    }

    /// A process that loads the first devices, saves them and ends.
    async fn save(&self, sql: &str, at_least: i64) {
        let Process { origin, definition, by_device } = self.process(sql, at_least);
        let (codec, feed) = (definition.row_codec(), origin.feed().unwrap());
        let table = definition.follow(&by_device, feed, Clock::system()).unwrap();
        let first = RowKey::within(
            std::ops::Bound::Unbounded,
            std::ops::Bound::Included(vec![Value::Integer(5)]),
        );
        table.load(first.unwrap()).await.unwrap();
        table.save(self.kept(), &codec).await.unwrap();
    }

    async fn restore(&self, sql: &str, at_least: i64) -> (Table<Row, RowKey>, Restored) {
        let Process { origin, definition, by_device } = self.process(sql, at_least);
        let (codec, feed) = (definition.row_codec(), origin.feed().unwrap());
        let restored = definition.restore(&by_device, self.kept(), &codec, feed, Clock::system());
        restored.await.unwrap()
    }

    /// What the query gives, as text.
    fn truth(&self, sql: &str) -> Vec<String> {
        let connection = connect(&self.path());
        let sql = format!("SELECT id, quote(value) FROM ({sql}) ORDER BY id");
        let mut select = connection.prepare(&sql).unwrap();
        let shown = |row: &rusqlite::Row<'_>| {
            Ok(format!("{} {}", row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        };
        select.query_map([], shown).unwrap().map(Result::unwrap).collect()
    }
}

struct Process {
    origin: Arc<SqliteOrigin>,
    definition: SqlDefinition<Row>,
    by_device: Index<Row, RowKey>,
}

/// What the table shows, each record by its key.
async fn shown(table: &Table<Row, RowKey>) -> Vec<String> {
    let mut shown = Vec::new();
    for id in 10..16 {
        let row = table.get(&RowKey::new([Value::Integer(id)])).await.unwrap();
        let value = row.map(|row| match row.get("value").unwrap() {
            Value::Null => "NULL".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => format!("{number:?}"),
            Value::Text(text) => format!("'{text}'"),
            Value::Blob(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("X'{digits}'")
            }
        });
        shown.extend(value.map(|value| format!("{id} {value}")));
    }
    shown
}

/// What changed in columns and tables that the query does not read puts nothing in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_table_of_a_query_loads_only_what_was_touched_meanwhile() {
    let ground = Ground::new();
    ground.track(&ground.process(JOIN, 0).definition);
    ground.save(JOIN, 0).await;
    ground.write("INSERT INTO aside VALUES (1); UPDATE reading SET unseen = 'x'");
    let (table, restored) = ground.restore(JOIN, 0).await;
    assert!(matches!(restored, Restored::Whole(4)), "{restored:?}");
    assert_eq!(shown(&table).await, ground.truth(JOIN));
    let before = table.stats().loaded;
    assert_eq!(before, 0);
    drop(table);
    ground.write(
        "UPDATE reading SET value = 7 WHERE id = 10; DELETE FROM reading WHERE id = 11;
         INSERT INTO reading VALUES (15, 2, 1.5, ''); UPDATE device SET id = 3 WHERE id = 1;
         UPDATE reading SET device = 3 WHERE id = 12;",
    );
    let (table, restored) = ground.restore(JOIN, 0).await;
    assert!(matches!(restored, Restored::Whole(4)), "{restored:?}");
    assert_eq!(shown(&table).await, ground.truth(JOIN));
    ground.write("UPDATE device SET name = 'x'; UPDATE reading SET value = 8 WHERE id = 12");
    assert_eq!(shown(&table).await, ground.truth(JOIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_reads_what_nobody_tells_of_is_loaded_each_time() {
    let ground = Ground::new();
    // `device` is not tracked.
    let alone = "SELECT id, device, value FROM reading";
    ground.track(&ground.process(alone, 0).definition);
    ground.save(JOIN, 0).await;
    ground.write("DELETE FROM device WHERE id = 1");
    let (table, restored) = ground.restore(JOIN, 0).await;
    assert!(matches!(restored, Restored::Lost(Lost::InDoubt)), "{restored:?}");
    table.load(Ranges::all()).await.unwrap();
    assert_eq!(shown(&table).await, ground.truth(JOIN));
    // What no row changes nobody tells of at all.
    let now = "SELECT id, device, datetime('now') AS value FROM reading";
    let Process { origin, definition, by_device } = ground.process(now, 0);
    let (codec, feed) = (definition.row_codec(), origin.feed().unwrap());
    let restored = definition.restore(&by_device, ground.kept(), &codec, feed, Clock::system());
    assert_eq!(restored.await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_of_another_query_is_not_believed() {
    let ground = Ground::new();
    let sql = "SELECT id, device, value FROM reading WHERE id >= :least";
    ground.track(&ground.process(sql, 0).definition);
    ground.save(sql, 11).await;
    let (_, restored) = ground.restore(sql, 11).await;
    assert!(matches!(restored, Restored::Whole(3)), "{restored:?}");
    for (sql, least) in [(sql, 12), ("SELECT id, device, value FROM reading", 0)] {
        let (_, restored) = ground.restore(sql, least).await;
        let Restored::Lost(Lost::File(error)) = restored else { panic!("{restored:?}") };
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}
