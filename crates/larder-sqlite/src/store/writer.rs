//! The writer: one connection that writes, as many writes to a commit as are waiting.
//!
//! SQLite lets one connection write at a time, so that more of them would only wait for each other
//! (SD3), and a commit costs more than what is in it. A thread writes what is large and what has to
//! be on the disk; what takes microseconds is written by whoever finds the connection free: see
//! `spot`. **Invariant**: a call is answered after the commit that holds it, and what it changed is
//! in that commit whole or not at all; a call that fails or panics takes nothing of the others in
//! its group with it (SD15). Whoever writes takes what waits from the front, so that what was
//! handed in first is written first.

mod gathering;

mod job;

mod spot;

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

use larder_core::{Error, ErrorKind, clock::WallMillis};
use parking_lot::{Condvar, Mutex, MutexGuard};
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

pub(crate) use spot::Effort;

use gathering::Gathering;
use job::{Act, Job, Written};
use spot::{Begun, Crowd};

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

/// What the thread takes on.
const TERMS: Terms =
    Terms { by: By::Thread, writes_max: GROUP_MAX, bytes_max: u64::MAX, time_max: GROUP_TIME };

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
    desk: Mutex<Desk>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    crowd: Crowd,
    closing: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
    unserved: Unserved,
    pub(crate) doubt: Arc<Doubt>,
}

/// What is written with. Whoever has it locked writes.
///
/// LOCKS: before `waiting`, and only the thread waits for it. What waits is taken, and what could
/// not be written is put back, under both: so it is written in the order in which it was handed in.
#[derive(Debug)]
struct Desk {
    /// `None` once the thread has ended.
    connection: Option<Connection>,
    /// Looks at the write-ahead log, once somebody wrote on the spot.
    log: Option<Connection>,
    synchronous: Durability,
    removals: Removals,
}

/// Who may write something, and who does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Thread,
    Anyone,
}

/// What has to be undone where a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// All of the transaction, where nothing else is in it yet: so most need no savepoint.
    Everything,
    ThisOne,
}

/// What one who writes takes on in one commit.
#[derive(Clone, Copy, Debug)]
struct Terms {
    by: By,
    writes_max: usize,
    /// Of the values, but for the last of them.
    bytes_max: u64,
    /// After which he begins no other write.
    time_max: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Of the values in them.
    bytes: u64,
    alone: VecDeque<Alone>,
    /// Whether the thread is to write, until nothing waits.
    is_called: bool,
    /// Whether some of the jobs are left to whoever has the connection.
    is_left: bool,
    /// How many jobs the thread waits for, while it waits for more than the first.
    gathered: usize,
}

/// What one commit is about to hold.
#[derive(Debug, Default)]
struct Group {
    /// Those that were not begun.
    jobs: VecDeque<Job>,
    /// How many were taken, and the bytes of their values.
    writes: usize,
    bytes: u64,
}

