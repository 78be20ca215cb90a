//! The cache: the handle that holds regions, takes invalidations and tells how it is.
//!
//! **Invariant**: when [`Cache::invalidate`] returns, no reader of this cache gets as fresh a value
//! that was loaded without the change.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use larder_core::{
    Dependency, Epoch, Error, ErrorKind, Invalidation, Key, Mode, Name, Position, Stamps, Weigh,
    feed::{Doubt, Feed},
    store::{Claims, Standing, Store},
    timeline::APP,
    token::Token,
};

use crate::{
    builder::CacheBuilder,
    capacity::Capacity,
    events::Subscription,
    heat::Heat,
    invalidation::{Invalidated, Invalidating},
    l2,
    node::SharedNode,
    origins::Dispute,
    preview::{self, Dependents, Page},
    region_builder::{RegionBuilder, own_weight},
    regions::Regions,
    stats::Stats,
};

/// A cache. Cloning shares it; dropping the last handle stops its feeds without waiting for loads.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<CacheInner>,
}

pub(crate) struct CacheInner {
    pub(crate) node: SharedNode,
    pub(crate) feeds: Arc<[Arc<dyn Feed>]>,
    pub(crate) capacity: Arc<Capacity>,
    /// Dependencies of one entry.
    pub(crate) max_dependencies: usize,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) regions: Regions,
    pub(crate) heat: Heat,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) claims: Option<Arc<dyn Claims>>,
    /// Flights that wait for another process.
    pub(crate) waiting_for_claims: AtomicUsize,
    /// Why the store keeps nothing that is tracked, if it does not.
    pub(crate) unattached: Option<Error>,
}

/// How a cache is.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Status {
    /// Entries in memory.
    pub entries: u64,
    /// Bytes they count.
    pub bytes: u64,
    /// Bytes they may count.
    pub limit_bytes: u64,
    /// Links from dependencies to entries.
    pub links: u64,
    /// Ranges that entries or running loads depend on.
    pub ranges: usize,
    /// Entries dropped for lack of room.
    pub evictions: u64,
    /// Entries that fell because something they depend on changed.
    pub invalidated: u64,
    /// Entries that a soft invalidation made stale.
    pub softened: u64,
    /// Loads that run now.
    pub loads_running: usize,
    /// What is known of each timeline.
    pub timelines: Vec<TimelineStatus>,
}

/// What is known of one timeline.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct TimelineStatus {
    /// Its name.
    pub name: Name,
    /// Its current life.
    pub epoch: Epoch,
    /// Received and applied up to here.
    pub applied: Position,
    /// Visible to loads up to here.
    pub confirmed: Position,
    /// How long ago everything was known; `None` before the first time.
    pub proven_age: Option<Duration>,
    /// Why the current epoch began.
    pub last_doubt: Option<Doubt>,
}

/// What the loads of a region read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nobody said: any origin.
    Anything,
    /// These origins, and `app`.
    Only(Vec<Name>),
}

impl Reads {
    pub(crate) fn includes(&self, timeline: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Only(names) => names.iter().any(|name| **name == *timeline),
        }
    }
}

/// How long `close` waits for running loads.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// How often `close` looks whether loads still run.
const CLOSE_STEP: Duration = Duration::from_millis(5);

impl Cache {
    pub(crate) fn new(inner: CacheInner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn node(&self) -> &SharedNode {
        &self.inner.node
    }

    /// Begins to build a cache.
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    /// Begins to build a region of values that weigh themselves.
    pub fn region<K: Key, V: Weigh + Send + Sync + 'static>(
        &self,
        name: impl Into<Arc<str>>,
    ) -> RegionBuilder<K, V> {
        RegionBuilder::new(self.inner.clone(), name.into(), own_weight)
    }

