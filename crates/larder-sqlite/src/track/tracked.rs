//! What is installed: the tracked tables as the database itself says, verified against its schema.
//!
//! It stands apart from `plan`, which decides, because the watcher asks this again whenever the
//! schema moved. **Invariant**: a table counts as tracked only while the triggers on it are, letter
//! by letter, the ones that would be written for its declaration as it stands now.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use crate::{
    analysis::{Analysis, Column, Schema, Table},
    connection::schema_version,
    error::from_driver,
    outbox::{self, OUTBOX},
    track::{
        order::Triggered,
        plan::{LOG_TABLES, log_tables},
        trigger::{self, Closeness, Spec, Trigger},
    },
};

/// The format of log and triggers. One that another version of larder installed is not trusted.
///
/// Format 1 numbered the log by AUTOINCREMENT and had nothing that leaves a cut; format 2 told a
/// row that may be displaced as one that was deleted.
pub(crate) const FORMAT: i64 = 3;

/// The tracked tables under one version of the schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracked {
    pub(crate) schema_version: i64,
    tables: HashMap<String, Arc<TrackedTable>>,
    by_id: HashMap<i64, Arc<TrackedTable>>,
    /// Tables that were installed and are not as they were, and why.
    pub(crate) broken: Vec<String>,
    /// Whether the application can record what is to be invalidated.
    pub(crate) outbox: Outbox,
}

/// Whether there is an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outbox {
    Installed,
    /// A larder that had none has tracked this database.
    #[default]
    Absent,
}

/// One tracked table.
#[derive(Debug)]
pub(crate) struct TrackedTable {
    pub(crate) name: Arc<str>,
    /// The logged columns, sorted by name.
    pub(crate) columns: Arc<[Arc<str>]>,
    /// The same columns with what is needed to compare their values.
    pub(crate) kinds: Vec<Column>,
    /// Where the primary key stands among `columns`; empty for a table watched as a whole.
    pub(crate) key: Arc<[usize]>,
    spec: Spec,
    sees_all: bool,
    /// Whether the update of every column is logged.
    sees_every_column: bool,
    /// Whether the last line about a row says how it is.
    pub(crate) tells_in_order: bool,
}

/// Why a database is not tracked.
#[derive(Debug)]
pub(crate) enum Absent {
    /// It never was.
    NotInstalled,
    /// It was, and something is wrong with the log itself.
    Broken(String),
    /// It cannot be said.
    Unknown(rusqlite::Error),
}

impl From<rusqlite::Error> for Absent {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unknown(error)
    }
}

impl Tracked {
    /// Reads and verifies what is installed. Call it inside a read transaction.
    ///
    /// # Errors
    /// [`Absent`] when the log cannot be trusted at all. A single table that cannot be is in
    /// `broken` instead.
    pub(crate) fn read(connection: &Connection) -> Result<Self, Absent> {
        let installed = Installed::read(connection)?.ok_or(Absent::NotInstalled)?;
        installed.verify_log()?;
        let schema = Schema::read(connection)
            .map_err(|error| Absent::Broken(format!("the schema cannot be read: {error}")))?;
        let schema_version = schema_version(connection)?;
        let outbox = installed.outbox();
        let triggered = Triggered::read(connection)?;
        let mut tracked = Self { schema_version, outbox, ..Self::default() };
        if outbox == Outbox::Absent && installed.has_named(OUTBOX) {
            tracked.broken.push(format!("{OUTBOX}: it was altered"));
        }
        for spec in &installed.specs {
            match tracked_table(connection, &installed, spec, (&schema, &triggered))? {
                Ok(table) => tracked.add(table),
                Err(why) => {
                    tracked.broken.push(format!("{}: {why}", spec.table));
                    // What the log still holds about it is told as changes of the table.
                    tracked.by_id.insert(spec.id, Arc::new(TrackedTable::opaque(spec)));
                }
            }
        }
        Ok(tracked)
    }

    fn add(&mut self, table: TrackedTable) {
        let table = Arc::new(table);
        self.by_id.insert(table.spec.id, table.clone());
        self.tables.insert(table.name.to_ascii_lowercase(), table);
    }

    pub(crate) fn by_id(&self, id: i64) -> Option<&TrackedTable> {
        self.by_id.get(&id).map(|table| &**table)
    }

    /// Whether every change of `table` is logged, whatever somebody reads of it.
    pub(crate) fn covers_wholly(&self, table: &str) -> bool {
        let tracked = self.tables.get(&table.to_ascii_lowercase());
        tracked.is_some_and(|tracked| tracked.sees_all || tracked.sees_every_column)
    }

    /// Whether every change of `table` that can change what `analysis` reads is logged.
    pub(crate) fn covers(&self, table: &str, analysis: &Analysis) -> bool {
        self.lacks(table, analysis).is_none()
    }

