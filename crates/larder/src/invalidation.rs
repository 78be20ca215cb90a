//! Invalidating as a whole: many dependencies in one step, looked at before it is taken.
//!
//! [`crate::Cache::invalidate`] is the short form of this. It stands apart from `node.rs`, which
//! carries the step out. **Invariant**: nothing happens before `commit`, and `commit` does all of
//! it, at one position of the timeline `app`, or nothing.

use std::{fmt, sync::Arc};

use larder_core::{Dependency, Error, ErrorKind, Invalidation, Mode, token::Token};

use crate::{
    cache::CacheInner,
    preview::{self, Preview},
    rewarm::{self, Rewarm, Rewarming},
};

/// An invalidation that is being put together. Made by [`crate::Cache::invalidation`].
///
/// Dropping it without [`Invalidating::commit`] does nothing: so it can be collected beside a
/// transaction, committed after that, and dropped where the transaction is rolled back.
///
/// ```
/// use larder::{Cache, Dependency, Error};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let cache = Cache::builder().build()?;
/// let invalidation = cache
///     .invalidation()
///     .drop_all_of([Dependency::id("app", "Article", [7]), Dependency::tag("front-page")])
///     .at_most(1000);
/// println!("{} entries would fall", invalidation.preview()?.total.entries);
/// let done = invalidation.commit().await?;
/// assert_eq!(done.touched, [0, 0]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing is invalidated before `commit`"]
pub struct Invalidating {
    cache: Arc<CacheInner>,
    content: Invalidation,
    limit: Limit,
    rewarm: Option<Rewarm>,
}

/// How many entries may fall.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    None,
    AtMost(u64),
}

/// What an invalidation did.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Invalidated {
    /// A read with this token sees the change on any node.
    pub token: Token,
    /// How many entries each dependency made fall, or stale, in the order they were given. An entry
    /// that several of them reach counts for the first.
    pub touched: Vec<usize>,
    /// What is being loaded again, if that was asked for.
    pub rewarming: Option<Rewarming>,
}

/// What [`crate::Cache::changed`] did.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Told {
    /// A read with this token sees the change on any node.
    pub token: Token,
    /// How many entries fell.
    pub entries: usize,
}

impl Invalidated {
    /// What becomes of an invalidation that names nothing, on a node that stands at `token`.
    pub(crate) fn nothing(token: Token) -> Self {
        Self { token, touched: Vec::new(), rewarming: None }
    }
}

impl Invalidating {
    pub(crate) fn new(cache: Arc<CacheInner>, content: Invalidation) -> Self {
        Self { cache, content, limit: Limit::None, rewarm: None }
    }

    /// Adds `dependencies`: every entry built from one of them falls, or is stale if it is
    /// [`Invalidating::soft`].
    pub fn drop_all_of(mut self, dependencies: impl IntoIterator<Item = Dependency>) -> Self {
        self.content.extend(dependencies);
        self
    }

    /// Lets the entries fall at once, which is the default.
    pub fn hard(mut self) -> Self {
        self.content.set_mode(Mode::Hard);
        self
    }

    /// Makes the entries stale instead, from the commit on, as if their TTL had just ended: who
    /// reads one gets it as stale while it is loaded again behind, for as long as its region's
    /// `stale_while_revalidate` says, and where loading it fails for as long as `stale_if_error`
    /// says, if that is longer; a loader that reads one gets it in the second case only. Where a
    /// region has no `stale_while_revalidate`, its entries fall.
    ///
    /// A load that was running is not stored as fresh either; who comes after does not get it.
    pub fn soft(mut self) -> Self {
        self.content.set_mode(Mode::Soft);
        self
    }

    /// Refuses to let more than `entries` fall: against the one tag too many.
    pub fn at_most(mut self, entries: u64) -> Self {
        self.limit = Limit::AtMost(entries);
        self
    }

    /// After the commit, loads the most read of the entries again by their regions' own loaders,
    /// the hottest first, as flights that readers join. Which are hot is known from one hit in 64.
    ///
    /// The commit does not wait for it: see [`Invalidated::rewarming`]. Entries of regions without
    /// a loader are skipped and counted.
    pub fn rewarm(mut self, rewarm: Rewarm) -> Self {
        self.rewarm = Some(rewarm);
        self
    }

