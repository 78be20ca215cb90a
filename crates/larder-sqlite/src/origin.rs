//! The origin: one SQLite database that is asked and watched, and never written.
//!
//! It only puts the parts together; readers answer, the feed watches. **Invariant**: whatever is
//! handed out keeps working when the file is replaced, locked or gone: it fails and recovers, it
//! does not go on with the old file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_core::{
    BoxFuture, Clock, Dependency, Error, ErrorKind, Invalidation, Stamp,
    feed::Feed,
    origin::{Answer, Origin},
    timeline::Name,
};

use crate::{
    analysis::Schema,
    connection::{self, in_snapshot, schema_version},
    error::from_driver,
    feed::SqliteFeed,
    knowledge::{Coverage, Knowledge},
    outbox::{self, OUTBOX, Record},
    reader::Readers,
    result_shape::ResultShape,
    row::SqlRow,
    statement::{Param, Query, Reading, Rows, Statement, Version},
    stream::{Sink, Stream},
    track::tracked::{Absent, Outbox, Tracked},
    watcher::Watcher,
};

/// How changes of the database are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// Row by row, from the change log that `larder track` installs.
    Rows,
    /// Any commit drops everything. Needs nothing but the right to read.
    Database,
    /// Not at all: values live by their TTL.
    None,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct OriginOptions {
    /// The name of the origin's timeline.
    pub name: Name,
    /// The database file. It must exist.
    pub path: PathBuf,
    /// How changes are noticed; by default [`Track::Database`].
    pub track: Track,
    /// Where deadlines and confirmed moments come from.
    pub clock: Clock,
    /// Loads that can run at a time, each on a thread and a connection of its own.
    pub readers: usize,
    /// The pause between two looks at the database while something is written beside it. Ten times
    /// shorter costs up to 10 % of a core, ten times longer makes other processes' changes known
    /// only after 40 ms. While nothing is written it rests, where the kernel tells of writing.
    pub poll_interval: Duration,
}

impl OriginOptions {
    /// The database at `path` with the defaults: database tracking, 4 readers, a look every 4 ms.
    pub fn new(name: impl Into<Name>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            track: Track::Database,
            clock: Clock::system(),
            readers: 4,
            poll_interval: Duration::from_millis(4),
        }
    }
}

/// Something that `check-config` says about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: NoticeLevel,
    /// What it is and, where something can be done about it, what.
    pub text: String,
}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Works, at a cost.
    Warning,
    /// Does not do what was asked.
    Error,
}

/// A SQLite database as an origin.
#[derive(Debug)]
pub struct SqliteOrigin {
    options: OriginOptions,
    knowledge: Arc<Knowledge>,
    readers: Readers,
    feed: Option<Arc<SqliteFeed>>,
}

/// How long small questions outside loads wait for a lock.
const BUSY: Duration = Duration::from_secs(2);

impl SqliteOrigin {
    /// How often what watches the database has panicked since the start. Each time everything of it
    /// became a miss, at most four times a second.
    pub fn watcher_panics(&self) -> u64 {
        self.knowledge.panics()
    }

    /// Opens the database at the options' path for reading.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `Corrupt` when it is no database, `Unavailable` when
    /// it cannot be read now.
    pub fn open(options: OriginOptions) -> Result<Arc<Self>, Error> {
        let opened = connection::open(&options.path, BUSY)?;
        let asked = in_snapshot(&opened.connection, schema_version);
        asked.map_err(|error| connection::failed(&options.path, &error))?;
        let coverage = match options.track {
            Track::None => Coverage::Nothing,
            Track::Database | Track::Rows => Coverage::Database,
        };
        let knowledge = Arc::new(Knowledge::new(options.name.clone(), coverage));
        let (path, clock) = (options.path.clone(), options.clock.clone());
        let readers =
            Readers::start(path.clone(), clock.clone(), knowledge.clone(), options.readers)?;
        let watch = || {
            let (track, knowledge) = (options.track, knowledge.clone());
            let watcher = Watcher::new(path.clone(), clock.clone(), track, knowledge.clone());
            let interval = options.poll_interval;
            SqliteFeed::new(knowledge, path, clock, interval, watcher).map(Arc::new)
        };
        let feed = if options.track == Track::None { None } else { Some(watch()?) };
        Ok(Arc::new(Self { options, knowledge, readers, feed }))
    }

    /// What advances this origin's timeline; `None` when nothing is tracked.
    pub fn feed(&self) -> Option<Arc<dyn Feed>> {
        self.feed.clone().map(|feed| feed as Arc<dyn Feed>)
    }

