//! What larder tests itself with; never part of a build for use.
//!
//! Reading order:
//!
//! 1. [`random`], [`temp`], [`wait`]: seeds, directories, and futures without a runtime.
//! 2. [`sim`]: an origin that misbehaves in every way that real ones were seen to, on command.
//! 3. [`mod@conformance`]: what every origin with a feed must do, run by each backend.
//! 4. [`history`]: the checker of what readers saw against what writers did.
//! 5. [`moments`]: the same for answers of cached tables, which must be of one moment.
//! 6. `trial`: the history tests themselves, over the libraries and SQLite (feature `history`).
//!
//! **Invariant**: nothing here sleeps, and every run can be repeated from the seed it printed.

pub mod random;

pub mod temp;

pub mod wait;

pub mod sim;

pub mod conformance;

pub mod history;

pub mod moments;

#[cfg(feature = "history")]
pub mod trial;
