//! The region: a named, typed set of entries, and every way to read it.
//!
//! This is where a read is told from beginning to end; the parts are beside it (`flight`,
//! `landing`, `load`). **Invariant**: a value leaves as fresh only if memory found it valid and
//! proven at the moment of the read, or a flight's rules allowed it to this reader.

use std::{
    fmt,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use larder_core::{
    BoxFuture, Error, ErrorKind, Key, KeyBytes, KeyEncoder, KeyRef, Moment,
    flight::Arrival,
    freshness::{Policy, State},
};
use larder_memory::{Found, Knowledge, Lookup};

use crate::{
    ambient,
    begin::Begun,
    cache::{CacheInner, Reads},
    capacity::AskedBy,
    error::LoadError,
    explain::{self, Explanation},
    fetched::{Fetched, Kept, Source},
    flight::{Flight, Flights, Waiter},
    heat,
    l2::L2,
    landing::Landed,
    load::Load,
    loader::SharedLoader,
    pause,
    region_builder::OnAbandon,
    sample::Sample,
    stats::{Counters, Stats},
    waits::Waits,
};

/// A named, typed set of entries with a loader. Cloning shares it.
pub struct Region<K, V, E = Error> {
    pub(crate) inner: Arc<Inner<K, V, E>>,
}

pub(crate) struct Inner<K, V, E> {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) cache: Arc<CacheInner>,
    pub(crate) policy: Policy,
    pub(crate) tracking: Tracking,
    pub(crate) reads: Reads,
    pub(crate) weigher: Arc<dyn Fn(&V) -> usize + Send + Sync>,
    pub(crate) loader: Option<SharedLoader<K, V, E>>,
    pub(crate) load_timeout: Duration,
    pub(crate) on_abandon: OnAbandon,
    pub(crate) is_transient: fn(&LoadError<E>) -> bool,
    pub(crate) sample: Option<Sample<V>>,
    pub(crate) l2: Option<L2<V>>,
    pub(crate) flights: Flights<V, E>,
    pub(crate) counters: Arc<Counters>,
}

/// Whether entries of a region must say what they depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracking {
    Tracked,
    Untracked,
}

/// What memory has for a key.
pub(crate) enum Look<V> {
    Fresh(Found<V>),
    Revalidate(Found<V>),
    /// Valid as far as is known, but this node's knowledge is too old to say so.
    Unproven,
    Nothing,
}

impl<V> Look<V> {
    #[inline(always)]
    pub(crate) fn of(found: Found<V>) -> Self {
        match found.state {
            _ if !found.proven => Self::Unproven,
            State::Fresh => Self::Fresh(found),
            State::Revalidate => Self::Revalidate(found),
            State::OnError | State::Expired => Self::Nothing,
        }
    }
}

/// What a reader that found nothing fresh gets.
enum Joined<V, E> {
    Found(Found<V>),
    Waits(Waiter<V, E>),
    Resting(LoadError<E>),
    NoLoader,
}

/// What became of a read that found nothing fresh.
pub(crate) enum Missed<V, E> {
    /// A flight that was waited for, taken by a reader who knew this when it came.
    Landed { fetched: Fetched<V>, landed: Arc<Landed<V, E>>, arrival: Arrival },
    /// Somebody else had just stored it.
    Found(Found<V>),
}

/// Who finds nothing fresh.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// What may be counted on; `None` when memory is not to be looked at.
    pub(crate) knowledge: Option<Knowledge>,
    /// How old the knowledge of an origin may be.
    pub(crate) max_staleness: Duration,
    /// The load that reads, if it is none of the application's readers.
    pub(crate) load: Option<&'a Load>,
}

