//! The writer: one thread that writes, as many writes to a commit as are waiting.
//!
//! SQLite lets one connection write at a time, so that more of them would only wait for each other
//! (SD3), and a commit costs more than what is in it. **Invariant**: a call is answered after the
//! commit that holds it, and what it changed is in that commit whole or not at all; a call that
//! fails or panics takes nothing of the others in its group with it (SD15).

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

use larder_core::{Error, ErrorKind, Moment, clock::WallMillis};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    access::Access,
    counters::Counters,
    doubt::Doubt,
    fence::Removals,
    life::{self, Life},
    options::{Durability, StoreOptions},
    queues::{Queues, Unserved},
    total::Totals,
    witness,
};
use crate::error::{from_driver, is_busy};

/// Writes that may wait. At ten microseconds each this is a second of work; whoever comes later is
/// told so at once.
const WAITING_MAX: usize = 65_536;

/// Bytes of values that may wait. With less a single bulk write of large values fills it, with more
/// a disk that does not keep up costs memory before anybody is told.
const WAITING_BYTES_MAX: u64 = 256 << 20;

/// Writes in one commit. More would make the first of them wait without making the rest cheaper.
const GROUP_MAX: usize = 512;

/// How long a writer leaves a lock alone that another process has. With ten times less it wakes for
/// nothing, with ten times more it seldom comes when the other one is between two transactions.
const LOCK_STEP: Duration = Duration::from_millis(2);

/// How long a group may grow before it is committed.
const GROUP_TIME: Duration = Duration::from_millis(5);

/// What a write is done with: the connection inside the transaction, and what it shares with the
/// others of its group.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) options: &'a StoreOptions,
    pub(crate) totals: &'a mut Totals,
    pub(crate) access: &'a Access,
    pub(crate) counters: &'a Counters,
    /// What was removed last.
    pub(crate) removals: &'a mut Removals,
    /// One time for the whole group.
    pub(crate) now: WallMillis,
    /// Whether the timeline `app` moved.
    pub(crate) has_advanced: &'a mut bool,
}

impl Writing<'_> {
    /// What the driver said, as an error of `operation`.
    pub(crate) fn failed(
        operation: &'static str,
    ) -> impl Fn(rusqlite::Error) -> Error + Copy + 'static {
        move |error| from_driver(operation, "the store", &error)
    }
}

/// The thread and its queue.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    file: PathBuf,
    path: String,
    options: StoreOptions,
    access: Arc<Access>,
    counters: Arc<Counters>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    closing: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
    unserved: Unserved,
    pub(crate) doubt: Arc<Doubt>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Of the values in them.
    bytes: u64,
    alone: VecDeque<Alone>,
}

/// What somebody leaves in the write-ahead log who has the connection for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Pages, so that the keeper has to look at it.
    Pages,
    Nothing,
}

/// What has the connection for itself, outside of any transaction.
struct Alone(Leaves, Box<dyn FnOnce(&mut Connection) + Send>);

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}

/// What the writer does next.
enum Turn {
    Alone(Alone),
    Group(Vec<Job>),
}

#[derive(Debug)]
struct Job {
    durability: Durability,
    deadline: Moment,
    /// Of the values that it holds in memory.
    bytes: u64,
    task: Box<dyn Task>,
}

/// A write with the place for its result and whom to tell.
trait Task: Send + std::fmt::Debug {
    fn is_abandoned(&self) -> bool;
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Act<T, F> {
    act: Option<F>,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> std::fmt::Debug for Act<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act").finish_non_exhaustive()
    }
}

