//! Where the server is in its life: serving, or about to stop.
//!
//! **Invariant**: it only moves forward.

use std::sync::atomic::{AtomicBool, Ordering};

/// Serving until told to stop.
#[derive(Debug, Default)]
pub struct Phase {
    stopping: AtomicBool,
}

impl Phase {
    /// From now on the server is about to stop, and says so to load balancers.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether it is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
