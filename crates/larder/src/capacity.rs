//! Capacity: how many loads run and wait at once.
//!
//! It stands apart from `flight` because it is shared by all regions. **Invariant**: no more than
//! `running` loads run; one more waits for a bounded time, in a queue of a bounded length, and a
//! load for which there is no place in it is refused at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Loads that run at once by default: enough for a pool of connections, few enough for an origin.
pub(crate) const DEFAULT_RUNNING: usize = 64;

/// Loads that wait for one of those by default.
pub(crate) const DEFAULT_WAITING: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Capacity {
    permits: Semaphore,
    running: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Capacity {
    pub(crate) fn new(running: usize, waiting_max: usize) -> Self {
        Self {
            permits: Semaphore::new(running),
            running,
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a turn, for `within` at most.
    ///
    /// A region gives its `load_timeout`: whoever would not wait longer than that for a load would
    /// not wait longer for one to begin. The loads in front have limits of their own, but those of
    /// other regions may be as long as anybody likes.
    ///
    /// # Errors
    /// `Overloaded` when as many wait as may, or when no turn came in time; `Closed` when the cache
    /// was closed.
    pub(crate) async fn turn(&self, within: Duration) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let place = Place::take(self)?;
        let permit = tokio::time::timeout(within, self.permits.acquire()).await;
        drop(place);
        match permit {
            Ok(permit) => permit.map_err(|_| closed()),
            Err(_) => Err(overloaded(format!(
                "no turn came within {within:?}, with {} loads running, which is the limit; try \
                 again later",
                self.running
            ))),
        }
    }

    /// Lets nobody begin any more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    /// Loads that run now.
    pub(crate) fn running(&self) -> usize {
        self.running.saturating_sub(self.permits.available_permits())
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a Capacity);

impl<'a> Place<'a> {
    fn take(capacity: &'a Capacity) -> Result<Self, Error> {
        let place = Self(capacity);
        if capacity.waiting_max <= capacity.waiting.fetch_add(1, Ordering::Relaxed) {
            return Err(overloaded(format!(
                "{} loads run and {} wait, which is the limit; try again later",
                capacity.running, capacity.waiting_max
            )));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded(detail: String) -> Error {
    Error::new(ErrorKind::Overloaded, "begin a load").detail(detail)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "begin a load").detail("the cache was closed")
}
