//! Every way to change a row, against the triggers that must see it.
//!
//! Each case is a table, a question and a change by another connection. Whatever changes the answer
//! must drop it; a change that is marked as unrelated must not.

use larder_sqlite::{ParamKind, Query, Track};

use crate::place::{NAME, Place, World, query, track_rows, writer};

struct Case {
    name: &'static str,
    schema: &'static str,
    ask: &'static str,
    change: &'static str,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    /// The answer changes, so it must be dropped.
    Changes,
    /// The answer does not change and is known not to.
    Unrelated,
    /// The answer does not change and is dropped all the same: nobody can know better.
    Widened,
}

use Effect::{Changes, Unrelated, Widened};

fn check(case: &Case) {
    for journal in ["wal", "delete"] {
        let place = Place::new();
        let path = place.database("a.db", journal, case.schema);
        let plan = track_rows(&path, &[case.ask]);
        assert!(!plan.tables.is_empty(), "{}: tracks {:?}", case.name, plan.tables);
        let world = World::open(&path, Track::Rows);
        let ask: Query = query(&world.prepare(case.ask, &[]), vec![]);
        let before = world.load(&ask).unwrap();
        assert!(
            !before.dependencies.contains(&larder_core::Dependency::table(NAME, "*")),
            "{}: {:?}",
            case.name,
            before.dependencies
        );
        assert!(world.is_valid(&before));
        writer(&path).execute_batch(case.change).unwrap();
        let valid = world.is_valid(&before);
        let after = world.load(&ask).unwrap();
        let changed = before.rows != after.rows;
        let name = case.name;
        assert_eq!(changed, case.effect == Changes, "{name}: the case is wrong: {after:?}");
        assert_eq!(valid, case.effect == Unrelated, "{name} in {journal}: {:?}", world.ledger);
        assert!(world.is_valid(&after), "{name}: the new answer");
    }
}

fn check_all(schema: &'static str, cases: &[(&'static str, &'static str, &'static str, Effect)]) {
    for &(name, ask, change, effect) in cases {
        check(&Case { name, schema, ask, change, effect });
    }
}

const PLAIN: &str = "CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER, title TEXT, \
    note TEXT); INSERT INTO album VALUES (1, 90, 'a', 'x'), (2, 90, 'b', 'y'), (3, 7, 'c', 'z');";
const OF_ARTIST: &str = "SELECT id, title FROM album WHERE artist = 90 ORDER BY id";
const BY_ID: &str = "SELECT title FROM album WHERE id = 2";
const ALL: &str = "SELECT title FROM album ORDER BY id";

#[test]
fn plain_changes_of_rows_are_seen_where_they_matter() {
    check_all(
        PLAIN,
        &[
            ("update", OF_ARTIST, "UPDATE album SET title = 'z' WHERE id = 2", Changes),
            ("insert", OF_ARTIST, "INSERT INTO album VALUES (9, 90, 'n', '')", Changes),
            ("insert, key chosen", OF_ARTIST, "INSERT INTO album(artist) VALUES (90)", Changes),
            ("delete", OF_ARTIST, "DELETE FROM album WHERE id = 2", Changes),
            ("delete all", OF_ARTIST, "DELETE FROM album", Changes),
            ("move away", OF_ARTIST, "UPDATE album SET artist = 7 WHERE id = 2", Changes),
            ("move in", OF_ARTIST, "UPDATE album SET artist = 90 WHERE id = 3", Changes),
            ("as text", OF_ARTIST, "UPDATE album SET artist = '90' WHERE id = 3", Changes),
            ("as real", OF_ARTIST, "UPDATE album SET artist = 90.0 WHERE id = 3", Changes),
            ("change key", OF_ARTIST, "UPDATE album SET id = 20 WHERE id = 2", Changes),
            ("change rowid", OF_ARTIST, "UPDATE album SET rowid = 20 WHERE id = 2", Changes),
            ("change oid", BY_ID, "UPDATE album SET OID = 20 WHERE id = 2", Changes),
            ("change _rowid_", BY_ID, "UPDATE album SET _rowid_ = 20 WHERE id = 2", Changes),
            ("upper case", BY_ID, "UPDATE ALBUM SET TITLE = 'u' WHERE ID = 2", Changes),
            ("other artist", OF_ARTIST, "UPDATE album SET title = 'z' WHERE id = 3", Unrelated),
            ("other insert", OF_ARTIST, "INSERT INTO album VALUES (9, 8, 'n', '')", Unrelated),
            ("column nobody reads", ALL, "UPDATE album SET note = 'n'", Unrelated),
            ("other row", BY_ID, "UPDATE album SET title = 'z' WHERE id = 1", Unrelated),
            ("rolled back", ALL, "BEGIN; DELETE FROM album; ROLLBACK", Unrelated),
            (
                "to a savepoint",
                ALL,
                "BEGIN; SAVEPOINT s; DELETE FROM album; ROLLBACK TO s; COMMIT",
                Unrelated,
            ),
            (
                "half of it rolled back",
                OF_ARTIST,
                "BEGIN; UPDATE album SET title = 'q' WHERE id = 1; SAVEPOINT s; \
                 DELETE FROM album; ROLLBACK TO s; COMMIT",
                Changes,
            ),
        ],
    );
}

