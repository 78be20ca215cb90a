//! The load: an owned handle on which a loader says what its value was built from.
//!
//! Cloning shares the collection, so that spawned tasks can add to it. What it is told about other
//! regions is in `nested`. **Invariant**: the stamps it ends with are at or below what was really
//! read, whichever way the loader read it.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    Dependency, DependsOn, Error, ErrorKind, Name, Stamps, dependency::Hold, feed::Feed,
    origin::Origin, safeguard::Safeguard, timeline::APP,
};
use parking_lot::Mutex;

use crate::{
    ambient,
    cache::CacheInner,
    capacity::Lending,
    collected::{Collected, Inherited},
    node::SharedNode,
    waits::Run,
};

/// What a loader knows of its own run. Cheap to clone; clones collect into one set.
///
/// A loader that reads other regions does so through its load ([`Load::get_or_load`]) and inherits
/// what they were built from. Plain reads of a region inherit as well, as long as they are made in
/// the loader's own task. A spawned task or thread inherits only through a clone:
///
/// ```
/// # use larder::{Dependency, Error, Load, LoadError, Region};
/// # async fn load_page(load: Load, authors: Region<u32, String>) -> Result<String, Error> {
/// let inner = load.clone();
/// let name = tokio::spawn(async move {
///     inner.depends_on(Dependency::table("app", "Banner"));
///     inner.get_or_load(&authors, &7).await
/// });
/// # let name: Result<_, LoadError<Error>> =
/// name.await.expect("the task does not panic")
/// # ; Ok(name?.to_string()) }
/// ```
///
/// or through [`Load::scope`]. Whoever spawns must also wait for the task: what it says after the
/// loader has ended is lost.
#[derive(Clone)]
pub struct Load(Arc<State>);

struct State {
    node: SharedNode,
    feeds: Arc<[Arc<dyn Feed>]>,
    baseline: Stamps,
    runs: Runs,
    collected: Mutex<Collected>,
}

/// As what a load runs: for the graph of waits, and for the turn that it gives back meanwhile.
#[derive(Clone)]
pub(crate) struct Runs {
    pub(crate) run: Run,
    pub(crate) turn: Option<Lending>,
    /// How old the knowledge of an origin may be for what is read, as the region asks.
    pub(crate) max_staleness: Duration,
}

impl Load {
    /// Takes the confirmed stamps of all timelines: the load begins now.
    pub(crate) fn begin(cache: &CacheInner, runs: Runs) -> Self {
        let baseline = cache.node.stamps();
        let stamps = baseline.get(APP).cloned().into_iter().collect();
        let collected = Mutex::new(Collected::new(stamps, cache.max_dependencies));
        let (node, feeds) = (cache.node.clone(), cache.feeds.clone());
        Self(Arc::new(State { node, feeds, baseline, runs, collected }))
    }

    /// Says that the value depends on `what`: a [`Dependency`], a scope, or a tracked row with all
    /// that is nested in it.
    ///
    /// For something read from an origin by other means than [`Load::ask`], the value counts as of
    /// the position that was confirmed when this load began.
    ///
    /// What has no meaning (a list of no values) makes the load fail when it ends.
    pub fn depends_on(&self, what: impl DependsOn) -> &Self {
        let named = what.each(&mut |dependency| self.name(dependency));
        if let Err(error) = named {
            self.0.collected.lock().refuse(error);
        }
        self
    }

    fn name(&self, dependency: Dependency) {
        let hold = self.0.node.register(&dependency);
        let stamp = self.0.baseline.get(dependency.timeline()).cloned();
        let mut feeds = self.0.feeds.iter();
        let feed = feeds.find(|feed| feed.timeline() == dependency.timeline());
        let companion =
            feed.zip(stamp.as_ref()).and_then(|(feed, stamp)| feed.companion(&dependency, stamp));
        let mut collected = self.0.collected.lock();
        collected.stamps = std::mem::take(&mut collected.stamps).with(stamp);
        collected.add(dependency);
        companion.into_iter().for_each(|companion| collected.add(companion));
        hold.into_iter().for_each(|hold| collected.dependencies.keep(hold));
    }

