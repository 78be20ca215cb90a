//! Random schemas: every property that decides what a change touches or what a condition means.
//!
//! All tables share a few column names and all columns a few values, so that joins meet, unique
//! constraints collide and foreign keys cascade all the time.

use larder_core::Value;

use crate::random::Random;

/// What the generators of statements and changes need to know of a table.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Columns that can be written.
    pub columns: Vec<String>,
    /// The columns of the primary key; empty without one.
    pub key: Vec<String>,
    /// Columns that can only be read.
    pub generated: Vec<String>,
    /// Column lists that a conflict clause can name.
    pub targets: Vec<String>,
}

/// A schema and the statements that make it.
#[derive(Clone, Debug)]
pub struct Schema {
    pub tables: Vec<Table>,
    pub views: Vec<(String, Vec<String>)>,
    pub sql: Vec<String>,
}

impl Schema {
    pub fn random(random: &mut Random) -> Self {
        let mut schema = Self { tables: Vec::new(), views: Vec::new(), sql: Vec::new() };
        let recursive = random.chance(30);
        schema.sql.push(format!("PRAGMA recursive_triggers = {recursive}"));
        for number in 0..2 + random.below(3) {
            schema.add_table(random, number);
        }
        for _ in 0..random.below(3) {
            schema.add_trigger(random);
        }
        if random.chance(40) {
            schema.add_view(random);
        }
        schema
    }

    fn add_table(&mut self, random: &mut Random, number: usize) {
        let name = format!("T{number}");
        let strict = random.chance(20);
        let mut parts = Vec::new();
        let mut columns = Vec::new();
        let mut targets = Vec::new();
        let style = random.below(8);
        let key: Vec<String> = match style {
            0..=2 => vec!["id".into()],
            3 | 4 => vec!["id".into()],
            5 | 6 => vec!["k".into(), "id".into()],
            _ => Vec::new(),
        };
        let text = *random.pick(&["TEXT", "TEXT", "TEXT COLLATE NOCASE"]);
        let kind = match style {
            0..=2 => "INTEGER PRIMARY KEY".to_owned(),
            3 | 4 => format!("{text} PRIMARY KEY"),
            _ => "INTEGER".to_owned(),
        };
        parts.push(format!("id {kind}"));
        columns.push("id".to_owned());
        if key.len() == 2 {
            parts.push(format!("k {text}"));
            columns.push("k".to_owned());
        }
        for column in ["g", "a", "b", "c"] {
            let kind = column_kind(random, strict, column);
            let unique = if random.chance(15) { " UNIQUE" } else { "" };
            if !unique.is_empty() {
                targets.push(column.to_owned());
            }
            parts.push(format!("{column} {kind}{unique}"));
            columns.push(column.to_owned());
        }
        if let Some(foreign) = self.foreign_key(random) {
            let kind = if strict { "ANY" } else { "" };
            parts.push(format!("p {kind} {foreign}"));
            columns.push("p".to_owned());
        }
        let mut generated = Vec::new();
        if random.chance(15) {
            let kind = if strict { "ANY" } else { "" };
            parts.push(format!("x {kind} AS (coalesce(a, b))"));
            generated.push("x".to_owned());
        }
        if key.len() == 2 {
            parts.push("PRIMARY KEY (k, id)".to_owned());
        }
        if !key.is_empty() {
            targets.push(key.join(", "));
        }
        if random.chance(20) {
            parts.push("UNIQUE (g, b)".to_owned());
            targets.push("g, b".to_owned());
        }
        let mut options = Vec::new();
        if !key.is_empty() && random.chance(30) {
            options.push("WITHOUT ROWID");
        }
        if strict {
            options.push("STRICT");
        }
        let (parts, options) = (parts.join(", "), options.join(", "));
        self.sql.push(format!("CREATE TABLE {name} ({parts}) {options}"));
        self.add_indexes(random, &name);
        self.tables.push(Table { name, columns, key, generated, targets });
    }

    fn foreign_key(&self, random: &mut Random) -> Option<String> {
        let parents: Vec<&Table> =
            self.tables.iter().filter(|table| table.key.len() == 1).collect();
        if parents.is_empty() || random.chance(40) {
            return None;
        }
        let parent = &random.pick(&parents).name;
        let delete = *random.pick(&["CASCADE", "SET NULL", "NO ACTION", "SET DEFAULT"]);
        let update = *random.pick(&["CASCADE", "SET NULL", "NO ACTION"]);
        Some(format!("REFERENCES {parent}(id) ON DELETE {delete} ON UPDATE {update}"))
    }

