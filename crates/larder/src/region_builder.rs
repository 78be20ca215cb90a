//! Building a region: its loader, its deadlines, its limits.
//!
//! The only place where the defaults of a region stand. **Invariant**: nothing is checked before
//! `build`, and nothing that `build` accepted fails later.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use larder_core::{
    Error, ErrorKind, Key, Name, Weigh,
    freshness::{DEFAULT_MAX_STALENESS, Policy},
};

use crate::{
    cache::{CacheInner, Reads},
    claimed::SingleFlight,
    codec::Codec,
    error::{LoadError, Transient},
    flight::Flights,
    l2::L2,
    load::Load,
    loader::SharedLoader,
    region::{Inner, Region, Tracking, UntrackedRegion},
    rewarm::Reload,
    sample::Sample,
};

/// How long a load may take by default.
const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What becomes of a load when everybody who waited for it has left.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbandon {
    /// It goes on, up to its time limit, and is stored.
    Finish,
    /// It is dropped.
    Cancel,
}

/// Builds a [`Region`]. Made by [`crate::Cache::region`].
#[must_use = "a region is made by `build`"]
pub struct RegionBuilder<K, V, E = Error> {
    cache: Arc<CacheInner>,
    name: Arc<str>,
    ttl: Ttl,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    max_staleness: Duration,
    reads: Reads,
    load_timeout: Duration,
    on_abandon: OnAbandon,
    weigher: Arc<dyn Fn(&V) -> usize + Send + Sync>,
    loader: Option<SharedLoader<K, V, E>>,
    is_transient: fn(&LoadError<E>) -> bool,
    sample: Option<Sample<V>>,
    codec: Option<Codec<V>>,
    version: u32,
    single_flight: SingleFlight,
    key: PhantomData<K>,
}

#[derive(Clone, Copy)]
enum Ttl {
    Unset,
    Never,
    Of(Duration),
}