#[test]
fn rows_displaced_by_replace_are_seen() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT UNIQUE COLLATE NOCASE, \
        grp INTEGER, a INTEGER, b INTEGER, UNIQUE (a, b)); \
        INSERT INTO t VALUES (1, 'one', 5, 1, 1), (2, 'two', 5, 2, NULL), (3, 'three', 6, 3, 3);";
    let group = "SELECT id FROM t WHERE grp = 5 ORDER BY id";
    check_all(
        schema,
        &[
            ("insert by key", group, "INSERT OR REPLACE INTO t VALUES (1, 'x', 9, 8, 8)", Changes),
            ("REPLACE INTO", group, "REPLACE INTO t VALUES (1, 'x', 9, 8, 8)", Changes),
            ("by rowid", group, "REPLACE INTO t(rowid, grp) VALUES (1, 9)", Changes),
            ("by unique", group, "REPLACE INTO t VALUES (8, 'one', 9, 8, 8)", Changes),
            ("by NOCASE unique", group, "REPLACE INTO t VALUES (8, 'TWO', 9, 8, 8)", Changes),
            ("by two columns", group, "REPLACE INTO t VALUES (8, 'x', 9, 1, 1)", Changes),
            ("null is not equal", group, "REPLACE INTO t VALUES (8, 'x', 9, 2, NULL)", Unrelated),
            ("two at once", group, "REPLACE INTO t VALUES (2, 'one', 9, 8, 8)", Changes),
            ("key as text", group, "REPLACE INTO t(id, grp) VALUES ('1', 9)", Changes),
            ("update key", group, "UPDATE OR REPLACE t SET id = 1 WHERE id = 3", Changes),
            ("update rowid", group, "UPDATE OR REPLACE t SET rowid = 1 WHERE id = 3", Changes),
            ("update unique", group, "UPDATE OR REPLACE t SET code = 'ONE' WHERE id = 3", Changes),
            (
                "update two columns",
                group,
                "UPDATE OR REPLACE t SET a = 1, b = 1 WHERE id = 3",
                Changes,
            ),
            ("in one another", group, "UPDATE OR REPLACE t SET code = 'same'", Changes),
            (
                "upsert",
                group,
                "INSERT INTO t VALUES (1, 'x', 1, 1, 1) ON CONFLICT(id) DO UPDATE SET grp = 9",
                Changes,
            ),
            (
                "upsert that moves in",
                group,
                "INSERT INTO t(id) VALUES (3) ON CONFLICT DO UPDATE SET grp = 5",
                Changes,
            ),
            (
                "upsert by unique",
                group,
                "INSERT INTO t(code) VALUES ('ONE') ON CONFLICT(code) DO UPDATE SET grp = 9",
                Changes,
            ),
            (
                "with recursive triggers",
                group,
                "PRAGMA recursive_triggers = on; REPLACE INTO t VALUES (1, 'x', 9, 8, 8)",
                Changes,
            ),
            ("ignored", group, "INSERT OR IGNORE INTO t VALUES (1, 'x', 9, 8, 8)", Widened),
            (
                "nothing done",
                group,
                "INSERT INTO t VALUES (1, 'x', 9, 8, 8) ON CONFLICT DO NOTHING",
                Widened,
            ),
        ],
    );
}

