//! The analysis against whole-table differences: independent of triggers and log.
//!
//! Each resource has a history of its own, fed with no more than the analysis asked to be logged,
//! so that a column missing from its mask shows too.

use larder_core::{
    Change, DependencySet, Epoch, History, Position, Stamp, Value, history::Verdict, timeline::Name,
};
use larder_sqlite::analysis::{Analysis, Schema, analyse};
use rusqlite::{Connection, limits::Limit, types::Value as Sql};

use crate::{
    case::{Case, Failure},
    resource::Resource,
    snapshot::{self, Snapshot},
    tally::{self, Tally},
};

/// What the analysis is shown instead of the truth, so that the test can be seen to fail.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    pub schema: fn(&str) -> String,
    pub sql: fn(&str) -> String,
    /// Whether the rows that `REPLACE` displaces are lost.
    pub forgets_displaced: bool,
    /// Whether the columns that only decide an order are lost.
    pub log_columns: fn(&mut Analysis),
}

impl Lens {
    pub fn clear() -> Self {
        Self {
            schema: str::to_owned,
            sql: str::to_owned,
            forgets_displaced: false,
            log_columns: |_| {},
        }
    }
}

/// Runs the case; the first result that changed unnoticed is the failure.
pub fn run(case: &Case, lens: &Lens, tally: &mut Tally) -> Option<Failure> {
    let mut connection = open(&case.schema);
    let mut shown = open(&case.schema.iter().map(|sql| (lens.schema)(sql)).collect::<Vec<_>>());
    let schema = Schema::read(&connection).unwrap();
    let watched = case.resources.iter();
    let mut watched: Vec<Watched> = watched
        .filter_map(|resource| Watched::new(&connection, &mut shown, resource, lens))
        .collect();
    if watched.is_empty() {
        return None;
    }
    tally.cases += 1;
    let mut before = Snapshot::take(&connection, &schema);
    for (index, transaction) in case.transactions.iter().enumerate() {
        execute(&mut connection, transaction);
        let after = Snapshot::take(&connection, &schema);
        if is_overgrown(&connection) {
            break;
        }
        let replaces = transaction.iter().any(|sql| sql.contains("REPLACE"));
        let mut differences = before.differences(&after);
        tally.note_changes(differences.len() as u64);
        let moved = !differences.is_empty();
        if lens.forgets_displaced && replaces {
            differences.retain(|difference| !difference.is_delete());
        }
        before = after;
        for watched in &mut watched {
            let changes = differences.iter().filter_map(|d| d.as_change(&watched.analysis));
            let changes: Vec<Change> = changes.map(Change::Row).collect();
            let now = watched.ask(&connection);
            let valid = watched.apply(&changes);
            let changed = now != watched.result;
            if changed && valid {
                return Some(watched.failure(case, index, &now));
            }
            if moved {
                tally.note(watched.shape, changed, !valid);
            }
            watched.refill(now);
        }
    }
    None
}

fn open(schema: &[String]) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    prepare_connection(&connection, schema);
    connection
}

/// Makes a connection an application's, and the schema through it.
pub fn prepare_connection(connection: &Connection, schema: &[String]) {
    connection.set_prepared_statement_cache_capacity(256);
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    // A trigger that fires itself ends in an error soon.
    connection.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 6).unwrap();
    for sql in schema {
        // SQLite does not take every combination; the case goes on without that statement.
        connection.execute_batch(sql).ok();
    }
}

/// Steps of SQLite's machine that one statement may take.
///
/// A random schema has triggers that multiply rows, and a few statements of one transaction are
/// enough for millions. Counted in steps and not in time, so that a case runs alike everywhere.
const STEPS_MAX: i32 = 20_000;

/// Runs the statements as an application would that does not stop at errors.
///
/// A statement that runs away is interrupted, and its transaction rolled back with it; what comes
/// after it then runs on its own.
pub fn execute(connection: &mut Connection, transaction: &[String]) {
    connection.progress_handler(STEPS_MAX, Some(|| true)).unwrap();
    for sql in transaction {
        connection.execute_batch(sql).ok();
    }
    // Whoever looks at the outcome may take as long as it needs: a result must not depend on it.
    connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").unwrap();
    }
}