    /// Begins to build a region of values whose bytes on the heap are estimated by `weigher`.
    pub fn region_weighed<K: Key, V: Send + Sync + 'static>(
        &self,
        name: impl Into<Arc<str>>,
        weigher: impl Fn(&V) -> usize + Send + Sync + 'static,
    ) -> RegionBuilder<K, V> {
        RegionBuilder::new(self.inner.clone(), name.into(), weigher)
    }

    /// Drops every entry built from one of `dependencies`, as one step on the timeline `app`.
    ///
    /// When it returns no reader of this cache hits such an entry, and no load that began before
    /// is stored or given to a reader that comes after. Nothing named, nothing dropped. To look
    /// before, to limit what may fall, or to keep it as stale, see [`Cache::invalidation`].
    ///
    /// # Errors
    /// `NotFound` when a dependency names a timeline this cache does not have; nothing was dropped.
    ///
    /// # Cost
    /// Bounded for each dependency, however many entries depend on it: entries beyond the first few
    /// are swept behind.
    ///
    /// # Cancel safety
    /// Once polled it is done in this process. With a store that keeps tracked values it then waits
    /// until that has noted it on the disk; dropped meanwhile, it is noted all the same, soon.
    pub async fn invalidate(
        &self,
        dependencies: impl IntoIterator<Item = Dependency>,
    ) -> Result<Invalidated, Error> {
        let invalidation = self.invalidation().drop_all_of(dependencies);
        match invalidation.content().dependencies() {
            [] => Ok(Invalidated::nothing(self.token())),
            _ => invalidation.commit().await,
        }
    }

    /// Begins to put together an invalidation that is looked at, limited, or soft.
    pub fn invalidation(&self) -> Invalidating {
        self.prepare(Invalidation::new(Mode::Hard))
    }

    /// As [`Cache::invalidation`], with what was encoded elsewhere.
    pub fn prepare(&self, invalidation: Invalidation) -> Invalidating {
        Invalidating::new(self.inner.clone(), invalidation)
    }

    /// The entries that would fall if `dependencies` were invalidated, page by page; each of them
    /// once. Nothing named, no entries.
    ///
    /// # Freshness
    /// What is there when it is called. Entries that are stored or end meanwhile may be shown or
    /// not.
    ///
    /// # Errors
    /// `NotFound` when one names a timeline this cache does not have.
    ///
    /// # Cost
    /// Bounded for each dependency by the size of the page, however many entries depend on it; no
    /// lock is held for longer than a copy of a few thousand links takes.
    pub fn dependents(&self, dependencies: &[Dependency], page: Page) -> Result<Dependents, Error> {
        let known = |one: &Dependency| self.inner.node.expect_timeline(one.timeline());
        dependencies.iter().try_for_each(known)?;
        let reach = preview::reach(dependencies);
        Ok(preview::page(&self.inner, &reach, page))
    }

    /// Tells, from now on, of everything that is invalidated on this node: by name, and by feeds.
    ///
    /// # Cost
    /// With a subscriber, one short lock more for each invalidation and each batch of a feed.
    ///
    /// # Examples
    /// ```
    /// # use larder::{Cache, Dependency, Error, Notice};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let cache = Cache::builder().build()?;
    /// let mut subscription = cache.subscribe();
    /// cache.invalidate([Dependency::tag("front-page")]).await?;
    /// if let Some(Notice::Invalidated(event)) = subscription.next().await {
    ///     assert_eq!(event.what.to_string(), "app/Tag(front-page)");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self) -> Subscription {
        self.inner.node.events.subscribe()
    }

    /// The positions this node has applied: a read elsewhere that carries this token sees at least
    /// what a read here sees.
    pub fn token(&self) -> Token {
        self.inner.node.token()
    }

    /// Waits until this node has everything that `token` speaks of.
    ///
    /// # Errors
    /// `Timeout` after `within`, naming the timeline that is behind; it may be reached later. What
    /// the feed fails with when the origin must be asked.
    ///
    /// # Cost
    /// Nothing for a position this node has; else one question to the origin, then a wait.
    pub async fn reach(&self, token: &Token, within: Duration) -> Result<(), Error> {
        let node = &self.inner.node;
        let mut progress = node.progress();
        if node.missing(token).is_none() && !node.is_foreign(token) {
            return Ok(());
        }
        let reached = async {
            self.inner.catch_up_all(&Reads::Anything).await?;
            while node.missing(token).is_some() {
                if progress.changed().await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        tokio::time::timeout(within, reached).await.unwrap_or_else(|_| {
            let behind = node.missing(token).unwrap_or_else(|| APP.into());
            Err(Error::new(ErrorKind::Timeout, "reach the position on timeline")
                .subject(format!("`{behind}`"))
                .detail(format!("it was not there within {within:?}; try again")))
        })
    }

    /// Asks every origin now. When it returns this node knows everything that was committed there
    /// before the call, with the invalidations that were recorded in those transactions.
    ///
    /// Nothing has to call this: feeds look by themselves, within milliseconds. It is for whoever
    /// has committed and wants to read what was written, here and now.
    ///
    /// # Errors
    /// What the first feed fails with that cannot ask its origin; the others were asked.
    ///
    /// # Cost
    /// One question to each origin, 3-10 us where that is SQLite.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn catch_up(&self) -> Result<(), Error> {
        self.inner.catch_up_all(&Reads::Anything).await
    }

    /// How the cache is now.
    pub fn status(&self) -> Status {
        let node = &self.inner.node;
        let memory = node.tier.stats();
        let timelines = node.known().into_iter().map(|known| TimelineStatus {
            proven_age: node.proven_age(&known),
            name: known.name,
            epoch: known.epoch,
            applied: known.applied,
            confirmed: known.confirmed,
            last_doubt: known.doubt,
        });
        Status {
            entries: memory.entries,
            bytes: memory.weight,
            limit_bytes: memory.limit,
            links: memory.links,
            ranges: node.held(),
            evictions: memory.evictions,
            invalidated: memory.invalidated,
            softened: memory.softened,
            loads_running: self.inner.capacity.running(),
            timelines: timelines.collect(),
        }
    }

    /// What happened since the start, in all regions together.
    pub fn stats(&self) -> Stats {
        let mut stats = self.inner.node.counters.read();
        stats += self.inner.regions.stats();
        stats
    }

    /// Refuses new loads, waits up to 10 s for running ones, and stops the feeds and the sweeper.
    ///
    /// Values in memory stay readable until the handles are dropped, but are soon no longer proven.
    pub async fn close(&self) {
        self.inner.capacity.close();
        let ended = async {
            while self.inner.capacity.running() != 0 {
                tokio::time::sleep(CLOSE_STEP).await;
            }
        };
        if tokio::time::timeout(CLOSE_WAIT, ended).await.is_err() {
            tracing::warn!(running = self.inner.capacity.running(), "closed over running loads");
        }
        if let Some(journal) = self.inner.node.journal() {
            // What cannot be written now is found missing, or told again, in the next life.
            let _ = tokio::time::timeout(CLOSE_WAIT, journal.written()).await;
        }
        self.inner.stop();
    }
}

