//! The L1 tier of larder: values in this process, bounded in bytes, invalidated through exact
//! links.
//!
//! It stands apart from the library above it because nothing here is asynchronous, typed or about
//! loading: bytes of a key in, an `Arc` out. It stands apart from the eviction engine beneath it
//! (quick_cache, named in `engine.rs` only) because an engine knows neither time nor dependencies.
//!
//! How a hit decides in a handful of loads, whatever the entry depends on:
//!
//! 1. [`MemoryTier::get`] takes the entry's `Slot` from the engine: the value, and one word each of
//!    mark, gate, signature and deadline.
//! 2. *Pending*: does the slot's signature meet that of the invalidations still being carried out?
//!    Almost never; then it looks exactly.
//! 3. *Mark*: is the entry's word in the table of marks still the one it was filled under?
//!    Invalidating an entry bumps that word.
//! 4. *Gate*: is the life of its set of timelines the one it was filled under? An epoch restart
//!    bumps that, and with it drops everything stamped on the timeline in one step.
//! 5. *Deadline*: a coarse clock, made exact near the deadline.
//!
//! Reading order: `tier.rs` (the public type), `shared.rs` (fill, hit, invalidate, with the
//! numbered interleavings), `soft.rs` (the same for what ends freshness only), `whole.rs` (a hit
//! for another entry), then the parts: `chunks.rs`, `marks.rs`, `gates.rs`, `links.rs`,
//! `pending.rs`, `ledger.rs`, `engine.rs`, `sweeper.rs`, `reach.rs`, `causes.rs`, `weight.rs`, and
//! what they all meet at, `sync.rs`. `schedules.rs` runs them under chosen schedules.
//!
//! **Invariant**: once [`MemoryTier::invalidate`] or [`MemoryTier::shut`] has returned, no
//! [`MemoryTier::get`] that starts later hits an entry it touched.

mod tier;

mod entry;

mod shared;

mod soft;

mod whole;

mod chunks;

mod marks;

mod gates;

mod links;

mod pending;

mod ledger;

mod engine;

mod sweeper;

mod reach;

mod causes;

mod weight;

mod sync;

#[cfg(shuttle)]
#[cfg(test)]
mod schedules;

pub use entry::{
    Cause, Found, Inserted, Inspection, Invalidation, Knowledge, Lookup, MemoryLimit, MemoryStats,
    NewEntry, Whole,
};
pub use gates::Pass;
pub use reach::{Amount, Cursor, Dependent, Reach, Tally};
pub use tier::MemoryTier;
