//! A database in a directory of its own, a sink that remembers, a writer in another process.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Change, Dependency, DependencySet, Epoch, Error, History, Invalidation, Moment, Position,
    Stamp,
    feed::{Doubt, Feed, FeedSink, Mark},
    history::Verdict,
    origin::{Answer, Origin},
    store::Standing,
};
use larder_sqlite::{
    OriginOptions, Param, ParamKind, Query, Rows, SqliteOrigin, Statement, Track, track,
};
use parking_lot::Mutex;
use rusqlite::Connection;

pub const NAME: &str = "shop";

/// A directory that is removed again.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("larder-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A database made by `sql`, in the journal mode given.
    pub fn database(&self, name: &str, journal: &str, sql: &str) -> PathBuf {
        let path = self.path(name);
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", journal).unwrap();
        connection.execute_batch(sql).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A connection that writes, as an application would have it.
pub fn writer(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection
}

/// What the feed said, in order, and the history that a cache would have made of it.
#[derive(Debug)]
pub struct Ledger {
    state: Mutex<(Vec<Said>, History)>,
    /// The mark of what was told last, and of what is told next.
    marks: Mutex<(Option<Mark>, Option<Mark>)>,
}

#[derive(Clone, Debug)]
pub enum Said {
    Received(Vec<Change>),
    Confirmed,
    Restarted(Doubt),
    Resumed(Position),
    Recorded(Invalidation),
    RecordsLost,
}

impl Ledger {
    fn new() -> Arc<Self> {
        let history = History::new(NAME.into(), Epoch(0), Position::START, 100_000);
        Arc::new(Self { state: Mutex::new((Vec::new(), history)), marks: Mutex::default() })
    }

    /// Where it stands, as a store would keep it.
    pub fn standing(&self) -> Standing {
        let (state, marks) = (self.state.lock(), self.marks.lock());
        Standing {
            timeline: NAME.into(),
            epoch: state.1.epoch(),
            position: state.1.applied(),
            floor: Position::START,
            mark: marks.0.as_ref().map(|mark| mark.bytes.clone()),
        }
    }

    /// Where an earlier feed had left, if this one went on there.
    pub fn resumed(&self) -> Option<Position> {
        self.said().iter().find_map(|said| match said {
            Said::Resumed(position) => Some(*position),
            _ => None,
        })
    }

    fn keep_mark(&self) {
        let mut marks = self.marks.lock();
        marks.0 = marks.1.take();
    }

    pub fn said(&self) -> Vec<Said> {
        self.state.lock().0.clone()
    }

    pub fn forget(&self) {
        self.state.lock().0.clear();
    }

    pub fn doubts(&self) -> Vec<Doubt> {
        let said = self.said();
        let doubts = said.iter().filter_map(|said| match said {
            Said::Restarted(doubt) => Some(*doubt),
            _ => None,
        });
        doubts.collect()
    }

    pub fn changes(&self) -> Vec<Change> {
        let said = self.said();
        let changes = said.into_iter().filter_map(|said| match said {
            Said::Received(changes) => Some(changes),
            _ => None,
        });
        changes.flatten().collect()
    }

    /// What was recorded, in order; `None` where it was lost.
    pub fn records(&self) -> Vec<Option<Invalidation>> {
        let said = self.said();
        let records = said.into_iter().filter_map(|said| match said {
            Said::Recorded(invalidation) => Some(Some(invalidation)),
            Said::RecordsLost => Some(None),
            _ => None,
        });
        records.collect()
    }

    pub fn confirmed(&self) -> usize {
        self.said().iter().filter(|said| matches!(said, Said::Confirmed)).count()
    }

    pub fn stamp(&self) -> Stamp {
        self.state.lock().1.stamp()
    }

    pub fn register(&self, shape: &[Dependency]) {
        shape.iter().for_each(|dependency| self.state.lock().1.register(dependency));
    }

    pub fn verdict<R>(&self, answer: &Answer<R>) -> Verdict {
        let dependencies: DependencySet = answer.dependencies.iter().cloned().collect();
        let history = &self.state.lock().1;
        history.verdict(&answer.stamp, &dependencies, history.applied())
    }
}

impl FeedSink for Ledger {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        assert_eq!(timeline, NAME);
        let mut state = self.state.lock();
        assert!(state.1.applied() < position, "positions grow");
        state.1.apply(position, changes);
        self.keep_mark();
        state.0.push(Said::Received(changes.to_vec()));
    }

    fn confirmed(&self, timeline: &str, position: Position, _: Moment) {
        assert_eq!(timeline, NAME);
        let mut state = self.state.lock();
        state.1.confirm(position);
        state.0.push(Said::Confirmed);
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        assert_eq!(timeline, NAME);
        let mut state = self.state.lock();
        state.1.restart(epoch, start);
        self.keep_mark();
        state.0.push(Said::Restarted(doubt));
    }

    fn marking(&self, timeline: &str, mark: Option<Mark>) {
        assert_eq!(timeline, NAME);
        self.marks.lock().1 = mark;
    }

    fn resumed(&self, timeline: &str, epoch: Epoch, position: Position) {
        assert_eq!(timeline, NAME);
        let mut state = self.state.lock();
        state.1.restart(epoch, position);
        state.0.push(Said::Resumed(position));
    }

    fn recorded(&self, timeline: &str, invalidation: &Invalidation) {
        assert_eq!(timeline, NAME);
        self.state.lock().0.push(Said::Recorded(invalidation.clone()));
    }

    fn records_lost(&self, timeline: &str, _: Doubt) {
        assert_eq!(timeline, NAME);
        self.state.lock().0.push(Said::RecordsLost);
    }
}

