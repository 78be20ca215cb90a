//! Building a cache: its memory, its clock, its feeds.
//!
//! The only place where the defaults of a cache stand. **Invariant**: a cache is bounded in bytes,
//! whatever its builder was told.

use std::{fmt, sync::Arc};

use larder_core::{
    Clock, Error, ErrorKind, Name,
    feed::{Doubt, Feed, FeedSink},
    history,
    store::{Follows, Store},
    timeline::APP,
};
use larder_memory::{MemoryLimit, MemoryTier};

use crate::{
    cache::{Cache, CacheInner},
    capacity::{self, Capacity},
    collected,
    journal::Journal,
    node::Node,
};

/// Builds a [`Cache`]. Made by [`Cache::builder`].
#[must_use = "a cache is made by `build`"]
pub struct CacheBuilder {
    memory: MemoryLimit,
    clock: Clock,
    feeds: Vec<Arc<dyn Feed>>,
    store: Option<Arc<dyn Store>>,
    loads_running: usize,
    loads_waiting: usize,
    changes_remembered: usize,
    max_dependencies: usize,
}

impl Default for CacheBuilder {
    fn default() -> Self {
        Self {
            memory: MemoryLimit::default(),
            clock: Clock::system(),
            feeds: Vec::new(),
            store: None,
            loads_running: capacity::DEFAULT_RUNNING,
            loads_waiting: capacity::DEFAULT_WAITING,
            changes_remembered: history::DEFAULT_CAPACITY,
            max_dependencies: collected::DEFAULT_DEPENDENCIES,
        }
    }
}

impl CacheBuilder {
    /// How much memory all regions together may take. Default 256 MiB.
    pub fn memory(mut self, limit: MemoryLimit) -> Self {
        self.memory = limit;
        self
    }

    /// Where the time comes from, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds an origin's feed: its timeline is known to the cache from now on.
    pub fn feed(mut self, feed: Arc<dyn Feed>) -> Self {
        self.feeds.push(feed);
        self
    }

    /// Where regions that are [stored] keep their values, beside memory.
    ///
    /// [stored]: crate::RegionBuilder::stored_as
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// How many loads may run at once (default 64) and wait for a turn (default 10 000); a read
    /// that would begin one more fails as `Overloaded`. A load that waits for what it reads in
    /// other regions counts among those that wait, and gives its turn to them meanwhile.
    ///
    /// Loads that loaders wait for have a queue of their own, which comes first and is as long but
    /// never under 10 000: so a loader may read that many others at once, however few may run.
    pub fn max_loads(mut self, running: usize, waiting: usize) -> Self {
        self.loads_running = running;
        self.loads_waiting = waiting;
        self
    }

    /// How many touched dependencies are remembered for each timeline. Default 1 M, at about 50
    /// bytes each once there were that many.
    pub fn changes_remembered(mut self, count: usize) -> Self {
        self.changes_remembered = count;
        self
    }

    /// How many dependencies one entry may have, inherited ones included. Default 10 000. An entry
    /// with more depends on whole tables instead, or on everything of a timeline: it then falls too
    /// often, never too seldom, and [`crate::Stats::widened`] counts it.
    pub fn max_dependencies(mut self, count: usize) -> Self {
        self.max_dependencies = count;
        self
    }

    /// Builds the cache and starts its feeds. Loads run on the tokio runtime this is called in,
    /// whichever one reads: it must live as long as the cache is read, and afterwards a read that
    /// needs a load fails as `Closed`.
    ///
    /// # Errors
    /// `Config` outside a tokio runtime, with two feeds of one name or one named `app`, or when no
    /// load may run or no dependency be had; and whatever a feed fails to start with.
    pub fn build(self) -> Result<Cache, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            refused("it needs a tokio runtime; call it inside one").source(error)
        })?;
        if self.loads_running == 0 {
            return Err(refused("0 loads may run; allow at least one"));
        }
        if self.max_dependencies == 0 {
            return Err(refused("an entry may have 0 dependencies; allow at least one"));
        }
        let mut names = vec![APP];
        for feed in &self.feeds {
            let name = &**feed.timeline();
            if names.contains(&name) {
                return Err(refused(format!("the timeline `{name}` is there twice")));
            }
            names.push(name);
        }
        let origins = self.feeds.iter().map(|feed| feed.timeline().clone());
        let tier = MemoryTier::new(self.memory, self.clock.clone());
        let names: Vec<Name> = self.feeds.iter().map(|feed| feed.timeline().clone()).collect();
        let moment = self.clock.now();
        let in_places = self.feeds.iter().all(|feed| feed.has_places());
        let follows = if in_places { Follows::Places } else { Follows::Positions };
        let attach = |store: &Arc<dyn Store>| store.attach(&names, follows);
        let (attached, unattached) = match self.store.as_ref().map(attach) {
            None => (None, None),
            Some(Ok(attached)) => (attached, None),
            Some(Err(error)) => {
                tracing::warn!(%error, "the store keeps nothing that is tracked");
                (None, Some(error))
            }
        };
        let mut node = Node::new(tier, self.clock, origins, self.changes_remembered);
        if let Some(attached) = &attached {
            node = node.with_store(attached, Journal::new(attached.tracked.clone()), moment);
        }
        let node = Arc::new(node);
        let capacity = Capacity::new(self.loads_running, self.loads_waiting);
        let inner =
            CacheInner::new(node.clone(), self.feeds, capacity, self.max_dependencies, runtime)
                .with_store(self.store, unattached);
        if let Some(journal) = node.journal() {
            inner.runtime.spawn(journal.clone().run(node.clone(), inner.feeds.clone()));
            inner.runtime.spawn(node.clone().follow());
        }
        let sink: Arc<dyn FeedSink> = node.clone();
        // Should one fail to start, dropping `inner` stops those that did.
        for feed in inner.feeds.iter() {
            let Some(attached) = &attached else {
                feed.start(sink.clone())?;
                continue;
            };
            let mut standings = attached.standings.iter();
            match standings.find(|own| own.timeline == *feed.timeline()) {
                Some(left) => feed.start_from(sink.clone(), &node.offer(left))?,
                None => {
                    // Nobody followed what was recorded there while the store had entries.
                    sink.records_lost(feed.timeline(), Doubt::Started);
                    feed.start(sink.clone())?;
                }
            }
        }
        Ok(Cache::new(inner))
    }
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, "build the cache").detail(why)
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("memory", &self.memory)
            .field("feeds", &self.feeds)
            .finish_non_exhaustive()
    }
}
