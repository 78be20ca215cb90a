//! A SQLite database as other programs write it, which a table only hears of.
//!
//! Apart from the grounds of the tests, each of which has tables of its own. **Invariant**: each
//! write is a connection of its own, as that of another process is.

use std::{path::Path, time::Duration};

use rusqlite::Connection;

pub(crate) fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

pub(crate) fn write(path: &Path, sql: &str) {
    connect(path).execute_batch(sql).unwrap();
}

/// Drops every trigger: what is written from now on is told by nobody.
pub(crate) fn drop_triggers(path: &Path) {
    let connection = connect(path);
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
    let mut select = connection.prepare(sql).unwrap();
    let triggers = select.query_map([], |row| row.get(0)).unwrap();
    let triggers: Vec<String> = triggers.map(Result::unwrap).collect();
    assert!(!triggers.is_empty());
    triggers.iter().for_each(|name| write(path, &format!("DROP TRIGGER \"{name}\"")));
}
