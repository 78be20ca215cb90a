//! An origin as the server uses it: opened, checked, and asked for prepared bodies.
//!
//! The only file on the serving side that knows which backend an origin has. **Invariant**: an
//! origin that cannot be tracked as configured is still served correctly, and says so.

use std::{sync::Arc, time::Duration};

use larder::{Clock, Epoch, Error, ErrorKind, Feed, Load, Origin as _, Position, Stamp};
use larder_sqlite::{
    NoticeLevel, OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track,
    analysis::{Affinity, Operand, Rows},
};
use larder_table::sql::SqlSource;

use crate::{
    body::Body,
    config::{self, Kind, Tracking},
    parameters::{Key, Parameter},
    table::key::{Column, Holds},
    tables::Tables,
};

/// An open origin.
#[derive(Debug)]
pub struct Origin {
    /// Its name, which is also that of its timeline.
    pub name: String,
    /// How its changes are noticed.
    pub track: Tracking,
    backend: Arc<SqliteOrigin>,
}

/// Something an operator should know about an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something is worse than it could be; else it is just good to know.
    pub matters: bool,
    /// What it is and what to do about it.
    pub text: String,
}

/// What the records of a table are loaded from.
#[derive(Debug)]
pub struct Held {
    /// Its statement, ready to be asked.
    pub source: SqlSource,
    /// The columns of the result.
    pub columns: Vec<Column>,
    /// The tables that the statement reads.
    pub reads: Vec<String>,
}

/// A statement of a resource with its limits, ready to be asked.
#[derive(Clone, Debug)]
pub struct Question {
    backend: Arc<SqliteOrigin>,
    statement: Arc<Statement>,
    track: Tracking,
    params: Arc<[Parameter]>,
    deadline: Duration,
    rows_max: usize,
    bytes_max: usize,
    lives_at_most: Option<Duration>,
}

impl Origin {
    /// Opens the origin; nothing is watched yet.
    pub fn open(name: &str, settings: &config::Origin, clock: &Clock) -> Result<Self, Error> {
        let track = match settings.track {
            Tracking::Rows => Track::Rows,
            Tracking::Database => Track::Database,
            Tracking::None => Track::None,
        };
        let backend = SqliteOrigin::open(OriginOptions {
            name: name.into(),
            path: settings.path.clone(),
            track,
            clock: clock.clone(),
            readers: settings.readers,
            poll_interval: settings.poll_interval,
        })?;
        Ok(Self { name: name.to_owned(), track: settings.track, backend })
    }

    /// What reports its changes.
    pub fn feed(&self) -> Option<Arc<dyn Feed>> {
        self.backend.feed()
    }

    /// How often what watches it has panicked.
    pub fn watcher_panics(&self) -> u64 {
        self.backend.watcher_panics()
    }

    /// What an operator should know: missing triggers, waits for writers, and the like.
    pub fn notices(&self) -> Vec<Notice> {
        let shown = |notice: larder_sqlite::Notice| Notice {
            matters: NoticeLevel::Info < notice.level,
            text: notice.text,
        };
        self.backend.check().into_iter().map(shown).collect()
    }

    /// Prepares the statement of a resource, and refuses what cannot be cached.
    pub fn prepare(&self, settings: &config::Resource) -> Result<Question, Error> {
        let params: Vec<Param> = settings.params.iter().map(param).collect();
        let statement = self.backend.prepare(&settings.sql, &params)?;
        if let Some(why) = statement.time_dependent()
            && settings.time_dependent.is_none()
        {
            return Err(Error::new(ErrorKind::Config, "prepare the statement").detail(format!(
                "its result changes although no row does ({why}); say how old it may become with \
                 time_dependent = \"60s\""
            )));
        }
        let parameter =
            |(name, kind): &(String, Kind)| Parameter { name: name.clone(), kind: *kind };
        Ok(Question {
            backend: self.backend.clone(),
            statement,
            track: self.track,
            params: settings.params.iter().map(parameter).collect(),
            deadline: settings.load_timeout,
            rows_max: settings.result_rows,
            bytes_max: settings.result_bytes,
            lives_at_most: settings.time_dependent,
        })
    }

