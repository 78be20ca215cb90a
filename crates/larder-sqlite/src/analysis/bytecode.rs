//! What a compiled statement opens: the second witness of which tables it reads.
//!
//! `EXPLAIN` lists the tables and indexes by their root page. A table that is joined by `USING`
//! only is here and not in [`super::authorizer`]. It also tells which indexes decide the order in
//! which rows are met, and so which rows a `LIMIT` without a full order keeps.
//! **Invariant**: every b-tree the statement opens is either named or counted as unknown.

use std::collections::{BTreeMap, BTreeSet};

use larder_core::Error;
use rusqlite::Connection;

use crate::error::from_driver;

/// The b-trees and virtual tables that a statement opens.
#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    /// Indexes by table; a table that is read without an index has none.
    pub(super) tables: BTreeMap<String, BTreeSet<String>>,
    /// How many different virtual tables.
    pub(super) virtual_tables: usize,
    /// Whether something outside the main database, or without a name in it, is opened.
    pub(super) has_foreign: bool,
}

impl Opened {
    /// Compiles `sql` again and reads what it opens.
    ///
    /// # Errors
    /// `Origin` when SQLite does not answer.
    pub(super) fn collect(connection: &Connection, sql: &str) -> Result<Self, Error> {
        Self::read(connection, sql)
            .map_err(|error| from_driver("read the plan of", "the statement", &error))
    }

    fn read(connection: &Connection, sql: &str) -> rusqlite::Result<Self> {
        let roots = read_roots(connection)?;
        let mut opened = Self::default();
        let mut modules = BTreeSet::new();
        let mut statement = connection.prepare(&format!("EXPLAIN {sql}"))?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let operation: String = row.get("opcode")?;
            match &*operation {
                "OpenRead" | "ReopenIdx" | "OpenWrite" => {
                    opened.open(&roots, row.get("p2")?, row.get("p3")?);
                }
                "VOpen" => {
                    modules.insert(row.get::<_, Option<String>>("p4")?);
                }
                _ => {}
            }
        }
        opened.virtual_tables = modules.len();
        Ok(opened)
    }

    fn open(&mut self, roots: &BTreeMap<i64, Root>, page: i64, database: i64) {
        match roots.get(&page) {
            Some(root) if database == 0 => {
                let indexes = self.tables.entry(root.table.clone()).or_default();
                indexes.extend(root.index.clone());
            }
            _ => self.has_foreign = true,
        }
    }
}

struct Root {
    table: String,
    index: Option<String>,
}

fn read_roots(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, Root>> {
    let mut roots = BTreeMap::new();
    roots.insert(1, Root { table: "sqlite_schema".into(), index: None });
    let mut statement = connection.prepare(
        "SELECT rootpage, tbl_name, iif(type = 'index', name, NULL) FROM main.sqlite_schema \
         WHERE 0 < rootpage",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        roots.insert(row.get(0)?, Root { table: row.get(1)?, index: row.get(2)? });
    }
    Ok(roots)
}