impl<K: Key, V: Send + Sync + 'static> RegionBuilder<K, V> {
    pub(crate) fn new(
        cache: Arc<CacheInner>,
        name: Arc<str>,
        weigher: impl Fn(&V) -> usize + Send + Sync + 'static,
    ) -> Self {
        Self {
            cache,
            name,
            ttl: Ttl::Unset,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_staleness: DEFAULT_MAX_STALENESS,
            reads: Reads::Anything,
            load_timeout: DEFAULT_LOAD_TIMEOUT,
            on_abandon: OnAbandon::Finish,
            weigher: Arc::new(weigher),
            loader: None,
            is_transient: LoadError::is_transient,
            sample: None,
            codec: None,
            version: 0,
            single_flight: SingleFlight::PerStore,
            key: PhantomData,
        }
    }
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> RegionBuilder<K, V, E> {
    /// How long a value is fresh, even if nothing is known to have changed.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::Of(ttl);
        self
    }

    /// Lets values be fresh until something they depend on changes.
    pub fn never_expires(mut self) -> Self {
        self.ttl = Ttl::Never;
        self
    }

    /// How long after its TTL a value may be served while it is loaded again. Default: not at all.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// How long after its TTL a value may be served when loading it failed for a [transient]
    /// reason. Default: not at all. An invalidated value is never served; one that was invalidated
    /// softly is, as if past its TTL, in regions with a `stale_while_revalidate`.
    ///
    /// [transient]: Transient
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// How old this node's knowledge of an origin may be for a value to count as fresh. Default
    /// 1 s; zero asks the origin before every read (2 to 5 microseconds for SQLite).
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// Says from which origins the loads of this region read, so that no other is asked for their
    /// sake. Those of nested entries belong to it. Can be called for each of them; without it every
    /// origin of the cache counts.
    ///
    /// A value that turns out to depend on another origin as well is still invalidated by it, but
    /// the knowledge of that origin is not renewed for a read of this region.
    pub fn reads(mut self, origin: impl Into<Name>) -> Self {
        let origin = origin.into();
        self.reads = match self.reads {
            Reads::Anything => Reads::Only(vec![origin]),
            Reads::Only(mut names) => {
                names.push(origin);
                Reads::Only(names)
            }
        };
        self
    }

    /// How long a load may take before those who wait get `Timeout`. Default 30 s.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// What becomes of a load that nobody waits for any more. Default: it finishes.
    pub fn on_abandon(mut self, on_abandon: OnAbandon) -> Self {
        self.on_abandon = on_abandon;
        self
    }

    /// Estimates the bytes a value owns on the heap, in place of its [`Weigh`].
    pub fn weigher(mut self, weigher: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        self.weigher = Arc::new(weigher);
        self
    }

    /// Loads one in `one_in` hits again and counts those that differ: the check on what no feed can
    /// see. Zero switches it off, which is the default.
    pub fn sample(
        mut self,
        one_in: u64,
        is_same: impl Fn(&V, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.sample = (one_in != 0).then(|| Sample { one_in, is_same: Arc::new(is_same) });
        self
    }

    /// Keeps values in the cache's store as well, where they outlive the process, as MessagePack
    /// with the names of fields.
    ///
    /// What is invalidated is gone from the store as well, also for the next process, and for
    /// others that have the store now. What depends on an origin is shared by all that follow its
    /// log; of one that has none, one cache at a time keeps something there, and what was read from
    /// tables that are not tracked nobody does.
    #[cfg(feature = "store")]
    pub fn stored(self) -> Self
    where
        V: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.stored_as(Codec::message_pack())
    }

    /// As [`RegionBuilder::stored`], with a codec of your own.
    pub fn stored_as(mut self, codec: Codec<V>) -> Self {
        self.codec = Some(codec);
        self
    }

    /// The version of the values: what another version left in the store is a miss. Default 0;
    /// raise it when the same bytes would mean something else.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Whether a key is loaded once for all processes that share the store of a region which is
    /// `stored`, or once in each. Default: once for all. Of others it says nothing.
    ///
    /// # Cost
    /// One small write before each load, and one each second while it runs. A process that loads
    /// what another one is loading waits for it for up to `load_timeout`, or three seconds after
    /// that one died or was stopped.
    pub fn single_flight(mut self, single_flight: SingleFlight) -> Self {
        self.single_flight = single_flight;
        self
    }

    /// The code that fetches a value. It runs detached, so it owns what it captures.
    ///
    /// It may read other regions, best through [`Load::get_or_load`], and its value inherits from
    /// theirs. It must not read its own key, be it through others: that is a `Cycle` error, or, if
    /// a spawned task does it without its load, a wait until `load_timeout`.
    pub fn loader<L, F, N>(self, loader: L) -> RegionBuilder<K, V, N>
    where
        L: Fn(K, Load) -> F + Send + Sync + 'static,
        F: Future<Output = Result<V, N>> + Send + 'static,
        N: Transient + Send + Sync + 'static,
    {
        let Self { cache, name, ttl, stale_while_revalidate, stale_if_error, .. } = self;
        RegionBuilder {
            cache,
            name,
            ttl,
            stale_while_revalidate,
            stale_if_error,
            max_staleness: self.max_staleness,
            reads: self.reads,
            load_timeout: self.load_timeout,
            on_abandon: self.on_abandon,
            weigher: self.weigher,
            loader: Some(Arc::new(move |key, load| Box::pin(loader(key, load)))),
            is_transient: LoadError::is_transient,
            sample: self.sample,
            codec: self.codec,
            version: self.version,
            single_flight: self.single_flight,
            key: PhantomData,
        }
    }

    /// Builds the region. Each of its values must name something it depends on.
    ///
    /// # Errors
    /// `Config` without a TTL (say `never_expires` if that is meant), with a TTL of zero, or when
    /// the cache has a region of this name, or the region is `stored` and cannot be; `NotFound`
    /// when it reads an origin the cache lacks.
    pub fn build(self) -> Result<Region<K, V, E>, Error> {
        self.build_as(Tracking::Tracked)
    }

    /// Builds a region whose values may depend on nothing and live until their TTL.
    ///
    /// # Errors
    /// As [`RegionBuilder::build`].
    pub fn build_untracked(self) -> Result<UntrackedRegion<K, V, E>, Error> {
        self.build_as(Tracking::Untracked).map(UntrackedRegion)
    }

    fn build_as(self, tracking: Tracking) -> Result<Region<K, V, E>, Error> {
        let policy = self.policy()?;
        if let Reads::Only(names) = &self.reads {
            names.iter().try_for_each(|name| self.cache.node.expect_timeline(name))?;
        }
        let l2 = self.l2(tracking)?;
        let (id, counters) = self.cache.regions.add(&self.name)?;
        let cache = self.cache.clone();
        let region = Region::new(Inner {
            id,
            name: self.name,
            cache: self.cache,
            policy,
            tracking,
            reads: self.reads,
            weigher: self.weigher,
            loader: self.loader,
            load_timeout: self.load_timeout,
            on_abandon: self.on_abandon,
            is_transient: self.is_transient,
            sample: self.sample,
            l2,
            flights: Flights::default(),
            counters,
        });
        let known: Arc<dyn Reload> = region.inner.clone();
        cache.regions.attach(id, Arc::downgrade(&known));
        Ok(region)
    }

    fn l2(&self, tracking: Tracking) -> Result<Option<L2<V>>, Error> {
        let Some(codec) = self.codec.clone() else { return Ok(None) };
        let refused = |why| {
            let error = Error::new(ErrorKind::Config, "build region");
            Err(error.subject(format!("`{}`", self.name)).detail(why))
        };
        match &self.cache.store {
            None => refused("it is `stored`, and its cache has no store; give it one with `store`"),
            Some(_) if tracking == Tracking::Tracked && self.cache.node.journal().is_none() => {
                match &self.cache.unattached {
                    Some(error) => Err(error.clone()),
                    None => refused(
                        "its values are tracked, and its store keeps only those that depend on \
                         nothing; build it with `build_untracked`, or leave out `stored`",
                    ),
                }
            }
            Some(store) => {
                let claims = match self.single_flight {
                    SingleFlight::PerStore => self.cache.claims.clone(),
                    SingleFlight::PerProcess => None,
                };
                let (store, version) = (store.clone(), self.version);
                Ok(Some(L2 { store, codec, version, claims }))
            }
        }
    }

    fn policy(&self) -> Result<Policy, Error> {
        let ttl = match self.ttl {
            Ttl::Of(ttl) => Some(ttl),
            Ttl::Never => None,
            Ttl::Unset => {
                return Err(Error::new(ErrorKind::Config, "build region")
                    .subject(format!("`{}`", self.name))
                    .detail("it has no TTL; call `ttl`, or `never_expires` if that is meant"));
            }
        };
        Ok(Policy {
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            max_staleness: self.max_staleness,
            ..Policy::new(ttl)?
        })
    }
}

impl<K, V, E> fmt::Debug for RegionBuilder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The weigher of values that weigh themselves.
pub(crate) fn own_weight<V: Weigh>(value: &V) -> usize {
    value.heap_bytes()
}
