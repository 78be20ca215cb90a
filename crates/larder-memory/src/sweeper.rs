//! The sweeper: the thread that clears away behind invalidations.
//!
//! It does what need not be done on anybody's path: ending the marks of long lists, unlinking,
//! removing from the engine, dropping values. **Invariant**: it never decides that an entry is
//! dead; it only carries out what was decided, or finds what a gate or a deadline has ended.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use larder_core::{Digest, safeguard::Safeguard};

use crate::{
    entry::Invalidation,
    ledger::{self, Record},
    marks::Mark,
    pending::Ticket,
    shared::{Counts, Shared},
    sync::{Condvar, Mutex, sized, thread},
};

/// Something to clear away.
#[derive(Debug)]
pub(crate) enum Sweep {
    /// Entries whose marks have ended.
    Dead(Vec<Mark>),
    /// A detached list whose marks have not ended: a pending item stands for them.
    Detached { ticket: Ticket, list: Vec<Mark>, invalidation: Invalidation },
    /// The links of a digest whose marks are not softened yet: a pending item stands for them.
    Soften { digest: Digest, ticket: Ticket, invalidation: Invalidation },
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
/// Entries cleared away together. A tenth would bring less into the cache at once and pause more
/// often than a thread can be put to sleep; ten times more would no longer fit the cache, and keep
/// as many dead values a little longer.
const BATCH: usize = sized(512, 2);
/// The longest pause between two batches, however long the machine took over one.
const PAUSE_MAX: Duration = Duration::from_millis(1);

/// How long others have the machine for themselves after a batch that took `work`: two thirds of
/// it. Every entry cleared away takes a few cache lines from the readers, so what counts for them
/// is how many are cleared away in a second. Without pauses a million would be gone sooner than
/// anybody needs; with longer ones they would not be gone within two seconds.
fn pause_after(work: Duration) -> Duration {
    (work * 2 / 3).min(PAUSE_MAX)
}

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

    /// Leaves the machine to others for a while; not at all when the queue is closed, and no longer
    /// than until it is.
    fn pause(&self, pause: Duration) {
        let mut queue = self.queue.lock();
        self.work.wait_while_for(&mut queue, |queue| !queue.closed, pause);
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
                if Safeguard::MarksEndedBeforeRetire.is_off() {
                    self.pending.retire(ticket);
                }
                list.retain(|mark| self.marks.kill(*mark));
                self.pending.retire(ticket);
                self.note(&list, &invalidation);
                self.clear(&list);
            }
            Sweep::Soften { digest, ticket, invalidation } => {
                self.soften_links(digest, ticket, &invalidation);
                self.pending.retire(ticket);
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

    /// Removes entries from the engine, the ledger and the links, with a pause between batches.
    fn clear(&self, list: &[Mark]) {
        let mut batches = list.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            let start = self.clock.now();
            self.clear_batch(batch);
            if batches.peek().is_some() {
                self.jobs.pause(pause_after(self.clock.now().since(start)));
            }
        }
    }

    /// One step after the other for the whole batch, so that each finds its data and its locks in
    /// the cache.
    fn clear_batch(&self, batch: &[Mark]) {
        let take = |mark: &Mark| {
            self.marks.kill(*mark);
            self.ledger.take(*mark).map(|record| (*mark, record))
        };
        let records: Vec<_> = batch.iter().filter_map(take).collect();
        // Looking first brings the slots into the cache under shared locks. The exclusive ones that
        // follow are then held for a fraction of the time, and hits wait at those only.
        let peek = |(_, record): &(Mark, Box<Record>)| self.engine.peek(record.key.borrowed());
        let mut slots: Vec<_> = records.iter().filter_map(peek).collect();
        for (mark, record) in &records {
            slots.extend(self.engine.remove_marked(record.key.borrowed(), *mark));
        }
        for slot in slots {
            // A value whose drop panics must not take the sweeper with it.
            if panic::catch_unwind(AssertUnwindSafe(|| drop(slot))).is_err() {
                tracing::error!("a cached value panicked when it was dropped");
            }
        }
        for (mark, record) in &records {
            self.unlink(*mark, record, record.digests().len());
        }
        Counts::add(&self.counts.swept, records.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Both orders of closing and pausing come back; if one did not, this would take an hour.
    #[test]
    fn no_pause_outlasts_the_closing_of_the_queue() {
        let jobs = Jobs::default();
        thread::scope(|scope| {
            scope.spawn(|| jobs.pause(HOUR));
            jobs.close();
        });
        jobs.pause(HOUR);
    }

    #[test]
    fn a_pause_is_shorter_than_the_work_and_has_an_end() {
        assert_eq!(pause_after(Duration::from_micros(300)), Duration::from_micros(200));
        assert_eq!(pause_after(HOUR), PAUSE_MAX);
        assert_eq!(pause_after(Duration::ZERO), Duration::ZERO);
    }
}
