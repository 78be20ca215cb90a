//! The analysis: what a statement depends on, derived from its text and SQLite's own account of it.
//!
//! SQLite's authorizer says which tables and columns a statement reads; that part is complete by
//! construction. A parse of the text may then *narrow* a table to the rows with certain values,
//! where it proves that no other row can enter, leave or change the result. **Invariant**: whatever
//! is not proven stays as wide as the authorizer reported it; a text that cannot be parsed narrows
//! nothing.
//!
//! Reading order: [`catalog`] and [`column`] are what SQLite knows of the schema.

use std::{fmt, sync::Arc};

use larder_core::{Dependency, Error, Value, timeline::Name};
use rusqlite::Connection;

pub mod catalog;

pub mod column;

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
    /// The names of the parameters, without their prefix, in the order SQLite numbers them.
    pub parameters: Vec<Arc<str>>,
}

/// A table that a statement reads.
#[derive(Clone, Debug)]
pub struct TableRead {
    /// The table, as declared.
    pub table: Arc<str>,
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
    /// The text was not analysed or not understood.
    NotParsed,
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotParsed => "the statement could not be parsed",
        })
    }
}

impl Analysis {
    /// The dependencies of a result that is loaded with `parameters`, each a name without its
    /// prefix and a value.
    ///
    /// Never empty: a statement that reads no table depends on the whole database.
    pub fn dependencies(&self, parameters: &[(&str, &Value)]) -> Vec<Dependency> {
        let _ = parameters;
        vec![Dependency::everything(self.timeline.clone())]
    }

    /// For each table the columns, besides its primary key, that a changed row must be reported
    /// with so that [`Analysis::dependencies`] can be matched.
    pub fn scope_columns(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.tables.iter().map(|read| (read.table.clone(), Vec::new())).collect()
    }

    /// Whether the statement reads something that no change log can watch.
    pub fn reads_untrackable(&self) -> bool {
        !self.untrackable.is_empty()
    }
}

/// Analyses `sql` against the schema that `connection` sees now.
///
/// The connection is the analysis' own: an authorizer is installed and removed again.
///
/// # Errors
/// `Origin` when SQLite refuses the text, `Unsupported` when it is not one reading statement.
pub fn analyse(connection: &mut Connection, timeline: &Name, sql: &str) -> Result<Analysis, Error> {
    let _ = (connection, sql);
    Ok(Analysis {
        timeline: timeline.clone(),
        tables: Vec::new(),
        untrackable: vec!["the whole database".into()],
        time_dependent: None,
        parameters: Vec::new(),
    })
}