    /// What is missing for `analysis` to be told of every change of `table`.
    pub(crate) fn lacks(&self, table: &str, analysis: &Analysis) -> Option<String> {
        let Some(tracked) = self.tables.get(&table.to_ascii_lowercase()) else {
            return Some(format!("table {table} is not tracked"));
        };
        if tracked.sees_all {
            return None;
        }
        let reads = analysis.tables.iter().filter(|read| read.table.eq_ignore_ascii_case(table));
        let mut columns = reads.flat_map(|read| &read.columns);
        let is_watched = |column: &Arc<str>| {
            let mut watched = tracked.spec.logged.iter().chain(&tracked.spec.reads);
            let is_rowid = tracked.kinds.iter().all(|kind| kind.name != *column)
                && ["rowid", "_rowid_", "oid"].iter().any(|name| column.eq_ignore_ascii_case(name));
            is_rowid || watched.any(|name| name.eq_ignore_ascii_case(column))
        };
        let missing = columns.find(|column| !is_watched(column))?;
        Some(format!("updates of {table}.{missing} are not logged"))
    }

    pub(crate) fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.tables.values().map(|table| &table.spec)
    }
}

impl TrackedTable {
    fn opaque(spec: &Spec) -> Self {
        Self {
            name: spec.table.clone(),
            columns: Arc::from([]),
            kinds: Vec::new(),
            key: Arc::from([]),
            spec: spec.clone(),
            sees_all: false,
            sees_every_column: false,
            tells_in_order: false,
        }
    }
}

fn tracked_table(
    connection: &Connection,
    installed: &Installed,
    spec: &Spec,
    (schema, triggered): (&Schema, &Triggered),
) -> rusqlite::Result<Result<TrackedTable, String>> {
    let Some(table) = schema.table(&spec.table) else {
        return Ok(Err("the table is gone".to_owned()));
    };
    let Some(columns) = kinds(spec, table) else {
        return Ok(Err("a logged column is gone".to_owned()));
    };
    if spec.closeness == Closeness::Rows {
        let defaulted = defaulted_columns(connection, &spec.table)?;
        if let Some(obstacle) = trigger::obstacle(table, &defaulted) {
            return Ok(Err(obstacle));
        }
    }
    let wanted = trigger::triggers(spec, table);
    if let Some(missing) = wanted.iter().find(|wanted| !installed.has(wanted, &spec.table)) {
        return Ok(Err(format!("trigger {} is missing or was altered", missing.name)));
    }
    let place = |name: &Arc<str>| spec.logged.binary_search(name).ok();
    let key: Option<Vec<usize>> = match spec.closeness {
        Closeness::Rows => table.primary_key.iter().map(place).collect(),
        Closeness::Whole => Some(Vec::new()),
    };
    let Some(key) = key else {
        return Ok(Err("the primary key is another one".to_owned()));
    };
    let generated = table.columns.iter().any(|column| column.generated);
    let is_watched = |column: &Column| {
        let mut watched = spec.logged.iter().chain(&spec.reads);
        watched.any(|name| name.eq_ignore_ascii_case(&column.name))
    };
    let sees_every_column = table.columns.iter().all(is_watched);
    Ok(Ok(TrackedTable {
        name: table.name.clone(),
        columns: spec.logged.clone().into(),
        kinds: columns,
        key: key.into(),
        spec: spec.clone(),
        sees_all: generated || spec.closeness == Closeness::Whole,
        sees_every_column,
        tells_in_order: triggered.leave_in_order(table, schema),
    }))
}

fn kinds(spec: &Spec, table: &Table) -> Option<Vec<Column>> {
    let kind = |name: &Arc<str>| table.columns.iter().find(|column| column.name == *name).cloned();
    spec.logged.iter().map(kind).collect()
}

/// Columns that are NOT NULL and have a default.
pub(crate) fn defaulted_columns(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<Arc<str>>> {
    let mut statement = connection.prepare(
        "SELECT name FROM pragma_table_xinfo(?1, 'main') \
         WHERE \"notnull\" AND dflt_value IS NOT NULL AND upper(dflt_value) <> 'NULL'",
    )?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
    names.map(|name| name.map(Arc::from)).collect()
}

/// Everything of larder's that is in a database, as it stands there.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) specs: Vec<Spec>,
    format: i64,
    width: usize,
    /// Name, table and text of each object whose name starts with `larder_`.
    objects: Vec<(String, String, String)>,
}

