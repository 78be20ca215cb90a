//! The triggers of one table, as SQL.
//!
//! They are a function of the table's declaration and of what was asked to be tracked, and of
//! nothing else, so that verifying means writing them again and comparing. **Invariant**: no
//! statement changes a row, or makes one disappear, without a trigger that logs it.
//!
//! What fires when, and what does not:
//!
//! - A row displaced by REPLACE fires no delete trigger unless the connection that writes switched
//!   `recursive_triggers` on. So BEFORE triggers log the rows that a unique key is about to
//!   displace.
//! - `UPDATE OF` compares names with the SET list: the rowid has four of them.
//! - In a BEFORE INSERT trigger a rowid that SQLite has yet to choose reads as -1.

use std::{fmt::Write, sync::Arc};

use larder_core::safeguard::Safeguard;

use crate::{
    analysis::catalog::{Kind, Table},
    log::{LOG, operation},
};

/// What is to be tracked of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The number under which the log knows the table.
    pub(crate) id: i64,
    /// The table, as declared.
    pub(crate) table: Arc<str>,
    /// How closely.
    pub(crate) closeness: Closeness,
    /// The columns whose values are logged, sorted; none for a table watched as a whole.
    pub(crate) logged: Vec<Arc<str>>,
    /// The columns whose update is logged, sorted, besides the logged ones.
    pub(crate) reads: Vec<Arc<str>>,
}

/// How closely a table is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closeness {
    /// Each change with the row's values.
    Rows,
    /// Each change as a change of the whole table.
    Whole,
}

/// Values of one row that the log has room for: each takes a column of the log for the row as it
/// was and one for the row as it is. Ten times more would cost writers more than they save, a
/// quarter would leave no room for two keys and a scope.
pub const LOGGED_MAX: usize = 16;

/// The names under which a rowid can be written to.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// A trigger: its name, and its text as SQLite keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// Why the rows of `table` cannot be told apart by triggers, if they cannot.
pub(crate) fn obstacle(table: &Table, defaulted: &[Arc<str>]) -> Option<String> {
    if table.primary_key.is_empty() {
        return Some("no primary key is declared".to_owned());
    }
    if LOGGED_MAX < table.primary_key.len() {
        return Some(format!("the primary key has more than {LOGGED_MAX} columns"));
    }
    if !table.without_rowid && rowid(table).is_none() {
        return Some("columns have taken all names of the rowid".to_owned());
    }
    for index in table.indexes.iter().filter(|index| index.unique) {
        if index.partial || index.expression {
            let what = if index.partial { "partial" } else { "an expression" };
            return Some(format!("unique index {} is {what}", index.name));
        }
        for part in &index.columns {
            let column = table.column(&part.name);
            if column.is_none_or(|column| column.generated) {
                return Some(format!("unique index {} is over a computed column", index.name));
            }
            // REPLACE turns a NULL into the default after the BEFORE triggers have run.
            if defaulted.contains(&part.name) {
                let name = &part.name;
                return Some(format!("unique column {name} is NOT NULL with a default"));
            }
        }
    }
    None
}

/// Whether triggers can be put on `table` at all.
pub(crate) fn can_have_triggers(table: &Table) -> bool {
    table.kind == Kind::Table && !table.name.to_ascii_lowercase().starts_with("larder_")
}

/// The triggers that track `table` as `spec` says.
pub(crate) fn triggers(spec: &Spec, table: &Table) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    let mut add = |name: &str, event: String, body: String| {
        let name = format!("larder_{}_{name}", spec.id);
        let on = identifier(&spec.table);
        let sql = format!("CREATE TRIGGER {name} {event} ON {on} BEGIN {body} END");
        triggers.push(Trigger { name, sql });
    };
    match spec.closeness {
        Closeness::Whole => {
            let (id, whole) = (spec.id, operation::TABLE);
            let body = format!("INSERT INTO {LOG}(tbl, op) VALUES ({id}, {whole});");
            add("insert", "AFTER INSERT".to_owned(), body.clone());
            add("delete", "AFTER DELETE".to_owned(), body.clone());
            add("update", "AFTER UPDATE".to_owned(), body);
        }
        Closeness::Rows => {
            add("insert", "AFTER INSERT".to_owned(), log_values(spec, operation::INSERT, &["NEW"]));
            add("delete", "AFTER DELETE".to_owned(), log_values(spec, operation::DELETE, &["OLD"]));
            let update = log_values(spec, operation::UPDATE, &["OLD", "NEW"]);
            add("update", format!("AFTER UPDATE{}", of(&watched(spec, table))), update);
            let keys = unique_keys(table);
            if !keys.is_empty() && !Safeguard::DisplacedRowTrigger.is_off() {
                let body = displaced(spec, &keys, "");
                add("displaced_insert", "BEFORE INSERT".to_owned(), body);
                let body = displaced(spec, &keys, &not_itself(table));
                let columns = of(&key_columns(table, &keys));
                add("displaced_update", format!("BEFORE UPDATE{columns}"), body);
            }
        }
    }
    triggers
}

/// The last part of the names that [`triggers`] gives.
const EVENTS: [&str; 5] = ["insert", "delete", "update", "displaced_insert", "displaced_update"];

