//! The public behaviour of the library, one file for each subject; one binary, so that it links
//! once.
//!
//! - `gate`: a loader that stops where a test wants it to
//! - `flight`: one load for many readers, and who may take its result
//! - `foreign`: code of the user that panics, or comes back, at the worst moment
//! - `runtime`: caches that outlive the runtime of their loads
//! - `freshness`: deadlines, stale answers, pauses after errors
//! - `invalidation`: explicit changes, by every late writer
//! - `invalidating`: many things in one step, looked at and limited before it is taken
//! - `ranges`: stretches of a column, and the first rows of an order
//! - `changed`: rows that the application tells of
//! - `soft`: invalidations that leave stale values behind
//! - `rewarm`: what fell and was read often is loaded again
//! - `events`: what subscribers are told, and what they missed
//! - `region`: building, untracked values, null, explain, limits
//! - `l2`: values that outlive the process, in a store (features `sqlite` and `store`)
//! - `l2_tracked`: the same for what can be invalidated: restarts, kills, restores
//! - `claimed`: loads that are single across caches and processes on one store
//! - `stored`: values in bytes that name nothing (features `derive`, `sqlite` and `positional`)
//! - `shared`: tracked values and invalidations of caches and processes on one store
//! - `shared_feed`: the same for what depends on an origin, with its feed in each of them
//! - `killed`: processes that invalidate, killed at random moments
//! - `peer`: this program once more, as another process (features `sqlite` and `store`)
//! - `shop`: the database, the store and the nodes of these
//! - `origin`: a cache over an origin with a feed
//! - `named`: rows that a loader read by its own means (feature `sqlite`)
//! - `outbox`: invalidations committed with the data (feature `sqlite`)
//! - `nested`: entries that are built from entries
//! - `waits`: loads that wait for loads, circles and turns
//! - `doll`: random entries in entries against random changes
//! - `matroska`: what matroska-cache promised and got wrong, where no other file has it
//! - `table`: entries that are built from cached tables (features `sqlite` and `table`)
//! - `tracked`: row types that say what they are (feature `derive`)

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

/// The settings of every store here. The binary `files` has others.
#[cfg(all(feature = "sqlite", feature = "store"))]
fn options() -> larder::sqlite::store::StoreOptions {
    larder::sqlite::store::StoreOptions::new()
}

mod flight;

mod foreign;

mod runtime;

mod freshness;

mod gate;

mod invalidation;

mod invalidating;

mod changed;

mod soft;

mod ranges;

mod rewarm;

mod events;

mod origin;

#[cfg(all(feature = "sqlite", feature = "table"))]
mod table;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod l2;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod l2_tracked;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod l2_feed;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod claimed;

#[cfg(all(feature = "derive", feature = "sqlite", feature = "positional"))]
mod stored;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod shared;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod killed;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod peer;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod shop;

#[cfg(all(feature = "sqlite", feature = "store"))]
mod shared_feed;

#[cfg(feature = "sqlite")]
mod outbox;

#[cfg(feature = "sqlite")]
mod named;

mod nested;

mod waits;

mod doll;

mod region;

mod matroska;

#[cfg(feature = "derive")]
mod tracked;
