//! Landing: what becomes of a loaded value.
//!
//! Every late writer ends here: the flight of a read, the refresh behind a stale answer, and the
//! value that was computed by hand. **Invariant**: a value is published only after it was linked
//! under its dependencies *and then* found untouched by everything this node knows:
//!
//! 1. A load takes its stamps and reads the old row.
//! 2. The row changes; the change is written into the history, then looks for linked entries.
//! 3. The value is linked, then the history is asked.
//!
//! Whichever of 2 and 3 comes first, one of them sees the other: if the change looked for links
//! before the value was linked, its line is in the history when the value asks.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Dependency, DependencySet, Error, ErrorKind, KeyBytes, Moment, Name, Stamps, flight::Arrival,
    freshness::Deadlines, store::Written,
};
use larder_memory::{Inserted, NewEntry};

use crate::{
    ambient,
    capacity::{AskedBy, Lending},
    claimed::{Claimed, Next},
    collected::Collected,
    error::LoadError,
    fetched::{Fetched, Kept, Source},
    flight::Takers,
    load::{Load, Runs},
    loader,
    node::Node,
    region::{Inner, Tracking},
    waits::{Run, Waits},
};

/// The end of a load.
pub(crate) struct Landed<V, E> {
    pub(crate) result: Result<Arc<V>, LoadError<E>>,
    pub(crate) deadlines: Option<Deadlines>,
    pub(crate) kept: Kept,
    /// Why it can never be kept, if it is larger than an entry may be.
    pub(crate) too_large: Option<Error>,
    /// Whether the value was built from another one that was not fresh.
    pub(crate) is_stale: bool,
    pub(crate) stamps: Stamps,
    pub(crate) dependencies: DependencySet,
    /// When it landed.
    at: Moment,
    came: Came,
    takers: Takers,
}

/// Where the value of a flight came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Loaded,
    FromStore,
}

impl<V, E> Landed<V, E> {
    pub(crate) fn failed(error: LoadError<E>) -> Self {
        Self {
            result: Err(error),
            deadlines: None,
            kept: Kept::Not,
            too_large: None,
            is_stale: false,
            stamps: Stamps::new(),
            dependencies: DependencySet::new(),
            at: Moment::EARLIEST,
            came: Came::Loaded,
            takers: Takers::default(),
        }
    }

    /// A value that was in the store and is in memory now.
    pub(crate) fn promoted(
        value: Arc<V>,
        deadlines: Deadlines,
        kept: Kept,
        stamps: Stamps,
        dependencies: DependencySet,
        at: Moment,
    ) -> Self {
        Self {
            result: Ok(value),
            deadlines: Some(deadlines),
            kept,
            too_large: None,
            is_stale: false,
            stamps,
            dependencies,
            at,
            came: Came::FromStore,
            takers: Takers::default(),
        }
    }

    /// The answer to a reader who took `value` from here in the way of `source`.
    pub(crate) fn fetched(&self, value: Arc<V>, source: Source) -> Fetched<V> {
        let ttl_left = self.deadlines.and_then(|deadlines| {
            let never = deadlines.fresh_until == Moment::NEVER;
            (!never).then(|| deadlines.fresh_until.since(self.at))
        });
        let age =
            self.deadlines.map_or(Duration::ZERO, |deadlines| self.at.since(deadlines.stored));
        let source = match self.came {
            Came::FromStore => Source::Store,
            Came::Loaded if self.is_stale => Source::BuiltOnStale,
            Came::Loaded => source,
        };
        let past_ttl = Duration::ZERO;
        Fetched { value, source, kept: self.kept, age, ttl_left, past_ttl }
    }

    /// Whether the value was built from something on one of `timelines`.
    pub(crate) fn is_of(&self, timelines: &[Name]) -> bool {
        timelines.iter().any(|timeline| self.dependencies.reads(timeline))
    }

    /// Whether a reader that came at `arrival` may have this value.
    pub(crate) fn may_be_taken(&self, node: &Node, arrival: &Arrival) -> bool {
        self.takers.ask(arrival, || node.may_take(&self.stamps, &self.dependencies, arrival))
    }
}

