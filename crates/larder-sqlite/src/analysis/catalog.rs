//! The catalog: tables, columns, keys and indexes as SQLite itself reports them.
//!
//! It is read through pragmas and column metadata, never from `CREATE` text. Names are found
//! without regard to ASCII case, as SQLite finds them, and given back as declared.
//! **Invariant**: what is not in here is not a table of the main database.

use std::{collections::HashMap, sync::Arc};

use larder_core::{Error, ErrorKind, Value};
use rusqlite::Connection;

use super::column::{Affinity, Column};
use crate::error::from_driver;

/// The main database's tables at one moment.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    tables: HashMap<String, Arc<Table>>,
}

/// What kind of thing a name in the schema stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ordinary table.
    Table,
    /// A view.
    View,
    /// A virtual table: a module answers for it, and no trigger can watch it.
    Virtual,
    /// A table that a virtual table keeps its data in.
    Shadow,
    /// One of SQLite's own: `sqlite_schema`, `sqlite_sequence`, `sqlite_stat1`.
    Internal,
}

/// A table, or what looks like one.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name as declared.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// The columns in declared order, generated ones included.
    pub columns: Vec<Column>,
    /// The columns of the primary key in the key's order; empty where none is declared.
    pub primary_key: Vec<Arc<str>>,
    /// The column that is another name for the rowid, if there is one.
    pub rowid_alias: Option<Arc<str>>,
    /// Whether the table is declared WITHOUT ROWID.
    pub without_rowid: bool,
    /// Whether the table is declared STRICT.
    pub strict: bool,
    /// All indexes, automatic ones included; the rowid itself is not among them.
    pub indexes: Vec<Index>,
    /// The foreign keys that this table declares.
    pub foreign_keys: Vec<ForeignKey>,
}

/// An index of a table.
#[derive(Clone, Debug)]
pub struct Index {
    /// The name, automatic or declared.
    pub name: Arc<str>,
    /// Whether it forbids equal keys.
    pub unique: bool,
    /// Whether SQLite made it for the primary key.
    pub primary: bool,
    /// Whether it has a WHERE clause.
    pub partial: bool,
    /// Whether some part is an expression; then `columns` lacks that part.
    pub expression: bool,
    /// The key columns in order, each with the collation the index uses.
    pub columns: Vec<IndexColumn>,
}

/// A key column of an index.
#[derive(Clone, Debug)]
pub struct IndexColumn {
    /// The column; for a rowid that has no other name, `rowid`.
    pub name: Arc<str>,
    /// The collation, upper case.
    pub collation: Arc<str>,
}

/// A foreign key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The columns of this table.
    pub columns: Vec<Arc<str>>,
    /// The table referred to, as written.
    pub parent: Arc<str>,
    /// The columns referred to; empty means the parent's primary key.
    pub parent_columns: Vec<Arc<str>>,
    /// What a deleted parent does to this table: `CASCADE`, `SET NULL`, `NO ACTION` and so on.
    pub on_delete: Arc<str>,
    /// What a changed parent key does to this table.
    pub on_update: Arc<str>,
}

impl Table {
    /// The column of that name, without regard to ASCII case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

impl Schema {
    /// Reads the catalog of the main database.
    ///
    /// # Errors
    /// When SQLite does not answer.
    pub fn read(connection: &Connection) -> Result<Self, Error> {
        let mut schema = Self::default();
        let tables = read_tables(connection);
        for table in tables.map_err(|error| from_driver("read", "the schema", &error))? {
            schema.tables.insert(table.name.to_ascii_lowercase(), Arc::new(table));
        }
        Ok(schema)
    }

    /// The table of that name, without regard to ASCII case.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(&name.to_ascii_lowercase())
    }

    /// All tables, in no particular order.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Brings `value` to the form in which the column stores and compares it.
    ///
    /// # Errors
    /// `NotFound` for an unknown table or column, `Unsupported` where the form depends on rounding.
    pub fn convert(&self, table: &str, column: &str, value: Value) -> Result<Value, Error> {
        let unknown = |what: &str| {
            Error::new(ErrorKind::NotFound, "convert a value").detail(format!("no {what}"))
        };
        let table = self.table(table).ok_or_else(|| unknown(&format!("table {table}")))?;
        let column = table
            .column(column)
            .ok_or_else(|| unknown(&format!("column {column} in table {}", table.name)))?;
        column.convert(value)
    }
}