    /// Checks a statement and derives what it depends on.
    ///
    /// # Errors
    /// `Config` when the text is not exactly one SELECT, when its parameters are not the declared
    /// ones, or when two result columns have one name; `Origin` when SQLite refuses it.
    ///
    /// # Cost
    /// A connection and a few hundred microseconds: once for each resource, not for each load.
    pub fn prepare(&self, sql: &str, params: &[Param]) -> Result<Arc<Statement>, Error> {
        let opened = connection::open(&self.options.path, BUSY)?;
        let (mut connection, file) = (opened.connection, opened.identity);
        let name = &self.options.name;
        let epoch = self.knowledge.view().epoch;
        let version = |connection: &rusqlite::Connection| {
            let schema =
                schema_version(connection).map_err(|error| from_driver("analyse", name, &error))?;
            Ok(Version { file, schema, epoch })
        };
        let derive = |connection: &mut rusqlite::Connection, sql: &str| {
            Reading::derive(connection, name, sql, version)
        };
        let statement = Statement::check(&mut connection, sql, params, derive)?;
        self.warn_where_unwatched(&statement);
        Ok(Arc::new(statement))
    }

    /// What a statement's result looks like: its columns, how SQLite compares each of them, and the
    /// tables whose rows it is made of.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be read now; `Origin` when a column compares by a
    /// collation that only the application knows; `Config` when a column is not found by its name
    /// in a query around the statement, or a parameter begins with `larder_`.
    ///
    /// # Cost
    /// As [`SqliteOrigin::prepare`].
    pub fn result_shape(&self, statement: &Statement) -> Result<ResultShape, Error> {
        let opened = connection::open(&self.options.path, BUSY)?;
        ResultShape::of(&opened.connection, statement, &statement.reading())
    }

    /// Hands each row of `stream` to `sink`, with the number of the part it is of, while it is
    /// read: on a reader's thread, which does nothing else meanwhile. All parts are read in one
    /// snapshot, which begins after the call. What `sink` refuses ends it with that error.
    ///
    /// # Errors
    /// Those of `sink`; `Unavailable` and `Timeout` may pass, `Origin` will not. Rows may have been
    /// handed over before. A panic of `sink` is `Unavailable`.
    ///
    /// # Cancel safety
    /// Dropping the future ends it soon; `sink` may be called until then.
    pub async fn stream(
        &self,
        stream: Stream,
        sink: impl FnMut(usize, &SqlRow<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.readers.stream(stream, Sink(Box::new(sink))).await
    }

    /// What has to be written, in the transaction that changes the data, so that `invalidation`
    /// is carried out on every node if that transaction commits: each record is the one parameter
    /// of [`outbox::INSERT`]. Nothing has to be sent afterwards, and a rollback takes it along.
    ///
    /// # Errors
    /// As [`outbox::records`]; and `Config` when this origin is not watched at all, `NotFound` when
    /// the database has no outbox, because it was never tracked or by a larder that had none.
    ///
    /// # Cost
    /// A few microseconds where the feed runs in `rows` mode; else a connection and some questions.
    ///
    /// # Consistency
    /// Each node knows it when its feed has seen the commit, and this one, at the latest, when the
    /// feed was asked to catch up. What the record names on `app`, or on another origin, is served
    /// until then: `max_staleness` binds an entry to the origins it was read from.
    pub fn records(&self, invalidation: &Invalidation) -> Result<Vec<Record>, Error> {
        let refused = |kind, why: String| {
            let error = Error::new(kind, "record an invalidation in");
            Err(error.subject(&*self.options.name).detail(why))
        };
        if self.options.track == Track::None {
            let why = "it is not watched, so nobody would read the record; set `track` to rows \
                       and run `larder track`";
            return refused(ErrorKind::Config, why.to_owned());
        }
        if !self.has_outbox()? {
            let why = format!("the database has no {OUTBOX}; run `larder track` again");
            return refused(ErrorKind::NotFound, why);
        }
        outbox::records(invalidation)
    }

    fn has_outbox(&self) -> Result<bool, Error> {
        let view = self.knowledge.view();
        if let (Some(_), Coverage::Rows(tracked)) = (view.epoch, &view.coverage)
            && tracked.outbox == Outbox::Installed
        {
            return Ok(true);
        }
        // The feed has not looked yet, or has not seen that `larder track` was run.
        let opened = connection::open(&self.options.path, BUSY)?;
        match in_snapshot(&opened.connection, Tracked::read) {
            Ok(tracked) => Ok(tracked.outbox == Outbox::Installed),
            Err(Absent::Unknown(error)) => Err(connection::failed(&self.options.path, &error)),
            Err(Absent::NotInstalled | Absent::Broken(_)) => Ok(false),
        }
    }

    /// The schema as it stands now.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be read now.
    ///
    /// # Cost
    /// A connection and a few queries for each table.
    pub fn schema(&self) -> Result<Arc<Schema>, Error> {
        let opened = connection::open(&self.options.path, BUSY)?;
        Schema::read(&opened.connection).map(Arc::new)
    }

    /// What somebody who is about to serve from this database should know.
    pub fn check(&self) -> Vec<Notice> {
        match self.try_check() {
            Ok(notices) => notices,
            Err(error) => vec![Notice { level: NoticeLevel::Error, text: error.to_string() }],
        }
    }

    fn try_check(&self) -> Result<Vec<Notice>, Error> {
        let opened = connection::open(&self.options.path, BUSY)?;
        let connection = &opened.connection;
        let failed = |error: rusqlite::Error| connection::failed(&self.options.path, &error);
        let mut notices = Vec::new();
        let mut say = |level, text: &str| notices.push(Notice { level, text: text.to_owned() });
        if rusqlite::version_number() < WAL_RESET_FIXED {
            let version = rusqlite::version();
            say(
                NoticeLevel::Warning,
                &format!(
                    "the linked SQLite {version} is older than 3.51.3, whose fix for a rare \
                     corruption of WAL databases matters to every program that writes; larder \
                     only reads"
                ),
            );
        }
        let journal: String = connection
            .query_row("PRAGMA main.journal_mode", [], |row| row.get(0))
            .map_err(failed)?;
        let (level, text) = about_journal(&journal);
        say(level, &format!("journal mode is {journal}: {text}"));
        if self.options.track == Track::Rows {
            let tracked = in_snapshot(connection, Tracked::read);
            for (level, text) in about_tracking(tracked) {
                say(level, &text);
            }
            say(NoticeLevel::Info, UNSEEN);
        }
        Ok(notices)
    }

    /// Says which tables of a statement are watched less closely than was asked for.
    fn warn_where_unwatched(&self, statement: &Statement) {
        let Coverage::Rows(tracked) = self.knowledge.view().coverage else { return };
        let analysis = statement.analysis();
        for read in &analysis.tables {
            if let Some(why) = tracked.lacks(&read.table, &analysis) {
                tracing::warn!(origin = %self.options.name, %why, "a statement reads what is not \
                    tracked by row: every change of the database drops its answers; run \
                    `larder track` again");
            }
        }
    }
}

impl Origin for SqliteOrigin {
    type Query = Query;
    type Rows = Rows;

