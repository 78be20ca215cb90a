//! The readers: threads that run statements, each on its own long-lived connection.
//!
//! SQLite's calls block, so they get threads of their own and a queue instead of a runtime. What is
//! handed over while it is read is in `stream`.
//! **Invariant**: an answer comes from one snapshot, and its stamp was read in that same snapshot
//! or was confirmed before it began. A panic ends one load and no thread.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use larder_core::{
    Clock, Dependency, Epoch, Error, ErrorKind, Moment, Stamp, Value, origin::Answer,
    safeguard::Safeguard,
};
use parking_lot::{Condvar, Mutex};
use rusqlite::{
    Connection,
    hooks::{AuthContext, Authorization},
    types::ValueRef,
};
use tokio::sync::oneshot;

use crate::{
    connection::{self, Opened},
    error::from_driver,
    knowledge::{Coverage, Knowledge, View},
    log,
    statement::{ATTEMPTS, Query, Reading, Rows, Statement, Version, allow_reading},
    stream::{Sink, Stream},
};

/// Loads that may wait for a connection. At a millisecond each this is over ten seconds of work
/// for one thread: whoever comes later would not live to see the answer.
const WAITING_MAX: usize = 16_384;

/// How long a load waits for a lock before the origin counts as unavailable.
const BUSY: Duration = Duration::from_secs(2);

/// Instructions of SQLite's machine between two looks at the deadline: some tens of microseconds.
const STEPS: i32 = 2_000;

/// The threads and their queue.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Queue {
    name: String,
    path: PathBuf,
    clock: Clock,
    knowledge: Arc<Knowledge>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    closing: AtomicBool,
    /// Streams that may run at a time: all threads but one, so that loads go on beside them.
    streams_max: usize,
}

/// What waits for a thread.
#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Streams that run now.
    streams: usize,
}

#[derive(Debug)]
struct Job {
    task: Task,
    deadline: Moment,
    abandoned: Arc<AtomicBool>,
}

/// What is to be done, and who waits for it.
#[derive(Debug)]
enum Task {
    Load { query: Query, before: Stamp, reply: Reply<Answer<Rows>> },
    Stream { stream: Stream, sink: Sink, reply: Reply<()> },
}

impl Task {
    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}

impl Waiting {
    /// The first that may begin now.
    fn next(&mut self, streams_max: usize) -> Option<Job> {
        let may_begin = |job: &Job| self.streams < streams_max || !job.task.is_stream();
        let job = self.jobs.iter().position(may_begin).and_then(|place| self.jobs.remove(place))?;
        self.streams += usize::from(job.task.is_stream());
        Some(job)
    }
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

impl Readers {
    /// Starts `count` threads; each opens its connection when it is first asked.
    pub(crate) fn start(
        path: PathBuf,
        clock: Clock,
        knowledge: Arc<Knowledge>,
        count: usize,
    ) -> Result<Self, Error> {
        let queue = Arc::new(Queue {
            name: knowledge.timeline().to_string(),
            path,
            clock,
            knowledge,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            closing: AtomicBool::new(false),
            streams_max: count.saturating_sub(1).max(1),
        });
        let mut readers = Self { queue, threads: Vec::with_capacity(count) };
        for number in 0..count.max(1) {
            let queue = readers.queue.clone();
            let thread = std::thread::Builder::new()
                .name(format!("larder-read-{number}"))
                .spawn(move || Reader::new(queue).run());
            readers.threads.push(thread.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start a reader").source(error)
            })?);
        }
        Ok(readers)
    }

    /// Runs `query`; dropping the future interrupts it.
    pub(crate) async fn load(&self, query: &Query, before: Stamp) -> Result<Answer<Rows>, Error> {
        query.statement.check_values(&query.params)?;
        let query = query.clone();
        self.ask(query.deadline, |reply| Task::Load { query, before, reply }).await
    }

    /// Hands the rows of `stream` to `sink`; dropping the future interrupts it.
    pub(crate) async fn stream(&self, stream: Stream, sink: Sink) -> Result<(), Error> {
        stream.statement.check_values(&stream.params)?;
        self.ask(stream.deadline, |reply| Task::Stream { stream, sink, reply }).await
    }

    async fn ask<T>(
        &self,
        deadline: Duration,
        task: impl FnOnce(Reply<T>) -> Task,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let abandoned = Abandon(Arc::new(AtomicBool::new(false)));
        let job = Job {
            task: task(reply),
            deadline: self.queue.clock.now().plus(deadline),
            abandoned: abandoned.0.clone(),
        };
        {
            let mut waiting = self.queue.waiting.lock();
            if WAITING_MAX <= waiting.jobs.len() {
                return Err(Error::new(ErrorKind::Unavailable, "load")
                    .subject(&*self.queue.name)
                    .detail(format!("{WAITING_MAX} loads are waiting already")));
            }
            waiting.jobs.push_back(job);
        }
        self.queue.arrived.notify_one();
        answer.await.unwrap_or_else(|_| Err(self.queue.unanswered()))
    }
}

