//! The checker of histories: what readers saw against what writers did.
//!
//! Pure: writers and readers only note what they did and when, and everything is judged afterwards.
//! So it cannot change the timing of what it judges, and it can be tested with histories made by
//! hand. **Invariant**: a run that did not take every way often enough is void, not good.

mod ask;
mod check;
mod index;
mod line;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::{
    ask::{Answer, Ask, Kind, Order, Part, TOLD},
    check::check,
    line::BadLine,
};

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
    /// It was committed, and told of as a soft invalidation: what is called stale may lack it.
    Softened,
    /// It was rolled back: nobody may ever see its rows.
    RolledBack,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What kind of entry was asked.
    pub kind: Kind,
    /// The rows with their versions, entry by entry of those it was built from.
    pub parts: Answer,
    /// Before the read began.
    pub began: Micros,
    /// After it returned.
    pub ended: Micros,
    /// Every commit to the origin acknowledged before this must be in a fresh answer: `began` less
    /// `max_staleness`, or later where the reader asked for at least something later.
    pub includes_origin: Micros,
    /// The same for changes of which this process was told; it knows them at once.
    pub includes_told: Micros,
    /// How the answer came about.
    pub way: Way,
    /// What the answer says of itself.
    pub label: Label,
}

/// How an answer came about, or what had just happened to the origin.
///
/// Every writer that may come late has its way here. A new one needs its line, one in [`Way::ALL`],
/// and an arm where the readers translate what an answer says of its source; without the arm the
/// test fails instead of passing it over.
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
    /// Served as stale after a soft invalidation.
    Softened,
    /// Built from an entry that was stale.
    BuiltOnStale,
    /// From memory, where a refresh behind a stale answer had put it.
    Refreshed,
    /// From memory, where a rewarm after an invalidation had put it.
    Rewarmed,
    /// From memory, where a value was put that had been computed by hand.
    ByHand,
    /// From the store, for a node that has no room for it in memory or dropped it there.
    Promoted,
    /// From the store, for a node that was built anew over it a moment ago, beside the writers.
    RestartedOverStore,
    /// From memory or from the store, of rows that another cache on the same file is told of.
    Neighbour,
    /// After waiting for a position.
    AtLeast,
    /// The first answers after the origin could be reached again.
    Reconnect,
    /// The first answers after the schema changed.
    SchemaChange,
    /// The first answers after another file was put in place.
    FileReplaced,
    /// The first answers after the feed lost its place in the log.
    Doubted,
    /// The first answers of a node that was closed and built anew, and the last of the closed one.
    Restarted,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 19] = [
        Self::Hit,
        Self::Led,
        Self::Joined,
        Self::SecondFlight,
        Self::StaleWhileRevalidate,
        Self::Softened,
        Self::BuiltOnStale,
        Self::Refreshed,
        Self::Rewarmed,
        Self::ByHand,
        Self::Promoted,
        Self::RestartedOverStore,
        Self::Neighbour,
        Self::AtLeast,
        Self::Reconnect,
        Self::SchemaChange,
        Self::FileReplaced,
        Self::Doubted,
        Self::Restarted,
    ];
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// It is fresh.
    Fresh,
    /// It is past its time or softened, and says so: what was invalidated is not in it even so.
    Stale,
    /// It says that nobody can tell how old it is; only what was never committed is wrong in it.
    Unproven,
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
    /// Reads of each of `kinds`.
    pub each_kind: u64,
    /// The kinds that count.
    pub kinds: Vec<Kind>,
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
            each_kind: 10_000,
            kinds: Kind::ALL.to_vec(),
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
            each_kind: (self.each_kind / times).max(1),
            ..self
        }
    }
}

/// Something a reader must not have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An answer misses a commit that was acknowledged in time.
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
    /// The same, by kind and way.
    pub violated_in: BTreeMap<(Kind, Way), u64>,
    /// Reads in all.
    pub reads: u64,
    /// Reads that began within [`CLOSE`] after a commit on a row they cover.
    pub close_reads: u64,
    /// Loads that overlapped an open or committing write.
    pub overlapping_loads: u64,
    /// Reads by kind and way.
    pub taken: BTreeMap<(Kind, Way), u64>,
}
