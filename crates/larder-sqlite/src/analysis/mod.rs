//! The analysis: what a statement depends on, derived from its text and SQLite's own account of it.
//!
//! SQLite's authorizer says which tables and columns a statement reads; that part is complete by
//! construction. A parse of the text may then *narrow* a table to the rows with certain values,
//! where it proves that no other row can enter, leave or change the result. **Invariant**: whatever
//! is not proven stays as wide as the authorizer reported it; a text that cannot be parsed narrows
//! nothing.
//!
//! Reading order: [`catalog`] and [`mod@column`] are what SQLite knows of the schema; `authorizer`
//! and `bytecode` are the two witnesses of what a statement reads, `survey` puts them together;
//! `parse` and `prove` narrow it; `volatile` finds what changes by itself.

use std::{collections::BTreeSet, fmt, sync::Arc};

use larder_core::{Dependency, Error, Value, timeline::Name};
use rusqlite::Connection;

use crate::error::from_driver;

pub mod catalog;

pub mod column;

mod number;

mod authorizer;

mod bytecode;

mod parse;

mod prove;

mod volatile;

mod survey;

#[cfg(test)]
mod tests;

pub use catalog::{Kind, Schema, Table};
pub use column::{Affinity, Column, canonical};

/// What a statement reads, and how its parameters narrow that.
#[derive(Clone, Debug)]
pub struct Analysis {
    timeline: Name,
    /// Every table that the statement reads, once, sorted by name.
    pub tables: Vec<TableRead>,
    /// What the statement reads that no change log can watch: virtual tables, SQLite's own tables,
    /// other databases. Not empty means that the statement depends on the whole database.
    pub untrackable: Vec<Arc<str>>,
    /// Why the result can change though no table does: the clock, randomness, the connection.
    pub time_dependent: Option<String>,
    /// Tables of each of which every row of the result is made of exactly one row, so that whoever
    /// knows that row knows which rows of the result it went into: an inner join of plain tables
    /// that shows columns as they are. Empty where that is not proven; without those that stand in
    /// it twice.
    pub row_sources: Vec<Arc<str>>,
    /// The table each row of which is exactly one row of the result, which shows columns of it as
    /// they are: it is read alone and without a condition. `None` where that is not proven.
    pub rows_of: Option<Arc<str>>,
    /// The names of the parameters, without their prefix, in the order SQLite numbers them.
    pub parameters: Vec<Arc<str>>,
}

/// A table that a statement reads.
#[derive(Clone, Debug)]
pub struct TableRead {
    /// The table, as declared.
    pub table: Arc<str>,
    /// The columns of its primary key in the key's order.
    pub key: Vec<Arc<str>>,
    /// Every column whose change can change the result, sorted.
    pub columns: Vec<Arc<str>>,
    /// Which rows can matter.
    pub rows: Rows,
}

/// Which rows of a table can enter, leave or change a result.
#[derive(Clone, Debug)]
pub enum Rows {
    /// All of them, and why no fewer.
    All(Widening),
    /// Those that satisfy one of these scopes: one for each time the statement names the table.
    Within(Vec<Scope>),
}

/// Values that a row must have to matter.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Each column once, sorted by name, never empty.
    pub terms: Vec<Term>,
}

/// One column, and what it must equal.
#[derive(Clone, Debug)]
pub struct Term {
    /// The column.
    pub column: Column,
    /// What it must equal.
    pub equals: Operand,
}

/// A value that is known when the statement is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// The parameter of that name, without its prefix.
    Parameter(Arc<str>),
    /// A value in the text.
    Literal(Value),
}

/// Why all rows of a table matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Widening {
    /// The parser does not understand the text, or found in it what SQLite does not have.
    NotParsed,
    /// There is a subquery, a derived table or a common table expression.
    Subquery,
    /// There is `UNION`, `INTERSECT`, `EXCEPT` or `VALUES`.
    SetOperation,
    /// There is an outer join.
    OuterJoin,
    /// There is a `NATURAL` join, whose columns the text does not name.
    NaturalJoin,
    /// A view is read.
    View,
    /// A function stands where a table could.
    TableFunction,
    /// A name in `FROM` is no table of the main database.
    Unresolved,
    /// The parser and SQLite do not see the same tables.
    Disagreement,
    /// Two parameters differ only in their prefix.
    AmbiguousParameters,
    /// No column of the table must equal a parameter or a literal in every row that matters.
    NoCondition,
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotParsed => "the statement could not be parsed",
            Self::Subquery => "the statement has a subquery",
            Self::SetOperation => "the statement combines several queries",
            Self::OuterJoin => "the statement has an outer join",
            Self::NaturalJoin => "the statement has a natural join",
            Self::View => "the statement reads a view",
            Self::TableFunction => "the statement reads a table-valued function",
            Self::Unresolved => "a name is no table of the main database",
            Self::Disagreement => "the parser and SQLite do not see the same tables",
            Self::AmbiguousParameters => "two parameters differ only in their prefix",
            Self::NoCondition => "no condition holds for all rows that matter",
        })
    }
}

