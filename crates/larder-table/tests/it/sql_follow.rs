//! Tables of a SELECT that hear of changes by themselves: what is found out, what is said, and what
//! puts everything in doubt.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_core::{Clock, Dependency, ErrorKind, Value, origin::Origin};
use larder_sqlite::{OriginOptions, Query, SqliteOrigin, Track, UNWATCHED, track};
use larder_table::{
    Index, Ranges, Table,
    sql::{Row, RowKey, SqlDefinition, SqlSource},
};
use larder_testkit::temp::TempDir;

use super::database::{connect, write};

struct Ground {
    _dir: TempDir,
    path: PathBuf,
    origin: Arc<SqliteOrigin>,
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT, unseen TEXT);
    CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, value REAL, unseen TEXT);
    INSERT INTO device VALUES (1, 'one', ''), (2, 'two', '');
    INSERT INTO reading VALUES (10, 1, 0.5, ''), (11, 2, 1.5, ''), (12, 1, 2.5, '');";

const JOIN: &str = "SELECT r.id, d.id AS device, d.name, r.value FROM reading r \
    JOIN device d ON d.id = r.device";

impl Ground {
    fn new(track: Track) -> Self {
        let dir = TempDir::new("table-sql").unwrap();
        let path = dir.path().join("plant.sqlite");
        write(&path, SCHEMA);
        let options = OriginOptions { track, ..OriginOptions::new("plant", &path) };
        let origin = SqliteOrigin::open(options).unwrap();
        Self { _dir: dir, path, origin }
    }

    fn definition(&self, sql: &str) -> SqlDefinition<Row> {
        let source = SqlSource::new(&self.origin, sql).unwrap();
        let mut definition = source.rows("readings", &["id"]).unwrap();
        definition.max_staleness(Duration::ZERO);
        definition
    }

    /// Has the log tell what the definition looks at.
    fn track(&self, definition: &SqlDefinition<Row>) {
        let (name, statements) = ("plant".into(), [definition.statement().clone()]);
        let plan = track::plan_with(&self.path, &name, &statements, &definition.looks_at());
        plan.unwrap().apply(&self.path).unwrap();
    }

    /// A table of everything, by primary key.
    async fn table(&self, mut definition: SqlDefinition<Row>) -> Followed {
        let by_id = definition.definition().primary();
        let feed = self.origin.feed().unwrap();
        let table = definition.follow(&by_id, feed, Clock::system()).unwrap();
        table.load(Ranges::all()).await.unwrap();
        Followed { table, by_id }
    }

    fn write(&self, sql: &str) {
        write(&self.path, sql);
    }
}

struct Followed {
    table: Table<Row, RowKey>,
    by_id: Index<Row, RowKey>,
}

impl Followed {
    /// The ids and the values of a column, of the readings with these ids.
    async fn shown(&self, ids: Ranges<RowKey>, column: &str) -> Vec<String> {
        let found = self.table.select(&self.by_id, ids).read().await.unwrap();
        let shown = found.iter().map(|row| (row.get("id").unwrap(), row.get(column).unwrap()));
        shown.map(|(id, value)| format!("{id:?} {value:?}")).collect()
    }

    fn refreshes(&self) -> u64 {
        self.table.stats().refreshes
    }
}

fn only(id: i64) -> Ranges<RowKey> {
    Ranges::only([RowKey::new([Value::Integer(id)])])
}

/// T14: the root of a join by its key, found out from the query; its parent by the rule.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_join_are_loaded_again_where_a_changed_row_went_into_them() {
    let ground = Ground::new(Track::Rows);
    let mut definition = ground.definition(JOIN);
    let by_device = definition.columns("device", &["device"]).unwrap();
    definition.follows("DEVICE", &["id"], &by_device).unwrap();
    ground.track(&definition);
    let followed = ground.table(definition).await;
    assert_eq!(followed.refreshes(), 0);

    ground.write("UPDATE reading SET value = 9.0 WHERE id = 12");
    assert_eq!(followed.shown(only(11), "value").await, ["11 1.5"]);
    assert_eq!(followed.refreshes(), 0, "reading 11 is not in doubt");
    assert_eq!(followed.shown(only(12), "value").await, ["12 9.0"]);
    assert_eq!(followed.refreshes(), 1);

    ground.write("UPDATE device SET name = 'uno' WHERE id = 1");
    let of_two = Ranges::<RowKey>::prefix(vec![Value::Integer(2)]);
    let found = followed.table.select(&by_device, of_two).and(&followed.by_id, Ranges::all());
    assert_eq!(found.read().await.unwrap().count(), 1);
    assert_eq!(followed.refreshes(), 1, "nothing of device 2 is in doubt");
    let names = ["10 \"uno\"", "11 \"two\"", "12 \"uno\""];
    assert_eq!(followed.shown(Ranges::all(), "name").await, names);

    ground.write(
        "UPDATE reading SET id = 13, device = 2 WHERE id = 10; DELETE FROM reading WHERE id = 11;
         INSERT INTO reading VALUES (14, 1, NULL, ''); UPDATE device SET id = 3 WHERE id = 2;",
    );
    assert_eq!(followed.shown(Ranges::all(), "name").await, ["12 \"uno\"", "14 \"uno\""]);
    ground.write("INSERT INTO device VALUES (2, 'back', '')");
    let names = ["12 \"uno\"", "13 \"back\"", "14 \"uno\""];
    assert_eq!(followed.shown(Ranges::all(), "name").await, names);
}

