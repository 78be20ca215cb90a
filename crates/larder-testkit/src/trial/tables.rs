//! The history test of cached tables: writers on a SQLite file against readers of a table over it.
//!
//! Beside the history test of entries, with the same database, writer processes and notes; what
//! everybody noted is judged by [`crate::moments`]. While eight read and eight write, the window
//! moves, is loaded again, and the feed loses its place. **Invariant**: a run in which some way to
//! read, or something that is done to a table, did not come often enough is void, not good.

mod ground;
mod lagging;
mod movers;
mod readers;
mod run;
mod tellers;
mod view;

use std::time::Duration;

pub use self::run::{Minimum, Plan, Report, run};

/// How a table comes to know of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// A feed tells of rows that are records; every read asks it first.
    Records,
    /// The same, and reads ask it only when they know too little.
    Lax,
    /// The same, and it tells of them before loads can see them.
    Late,
    /// As `Records`, and of some rows it cannot be told which record they are.
    Unsaid,
    /// A feed tells of rows that touch joined records, before loads can see them.
    Joined,
    /// Whoever writes tells of it.
    ByHand,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 6] =
        [Self::Records, Self::Lax, Self::Late, Self::Unsaid, Self::Joined, Self::ByHand];

    /// How old what a read knows may be.
    fn max_staleness(self) -> Duration {
        match self {
            Self::Lax => Duration::from_millis(20),
            // Long enough for much to be told of that no load can see.
            Self::Late | Self::Joined => Duration::from_millis(50),
            Self::Records | Self::Unsaid | Self::ByHand => Duration::ZERO,
        }
    }

    fn has_feed(self) -> bool {
        self != Self::ByHand
    }

    /// Whether an answer from the window is of one moment; else each of its records is: of what a
    /// commit changed nobody knows before it is told by hand.
    fn is_whole(self) -> bool {
        self.has_feed()
    }
}

/// How a table was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A range within the window.
    Within,
    /// By another index, within a range of the window's.
    TwoIndexes,
    /// One record.
    Key,
    /// A range partly outside of the window, the rest of it loaded.
    Missing,
    /// A range partly outside of the window, all of it loaded.
    All,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 5] =
        [Self::Within, Self::TwoIndexes, Self::Key, Self::Missing, Self::All];
}

/// What was done to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A read outside of the window was refused.
    Refused,
    /// The window was moved.
    Adjusted,
    /// Everything in a window was loaded again.
    Reloaded,
    /// What was invalidated was loaded again without a read.
    Refreshed,
    /// The feed lost its place.
    Doubted,
    /// Records were invalidated by primary key.
    ToldByKey,
    /// Records were invalidated by another index.
    ToldByIndex,
    /// Records were invalidated by two indexes.
    ToldByBoth,
    /// Records were invalidated, and served until they were loaded again.
    Served,
}

impl Deed {
    /// What is to be done in a case.
    fn of(case: Case) -> &'static [Self] {
        const FED: &[Deed] =
            &[Deed::Refused, Deed::Adjusted, Deed::Reloaded, Deed::Refreshed, Deed::Doubted];
        const TOLD: &[Deed] = &[
            Deed::Refused,
            Deed::Adjusted,
            Deed::Reloaded,
            Deed::Refreshed,
            Deed::ToldByKey,
            Deed::ToldByIndex,
            Deed::ToldByBoth,
            Deed::Served,
        ];
        if case.has_feed() { FED } else { TOLD }
    }
}
