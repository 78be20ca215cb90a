//! The ground: a database, a table of one of its tables that takes rows from the log, and the two
//! side by side.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_core::{Clock, ErrorKind, Value};
use larder_sqlite::{OriginOptions, SqliteOrigin, Track, track};
use larder_table::{
    Index, Ranges, Table,
    sql::{Row, RowKey, SqlDefinition, SqlSource},
};
use larder_testkit::temp::TempDir;
use rusqlite::{Connection, types::ValueRef};

/// What a database is like.
pub(super) struct Schema {
    pub(super) name: &'static str,
    sql: &'static str,
    pub(super) recursive_triggers: &'static str,
}

const PARENT: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO parent VALUES (1, 'one'), (2, 'two'), (3, 'three');";

pub(super) const SCHEMAS: &[Schema] = &[
    Schema {
        name: "plain",
        sql: "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE,
            parent INTEGER REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE,
            value REAL, extra);",
        recursive_triggers: "OFF",
    },
    Schema {
        name: "without rowid, recursive triggers",
        sql: "CREATE TABLE item (id INT NOT NULL, code TEXT NOT NULL UNIQUE COLLATE NOCASE,
            parent INTEGER REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE,
            value REAL, extra, PRIMARY KEY (id)) WITHOUT ROWID;",
        recursive_triggers: "ON",
    },
    Schema {
        name: "key beside the rowid",
        sql: "CREATE TABLE item (id INT NOT NULL PRIMARY KEY, code TEXT NOT NULL UNIQUE,
            parent INTEGER REFERENCES parent (id) ON DELETE SET DEFAULT, value NUMERIC, extra);",
        recursive_triggers: "OFF",
    },
    Schema {
        name: "triggers of the application",
        sql: "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE,
            parent INTEGER REFERENCES parent (id) ON DELETE CASCADE, value REAL, extra);
            CREATE TRIGGER counts AFTER INSERT ON item BEGIN
                UPDATE item SET value = coalesce(value, 0) + 1 WHERE id = NEW.id;
            END;
            CREATE TRIGGER moves BEFORE INSERT ON item WHEN NEW.id % 3 = 0 BEGIN
                UPDATE OR IGNORE item SET code = NEW.code WHERE id = NEW.id + 1;
            END;
            CREATE TRIGGER takes_back AFTER UPDATE OF value ON item WHEN NEW.value > 6 BEGIN
                UPDATE item SET value = OLD.value WHERE id = NEW.id;
            END;",
        recursive_triggers: "OFF",
    },
    Schema {
        name: "rows that refer to rows",
        sql: "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE,
            parent INTEGER REFERENCES item (id) ON DELETE CASCADE ON UPDATE CASCADE,
            value REAL, extra);",
        recursive_triggers: "OFF",
    },
    Schema {
        name: "actions that come back",
        sql: "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE,
            parent INTEGER, value REAL, extra);
            CREATE TABLE child (item INTEGER PRIMARY KEY
                REFERENCES item (id) ON DELETE CASCADE ON UPDATE CASCADE);
            CREATE TRIGGER bears AFTER INSERT ON parent BEGIN
                INSERT OR IGNORE INTO child SELECT id FROM item;
            END;
            CREATE TRIGGER counts AFTER UPDATE ON child BEGIN
                UPDATE item SET value = coalesce(value, 0) + 1 WHERE id = NEW.item;
            END;",
        recursive_triggers: "OFF",
    },
];

/// A database, and nothing that follows it yet.
pub(super) struct Database {
    _dir: TempDir,
    path: PathBuf,
    writer: Connection,
    origin: Arc<SqliteOrigin>,
}

impl Database {
    pub(super) fn new(schema: &Schema) -> Self {
        let dir = TempDir::new("table-rows").unwrap();
        let path = dir.path().join("shop.sqlite");
        let writer = Connection::open(&path).unwrap();
        let recursive = schema.recursive_triggers;
        let pragmas = format!(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;
             PRAGMA recursive_triggers = {recursive};"
        );
        writer.execute_batch(&format!("{pragmas} {PARENT} {}", schema.sql)).unwrap();
        writer.busy_timeout(Duration::from_secs(10)).unwrap();
        let options = OriginOptions { track: Track::Rows, ..OriginOptions::new("shop", &path) };
        let origin = SqliteOrigin::open(options).unwrap();
        Self { _dir: dir, path, writer, origin }
    }