impl CacheInner {
    pub(crate) fn new(
        node: SharedNode,
        feeds: Vec<Arc<dyn Feed>>,
        capacity: Arc<Capacity>,
        max_dependencies: usize,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let (regions, heat) = (Regions::default(), Heat::default());
        let feeds = feeds.into();
        Self {
            node,
            feeds,
            capacity,
            max_dependencies,
            runtime,
            regions,
            heat,
            store: None,
            claims: None,
            waiting_for_claims: AtomicUsize::new(0),
            unattached: None,
        }
    }

    pub(crate) fn with_store(
        mut self,
        store: Option<Arc<dyn Store>>,
        unattached: Option<Error>,
    ) -> Self {
        self.claims = store.as_ref().and_then(|store| store.claims());
        (self.store, self.unattached) = (store, unattached);
        self
    }

    /// Asks the origins of `reads` now, or every one; also those behind one that does not answer.
    pub(crate) async fn catch_up_all(&self, reads: &Reads) -> Result<(), Error> {
        let mut result = self.node.look().await;
        for feed in self.feeds.iter().filter(|feed| reads.includes(feed.timeline())) {
            let asked = feed.catch_up().await;
            result = result.and(asked);
        }
        result
    }

    /// Asks the origins of `reads` now; the timelines of those that do not answer.
    pub(crate) async fn silent(&self, reads: &Reads) -> Vec<Name> {
        let mut silent = Vec::new();
        if self.node.look().await.is_err() {
            silent.push(APP.into());
        }
        for feed in self.feeds.iter().filter(|feed| reads.includes(feed.timeline())) {
            if feed.catch_up().await.is_err() {
                silent.push(feed.timeline().clone());
            }
        }
        silent
    }

    /// Asks the origins of `stamps` now.
    pub(crate) async fn catch_up(&self, stamps: &Stamps) -> Result<(), Error> {
        for feed in self.feeds.iter() {
            if stamps.get(feed.timeline()).is_some() {
                feed.catch_up().await?;
            }
        }
        Ok(())
    }

    /// Asks an origin whether a store stands where its log has come by; whether that is known now.
    pub(crate) async fn ask_about(&self, standing: &Standing, dispute: Dispute) -> bool {
        let asked = async { Ok(self.node.ask_about(&self.feeds, standing, dispute).await) };
        l2::within(asked).await.unwrap_or(false)
    }

    /// Waits, up to `within`, until everything that the origins of `reads` announced by now is
    /// visible to loads.
    pub(crate) async fn settle(&self, within: Duration, reads: &Reads) {
        let node = &self.node;
        let mut progress = node.progress();
        let arrival = node.arrival();
        if node.may_begin(&arrival, reads) {
            return;
        }
        let settled = async {
            let _ = self.catch_up_all(reads).await;
            while !node.may_begin(&arrival, reads) && progress.changed().await.is_ok() {}
        };
        // A result from an origin that keeps a change back is checked like any other.
        let _ = tokio::time::timeout(within, settled).await;
    }

    fn stop(&self) {
        for feed in self.feeds.iter() {
            feed.stop();
        }
        self.node.tier.close();
        if let Some(journal) = self.node.journal() {
            journal.close();
        }
        self.node.events.end();
    }
}

impl Drop for CacheInner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