/// An origin with its feed running; the thread all but sleeps, so that tests decide when to look.
pub struct World {
    pub origin: Arc<SqliteOrigin>,
    pub feed: Arc<dyn Feed>,
    pub ledger: Arc<Ledger>,
}

impl World {
    pub fn open(path: &Path, track: Track) -> Self {
        let world = Self::unstarted(path, track);
        world.start();
        world
    }

    /// The same before its feed is started.
    pub fn unstarted(path: &Path, track: Track) -> Self {
        let options = OriginOptions { track, readers: 2, ..OriginOptions::new(NAME, path) };
        let options = OriginOptions { poll_interval: Duration::from_secs(3600), ..options };
        let origin = SqliteOrigin::open(options).unwrap();
        let feed = origin.feed().unwrap();
        Self { origin, feed, ledger: Ledger::new() }
    }

    /// A second life, started where a first one left.
    pub fn resumed(path: &Path, track: Track, left: &Standing) -> Self {
        let world = Self::unstarted(path, track);
        world.feed.start_from(world.ledger.clone(), left).unwrap();
        world
    }

    /// Ends this life: where it stood, as a store would keep it.
    pub fn leave(self) -> Standing {
        self.catch_up().unwrap();
        self.feed.stop();
        self.ledger.standing()
    }

    pub fn start(&self) {
        self.feed.start(self.ledger.clone()).unwrap();
    }

    pub fn catch_up(&self) -> Result<(), Error> {
        block_on(self.feed.catch_up())
    }

    pub fn load(&self, query: &Query) -> Result<Answer<Rows>, Error> {
        self.ledger.register(&self.origin.shape(query));
        block_on(self.origin.load(query, self.ledger.stamp()))
    }

    /// Whether what was loaded then would be served now.
    pub fn is_valid(&self, answer: &Answer<Rows>) -> bool {
        self.catch_up().unwrap();
        self.ledger.verdict(answer) == Verdict::Untouched
    }

    pub fn prepare(&self, sql: &str, params: &[(&str, ParamKind)]) -> Arc<Statement> {
        self.origin.prepare(sql, &declare(params)).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.feed.stop();
    }
}

pub fn declare(params: &[(&str, ParamKind)]) -> Vec<Param> {
    let param = |(name, kind): &(&str, ParamKind)| Param { name: (*name).to_owned(), kind: *kind };
    params.iter().map(param).collect()
}

pub fn query(statement: &Arc<Statement>, params: Vec<larder_core::Value>) -> Query {
    Query {
        statement: statement.clone(),
        params,
        deadline: Duration::from_secs(10),
        max_rows: 1_000,
        max_bytes: 1 << 20,
    }
}

/// Tracks what `statements` read on the database at `path`.
pub fn track_rows(path: &Path, statements: &[&str]) -> track::TrackPlan {
    let statements = statements_of(path, statements);
    let plan = track::plan(path, &NAME.into(), &statements).unwrap();
    plan.apply(path).unwrap();
    plan
}

/// `texts` as an origin over `path` prepares them.
pub fn statements_of(path: &Path, texts: &[&str]) -> Vec<Arc<Statement>> {
    let origin = SqliteOrigin::open(OriginOptions::new(NAME, path)).unwrap();
    let prepare = |sql: &&str| {
        let params: Vec<Param> =
            parameters(sql).into_iter().map(|name| Param { name, kind: ParamKind::Any }).collect();
        origin.prepare(sql, &params).unwrap()
    };
    texts.iter().map(prepare).collect()
}

pub fn parameters(sql: &str) -> Vec<String> {
    let mut names: Vec<String> = sql
        .split(':')
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect())
        .collect();
    names.sort();
    names.dedup();
    names
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A shell of SQLite in another process, for what depends on whose locks they are.
#[derive(Debug)]
pub struct Shell {
    child: std::process::Child,
}

impl Shell {
    /// `None` where the program is not installed.
    pub fn open(path: &Path) -> Option<Self> {
        let mut command = Command::new("sqlite3");
        command.arg("-batch").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::null()).spawn();
        match child {
            Ok(child) => Some(Self { child }),
            Err(error) => {
                eprintln!("skipped: no sqlite3 program ({error})");
                None
            }
        }
    }

    /// Runs `sql` and waits until it is done.
    pub fn run(&mut self, sql: &str) {
        use std::io::{BufRead, BufReader, Write};
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{sql}\n.print done").unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap());
        while line.trim_end() != "done" {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the shell ended");
        }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