impl Installed {
    /// What is installed; `None` when there is no log at all.
    pub(crate) fn read(connection: &Connection) -> Result<Option<Self>, Absent> {
        let objects = objects(connection)?;
        let names: HashSet<&str> = objects.iter().map(|(name, ..)| &**name).collect();
        match LOG_TABLES.iter().filter(|name| names.contains(*name)).count() {
            0 => return Ok(None),
            4 => {}
            _ => return Err(Absent::Broken("part of the log's tables is gone".to_owned())),
        }
        let broken = |error: rusqlite::Error| match crate::error::is_busy(&error) {
            true => Absent::Unknown(error),
            false => Absent::Broken(format!("the log's own tables cannot be read: {error}")),
        };
        let (format, width) = connection
            .query_row("SELECT format, width FROM main.larder_meta WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?))
            })
            .map_err(broken)?;
        let width = usize::try_from(width).unwrap_or(0);
        let specs = read_specs(connection).map_err(broken)?;
        Ok(Some(Self { specs, format, width, objects }))
    }

    fn verify_log(&self) -> Result<(), Absent> {
        let broken = |why: String| Err(Absent::Broken(why));
        if self.format != FORMAT {
            let format = self.format;
            return broken(format!(
                "another version of larder installed it, in format {format}; this one reads format \
                 {FORMAT}, and `larder track` replaces what is there"
            ));
        }
        let wanted = log_tables(self.width);
        for wanted in &wanted {
            if !self.objects.iter().any(|(name, _, sql)| (name, sql) == (&wanted.name, &wanted.sql))
            {
                return broken(format!("{} is missing or was altered", wanted.name));
            }
        }
        let is_of_the_log =
            |table: &str| LOG_TABLES.iter().any(|own| own.eq_ignore_ascii_case(table));
        let foreign = self.objects.iter().find(|(name, table, _)| {
            is_of_the_log(table) && wanted.iter().all(|wanted| wanted.name != *name)
        });
        match foreign {
            Some((name, table, _)) => broken(format!("{name} is attached to {table}")),
            None => Ok(()),
        }
    }

    fn outbox(&self) -> Outbox {
        let has = |wanted: &Trigger| self.has(wanted, OUTBOX);
        if outbox::objects().iter().all(has) { Outbox::Installed } else { Outbox::Absent }
    }

    fn has_named(&self, wanted: &str) -> bool {
        self.objects.iter().any(|(name, ..)| name == wanted)
    }

    fn has(&self, wanted: &Trigger, table: &str) -> bool {
        self.objects.iter().any(|(name, on, sql)| {
            *name == wanted.name && on.eq_ignore_ascii_case(table) && *sql == wanted.sql
        })
    }

    /// Whether exactly `tables` and `triggers` are installed for `specs`.
    pub(crate) fn is(&self, specs: &[Spec], width: usize, triggers: &[(Trigger, String)]) -> bool {
        let is_ours = |(name, _, sql): &&(String, String, String)| trigger::is_ours(name, sql);
        self.specs == specs
            && self.width == width
            && self.verify_log().is_ok()
            && self.outbox() == Outbox::Installed
            && triggers.iter().all(|(trigger, table)| self.has(trigger, table))
            && self.objects.iter().filter(is_ours).count() == triggers.len()
    }
}

fn objects(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    let mut statement = connection.prepare(
        "SELECT name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema \
         WHERE substr(name, 1, 7) = 'larder_' OR substr(tbl_name, 1, 7) = 'larder_' ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

fn read_specs(connection: &Connection) -> rusqlite::Result<Vec<Spec>> {
    let mut tables =
        connection.prepare("SELECT id, name, closeness FROM main.larder_tables ORDER BY id")?;
    let mut columns = connection
        .prepare("SELECT name, logged FROM main.larder_columns WHERE tbl = ?1 ORDER BY name")?;
    let mut specs = Vec::new();
    let mut rows = tables.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let closeness: String = row.get(2)?;
        let mut spec = Spec {
            id,
            table: row.get::<_, String>(1)?.into(),
            closeness: if closeness == "rows" { Closeness::Rows } else { Closeness::Whole },
            logged: Vec::new(),
            reads: Vec::new(),
        };
        let mut parts = columns.query([id])?;
        while let Some(part) = parts.next()? {
            let name: Arc<str> = part.get::<_, String>(0)?.into();
            let logged: bool = part.get(1)?;
            if logged { spec.logged.push(name) } else { spec.reads.push(name) }
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// The error that says why a database cannot be planned for.
pub(crate) fn unknown(subject: &str, absent: Absent) -> Error {
    match absent {
        Absent::Unknown(error) => from_driver("read the log of", subject, &error),
        Absent::NotInstalled => Error::new(ErrorKind::NotFound, "read the log of").subject(subject),
        Absent::Broken(why) => {
            Error::new(ErrorKind::Corrupt, "read the log of").subject(subject).detail(why)
        }
    }
}
