//! The plan: which tables get which triggers for a set of statements, and the SQL that does it.
//!
//! Nothing is changed by planning; [`TrackPlan::apply`] runs what [`TrackPlan::sql`] shows, in one
//! transaction. **Invariant**: planning what is installed already gives no SQL, so applying twice
//! is applying once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use larder_core::{Error, timeline::Name};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{
    analysis::{Schema, Table},
    connection,
    error::from_driver,
    log::{LOG, operation},
    outbox::{self, OUTBOX},
    statement::Statement,
    track::{
        tracked::{Absent, FORMAT, Installed, defaulted_columns, unknown},
        trigger::{self, Closeness, LOGGED_MAX, Spec, Trigger, identifier, literal},
    },
};

/// What would be done to a database, and what it means there.
#[derive(Clone, Debug)]
pub struct TrackPlan {
    /// The statements, in order; empty when nothing has to be done.
    pub sql: Vec<String>,
    /// What to know before saying yes: sizes, costs, what can no longer be done.
    pub notes: Vec<String>,
    /// Each table that the statements read, and how it is tracked.
    pub tables: Vec<TrackedAs>,
}

/// How a table is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedAs {
    /// The table.
    pub table: Arc<str>,
    /// Whether single rows are told apart.
    pub by_row: bool,
    /// Why it is not tracked more closely; empty where it is tracked by row.
    pub why: String,
}

/// Rows that the log keeps. At 10,000 changes a second a watcher may be away for ten seconds; at 60
/// bytes a row they take 6 MB. Ten times fewer would turn a pause of a second into a cold cache.
const KEPT: i64 = 100_000;

/// Rows of the log between two trims: each trim deletes as many, a fraction of a millisecond.
const TRIM_EVERY: i64 = 256;

/// The trigger that trims the log.
const TRIM: &str = "larder_trim";

/// The trigger that keeps a number of the log from being used again.
const CUT: &str = "larder_cut";

/// The log and what is written beside it.
pub(crate) const LOG_TABLES: [&str; 4] = [LOG, "larder_meta", "larder_tables", "larder_columns"];

/// The log's own triggers.
pub(crate) const LOG_TRIGGERS: [&str; 2] = [TRIM, CUT];

/// How long to wait for the application's locks before giving up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plans the triggers that `statements` need on the database at `path`.
///
/// # Errors
/// `NotFound` when there is no such file, `Unavailable` when it cannot be read now.
pub fn plan(path: &Path, name: &Name, statements: &[Arc<Statement>]) -> Result<TrackPlan, Error> {
    plan_with(path, name, statements, &[])
}

/// As [`plan`], with columns of some tables that each changed row is to be told with besides: by
/// which somebody finds what the row goes into. Columns beyond the 16 that the log has room for,
/// and tables that no statement reads, are left out.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(
    path: &Path,
    name: &Name,
    statements: &[Arc<Statement>],
    looked_at: &[(Arc<str>, Vec<Arc<str>>)],
) -> Result<TrackPlan, Error> {
    let opened = connection::open(path, PATIENCE)?;
    connection::in_snapshot(&opened.connection, |connection| {
        let schema = Schema::read(connection).map_err(Planning::Error)?;
        plan_in(connection, name, (statements, looked_at), &schema)
    })
    .map_err(|planning| planning.into_error(path))
}

/// Plans the removal of everything that [`plan`] ever installed.
///
/// # Errors
/// As [`plan`].
pub fn untrack_plan(path: &Path) -> Result<TrackPlan, Error> {
    let opened = connection::open(path, PATIENCE)?;
    let sql = connection::in_snapshot(&opened.connection, removal)
        .map_err(|error| connection::failed(path, &error))?;
    let note = match sql.is_empty() {
        true => "nothing of larder is in this database",
        false => "a larder that watches this database goes back to `database` tracking at once",
    };
    Ok(TrackPlan { sql, notes: vec![note.to_owned()], tables: Vec::new() })
}

