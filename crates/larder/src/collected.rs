//! What a load has collected: the inheritance of an entry.
//!
//! Apart from `load`, the handle, because this is data and its rules. **Invariant**: it only gets
//! older and wider: whatever is added, the stamps never rise, the deadline never moves later, and
//! nothing that was depended on is left out.

use larder_core::{
    Dependency, DependencySet, Error, Moment, Stamps,
    safeguard::Safeguard,
    widen::{covers, widened},
};

/// Dependencies of one entry by default: at 120 to 220 bytes each, links included, about two
/// megabytes. Ten times fewer would widen lists that people do show on a page; ten times more would
/// make one entry cost milliseconds to store and as long to inherit.
pub(crate) const DEFAULT_DEPENDENCIES: usize = 10_000;

/// What was collected.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) stamps: Stamps,
    pub(crate) dependencies: DependencySet,
    /// The value is fresh until here at most.
    pub(crate) cap: Moment,
    /// Whether something that was read was not fresh itself.
    pub(crate) is_stale: bool,
    /// What was said that has no meaning.
    pub(crate) refused: Option<Error>,
    limit: usize,
}

/// What an entry passes on to those that are built from it.
#[derive(Clone, Debug)]
pub(crate) struct Inherited {
    pub(crate) stamps: Stamps,
    pub(crate) dependencies: DependencySet,
    pub(crate) fresh_until: Moment,
    pub(crate) is_stale: bool,
}

impl Collected {
    /// Nothing but `stamps`, with room for `limit` dependencies.
    pub(crate) fn new(stamps: Stamps, limit: usize) -> Self {
        let dependencies = DependencySet::new();
        Self { stamps, dependencies, cap: Moment::NEVER, is_stale: false, refused: None, limit }
    }

    /// Adds a dependency. Beyond the limit the set becomes a shorter, wider one.
    pub(crate) fn add(&mut self, dependency: Dependency) {
        if self.dependencies.is_widened() && covers(&self.dependencies, &dependency) {
            return;
        }
        self.dependencies.add(dependency);
        if self.limit < self.dependencies.len() {
            // Down to half of it, or each of the next ones would widen again.
            self.dependencies = widened(&self.dependencies, (self.limit / 2).max(1));
        }
    }

    /// Remembers the first thing that was said and has no meaning.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    /// Adds everything that an entry passes on, which was read at `now`. Twice is as once.
    pub(crate) fn inherit(&mut self, inherited: &Inherited, now: Moment) {
        inherited.stamps.iter().for_each(|stamp| self.stamps.add(stamp.clone()));
        if !Safeguard::ChildrenInherited.is_off() {
            inherited.dependencies.iter().for_each(|one| self.add(one.clone()));
        }
        inherited.dependencies.holds().iter().for_each(|hold| self.dependencies.keep(hold.clone()));
        if inherited.dependencies.is_widened() {
            self.dependencies.mark_widened();
        }
        self.cap = self.cap.min(inherited.fresh_until);
        if inherited.is_stale {
            self.is_stale = true;
            self.cap = self.cap.min(now);
        }
    }
}