#[test]
fn conflict_clauses_of_the_schema_are_seen() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, \
        code TEXT UNIQUE ON CONFLICT REPLACE, grp INTEGER); \
        INSERT INTO t VALUES (1, 'one', 5), (2, 'two', 5), (3, 'three', 6);";
    let group = "SELECT id FROM t WHERE grp = 5 ORDER BY id";
    check_all(
        schema,
        &[
            ("by key", group, "INSERT INTO t VALUES (1, 'x', 9)", Changes),
            ("by unique", group, "INSERT INTO t VALUES (8, 'one', 9)", Changes),
            ("update", group, "UPDATE t SET code = 'one' WHERE id = 3", Changes),
            ("update key", group, "UPDATE t SET id = 2 WHERE id = 3", Changes),
        ],
    );
}

#[test]
fn tables_without_rowid_and_with_composite_keys_are_seen() {
    let schema = "CREATE TABLE t(a TEXT COLLATE NOCASE, b INTEGER, grp INTEGER, u TEXT UNIQUE, \
        PRIMARY KEY (a, b)) WITHOUT ROWID; \
        INSERT INTO t VALUES ('x', 1, 5, 'p'), ('y', 2, 5, 'q'), ('z', 3, 6, 'r');";
    let group = "SELECT a, b FROM t WHERE grp = 5 ORDER BY a, b";
    check_all(
        schema,
        &[
            ("replace", group, "REPLACE INTO t VALUES ('X', 1, 9, 's')", Changes),
            ("replace by unique", group, "REPLACE INTO t VALUES ('w', 9, 9, 'q')", Changes),
            ("update key", group, "UPDATE t SET b = 7 WHERE a = 'x'", Changes),
            ("change case", group, "UPDATE t SET a = 'X' WHERE a = 'x'", Changes),
            ("displace", group, "UPDATE OR REPLACE t SET a = 'X', b = 1 WHERE a = 'z'", Changes),
            ("other", group, "UPDATE t SET u = 'other' WHERE a = 'z'", Unrelated),
        ],
    );
}

#[test]
fn a_key_that_is_compared_more_strictly_than_its_column_is_seen() {
    let schema = "CREATE TABLE t(a TEXT COLLATE NOCASE, u INTEGER UNIQUE, grp INTEGER, \
        PRIMARY KEY (a COLLATE BINARY)) WITHOUT ROWID; \
        INSERT INTO t VALUES ('x', 1, 6), ('X', 2, 5);";
    let group = "SELECT count(*) AS n FROM t WHERE grp = 5";
    let displace = "UPDATE OR REPLACE t SET u = 2 WHERE u = 1";
    let other = "UPDATE OR REPLACE t SET u = 3 WHERE u = 1";
    check_all(schema, &[("displace", group, displace, Changes)]);
    check_all(schema, &[("only itself", group, other, Unrelated)]);
}

#[test]
fn keys_without_a_rowid_alias_are_seen() {
    let schema = "CREATE TABLE t(code TEXT PRIMARY KEY, grp INTEGER); \
        INSERT INTO t VALUES ('a', 5), ('b', 5), ('c', 6), (NULL, 5), (NULL, 6);";
    let group = "SELECT count(*) AS n, max(code) AS m FROM t WHERE grp = 5";
    check_all(
        schema,
        &[
            ("displaced by rowid", group, "REPLACE INTO t(rowid, code) VALUES (1, 'x')", Changes),
            ("displaced by key", group, "REPLACE INTO t VALUES ('b', 9)", Changes),
            ("null key", group, "DELETE FROM t WHERE code IS NULL AND grp = 5", Changes),
            ("other null key", group, "DELETE FROM t WHERE code IS NULL AND grp = 6", Unrelated),
            ("rowid", group, "UPDATE OR REPLACE t SET rowid = 1 WHERE code = 'c'", Changes),
        ],
    );
}

