//! The loader: the code that fetches a value, and the run of it that nothing can break out of.
//!
//! **Invariant**: a loader that panics or never ends leaves a typed error behind, never a hung
//! waiter or a poisoned key.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use larder_core::{BoxFuture, Error, ErrorKind};

use crate::{error::LoadError, load::Load};

/// A loader with its types erased to those of the region.
pub(crate) type SharedLoader<K, V, E> =
    Arc<dyn Fn(K, Load) -> BoxFuture<'static, Result<V, E>> + Send + Sync>;

/// Runs `load` to its end, its panic or `timeout`.
pub(crate) async fn run<V, E>(
    load: impl Future<Output = Result<V, E>>,
    timeout: Duration,
) -> Result<V, LoadError<E>> {
    match tokio::time::timeout(timeout, unpanicked(load)).await {
        Ok(Ok(result)) => result.map_err(|error| LoadError::Load(Arc::new(error))),
        Ok(Err(Panicked)) => Err(LoadError::Panicked),
        Err(_) => Err(LoadError::Cache(Error::new(ErrorKind::Timeout, "load the value").detail(
            format!("the load took longer than its limit of {timeout:?}; raise `load_timeout`"),
        ))),
    }
}

struct Panicked;

/// Polls `future`, turning a panic into an error.
///
/// The future is dropped after a panic and never polled again, so nothing can see it half-done.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
