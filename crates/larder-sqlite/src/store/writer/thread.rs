//! The writer's own thread: what is large, what has to be on the disk, and what callers leave.
//!
//! **Invariant**: it ends when the store is closing and nothing waits, and nobody has the
//! connection then. A panic of what it was given ends that, and not the thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

use parking_lot::MutexGuard;

use super::{
    Queue,
    commit::Desk,
    gathering::Gathering,
    waiting::{Alone, By, Leaves, Terms, Waiting},
};
use crate::store::{
    keeper::{self, Checkpoint},
    options::Durability,
    pace::HELD,
};

/// Writes in one commit. More would make the first of them wait without making the rest cheaper.
const GROUP_MAX: usize = 512;

/// How long a group may grow before it is committed.
const GROUP_TIME: Duration = Duration::from_millis(5);

/// What the thread takes on.
const TERMS: Terms =
    Terms { by: By::Thread, writes_max: GROUP_MAX, bytes_max: u64::MAX, time_max: GROUP_TIME };

impl Queue {
    pub(super) fn run(&self) {
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
            self.look_at_log(&desk);
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
        if self.pace.is_held() {
            let may_wait = |waiting: &mut Waiting| {
                waiting.alone.is_empty() && !self.closing.load(Ordering::SeqCst)
            };
            self.arrived.wait_while_for(&mut waiting, may_wait, HELD);
        }
        true
    }

    /// Tells the pace how long the log is, if that can be seen.
    fn look_at_log(&self, desk: &Desk) {
        let connection = desk.log.as_ref().or(desk.connection.as_ref());
        if let Some(Ok(log)) = connection.map(|one| keeper::wal(one, Checkpoint::Noop)) {
            self.pace.saw(log.pages);
        }
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
}