impl<T: Send, F: Send> Task for Act<T, F>
where
    F: FnOnce(&mut Writing<'_>) -> Result<T, Error>,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error> {
        if let Some(act) = self.act.take() {
            self.result = Some(act(writing)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let Self { result, reply, .. } = *self;
        let unanswered = || Error::new(ErrorKind::Panicked, "write to the store");
        reply.send(committed.and_then(|()| result.ok_or_else(unanswered))).ok();
    }
}

impl Writer {
    /// Starts the thread over `connection`.
    pub(crate) fn start(
        connection: Connection,
        file: PathBuf,
        options: StoreOptions,
        access: Arc<Access>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let queue = Arc::new(Queue {
            path: file.display().to_string(),
            doubt: Arc::new(Doubt::of(&file)),
            file,
            options,
            access,
            counters,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            closing: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            unserved: Unserved::default(),
        });
        let own = queue.clone();
        let thread = std::thread::Builder::new()
            .name("larder-write".into())
            .spawn(move || own.run(connection))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start the writer").source(error)
            })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

/// Does what waits already, then ends.
impl Drop for Writer {
    fn drop(&mut self) {
        {
            // LOCKS: under `waiting`, or the thread may look, see nothing, and begin to wait after
            // it was told.
            let _waiting = self.queue.waiting.lock();
            self.queue.closing.store(true, Ordering::SeqCst);
        }
        self.queue.arrived.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Queue {
    /// Writes `act` with the next commit.
    ///
    /// # Errors
    /// Those of `act`; `Overloaded` when too many wait; `Timeout` when its turn did not come;
    /// `Unavailable`, `Full`, `ReadOnly` or `Corrupt` when nothing can be written.
    ///
    /// # Cancel safety
    /// Dropped before its turn, nothing is written; dropped later, everything.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_bytes(durability, 0, act).await
    }

    /// The same for an act that holds `bytes` bytes of values.
    pub(crate) async fn write_bytes<T: Send + 'static>(
        &self,
        durability: Durability,
        bytes: u64,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit(durability, bytes, act)?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same for a thread of its own that may wait.
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit(Durability::Relaxed, 0, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same, and whatever was committed before it is on the disk when it returns.
    pub(crate) fn write_durably_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit(Durability::Durable, 0, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    fn submit<T: Send + 'static>(
        &self,
        durability: Durability,
        bytes: u64,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Act { act: Some(act), result: None, reply });
        let deadline = self.options.clock.now().plus(self.options.busy);
        let durability = match self.options.durability {
            Durability::Durable => Durability::Durable,
            Durability::Relaxed => durability,
        };
        let mut waiting = self.waiting.lock();
        if self.closing.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        if WAITING_MAX <= waiting.jobs.len() {
            self.unserved.refused();
            return Err(Error::new(ErrorKind::Overloaded, "write to the store")
                .subject(&*self.path)
                .detail(format!("{WAITING_MAX} writes are waiting already")));
        }
        // One alone may be larger: it is in memory already.
        if 0 < waiting.bytes && WAITING_BYTES_MAX < waiting.bytes.saturating_add(bytes) {
            return Err(Error::new(ErrorKind::Overloaded, "write to the store")
                .subject(&*self.path)
                .detail(format!(
                    "writes of {} bytes are waiting already, at most {WAITING_BYTES_MAX} may; \
                     write less at a time",
                    waiting.bytes
                )));
        }
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        waiting.jobs.push_back(Job { durability, deadline, bytes, task });
        drop(waiting);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Adds to `queues` what there is to say of writes.
    pub(crate) fn tell(&self, queues: &mut Queues) {
        queues.writes_waiting = self.waiting.lock().jobs.len() as u64;
        (queues.writes_late, queues.writes_refused) = self.unserved.counts();
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, "write to the store").subject(&*self.path)
    }

    /// Gives `act` the connection for itself, between two commits. What waits is written after it.
    ///
    /// # Errors
    /// Those of `act`; `Closed`; `Panicked`.
    ///
    /// # Cancel safety
    /// It happens, whether it is waited for or not.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit_alone(Leaves::Pages, act)?;
        answer.await.unwrap_or_else(|_| Err(self.panicked()))
    }

    /// The same for a thread of its own that may wait.
    pub(crate) fn alone_blocking<T: Send + 'static>(
        &self,
        leaves: Leaves,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit_alone(leaves, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.panicked()))
    }

    fn submit_alone<T: Send + 'static>(
        &self,
        leaves: Leaves,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if self.closing.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        let doubt = self.doubt.clone();
        let act = move |connection: &mut Connection| {
            let result = doubt.settle_alone(connection).and_then(|()| act(connection));
            drop(reply.send(result.inspect_err(|error| doubt.note(error))));
        };
        waiting.alone.push_back(Alone(leaves, Box::new(act)));
        drop(waiting);
        self.arrived.notify_one();
        Ok(answer)
    }

    fn panicked(&self) -> Error {
        Error::new(ErrorKind::Panicked, "write to the store").subject(&*self.path)
    }

    fn run(&self, mut connection: Connection) {
        let mut synchronous = Durability::Relaxed;
        let mut removals = Removals::default();
        while let Some(turn) = self.next_turn() {
            let group = match turn {
                Turn::Group(group) => self.still_in_time(group),
                Turn::Alone(Alone(leaves, act)) => {
                    if catch_unwind(AssertUnwindSafe(|| act(&mut connection))).is_err() {
                        tracing::error!(store = %self.path, "the writer panicked and goes on");
                    }
                    let pages = u64::from(leaves == Leaves::Pages);
                    self.writes.fetch_add(pages, Ordering::Relaxed);
                    continue;
                }
            };
            if group.is_empty() {
                continue;
            }
            let wanted = match group.iter().any(|job| job.durability == Durability::Durable) {
                true => Durability::Durable,
                false => Durability::Relaxed,
            };
            if wanted != synchronous {
                let word = if wanted == Durability::Durable { "FULL" } else { "NORMAL" };
                connection.pragma_update(None, "synchronous", word).ok();
                synchronous = wanted;
            }
            self.commit(&connection, &mut removals, group);
        }
    }

    /// What is next: what wants to be alone, or what waits, as far as it fits into one commit;
    /// `None` at the end.
    fn next_turn(&self) -> Option<Turn> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(alone) = waiting.alone.pop_front() {
                return Some(Turn::Alone(alone));
            }
            if !waiting.jobs.is_empty() {
                let count = waiting.jobs.len().min(GROUP_MAX);
                let group: Vec<Job> = waiting.jobs.drain(..count).collect();
                let bytes = group.iter().map(|job| job.bytes).sum();
                waiting.bytes = waiting.bytes.saturating_sub(bytes);
                return Some(Turn::Group(group));
            }
            if self.closing.load(Ordering::SeqCst) {
                return None;
            }
            self.arrived.wait(&mut waiting);
        }
    }

    /// Answers those of a group whose time is over. Before it is begun: beside a foreign lock each
    /// group may wait as long as one write may, and whoever came first would be the last to know.
    fn still_in_time(&self, group: Vec<Job>) -> Vec<Job> {
        let now = self.options.clock.now();
        let (group, late): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|job| now <= job.deadline);
        late.into_iter().for_each(|job| job.task.answer(Err(self.too_late())));
        group
    }

    fn too_late(&self) -> Error {
        self.unserved.late();
        Error::new(ErrorKind::Timeout, "write to the store")
            .subject(&*self.path)
            .detail(format!("its turn did not come within {:?}", self.options.busy))
    }

    fn commit(&self, connection: &Connection, removals: &mut Removals, group: Vec<Job>) {
        let begin = Writing::failed("write to the store");
        let begun = self
            .doubt
            .look(connection)
            .and_then(|pages| {
                self.take_lock(connection).map_err(begin)?;
                self.doubt.settle(pages)
            })
            .and_then(|()| Totals::read(connection).map_err(begin));
        let mut totals = match begun {
            Ok(totals) => totals,
            Err(error) => {
                roll_back(connection);
                group.into_iter().for_each(|job| job.task.answer(Err(error.clone())));
                return;
            }
        };
        let now = self.options.clock.wall();
        let began = self.options.clock.now();
        let mut has_advanced = false;
        let mut done = Vec::with_capacity(group.len());
        let mut rest = VecDeque::from(group);
        while let Some(mut job) = rest.pop_front() {
            let writing = Writing {
                connection,
                options: &self.options,
                totals: &mut totals,
                access: &self.access,
                counters: &self.counters,
                removals,
                now,
                has_advanced: &mut has_advanced,
            };
            let result = self.one(&mut job, writing);
            done.push((job, result));
            // A full disk or an error of the disk ends the whole transaction by itself, and what
            // came after would be committed one by one.
            if connection.is_autocommit() {
                break;
            }
            if GROUP_TIME < self.options.clock.now().since(began) {
                break;
            }
        }
        let lost = connection.is_autocommit().then(|| self.why_lost(&done));
        let committed = match (lost, has_advanced) {
            (Some(lost), _) => Err(lost),
            (None, true) => self.bear_witness(connection),
            (None, false) => Ok(()),
        }
        .and_then(|()| self.end(connection, &totals))
        .inspect_err(|_| roll_back(connection));
        match &committed {
            Ok(()) => removals.commit(),
            Err(_) => removals.roll_back(),
        }
        if !rest.is_empty() {
            let mut waiting = self.waiting.lock();
            for job in rest.into_iter().rev() {
                waiting.bytes = waiting.bytes.saturating_add(job.bytes);
                waiting.jobs.push_front(job);
            }
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(done.len() as u64, Ordering::Relaxed);
        for (job, result) in done {
            job.task.answer(result.and_then(|()| committed.clone()));
        }
    }

    /// Begins a transaction that may write, when nobody else's is open.
    ///
    /// SQLite itself would ask again after longer and longer, at last every 100 ms: beside another
    /// process that is never idle some write waits for more than a second.
    fn take_lock(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut begin = connection.prepare_cached("BEGIN IMMEDIATE")?;
        let mut tries = self.options.busy.as_micros() / LOCK_STEP.as_micros();
        connection.busy_timeout(Duration::ZERO)?;
        let begun = loop {
            match begin.execute([]) {
                Err(error) if is_busy(&error) && 0 < tries => {
                    tries -= 1;
                    std::thread::park_timeout(LOCK_STEP);
                }
                begun => break begun,
            }
        };
        connection.busy_timeout(self.options.busy)?;
        begun.map(drop)
    }

    /// Why the transaction is over: the last write ended it.
    fn why_lost(&self, done: &[(Job, Result<(), Error>)]) -> Error {
        let last = done.last().and_then(|(_, result)| result.as_ref().err());
        last.cloned().unwrap_or_else(|| {
            Error::new(ErrorKind::Unavailable, "write to the store").subject(&*self.path)
        })
    }

    fn end(&self, connection: &Connection, totals: &Totals) -> Result<(), Error> {
        let ended = totals
            .write(connection)
            .and_then(|()| life::count_commit(connection))
            .and_then(|()| connection.prepare_cached("COMMIT")?.execute([]))
            .map(drop);
        ended
            .map_err(|error| from_driver("write to the store", &self.path, &error))
            .inspect_err(|error| self.doubt.note(error))
    }

    /// Writes down how far this transaction goes, before it is committed: if it is not, the store
    /// seems to have lost it and begins a new epoch, which is needless and safe.
    fn bear_witness(&self, connection: &Connection) -> Result<(), Error> {
        let life = Life::read(connection, &self.path)?;
        witness::write(&self.file, &life)
    }

    /// Runs one write inside a savepoint of its own.
    fn one(&self, job: &mut Job, mut writing: Writing<'_>) -> Result<(), Error> {
        if job.task.is_abandoned() {
            return Err(self.closed());
        }
        if job.deadline < self.options.clock.now() {
            return Err(self.too_late());
        }
        let failed = Writing::failed("write to the store");
        let connection = writing.connection;
        let step = |sql| {
            connection.prepare_cached(sql).and_then(|mut sql| sql.execute([])).map_err(failed)
        };
        step("SAVEPOINT one")?;
        let before = (writing.totals.mark(), writing.removals.mark());
        let ran = catch_unwind(AssertUnwindSafe(|| job.task.run(&mut writing)));
        let result = ran.unwrap_or_else(|_| {
            tracing::error!(store = %self.path, "a write panicked; the writer goes on");
            Err(Error::new(ErrorKind::Panicked, "write to the store").subject(&*self.path))
        });
        if result.is_err() {
            writing.totals.back_to(before.0);
            writing.removals.back_to(before.1);
            // Neither works once the whole transaction is over: see `commit`.
            step("ROLLBACK TO one").and_then(|_| step("RELEASE one")).ok();
            return result;
        }
        step("RELEASE one").map(drop)
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").ok();
    }
}

#[cfg(test)]
mod tests;
