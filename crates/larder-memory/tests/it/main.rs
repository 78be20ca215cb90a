//! The memory tier through its public API.
//!
//! - `entries`: what is stored, found, refused, removed and inspected.
//! - `deadlines`: what time does to an entry.
//! - `invalidation`: what changes do to it, with many dependents and after the sweeper is gone.
//! - `pending`: more invalidations at once than the list of pending ones holds.
//! - `soft`: what soft ones do to it.
//! - `reach`: who depends on something, counted and in pages.
//! - `links`: nothing is left behind when entries go.
//! - `model`: random operations against a map that knows the rules.
//! - `stress`: threads against each other; no hit after `invalidate` returned.
//! - `resident`: the process takes the memory that the limit says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "all of this is a test; its helpers are not marked as such"
)]

mod support;

mod holding;

mod entries;

mod whole;

mod deadlines;

mod invalidation;

mod pending;

mod soft;

mod reach;

mod links;

mod model;

mod resident;

mod stress;
