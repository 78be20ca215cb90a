//! What the readers of one flight meet at.
//!
//! It stands apart from `flight.rs` because it is what a test exchanges: built with
//! `--cfg shuttle`, the tests of `flight/schedules.rs` get locks and counts that let shuttle choose
//! who goes on. **Invariant**: a normal build gets parking_lot and std by re-export and nothing
//! else.

#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::atomic::AtomicUsize;

#[cfg(not(all(test, shuttle)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(all(test, shuttle))]
pub(crate) use self::scheduled::{AtomicUsize, Mutex, MutexGuard};

#[cfg(all(test, shuttle))]
mod scheduled {
    use std::sync::PoisonError;

    pub(crate) use shuttle::sync::{MutexGuard, atomic::AtomicUsize};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