impl TrackPlan {
    /// Runs the plan on the database at `path`, all of it or nothing.
    ///
    /// # Errors
    /// `Unavailable` when the application holds its lock for more than 10 s.
    pub fn apply(&self, path: &Path) -> Result<(), Error> {
        if self.sql.is_empty() {
            return Ok(());
        }
        // Looked up through the same door as every other connection: the file must exist, and its
        // descriptor for the header must be the first one of this process.
        drop(connection::open(path, PATIENCE)?);
        let failed = |error: rusqlite::Error| {
            from_driver("change the tracking of", &path.display().to_string(), &error)
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        for sql in &self.sql {
            transaction.execute_batch(sql).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}

enum Planning {
    Driver(rusqlite::Error),
    Error(Error),
    Absent(Absent),
}

impl From<rusqlite::Error> for Planning {
    fn from(error: rusqlite::Error) -> Self {
        Self::Driver(error)
    }
}

impl Planning {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Driver(error) => connection::failed(path, &error),
            Self::Error(error) => error,
            Self::Absent(absent) => unknown(&path.display().to_string(), absent),
        }
    }
}

/// What the statements need of one table.
#[derive(Default)]
struct Need {
    reads: BTreeSet<Arc<str>>,
    scopes: BTreeSet<Arc<str>>,
}

type LookedAt = [(Arc<str>, Vec<Arc<str>>)];

fn plan_in(
    connection: &Connection,
    name: &Name,
    (statements, looked_at): (&[Arc<Statement>], &LookedAt),
    schema: &Schema,
) -> Result<TrackPlan, Planning> {
    let mut plan = TrackPlan { sql: Vec::new(), notes: Vec::new(), tables: Vec::new() };
    let mut needs = needs(statements, &mut plan);
    for (table, columns) in looked_at {
        if let Some(need) = needs.get_mut(table) {
            need.scopes.extend(columns.iter().cloned());
        }
    }
    let mut specs = Vec::new();
    let mut triggers = Vec::new();
    for (table, need) in &needs {
        let Some(table) = schema.table(table).filter(|table| trigger::can_have_triggers(table))
        else {
            plan.unwatched(table, "it is not an ordinary table");
            continue;
        };
        let id = i64::try_from(specs.len()).unwrap_or(i64::MAX).saturating_add(1);
        let defaulted = defaulted_columns(connection, &table.name)?;
        let obstacle = trigger::obstacle(table, &defaulted);
        let spec = spec(id, table, need, obstacle.is_none());
        plan.describe(connection, table, &spec, obstacle)?;
        let own = trigger::triggers(&spec, table);
        triggers.extend(own.into_iter().map(|trigger| (trigger, table.name.to_string())));
        specs.push(spec);
    }
    let logged_max = specs.iter().map(|spec| spec.logged.len()).max().unwrap_or(0);
    // The outbox needs one value, also where every table is watched as a whole.
    let width = (2 * logged_max).max(1);
    let installed = match Installed::read(connection) {
        Ok(installed) => installed,
        Err(Absent::Broken(why)) => {
            plan.notes.push(format!("what is installed is broken and will be replaced: {why}"));
            None
        }
        Err(absent) => return Err(Planning::Absent(absent)),
    };
    if installed.is_some_and(|installed| installed.is(&specs, width, &triggers)) {
        plan.notes.push(format!("{name} is tracked like this already"));
        return Ok(plan);
    }
    plan.sql = removal(connection)?;
    plan.sql.extend(log_tables(width).into_iter().map(|object| object.sql));
    plan.sql.push(format!(
        "INSERT INTO larder_meta(id, format, width, seq, nonce) \
         VALUES (1, {FORMAT}, {width}, 0, random())"
    ));
    specs.iter().for_each(|spec| record(spec, &mut plan.sql));
    plan.sql.extend(triggers.into_iter().map(|(trigger, _)| trigger.sql));
    plan.sql.extend(outbox::objects().map(|object| object.sql));
    plan.notes.push(format!(
        "{OUTBOX}: what the application is to have invalidated is inserted there, in its own \
         transaction"
    ));
    Ok(plan)
}

fn needs(statements: &[Arc<Statement>], plan: &mut TrackPlan) -> BTreeMap<Arc<str>, Need> {
    let mut needs: BTreeMap<Arc<str>, Need> = BTreeMap::new();
    for statement in statements {
        let analysis = statement.analysis();
        for read in &analysis.tables {
            let need = needs.entry(read.table.clone()).or_default();
            need.reads.extend(read.columns.iter().cloned());
        }
        for (table, columns) in analysis.scope_columns() {
            needs.entry(table).or_default().scopes.extend(columns);
        }
        for what in &analysis.untrackable {
            plan.unwatched(what, "no trigger can watch it");
        }
    }
    needs
}

fn spec(id: i64, table: &Table, need: &Need, by_row: bool) -> Spec {
    let declared = |name: &Arc<str>| table.column(name).map(|column| column.name.clone());
    let mut logged: BTreeSet<Arc<str>> = table.primary_key.iter().cloned().collect();
    let scopes = need.scopes.iter().filter_map(declared);
    let mut reads: BTreeSet<Arc<str>> = need.reads.iter().filter_map(declared).collect();
    for column in scopes {
        // A scope over a column that is not logged is touched by every change of the table.
        if logged.len() < LOGGED_MAX {
            logged.insert(column);
        } else {
            reads.insert(column);
        }
    }
    let closeness = if by_row { Closeness::Rows } else { Closeness::Whole };
    if !by_row {
        logged.clear();
        reads.clear();
    }
    reads.retain(|column| !logged.contains(column));
    Spec {
        id,
        table: table.name.clone(),
        closeness,
        logged: logged.into_iter().collect(),
        reads: reads.into_iter().collect(),
    }
}

impl TrackPlan {
    fn unwatched(&mut self, table: &Arc<str>, why: &str) {
        let why = format!("{why}; any change of the database drops what was read from it");
        let known = TrackedAs { table: table.clone(), by_row: false, why };
        if !self.tables.contains(&known) {
            self.tables.push(known);
        }
    }