/// A rule that names the first columns of an index only: all keys that begin so are in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn rule_with_the_first_columns_of_an_index_finds_all_keys_that_begin_so() {
    let whole = |row: &Row, name: &str| match row.get(name) {
        Some(Value::Integer(number)) => *number,
        other => panic!("{name} is {other:?}"),
    };
    for is_typed in [false, true] {
        let ground = Ground::new(Track::Rows);
        let mut definition = ground.definition(JOIN);
        let columns = ["device", "id"];
        if is_typed {
            let key = move |row: &Row| (whole(row, "device"), whole(row, "id"));
            let by_device = definition.index("device", &columns, key).unwrap();
            definition.follows("device", &["id"], &by_device).unwrap();
        } else {
            let by_device = definition.columns("device", &columns).unwrap();
            definition.follows("device", &["id"], &by_device).unwrap();
        }
        ground.track(&definition);
        let followed = ground.table(definition).await;
        ground.write("UPDATE device SET name = 'uno' WHERE id = 1");
        let names = ["10 \"uno\"", "11 \"two\"", "12 \"uno\""];
        assert_eq!(followed.shown(Ranges::all(), "name").await, names);
    }
}

/// A key of a type that lacks some values of its column: what is not one of them may still be in
/// any record, if it is not NULL.
#[tokio::test(flavor = "multi_thread")]
async fn value_that_no_key_has_puts_everything_in_doubt_unless_it_is_null() {
    let ground = Ground::new(Track::Rows);
    let mut definition = ground.definition(JOIN);
    let has_device = |row: &Row| row.get("device") != Some(&Value::Integer(0));
    let by_any = definition.index("any", &["device"], has_device).unwrap();
    definition.follows("device", &["id"], &by_any).unwrap();
    definition.follows("reading", &["device"], &by_any).unwrap();
    ground.track(&definition);
    let followed = ground.table(definition).await;
    ground.write("INSERT INTO reading VALUES (14, NULL, 4.5, '')");
    let names = ["10 \"one\"", "11 \"two\"", "12 \"one\""];
    assert_eq!(followed.shown(Ranges::all(), "name").await, names);
    assert_eq!(followed.refreshes(), 0, "NULL is no key of this type, and joins with nothing");
    ground.write("UPDATE device SET name = 'due' WHERE id = 2");
    let names = ["10 \"one\"", "11 \"due\"", "12 \"one\""];
    assert_eq!(followed.shown(Ranges::all(), "name").await, names);
}

/// What nobody has a rule for is never nothing: a table, one that is not tracked, a log without
/// what the rule looks at, and no log at all.
#[tokio::test(flavor = "multi_thread")]
async fn change_that_nobody_can_place_puts_everything_in_doubt() {
    let shows_all = async |ground: &Ground, followed: &Followed| {
        ground.write("UPDATE device SET name = name || '!'");
        let names = ["10 \"one!\"", "11 \"two!\"", "12 \"one!\""];
        assert_eq!(followed.shown(Ranges::all(), "name").await, names);
        ground.write("DELETE FROM reading WHERE id = 11; UPDATE device SET name = 'x'");
        assert_eq!(followed.shown(Ranges::all(), "name").await, ["10 \"x\"", "12 \"x\""]);
    };
    // No rule for `device`.
    let ground = Ground::new(Track::Rows);
    let definition = ground.definition(JOIN);
    ground.track(&definition);
    shows_all(&ground, &ground.table(definition).await).await;
    // `device` is not tracked at all, and nothing reads it but this.
    let ground = Ground::new(Track::Rows);
    let definition = ground.definition(JOIN);
    let alone = ground.definition("SELECT id, device, value FROM reading");
    ground.track(&alone);
    shows_all(&ground, &ground.table(definition).await).await;
    // The rule looks at a column that the log does not have.
    let ground = Ground::new(Track::Rows);
    let sql = "SELECT r.id, d.id AS device, d.name FROM device d JOIN reading r ON r.device = d.id";
    let mut definition = ground.definition(sql);
    let by_device = definition.columns("device", &["device"]).unwrap();
    ground.track(&definition);
    definition.follows("reading", &["device"], &by_device).unwrap();
    shows_all(&ground, &ground.table(definition).await).await;
    // Any commit.
    let ground = Ground::new(Track::Database);
    let definition = ground.definition(JOIN);
    shows_all(&ground, &ground.table(definition).await).await;
}

