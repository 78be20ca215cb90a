//! What a read gave, and how it came about.
//!
//! **Invariant**: a value that is not fresh is never without a [`Source`] that says so.

use std::{fmt, sync::Arc, time::Duration};

/// A value and where it came from.
pub struct Fetched<V> {
    /// The value; cloning shares it.
    pub value: Arc<V>,
    /// How this read came by it.
    pub source: Source,
    /// Whether it is in memory for the next read.
    pub kept: Kept,
    /// How long ago it was stored; zero for one just loaded.
    pub age: Duration,
    /// How long it stays fresh if nothing changes; `None` for one that never expires.
    pub ttl_left: Option<Duration>,
    /// How long its freshness has been over, by time or by a soft invalidation; zero while it is
    /// fresh.
    pub past_ttl: Duration,
}

impl<V> Clone for Fetched<V> {
    fn clone(&self) -> Self {
        let Self { value, source, kept, age, ttl_left, past_ttl } = self;
        let (source, kept, age) = (*source, *kept, *age);
        let (ttl_left, past_ttl) = (*ttl_left, *past_ttl);
        Self { value: value.clone(), source, kept, age, ttl_left, past_ttl }
    }
}

/// Does not show the value: it may be large or private.
impl<V> fmt::Debug for Fetched<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("source", &self.source)
            .field("age", &self.age)
            .field("ttl_left", &self.ttl_left)
            .finish_non_exhaustive()
    }
}

/// Whether a value was put into memory, or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// It is there for the next read.
    InMemory,
    /// It is not: something it depends on changed meanwhile, or it is too large, or the origin
    /// could not be asked whether it is still right.
    Not,
}

/// How a read came by its value.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Fresh, from memory.
    Hit,
    /// Fresh, from the store.
    Store,
    /// Loaded by this read.
    Loaded,
    /// Loaded by another read that was already under way.
    Joined,
    /// Loaded by the flight after the running one, which began before something this read knows of.
    SecondFlight,
    /// Past its TTL, served while it is loaded again.
    StaleWhileRevalidate,
    /// Past its TTL, or not proven fresh, served because loading it again failed.
    StaleOnError,
    /// Loaded just now, but the origin keeps a change from loads that this node has heard of.
    Unproven,
    /// Loaded just now, from another entry that was served past its TTL.
    BuiltOnStale,
}

impl Source {
    /// Whether the value was in memory.
    pub fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::StaleWhileRevalidate | Self::StaleOnError)
    }

    /// Whether the value is not promised to be fresh.
    pub fn is_stale(self) -> bool {
        matches!(
            self,
            Self::StaleWhileRevalidate | Self::StaleOnError | Self::Unproven | Self::BuiltOnStale
        )
    }
}