#[test]
fn foreign_key_actions_are_seen() {
    let schema = "CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE); \
        CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE \
        ON UPDATE CASCADE, q TEXT REFERENCES p(code) ON DELETE SET NULL ON UPDATE CASCADE); \
        INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three'); \
        INSERT INTO c VALUES (1, 1, 'two'), (2, 2, 'three');";
    let children = "SELECT id, p, q FROM c WHERE p = 1";
    let by_code = "SELECT id FROM c WHERE q = 'two'";
    check_all(
        schema,
        &[
            ("delete cascades", children, "DELETE FROM p WHERE id = 1", Changes),
            ("update cascades", children, "UPDATE p SET id = 9 WHERE id = 1", Changes),
            ("set null", by_code, "DELETE FROM p WHERE id = 2", Changes),
            ("unique cascades", by_code, "UPDATE p SET code = 'zwei' WHERE id = 2", Changes),
            ("a displaced parent", children, "REPLACE INTO p VALUES (1, 'x')", Changes),
            ("displaced by code", children, "REPLACE INTO p VALUES (8, 'one')", Changes),
            ("other parent", children, "DELETE FROM p WHERE id = 3", Unrelated),
        ],
    );
}

#[test]
fn changes_made_by_triggers_of_the_application_are_seen() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, u INTEGER UNIQUE, grp INTEGER); \
        CREATE TABLE other(a); \
        INSERT INTO t VALUES (1, 1, 5), (2, 2, 5), (3, 3, 6); \
        CREATE TRIGGER app AFTER INSERT ON other BEGIN \
        UPDATE t SET grp = NEW.a WHERE id = 3; END; \
        CREATE TRIGGER nasty BEFORE INSERT ON t WHEN NEW.grp = 77 BEGIN \
        UPDATE t SET u = NEW.u WHERE id = 1; END; \
        CREATE VIEW v AS SELECT id, grp FROM t; \
        CREATE TRIGGER instead INSTEAD OF UPDATE ON v BEGIN \
        UPDATE t SET grp = NEW.grp WHERE id = OLD.id; END;";
    let group = "SELECT id FROM t WHERE grp = 5 ORDER BY id";
    check_all(
        schema,
        &[
            ("a trigger moves in", group, "INSERT INTO other VALUES (5)", Changes),
            ("through a view", group, "UPDATE v SET grp = 8 WHERE id = 1", Changes),
            (
                "a trigger makes the conflict",
                group,
                "INSERT OR REPLACE INTO t VALUES (8, 40, 77)",
                Changes,
            ),
            ("a trigger elsewhere", group, "INSERT INTO other VALUES (8)", Unrelated),
        ],
    );
}

#[test]
fn tables_that_cannot_be_tracked_by_row_are_tracked_whole() {
    let schemas = [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, v TEXT); \
         CREATE UNIQUE INDEX partial ON t(u) WHERE v IS NOT NULL;",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, v TEXT); \
         CREATE UNIQUE INDEX expression ON t(lower(u));",
        "CREATE TABLE t(id INTEGER, u TEXT, v TEXT);",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'd' UNIQUE, v TEXT);",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, v TEXT, \
         w TEXT GENERATED ALWAYS AS (u || '.') STORED UNIQUE);",
        "CREATE TABLE t(id TEXT PRIMARY KEY, u TEXT, v TEXT, rowid, oid, _rowid_);",
    ];
    for schema in schemas {
        let place = Place::new();
        let path = place.database("a.db", "wal", schema);
        writer(&path)
            .execute_batch("INSERT INTO t(id, u, v) VALUES (1, 'd', 'x'), (2, 'B', 'y')")
            .unwrap();
        let ask = "SELECT u FROM t WHERE id = 1";
        let plan = track_rows(&path, &[ask]);
        assert!(plan.tables.iter().all(|table| !table.by_row && !table.why.is_empty()));
        let world = World::open(&path, Track::Rows);
        let ask = query(&world.prepare(ask, &[]), vec![]);
        let changes = [
            "INSERT OR REPLACE INTO t(id, u, v) VALUES (8, 'd', 'x')",
            "INSERT OR REPLACE INTO t(id, u, v) VALUES (9, NULL, 'x')",
            "UPDATE OR REPLACE t SET v = 'z' WHERE id = 2",
            "DELETE FROM t WHERE id = 1",
        ];
        for change in changes {
            let Ok(answer) = world.load(&ask) else { panic!("{schema}") };
            assert!(world.is_valid(&answer));
            if writer(&path).execute_batch(change).is_err() {
                continue;
            }
            let valid = world.is_valid(&answer);
            let changed = world.load(&ask).unwrap().rows != answer.rows;
            assert!(!(valid && changed), "{schema}: {change}");
        }
        writer(&path).execute_batch("CREATE TABLE other(a); INSERT INTO other VALUES (1)").unwrap();
        let answer = world.load(&ask).unwrap();
        world.catch_up().unwrap();
        let answer = if world.is_valid(&answer) { answer } else { world.load(&ask).unwrap() };
        writer(&path).execute_batch("INSERT INTO other VALUES (2)").unwrap();
        assert!(world.is_valid(&answer), "{schema}: another table does not matter");
    }
}

