//! The one error of larder: a kind to branch on, numbers to read, a source to follow.
//!
//! It is one word wide and cloning bumps a count, because every waiter of a failed load gets it.
//! **Invariant**: `Display` never repeats the source and never shows a key or a value.

use std::{borrow::Cow, fmt, sync::Arc};

/// Why an operation failed.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    subject: Option<String>,
    detail: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can branch on.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The configuration or the arguments are wrong; the same call will fail again.
    Config,
    /// Something named does not exist.
    NotFound,
    /// The origin or the store cannot be asked now; trying again may help.
    Unavailable,
    /// A bound on time ran out; trying again may help.
    Timeout,
    /// Somebody else holds what is needed (a lock, a claim); trying again may help.
    Conflict,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A limit on size or number was reached; the message names it.
    Limit,
    /// There is no room left where the data is kept.
    Full,
    /// What should be written may only be read.
    ReadOnly,
    /// The backend or the statement cannot do what was asked.
    Unsupported,
    /// The cache was closed.
    Closed,
    /// A load ended without saying what it depends on, in a region that is tracked.
    Untracked,
    /// The origin refused the statement; the same call will fail again.
    Origin,
    /// A loader panicked.
    Panicked,
    /// More loads run or wait than the cache allows; trying again may help.
    Overloaded,
    /// A load waits, through others, for itself; the message names the chain of regions.
    Cycle,
}

impl Error {
    /// An error of `kind` in `operation`, a verb as in "failed to {operation}".
    #[cold]
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Arc::new(Inner { kind, operation, subject: None, detail: "".into(), source: None }))
    }

    /// Names what the operation was about: an origin, a resource, a file.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.with(|inner| inner.subject = Some(subject.into()))
    }

    /// Says what was asked, what the limit is, and what to do.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.with(|inner| inner.detail = detail.into())
    }

    /// Adds the cause, reachable through `source()` only.
    #[must_use]
    pub fn source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            Err(shared) => Inner {
                kind: shared.kind,
                operation: shared.operation,
                subject: shared.subject.clone(),
                detail: shared.detail.clone(),
                source: shared.source.clone(),
            },
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// The kind, to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The verb of what failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What the operation was about, if that was said: an origin, a resource, a file.
    pub fn about(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// Whether the same call may succeed later without anything else changing.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::Conflict
                | ErrorKind::Overloaded
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        if let Some(subject) = &self.0.subject {
            write!(f, " {subject}")?;
        }
        if !self.0.detail.is_empty() {
            write!(f, ": {}", self.0.detail)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