/// What others read of the origin is no doubt for it, once all that it reads itself is tracked.
#[tokio::test(flavor = "multi_thread")]
async fn commit_is_no_doubt_any_more_when_everything_is_tracked() {
    let ground = Ground::new(Track::Rows);
    ground.write("CREATE TABLE other (id INTEGER PRIMARY KEY)");
    let (definition, again) = (ground.definition(JOIN), ground.definition(JOIN));
    ground.track(&ground.definition("SELECT id, device, value FROM reading"));
    let followed = ground.table(definition).await;
    ground.write("INSERT INTO other VALUES (1)");
    assert_eq!(followed.shown(only(11), "value").await, ["11 1.5"]);
    assert_eq!(followed.refreshes(), 1, "`device` is not tracked");
    ground.track(&again);
    let all = ["10 0.5", "11 1.5", "12 2.5"];
    assert_eq!(followed.shown(Ranges::all(), "value").await, all);
    assert_eq!(followed.refreshes(), 2, "another life");
    let statement = ground.origin.prepare("SELECT id FROM other", &[]).unwrap();
    ground.origin.shape(&Query::new(statement, Vec::new()));
    let stamp = followed.table.reflects().unwrap();
    ground.write("INSERT INTO other VALUES (2)");
    assert_eq!(followed.shown(Ranges::all(), "value").await, all);
    assert!(stamp.as_of < followed.table.reflects().unwrap().as_of, "it is touched");
    assert_eq!(followed.refreshes(), 2);
    ground.write("UPDATE device SET name = 'uno' WHERE id = 1");
    let names = ["10 \"uno\"", "11 \"two\"", "12 \"uno\""];
    assert_eq!(followed.shown(Ranges::all(), "name").await, names);
}

/// Neither what others read of the origin nor what is built from the table makes each commit a
/// doubt for it.
#[tokio::test(flavor = "multi_thread")]
async fn commit_to_what_no_load_of_the_table_reads_is_no_doubt() {
    let ground = Ground::new(Track::Rows);
    ground.write("CREATE TABLE other (id INTEGER PRIMARY KEY)");
    let definition = ground.definition(JOIN);
    ground.track(&definition);
    let followed = ground.table(definition).await;
    let asked = followed.table.asked_by(&followed.by_id);
    let stamp = followed.table.reflects().unwrap();
    let answer = asked.load(&Ranges::all(), stamp.clone()).await.unwrap();
    let unwatched = Dependency::table("plant", UNWATCHED);
    assert!(asked.shape(&Ranges::all()).contains(&unwatched));
    assert!(answer.dependencies.contains(&unwatched));
    ground.write("INSERT INTO other VALUES (1)");
    assert_eq!(followed.shown(only(11), "value").await, ["11 1.5"]);
    assert_eq!(followed.table.reflects().unwrap(), stamp, "asking has nothing touched");

    let statement = ground.origin.prepare("SELECT id FROM other", &[]).unwrap();
    ground.origin.shape(&Query::new(statement, Vec::new()));
    ground.write("INSERT INTO other VALUES (2)");
    assert_eq!(followed.shown(only(11), "value").await, ["11 1.5"]);
    assert!(stamp.as_of < followed.table.reflects().unwrap().as_of, "it is touched");
    assert_eq!(followed.refreshes(), 0);
}