    fn add_indexes(&mut self, random: &mut Random, table: &str) {
        const INDEXES: [&str; 7] = [
            "INDEX {t}_ga ON {t}(g, a)",
            "INDEX {t}_b ON {t}(b DESC, g)",
            "INDEX {t}_a ON {t}(a COLLATE NOCASE)",
            "INDEX {t}_ab ON {t}(a + b, c)",
            "INDEX {t}_gp ON {t}(g, b) WHERE a IS NOT NULL",
            "UNIQUE INDEX {t}_u ON {t}(a) WHERE b = 1",
            "UNIQUE INDEX {t}_e ON {t}(lower(b), g)",
        ];
        for index in INDEXES {
            if random.chance(12) {
                self.sql.push(format!("CREATE {}", index.replace("{t}", table)));
            }
        }
    }

    /// A trigger of the application's own.
    fn add_trigger(&mut self, random: &mut Random) {
        let number = self.sql.len();
        let (source, target) = (random.pick(&self.tables), random.pick(&self.tables));
        let column = |random: &mut Random, table: &Table| random.pick(&table.columns).clone();
        let event = *random.pick(&["INSERT", "DELETE", "UPDATE"]);
        let row = if event == "DELETE" { "OLD" } else { "NEW" };
        let time = *random.pick(&["AFTER", "BEFORE"]);
        let (set, by, from) =
            (column(random, target), column(random, target), column(random, source));
        let action = match random.below(4) {
            0 => format!("DELETE FROM {} WHERE {by} = {row}.{from}", target.name),
            1 => format!("INSERT OR IGNORE INTO {}({by}) VALUES ({row}.{from})", target.name),
            2 => format!("INSERT OR REPLACE INTO {}({by}) VALUES ({row}.{from})", target.name),
            _ => {
                format!("UPDATE OR IGNORE {} SET {set} = 1 WHERE {by} = {row}.{from}", target.name)
            }
        };
        self.sql.push(format!(
            "CREATE TRIGGER app{number} {time} {event} ON {} BEGIN {action}; END",
            source.name
        ));
    }

    fn add_view(&mut self, random: &mut Random) {
        let (left, right) = (random.pick(&self.tables), random.pick(&self.tables));
        let columns = ["g", "a", "z"].map(str::to_owned).to_vec();
        self.sql.push(format!(
            "CREATE VIEW V AS SELECT l.g, l.a, r.b AS z FROM {} l JOIN {} r USING (g)",
            left.name, right.name
        ));
        self.views.push(("V".to_owned(), columns));
    }
}

fn column_kind(random: &mut Random, strict: bool, column: &str) -> &'static str {
    let kinds: &[&'static str] = match (strict, column) {
        // Most joins are over this one.
        (false, "g") => &["INTEGER", "INTEGER", "INTEGER", "NUMERIC", "TEXT"],
        (true, "g") => &["INTEGER", "INTEGER", "ANY"],
        (true, _) => &["INTEGER", "TEXT", "ANY", "REAL", "TEXT COLLATE NOCASE"],
        (false, _) => &[
            "INTEGER",
            "INTEGER",
            "TEXT",
            "TEXT",
            "REAL",
            "NUMERIC",
            "BLOB",
            "",
            "TEXT COLLATE NOCASE",
            "TEXT COLLATE RTRIM",
            "INTEGER DEFAULT 2",
        ],
    };
    let kind: &&str = random.pick(kinds);
    kind
}

/// A value from the few that all columns share, as SQL and as a parameter.
///
/// Most are from fewer still, so that rows, conditions and keys meet.
pub fn value(random: &mut Random) -> (&'static str, Value) {
    if random.chance(65) {
        let texts = [("'a'", "a"), ("'A'", "A")].map(|(sql, text)| (sql, Value::from(text)));
        let numbers = [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("1", 1), ("2", 2)];
        let numbers = numbers.map(|(sql, number)| (sql, Value::from(number)));
        let common: Vec<_> = texts.into_iter().chain(numbers).collect();
        return random.pick(&common).clone();
    }
    let values: [(&str, Value); 20] = [
        ("NULL", Value::Null),
        ("0", 0.into()),
        ("1", 1.into()),
        ("2", 2.into()),
        ("3", 3.into()),
        ("1", 1.into()),
        ("2", 2.into()),
        ("'1'", "1".into()),
        ("'2'", "2".into()),
        ("' 2 '", " 2 ".into()),
        ("'a'", "a".into()),
        ("'A'", "A".into()),
        ("'b'", "b".into()),
        ("'b '", "b ".into()),
        ("1.0", 1.0.into()),
        ("0.5", 0.5.into()),
        ("'0.50'", "0.50".into()),
        ("-0.0", (-0.0).into()),
        ("9007199254740993", 9_007_199_254_740_993_i64.into()),
        ("x'31'", Value::Blob([0x31].as_slice().into())),
    ];
    random.pick(&values).clone()
}
