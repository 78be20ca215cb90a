//! Row tracking: the log, the triggers that write it, and what makes them complete.
//!
//! `trigger` writes the SQL for one table; [`plan`] decides which tables get which triggers;
//! `tracked` reads back what is installed; `order` says of which tables the log tells all in order.
//! **Invariant**: the triggers a table has are exactly those that would be planned for it today; if
//! not, the table is not tracked.

pub(crate) mod tracked;

pub(crate) mod trigger;

mod plan;

mod order;

pub use plan::{TrackPlan, TrackedAs, plan, plan_with, untrack_plan};
pub use trigger::LOGGED_MAX;