impl Queue {
    /// Why a load was dropped without an answer.
    fn unanswered(&self) -> Error {
        if self.closing.load(Ordering::SeqCst) {
            return Error::new(ErrorKind::Closed, "load").subject(&*self.name);
        }
        Error::new(ErrorKind::Unavailable, "load")
            .subject(&*self.name)
            .detail("its reader panicked")
    }
}

/// Interrupts what nobody waits for any more.
impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.closing.store(true, Ordering::SeqCst);
        self.queue.waiting.lock().jobs.clear();
        self.queue.arrived.notify_all();
        let own = std::thread::current().id();
        // One of them may be here: whoever took rows may have had the last handle on the origin.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            thread.join().ok();
        }
    }
}

/// Says on drop that nobody waits any more.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One thread.
struct Reader {
    queue: Arc<Queue>,
    control: Arc<Control>,
    opened: Option<Opened>,
}

/// What the connection's callbacks look at while a statement runs.
#[derive(Debug, Default)]
struct Control {
    deadline: AtomicU64,
    abandoned: Mutex<Option<Arc<AtomicBool>>>,
    /// Only what was asked may be prepared now, not what larder asks for itself.
    only_reading: AtomicBool,
}

impl Reader {
    fn new(queue: Arc<Queue>) -> Self {
        Self { queue, control: Arc::default(), opened: None }
    }

    fn run(&mut self) {
        while let Some(job) = self.next_job() {
            let is_stream = job.task.is_stream();
            // A waker is called in here too, and is code of whoever polls.
            if catch_unwind(AssertUnwindSafe(|| self.serve(job))).is_err() {
                tracing::error!(origin = %self.queue.name, "a load panicked; its reader goes on");
                // It may have been in the middle of anything.
                self.opened = None;
                self.control = Arc::default();
            }
            // The next stream that waits is taken by this thread, if by no other one before.
            self.queue.waiting.lock().streams -= usize::from(is_stream);
        }
    }

