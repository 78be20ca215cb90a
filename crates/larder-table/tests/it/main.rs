//! Cached tables; one binary, so that it links once.
//!
//! - `origin`: an origin in this process, whose loads a test can stop
//! - `database`: a real SQLite database as other programs write it
//! - `reads`: what can be asked, and what it costs the origin
//! - `pages`: reads that go on where the last one stopped, while records come, go and move
//! - `windows`: windows of every kind
//! - `flights`: loads that reads share
//! - `slides`: windows that move with the time
//! - `slack`: reads that reach beyond the window
//! - `faults`: TD1-TD15 as the interleavings that showed them
//! - `model`: against the origin's truth, under random changes
//! - `told`: what a feed tells while a load is under way
//! - `kept`: what is saved and restored, by a feed in the hands of the test
//! - `kept_sqlite`: the same on a real SQLite database
//! - `follow`: tables that follow a real SQLite database
//! - `sql`: tables of a SELECT (feature `sqlite`)
//! - `sql_follow`: how they hear of changes
//! - `sql_rows`: rows that are put in their place without a query, under random statements
//! - `kept_sql`: how they begin with what was saved

#![expect(clippy::unwrap_used, reason = "what is unwrapped here is the test's own")]

mod origin;

mod database;

mod reads;
mod replica;

mod pages;

mod windows;

mod flights;

mod slides;

mod slack;

mod faults;

mod model;

mod told;

mod kept;

mod kept_sqlite;

mod follow;

#[cfg(feature = "sqlite")]
mod sql;

#[cfg(feature = "sqlite")]
mod sql_follow;

#[cfg(feature = "sqlite")]
mod sql_rows;

#[cfg(feature = "sqlite")]
mod kept_sql;
