//! The sweeper: the thread that clears away behind invalidations.
//!
//! It does what need not be done on anybody's path: ending the marks of long lists, unlinking,
//! removing from the engine, dropping values. **Invariant**: it never decides that an entry is
//! dead; it only carries out what was decided, or finds what a gate or a deadline has ended.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{
    entry::Invalidation,
    ledger::{self, Record},
    marks::Mark,
    pending::Ticket,
    shared::{Counts, Shared},
};

/// Something to clear away.
#[derive(Debug)]
pub(crate) enum Sweep {
    /// Entries whose marks have ended.
    Dead(Vec<Mark>),
    /// A detached list whose marks have not ended: a pending item stands for them.
    Detached { ticket: Ticket, list: Vec<Mark>, invalidation: Invalidation },
    /// Whatever is behind a gate that was shut.
    Shut,
}

/// The queue between callers and the sweeper. Not bounded by number, but by what it holds: every
/// entry is in it once at most.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    queue: Mutex<Queue>,
    work: Condvar,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Sweep>,
    /// The sweeper is at work on something it took.
    busy: bool,
    /// Callers carry their sweeps out themselves.
    closed: bool,
}

/// How long the sweeper sleeps before it looks for expired entries in the next part of the ledger;
/// all of it within about a minute.
const ROUND: Duration = Duration::from_secs(1);
/// Entries cleared away before others get a turn.
const BATCH: usize = 128;

impl Jobs {
    /// Whether somebody carries sweeps out.
    pub(crate) fn are_open(&self) -> bool {
        !self.queue.lock().closed
    }

    /// Hands the sweep back when the queue is closed.
    fn push(&self, sweep: Sweep) -> Result<(), Sweep> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(sweep);
        }
        let repeated =
            matches!(sweep, Sweep::Shut) && queue.jobs.iter().any(|job| matches!(job, Sweep::Shut));
        if !repeated {
            queue.jobs.push_back(sweep);
        }
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Waits until nothing is left to do, or the queue is closed.
    pub(crate) fn settle(&self) {
        let mut queue = self.queue.lock();
        while queue.busy || !(queue.jobs.is_empty() || queue.closed) {
            self.idle.wait(&mut queue);
        }
    }

    /// Takes no more; the sweeper finishes what it has and stops.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.work.notify_all();
    }

    /// The next sweep; a round when nothing came for a while; the end when closed.
    fn next(&self) -> Next {
        let mut queue = self.queue.lock();
        queue.busy = false;
        loop {
            if let Some(sweep) = queue.jobs.pop_front() {
                queue.busy = true;
                return Next::Sweep(sweep);
            }
            self.idle.notify_all();
            if queue.closed {
                return Next::End;
            }
            if self.work.wait_for(&mut queue, ROUND).timed_out() && queue.jobs.is_empty() {
                return Next::Round;
            }
        }
    }
}

enum Next {
    Sweep(Sweep),
    Round,
    End,
}

/// Starts the sweeper of `shared`.
///
/// If the machine has no thread to give, callers sweep for themselves.
pub(crate) fn start(shared: &Arc<Shared>) -> Option<thread::JoinHandle<()>> {
    let for_thread = Arc::clone(shared);
    let run = move || {
        let mut place = 0;
        loop {
            match for_thread.jobs.next() {
                Next::Sweep(sweep) => for_thread.carry_out(sweep),
                Next::Round => {
                    for_thread.expire(place);
                    place += 1;
                }
                Next::End => return,
            }
        }
    };
    let thread = thread::Builder::new().name("larder-sweeper".into()).spawn(run);
    thread
        .inspect_err(|error| {
            tracing::warn!(%error, "no thread for the memory tier's sweeper; callers sweep");
            shared.jobs.close();
        })
        .ok()
}

impl Shared {
    /// Leaves a sweep to the sweeper, or does it here when there is none.
    pub(crate) fn hand_over(&self, sweep: Sweep) {
        if let Err(sweep) = self.jobs.push(sweep) {
            self.carry_out(sweep);
        }
    }

    fn carry_out(&self, sweep: Sweep) {
        match sweep {
            Sweep::Dead(list) => self.clear(&list),
            Sweep::Detached { ticket, mut list, invalidation } => {
                // Ends every mark before anything slow, so that the item is soon retired and hits
                // need not look at it.
                list.retain(|mark| self.marks.kill(*mark));
                self.pending.retire(ticket);
                self.note(&list, &invalidation);
                self.clear(&list);
            }
            Sweep::Shut => {
                for place in 0..ledger::SHARDS {
                    let is_shut = |record: &Record| !self.gates.admits(record.pass);
                    let list = self.ledger.pick(place, is_shut);
                    self.note_shut(&list);
                    self.clear(&list);
                }
            }
        }
    }

    fn note_shut(&self, list: &[Mark]) {
        for mark in list.iter().take(crate::causes::KEPT / ledger::SHARDS) {
            let noted = self.ledger.with(*mark, |record| (record.key.clone(), record.pass));
            if let Some((key, pass)) = noted
                && let Some(invalidation) = self.gates.last_shut(pass)
            {
                self.causes.note(key, &invalidation);
            }
        }
    }

    /// Ends and clears away what has expired in one part of the ledger.
    fn expire(&self, place: usize) {
        let now = self.clock.now();
        let mut list = self.ledger.pick(place, |record| record.deadlines.gone_at() <= now);
        list.retain(|mark| self.marks.kill(*mark));
        Counts::add(&self.counts.expired, list.len());
        self.clear(&list);
    }

    /// Removes entries from the engine, the ledger and the links. Between batches others get their
    /// turn at the locks.
    fn clear(&self, list: &[Mark]) {
        for batch in list.chunks(BATCH) {
            for mark in batch {
                self.clear_one(*mark);
            }
            thread::yield_now();
        }
    }

    fn clear_one(&self, mark: Mark) {
        self.marks.kill(mark);
        let Some(record) = self.ledger.take(mark) else { return };
        let slot = self.engine.remove_marked(record.key.borrowed(), mark);
        // A value whose drop panics must not take the sweeper with it.
        if panic::catch_unwind(AssertUnwindSafe(|| drop(slot))).is_err() {
            tracing::error!("a cached value panicked when it was dropped");
        }
        self.unlink(mark, &record, record.digests().len());
        self.counts.swept.fetch_add(1, Ordering::Relaxed);
    }
}
