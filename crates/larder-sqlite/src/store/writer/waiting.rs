//! What waits for the writer, in the order in which it was handed in.
//!
//! Plain data under one lock, apart from `queue`, which fills it and tells who waits.
//! **Invariant**: it is left from the front only, and what could not be written comes back to the
//! front: what was handed in first is written first.

use std::{collections::VecDeque, fmt, time::Duration};

use rusqlite::Connection;

use super::job::Job;
use crate::store::options::Durability;

/// Who may write something, and who does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Thread,
    Anyone,
}

/// What one who writes takes on in one commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) by: By,
    pub(super) writes_max: usize,
    /// Of the values, but for the last of them.
    pub(super) bytes_max: u64,
    /// After which he begins no other write.
    pub(super) time_max: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) jobs: VecDeque<Job>,
    /// Of the values in them.
    pub(super) bytes: u64,
    pub(super) alone: VecDeque<Alone>,
    /// Whether the thread is to write, until nothing waits.
    pub(super) is_called: bool,
    /// Whether some of the jobs are left to whoever has the connection.
    pub(super) is_left: bool,
    /// How many jobs the thread waits for, while it waits for more than the first.
    pub(super) gathered: usize,
}

/// What one commit is about to hold.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Those that were not begun.
    pub(super) jobs: VecDeque<Job>,
    /// How many were taken, and the bytes of their values.
    pub(super) writes: usize,
    pub(super) bytes: u64,
}

impl Waiting {
    /// Takes from the front what `group` may hold. Where it does not wait for the disk, nothing
    /// that has to joins it.
    pub(super) fn fill(&mut self, group: &mut Group, terms: &Terms, durability: Durability) {
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
    pub(super) fn put_back(&mut self, group: Group) {
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
pub(super) struct Alone(pub(super) Leaves, pub(super) Box<dyn FnOnce(&mut Connection) + Send>);

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}
