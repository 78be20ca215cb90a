//! Nested reads: a loader reads other regions, and its value inherits from theirs.
//!
//! The doll within the doll. A read by a loader differs from one by a reader (`region`) in three
//! things: it hands on what it was answered with, whichever way it was answered; it waits under the
//! eye of `waits`; and it gives back its turn meanwhile. **Invariant**: a parent is never stored as
//! fresh for longer, as of later, or with fewer dependencies than the entries it was built from.
//!
//! # Implementation notes
//!
//! A child that is found in memory counts as of the position at which it was *validated*, not of
//! its own stamp, or parents of old children would miss the memory of changes. The order:
//!
//! 1. The parent's read notes what is applied: position 7.
//! 2. It takes the child with the stamps and dependencies of the same fill: as of 3.
//! 3. The history is asked whether anything of that was touched after 3. If not, the child counts
//!    as of 7. A change at 8 is either found here, and the child is loaded; or it comes later, and
//!    then the parent, as of 7, is found to miss it when it is stored.
//!
//! Were the position noted after step 3, a change between them would be in neither: too late for
//! the question, and below the position.

use std::sync::Arc;

use larder_core::{
    Error, ErrorKind, Key, KeyEncoder, Moment, Stamps, flight::Arrival, freshness::State,
};
use larder_memory::Knowledge;

use crate::{
    collected::Inherited,
    error::LoadError,
    fetched::{Fetched, Source},
    flight::Waiter,
    landing::Landed,
    load::Load,
    node::Validity,
    region::{Asker, Inner, Look, Missed, Region, Start, Tracking},
    stats::Counters,
    waits::Waits,
};

impl Load {
    /// The value of `key` in another region, loading it at most once however many ask. What this
    /// load is for inherits from it: what it depends on, its stamps, the earlier deadline.
    ///
    /// ```
    /// # use larder::{Dependency, Error, Load, Region};
    /// # async fn load_page(load: Load, authors: Region<u32, String>) -> Result<String, Error> {
    /// load.depends_on(Dependency::id("app", "Article", [12]));
    /// let author = load.get_or_load(&authors, &7).await?;
    /// Ok(format!("by {author}"))
    /// # }
    /// ```
    ///
    /// # Freshness
    /// That of [`Region::fetch`], with the `max_staleness` of the stricter of both regions. If the
    /// value is stale (past its TTL, or not proven) the one built from it is never stored as fresh,
    /// and those who get it are told so by [`Source::BuiltOnStale`].
    ///
    /// # Errors
    /// As [`Region::fetch`]; `Cycle` when that load waits, through whatever others, for this one:
    /// the message names the chain of regions. `Config` when the region is tracked by another
    /// cache, or its value names dependencies there: this one does not hear of those changes.
    ///
    /// # Cancel safety
    /// As [`Region::fetch`]. What was inherited stays.
    ///
    /// # Cost
    /// A hit: one look-up, one lock for each timeline, and a hash for each dependency inherited. A
    /// miss: as a reader's. Waiting, this load does not count against the limit on running loads.
    pub async fn get_or_load<K, V, E>(
        &self,
        region: &Region<K, V, E>,
        key: &K,
    ) -> Result<Arc<V>, LoadError<E>>
    where
        K: Key,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Ok(self.fetch(region, key).await?.value)
    }

    /// As [`Load::get_or_load`], and how the value came about.
    ///
    /// # Errors
    /// As [`Load::get_or_load`].
    pub async fn fetch<K, V, E>(
        &self,
        region: &Region<K, V, E>,
        key: &K,
    ) -> Result<Fetched<V>, LoadError<E>>
    where
        K: Key,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let inner = &region.inner;
        inner.nested(self, key, &inner.encode(key), inner.start(key)).await
    }

    /// As [`Load::get_or_load`], with a loader for this call that may own what it captured.
    ///
    /// # Errors
    /// As [`Load::get_or_load`].
    pub async fn get_or_load_with<K, V, E, F, L>(
        &self,
        region: &Region<K, V, E>,
        key: &K,
        loader: L,
    ) -> Result<Arc<V>, LoadError<E>>
    where
        K: Key,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
        L: FnOnce(Load) -> F + Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let inner = &region.inner;
        let start: Start<V, E> = Box::new(|load| Box::pin(loader(load)));
        Ok(inner.nested(self, key, &inner.encode(key), Some(start)).await?.value)
    }

    /// Waits for a flight as this load: under the eye of the graph, and without its turn.
    ///
    /// # Errors
    /// `Cycle` when the flight waits for this load.
    pub(crate) async fn wait_for<V, E>(
        &self,
        waiter: &Waiter<V, E>,
        counters: &Counters,
    ) -> Result<Arc<Landed<V, E>>, Error> {
        let runs = self.runs();
        let wait = Waits::of_process().wait(&runs.run, waiter.run()).inspect_err(|_| {
            counters.cycles.add(1);
        })?;
        let given_back = runs.turn.as_ref().map(|turn| turn.give_back());
        let landed = waiter.landed().await;
        // First the edge: who waits for a turn waits for nobody's flight.
        drop(wait);
        if let Some(given_back) = given_back {
            given_back.end().await;
        }
        Ok(landed)
    }
}