    fn serve(&mut self, job: Job) {
        let Job { task, deadline, abandoned } = job;
        if abandoned.load(Ordering::SeqCst) {
            return;
        }
        self.control.deadline.store(deadline.as_micros(), Ordering::SeqCst);
        *self.control.abandoned.lock() = Some(abandoned);
        match task {
            Task::Load { query, before, reply } => {
                let answer = self.load(&query, &before, deadline);
                self.reply(answer, reply);
            }
            Task::Stream { stream, mut sink, reply } => {
                let control = self.control.clone();
                let asked = Asked { statement: &stream.statement, params: &stream.params };
                let read = |snapshot: &Snapshot<'_>| {
                    let (connection, reading) = (snapshot.connection, snapshot.reading);
                    stream.check(connection, reading)?;
                    control.reading(|| stream.read(connection, reading, &mut sink))
                };
                let ended = self.answer(&asked, deadline, read).map(|_| ());
                self.reply(ended, reply);
            }
        }
    }

    fn reply<T>(&mut self, answer: Result<T, Error>, reply: Reply<T>) {
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            // Whatever kept the connection from answering, the next one starts clean.
            self.opened = None;
        }
        reply.send(answer).ok();
    }

    fn next_job(&self) -> Option<Job> {
        let mut waiting = self.queue.waiting.lock();
        loop {
            if self.queue.closing.load(Ordering::SeqCst) {
                return None;
            }
            match waiting.next(self.queue.streams_max) {
                Some(job) => return Some(job),
                None => self.queue.arrived.wait(&mut waiting),
            }
        }
    }

    fn load(
        &mut self,
        query: &Query,
        before: &Stamp,
        deadline: Moment,
    ) -> Result<Answer<Rows>, Error> {
        let control = self.control.clone();
        let asked = Asked { statement: &query.statement, params: &query.params };
        let found = self.answer(&asked, deadline, |snapshot| {
            let Snapshot { connection, reading, view, schema } = *snapshot;
            let stamp = stamp(connection, view, before, schema)?;
            let rows = control.reading(|| fetch(connection, query, reading.columns.len()))?;
            Ok((Rows { columns: reading.columns.clone(), rows }, stamp))
        })?;
        let Found { value: (rows, mut stamp), view, dependencies } = found;
        if Safeguard::AsOfInsideTransaction.is_off()
            && let Some(opened) = &self.opened
        {
            let again = connection::in_snapshot(&opened.connection, |connection| {
                let schema = connection::schema_version(connection)?;
                self::stamp(connection, &view, before, schema)
            });
            stamp =
                again.map_err(|error: rusqlite::Error| self.control.failed(&self.queue, &error))?;
        }
        Ok(Answer { rows, stamp, dependencies })
    }

    /// What `read` makes of a snapshot in which the statement's analysis holds.
    fn answer<T>(
        &mut self,
        asked: &Asked<'_>,
        deadline: Moment,
        mut read: impl FnMut(&Snapshot<'_>) -> Result<T, Trouble>,
    ) -> Result<Found<T>, Error> {
        for _ in 0..ATTEMPTS {
            if deadline <= self.queue.clock.now() {
                return Err(self.too_late());
            }
            if let Some(found) = self.try_answer(asked, &mut read)? {
                return Ok(found);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "load")
            .subject(&*self.queue.name)
            .detail("the schema changes faster than the statement can be analysed"))
    }

    /// One try; `None` when the statement's analysis was out of date and has been made anew. Then
    /// nothing was read.
    fn try_answer<T>(
        &mut self,
        asked: &Asked<'_>,
        read: &mut impl FnMut(&Snapshot<'_>) -> Result<T, Trouble>,
    ) -> Result<Option<Found<T>>, Error> {
        let queue = self.queue.clone();
        let file = self.connect()?.identity;
        let Some(opened) = self.opened.as_mut() else { return Ok(None) };
        let Asked { statement, params } = *asked;
        let reading = statement.reading();
        // Read before the snapshot begins: see `View::stamp`.
        let view = queue.knowledge.view();
        // Likewise: commits are counted for a load of what is not watched once this has been asked.
        let named = statement.named(params);
        let dependencies = queue.knowledge.dependencies(&view.coverage, &reading.analysis, &named);
        let loaded = connection::in_snapshot(&opened.connection, |connection| {
            let schema = connection::schema_version(connection)?;
            let of = Version { file, schema, epoch: view.epoch };
            if reading.of != of {
                return Ok(Loaded::Outdated(of));
            }
            let snapshot = Snapshot { connection, reading: &reading, view: &view, schema };
            read(&snapshot).map(Loaded::Read)
        });
        match loaded {
            Ok(Loaded::Read(value)) => Ok(Some(Found { value, view, dependencies })),
            Ok(Loaded::Outdated(of)) => {
                statement.set_reading(derive(&queue, statement, of.epoch)?);
                Ok(None)
            }
            Err(Trouble::Driver(error)) => Err(self.control.failed(&queue, &error)),
            Err(Trouble::Refused(error)) => Err(error),
        }
    }

    /// The connection to the file that the path leads to now.
    fn connect(&mut self) -> Result<&Opened, Error> {
        let queue = &self.queue;
        if let Some(opened) = &self.opened
            && !opened.identity.is_at(&queue.path).unwrap_or(false)
        {
            self.opened = None;
        }
        match &mut self.opened {
            Some(opened) => Ok(opened),
            empty => {
                let mut opened = connection::reopen(&queue.path, BUSY)?;
                self.control
                    .install(&mut opened.connection, queue)
                    .map_err(|error| connection::failed(&queue.path, &error))?;
                Ok(empty.insert(opened))
            }
        }
    }

    fn too_late(&self) -> Error {
        Error::new(ErrorKind::Timeout, "load")
            .subject(&*self.queue.name)
            .detail("the deadline passed")
    }
}

/// A statement and the values of its parameters.
struct Asked<'a> {
    statement: &'a Statement,
    params: &'a [Value],
}

/// One moment of the database, and what was known when it began.
struct Snapshot<'a> {
    connection: &'a Connection,
    reading: &'a Reading,
    view: &'a View,
    schema: i64,
}

/// What was made of a snapshot.
struct Found<T> {
    value: T,
    view: View,
    dependencies: Vec<Dependency>,
}

enum Loaded<T> {
    Read(T),
    Outdated(Version),
}

