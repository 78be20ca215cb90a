//! The faces of parking_lot, arc-swap and tokio over shuttle, for the tests that choose schedules.
//!
//! It stands apart from `sync.rs` so that a normal build does not even parse it. tokio's own locks
//! and channels are taken as they are: they need no runtime, and each of their steps is one of
//! shuttle's, because it follows a lock or a look at what is published. **Invariant**: nothing here
//! waits but in shuttle, and no time is ever over.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use shuttle::sync::MutexGuard;

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

pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        self.0.lock().clone()
    }

    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        mem::replace(&mut *self.0.lock(), value)
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        drop(self.swap(value));
    }
}

/// There are none.
pub(crate) enum Elapsed {}

pub(crate) async fn timeout<F: Future>(
    _at_most: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    Ok(future.await)
}

/// How far a task is. No schedule comes between two looks at it.
#[derive(Default)]
struct Progress {
    is_aborted: bool,
    is_finished: bool,
    waker: Option<Waker>,
}

/// Ends a task at its next step.
#[derive(Clone)]
pub(crate) struct AbortHandle(Arc<std::sync::Mutex<Progress>>);

impl AbortHandle {
    pub(crate) fn abort(&self) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.is_aborted = true;
        if let Some(waker) = progress.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_finished
    }

    /// So that a task is asked for one as that of tokio is.
    pub(crate) fn abort_handle(&self) -> Self {
        self.clone()
    }
}

/// A future, until it is aborted.
struct Task<F> {
    future: Option<Pin<Box<F>>>,
    handle: AbortHandle,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle.clone();
        let is_aborted = {
            let mut progress = handle.0.lock().unwrap_or_else(PoisonError::into_inner);
            progress.waker = Some(context.waker().clone());
            progress.is_aborted
        };
        let future = self.future.as_mut().filter(|_| !is_aborted);
        if future.is_some_and(|future| future.as_mut().poll(context).is_pending()) {
            return Poll::Pending;
        }
        self.future = None;
        handle.0.lock().unwrap_or_else(PoisonError::into_inner).is_finished = true;
        Poll::Ready(())
    }
}

pub(crate) fn spawn<F>(future: F) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let handle = AbortHandle(Arc::default());
    let task = Task { future: Some(Box::pin(future)), handle: handle.clone() };
    // Dropped, it would let the execution end without the task.
    mem::forget(shuttle::future::spawn(task));
    handle
}
