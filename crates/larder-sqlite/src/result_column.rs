//! The columns of a result: what each is made of, and how SQLite compares it.
//!
//! Apart from `analysis`, which says what a statement depends on: this says what its answer looks
//! like to whoever asks for parts of it in some order. **Invariant**: what is not certain is not
//! said: a column that cannot be traced has no source, and one of which it is not known that it
//! compares byte by byte does not.

use std::{collections::HashMap, sync::Arc};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use crate::{
    analysis::{Analysis, Column, Rows, Schema, Widening},
    error::from_driver,
    statement::Statement,
    stream::{OWN, Part},
    track::trigger::identifier,
};

/// A column of the result of a statement.
#[derive(Clone, Debug)]
pub struct ResultColumn {
    /// Its name, which no other column of the result has.
    pub name: Arc<str>,
    /// The table and the column whose values it shows as they are; `None` where it is computed, or
    /// comes through a view or a subquery.
    pub source: Option<(Arc<str>, Column)>,
    /// Whether it is known never to be NULL.
    pub never_null: bool,
    /// Whether text in it is compared byte by byte, as UTF-8.
    pub is_binary: bool,
}

/// A column of a table: the table's name, and the column.
type Source = (Arc<str>, Column);

/// The columns of `statement`, in the order of the result.
pub(crate) fn of(
    connection: &Connection,
    statement: &Statement,
) -> Result<Vec<ResultColumn>, Error> {
    let failed = |error: rusqlite::Error| from_driver("look at the columns of", "a result", &error);
    expect_named(connection, statement)?;
    let schema = Schema::read(connection)?;
    let analysis = statement.analysis();
    let sources = match is_traceable(&analysis) {
        true => sources(connection, statement, &schema).map_err(failed)?,
        false => HashMap::new(),
    };
    let encoding: String =
        connection.query_row("PRAGMA main.encoding", [], |row| row.get(0)).map_err(failed)?;
    // Of an outer join any column can be NULL.
    let keeps_rows = analysis.tables.iter().all(|read| !is_outer(&read.rows));
    let columns = statement.columns();
    let column = |name: &Arc<str>| {
        let source = sources.get(name).cloned();
        let never_null = |(table, column): &Source| {
            let alias = schema.table(table).and_then(|table| table.rowid_alias.clone());
            column.not_null || alias.is_some_and(|alias| alias == column.name)
        };
        let never_null = keeps_rows && source.as_ref().is_some_and(never_null);
        let compares = compares_bytes(connection, statement, name).map_err(failed)?;
        let is_binary = encoding == "UTF-8" && compares;
        Ok(ResultColumn { name: name.clone(), source, never_null, is_binary })
    };
    columns.iter().map(column).collect()
}

/// Fails unless each column is found by its name in a query around the statement: names that differ
/// in case only are one name there, and SQLite calls a column without `AS` as it likes, inside one
/// way and around it another.
fn expect_named(connection: &Connection, statement: &Statement) -> Result<(), Error> {
    let refused = |detail: String| {
        Err(Error::new(ErrorKind::Config, "ask for parts of").subject("a result").detail(detail))
    };
    if let Some(own) = statement.params().iter().find(|param| param.name.starts_with(OWN)) {
        let name = &own.name;
        return refused(format!("the parameter {name} begins with `{OWN}`, as those of larder do"));
    }
    let around = Part::whole().sql(statement);
    let around = connection.prepare(&around);
    let around =
        around.map_err(|error| from_driver("look at the columns of", "a result", &error))?;
    let columns = statement.columns();
    for (place, (name, found)) in columns.iter().zip(around.column_names()).enumerate() {
        let is_same = |other: &Arc<str>| other.eq_ignore_ascii_case(name);
        if **name != *found || columns.iter().take(place).any(is_same) {
            return refused(format!(
                "the column `{name}` is not found by its name; give it one of its own with AS"
            ));
        }
    }
    Ok(())
}

/// Whether what SQLite says of a column's source can be taken at its word: not where a result is
/// put together of several, of which it speaks for one.
fn is_traceable(analysis: &Analysis) -> bool {
    analysis.tables.iter().all(|read| match &read.rows {
        Rows::Within(_) => true,
        Rows::All(why) => matches!(why, Widening::NoCondition | Widening::OuterJoin),
    })
}

fn is_outer(rows: &Rows) -> bool {
    matches!(rows, Rows::All(Widening::OuterJoin))
}

fn sources(
    connection: &Connection,
    statement: &Statement,
    schema: &Schema,
) -> rusqlite::Result<HashMap<Arc<str>, Source>> {
    let prepared = connection.prepare(statement.sql())?;
    let mut sources = HashMap::new();
    for column in prepared.columns_with_metadata() {
        let (Some(table), Some(origin)) = (column.table_name(), column.origin_name()) else {
            continue;
        };
        let table = schema.table(table).filter(|_| column.database_name() == Some("main"));
        let Some((table, own)) = table.and_then(|table| Some((table, table.column(origin)?)))
        else {
            continue;
        };
        sources.insert(column.name().into(), (table.name.clone(), own.clone()));
    }
    Ok(sources)
}

/// Whether equal means the same bytes in this column: asked of SQLite, by putting a text below it
/// that every other collation it knows finds equal to another one.
fn compares_bytes(
    connection: &Connection,
    statement: &Statement,
    column: &str,
) -> rusqlite::Result<bool> {
    let (sql, column) = (statement.sql().trim_end().trim_end_matches(';'), identifier(column));
    let sql = format!(
        "SELECT {column} = 'a ' OR {column} = 'A' FROM \
         (SELECT {column} FROM ({sql}\n) WHERE 0 UNION ALL SELECT 'A ')"
    );
    let mut prepared = connection.prepare(&sql)?;
    for number in 1..=prepared.parameter_count() {
        prepared.raw_bind_parameter(number, rusqlite::types::Null)?;
    }
    let mut rows = prepared.raw_query();
    let is_equal = rows.next()?.map(|row| row.get::<_, bool>(0)).transpose()?;
    Ok(is_equal == Some(false))
}
