//! The feed that a table follows, and how old its knowledge may be.
//!
//! Apart from the sink, where the feed delivers: this is what the table holds of it. **Invariant**:
//! the feed is stopped when the table has gone, and not on the thread that let go of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_core::{Clock, Error, Moment, Name, dependency::Dependency, feed::Feed};

/// Who sees to it that every change of the tables that rules speak of is told.
#[derive(Clone, Debug)]
pub(super) enum Hearing {
    /// The feed: it watches each of them wholly, or the table is not loaded.
    Expected,
    /// The origin, which knows what was read of them, and has the feed tell what is not watched.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only that origin does"))]
    OfOrigin {
        /// By this name the feed tells of everything that is not watched.
        unwatched: Arc<str>,
        /// Whether a load has read some of that in this life of the timeline.
        is_read: Arc<AtomicBool>,
    },
}

impl Hearing {
    /// A life begins in which other things may be watched, and in which all is loaded again: each
    /// load says anew what it reads. To be called before anybody can see that all is in doubt.
    pub(super) fn begin(&self) {
        if let Self::OfOrigin { is_read, .. } = self {
            is_read.store(false, Ordering::SeqCst);
        }
    }
}

/// The feed that a table follows.
pub(crate) struct Followed {
    pub(super) feed: Arc<dyn Feed>,
    /// Those that the rules speak of.
    pub(super) tables: Vec<Arc<str>>,
    pub(super) said: Vec<Arc<str>>,
    pub(super) hearing: Hearing,
    pub(super) proven: Arc<AtomicU64>,
    pub(super) clock: Clock,
    pub(super) max_staleness: Duration,
    /// Whether it is the owner of a table, of which this one is a replica.
    pub(super) is_owner: bool,
}

impl Followed {
    /// The owner of a table, which is asked as a feed is, and counts its own proofs in `proven`.
    pub(crate) fn owner(
        feed: Arc<dyn Feed>,
        proven: Arc<AtomicU64>,
        clock: Clock,
        max_staleness: Duration,
    ) -> Self {
        let (tables, said, hearing) = (Vec::new(), Vec::new(), Hearing::Expected);
        Self { feed, tables, said, hearing, proven, clock, max_staleness, is_owner: true }
    }

    /// The owner, of whose table this one is a replica.
    pub(crate) fn as_owner(&self) -> Option<&Name> {
        self.is_owner.then(|| self.feed.timeline())
    }

    /// Whether what is shown is that of an owner of which nothing is proven any more.
    pub(crate) fn is_unproven(&self) -> bool {
        self.is_owner && self.proven.load(Ordering::Acquire) == Moment::EARLIEST.as_micros()
    }

    pub(crate) fn timeline(&self) -> &Name {
        self.feed.timeline()
    }

    /// Each of the rules in words.
    pub(crate) fn said(&self) -> &[Arc<str>] {
        &self.said
    }

    /// Every row that the rules speak of.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = Dependency> {
        let all = |table: &Arc<str>| Dependency::table(self.timeline().clone(), table.clone());
        self.tables.iter().map(all)
    }

    /// What the feed touches when something changed that it does not watch, where the origin sees
    /// to that.
    pub(crate) fn unwatched(&self) -> Option<Dependency> {
        match &self.hearing {
            Hearing::Expected => None,
            Hearing::OfOrigin { unwatched, .. } => {
                Some(Dependency::table(self.timeline().clone(), unwatched.clone()))
            }
        }
    }

    /// Asks the feed, unless what is known of the origin is young enough.
    pub(crate) async fn prove(&self) -> Result<(), Error> {
        let proven = Moment::from_micros(self.proven.load(Ordering::Acquire));
        match self.clock.reached(proven.plus(self.max_staleness), self.clock.coarse()) {
            true => self.catch_up().await,
            false => Ok(()),
        }
    }

    /// Asks the feed.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        self.feed.catch_up().await
    }
}

/// Not on this thread: it may be the feed's own, if that had the last handle on the table.
impl Drop for Followed {
    fn drop(&mut self) {
        let feed = self.feed.clone();
        std::thread::spawn(move || feed.stop());
    }
}