    /// Prepares what a table is loaded from, and refuses what cannot be held.
    ///
    /// # Errors
    /// `Config` when the statement reads the clock or the result has no such columns as are asked
    /// of it; those of preparing it.
    pub fn hold(&self, settings: &config::Table) -> Result<Held, Error> {
        let statement = self.backend.prepare(&settings.sql, &[])?;
        if let Some(why) = statement.time_dependent() {
            return Err(Error::new(ErrorKind::Config, "prepare the statement").detail(format!(
                "its result changes although no row does ({why}); leave that out, and let the \
                 window slide: window = {{ index = \"time\", last = \"24h\", unit = \"seconds\" }}"
            )));
        }
        let source = SqlSource::new(&self.backend, &settings.sql)?.deadline(settings.load_timeout);
        let shape = self.backend.result_shape(&statement)?;
        let columns = shape.columns.iter().map(|column| Column {
            name: column.name.to_string(),
            holds: match column.source.as_ref().map(|(_, source)| source.affinity) {
                Some(Affinity::Integer) => Holds::Integers,
                Some(Affinity::Real) => Holds::Reals,
                Some(Affinity::Numeric) => Holds::Numbers,
                Some(Affinity::Text) => Holds::Text,
                Some(Affinity::Blob) | None => Holds::Anything,
            },
        });
        let (columns, analysis) = (columns.collect(), statement.analysis());
        let reads: Vec<String> =
            analysis.tables.iter().map(|read| read.table.to_string()).collect();
        Ok(Held { source, columns, reads })
    }

    /// The names of its tables and columns as they are now, to say what changed.
    ///
    /// It reads the schema, so it blocks for about a millisecond.
    ///
    /// # Errors
    /// `Unavailable` when the origin does not answer.
    pub fn tables(&self) -> Result<Tables, Error> {
        Ok(Tables::new(&self.name, self.track, self.backend.schema()?))
    }
}

fn param((name, kind): &(String, Kind)) -> Param {
    let kind = match kind {
        Kind::Integer => ParamKind::Integer,
        Kind::Real => ParamKind::Real,
        Kind::Text => ParamKind::Text,
        Kind::Blob => ParamKind::Blob,
    };
    Param { name: name.clone(), kind }
}

/// A file that was there at start and is not there now may come back, like any origin that is down.
fn gone_is_unavailable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Unavailable, "ask the origin").source(error),
        _ => error,
    }
}

impl Question {
    /// Asks with the values of `key`, and tells `load` what the answer was built from.
    pub async fn ask(&self, key: &Key, load: &Load) -> Result<Body, Error> {
        let query = Query {
            statement: self.statement.clone(),
            params: key.to_vec(),
            deadline: self.deadline,
            max_rows: self.rows_max,
            max_bytes: self.bytes_max,
        };
        if let Some(at_most) = self.lives_at_most {
            load.expires_within(at_most);
        }
        let rows = match self.track {
            Tracking::Rows | Tracking::Database => load.ask(&*self.backend, &query).await,
            // Nothing watches this origin, so there is no position to compare with.
            Tracking::None => {
                self.backend.load(&query, self.no_stamp()).await.map(|answer| answer.rows)
            }
        };
        let rows = rows.map_err(gone_is_unavailable)?;
        let body = Body::encode(&rows.columns, rows.rows.iter().map(Vec::as_slice));
        if self.bytes_max < body.json.len() {
            return Err(Error::new(ErrorKind::Limit, "encode the result").detail(format!(
                "it has {} bytes, the limit is {}; raise result_size",
                body.json.len(),
                self.bytes_max
            )));
        }
        Ok(body)
    }

    fn no_stamp(&self) -> Stamp {
        let timeline = self.backend.timeline().clone();
        Stamp { timeline, epoch: Epoch(0), as_of: Position::START }
    }

    /// The declared parameters.
    pub fn params(&self) -> &Arc<[Parameter]> {
        &self.params
    }

    /// Whether changes of the origin are noticed.
    pub fn is_tracked(&self) -> bool {
        self.track != Tracking::None
    }

    /// The statement, to plan what tracking it takes.
    pub fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }

    /// The tables that the statement reads.
    pub fn reads(&self) -> Vec<String> {
        let analysis = self.statement.analysis();
        analysis.tables.iter().map(|read| read.table.to_string()).collect()
    }

    /// What an answer depends on and why no less, for people.
    pub fn described(&self) -> Vec<String> {
        let analysis = self.statement.analysis();
        let mut lines = Vec::new();
        for read in &analysis.tables {
            match &read.rows {
                Rows::All(why) => lines.push(format!("every row of {}: {why}", read.table)),
                Rows::Within(scopes) => {
                    for scope in scopes {
                        let terms = scope.terms.iter().map(|term| {
                            let equals = match &term.equals {
                                Operand::Parameter(name) => format!(":{name}"),
                                Operand::Literal(value) => value.to_string(),
                            };
                            format!("{} = {equals}", term.column.name)
                        });
                        let terms: Vec<String> = terms.collect();
                        lines.push(format!("rows of {} where {}", read.table, terms.join(" and ")));
                    }
                }
            }
        }
        let untrackable = analysis.untrackable.iter();
        lines.extend(untrackable.map(|what| format!("the whole database, because of {what}")));
        lines
    }
}
