//! Freshness: what may be done with an entry now, as a function of its deadlines and the time.
//!
//! Whether an entry is *valid* (nothing it depends on changed) is decided elsewhere; this is only
//! about time. **Invariant**: a deadline is fixed when the value is stored and nothing but storing
//! a new value moves it later (X3, KD7); a soft invalidation moves it to now, never later.

use std::time::Duration;

use crate::{
    clock::Moment,
    error::{Error, ErrorKind},
};

/// How long values of a region live and what may be served after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a value is fresh; `None` says "never expires", which must be asked for by name.
    pub ttl: Option<Duration>,
    /// How long after its TTL a value may be served while it is being loaded again.
    pub stale_while_revalidate: Duration,
    /// How long after its TTL a value may be served when loading it again failed for a while.
    pub stale_if_error: Duration,
    /// How old this node's knowledge of a timeline may be for a value to count as fresh. Zero asks
    /// the origin before every read.
    pub max_staleness: Duration,
}

/// Knowledge of a timeline older than this does not make a value fresh.
pub const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(1);

impl Policy {
    /// A policy with the given TTL and nothing served after it.
    ///
    /// # Errors
    /// `Config` when the TTL is under a millisecond: a value that is dead at once is a mistake
    /// (X4), and below a microsecond the clock could not tell the deadline from the store.
    pub fn new(ttl: Option<Duration>) -> Result<Self, Error> {
        if ttl.is_some_and(|ttl| ttl < Duration::from_millis(1)) {
            return Err(Error::new(ErrorKind::Config, "set a ttl")
                .detail("it would expire at once; give at least one millisecond, or say `never`"));
        }
        Ok(Self {
            ttl,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_staleness: DEFAULT_MAX_STALENESS,
        })
    }

    /// The deadlines of a value stored at `now`, none of them later than `cap`.
    pub fn deadlines(&self, now: Moment, cap: Moment) -> Deadlines {
        let fresh_until = self.ttl.map_or(Moment::NEVER, |ttl| now.plus(ttl)).min(cap);
        Deadlines {
            stored: now,
            fresh_until,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
        }
    }
}

/// The moments at which the treatment of an entry changes, fixed when it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// When the value was stored.
    pub stored: Moment,
    /// Fresh before this.
    pub fresh_until: Moment,
    /// How long after that it may be served while it is loaded again.
    pub stale_while_revalidate: Duration,
    /// How long after that it may be served when loading it again failed.
    pub stale_if_error: Duration,
}

impl Deadlines {
    /// From here on the entry is of no use to anybody.
    pub fn gone_at(&self) -> Moment {
        self.fresh_until.plus(self.stale_while_revalidate.max(self.stale_if_error))
    }

    /// The deadlines of the entry if its freshness ends at `now`, for it was invalidated softly;
    /// `None` where nothing may be served while it is loaded again.
    #[must_use]
    pub fn softened(self, now: Moment) -> Option<Self> {
        (self.stale_while_revalidate != Duration::ZERO)
            .then(|| Self { fresh_until: self.fresh_until.min(now), ..self })
    }

    /// What may be done with the entry at `now`; it is dead when `deadline <= now` (X2).
    pub fn state(&self, now: Moment) -> State {
        if now < self.fresh_until {
            State::Fresh
        } else if now < self.fresh_until.plus(self.stale_while_revalidate) {
            State::Revalidate
        } else if now < self.fresh_until.plus(self.stale_if_error) {
            State::OnError
        } else {
            State::Expired
        }
    }
}

/// What may be done with a valid entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Serve it.
    Fresh,
    /// Serve it as stale and load it again behind.
    Revalidate,
    /// Load it; if that fails for a while, serve it as stale.
    OnError,
    /// Load it.
    Expired,
}
