//! A statement that was checked once and is run many times, and the question made of it.
//!
//! It stands apart from `analysis` because it is what callers hold; what it reads is derived again
//! whenever the schema moved. **Invariant**: a [`Statement`] reads, is one statement, and has
//! exactly the parameters that were declared.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use larder_core::{Epoch, Error, ErrorKind, Value};
use parking_lot::RwLock;
use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

use crate::{
    analysis::{self, Analysis},
    error::from_driver,
    identity::Identity,
    result_shape::ResultShape,
};

/// A declared parameter: what stands in the text as `:name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The name, without the colon.
    pub name: String,
    /// Which values it takes besides null.
    pub kind: ParamKind,
}

/// Which values a parameter takes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// 64-bit integers.
    Integer,
    /// 64-bit floats.
    Real,
    /// Text.
    Text,
    /// Bytes.
    Blob,
    /// Any value.
    Any,
}

impl ParamKind {
    fn takes(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Any, _)
                | (_, Value::Null)
                | (Self::Integer, Value::Integer(_))
                | (Self::Real, Value::Real(_))
                | (Self::Text, Value::Text(_))
                | (Self::Blob, Value::Blob(_))
        )
    }
}

/// A checked statement. Made by [`crate::SqliteOrigin::prepare`].
#[derive(Debug)]
pub struct Statement {
    sql: Arc<str>,
    params: Vec<Param>,
    reading: RwLock<Arc<Reading>>,
}

/// What a statement reads and answers with, under one version of the schema.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) of: Version,
    pub(crate) analysis: Analysis,
    pub(crate) columns: Arc<[Arc<str>]>,
    /// Looked at when somebody first asks.
    shape: OnceLock<Arc<ResultShape>>,
}

/// What makes a [`Reading`] out of date when it changes.
///
/// The epoch is in it because two files can have the same number of schema changes behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) file: Identity,
    pub(crate) schema: i64,
    pub(crate) epoch: Option<Epoch>,
}

/// A statement with its values and its limits.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to run.
    pub statement: Arc<Statement>,
    /// One value for each declared parameter, in declared order.
    pub params: Vec<Value>,
    /// How long the answer may take, waiting for a free connection included.
    pub deadline: Duration,
    /// Rows that the answer may have at most.
    pub max_rows: usize,
    /// Bytes that the values of the answer may have at most.
    pub max_bytes: usize,
}

impl Query {
    /// Asks `statement` with `params` under limits for a page of an application: 10 s, 10 000 rows,
    /// 16 MiB. The fields can be changed.
    pub fn new(statement: Arc<Statement>, params: Vec<Value>) -> Self {
        Self {
            statement,
            params,
            deadline: Duration::from_secs(10),
            max_rows: 10_000,
            max_bytes: 16 << 20,
        }
    }
}

/// What a statement answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The names of the columns, each once.
    pub columns: Arc<[Arc<str>]>,
    /// The rows, each with one value for each column.
    pub rows: Vec<Vec<Value>>,
}

impl Statement {
    /// Checks `sql` on `connection` and has `read` derive what it reads.
    pub(crate) fn check(
        connection: &mut Connection,
        sql: &str,
        params: &[Param],
        read: impl FnOnce(&mut Connection, &str) -> Result<Reading, Error>,
    ) -> Result<Self, Error> {
        connection.authorizer(Some(allow_reading)).map_err(|error| refused(&error))?;
        let checked = check_text(connection, sql, params);
        let none = None::<fn(AuthContext<'_>) -> Authorization>;
        connection.authorizer(none).map_err(|error| refused(&error))?;
        checked?;
        let sql = without_end(sql);
        let reading = RwLock::new(Arc::new(read(connection, sql)?));
        Ok(Self { sql: sql.into(), params: params.to_vec(), reading })
    }

    /// The text, without the `;` that ended it and what stood behind that.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The parameters, in declared order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The names of the result's columns, as the schema stands.
    pub fn columns(&self) -> Arc<[Arc<str>]> {
        self.reading().columns.clone()
    }

    /// What the statement reads, as the schema stands.
    pub fn analysis(&self) -> Analysis {
        self.reading().analysis.clone()
    }

    /// Why the result can change though no table does, if it can.
    pub fn time_dependent(&self) -> Option<String> {
        self.reading().analysis.time_dependent.clone()
    }

    pub(crate) fn reading(&self) -> Arc<Reading> {
        self.reading.read().clone()
    }

    pub(crate) fn set_reading(&self, reading: Reading) -> Arc<Reading> {
        let reading = Arc::new(reading);
        *self.reading.write() = reading.clone();
        reading
    }

    /// Each declared parameter with its value.
    pub(crate) fn named<'a>(&'a self, values: &'a [Value]) -> Vec<(&'a str, &'a Value)> {
        self.params.iter().map(|param| &*param.name).zip(values).collect()
    }

    /// Fails unless there is one value of the right kind for each parameter.
    pub(crate) fn check_values(&self, values: &[Value]) -> Result<(), Error> {
        let wrong = |detail| Err(Error::new(ErrorKind::Config, "run a statement").detail(detail));
        if values.len() != self.params.len() {
            let (wanted, given) = (self.params.len(), values.len());
            return wrong(format!("{wanted} parameters are declared, {given} values were given"));
        }
        for (param, value) in self.params.iter().zip(values) {
            if !param.kind.takes(value) {
                let (name, kind, given) = (&param.name, param.kind, value.type_name());
                return wrong(format!("parameter {name} is {kind:?}, {given} was given"));
            }
        }
        Ok(())
    }
}

