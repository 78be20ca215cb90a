//! Where the server is in its life: serving, or about to stop.
//!
//! **Invariant**: it only moves forward.

use tokio::sync::watch;

/// Serving until told to stop.
#[derive(Debug, Default)]
pub struct Phase {
    stopping: watch::Sender<bool>,
}

impl Phase {
    /// From now on the server is about to stop, and says so to load balancers.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether it is about to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// For whoever has to end when the server is about to stop.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}
