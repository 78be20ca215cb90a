//! What SQLite's authorizer reports while it compiles a statement: tables, columns, functions.
//!
//! The authorizer is asked while names are resolved, before anything is optimised away, so that it
//! also sees what the plan leaves out. It has one gap: a column that is read only because `USING`
//! or `NATURAL` compares it is not reported, and a table of which nothing else is read is not
//! reported at all. [`super::bytecode`] closes it. **Invariant**: the connection is left without an
//! authorizer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;
use rusqlite::{
    Connection, Statement,
    hooks::{AuthAction, AuthContext, Authorization},
};

use crate::error::from_driver;

/// What a statement reads, by SQLite's own account.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Columns by table, both as declared. A table may be a view, a virtual table or a CTE.
    pub(super) tables: BTreeMap<String, BTreeSet<String>>,
    /// Tables outside the main database, as `database.table`.
    pub(super) foreign: BTreeSet<String>,
    /// Functions by name.
    pub(super) functions: BTreeSet<String>,
    /// Views and CTEs from within which something is read.
    pub(super) accessors: BTreeSet<String>,
    /// The names of the parameters, without their prefix, in SQLite's order.
    pub(super) parameters: Vec<String>,
    /// Whether two parameters differ in their prefix only.
    pub(super) has_ambiguous_parameters: bool,
    /// Whether anything but reading would be done.
    is_reading: bool,
}

impl Reads {
    /// Compiles `sql` and collects what it reads.
    ///
    /// # Errors
    /// `Origin` when SQLite refuses the text, `Unsupported` when it is not one reading statement.
    pub(super) fn collect(connection: &mut Connection, sql: &str) -> Result<Self, Error> {
        let collected = Arc::new(Mutex::new(Self { is_reading: true, ..Self::default() }));
        let collector = Arc::clone(&collected);
        let hook = move |context: AuthContext<'_>| {
            collector.lock().note(&context);
            Authorization::Allow
        };
        connection.authorizer(Some(hook)).map_err(refused)?;
        let outcome = connection.prepare(sql).map(|statement| examine(&statement));
        connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).map_err(refused)?;
        let (is_query, parameters) = outcome.map_err(refused)?;
        let mut reads = collected.lock().clone();
        if !is_query || !reads.is_reading {
            return Err(unsupported("it must be one statement that only reads, such as SELECT"));
        }
        let distinct: BTreeSet<&String> = parameters.iter().collect();
        reads.has_ambiguous_parameters = distinct.len() < parameters.len();
        reads.parameters = parameters;
        Ok(reads)
    }

    fn note(&mut self, context: &AuthContext<'_>) {
        if let Some(accessor) = context.accessor {
            self.accessors.insert(accessor.to_owned());
        }
        match context.action {
            AuthAction::Read { table_name, column_name } => match context.database_name {
                Some("main") | None => {
                    let columns = self.tables.entry(table_name.to_owned()).or_default();
                    if !column_name.is_empty() {
                        columns.insert(column_name.to_owned());
                    }
                }
                Some(database) => {
                    self.foreign.insert(format!("{database}.{table_name}"));
                }
            },
            AuthAction::Function { function_name } => {
                self.functions.insert(function_name.to_ascii_lowercase());
            }
            AuthAction::Select | AuthAction::Recursive => {}
            _ => self.is_reading = false,
        }
    }
}

/// Whether the statement is a query, and its named parameters without their prefix.
fn examine(statement: &Statement<'_>) -> (bool, Vec<String>) {
    let is_query =
        statement.readonly() && statement.is_explain() == 0 && 0 < statement.column_count();
    let names = (1..=statement.parameter_count())
        .filter_map(|index| statement.parameter_name(index))
        .filter_map(|name| name.strip_prefix([':', '@', '$']))
        .map(str::to_owned);
    (is_query, names.collect())
}

fn refused(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::MultipleStatement => unsupported("there is more than one statement"),
        error => from_driver("analyse", "the statement", &error),
    }
}

fn unsupported(why: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "analyse").subject("the statement").detail(why)
}
