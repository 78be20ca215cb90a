//! What a read can fail with: the loader's own error, a panic, or the cache's.
//!
//! The user's error type is kept whole and shared, never boxed away or turned into text.
//! **Invariant**: all waiters of one load get the same error.

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind};

/// Why a read did not give a value.
pub enum LoadError<E> {
    /// The loader answered with its own error; every waiter shares it.
    Load(Arc<E>),
    /// The loader panicked. The panic went no further and the key is not poisoned.
    Panicked,
    /// The cache could not do it: a bound on time or number, no dependency, closed.
    Cache(Error),
}

impl<E: Transient> LoadError<E> {
    /// Whether trying again later may help without anything else changing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Load(error) => error.is_transient(),
            Self::Panicked => false,
            Self::Cache(error) => error.is_retryable(),
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Load(error) => Self::Load(error.clone()),
            Self::Panicked => Self::Panicked,
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E> From<Error> for LoadError<E> {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

/// So that a loader whose own error is [`Error`] can hand on a nested one with `?`. The loader's
/// error is its source; whether it may pass is kept.
impl<E: Transient + std::error::Error + Send + Sync + 'static> From<LoadError<E>> for Error {
    fn from(error: LoadError<E>) -> Self {
        const NESTED: &str = "load a nested value";
        match &error {
            LoadError::Cache(own) => own.clone(),
            LoadError::Panicked => Self::new(ErrorKind::Panicked, NESTED),
            LoadError::Load(loader) => {
                let own = (&**loader as &dyn std::any::Any).downcast_ref::<Self>();
                own.cloned().unwrap_or_else(|| {
                    let may_pass = error.is_transient();
                    let kind = if may_pass { ErrorKind::Unavailable } else { ErrorKind::Origin };
                    Self::new(kind, NESTED).source(error.clone())
                })
            }
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => f.debug_tuple("Load").field(error).finish(),
            Self::Panicked => f.write_str("Panicked"),
            Self::Cache(error) => f.debug_tuple("Cache").field(error).finish(),
        }
    }
}

impl<E> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("load the value"),
            Self::Panicked => f.write_str("load the value: the loader panicked"),
            Self::Cache(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(error) => Some(&**error),
            Self::Panicked => None,
            Self::Cache(error) => error.source(),
        }
    }
}

/// Tells the errors that may pass from those that will not.
///
/// Only a transient error lets `stale_if_error` serve an older value: "not found" or "forbidden" is
/// an answer, and an old value in its place would be wrong.
pub trait Transient {
    /// Whether the same load may succeed later without anything else changing.
    fn is_transient(&self) -> bool;
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        self.is_retryable()
    }
}

impl Transient for std::convert::Infallible {
    fn is_transient(&self) -> bool {
        false
    }
}

impl Transient for std::io::Error {
    fn is_transient(&self) -> bool {
        use std::io::ErrorKind;
        matches!(
            self.kind(),
            ErrorKind::TimedOut
                | ErrorKind::Interrupted
                | ErrorKind::WouldBlock
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::ResourceBusy
        )
    }
}