/// Rows of the whole database at the end of a transaction that a case goes on with.
///
/// Where even the statement that empties a table runs away, each transaction adds to the last, and
/// joins of such tables take most of the run and show nothing that those of small ones do not.
const ROWS_MAX: i64 = 250;

/// Whether the case ends here.
pub fn is_overgrown(connection: &Connection) -> bool {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'T[0-9]'";
    let mut tables = connection.prepare_cached(tables).unwrap();
    let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let count = |name: rusqlite::Result<String>| -> i64 {
        let sql = format!("SELECT count(*) FROM {}", name.unwrap());
        let mut statement = connection.prepare_cached(&sql).unwrap();
        statement.query_row([], |row| row.get(0)).unwrap()
    };
    ROWS_MAX < names.map(count).sum()
}

/// The rows of a result, or that there is none.
pub type Answer = Result<Vec<Vec<Value>>, String>;

/// Runs a resource; `None` when SQLite does not take its text.
pub fn ask(connection: &Connection, resource: &Resource) -> Option<Answer> {
    let mut statement = connection.prepare_cached(&resource.sql).ok()?;
    for (name, value) in &resource.parameters {
        if let Some(index) = statement.parameter_index(&format!(":{name}")).unwrap() {
            statement.raw_bind_parameter(index, bind(value)).unwrap();
        }
    }
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let value = |index| snapshot::value(row.get_ref(index).unwrap());
                found.push((0..width).map(value).collect());
            }
            Ok(None) => return Some(Ok(found)),
            Err(error) => return Some(Err(error.to_string())),
        }
    }
}

fn bind(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Integer(number) => Sql::Integer(*number),
        Value::Real(number) => Sql::Real(*number),
        Value::Text(text) => Sql::Text(text.to_string()),
        Value::Blob(bytes) => Sql::Blob(bytes.to_vec()),
    }
}

/// A resource with an entry in a cache of one.
struct Watched {
    resource: Resource,
    analysis: Analysis,
    dependencies: DependencySet,
    shape: &'static str,
    history: History,
    stamp: Stamp,
    result: Answer,
}

impl Watched {
    fn new(
        connection: &Connection,
        shown: &mut Connection,
        resource: &Resource,
        lens: &Lens,
    ) -> Option<Self> {
        let result = ask(connection, resource)?;
        let name = Name::from("shop");
        let mut analysis = analyse(shown, &name, &(lens.sql)(&resource.sql)).ok()?;
        (lens.log_columns)(&mut analysis);
        let parameters = resource.parameters.iter();
        let parameters: Vec<(&str, &Value)> =
            parameters.map(|(name, value)| (&**name, value)).collect();
        let dependencies = analysis.dependencies(&parameters);
        let mut history = History::new(name, Epoch(1), Position::START, 1 << 16);
        dependencies.iter().for_each(|dependency| history.register(dependency));
        let stamp = history.stamp();
        let shape = tally::shape(&dependencies);
        let dependencies = dependencies.into_iter().collect();
        let resource = resource.clone();
        Some(Self { resource, analysis, dependencies, shape, history, stamp, result })
    }

    fn ask(&self, connection: &Connection) -> Answer {
        ask(connection, &self.resource).unwrap_or_else(|| Err("it cannot be compiled".to_owned()))
    }

    /// Applies a transaction's changes and says whether the entry is still valid.
    fn apply(&mut self, changes: &[Change]) -> bool {
        // The whole database: the feed cannot say which row it was, only that something was.
        if self.analysis.reads_untrackable() || self.analysis.tables.is_empty() {
            return false;
        }
        let position = self.history.applied().next();
        self.history.apply(position, changes);
        self.history.confirm(position);
        let verdict = self.history.verdict(&self.stamp, &self.dependencies, position);
        verdict == Verdict::Untouched
    }

    fn refill(&mut self, result: Answer) {
        self.stamp = self.history.stamp();
        self.result = result;
    }

    fn failure(&self, case: &Case, transaction: usize, after: &Answer) -> Failure {
        Failure {
            case: case.clone(),
            transaction,
            resource: self.resource.clone(),
            dependencies: self.dependencies.iter().map(ToString::to_string).collect(),
            before: format!("{:?}", self.result),
            after: format!("{after:?}"),
        }
    }
}