impl Reading {
    /// Derives what `sql` reads from the schema that `connection` sees.
    ///
    /// The version is read before and after: a schema that moved in between gives no answer.
    pub(crate) fn derive(
        connection: &mut Connection,
        timeline: &larder_core::timeline::Name,
        sql: &str,
        version: impl Fn(&Connection) -> Result<Version, Error>,
    ) -> Result<Self, Error> {
        for _ in 0..ATTEMPTS {
            let of = version(connection)?;
            let columns = columns_of(connection, sql)?;
            let analysis = analysis::analyse(connection, timeline, sql)?;
            if version(connection)? == of {
                return Ok(Self { of, analysis, columns, shape: OnceLock::new() });
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "analyse a statement")
            .detail("the schema changes faster than it can be read"))
    }

    /// What the result of `statement` looks like; `connection` sees the schema that this is of.
    pub(crate) fn shape(
        &self,
        connection: &Connection,
        statement: &Statement,
    ) -> Result<Arc<ResultShape>, Error> {
        if let Some(shape) = self.shape.get() {
            return Ok(shape.clone());
        }
        let shape = Arc::new(ResultShape::of(connection, statement, self)?);
        Ok(self.shape.get_or_init(|| shape).clone())
    }
}

/// Tries before a schema that keeps moving is called unavailable.
pub(crate) const ATTEMPTS: usize = 4;

/// Lets a statement read, and nothing else. `load_extension` and the readers and writers of files
/// are functions that SQLite's shell and extensions add.
pub(crate) fn allow_reading(context: AuthContext<'_>) -> Authorization {
    const DENIED: [&str; 6] =
        ["load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "lsdir"];
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } => {
            let denied = DENIED.iter().any(|name| name.eq_ignore_ascii_case(function_name));
            if denied { Authorization::Deny } else { Authorization::Allow }
        }
        _ => Authorization::Deny,
    }
}

fn check_text(connection: &Connection, sql: &str, params: &[Param]) -> Result<(), Error> {
    let wrong =
        |detail: String| Error::new(ErrorKind::Config, "prepare a statement").detail(detail);
    let statement = connection.prepare(sql).map_err(|error| match error {
        rusqlite::Error::MultipleStatement => {
            wrong("the text holds more than one statement; give exactly one".to_owned())
        }
        other => refused(&other),
    })?;
    if statement.column_count() == 0 || !statement.readonly() || statement.is_explain() != 0 {
        return Err(wrong("only a SELECT can be a resource".to_owned()));
    }
    let mut used = HashSet::new();
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or("?");
        let Some(name) = name.strip_prefix(':') else {
            return Err(wrong(format!("parameter {name}: write parameters as :name")));
        };
        if !params.iter().any(|param| param.name == name) {
            return Err(wrong(format!("parameter :{name} is not declared")));
        }
        used.insert(name.to_owned());
    }
    let mut declared = HashSet::new();
    for Param { name, .. } in params {
        if !used.contains(name) {
            return Err(wrong(format!("parameter {name} is declared but the text has no :{name}")));
        }
        if !declared.insert(name) {
            return Err(wrong(format!("parameter {name} is declared twice")));
        }
    }
    Ok(())
}

/// The text up to its last word: a `;` behind it and comments mean nothing, and could not stand in
/// the parentheses of a question for a part of the result.
fn without_end(sql: &str) -> &str {
    let (mut rest, mut end) = (sql, 0);
    while let Some(first) = rest.chars().next() {
        let upto = |from: usize, last: &str| {
            let found = rest.get(from..).and_then(|inner| inner.find(last));
            found.map_or(rest.len(), |at| from + at + last.len())
        };
        let (length, is_word) = match first {
            ';' => (1, false),
            '-' if rest.starts_with("--") => (upto(2, "\n"), false),
            '/' if rest.starts_with("/*") => (upto(2, "*/"), false),
            '\'' => (upto(1, "'"), true),
            '"' => (upto(1, "\""), true),
            '`' => (upto(1, "`"), true),
            '[' => (upto(1, "]"), true),
            other => (other.len_utf8(), !other.is_ascii_whitespace()),
        };
        rest = rest.get(length..).unwrap_or_default();
        if is_word {
            end = sql.len() - rest.len();
        }
    }
    sql.get(..end).unwrap_or(sql)
}

fn columns_of(connection: &Connection, sql: &str) -> Result<Arc<[Arc<str>]>, Error> {
    let statement = connection.prepare(sql).map_err(|error| refused(&error))?;
    let columns: Arc<[Arc<str>]> = statement.column_names().map(Arc::from).collect();
    let mut seen = HashSet::new();
    match columns.iter().find(|name| !seen.insert(&***name)) {
        None => Ok(columns),
        Some(name) => Err(Error::new(ErrorKind::Config, "prepare a statement").detail(format!(
            "two columns of the result are called {name}; give one of them another name with AS"
        ))),
    }
}

fn refused(error: &rusqlite::Error) -> Error {
    from_driver("prepare", "a statement", error)
}