fn read_tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = connection.prepare(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name",
    )?;
    let heads = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
    })?;
    let heads = heads.collect::<rusqlite::Result<Vec<_>>>()?;
    heads
        .into_iter()
        .map(|(name, kind, without_rowid, strict)| {
            let kind = match &*kind {
                _ if name.to_ascii_lowercase().starts_with("sqlite_") => Kind::Internal,
                "view" => Kind::View,
                "virtual" => Kind::Virtual,
                "shadow" => Kind::Shadow,
                _ => Kind::Table,
            };
            let mut table = Table {
                name: name.into(),
                kind,
                columns: Vec::new(),
                primary_key: Vec::new(),
                rowid_alias: None,
                without_rowid,
                strict,
                indexes: Vec::new(),
                foreign_keys: Vec::new(),
            };
            read_columns(connection, &mut table)?;
            if table.kind == Kind::Table {
                read_indexes(connection, &mut table)?;
                read_foreign_keys(connection, &mut table)?;
                find_rowid_alias(&mut table);
            }
            Ok(table)
        })
        .collect()
}

fn read_columns(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') \
         ORDER BY cid",
    )?;
    let mut key: Vec<(i64, Arc<str>)> = Vec::new();
    let mut rows = statement.query([&*table.name])?;
    while let Some(row) = rows.next()? {
        let name: Arc<str> = row.get::<_, String>(0)?.into();
        let declared: String = row.get::<_, Option<String>>(1)?.unwrap_or_default();
        let place: i64 = row.get(3)?;
        let hidden: i64 = row.get(4)?;
        if 0 < place {
            key.push((place, name.clone()));
        }
        let collation = if table.kind == Kind::Table {
            let (_, collation, ..) =
                connection.column_metadata(Some("main"), &*table.name, &*name)?;
            collation.map_or_else(|| "BINARY".into(), |text| text.to_string_lossy().to_uppercase())
        } else {
            "BINARY".to_owned()
        };
        table.columns.push(Column {
            affinity: Affinity::of(&declared, table.strict),
            collation: collation.into(),
            not_null: row.get(2)?,
            generated: hidden == 2 || hidden == 3,
            name,
        });
    }
    key.sort();
    table.primary_key = key.into_iter().map(|(_, name)| name).collect();
    Ok(())
}

fn read_indexes(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut list = connection.prepare(
        "SELECT name, \"unique\", partial, origin = 'pk' FROM pragma_index_list(?1, 'main') \
         ORDER BY seq",
    )?;
    let mut parts = connection.prepare(
        "SELECT cid, name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno",
    )?;
    let mut rows = list.query([&*table.name])?;
    while let Some(row) = rows.next()? {
        let mut index = Index {
            name: row.get::<_, String>(0)?.into(),
            unique: row.get(1)?,
            partial: row.get(2)?,
            primary: row.get(3)?,
            expression: false,
            columns: Vec::new(),
        };
        let mut parts = parts.query([&*index.name])?;
        while let Some(part) = parts.next()? {
            let place: i64 = part.get(0)?;
            let name: Option<String> = part.get(1)?;
            match name {
                Some(name) => index.columns.push(IndexColumn {
                    name: name.into(),
                    collation: part.get::<_, String>(2)?.to_uppercase().into(),
                }),
                None if place == -1 => index
                    .columns
                    .push(IndexColumn { name: "rowid".into(), collation: "BINARY".into() }),
                None => index.expression = true,
            }
        }
        table.indexes.push(index);
    }
    Ok(())
}

fn read_foreign_keys(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT id, \"table\", \"from\", \"to\", on_delete, on_update \
         FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq",
    )?;
    let mut rows = statement.query([&*table.name])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if last != Some(id) {
            table.foreign_keys.push(ForeignKey {
                columns: Vec::new(),
                parent: row.get::<_, String>(1)?.into(),
                parent_columns: Vec::new(),
                on_delete: row.get::<_, String>(4)?.into(),
                on_update: row.get::<_, String>(5)?.into(),
            });
            last = Some(id);
        }
        if let Some(key) = table.foreign_keys.last_mut() {
            key.columns.push(row.get::<_, String>(2)?.into());
            if let Some(to) = row.get::<_, Option<String>>(3)? {
                key.parent_columns.push(to.into());
            }
        }
    }
    Ok(())
}

/// The only key column of a rowid table stands for the rowid iff SQLite made no index for the key.
fn find_rowid_alias(table: &mut Table) {
    let [only] = &*table.primary_key else { return };
    let is_integer = table.column(only).is_some_and(|column| column.affinity == Affinity::Integer);
    let has_index = table.indexes.iter().any(|index| index.primary);
    if is_integer && !table.without_rowid && !has_index {
        table.rowid_alias = Some(only.clone());
    }
}