#[test]
fn values_of_every_type_survive_the_log() {
    let schema =
        "CREATE TABLE t(k PRIMARY KEY, v TEXT); CREATE TABLE typed(k TEXT PRIMARY KEY, v);";
    let keys = [
        "1",
        "1.0",
        "'1'",
        "x'31'",
        "1.5",
        "-0.0",
        "0",
        "9e999",
        "-9e999",
        "0.1 + 0.2",
        "9223372036854775807",
        "9007199254740993",
        "9007199254740992.0",
        "''",
        "x''",
        "'it''s, \"quoted\"'",
        "'a' || char(0) || 'b'",
        "'a' || char(0) || 'c'",
        "'\u{1F980}'",
        "randomblob(3000)",
    ];
    let place = Place::new();
    let path = place.database("a.db", "wal", schema);
    let ask = "SELECT v FROM t WHERE k = :k";
    track_rows(&path, &[ask]);
    let world = World::open(&path, Track::Rows);
    let statement = world.prepare(ask, &[("k", ParamKind::Any)]);
    let other = writer(&path);
    let key_of = |sql: &str| -> larder_core::Value {
        use rusqlite::types::Value;
        match other.query_row(&format!("SELECT {sql}"), [], |row| row.get(0)).unwrap() {
            Value::Null => larder_core::Value::Null,
            Value::Integer(number) => number.into(),
            Value::Real(number) => number.into(),
            Value::Text(text) => text.into(),
            Value::Blob(bytes) => larder_core::Value::Blob(bytes.into()),
        }
    };
    for sql in keys {
        let key = key_of(sql);
        let ask = query(&statement, vec![key.clone()]);
        let unrelated = query(&statement, vec!["elsewhere".into()]);
        let before = world.load(&ask).unwrap();
        let untouched = world.load(&unrelated).unwrap();
        let bound: rusqlite::types::Value = match &key {
            larder_core::Value::Null => rusqlite::types::Value::Null,
            larder_core::Value::Integer(number) => (*number).into(),
            larder_core::Value::Real(number) => (*number).into(),
            larder_core::Value::Text(text) => text.to_string().into(),
            larder_core::Value::Blob(bytes) => bytes.to_vec().into(),
        };
        other.execute("INSERT OR IGNORE INTO t VALUES (?1, 'new')", [&bound]).unwrap();
        other.execute("UPDATE t SET v = v || '!' WHERE k = ?1", [&bound]).unwrap();
        let valid = world.is_valid(&before);
        let after = world.load(&ask).unwrap();
        assert_ne!(before.rows, after.rows, "{sql}");
        assert!(!valid, "{sql}: {:?} {:?}", before.dependencies, world.ledger.changes());
        assert!(world.is_valid(&untouched), "{sql}");
        assert!(world.is_valid(&after), "{sql}");
    }
}