    /// Says that the value depends on each of `several`: dependencies, or rows.
    pub fn depends_on_all(&self, several: impl IntoIterator<Item: DependsOn>) -> &Self {
        for what in several {
            self.depends_on(what);
        }
        self
    }

    /// Gives the value a label, by which it can be invalidated: a dependency on `app/Tag(name)`.
    pub fn tag(&self, name: impl Into<Arc<str>>) -> &Self {
        self.depends_on(Dependency::tag(name))
    }

    /// Lets the value be fresh for `at_most`, if that is shorter than its region's TTL.
    pub fn expires_within(&self, at_most: Duration) -> &Self {
        let cap = self.0.node.clock.now().plus(at_most);
        let mut collected = self.0.collected.lock();
        collected.cap = collected.cap.min(cap);
        drop(collected);
        self
    }

    /// Asks `origin`, and adds what the answer was built from and of which moment it is.
    ///
    /// # Errors
    /// The origin's; `NotFound` when the cache was built without this origin's feed.
    ///
    /// # Cost
    /// What the origin costs, and one lock for each dependency of the query.
    pub async fn ask<O: Origin>(&self, origin: &O, query: &O::Query) -> Result<O::Rows, Error> {
        let timeline = origin.timeline();
        let shape = origin.shape(query);
        let holds: Vec<Hold> =
            shape.iter().filter_map(|dependency| self.0.node.register(dependency)).collect();
        let before = self.0.node.stamp(timeline).ok_or_else(|| unknown(timeline))?;
        let mut answer = origin.load(query, before).await?;
        if Safeguard::AsOfBeforeLoad.is_off()
            && let Some(after) = self.0.node.stamp(timeline)
        {
            answer.stamp = after;
        }
        let mut collected = self.0.collected.lock();
        collected.stamps.add(answer.stamp);
        answer.dependencies.into_iter().for_each(|one| collected.add(one));
        holds.into_iter().for_each(|hold| collected.dependencies.keep(hold));
        drop(collected);
        Ok(answer.rows)
    }

    /// Runs `future` so that its plain reads of regions inherit into this load: for a task or a
    /// thread that the loader starts, and for a value that is computed after [`Region::begin`].
    ///
    /// ```
    /// # use larder::{Error, Load, LoadError, Region};
    /// # async fn load_page(load: Load, authors: Region<u32, String>) -> Result<String, Error> {
    /// let part = load.scope(async move { authors.get_or_load(&7).await });
    /// let name = tokio::spawn(part).await.expect("the task does not panic");
    /// # let name: Result<_, LoadError<Error>> = name; Ok(name?.to_string()) }
    /// ```
    ///
    /// Tasks that `future` spawns need a scope of their own.
    ///
    /// # Cancel safety
    /// That of `future`.
    ///
    /// # Cost
    /// Two words written at each poll; and each plain read inside is one that inherits.
    ///
    /// [`Region::begin`]: crate::Region::begin
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        ambient::within(self.clone(), future)
    }

    /// What was collected so far.
    pub(crate) fn collected(&self) -> Collected {
        self.0.collected.lock().clone()
    }

    /// Adds everything that an entry passes on.
    pub(crate) fn inherit(&self, inherited: &Inherited) {
        let now = self.0.node.clock.now();
        self.0.collected.lock().inherit(inherited, now);
    }

    /// What is known in the cache that this load is of.
    pub(crate) fn node(&self) -> &SharedNode {
        &self.0.node
    }

    /// As what it runs.
    pub(crate) fn runs(&self) -> &Runs {
        &self.0.runs
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("collected", &*self.0.collected.lock()).finish_non_exhaustive()
    }
}

fn unknown(timeline: &Name) -> Error {
    Error::new(ErrorKind::NotFound, "ask the origin")
        .subject(format!("`{timeline}`"))
        .detail("the cache does not know this timeline; build it with the origin's feed")
}