    fn describe(
        &mut self,
        connection: &Connection,
        table: &Table,
        spec: &Spec,
        obstacle: Option<String>,
    ) -> rusqlite::Result<()> {
        let name = &table.name;
        let sql = format!("SELECT count(*) FROM main.{}", identifier(name));
        let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        let Some(why) = obstacle else {
            let bytes = logged_bytes(connection, spec)?;
            let logged = spec.logged.join(", ");
            self.notes.push(format!(
                "{name}: {rows} rows; an insert or delete logs about {} bytes, an update {}, of \
                 the columns {logged}",
                ROW_BYTES + bytes,
                ROW_BYTES + 2 * bytes,
            ));
            let mut fixed: BTreeSet<&str> = spec.logged.iter().map(|column| &**column).collect();
            let unique = table.indexes.iter().filter(|index| index.unique);
            fixed.extend(unique.flat_map(|index| &index.columns).map(|part| &*part.name));
            let fixed: Vec<&str> = fixed.into_iter().collect();
            self.notes.push(format!(
                "{name}: while it is tracked, ALTER TABLE cannot drop {}; untrack first",
                fixed.join(", ")
            ));
            self.tables.push(TrackedAs { table: name.clone(), by_row: true, why: String::new() });
            return Ok(());
        };
        self.notes.push(format!("{name}: {rows} rows; a change logs about {ROW_BYTES} bytes"));
        self.tables.push(TrackedAs { table: name.clone(), by_row: false, why });
        Ok(())
    }
}

/// A row of the log without its values: number, nonce, table, operation, and the headers.
const ROW_BYTES: i64 = 20;

/// Bytes that the logged columns of a row take, from a sample of rows.
fn logged_bytes(connection: &Connection, spec: &Spec) -> rusqlite::Result<i64> {
    let lengths: Vec<String> = spec
        .logged
        .iter()
        .map(|column| format!("coalesce(length(CAST({} AS BLOB)), 0)", identifier(column)))
        .collect();
    let (sum, table) = (lengths.join(" + "), identifier(&spec.table));
    let sql = format!("SELECT avg({sum}) FROM (SELECT * FROM main.{table} LIMIT 1000)");
    let average: Option<f64> = connection.query_row(&sql, [], |row| row.get(0))?;
    #[expect(clippy::cast_possible_truncation, reason = "an average length is small")]
    Ok(average.unwrap_or(8.0).ceil() as i64)
}

/// The log's own tables and triggers.
///
/// The floor is the last row that was trimmed, nonce included: a reader whose cursor is exactly
/// there has missed nothing.
///
/// A number must not be used again, or a load could be stamped with one that later is another
/// change's. AUTOINCREMENT would see to it at the price of one more page in every commit. Instead,
/// whoever deletes the newest row leaves a cut above it. BEFORE, because SQLite then chooses the
/// number, and an insert that names no number cannot fail.
///
/// Likewise nothing is declared NOT NULL: a trigger that could fail makes SQLite copy every page
/// that the application's statement changes.
pub(crate) fn log_tables(width: usize) -> Vec<Trigger> {
    let values: String = (0..width).map(|place| format!(", v{place}")).collect();
    let object = |kind: &str, name: &str, rest: String| Trigger {
        name: name.to_owned(),
        sql: format!("CREATE {kind} {name}{rest}"),
    };
    let trim = format!(
        " AFTER INSERT ON larder_log WHEN NEW.seq % {TRIM_EVERY} = 0 BEGIN \
         UPDATE larder_meta SET (seq, nonce) = (SELECT seq, nonce FROM larder_log \
         WHERE seq <= NEW.seq - {KEPT} ORDER BY seq DESC LIMIT 1) \
         WHERE EXISTS (SELECT 1 FROM larder_log WHERE seq <= NEW.seq - {KEPT}); \
         DELETE FROM larder_log WHERE seq <= NEW.seq - {KEPT}; END"
    );
    let cut = format!(
        " BEFORE DELETE ON larder_log WHEN OLD.seq = (SELECT max(seq) FROM larder_log) BEGIN \
         INSERT INTO larder_log(op) VALUES ({}); END",
        operation::CUT
    );
    vec![
        object(
            "TABLE",
            "larder_log",
            format!(
                "(seq INTEGER PRIMARY KEY, nonce INTEGER DEFAULT (random()), tbl INTEGER, \
                 op INTEGER{values})"
            ),
        ),
        object(
            "TABLE",
            "larder_meta",
            "(id INTEGER PRIMARY KEY, format INTEGER, width INTEGER, seq INTEGER, nonce INTEGER)"
                .to_owned(),
        ),
        object(
            "TABLE",
            "larder_tables",
            "(id INTEGER PRIMARY KEY, name TEXT NOT NULL, closeness TEXT NOT NULL)".to_owned(),
        ),
        object(
            "TABLE",
            "larder_columns",
            "(tbl INTEGER NOT NULL, name TEXT NOT NULL, logged INTEGER NOT NULL, \
             PRIMARY KEY (tbl, name)) WITHOUT ROWID"
                .to_owned(),
        ),
        object("TRIGGER", TRIM, trim),
        object("TRIGGER", CUT, cut),
    ]
}

fn record(spec: &Spec, sql: &mut Vec<String>) {
    let (id, table) = (spec.id, literal(&spec.table));
    let closeness = match spec.closeness {
        Closeness::Rows => "rows",
        Closeness::Whole => "whole",
    };
    sql.push(format!("INSERT INTO larder_tables VALUES ({id}, {table}, '{closeness}')"));
    let columns = spec.logged.iter().map(|name| (name, 1));
    for (name, logged) in columns.chain(spec.reads.iter().map(|name| (name, 0))) {
        let name = literal(name);
        sql.push(format!("INSERT INTO larder_columns VALUES ({id}, {name}, {logged})"));
    }
}

/// Drops every trigger and table of larder's that is there, and nothing of the application's whose
/// name only begins like theirs.
fn removal(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema \
         WHERE type IN ('table', 'trigger', 'view') ORDER BY type DESC, name",
    )?;
    let mut rows = statement.query([])?;
    let mut sql = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        let (table, text): (String, String) = (row.get(2)?, row.get(3)?);
        let is_ours = match &*kind {
            "table" => LOG_TABLES.contains(&&*name),
            // Its trigger goes with it.
            "view" => name == OUTBOX && text == outbox::VIEW,
            _ => {
                let is_of_the_log = LOG_TRIGGERS.contains(&&*name) && table == LOG;
                is_of_the_log || trigger::is_ours(&name, &text)
            }
        };
        if is_ours {
            let kind = kind.to_ascii_uppercase();
            sql.push(format!("DROP {kind} IF EXISTS {}", identifier(&name)));
        }
    }
    Ok(sql)
}