/// What memory has for a nested read.
struct Held<V> {
    look: Look<V>,
    inherited: Inherited,
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// A read by the loader of `load`.
    pub(crate) async fn nested(
        self: &Arc<Self>,
        load: &Load,
        key: &K,
        bytes: &KeyEncoder,
        start: Option<Start<V, E>>,
    ) -> Result<Fetched<V>, LoadError<E>> {
        let result = self.read_nested(load, key, bytes, start).await;
        result.inspect_err(|_| self.counters.errors.add(1))
    }

    async fn read_nested(
        self: &Arc<Self>,
        load: &Load,
        key: &K,
        bytes: &KeyEncoder,
        mut start: Option<Start<V, E>>,
    ) -> Result<Fetched<V>, LoadError<E>> {
        self.expect_heard_by(load)?;
        let max_staleness = self.policy.max_staleness.min(load.runs().max_staleness);
        // Where the origin cannot be asked, nothing in memory can be called fresh for this read.
        let mut knowledge = self.knowledge(max_staleness).await.ok();
        let mut was_found = false;
        loop {
            if let Some(knowledge) = knowledge
                && let Some(held) = self.read_held(load, key, bytes, knowledge).await
            {
                return Ok(held?);
            }
            let asker = Asker { knowledge, max_staleness, load: Some(load) };
            let result = match self.miss(bytes, &mut start, asker).await {
                Ok(Missed::Found(_)) => {
                    // Somebody has just stored it: look again. If even then it cannot be built
                    // from (its position is forgotten), only a load will do.
                    knowledge = knowledge.filter(|_| !was_found);
                    was_found = true;
                    // It may have been spent on a flight whose result was too old for this load.
                    start = start.or_else(|| self.start(key));
                    continue;
                }
                Ok(Missed::Landed { fetched, landed, arrival }) => {
                    let inherited = self.inherited(&fetched, &landed, &arrival);
                    self.hand_on(load, inherited).map(|()| fetched).map_err(LoadError::from)
                }
                Err(error) => self.despite_for(load, bytes, error),
            };
            return result.inspect(|fetched| self.count(fetched.source));
        }
    }

    /// A read by the loader of `load` that never loads. A miss is nothing that could be inherited.
    pub(crate) async fn nested_get(
        &self,
        load: &Load,
        bytes: &KeyEncoder,
    ) -> Result<Option<Arc<V>>, Error> {
        let result = self.look_nested(load, bytes).await;
        result.inspect_err(|_| self.counters.errors.add(1))
    }

    async fn look_nested(&self, load: &Load, bytes: &KeyEncoder) -> Result<Option<Arc<V>>, Error> {
        self.expect_heard_by(load)?;
        let max_staleness = self.policy.max_staleness.min(load.runs().max_staleness);
        let knowledge = self.knowledge(max_staleness).await?;
        if let Some(Held { look: Look::Fresh(found), inherited }) = self.held(bytes, knowledge) {
            self.hand_on(load, inherited)?;
            self.counters.hits.add();
            return Ok(Some(found.value));
        }
        self.counters.misses.add(1);
        Ok(None)
    }