/// Why reading ended early.
pub(crate) enum Trouble {
    Driver(rusqlite::Error),
    /// A limit of ours, or whoever takes the rows.
    Refused(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Driver(error)
    }
}

impl Control {
    fn install(
        self: &Arc<Self>,
        connection: &mut Connection,
        queue: &Arc<Queue>,
    ) -> rusqlite::Result<()> {
        let (control, queue) = (self.clone(), queue.clone());
        connection.progress_handler(STEPS, Some(move || control.must_stop(&queue)))?;
        let control = self.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let only_reading = control.only_reading.load(Ordering::SeqCst);
            if only_reading { allow_reading(context) } else { Authorization::Allow }
        }))
    }

    /// Runs what was asked, which may do nothing but read.
    fn reading<T>(&self, run: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.only_reading.store(true, Ordering::SeqCst);
        let ended = run();
        self.only_reading.store(false, Ordering::SeqCst);
        ended
    }

    fn must_stop(&self, queue: &Queue) -> bool {
        queue.closing.load(Ordering::SeqCst)
            || self.deadline.load(Ordering::SeqCst) <= queue.clock.now().as_micros()
            || self.abandoned.lock().as_ref().is_some_and(|flag| flag.load(Ordering::SeqCst))
    }

    fn failed(&self, queue: &Queue, error: &rusqlite::Error) -> Error {
        let error = from_driver("load", &queue.name, error);
        if error.kind() == ErrorKind::Timeout {
            return error.detail("the deadline passed while the statement was running");
        }
        error
    }
}

/// Derives what the statement reads, on a connection of its own: deriving takes the authorizer.
fn derive(queue: &Queue, statement: &Statement, epoch: Option<Epoch>) -> Result<Reading, Error> {
    let opened = connection::reopen(&queue.path, BUSY)?;
    let Opened { mut connection, identity: file, .. } = opened;
    Reading::derive(&mut connection, queue.knowledge.timeline(), statement.sql(), |connection| {
        let schema = connection::schema_version(connection)
            .map_err(|error| from_driver("analyse", &queue.name, &error))?;
        Ok(Version { file, schema, epoch })
    })
}

/// Where the snapshot stands: exactly, when the log is trusted under this schema, else `before`.
fn stamp(
    connection: &Connection,
    view: &View,
    before: &Stamp,
    schema: i64,
) -> rusqlite::Result<Stamp> {
    match &view.coverage {
        Coverage::Rows(tracked) if tracked.schema_version == schema => {
            Ok(view.stamp(before, log::newest(connection)?))
        }
        _ => Ok(before.clone()),
    }
}

/// The width comes from the analysis: a cached statement learns of a new schema only as it runs.
fn fetch(connection: &Connection, query: &Query, width: usize) -> Result<Vec<Vec<Value>>, Trouble> {
    let mut statement = connection.prepare_cached(query.statement.sql())?;
    bind(&mut statement, &query.statement, &query.params)?;
    let mut rows = Vec::new();
    let mut bytes = 0usize;
    let mut cursor = statement.raw_query();
    while let Some(row) = cursor.next()? {
        if query.max_rows <= rows.len() {
            return Err(over("max_rows", query.max_rows, "rows"));
        }
        let mut values = Vec::with_capacity(width);
        for index in 0..width {
            let value = row.get_ref(index)?;
            bytes = bytes.saturating_add(size(value));
            if query.max_bytes < bytes {
                return Err(over("max_bytes", query.max_bytes, "bytes"));
            }
            values.push(own(value));
        }
        rows.push(values);
    }
    Ok(rows)
}

/// Binds the declared parameters.
pub(crate) fn bind(
    prepared: &mut rusqlite::Statement<'_>,
    statement: &Statement,
    values: &[Value],
) -> rusqlite::Result<()> {
    let mut name = String::new();
    for (param, value) in statement.params().iter().zip(values) {
        name.clear();
        name.push(':');
        name.push_str(&param.name);
        prepared.raw_bind_parameter(&*name, Bound(value))?;
    }
    Ok(())
}

fn over(limit: &str, value: usize, unit: &str) -> Trouble {
    let detail = format!("the answer has more than {value} {unit}, the limit {limit}");
    Trouble::Refused(Error::new(ErrorKind::Limit, "load").detail(detail))
}

fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

/// Text that is not UTF-8 keeps what can be kept of it: an answer is shown, never compared.
fn own(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
    }
}

/// A value on its way into a statement, without a copy.
pub(crate) struct Bound<'a>(pub(crate) &'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
