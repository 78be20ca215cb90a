//! The checker of histories: what readers saw against what writers did.
//!
//! Pure: writers and readers only note what they did and when, and everything is judged afterwards.
//! So it cannot change the timing of what it judges, and it can be tested with histories made by
//! hand. **Invariant**: a run that did not take every way often enough is void, not good.

mod check;
mod index;
mod line;

#[cfg(test)]
mod tests;

pub use self::{check::check, line::BadLine};

use crate::conformance::Ask;

/// Microseconds on the machine's monotonic clock, which all processes of one machine share.
pub type Micros = u64;

/// A commit on a covered row this long before a read makes the read a close one.
pub const CLOSE: Micros = 5_000;

/// One row as one transaction left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The primary key.
    pub row: i64,
    /// Grows along the commits of this row; removing a row takes a version, too.
    pub version: u64,
    /// Where the row is afterwards; `None` when it is removed.
    pub bucket: Option<i64>,
    /// Before the transaction began.
    pub began: Micros,
    /// After its commit or rollback returned.
    pub ended: Micros,
    /// Whether it was committed.
    pub outcome: Outcome,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was committed.
    Committed,
    /// It was rolled back: nobody may ever see its rows.
    RolledBack,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What was asked.
    pub ask: Ask,
    /// The rows of the answer with their versions.
    pub seen: Vec<(i64, u64)>,
    /// Before the read began.
    pub began: Micros,
    /// After it returned.
    pub ended: Micros,
    /// Every commit acknowledged before this must be in a fresh answer: `began` less
    /// `max_staleness`, or later where the reader asked for at least something later.
    pub includes: Micros,
    /// How the answer came about.
    pub way: Way,
    /// What the answer says of itself.
    pub label: Label,
}

/// How an answer came about, or what had just happened to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// From memory.
    Hit,
    /// From a load of its own.
    Led,
    /// From a load that was running.
    Joined,
    /// From the load after one that was too old.
    SecondFlight,
    /// Served as stale, while it was loaded again behind.
    StaleWhileRevalidate,
    /// After waiting for a position.
    AtLeast,
    /// The first answers after the origin could be reached again.
    Reconnect,
    /// The first answers after the schema changed.
    SchemaChange,
    /// The first answers after another file was put in place.
    FileReplaced,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Led,
        Self::Joined,
        Self::SecondFlight,
        Self::StaleWhileRevalidate,
        Self::AtLeast,
        Self::Reconnect,
        Self::SchemaChange,
        Self::FileReplaced,
    ];
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// It is fresh.
    Fresh,
    /// It is stale, and says so; only what was never committed is wrong in it.
    Stale,
}

/// One load of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Before it began.
    pub began: Micros,
    /// After it ended.
    pub ended: Micros,
}

/// Everything that was noted.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What writers did, in any order.
    pub written: Vec<Written>,
    /// What readers saw, in any order.
    pub reads: Vec<Read>,
    /// The loads, in any order.
    pub loads: Vec<Loaded>,
}

/// What a run must have done to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimum {
    /// Reads in all.
    pub reads: u64,
    /// Reads that began within [`CLOSE`] after a commit on a row they cover.
    pub close_reads: u64,
    /// Loads that overlapped an open or committing write.
    pub overlapping_loads: u64,
    /// Reads by each of `ways`.
    pub each_way: u64,
    /// The ways that count.
    pub ways: Vec<Way>,
}

impl Minimum {
    /// What a full run must have done.
    pub fn full() -> Self {
        Self {
            reads: 1_000_000,
            close_reads: 100_000,
            overlapping_loads: 20_000,
            each_way: 1_000,
            ways: Way::ALL.to_vec(),
        }
    }

    /// The same for a run `times` smaller.
    #[must_use]
    pub fn smaller(self, times: u64) -> Self {
        let times = times.max(1);
        Self {
            reads: self.reads / times,
            close_reads: self.close_reads / times,
            overlapping_loads: self.overlapping_loads / times,
            each_way: (self.each_way / times).max(1),
            ways: self.ways,
        }
    }
}

/// Something a reader must not have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A fresh answer misses a commit that was acknowledged in time.
    Missed {
        /// The answer.
        read: Read,
        /// The commit.
        missed: Written,
    },
    /// An answer shows a row that no commit had made by then.
    Invented {
        /// The answer.
        read: Read,
        /// The row and the version in question.
        row: (i64, u64),
    },
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first violations; see `violated` for how many there were.
    pub violations: Vec<Violation>,
    /// Number of answers with a violation.
    pub violated: u64,
    /// Reads in all.
    pub reads: u64,
    /// Reads that began within [`CLOSE`] after a commit on a row they cover.
    pub close_reads: u64,
    /// Loads that overlapped an open or committing write.
    pub overlapping_loads: u64,
    /// Reads by each way.
    pub ways: Vec<(Way, u64)>,
}
