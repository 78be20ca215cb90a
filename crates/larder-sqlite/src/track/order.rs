//! The order of the log: whether it tells the changes of each row as they came one after the other.
//!
//! Our triggers log a change behind the statement that makes it. What runs between the two may
//! change the same row once more, and is logged first. Apart from `trigger`, whose triggers cannot
//! do otherwise: this says of which tables it can happen. **Invariant**: of a table that is said to
//! be told in order, the last line about a row says how it is.
//!
//! # Implementation notes
//!
//! 1. Somebody inserts a row; a trigger of the application, which fires before ours, updates it.
//! 2. That update is logged: the row is as it is now.
//! 3. Our trigger logs the insert of 1: the row is as it was before 2.
//!
//! A BEFORE trigger can do worse: move another row into the way of a REPLACE after our own BEFORE
//! trigger has looked for such rows. Foreign keys with an action write to other tables first, whose
//! triggers and actions may come back to the row. Triggers on tables that do not follow from a
//! change of this one are statements of their own: what they write here is logged whole.
//!
//! Triggers of the temporary schema, which belong to one connection, are seen by nobody else.

use std::{collections::HashSet, sync::Arc};

use rusqlite::Connection;

use super::trigger;
use crate::analysis::{Schema, Table, catalog::ForeignKey};

/// The tables, in lower case, that have triggers which larder has not put there.
pub(super) struct Triggered(HashSet<String>);

impl Triggered {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare(
            "SELECT name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema \
             WHERE type = 'trigger'",
        )?;
        let mut rows = statement.query([])?;
        let mut tables = HashSet::new();
        while let Some(row) = rows.next()? {
            let (name, table, sql): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            if !trigger::is_ours(&name, &sql) {
                tables.insert(table.to_ascii_lowercase());
            }
        }
        Ok(Self(tables))
    }

    fn has(&self, table: &Table) -> bool {
        self.0.contains(&table.name.to_ascii_lowercase())
    }

    /// Whether the changes of each row of `table` are logged in the order in which they came.
    pub(super) fn leave_in_order(&self, table: &Table, schema: &Schema) -> bool {
        if self.has(table) {
            return false;
        }
        let mut reached: Vec<Arc<str>> = vec![table.name.clone()];
        let mut next = 0;
        while let Some(parent) = reached.get(next).cloned() {
            next += 1;
            let acted_on = |child: &&Arc<Table>| {
                child
                    .foreign_keys
                    .iter()
                    .any(|key| key.parent.eq_ignore_ascii_case(&parent) && acts(key))
            };
            for child in schema.tables().filter(acted_on) {
                if child.name == table.name || self.has(child) {
                    return false;
                }
                if !reached.contains(&child.name) {
                    reached.push(child.name.clone());
                }
            }
        }
        true
    }
}

/// Whether a change of the parent changes the child.
fn acts(key: &ForeignKey) -> bool {
    let acts = |action: &str| {
        !["NO ACTION", "RESTRICT"].iter().any(|idle| action.eq_ignore_ascii_case(idle))
    };
    acts(&key.on_delete) || acts(&key.on_update)
}
