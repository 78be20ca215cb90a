//! What threads meet at: locks, atomics, threads, and how much of each there is.
//!
//! It stands apart from the files that use it because it is the only one that chooses. A normal
//! build gets parking_lot and std by re-export, so that nothing is added. The tests of
//! `schedules.rs`, built with `--cfg shuttle`, get the same names over shuttle, which then decides
//! before every lock and every atomic access which thread goes on. **Invariant**: no other file of
//! this crate names a lock, an atomic type or a thread of parking_lot or std, or a schedule would
//! pass it by; `OnceLock` may be named where what it makes is made without waiting.

#[cfg(not(all(test, shuttle)))]
mod chosen {
    pub(crate) use std::{sync::atomic, thread};

    pub(crate) use parking_lot::{Condvar, Mutex, RwLock};

    /// `normal`: the second number is for schedules.
    pub(crate) const fn sized(normal: usize, _for_schedules: usize) -> usize {
        normal
    }
}

#[cfg(all(test, shuttle))]
#[path = "sync/scheduled.rs"]
mod chosen;

pub(crate) use chosen::{Condvar, Mutex, RwLock, atomic, sized, thread};