    /// What would be invalidated, and how: to be encoded, or shown.
    pub fn content(&self) -> &Invalidation {
        &self.content
    }

    /// What `commit` would do now, without doing it.
    ///
    /// # Errors
    /// As [`Invalidating::commit`], but for the limit.
    ///
    /// # Cost
    /// About 100 ns for each entry that would fall, on the caller's thread; no lock is held for
    /// long.
    ///
    /// # Consistency
    /// Entries that are stored or end while it counts may be counted or not.
    pub fn preview(&self) -> Result<Preview, Error> {
        self.check()?;
        Ok(preview::preview(&self.cache, self.content.dependencies()))
    }

    /// Invalidates, as one step on the timeline `app`.
    ///
    /// When it returns no reader of this cache is given one of the entries as fresh, and no load
    /// that began before is stored or given to a reader that comes after.
    ///
    /// # Errors
    /// `Config` without a dependency, or with a rewarm that may load nothing at once; `NotFound`
    /// when one names a timeline this cache does not have; `Limit` when more entries would fall
    /// than [`Invalidating::at_most`] allows, with both numbers. Nothing was invalidated then; to
    /// commit it with another limit after a refusal, keep a clone. What keeps the store from noting
    /// it, if there is one with tracked values: this process has invalidated, and notes it as soon
    /// as it can, but should it end before, another one does not know.
    ///
    /// # Cost
    /// Bounded for each dependency, however many entries depend on it: entries beyond the first few
    /// are swept behind. With a limit that is smaller than the number of links: about 100 ns for
    /// each entry up to the limit, during which other invalidations and loads that begin wait. With
    /// a rewarm: about 200 ns for each entry that falls, before it does, once the limit allows
    /// them.
    ///
    /// # Cancel safety
    /// Once polled it is done in this process. With a store that keeps tracked values it then waits
    /// until that has noted it on the disk; dropped meanwhile, it is noted all the same, soon.
    ///
    /// # Consistency
    /// The limit and the step see the same entries: what is being stored meanwhile was counted, or
    /// finds out that it was overtaken and is not stored. The number that a refusal names is
    /// counted afterwards, and may differ a little.
    pub async fn commit(self) -> Result<Invalidated, Error> {
        self.check()?;
        let node = &self.cache.node;
        // What is refused anyway is not searched for what is hot: that is a walk over all of it.
        if self.rewarm.is_some()
            && let Limit::AtMost(most) = self.limit
            && node.tier.exceeds(&preview::reach(self.content.dependencies()), most)
        {
            return Err(self.beyond_the_limit());
        }
        // Before they fall: afterwards nobody knows what they were built from.
        let chosen = self.rewarm.map(|rewarm| {
            let chosen = rewarm::choose(&self.cache, self.content.dependencies(), rewarm.at_most);
            (chosen, rewarm.concurrency)
        });
        let Some((token, touched)) = node.invalidate(&self.content, self.limit) else {
            return Err(self.beyond_the_limit());
        };
        node.counters.invalidations.add(1);
        let rewarming =
            chosen.map(|(chosen, concurrency)| rewarm::start(&self.cache, chosen, concurrency));
        node.make_durable().await?;
        Ok(Invalidated { token, touched, rewarming })
    }

    fn check(&self) -> Result<(), Error> {
        let dependencies = self.content.dependencies();
        if dependencies.is_empty() {
            return Err(refused("it names nothing; add what changed with `drop_all_of`"));
        }
        if self.rewarm.is_some_and(|rewarm| rewarm.concurrency == 0) {
            return Err(refused("0 entries may be loaded again at once; allow at least one"));
        }
        let known = |one: &Dependency| self.cache.node.expect_timeline(one.timeline());
        dependencies.iter().try_for_each(known)
    }

    fn beyond_the_limit(&self) -> Error {
        let Limit::AtMost(limit) = self.limit else { return refused("it has no limit") };
        let reach = preview::reach(self.content.dependencies());
        let entries = self.cache.node.tier.tally(&reach).total.entries;
        Error::new(ErrorKind::Limit, "invalidate").detail(format!(
            "{entries} entries would fall, at most {limit} may; nothing was dropped; name less, or \
             raise the limit if all of them are meant"
        ))
    }
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Config, "invalidate").detail(why)
}

impl fmt::Debug for Invalidating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidating")
            .field("content", &self.content)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