    async fn read_held(
        self: &Arc<Self>,
        load: &Load,
        key: &K,
        bytes: &KeyEncoder,
        knowledge: Knowledge,
    ) -> Option<Result<Fetched<V>, Error>> {
        let mut held = self.held(bytes, knowledge)?;
        if matches!(held.look, Look::Unproven) && self.cache.catch_up_all(&self.reads).await.is_ok()
        {
            held = self.held(bytes, knowledge)?;
        }
        if let Look::Unproven | Look::Nothing = held.look {
            return None;
        }
        // Before it counts as a hit: it may be refused.
        if let Err(error) = self.hand_on(load, held.inherited) {
            return Some(Err(error));
        }
        let (found, source) = self.hit(key, held.look)?;
        Some(Ok(self.fetched_slowly(found, source)))
    }

    /// What memory has and a parent may be built from; see the notes above for the order.
    fn held(&self, bytes: &KeyEncoder, knowledge: Knowledge) -> Option<Held<V>> {
        let node = &self.cache.node;
        let arrival = node.arrival();
        let whole = node.tier.whole::<V>(bytes, knowledge)?;
        let (stamps, validity) = node.validated(&whole.stamps, &whole.dependencies, &arrival);
        if validity == Validity::NotShown {
            return None;
        }
        let (fresh_until, is_stale) = (whole.found.fresh_until, whole.found.state != State::Fresh);
        let dependencies = whole.dependencies;
        let inherited = Inherited { stamps, dependencies, fresh_until, is_stale };
        Some(Held { look: Look::of(whole.found), inherited })
    }

    /// The answer to a loader whose nested load failed.
    fn despite_for(
        &self,
        load: &Load,
        bytes: &KeyEncoder,
        error: LoadError<E>,
    ) -> Result<Fetched<V>, LoadError<E>> {
        if !self.is_passing(&error) {
            return Err(error);
        }
        let node = &self.cache.node;
        let arrival = node.arrival();
        let Some(whole) = node.tier.whole::<V>(bytes, self.within()) else { return Err(error) };
        // Where it cannot be shown to be untouched its own stamps stay, and the parent is compared
        // with the history by those.
        let (stamps, _) = node.validated(&whole.stamps, &whole.dependencies, &arrival);
        let (dependencies, fresh_until) = (whole.dependencies, whole.found.fresh_until);
        self.hand_on(load, Inherited { stamps, dependencies, fresh_until, is_stale: true })?;
        Ok(self.fetched_slowly(whole.found, Source::StaleOnError))
    }

    /// What the result of a flight passes on to a load that took it.
    fn inherited(
        &self,
        fetched: &Fetched<V>,
        landed: &Landed<V, E>,
        arrival: &Arrival,
    ) -> Inherited {
        let node = &self.cache.node;
        let (stamps, _) = node.validated(&landed.stamps, &landed.dependencies, arrival);
        let now = node.clock.now();
        Inherited {
            stamps,
            dependencies: landed.dependencies.clone(),
            fresh_until: landed.deadlines.map_or(now, |deadlines| deadlines.fresh_until),
            is_stale: fetched.source.is_stale(),
        }
    }

    /// Fails where the changes that end this region's entries would never reach the parent.
    fn expect_heard_by(&self, load: &Load) -> Result<(), Error> {
        if self.is_of(load) || self.tracking == Tracking::Untracked {
            return Ok(());
        }
        Err(self.unheard())
    }

    #[cold]
    fn unheard(&self) -> Error {
        Error::new(ErrorKind::Config, "read in a loader from region")
            .subject(format!("`{}`", self.name))
            .detail(
                "it belongs to another cache, whose changes do not reach the entry that is being \
                 loaded; have both regions in one cache, or read it in a task of its own",
            )
    }

    fn is_of(&self, load: &Load) -> bool {
        Arc::ptr_eq(load.node(), &self.cache.node)
    }

    /// Lets the load inherit. From another cache only the time can be inherited, which the other
    /// clock may count differently; so what changes there could end is refused, which in an
    /// untracked region only the value itself tells.
    fn hand_on(&self, load: &Load, mut inherited: Inherited) -> Result<(), Error> {
        if !self.is_of(load) {
            if !inherited.dependencies.is_empty() {
                return Err(self.unheard());
            }
            let now = self.cache.node.clock.now();
            let own = load.node().clock.now();
            if inherited.fresh_until != Moment::NEVER {
                inherited.fresh_until = own.plus(inherited.fresh_until.since(now));
            }
            inherited.stamps = Stamps::new();
        }
        load.inherit(&inherited);
        Ok(())
    }
}
