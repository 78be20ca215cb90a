//! What the threads and tasks of a table meet at.
//!
//! It stands apart from the files that use it because it is the only one that chooses. A normal
//! build gets parking_lot, arc-swap and tokio by re-export, so that nothing is added. The tests of
//! `schedules.rs`, built with `--cfg shuttle`, get the same names over shuttle, which then decides
//! before every lock and every look at what is published who goes on. **Invariant**: where a
//! schedule may come by, no other file of this crate names a lock, or what is published, of
//! parking_lot or arc-swap, nor begins a task or a timeout of tokio. None comes by files
//! (`save.rs`) and timers (`slide.rs`, `retired.rs`).

#[cfg(not(all(test, shuttle)))]
mod chosen {
    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use parking_lot::Mutex;
    pub(crate) use tokio::{spawn, task::AbortHandle, time::timeout};
}

#[cfg(all(test, shuttle))]
#[path = "sync/scheduled.rs"]
mod chosen;

pub(crate) use chosen::{AbortHandle, ArcSwap, Mutex, spawn, timeout};
