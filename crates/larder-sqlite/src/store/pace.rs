//! How long the write-ahead log may get, and who holds back so that it does not.
//!
//! Apart from the writer, who makes it longer, and the keeper, who copies it: what they tell each
//! other. **Invariant**: nobody waits here longer than [`HELD`] for one commit, and what is written
//! never depends on it.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long a commit is put off while the keeper copies the last of a log. With ten times less the
/// log grows as fast as it is copied, and whoever writes then waits for the flush of all of that;
/// with ten times more each write of that time is held up as long.
pub(crate) const HELD: Duration = Duration::from_millis(2);

pub(crate) struct Pace {
    /// Pages that the log should not have.
    limit: u64,
    is_long: AtomicBool,
    is_held: AtomicBool,
    /// Wakes the keeper.
    ring: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, is_long, is_held, ring: _ } = self;
        f.debug_struct("Pace")
            .field("limit", limit)
            .field("is_long", is_long)
            .field("is_held", is_held)
            .finish_non_exhaustive()
    }
}

impl Pace {
    /// Of a log that should have fewer than `limit` pages.
    pub(crate) fn new(limit: u64) -> Self {
        let is = || AtomicBool::new(false);
        Self { limit, is_long: is(), is_held: is(), ring: OnceLock::new() }
    }

    /// Pages that the log should not have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whom to wake when the log is too long.
    pub(crate) fn wakes(&self, ring: impl Fn() + Send + Sync + 'static) {
        self.ring.set(Box::new(ring)).ok();
    }

    /// The log has so many pages.
    pub(crate) fn saw(&self, pages: u64) {
        let is_news = self.limit <= pages && !self.is_long.swap(true, Ordering::SeqCst);
        if let (true, Some(ring)) = (is_news, self.ring.get()) {
            ring();
        }
    }

    /// Whether somebody saw that the log is too long, since it was begun anew.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::SeqCst)
    }

    /// The log is about to be copied: who sees it too long from now on says so again.
    pub(crate) fn is_seen_to(&self) {
        self.is_long.store(false, Ordering::SeqCst);
    }

    /// Whether commits are put off.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Puts commits off until what is returned is dropped.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.is_held.store(true, Ordering::Relaxed);
        Hold(self)
    }
}

/// While it lives, commits are put off.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Pace);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.is_held.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn the_keeper_is_woken_once_for_each_time_that_the_log_becomes_too_long() {
        let (pace, rung) = (Pace::new(10), Arc::new(Mutex::new(0)));
        let own = rung.clone();
        pace.wakes(move || *own.lock() += 1);
        pace.saw(9);
        assert!(!pace.is_long());
        pace.saw(10);
        pace.saw(11);
        assert!(pace.is_long());
        pace.is_seen_to();
        assert!(!pace.is_long());
        pace.saw(11);
        assert_eq!(*rung.lock(), 2);
    }
}
