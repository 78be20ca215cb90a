//! Whole tables before and after, and the row changes between them.
//!
//! This stands in for triggers that miss nothing: rows are told apart by their rowid, or by the key
//! where there is none, and a row that is replaced is an update or a deletion and an insertion.

use std::{collections::BTreeMap, sync::Arc};

use larder_core::{RowChange, Value};
use larder_sqlite::analysis::{Analysis, Kind, Schema, Table, canonical};
use rusqlite::{Connection, types::ValueRef};

/// The rows of a table, by what tells them apart.
type Rows = BTreeMap<Vec<u8>, Vec<Value>>;

/// The rows of every table.
pub struct Snapshot {
    tables: Vec<(Arc<Table>, Rows)>,
}

/// One row before and after, with all of its columns.
pub struct Difference {
    table: Arc<Table>,
    old: Option<Vec<Value>>,
    new: Option<Vec<Value>>,
}

impl Snapshot {
    pub fn take(connection: &Connection, schema: &Schema) -> Self {
        let mut tables: Vec<&Arc<Table>> =
            schema.tables().filter(|table| table.kind == Kind::Table).collect();
        tables.sort_by_key(|table| table.name.clone());
        let tables = tables.into_iter().map(|table| (table.clone(), rows_of(connection, table)));
        Self { tables: tables.collect() }
    }

    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for ((table, old), (_, new)) in self.tables.iter().zip(&after.tables) {
            for (identity, row) in old {
                if new.get(identity) != Some(row) {
                    let new = new.get(identity).cloned();
                    found.push(Difference { table: table.clone(), old: Some(row.clone()), new });
                }
            }
            for (identity, row) in new.iter().filter(|(identity, _)| !old.contains_key(*identity)) {
                let _ = identity;
                found.push(Difference { table: table.clone(), old: None, new: Some(row.clone()) });
            }
        }
        found
    }
}

impl Difference {
    pub fn is_delete(&self) -> bool {
        self.new.is_none()
    }

    /// What a log made for `analysis` alone would say: nothing where no column it reads differs,
    /// else the key and the columns of its scopes.
    pub fn as_change(&self, analysis: &Analysis) -> Option<RowChange> {
        let read = analysis.tables.iter().find(|read| read.table == self.table.name)?;
        if let (Some(old), Some(new)) = (&self.old, &self.new) {
            let place = |name: &Arc<str>| self.place(name);
            if read.columns.iter().map(place).all(|index| old[index] == new[index]) {
                return None;
            }
        }
        let scopes = analysis.scope_columns();
        let (_, scope) = scopes.iter().find(|(table, _)| *table == self.table.name)?;
        let mut columns: Vec<Arc<str>> =
            scope.iter().chain(&self.table.primary_key).cloned().collect();
        columns.sort();
        columns.dedup();
        let image = |row: &Option<Vec<Value>>| {
            let row = row.as_ref()?;
            let value = |name: &Arc<str>| {
                let index = self.place(name);
                canonical(&self.table.columns[index], row[index].clone())
            };
            Some(columns.iter().map(value).collect())
        };
        let key = self.table.primary_key.iter();
        let key = key.map(|name| columns.binary_search(name).unwrap()).collect();
        let (old, new) = (image(&self.old), image(&self.new));
        Some(RowChange { table: self.table.name.clone(), columns: columns.into(), key, old, new })
    }

    fn place(&self, name: &str) -> usize {
        self.table.columns.iter().position(|column| &*column.name == name).unwrap()
    }
}

fn rows_of(connection: &Connection, table: &Table) -> Rows {
    let columns: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
    let rowid = if table.without_rowid { "0" } else { "rowid" };
    let sql = format!("SELECT {rowid}, {} FROM {}", columns.join(", "), table.name);
    let mut statement = connection.prepare_cached(&sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<Value> =
            (0..columns.len()).map(|index| value(row.get_ref(index + 1).unwrap())).collect();
        let mut identity = Vec::new();
        value(row.get_ref(0).unwrap()).encode(&mut identity);
        if table.without_rowid {
            for name in &table.primary_key {
                let index = columns.iter().position(|column| *column == &**name).unwrap();
                values[index].encode(&mut identity);
            }
        }
        found.insert(identity, values);
    }
    found
}

/// A value of the driver as one of ours.
pub fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => str::from_utf8(text).unwrap().into(),
        ValueRef::Blob(bytes) => bytes.into(),
    }
}
