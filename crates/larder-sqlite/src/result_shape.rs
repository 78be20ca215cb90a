//! The shape of a result: what each column is made of, how SQLite compares it, and which rows of
//! tables a row of it is made of.
//!
//! Apart from `analysis`, which says what a statement depends on: this says what its answer looks
//! like to whoever asks for parts of it in some order. **Invariant**: what is not certain is not
//! said: a column that cannot be traced has no source, and one of which it is not known that it
//! compares byte by byte does not. Two shapes that are equal are read by the same conditions.

use std::{collections::HashMap, sync::Arc};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use crate::{
    analysis::{Analysis, Column, Rows, Schema, Widening},
    error::from_driver,
    statement::{Reading, Statement},
    stream::{OWN, Part},
    track::trigger::identifier,
};

/// What the result of a statement looks like under one version of the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultShape {
    /// Its columns, in their order.
    pub columns: Arc<[ResultColumn]>,
    /// The tables that are read for it, sorted by name.
    pub tables: Arc<[Arc<str>]>,
    /// As [`Analysis::row_sources`]; empty also where the result can change though no row of a
    /// table does, or one of which nobody hears.
    pub row_sources: Vec<Arc<str>>,
    /// As [`Analysis::rows_of`], where in addition each column has a source in that table which is
    /// not computed.
    pub rows_of: Option<Arc<str>>,
}

/// A column of the result of a statement.
#[derive(Clone, Debug, PartialEq)]
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

impl ResultShape {
    /// The shape of what `statement` answers with; its `reading` holds for what `connection` sees.
    pub(crate) fn of(
        connection: &Connection,
        statement: &Statement,
        reading: &Reading,
    ) -> Result<Self, Error> {
        let columns = columns(connection, statement, reading)?;
        let analysis = &reading.analysis;
        let tables = analysis.tables.iter().map(|read| read.table.clone()).collect();
        let is_told = analysis.time_dependent.is_none() && !analysis.reads_untrackable();
        let row_sources = if is_told { analysis.row_sources.clone() } else { Vec::new() };
        let is_stored = |table: &Arc<str>| {
            let is_of = |column: &ResultColumn| {
                let source = column.source.as_ref();
                source.is_some_and(|(of, column)| of == table && !column.generated)
            };
            is_told && columns.iter().all(is_of)
        };
        let rows_of = analysis.rows_of.clone().filter(is_stored);
        Ok(Self { columns: columns.into(), tables, row_sources, rows_of })
    }

    /// Fails where `now` is another one: what was worked out of this one does not hold for it.
    pub(crate) fn expect(&self, now: &Self) -> Result<(), Error> {
        if self == now {
            return Ok(());
        }
        let mut columns = self.columns.iter().zip(now.columns.iter());
        let what = match columns.find(|(own, other)| own != other) {
            Some((own, other)) if own.name == other.name => {
                format!("the column `{}` is made or compared", own.name)
            }
            _ => "it reads".to_owned(),
        };
        Err(Error::new(ErrorKind::Config, "read a query").detail(format!(
            "the schema has changed and {what} otherwise; define anew what was made of the query"
        )))
    }
}

/// The columns of what `statement` answers with.
fn columns(
    connection: &Connection,
    statement: &Statement,
    reading: &Reading,
) -> Result<Vec<ResultColumn>, Error> {
    let failed = |error: rusqlite::Error| from_driver("look at the columns of", "a result", &error);
    expect_named(connection, statement, &reading.columns)?;
    let schema = Schema::read(connection)?;
    let (Reading { analysis, columns, .. }, sql) = (reading, statement.sql());
    let sources = match is_traceable(analysis) {
        true => sources(connection, sql, &schema).map_err(failed)?,
        false => HashMap::new(),
    };
    let encoding: String =
        connection.query_row("PRAGMA main.encoding", [], |row| row.get(0)).map_err(failed)?;
    // Of an outer join any column can be NULL.
    let keeps_rows = analysis.tables.iter().all(|read| !is_outer(&read.rows));
    let column = |name: &Arc<str>| {
        let source = sources.get(name).cloned();
        let never_null = |(table, column): &Source| {
            let alias = schema.table(table).and_then(|table| table.rowid_alias.clone());
            column.not_null || alias.is_some_and(|alias| alias == column.name)
        };
        let never_null = keeps_rows && source.as_ref().is_some_and(never_null);
        let compares = compares_bytes(connection, sql, name).map_err(failed)?;
        let is_binary = encoding == "UTF-8" && compares;
        Ok(ResultColumn { name: name.clone(), source, never_null, is_binary })
    };
    columns.iter().map(column).collect()
}

/// Fails unless each column is found by its name in a query around the statement: names that differ
/// in case only are one name there, and SQLite calls a column without `AS` as it likes, inside one
/// way and around it another.
fn expect_named(
    connection: &Connection,
    statement: &Statement,
    columns: &[Arc<str>],
) -> Result<(), Error> {
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
    for (name, found) in columns.iter().zip(around.column_names()) {
        if **name != *found {
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
    sql: &str,
    schema: &Schema,
) -> rusqlite::Result<HashMap<Arc<str>, Source>> {
    let prepared = connection.prepare(sql)?;
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
fn compares_bytes(connection: &Connection, sql: &str, column: &str) -> rusqlite::Result<bool> {
    let column = identifier(column);
    let sql = format!(
        "SELECT {column} = 'a ' OR {column} = 'A' FROM \
         (SELECT {column} FROM ({sql}) WHERE 0 UNION ALL SELECT 'A ')"
    );
    let mut prepared = connection.prepare(&sql)?;
    for number in 1..=prepared.parameter_count() {
        prepared.raw_bind_parameter(number, rusqlite::types::Null)?;
    }
    let mut rows = prepared.raw_query();
    let is_equal = rows.next()?.map(|row| row.get::<_, bool>(0)).transpose()?;
    Ok(is_equal == Some(false))
}