    fn timeline(&self) -> &Name {
        &self.options.name
    }

    fn shape(&self, query: &Query) -> Vec<Dependency> {
        let reading = query.statement.reading();
        let named = query.statement.named(&query.params);
        self.knowledge.dependencies(&self.knowledge.view().coverage, &reading.analysis, &named)
    }

    fn load<'a>(
        &'a self,
        query: &'a Query,
        before: Stamp,
    ) -> BoxFuture<'a, Result<Answer<Rows>, Error>> {
        Box::pin(async move {
            if before.timeline != self.options.name {
                return Err(Error::new(ErrorKind::Config, "load")
                    .subject(&*self.options.name)
                    .detail(format!("the stamp is of timeline {}", before.timeline)));
            }
            self.readers.load(query, before).await
        })
    }
}

/// The first version without the bug that two writers and a checkpoint could corrupt a WAL with.
const WAL_RESET_FIXED: i32 = 3_051_003;

/// What no trigger can see.
const UNSEEN: &str = "rows are tracked by triggers, which do not see: changes through \
    `PRAGMA writable_schema` or a program that disables triggers (SQLITE_DBCONFIG_ENABLE_TRIGGER), \
    tables of virtual table modules, and changes made while the triggers were dropped";

fn about_journal(journal: &str) -> (NoticeLevel, &'static str) {
    match journal {
        "wal" => (
            NoticeLevel::Info,
            "loads and writers do not wait for each other; while larder runs the journal mode \
             cannot be changed, and a long load keeps the log from being reset",
        ),
        "off" | "memory" => (
            NoticeLevel::Error,
            "a writer that dies leaves the database broken, and larder could serve what was never \
             committed; use WAL",
        ),
        _ => (
            NoticeLevel::Warning,
            "a writer cannot commit while a load runs, and gets SQLITE_BUSY unless it has a busy \
             timeout longer than the load's deadline; `PRAGMA journal_mode = wal` removes this",
        ),
    }
}

fn about_tracking(tracked: Result<Tracked, Absent>) -> Vec<(NoticeLevel, String)> {
    let tracked = match tracked {
        Ok(tracked) => tracked,
        Err(Absent::NotInstalled) => {
            let text = "rows are to be tracked and no triggers are installed: run `larder track`; \
                        until then any change drops everything";
            return vec![(NoticeLevel::Error, text.to_owned())];
        }
        Err(Absent::Broken(why)) => {
            return vec![(NoticeLevel::Error, format!("the log is broken: {why}; track again"))];
        }
        Err(Absent::Unknown(error)) => return vec![(NoticeLevel::Error, error.to_string())],
    };
    let mut said = Vec::new();
    for why in &tracked.broken {
        said.push((NoticeLevel::Error, format!("{why}; run `larder track` again")));
    }
    for spec in tracked.specs() {
        let table = &spec.table;
        let text = match &*spec.logged {
            [] => format!("{table} is tracked as a whole"),
            logged => format!(
                "{table} is tracked by row; while it is, ALTER TABLE cannot drop {} or a column \
                 of a unique index",
                logged.join(", ")
            ),
        };
        said.push((NoticeLevel::Info, text));
    }
    let text = match tracked.outbox {
        Outbox::Installed => format!("{OUTBOX} is there: a transaction can carry invalidations"),
        Outbox::Absent => format!(
            "there is no {OUTBOX}, so no transaction can carry invalidations; run `larder track` \
             again for that"
        ),
    };
    said.push((NoticeLevel::Info, text));
    said
}