/// A loader for one read.
pub(crate) type Start<V, E> = Box<dyn FnOnce(Load) -> BoxFuture<'static, Result<V, E>> + Send>;

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Region<K, V, E> {
    pub(crate) fn new(inner: Inner<K, V, E>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The fresh value for `key` if there is one, in memory or in the store; `None` is a miss.
    /// Never loads.
    ///
    /// # Errors
    /// `Unavailable` when it is not in memory and the store does not answer: that is no miss.
    /// With `max_staleness` zero, when the origin cannot be asked whether something changed. Inside
    /// a loader, `Config` when that is of another cache and this region is tracked.
    ///
    /// # Cost
    /// One look-up in memory; no allocation for keys under about 100 bytes. Inside a loader also
    /// what [`Load::get_or_load`] costs.
    pub async fn get(&self, key: &K) -> Result<Option<Arc<V>>, Error> {
        let inner = &self.inner;
        let bytes = inner.encode(key);
        if let Some(load) = ambient::current() {
            return Box::pin(inner.nested_get(&load, &bytes)).await;
        }
        let knowledge = inner.knowledge(inner.policy.max_staleness).await;
        let knowledge = knowledge.inspect_err(|_| inner.counters.errors.add(1))?;
        let mut looked = inner.look(&bytes, knowledge);
        if matches!(looked, Look::Unproven) && inner.cache.catch_up_all(&inner.reads).await.is_ok()
        {
            looked = inner.look(&bytes, knowledge);
        }
        match looked {
            Look::Fresh(found) => {
                inner.counters.hits.add();
                Ok(Some(found.value))
            }
            Look::Revalidate(_) | Look::Unproven | Look::Nothing => {
                let promoted = inner.find_in_store(&bytes.finish()).await.inspect_err(|_| {
                    inner.counters.errors.add(1);
                })?;
                let counter = match &promoted {
                    Some(_) => &inner.counters.store_hits,
                    None => &inner.counters.misses,
                };
                counter.add(1);
                Ok(promoted.and_then(|landed| landed.result.ok()))
            }
        }
    }

    /// The value for `key`, loading it at most once however many ask. See [`Region::fetch`].
    ///
    /// # Errors
    /// As [`Region::fetch`].
    pub async fn get_or_load(&self, key: &K) -> Result<Arc<V>, LoadError<E>> {
        let inner = &self.inner;
        if let Some(value) = inner.quick(key, |value, _, _| value) {
            return Ok(value);
        }
        Ok(self.fetch_slowly(key, &inner.encode(key), inner.start(key)).await?.value)
    }

    /// The value for `key` and how it came about, loading it at most once however many ask.
    ///
    /// # Freshness
    /// A fresh value reflects every change that this node knew when the call began, and every
    /// commit older than the region's `max_staleness`. One past its TTL is returned only under
    /// `stale_while_revalidate` or `stale_if_error`, and says so. An invalidated one is not
    /// returned.
    ///
    /// # Errors
    /// The loader's own error, shared by all who waited; `Panicked`; or the cache's: `Timeout` past
    /// `load_timeout`, `Overloaded`, `Untracked` when the load named no dependency, `Closed`, also
    /// when the runtime in which the cache was built is gone, `Config` without a loader; inside a
    /// loader also those of [`Load::get_or_load`]. After an error the key rests for 100 ms,
    /// doubling up to 5 s, and readers meanwhile get the same one.
    ///
    /// # Cancel safety
    /// The load runs on a task of its own. If all who wait leave, it ends and is stored, or is
    /// cancelled, as [`OnAbandon`] says.
    ///
    /// # Cost
    /// A hit: one look-up, no allocation. A miss: one load, at most two for one read.
    pub async fn fetch(&self, key: &K) -> Result<Fetched<V>, LoadError<E>> {
        let inner = &self.inner;
        let hit = |value, stored, until| inner.fetched(value, Source::Hit, stored, until);
        if let Some(fetched) = inner.quick(key, hit) {
            return Ok(fetched);
        }
        self.fetch_slowly(key, &inner.encode(key), inner.start(key)).await
    }

    /// As [`Region::fetch`], with a loader for this call that may own what it captured.
    ///
    /// # Errors
    /// As [`Region::fetch`].
    pub async fn get_or_load_with<F, L>(&self, key: &K, loader: L) -> Result<Arc<V>, LoadError<E>>
    where
        L: FnOnce(Load) -> F + Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let bytes = self.inner.encode(key);
        let start: Start<V, E> = Box::new(|load| Box::pin(loader(load)));
        Ok(self.fetch_slowly(key, &bytes, Some(start)).await?.value)
    }

    async fn fetch_slowly(
        &self,
        key: &K,
        bytes: &KeyEncoder,
        start: Option<Start<V, E>>,
    ) -> Result<Fetched<V>, LoadError<E>> {
        let inner = &self.inner;
        if let Some(load) = ambient::current() {
            return Box::pin(inner.nested(&load, key, bytes, start)).await;
        }
        // Where the origin cannot be asked, nothing in memory can be called fresh for this read.
        let knowledge = inner.knowledge(inner.policy.max_staleness).await.ok();
        if let Some(knowledge) = knowledge {
            if let Some((found, source)) = inner.hit(key, inner.look(bytes, knowledge)) {
                return Ok(inner.fetched_slowly(found, source));
            }
            // The watcher may only be late: asking the origin once is cheaper than a load.
            if matches!(inner.look(bytes, knowledge), Look::Unproven)
                && inner.cache.catch_up_all(&inner.reads).await.is_ok()
                && let Some((found, source)) = inner.hit(key, inner.look(bytes, knowledge))
            {
                return Ok(inner.fetched_slowly(found, source));
            }
        }
        let mut start = start;
        let max_staleness = inner.policy.max_staleness;
        let asker = Asker { knowledge, max_staleness, load: None };
        let result = match inner.miss(bytes, &mut start, asker).await {
            Ok(Missed::Landed { fetched, .. }) => Ok(fetched),
            Ok(Missed::Found(found)) => Ok(inner.fetched_slowly(found, Source::Hit)),
            Err(error) => inner.despite(bytes, error),
        };
        match &result {
            Ok(fetched) => inner.count(fetched.source),
            Err(_) => inner.counters.errors.add(1),
        }
        result
    }

    /// Begins to compute a value outside a loader: takes the stamps now, stores at `finish`.
    pub fn begin(&self, key: &K) -> Begun<K, V, E> {
        let bytes = self.inner.encode(key).finish();
        Begun::new(self.inner.clone(), bytes)
    }

    /// Removes the entry of `key`, from the store too; whether there was one. Not an invalidation:
    /// a load that is under way may store it again.
    ///
    /// # Errors
    /// When the store does not answer; the entry is gone from memory then, and may come back.
    pub async fn remove(&self, key: &K) -> Result<bool, Error> {
        let key = self.inner.encode(key).finish();
        // Memory last: what a reader promotes in between goes with it.
        let removed = self.inner.remove_from_store(&key).await;
        let was_there = self.inner.cache.node.tier.remove(key.as_slice());
        Ok(removed? || was_there)
    }

    /// What is known of the entry of `key`, for people. Does not count as a read.
    pub fn explain(&self, key: &K) -> Explanation {
        explain::explain(&self.inner.cache.node, self.inner.encode(key).finish().as_slice())
    }

    /// What happened in this region since it was built.
    pub fn stats(&self) -> Stats {
        self.inner.counters.read()
    }
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// The answer to a read whose value is in memory, fresh and proven; whatever else there is to
    /// be said about the key is left to the slow way.
    ///
    /// Nothing here is kept in a variable that something else could look at, neither the encoded
    /// key nor what memory found: so both stay in registers. Moved through memory they cost more
    /// than the look-up, because a processor waits where it reads back in larger pieces what it has
    /// just written in smaller ones.
    #[inline(always)]
    fn quick<R>(
        self: &Arc<Self>,
        key: &K,
        answer: impl FnOnce(Arc<V>, Moment, Moment) -> R,
    ) -> Option<R> {
        if self.policy.max_staleness == Duration::ZERO || ambient::is_inside() {
            return None;
        }
        let found: Found<V> = match self.cache.node.tier.get(&self.encode(key), self.within()) {
            Lookup::Hit(found) if found.proven && found.state == State::Fresh => found,
            Lookup::Hit(_) | Lookup::Miss => return None,
        };
        let Found { value, stored, fresh_until, .. } = found;
        let count = self.counters.hits.add();
        if let Some(sample) = &self.sample
            && sample.is_due(count)
        {
            self.check_sample(key, value.clone());
        }
        if heat::is_due(count) {
            self.note_heat(key);
        }
        Some(answer(value, stored, fresh_until))
    }

    #[inline(always)]
    pub(crate) fn encode(&self, key: &K) -> KeyEncoder {
        let mut encoder = KeyEncoder::new(self.id);
        key.encode(&mut encoder);
        encoder
    }

    pub(crate) fn start(&self, key: &K) -> Option<Start<V, E>> {
        let loader = self.loader.clone()?;
        let key = key.clone();
        Some(Box::new(move |load| loader(key, load)))
    }

    pub(crate) fn within(&self) -> Knowledge {
        Knowledge::Within(self.policy.max_staleness)
    }

    /// The fresh value in memory, as far as `knowledge` goes; not counted as a read.
    pub(crate) fn fresh(&self, bytes: &KeyEncoder, knowledge: Knowledge) -> Option<Arc<V>> {
        match self.look(bytes, knowledge) {
            Look::Fresh(found) => Some(found.value),
            Look::Revalidate(_) | Look::Unproven | Look::Nothing => None,
        }
    }

    /// How old the proof of a value may be for this read; with `max_staleness` zero it is made now.
    pub(crate) async fn knowledge(&self, max_staleness: Duration) -> Result<Knowledge, Error> {
        if max_staleness != Duration::ZERO {
            return Ok(Knowledge::Within(max_staleness));
        }
        let moment = self.cache.node.clock.now();
        self.cache.catch_up_all(&self.reads).await?;
        Ok(Knowledge::Since(moment))
    }

    #[inline(always)]
    fn look<'k>(&self, key: impl Into<KeyRef<'k>>, knowledge: Knowledge) -> Look<V> {
        match self.cache.node.tier.get(key, knowledge) {
            Lookup::Miss => Look::Nothing,
            Lookup::Hit(found) => Look::of(found),
        }
    }

    /// What may be served of what memory has; what follows from serving it is set going.
    #[inline(always)]
    pub(crate) fn hit(self: &Arc<Self>, key: &K, look: Look<V>) -> Option<(Found<V>, Source)> {
        match look {
            Look::Fresh(found) => {
                let count = self.counters.hits.add();
                if let Some(sample) = &self.sample
                    && sample.is_due(count)
                {
                    self.check_sample(key, found.value.clone());
                }
                if heat::is_due(count) {
                    self.note_heat(key);
                }
                Some((found, Source::Hit))
            }
            Look::Revalidate(found) => {
                self.counters.stale_hits.add(1);
                self.revalidate(key);
                Some((found, Source::StaleWhileRevalidate))
            }
            Look::Unproven | Look::Nothing => None,
        }
    }

    /// The answer with a value that is in memory.
    #[inline(always)]
    fn fetched(
        &self,
        value: Arc<V>,
        source: Source,
        stored: Moment,
        fresh_until: Moment,
    ) -> Fetched<V> {
        let now = self.cache.node.clock.coarse();
        let ttl_left = (fresh_until != Moment::NEVER).then(|| fresh_until.since(now));
        let (age, past_ttl) = (now.since(stored), now.since(fresh_until));
        Fetched { value, source, kept: Kept::InMemory, age, ttl_left, past_ttl }
    }

    pub(crate) fn fetched_slowly(&self, found: Found<V>, source: Source) -> Fetched<V> {
        let Found { value, stored, fresh_until, .. } = found;
        self.fetched(value, source, stored, fresh_until)
    }

    #[cold]
    #[inline(never)]
    fn note_heat(&self, key: &K) {
        self.cache.heat.note(KeyRef::from(&self.encode(key)));
    }

    /// Loads `key` for whoever comes, unless it is fresh; whether that worked.
    pub(crate) async fn fly_for_nobody(self: &Arc<Self>, key: &K) -> bool {
        let bytes = self.encode(key).finish();
        let max_staleness = self.policy.max_staleness;
        let nobody = Asker { knowledge: Some(self.within()), max_staleness, load: None };
        // A flight that runs already may have been overtaken by what made this one necessary.
        for _ in 0..2 {
            match self.join(&bytes, &mut self.start(key), nobody) {
                Joined::Found(_) => return true,
                Joined::Waits(waiter) => {
                    let landed = waiter.landed().await;
                    if waiter.is_leader || landed.result.is_err() {
                        return landed.result.is_ok();
                    }
                }
                Joined::Resting(_) | Joined::NoLoader => return false,
            }
        }
        true
    }

    /// Loads `key` again on a task of its own; readers need not wait for it.
    #[cold]
    fn revalidate(self: &Arc<Self>, key: &K) {
        let mut start = self.start(key);
        let nobody =
            Asker { knowledge: None, max_staleness: self.policy.max_staleness, load: None };
        if let Joined::Waits(waiter) = self.join(&self.encode(key).finish(), &mut start, nobody)
            && waiter.is_leader
        {
            self.counters.revalidations.add(1);
            // Held until the end, so that nobody leaving does not mean abandoned.
            self.cache.runtime.spawn(async move { waiter.landed().await });
        }
    }

    /// The way of a read that found nothing fresh: join or begin a flight, at most two.
    pub(crate) async fn miss(
        self: &Arc<Self>,
        bytes: &KeyEncoder,
        start: &mut Option<Start<V, E>>,
        asker: Asker<'_>,
    ) -> Result<Missed<V, E>, LoadError<E>> {
        // A reader must know what it may count on before it takes what others began to load. Where
        // the origin does not answer, only a load that begins after the reader came will do.
        let since = self.cache.node.clock.now().minus(asker.max_staleness);
        let silent = match self.cache.node.is_proven_since(since, &self.reads) {
            true => Vec::new(),
            false => self.cache.silent(&self.reads).await,
        };
        let arrival = self.cache.node.arrival();
        let key = bytes.finish();
        let mut too_old = None;
        for joined in [Source::Joined, Source::SecondFlight] {
            let waiter = match self.join(&key, start, asker) {
                Joined::Waits(waiter) => waiter,
                Joined::Found(found) => return Ok(Missed::Found(found)),
                Joined::Resting(error) => return Err(error),
                Joined::NoLoader if too_old.is_none() => return Err(self.no_loader().into()),
                Joined::NoLoader => break,
            };
            let landed = match asker.load {
                None => waiter.landed().await,
                Some(load) => load.wait_for(&waiter, &self.counters).await?,
            };
            let value = match &landed.result {
                Ok(value) => value.clone(),
                Err(error) => return Err(error.clone()),
            };
            let own = joined == Source::Joined && waiter.is_leader;
            let source = if own { Source::Loaded } else { joined };
            let fetched = landed.fetched(value, source);
            let is_enough = source != Source::Joined || !landed.is_of(&silent);
            if is_enough && landed.may_be_taken(&self.cache.node, &arrival) {
                return Ok(Missed::Landed { fetched, landed, arrival });
            }
            too_old = Some((Fetched { source: Source::Unproven, ..fetched }, landed));
        }
        let (fetched, landed) = too_old.ok_or_else(|| self.no_loader())?;
        Ok(Missed::Landed { fetched, landed, arrival })
    }

    /// Joins the flight of `key`, or begins one.
    ///
    /// Memory is looked at again under the lock: a flight that ended since the reader looked has
    /// stored its value before it left the map, so one load serves all of a crowd.
    fn join(
        self: &Arc<Self>,
        key: &KeyBytes,
        start: &mut Option<Start<V, E>>,
        asker: Asker<'_>,
    ) -> Joined<V, E> {
        // Dropped after the lock: the last handle on a value drops the value, which is user code.
        let (mut older, looked);
        let mut shard = self.flights.shard(key.as_slice());
        if let Some(flight) = shard.flying.get(key.as_slice()) {
            return Joined::Waits(Waiter::new(flight.clone(), false));
        }
        older = None;
        let has_older = || {
            older = self.past_ttl(key.as_slice());
            older.is_some()
        };
        let now = self.cache.node.clock.now();
        if let Some(error) = shard.pauses.error(key.as_slice(), now, has_older) {
            return Joined::Resting(error);
        }
        if let Some(knowledge) = asker.knowledge {
            looked = self.look(key, knowledge);
            if let Look::Fresh(found) = looked {
                return Joined::Found(found);
            }
        }
        let Some(start) = start.take() else { return Joined::NoLoader };
        let flight = Flight::new(Waits::of_process().run(&self.name));
        let waiter = Waiter::new(flight.clone(), true);
        shard.flying.insert(key.clone(), flight.clone());
        // A runtime that is shut down drops the task at once, and that lands the flight.
        drop(shard);
        let asked_by = asker.load.map_or(AskedBy::Reader, |_| AskedBy::Load);
        let aloft = Aloft { region: self.clone(), key: key.clone(), flight, landed: false };
        self.cache.runtime.spawn(aloft.fly(start, asked_by));
        Joined::Waits(waiter)
    }

    /// Takes the flight off the map, then gives its result to those who wait.
    fn land(&self, key: &KeyBytes, flight: &Arc<Flight<V, E>>, landed: Landed<V, E>) {
        // Before the lock: it may ask the error what it is, and an error is user code.
        let pause = match &landed.result {
            Err(LoadError::Cache(error)) if error.kind() != ErrorKind::Timeout => None,
            Ok(_) => Some(None),
            Err(error) => {
                let has_older = self.older(key.as_slice(), error).is_some();
                let with_older = if has_older { pause::AFTER_STALE } else { Duration::ZERO };
                Some(Some((with_older, error.clone())))
            }
        };
        let mut shard = self.flights.shard(key.as_slice());
        shard.take_off(key.as_slice(), flight);
        let ended = pause.map(|pause| match pause {
            None => shard.pauses.end(key.as_slice()),
            Some((with_older, error)) => {
                let now = self.cache.node.clock.now();
                shard.pauses.begin(key.clone(), now, with_older, error)
            }
        });
        drop(shard);
        flight.land(Arc::new(landed));
        drop(ended);
    }

    /// The older value that may stand in for a load that failed with `error`.
    fn older(&self, key: &[u8], error: &LoadError<E>) -> Option<Found<V>> {
        if self.is_passing(error) { self.past_ttl(key) } else { None }
    }

    /// Whether an older value may stand in for a load that failed with `error`. An error that
    /// panics when it is asked counts as lasting: those who wait need an answer.
    ///
    /// # Callers must
    /// hold no lock: what an error says of itself is user code.
    pub(crate) fn is_passing(&self, error: &LoadError<E>) -> bool {
        self.policy.stale_if_error != Duration::ZERO
            && catch_unwind(AssertUnwindSafe(|| (self.is_transient)(error))).unwrap_or(false)
    }

    /// What memory has for `key` that may be served after a failure.
    fn past_ttl(&self, key: &[u8]) -> Option<Found<V>> {
        match self.cache.node.tier.get(key, self.within()) {
            Lookup::Hit(found) if found.state != State::Expired => Some(found),
            Lookup::Hit(_) | Lookup::Miss => None,
        }
    }

    /// The answer to a read whose load failed.
    fn despite(&self, bytes: &KeyEncoder, error: LoadError<E>) -> Result<Fetched<V>, LoadError<E>> {
        match self.older(bytes.finish().as_slice(), &error) {
            Some(found) => Ok(self.fetched_slowly(found, Source::StaleOnError)),
            None => Err(error),
        }
    }

    fn no_loader(&self) -> Error {
        Error::new(ErrorKind::Config, "load a value of region")
            .subject(format!("`{}`", self.name))
            .detail("it was built without a loader; give one, or call `get_or_load_with`")
    }

    pub(crate) fn count(&self, source: Source) {
        match source {
            Source::Hit => drop(self.counters.hits.add()),
            Source::Store => self.counters.store_hits.add(1),
            Source::StaleWhileRevalidate | Source::StaleOnError => self.counters.stale_hits.add(1),
            Source::Loaded | Source::Unproven => self.counters.misses.add(1),
            Source::BuiltOnStale => {
                self.counters.misses.add(1);
                self.counters.built_on_stale.add(1);
            }
            Source::Joined => {
                self.counters.misses.add(1);
                self.counters.joined.add(1);
            }
            Source::SecondFlight => {
                self.counters.misses.add(1);
                self.counters.second_flights.add(1);
            }
        }
    }
}

