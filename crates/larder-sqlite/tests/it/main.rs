//! The SQLite origin and feed against real files.
//!
//! - `place`: a database in a directory of its own, a sink that remembers, a writer in another
//!   process.
//! - `load`: statements, limits, deadlines, errors.
//! - `stream`: rows that are handed over while they are read.
//! - `database`: `database` mode in both journals.
//! - `rows`: `rows` mode: the log, its triggers, and what happens when they go.
//! - `cut`: deleting from the log.
//! - `outbox`: invalidations that are committed with the data.
//! - `resume`: going on where an earlier feed left.
//! - `complete`: every way to change a row, against the triggers that must see it.
//! - `conformance`: what every origin with a feed must do.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod complete;
mod conformance;
mod cut;
mod database;
mod load;
mod outbox;
mod place;
mod resume;
mod rows;
mod stream;
