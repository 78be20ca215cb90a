//! The history test: writer processes on a SQLite file against readers through the library.
//!
//! Rounds of writing alternate with things that befall the file, while readers never stop, and rows
//! that are in no file change beside them and are told of; then [`crate::history`] judges what
//! everybody noted. **Invariant**: what is noted as begun was noted
//! before it began, and what is noted as ended after it had, so that a slow machine makes the test
//! weaker and never wrong.

mod database;
mod ground;
mod kept;
mod node;
mod notebook;
pub mod program;
mod question;
mod readers;
mod run;
mod scene;
pub mod tables;
mod told;
mod writer;

pub use self::run::{Plan, Sight, Stage, run};

/// Whatever went wrong with the test itself.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What befalls the file between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Peace,
    /// A file with other rows takes its place.
    Replaced,
    /// A table is added.
    Altered,
    /// The table is rebuilt, and its triggers are gone with the old one.
    Rebuilt,
    /// The file is away for a moment.
    Away,
    /// The log of changes is emptied, so that the feed loses its place.
    LogLost,
    /// The file stays; one of the nodes is closed and built anew.
    Restarted,
}

impl Fate {
    /// Every fate; the one that takes the triggers away is the last.
    pub const ALL: [Self; 7] = [
        Self::Peace,
        Self::Replaced,
        Self::Altered,
        Self::Away,
        Self::LogLost,
        Self::Restarted,
        Self::Rebuilt,
    ];
}

/// How the file keeps its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log.
    Wal,
    /// Rollback journal.
    Delete,
}

/// How the origin tracks changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// By triggers, row by row.
    Rows,
    /// Any change drops everything.
    Database,
}

/// Whether nodes that keep a store take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// They are read, told of changes and built anew all the time, and the store is in so many
    /// files.
    Kept(u32),
    /// Nobody asks them anything, so that the others have the machine.
    Idle,
}
