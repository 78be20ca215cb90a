//! The load: an owned handle on which a loader says what its value was built from.
//!
//! Cloning shares the collection, so that spawned tasks can add to it. **Invariant**: the stamps it
//! ends with are at or below what was really read, whichever way the loader read it.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    Dependency, DependencySet, Error, ErrorKind, Moment, Name, Stamps, origin::Origin,
    safeguard::Safeguard, timeline::APP,
};
use parking_lot::Mutex;

use crate::node::SharedNode;

/// What a loader knows of its own run. Cheap to clone; clones collect into one set.
///
/// What a spawned task reads is counted only if the task gets a clone:
///
/// ```
/// # use larder::{Dependency, Load};
/// # async fn read(load: Load) {
/// let inner = load.clone();
/// let part = tokio::spawn(async move {
///     inner.depends_on(Dependency::table("app", "Author"));
/// });
/// # part.await.ok();
/// # }
/// ```
#[derive(Clone)]
pub struct Load {
    node: SharedNode,
    baseline: Arc<Stamps>,
    collected: Arc<Mutex<Collected>>,
}

/// What was collected.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) stamps: Stamps,
    pub(crate) dependencies: DependencySet,
    pub(crate) cap: Moment,
}

impl Load {
    /// Takes the confirmed stamps of all timelines: the load begins now.
    pub(crate) fn begin(node: SharedNode) -> Self {
        let baseline = node.stamps();
        let stamps = baseline.get(APP).cloned().into_iter().collect();
        let collected =
            Collected { stamps, dependencies: DependencySet::new(), cap: Moment::NEVER };
        Self { node, baseline: Arc::new(baseline), collected: Arc::new(Mutex::new(collected)) }
    }

    /// Says that the value depends on `dependency`.
    ///
    /// For something read from an origin by other means than [`Load::ask`], the value counts as of
    /// the position that was confirmed when this load began.
    pub fn depends_on(&self, dependency: Dependency) -> &Self {
        self.node.register(&dependency);
        let stamp = self.baseline.get(dependency.timeline()).cloned();
        let mut collected = self.collected.lock();
        collected.stamps = std::mem::take(&mut collected.stamps).with(stamp);
        collected.dependencies.add(dependency);
        drop(collected);
        self
    }

    /// Says that the value depends on each of `dependencies`.
    pub fn depends_on_all(&self, dependencies: impl IntoIterator<Item = Dependency>) -> &Self {
        for dependency in dependencies {
            self.depends_on(dependency);
        }
        self
    }

    /// Gives the value a label, by which it can be invalidated: a dependency on `app/Tag(name)`.
    pub fn tag(&self, name: impl Into<Arc<str>>) -> &Self {
        self.depends_on(Dependency::tag(name))
    }

    /// Lets the value be fresh for `at_most`, if that is shorter than its region's TTL.
    pub fn expires_within(&self, at_most: Duration) -> &Self {
        let cap = self.node.clock.now().plus(at_most);
        let mut collected = self.collected.lock();
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
        for dependency in origin.shape(query) {
            self.node.register(&dependency);
        }
        let before = self.node.stamp(timeline).ok_or_else(|| unknown(timeline))?;
        let mut answer = origin.load(query, before).await?;
        if Safeguard::AsOfBeforeLoad.is_off()
            && let Some(after) = self.node.stamp(timeline)
        {
            answer.stamp = after;
        }
        let mut collected = self.collected.lock();
        collected.stamps.add(answer.stamp);
        collected.dependencies.extend(answer.dependencies);
        drop(collected);
        Ok(answer.rows)
    }

    /// What was collected so far.
    pub(crate) fn collected(&self) -> Collected {
        self.collected.lock().clone()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("collected", &*self.collected.lock()).finish_non_exhaustive()
    }
}

fn unknown(timeline: &Name) -> Error {
    Error::new(ErrorKind::NotFound, "ask the origin")
        .subject(format!("`{timeline}`"))
        .detail("the cache does not know this timeline; build it with the origin's feed")
}