/// Whether [`triggers`] has written this one, for whatever table and in whatever version.
///
/// The name alone does not say so: the application may have taken it first. The log is not looked
/// for by name: SQLite writes the text anew where somebody gives the log another one.
pub(crate) fn is_ours(name: &str, sql: &str) -> bool {
    let parts = name.strip_prefix("larder_").and_then(|rest| rest.split_once('_'));
    let is_named = parts.is_some_and(|(id, event)| {
        !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit()) && EVENTS.contains(&event)
    });
    let body = sql.split_once(" BEGIN INSERT INTO ").map(|(_, body)| body);
    is_named && body.is_some_and(|body| body.contains("(tbl, op"))
}

fn log_values(spec: &Spec, op: i64, images: &[&str]) -> String {
    let (columns, id) = (places(spec.logged.len() * images.len()), spec.id);
    let mut body = format!("INSERT INTO {LOG}(tbl, op{columns}) VALUES ({id}, {op}");
    for image in images {
        for column in &spec.logged {
            write!(body, ", {image}.{}", identifier(column)).ok();
        }
    }
    body.push_str(");");
    body
}

/// Logs, as one that may go, each row that equals the new one in some unique key.
fn displaced(spec: &Spec, keys: &[Key], unless: &str) -> String {
    let (columns, id, op) = (places(spec.logged.len()), spec.id, operation::DISPLACED);
    let mut body = String::new();
    for key in keys {
        write!(body, "INSERT INTO {LOG}(tbl, op{columns}) SELECT {id}, {op}").ok();
        for column in &spec.logged {
            write!(body, ", d.{}", identifier(column)).ok();
        }
        write!(body, " FROM {} AS d WHERE ", identifier(&spec.table)).ok();
        for (number, part) in key.iter().enumerate() {
            let and = if number == 0 { "" } else { " AND " };
            let name = identifier(&part.name);
            write!(body, "{and}d.{name} = NEW.{name}").ok();
            if let Some(collation) = &part.collation {
                write!(body, " COLLATE {}", identifier(collation)).ok();
            }
        }
        body.push_str(unless);
        body.push_str("; ");
    }
    body.truncate(body.trim_end().len());
    body
}

/// A unique key: columns, each with the collation it is compared by.
type Key = Vec<Part>;

struct Part {
    name: Arc<str>,
    collation: Option<Arc<str>>,
}

fn unique_keys(table: &Table) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    if let Some(name) = rowid(table) {
        keys.push(vec![Part { name, collation: None }]);
    }
    for index in table.indexes.iter().filter(|index| index.unique) {
        let parts = index
            .columns
            .iter()
            .map(|part| Part { name: part.name.clone(), collation: Some(part.collation.clone()) });
        keys.push(parts.collect());
    }
    keys
}

/// A name that stands for the rowid of `table`, if it has one that can be named.
fn rowid(table: &Table) -> Option<Arc<str>> {
    if table.without_rowid {
        return None;
    }
    let free = || ROWID_NAMES.into_iter().find(|name| table.column(name).is_none());
    table.rowid_alias.clone().or_else(|| free().map(Arc::from))
}

/// Keeps an updated row from being taken for one that it displaces.
///
/// By its bytes: a key may be compared more strictly than the column it is over.
fn not_itself(table: &Table) -> String {
    let columns = rowid(table).map_or_else(|| table.primary_key.clone(), |name| vec![name]);
    let same: Vec<String> = columns
        .iter()
        .map(|name| identifier(name))
        .map(|name| format!("d.{name} IS OLD.{name} COLLATE BINARY"))
        .collect();
    format!(" AND NOT ({})", same.join(" AND "))
}

/// The columns whose update is logged; none means every update.
///
/// The columns of unique keys are among them though nobody reads them:
///
/// 1. Somebody inserts a row with REPLACE; our BEFORE trigger finds no row that it would displace.
/// 2. A BEFORE trigger of the application moves another row onto the new row's unique key.
/// 3. The insert displaces that row, and no trigger fires. The update in 2 must have been logged.
fn watched(spec: &Spec, table: &Table) -> Vec<Arc<str>> {
    // A computed column changes with its sources, which are not known.
    if table.columns.iter().any(|column| column.generated) {
        return Vec::new();
    }
    let mut columns: Vec<Arc<str>> = spec.logged.iter().chain(&spec.reads).cloned().collect();
    columns.extend(unique_keys(table).iter().flatten().map(|part| part.name.clone()));
    add_rowid_names(table, &mut columns);
    columns
}

fn key_columns(table: &Table, keys: &[Key]) -> Vec<Arc<str>> {
    let mut columns: Vec<Arc<str>> = keys.iter().flatten().map(|part| part.name.clone()).collect();
    add_rowid_names(table, &mut columns);
    columns
}

fn add_rowid_names(table: &Table, columns: &mut Vec<Arc<str>>) {
    if !table.without_rowid {
        columns.extend(ROWID_NAMES.map(Arc::from));
    }
    columns.sort();
    columns.dedup();
}

fn of(columns: &[Arc<str>]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let names: Vec<String> = columns.iter().map(|name| identifier(name)).collect();
    format!(" OF {}", names.join(", "))
}

/// The first `count` value columns of the log, each after a comma.
fn places(count: usize) -> String {
    (0..count).fold(String::new(), |mut columns, place| {
        write!(columns, ", v{place}").ok();
        columns
    })
}

/// `name` quoted for SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a string literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