/// A row of the result that is made of many rows, or of those that are first, is not found by key.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_made_of_many_are_not_found_by_the_key_of_one() {
    let texts = [
        "SELECT device AS id, sum(value) AS value FROM reading GROUP BY device",
        "SELECT id, value FROM reading ORDER BY value DESC LIMIT 1",
        "SELECT DISTINCT device AS id, value > 0 AS value FROM reading",
        "SELECT a.id, b.id AS value FROM reading a JOIN reading b ON b.device = a.device + 2",
        "SELECT r.id, d.name AS value FROM reading r LEFT JOIN device d ON d.id = r.device",
        "SELECT id, (SELECT max(id) FROM reading) AS value FROM reading",
        "SELECT id, value FROM reading WHERE id < 12 UNION ALL SELECT id, id FROM device",
    ];
    for sql in texts {
        let ground = Ground::new(Track::Rows);
        let definition = ground.definition(sql);
        assert!(definition.looks_at().is_empty(), "{sql}");
        ground.track(&definition);
        let followed = ground.table(definition).await;
        ground.write(
            "DELETE FROM device WHERE id = 2;
             UPDATE reading SET value = 7, device = 3 WHERE id = 12;
             INSERT INTO reading VALUES (15, 2, 4.5, '');",
        );
        let shown = followed.shown(Ranges::all(), "value").await;
        let connection = connect(&ground.path);
        let sql = format!("SELECT id, value FROM ({sql}) ORDER BY id");
        let mut select = connection.prepare(&sql).unwrap();
        let truth = select.query_map([], |row| {
            let value = match row.get_ref(1)? {
                rusqlite::types::ValueRef::Null => "null".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => format!("{number:?}"),
                rusqlite::types::ValueRef::Text(text) => {
                    format!("{:?}", str::from_utf8(text).unwrap())
                }
                rusqlite::types::ValueRef::Blob(_) => "blob".to_owned(),
            };
            Ok(format!("{} {value}", row.get::<_, i64>(0)?))
        });
        let truth: Vec<String> = truth.unwrap().map(Result::unwrap).collect();
        assert_eq!(shown, truth, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_the_query_cannot_have_is_refused_with_names() {
    let ground = Ground::new(Track::Rows);
    let mut definition = ground.definition(JOIN);
    let by_device = definition.columns("device", &["device"]).unwrap();
    let mut refused = |table: &str, columns: &[&str], words: &[&str]| {
        let error = definition.follows(table, columns, &by_device).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused("rooms", &["id"], &["`readings`", "`device`", "`rooms`", "device, reading"]);
    refused("device", &["ident"], &["`device`", "`ident`"]);
    refused("device", &[], &["`device`"]);
    refused("device", &["id", "name"], &["made of 1 columns", "2 of `device`"]);
}

/// What SQLite finds equal is another key: such a rule would touch nothing.
#[tokio::test(flavor = "multi_thread")]
async fn rule_between_columns_that_compare_otherwise_is_refused() {
    let ground = Ground::new(Track::Rows);
    ground.write(
        "CREATE TABLE parent (whole INTEGER, big BIGINT, exact DECIMAL, real REAL, plain TEXT,
             folded TEXT COLLATE NOCASE, any);
         CREATE TABLE child (id INTEGER PRIMARY KEY, own INTEGER, code TEXT, folded TEXT);",
    );
    let sql = "SELECT c.id, c.own, c.code, c.own + 1 AS computed, p.real,
        c.folded COLLATE BINARY AS folded FROM child c JOIN parent p ON p.whole = c.own";
    let mut definition = ground.definition(sql);
    let mut follows = |column: &str, shown: &str| {
        let index = definition.columns(&format!("{column} {shown}"), &[shown]).unwrap();
        definition.follows("parent", &[column], &index).map(|_| ())
    };
    for (column, shown) in
        [("whole", "own"), ("big", "own"), ("exact", "own"), ("plain", "code"), ("real", "real")]
    {
        follows(column, shown).unwrap();
    }
    for (column, shown, why) in [
        ("whole", "code", "affinity"),
        ("plain", "own", "affinity"),
        ("real", "own", "affinity"),
        ("whole", "real", "affinity"),
        ("any", "code", "affinity"),
        ("folded", "code", "byte by byte"),
        ("whole", "computed", "computes"),
        ("plain", "folded", "computes"),
    ] {
        let error = follows(column, shown).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{column} and {shown}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Rows that only grow old are told by nobody, nor are those of another database.
#[tokio::test(flavor = "multi_thread")]
async fn result_that_the_feed_cannot_tell_of_is_refused() {
    let (ground, other) = (Ground::new(Track::Rows), Ground::new(Track::Rows));
    let refused = |definition: SqlDefinition<Row>, feed, words: &[&str]| {
        let mut definition = definition;
        let by_id = definition.definition().primary();
        let error = definition.follow(&by_id, feed, Clock::system()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let young = "SELECT id, value FROM reading WHERE value > unixepoch('now') - 3600";
    let feed = ground.origin.feed().unwrap();
    refused(ground.definition(young), feed.clone(), &["`readings`", "no row does"]);
    let options = OriginOptions { track: Track::Rows, ..OriginOptions::new("shop", &other.path) };
    let shop = SqliteOrigin::open(options).unwrap().feed().unwrap();
    refused(ground.definition(JOIN), shop, &["`readings`", "`shop`", "`plant`"]);
}

/// The text is the same and means something else: nothing that was known of it is believed.
#[tokio::test(flavor = "multi_thread")]
async fn view_that_reads_another_table_now_ends_its_loads() {
    let ground = Ground::new(Track::Rows);
    ground.write("CREATE VIEW v AS SELECT id, value FROM reading");
    let definition = ground.definition("SELECT id, value FROM v");
    ground.track(&definition);
    let followed = ground.table(definition).await;
    ground.write("DROP VIEW v; CREATE VIEW v AS SELECT id, name AS value FROM device");
    let all = followed.table.select(&followed.by_id, Ranges::all());
    let error = all.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("schema has changed"), "{error}");
}
