//! SQLite as an origin, as a feed and as a store: read-only loads, word of every change, and
//! entries in a file of their own.
//!
//! Reading order:
//!
//! 1. [`origin`]: what a caller opens, with its options; [`statement`]: what it asks.
//! 2. `reader`: the threads that answer, each over its own connection and its own snapshot;
//!    `stream` and `row`: what is handed over while it is read; `result_shape`: how it compares.
//! 3. [`feed`], `bell` and `watcher`: how a change is noticed; `header` and `identity`: the two
//!    cheap looks at the file that decide whether to ask SQLite at all.
//! 4. `log` and [`track`]: the change log, the triggers that write it, and what makes them
//!    complete.
//! 5. [`outbox`]: what the application itself writes into that log.
//! 6. [`analysis`]: what a statement depends on, derived from its text.
//!
//! 6. [`store`]: what outlives the process. It shares nothing with the rest but errors.
//!
//! **Invariant**: nothing here writes to the origin's database, except [`track`] when it is told
//! to.

pub mod origin;

pub mod statement;

mod reader;

mod stream;

mod row;

mod result_shape;

pub mod feed;

mod bell;

mod watcher;

mod knowledge;

mod header;

mod identity;

mod log;

mod mark;

pub mod track;

pub mod outbox;

pub mod analysis;

pub mod store;

mod connection;

mod error;

pub use knowledge::UNWATCHED;
pub use origin::{Notice, NoticeLevel, OriginOptions, SqliteOrigin, Track};
pub use result_shape::{ResultColumn, ResultShape};
pub use row::{Cell, FromCell, SqlRow};
pub use statement::{Param, ParamKind, Query, Rows, Statement};
pub use stream::{Part, Stream};

/// The version of the SQLite that is linked, as `3054001` for 3.54.1.
pub fn linked_version() -> i32 {
    rusqlite::version_number()
}