impl Waiting {
    /// Takes from the front what `group` may hold. Where it does not wait for the disk, nothing
    /// that has to joins it.
    fn fill(&mut self, group: &mut Group, terms: &Terms, durability: Durability) {
        let is_allowed = |job: &Job| {
            (terms.by == By::Thread || job.by == By::Anyone)
                && (durability == Durability::Durable || job.durability == Durability::Relaxed)
        };
        while group.writes < terms.writes_max
            && group.bytes < terms.bytes_max
            && self.jobs.front().is_some_and(is_allowed)
            && let Some(job) = self.jobs.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(job.bytes);
            group.writes += 1;
            group.bytes = group.bytes.saturating_add(job.bytes);
            group.jobs.push_back(job);
        }
        self.is_left = !self.jobs.is_empty();
    }

    /// Puts back what was not begun.
    fn put_back(&mut self, group: Group) {
        for job in group.jobs.into_iter().rev() {
            self.bytes = self.bytes.saturating_add(job.bytes);
            self.jobs.push_front(job);
            self.is_left = true;
        }
    }
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
            desk: Mutex::new(Desk {
                connection: Some(connection),
                log: None,
                synchronous: Durability::Relaxed,
                removals: Removals::default(),
            }),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            crowd: Crowd::default(),
            closing: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            unserved: Unserved::default(),
        });
        let own = queue.clone();
        let thread = std::thread::Builder::new()
            .name("larder-write".into())
            .spawn(move || own.run())
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
    ///
    /// # Cost
    /// A relaxed write of one small row is done by the caller where nobody else writes; what
    /// others hand in meanwhile too, for half a millisecond at most.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        effort: Effort,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (by, mut answer) = self.submit(durability, effort, act)?;
        if by == By::Anyone {
            self.let_others_join().await;
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
            self.write_here();
        }
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same for a thread of its own that may wait.
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (_, answer) = self.submit(Durability::Relaxed, Effort::MUCH, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same, and whatever was committed before it is on the disk when it returns.
    pub(crate) fn write_durably_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (_, answer) = self.submit(Durability::Durable, Effort::MUCH, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    fn submit<T: Send + 'static>(
        &self,
        durability: Durability,
        effort: Effort,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<(By, oneshot::Receiver<Result<T, Error>>), Error> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Act { act: Some(act), result: None, reply });
        let deadline = self.options.clock.now().plus(self.options.busy);
        let durability = match self.options.durability {
            Durability::Durable => Durability::Durable,
            Durability::Relaxed => durability,
        };
        let (by, bytes) = (effort.by(durability), effort.bytes());
        let mut waiting = self.waiting.lock();
        self.check_room(&waiting, bytes)?;
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        waiting.jobs.push_back(Job { by, durability, deadline, bytes, task });
        waiting.is_called |= by == By::Thread;
        let is_to_wake = waiting.is_called && waiting.gathered <= waiting.jobs.len();
        drop(waiting);
        if is_to_wake {
            self.arrived.notify_one();
        }
        Ok((by, answer))
    }

    /// # Errors
    /// Why a write with values of `bytes` bytes may not wait.
    fn check_room(&self, waiting: &Waiting, bytes: u64) -> Result<(), Error> {
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
        Ok(())
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

    fn run(&self) {
        let mut gathering = Gathering::default();
        while self.has_work(gathering) {
            let mut desk = self.desk.lock();
            let alone = self.waiting.lock().alone.pop_front();
            if let (Some(Alone(leaves, act)), Some(connection)) = (alone, &mut desk.connection) {
                if catch_unwind(AssertUnwindSafe(|| act(connection))).is_err() {
                    tracing::error!(store = %self.path, "the writer panicked and goes on");
                }
                self.writes.fetch_add(u64::from(leaves == Leaves::Pages), Ordering::Relaxed);
                continue;
            }
            let began = self.options.clock.now();
            let written = self.work(&mut desk, &TERMS);
            drop(desk);
            let took = self.options.clock.now().since(began);
            let (writes, came) = (written.count(), self.waiting.lock().jobs.len());
            gathering = Gathering::after(took, writes, came);
            self.crowd.saw(writes);
            written.answer();
        }
    }

    /// Waits until the thread has something to do; `false` at the end, and the connection is closed
    /// then.
    fn has_work(&self, gathering: Gathering) -> bool {
        let mut waiting = self.waiting.lock();
        loop {
            // What was left to whoever had the connection, if that was this thread.
            waiting.is_called |= waiting.is_left;
            waiting.is_called &= !waiting.jobs.is_empty();
            let is_closing = self.closing.load(Ordering::SeqCst);
            if !waiting.alone.is_empty() || waiting.is_called {
                break;
            }
            if is_closing {
                drop(waiting);
                // Whoever writes on the spot is waited for, and may leave something.
                let mut desk = self.desk.lock();
                waiting = self.waiting.lock();
                if waiting.jobs.is_empty() {
                    let connections = (desk.log.take(), desk.connection.take());
                    drop((waiting, desk));
                    // The last one copies the log.
                    drop(connections);
                    return false;
                }
                waiting.is_called = true;
                continue;
            }
            self.arrived.wait(&mut waiting);
        }
        self.gather(&mut waiting, gathering);
        true
    }

    /// Waits for those who were there with the last commit, where this one waits for the disk.
    fn gather(&self, waiting: &mut MutexGuard<'_, Waiting>, gathering: Gathering) {
        let is_durable =
            waiting.jobs.front().is_some_and(|job| job.durability == Durability::Durable);
        if !is_durable {
            return;
        }
        waiting.gathered = gathering.expected;
        let is_to_wait = |waiting: &mut Waiting| {
            waiting.jobs.len() < gathering.expected
                && waiting.alone.is_empty()
                && !self.closing.load(Ordering::SeqCst)
        };
        self.arrived.wait_while_for(waiting, is_to_wait, gathering.patience);
        waiting.gathered = 0;
    }

    /// Commits what waits, as far as `terms` go.
    fn work(&self, desk: &mut Desk, terms: &Terms) -> Written {
        let Desk { connection: Some(connection), log, synchronous, removals } = desk else {
            return Written::NOTHING;
        };
        let mut group = Group::default();
        {
            let mut waiting = self.waiting.lock();
            if terms.by == By::Anyone && !waiting.alone.is_empty() {
                // Whoever wants to be alone comes before what waits.
                waiting.is_called = true;
                return Written::NOTHING;
            }
            waiting.fill(&mut group, terms, Durability::Durable);
        }
        self.dismiss_late(&mut group);
        if group.jobs.is_empty() {
            return Written::NOTHING;
        }
        let wanted = match group.jobs.iter().any(|job| job.durability == Durability::Durable) {
            true => Durability::Durable,
            false => Durability::Relaxed,
        };
        if wanted != *synchronous {
            let word = if wanted == Durability::Durable { "FULL" } else { "NORMAL" };
            connection.pragma_update(None, "synchronous", word).ok();
            *synchronous = wanted;
        }
        // Open only if whoever wrote before panicked.
        roll_back(connection);
        let begun = match terms.by {
            By::Thread => self.begin(connection),
            By::Anyone => match self.begin_at_once(connection, log) {
                Ok(Begun::Now) => Ok(()),
                Ok(Begun::NotNow) => {
                    self.waiting.lock().put_back(group);
                    self.call();
                    return Written::NOTHING;
                }
                Err(error) => Err(error),
            },
        };
        self.commit(connection, removals, group, (terms, wanted, begun))
    }

    /// Answers those of a group whose time is over. Before it is begun: beside a foreign lock each
    /// group may wait as long as one write may, and whoever came first would be the last to know.
    fn dismiss_late(&self, group: &mut Group) {
        let now = self.options.clock.now();
        if group.jobs.iter().all(|job| now <= job.deadline) {
            return;
        }
        let jobs = std::mem::take(&mut group.jobs);
        let (jobs, late): (VecDeque<_>, VecDeque<_>) =
            jobs.into_iter().partition(|job| now <= job.deadline);
        group.jobs = jobs;
        late.into_iter().for_each(|job| job.task.answer(Err(self.too_late())));
    }

    fn too_late(&self) -> Error {
        self.unserved.late();
        Error::new(ErrorKind::Timeout, "write to the store")
            .subject(&*self.path)
            .detail(format!("its turn did not come within {:?}", self.options.busy))
    }

    fn commit(
        &self,
        connection: &Connection,
        removals: &mut Removals,
        mut group: Group,
        (terms, durability, begun): (&Terms, Durability, Result<(), Error>),
    ) -> Written {
        let failed = Writing::failed("write to the store");
        let begun = begun.and_then(|()| Totals::read(connection).map_err(failed));
        let mut totals = match begun {
            Ok(totals) => totals,
            Err(error) => {
                roll_back(connection);
                let done = group.jobs.into_iter().map(|job| (job, Ok(()))).collect();
                return Written { done, committed: Err(error) };
            }
        };
        let now = self.options.clock.wall();
        let began = self.options.clock.now();
        let mut has_advanced = false;
        let mut done = Vec::with_capacity(group.jobs.len());
        loop {
            if group.jobs.is_empty() {
                // What was handed in meanwhile.
                self.waiting.lock().fill(&mut group, terms, durability);
            }
            let Some(mut job) = group.jobs.pop_front() else { break };
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
            let undo = if done.is_empty() { Undo::Everything } else { Undo::ThisOne };
            let result = self.one(&mut job, writing, undo);
            done.push((job, result));
            // A full disk or an error of the disk ends the whole transaction by itself, as does the
            // first write if it fails, and what came after would be committed one by one.
            if connection.is_autocommit() || terms.time_max < self.options.clock.now().since(began)
            {
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
        self.waiting.lock().put_back(group);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(done.len() as u64, Ordering::Relaxed);
        Written { done, committed }
    }

    /// Begins a transaction, as late as another process lets it; whatever has to be on the disk
    /// before is there then.
    fn begin(&self, connection: &Connection) -> Result<(), Error> {
        let pages = self.doubt.look(connection)?;
        self.take_lock(connection).map_err(Writing::failed("write to the store"))?;
        self.doubt.settle(pages)
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

    /// Runs one write, so that it can be undone.
    fn one(&self, job: &mut Job, mut writing: Writing<'_>, undo: Undo) -> Result<(), Error> {
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
        if undo == Undo::ThisOne {
            step("SAVEPOINT one")?;
        }
        let before = (writing.totals.mark(), writing.removals.mark());
        let ran = catch_unwind(AssertUnwindSafe(|| job.task.run(&mut writing)));
        let result = ran.unwrap_or_else(|_| {
            tracing::error!(store = %self.path, "a write panicked; the writer goes on");
            Err(Error::new(ErrorKind::Panicked, "write to the store").subject(&*self.path))
        });
        if result.is_err() {
            writing.totals.back_to(before.0);
            writing.removals.back_to(before.1);
            match undo {
                // The transaction is over, and `commit` sees that.
                Undo::Everything => roll_back(connection),
                // Neither works once the disk has ended the transaction: see there.
                Undo::ThisOne => {
                    step("ROLLBACK TO one").and_then(|_| step("RELEASE one")).ok();
                }
            }
            return result;
        }
        match undo {
            Undo::Everything => Ok(()),
            Undo::ThisOne => step("RELEASE one").map(drop),
        }
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").ok();
    }
}

#[cfg(test)]
mod tests;
