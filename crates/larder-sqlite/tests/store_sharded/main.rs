//! The SQLite store in several files: what is true of one is true of three.
//!
//! The bodies and the place are those of the tests `store`. Of this one's own:
//!
//! - `layout`: which files belong together, and what is said to whoever asks for others.
//! - `division`: limits, statistics, pages and bulk forms over all of them.
//! - `copies`: S16, S17: backups of several files, restored together or not at all.
//! - `resharding`: from one number of files to another, also when it is killed.
//! - `tracked`: what can be invalidated, when one file is not where the others are.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the bodies of one file ask for more of the place")]

mod copies;
mod division;
mod layout;
mod resharding;
mod tracked;

#[path = "../store/announcing.rs"]
mod announcing;
#[path = "../store/claiming.rs"]
mod claiming;
#[path = "../store/entries.rs"]
mod entries;
#[path = "../store/fences.rs"]
mod fences;
#[path = "../store/place.rs"]
mod place;
#[path = "../store/selecting.rs"]
mod selecting;
#[path = "../store/standings.rs"]
mod standings;
#[path = "../store/together.rs"]
mod together;

/// Files of each store.
pub const FILES: u32 = 3;