/// A flight that is on the map. Whatever ends its task, be it before the first poll, those who wait
/// get an answer and the key is free again.
struct Aloft<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> {
    region: Arc<Inner<K, V, E>>,
    key: KeyBytes,
    flight: Arc<Flight<V, E>>,
    landed: bool,
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Aloft<K, V, E> {
    async fn fly(mut self, start: Start<V, E>, asked_by: AskedBy) {
        let Self { region, key, flight, .. } = &self;
        let load = region.load(key, start, flight.run.clone(), asked_by);
        let landed = match region.on_abandon {
            OnAbandon::Finish => Some(load.await),
            OnAbandon::Cancel => {
                let give_up = || region.flights.give_up(key.as_slice(), flight);
                flight.unless_abandoned(load, give_up).await
            }
        };
        // If it was given up nobody waits and nobody can join: there is no one to tell.
        if let Some(landed) = landed {
            self.region.land(&self.key, &self.flight, landed);
        }
        self.landed = true;
    }
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Drop for Aloft<K, V, E> {
    fn drop(&mut self) {
        if !self.landed {
            let error = match thread::panicking() {
                true => LoadError::Panicked,
                false => LoadError::Cache(no_runtime()),
            };
            self.region.land(&self.key, &self.flight, Landed::failed(error));
        }
    }
}

/// The error of a load whose task was dropped.
#[cold]
fn no_runtime() -> Error {
    Error::new(ErrorKind::Closed, "load the value").detail(
        "the tokio runtime in which the cache was built is shut down, and loads run on that; build \
         the cache in a runtime that lives as long as it is read",
    )
}

impl<K, V, E> Clone for Region<K, V, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K, V, E> fmt::Debug for Region<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, policy, tracking, .. } = &*self.inner;
        f.debug_struct("Region")
            .field("name", name)
            .field("policy", policy)
            .field("tracking", tracking)
            .finish_non_exhaustive()
    }
}

/// A region whose entries depend on nothing: they live until their TTL.
///
/// It is everything a [`Region`] is, and values can be put into it by hand.
pub struct UntrackedRegion<K, V, E = Error>(pub(crate) Region<K, V, E>);

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> UntrackedRegion<K, V, E> {
    /// Puts `value` under `key`, in place of what was there, for the region's TTL.
    ///
    /// # Errors
    /// `Limit` when the value is larger than an entry may be, with both numbers; what was there is
    /// gone.
    pub async fn insert(&self, key: &K, value: V) -> Result<Arc<V>, Error> {
        self.0.begin(key).finish_or_refuse(value).await
    }
}

impl<K, V, E> Deref for UntrackedRegion<K, V, E> {
    type Target = Region<K, V, E>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K, V, E> fmt::Debug for UntrackedRegion<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
