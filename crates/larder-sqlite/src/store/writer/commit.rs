//! One commit: what it is made with, and how what fails in it is undone.
//!
//! **Invariant**: it holds each of its writes whole or not at all, and a write that fails or panics
//! takes nothing of the others with it (SD15). A disk that ends the transaction takes all that were
//! begun, and none that was not.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{
    Queue, Writing,
    job::{Job, Written},
    spot::Begun,
    waiting::{By, Group, Terms},
};
use crate::{
    error::{from_driver, is_busy},
    store::{
        fence::Removals,
        life::{self, Life},
        options::Durability,
        total::Totals,
        witness,
    },
};

/// How long a writer leaves a lock alone that another process has. With ten times less it wakes for
/// nothing, with ten times more it seldom comes when the other one is between two transactions.
const LOCK_STEP: Duration = Duration::from_millis(2);

/// What is written with. Whoever has it locked writes.
///
/// LOCKS: before `waiting`, and only the thread waits for it. What waits is taken, and what could
/// not be written is put back, under both: so it is written in the order in which it was handed in.
#[derive(Debug)]
pub(super) struct Desk {
    /// `None` once the thread has ended.
    pub(super) connection: Option<Connection>,
    /// Looks at the write-ahead log, once somebody wrote on the spot.
    pub(super) log: Option<Connection>,
    pub(super) synchronous: Durability,
    pub(super) removals: Removals,
}

/// What has to be undone where a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// All of the transaction, where nothing else is in it yet: so most need no savepoint.
    Everything,
    ThisOne,
}

impl Queue {
    /// Commits what waits, as far as `terms` go.
    pub(super) fn work(&self, desk: &mut Desk, terms: &Terms) -> Written {
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

pub(super) fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").ok();
    }
}