    pub(super) fn definition(&self, sql: &str) -> SqlDefinition<Row> {
        let source = SqlSource::new(&self.origin, sql).unwrap();
        let mut definition = source.rows("items", &["id"]).unwrap();
        definition.max_staleness(Duration::ZERO);
        definition
    }

    /// The columns that the log tells of each item.
    pub(super) fn logged(&self) -> Vec<String> {
        let sql = "SELECT c.name FROM larder_columns c JOIN larder_tables t ON t.id = c.tbl
            WHERE t.name = 'item' AND c.logged ORDER BY 1";
        let mut select = self.writer.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Runs the statements, of which some are against a constraint.
    pub(super) fn write(&self, statements: &[String]) {
        for sql in statements {
            if let Err(error) = self.writer.execute_batch(sql) {
                let text = error.to_string();
                let is_slip = ["syntax", "no such column", "no such table", "locked", "busy"];
                assert!(!is_slip.iter().any(|word| text.contains(word)), "{sql}: {text}");
            }
        }
        assert!(self.writer.is_autocommit(), "{statements:?}");
    }

    /// The items, in the order of a column.
    fn truth(&self, order: &str) -> Vec<String> {
        let sql = format!("SELECT * FROM item ORDER BY {order} COLLATE BINARY");
        let mut select = self.writer.prepare(&sql).unwrap();
        let rows = select.query_map([], |row| {
            let values: Vec<Value> = (0..5)
                .map(|place| match row.get_ref(place).unwrap() {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(number) => Value::Integer(number),
                    ValueRef::Real(number) => Value::Real(number),
                    ValueRef::Text(text) => Value::Text(str::from_utf8(text).unwrap().into()),
                    ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
                })
                .collect();
            Ok(format!("{values:?}"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

/// A database and a table of its items.
pub(super) struct Ground {
    pub(super) database: Database,
    pub(super) table: Table<Row, RowKey>,
    by_id: Index<Row, RowKey>,
    by_code: Index<Row, String>,
}

impl Ground {
    /// With a log that tells all of an item.
    pub(super) async fn new(schema: &Schema) -> Self {
        Self::with(schema, |definition| {
            definition.rows_are_records().unwrap();
        })
        .await
    }

    pub(super) async fn with(schema: &Schema, say: impl FnOnce(&mut SqlDefinition<Row>)) -> Self {
        let database = Database::new(schema);
        let mut definition = database.definition("SELECT * FROM item");
        say(&mut definition);
        let (name, statements) = ("shop".into(), [definition.statement().clone()]);
        let plan = track::plan_with(&database.path, &name, &statements, &definition.looks_at());
        plan.unwrap().apply(&database.path).unwrap();
        let by_code = definition.definition().unique("code", |row: &Row| match row.get("code") {
            Some(Value::Text(code)) => code.to_string(),
            other => panic!("a code is {other:?}"),
        });
        let by_id = definition.definition().primary();
        let feed = database.origin.feed().unwrap();
        let table = definition.follow(&by_id, feed, Clock::system()).unwrap();
        table.load(Ranges::all()).await.unwrap();
        Self { database, table, by_id, by_code }
    }

    pub(super) async fn adjust(&self, window: Ranges<RowKey>) {
        match self.table.adjust(window.clone()).await {
            // It loads what has a code that a record has, of which the feed tells only then that
            // it is in doubt: nothing was changed.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.table.refresh_invalid().await.unwrap();
                self.table.adjust(window).await.unwrap();
            }
            adjusted => drop(adjusted.unwrap()),
        }
    }

    /// Fails unless the table shows what the database has, by each index.
    pub(super) async fn compare(&self, about: &str) {
        let shown = |row: &Arc<Row>| format!("{:?}", row.values());
        let found = self.table.select(&self.by_id, Ranges::all()).read().await.unwrap();
        let found: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(found, self.database.truth("id"), "{about}");
        if !self.table.window().is_some_and(|window| window.is_all()) {
            return;
        }
        let by_code = self.table.select(&self.by_code, Ranges::all());
        let found = by_code.and(&self.by_id, Ranges::all()).read().await.unwrap();
        let found: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(found, self.database.truth("code"), "{about}");
    }
}

/// The key of an item.
pub(super) fn key(id: i64) -> RowKey {
    RowKey::new([Value::Integer(id)])
}