/// How long a load waits for the origin to show what it has already announced.
const SETTLE: Duration = Duration::from_secs(1);

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// Takes the value from the store, or runs one load from its turn to its landing.
    pub(crate) async fn load<F>(
        &self,
        key: &KeyBytes,
        start: impl FnOnce(Load) -> F,
        run: Run,
        asked_by: AskedBy,
    ) -> Landed<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        // A store that does not answer has been said and counted; the value is loaded.
        if let Ok(Some(landed)) = self.find_in_store(key).await {
            return landed;
        }
        let (claimed, turn) = match self.claim(key, asked_by).await {
            Ok(Next::Land(landed)) => return *landed,
            Ok(Next::Load(claimed, turn)) => (claimed, turn),
            Err(error) => {
                self.counters.overloaded.add(1);
                return Landed::failed(error.into());
            }
        };
        self.cache.settle(SETTLE, &self.reads).await;
        let load = self.begin_as(run, Some(turn.lending()));
        let begun = self.cache.node.clock.now();
        self.counters.loads.add(1);
        let own = load.clone();
        let loading = ambient::within(load.clone(), async move { start(own).await });
        let result = loader::run(loading, self.load_timeout).await;
        let micros = self.cache.node.clock.now().since(begun).as_micros();
        self.counters.load_micros.add(usize::try_from(micros).unwrap_or(usize::MAX));
        match result {
            Ok(value) => self.store(key, value, load.collected(), claimed).await,
            Err(error) => {
                self.counters.load_errors.add(1);
                Landed::failed(error)
            }
        }
    }

    /// Begins a load that is no flight; inside a loader it waits as that loader does.
    pub(crate) fn begin(&self) -> Load {
        match ambient::current() {
            Some(outer) => self.begin_as(outer.runs().run.clone(), outer.runs().turn.clone()),
            None => self.begin_as(Waits::of_process().run(&self.name), None),
        }
    }

    pub(crate) fn begin_as(&self, run: Run, turn: Option<Lending>) -> Load {
        let max_staleness = self.policy.max_staleness;
        Load::begin(&self.cache, Runs { run, turn, max_staleness })
    }

    /// Stores a loaded value if it still reflects everything this node knows. A dependency on a
    /// timeline that this cache does not have is an error: no change could ever reach the entry.
    pub(crate) async fn store(
        &self,
        key: &KeyBytes,
        value: V,
        collected: Collected,
        mut claimed: Claimed,
    ) -> Landed<V, E> {
        let Collected { stamps, dependencies, cap, is_stale, refused, .. } = collected;
        if let Some(error) = refused {
            self.counters.load_errors.add(1);
            let named = Error::new(error.kind(), "store the value of region");
            let named = named.subject(format!("`{}`", self.name)).detail(error.to_string());
            return Landed::failed(named.into());
        }
        if self.tracking == Tracking::Tracked && dependencies.is_empty() {
            self.counters.load_errors.add(1);
            return Landed::failed(self.untracked().into());
        }
        let known = |one: &Dependency| self.cache.node.expect_timeline(one.timeline());
        if let Err(error) = dependencies.iter().try_for_each(known) {
            self.counters.load_errors.add(1);
            return Landed::failed(error.into());
        }
        if dependencies.is_widened() {
            self.say_widened();
        }
        // The load may stand beyond what the watcher has seen, or on a file that is gone.
        let proven = self.cache.catch_up(&stamps).await.is_ok();
        let now = self.cache.node.clock.now();
        let deadlines = self.policy.deadlines(now, cap);
        let value = Arc::new(value);
        // Built from something that is stale, it may be of no use to anybody already.
        let inserted = (proven && now < deadlines.gone_at())
            .then(|| self.publish(key, &value, deadlines, &stamps, &dependencies));
        let mut kept = if inserted == Some(Inserted::Stored) { Kept::InMemory } else { Kept::Not };
        let too_large = match inserted {
            Some(Inserted::TooLarge { weight, limit }) => Some(self.too_large(weight, limit)),
            Some(Inserted::Stored | Inserted::Overtaken) | None => None,
        };
        if kept == Kept::InMemory {
            let proof = (&stamps, &dependencies);
            let written = self.keep_in_store(key, &value, deadlines, proof, &mut claimed).await;
            if written == Written::Outrun && claimed.is_held() {
                // What the store has is newer: the next reader finds that. Without a claim nobody
                // can say whose load began later.
                self.cache.node.tier.remove(key.as_slice());
                kept = Kept::Not;
            }
        } else if too_large.is_some() {
            self.forget_in_store(key).await;
        }
        let (result, deadlines) = (Ok(value), Some(deadlines));
        let takers = Takers::default();
        let (at, came) = (now, Came::Loaded);
        Landed {
            result,
            deadlines,
            kept,
            too_large,
            is_stale,
            stamps,
            dependencies,
            at,
            came,
            takers,
        }
    }

    fn say_widened(&self) {
        if self.counters.widened.add_first() {
            tracing::warn!(
                region = %self.name,
                limit = self.cache.max_dependencies,
                "an entry depends on more than the limit, so it falls with whole tables; said \
                 once, counted always; raise `max_dependencies` or depend on scopes"
            );
        }
    }

    pub(crate) fn publish(
        &self,
        key: &KeyBytes,
        value: &Arc<V>,
        deadlines: Deadlines,
        stamps: &Stamps,
        dependencies: &DependencySet,
    ) -> Inserted {
        let node = &self.cache.node;
        let pass = node.tier.pass(stamps.iter().map(|stamp| &*stamp.timeline));
        let entry = NewEntry {
            key: key.clone(),
            value: value.clone(),
            value_bytes: (self.weigher)(value) + size_of::<V>(),
            deadlines,
            dependencies: dependencies.clone(),
            stamps: stamps.clone(),
            pass,
        };
        let inserted = node.tier.insert(entry, || node.may_store(stamps, dependencies));
        match inserted {
            Inserted::Stored => {}
            Inserted::Overtaken if node.is_forgotten(stamps, dependencies) => {
                self.counters.forgotten.add(1);
            }
            Inserted::Overtaken => self.counters.overtaken.add(1),
            Inserted::TooLarge { .. } => self.counters.too_large.add(1),
        }
        inserted
    }

    #[cold]
    fn too_large(&self, weight: u64, limit: u64) -> Error {
        Error::new(ErrorKind::Limit, "store a value of region")
            .subject(format!("`{}`", self.name))
            .detail(format!(
                "it counts {weight} bytes, an entry at most {limit}; raise the memory limit or \
                 split the value"
            ))
    }

    fn untracked(&self) -> Error {
        Error::new(ErrorKind::Untracked, "store the value of region")
            .subject(format!("`{}`", self.name))
            .detail(
                "the load named nothing it depends on, so no change could ever reach the entry; \
                 call `depends_on`, or build the region with `build_untracked`",
            )
    }
}
