//! Slides: windows that move with the time, kept by the table itself.
//!
//! Apart from `adjust.rs`, which moves a window once: here is only when, and what becomes of a
//! step that fails. **Invariant**: whatever a step does, the next one comes; and none comes after
//! the handle is dropped.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use larder_core::{Clock, Error, ErrorKind, clock::WallMillis};
use tokio::{
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    index::IndexKey,
    ranges::Ranges,
    record::Record,
    stats::Counts,
    sync::Mutex,
    table::{Inner, Table},
};

/// A window that moves with the time, until this is dropped: [`Table::slide`].
#[must_use = "the window stands still when it is dropped"]
pub struct Slide {
    task: AbortHandle,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Slide {
    /// Why the last step that ended did not move the window; `None` when it did.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }
}

impl Drop for Slide {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Moves the window to what `window` says of the wall time that `clock` shows, now and then
    /// every `step`, as [`Table::adjust`] does: readers see the old window or the new one. Ends
    /// when the [`Slide`] is dropped, or all handles on the table are.
    ///
    /// A step that fails or panics leaves the window as it was, is counted
    /// ([`crate::TableStats::slides_failed`]) and told by [`Slide::failure`], and the next step
    /// goes to where the window is due then. Steps that come while another one is under way are
    /// left out.
    ///
    /// # Errors
    /// `Config` when `step` is zero.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Freshness
    /// The end of the window is behind the time by up to `step` and what a load takes, or as far
    /// ahead of it as `window` says. As with every adjust, what both windows cover is not loaded
    /// again: an origin that tells of no changes shows there what it had when it was loaded.
    pub fn slide(
        &self,
        clock: Clock,
        step: Duration,
        window: impl Fn(WallMillis) -> Ranges<W> + Send + Sync + 'static,
    ) -> Result<Slide, Error> {
        if step.is_zero() {
            return Err(Error::new(ErrorKind::Config, "slide the window of table")
                .subject(format!("`{}`", self.name()))
                .detail("the step is zero; give it the time that the window may be behind"));
        }
        let (table, failure) = (Arc::downgrade(&self.0), Arc::new(Mutex::new(None)));
        let window = move || window(clock.wall());
        let task = tokio::spawn(slide(table, step, window, failure.clone()));
        Ok(Slide { task: task.abort_handle(), failure })
    }
}

async fn slide<R: Record, W: IndexKey>(
    table: Weak<Inner<R, W>>,
    step: Duration,
    window: impl Fn() -> Ranges<W>,
    failure: Arc<Mutex<Option<Error>>>,
) {
    let mut steps = interval(step);
    steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        steps.tick().await;
        let Some(table) = table.upgrade().map(Table) else { return };
        let ended = unless_it_panics(async { table.adjust(window()).await.map(drop) }).await;
        let failed = ended.unwrap_or_else(|| Err(panicked(table.name()))).err();
        if failed.is_some() {
            Counts::add(&table.0.counts.slides_failed, 1);
        }
        *failure.lock() = failed;
    }
}

/// What `future` gives; `None` when it panics.
async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

#[cold]
fn panicked(table: &str) -> Error {
    Error::new(ErrorKind::Panicked, "slide the window of table")
        .subject(format!("`{table}`"))
        .detail("what says the window, a loader or an observer panicked")
}

impl fmt::Debug for Slide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slide").field("failure", &self.failure()).finish_non_exhaustive()
    }
}
