//! How many wait for a connection or for the writer, and how many waited in vain.
//!
//! Apart from `counters`, which count what was done: these say whether it can be done in time.
//! **Invariant**: each call that is not carried out for want of room or time is counted once.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store is busy with, and what it could not do in time since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queues {
    /// Connections that small reads borrow, at most: as many as `StoreOptions::readers`. As many
    /// more belong to the threads that do the other reads.
    pub connections_max: u64,
    /// How many of those are open; each is opened when it is first needed.
    pub connections_open: u64,
    /// How many of those are in use now.
    pub connections_used: u64,
    /// Reads that wait for a thread now.
    pub reads_waiting: u64,
    /// Reads whose turn did not come within `StoreOptions::busy_timeout` (`Timeout`).
    pub reads_late: u64,
    /// Reads that found too many waiting (`Overloaded`).
    pub reads_refused: u64,
    /// Writes that wait for the writer now.
    pub writes_waiting: u64,
    /// Writes whose turn did not come within `StoreOptions::busy_timeout` (`Timeout`).
    pub writes_late: u64,
    /// Writes that found too many waiting (`Overloaded`).
    pub writes_refused: u64,
}

impl Queues {
    /// The two together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            connections_max: self.connections_max + other.connections_max,
            connections_open: self.connections_open + other.connections_open,
            connections_used: self.connections_used + other.connections_used,
            reads_waiting: self.reads_waiting + other.reads_waiting,
            reads_late: self.reads_late + other.reads_late,
            reads_refused: self.reads_refused + other.reads_refused,
            writes_waiting: self.writes_waiting + other.writes_waiting,
            writes_late: self.writes_late + other.writes_late,
            writes_refused: self.writes_refused + other.writes_refused,
        }
    }
}

/// Those of one queue that were not served.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    late: AtomicU64,
    refused: AtomicU64,
}

impl Unserved {
    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were late, and how many were refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.late.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}