impl Analysis {
    /// The dependencies of a result that is loaded with `parameters`, each a name without its
    /// prefix and a value.
    ///
    /// Never empty: a statement that reads no table depends on the whole database. A parameter
    /// that is missing, or has no exact form in its column, narrows nothing.
    pub fn dependencies(&self, parameters: &[(&str, &Value)]) -> Vec<Dependency> {
        if self.tables.is_empty() || self.reads_untrackable() {
            return vec![Dependency::everything(self.timeline.clone())];
        }
        let mut dependencies = Vec::with_capacity(self.tables.len());
        for read in &self.tables {
            match &read.rows {
                Rows::All(_) => dependencies.push(read.all(&self.timeline)),
                Rows::Within(scopes) => dependencies.extend(
                    scopes.iter().map(|scope| read.within(&self.timeline, scope, parameters)),
                ),
            }
        }
        dependencies
    }

    /// For each table the columns, besides its primary key, that a changed row must be reported
    /// with so that [`Analysis::dependencies`] can be matched.
    pub fn scope_columns(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.tables.iter().map(|read| (read.table.clone(), read.scope_columns())).collect()
    }

    /// Whether the statement reads something that no change log can watch.
    pub fn reads_untrackable(&self) -> bool {
        !self.untrackable.is_empty()
    }
}

impl TableRead {
    fn all(&self, timeline: &Name) -> Dependency {
        Dependency::table(timeline.clone(), self.table.clone())
    }

    fn within(&self, timeline: &Name, scope: &Scope, parameters: &[(&str, &Value)]) -> Dependency {
        let known = scope
            .terms
            .iter()
            .filter_map(|term| Some((term.column.name.clone(), term.value(parameters)?)));
        let terms: Vec<(Arc<str>, Value)> = known.collect();
        let value_of = |name: &Arc<str>| {
            terms.iter().find(|(column, _)| column == name).map(|(_, value)| value.clone())
        };
        let key: Option<Vec<Value>> = self.key.iter().map(value_of).collect();
        match key {
            // A row with these values can only be the one with this key.
            Some(key) if !key.is_empty() => {
                Dependency::id(timeline.clone(), self.table.clone(), key)
            }
            _ => Dependency::scope(timeline.clone(), self.table.clone(), terms),
        }
    }

    fn scope_columns(&self) -> Vec<Arc<str>> {
        let Rows::Within(scopes) = &self.rows else { return Vec::new() };
        let columns = scopes.iter().flat_map(|scope| &scope.terms);
        let columns: BTreeSet<&Arc<str>> = columns.map(|term| &term.column.name).collect();
        columns.into_iter().filter(|column| !self.key.contains(column)).cloned().collect()
    }
}

impl Term {
    /// The value in the form the column compares; `None` when it is not known exactly.
    fn value(&self, parameters: &[(&str, &Value)]) -> Option<Value> {
        let value = match &self.equals {
            Operand::Literal(value) => value,
            Operand::Parameter(name) => {
                parameters.iter().find(|(given, _)| **given == **name).map(|(_, value)| *value)?
            }
        };
        self.column.convert(value.clone()).ok()
    }
}

/// Analyses `sql` against the schema that `connection` sees now.
///
/// The connection is the analysis' own: an authorizer is installed and removed again, and a
/// transaction is opened for the time of the call.
///
/// # Errors
/// `Origin` when SQLite refuses the text, `Unsupported` when it is not one reading statement.
///
/// # Cost
/// Reads the whole catalog and compiles the statement twice: milliseconds.
pub fn analyse(connection: &mut Connection, timeline: &Name, sql: &str) -> Result<Analysis, Error> {
    let failed = |error| from_driver("analyse", "the statement", &error);
    // One snapshot for the catalog, the statement and the plan.
    connection.execute_batch("BEGIN").map_err(failed)?;
    let outcome = survey::analyse(connection, timeline, sql);
    connection.execute_batch("ROLLBACK").map_err(failed)?;
    outcome
}
