//! The memory tier: the handle that the library holds.
//!
//! It only forwards to `shared.rs` and owns the sweeper's life. **Invariant**: the sweeper runs
//! while a handle is there and ends when the last one is gone.

use std::{any::Any, sync::Arc};

use larder_core::{Clock, Digest, KeyRef, Moment};

use crate::{
    entry::{
        Cause, Inserted, Inspection, Invalidation, Knowledge, Lookup, MemoryLimit, MemoryStats,
        NewEntry, Whole,
    },
    gates::Pass,
    reach::{Cursor, Dependent, Reach, Tally},
    shared::Shared,
    sweeper,
    sync::{Mutex, thread},
};

/// The entries of one cache in this process. Clones share everything.
#[derive(Clone, Debug)]
pub struct MemoryTier(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    sweeper: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Tells the sweeper to finish; does not wait for it.
impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.jobs.close();
    }
}

impl MemoryTier {
    /// An empty tier that takes at most `limit`, and its sweeper thread.
    ///
    /// One entry may take an eighth of the limit (of a limit under 9 MiB: more, at least 1 MiB; of
    /// one under 3 MiB: nearly all).
    pub fn new(limit: MemoryLimit, clock: Clock) -> Self {
        let shared = Arc::new(Shared::new(limit, clock));
        let sweeper = Mutex::new(sweeper::start(&shared));
        Self(Arc::new(Handle { shared, sweeper }))
    }

    /// What an entry stamped on `timelines` is filled under.
    ///
    /// # Callers must
    /// take it *before* they check the histories for the fill, or a restart in between is missed.
    ///
    /// # Cost
    /// A shared lock and a walk over the distinct sets of timelines seen, usually a handful.
    pub fn pass<'a>(&self, timelines: impl IntoIterator<Item = &'a str>) -> Pass {
        self.0.shared.gates.pass(timelines)
    }

    /// Stores an entry in place of what is under its key.
    ///
    /// `still_valid` is asked once, after the entry is linked and before anybody can hit it: it
    /// must answer whether the histories of changes know nothing that touched it.
    ///
    /// # Callers must
    /// apply a change to the history first and call [`MemoryTier::invalidate`] second. Then a fill
    /// and a change that race see each other in every order.
    ///
    /// # Cost
    /// One lock and one link for each digest; the same again for every entry that makes room.
    pub fn insert(&self, entry: NewEntry, still_valid: impl FnOnce() -> bool) -> Inserted {
        self.0.shared.insert(entry, still_valid)
    }

    /// The valid entry under `key`. One whose value is not a `V` is a miss.
    ///
    /// # Freshness
    /// Never an entry that was invalidated by a call that returned before this one began, nor one
    /// at or past its last deadline. Past its TTL its state says what it is good for.
    ///
    /// # Cost
    /// No allocation, and no more for many dependencies than for none.
    #[inline(always)]
    pub fn get<'k, V: Any + Send + Sync>(
        &self,
        key: impl Into<KeyRef<'k>>,
        knowledge: Knowledge,
    ) -> Lookup<V> {
        self.0.shared.get(key.into(), knowledge)
    }

    /// The valid entry under `key` with what it was built from, all of the same fill: what another
    /// entry that is built from it inherits. `None` as for [`MemoryTier::get`], and for an entry
    /// that was softened: what is built anew is not built on it.
    ///
    /// # Cost
    /// A hit, one lock, and a copy of its dependencies.
    pub fn whole<'k, V: Any + Send + Sync>(
        &self,
        key: impl Into<KeyRef<'k>>,
        knowledge: Knowledge,
    ) -> Option<Whole<V>> {
        self.0.shared.whole(key.into(), knowledge)
    }

    /// Removes the entry under `key`; whether there was a valid one.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.0.shared.remove(key.into())
    }

    /// Invalidates whatever depends on any of `digests`, and says how many entries that were.
    ///
    /// The number is exact for a digest with few dependents; for one with more than 64 it is the
    /// number of entries linked, of which a few may have ended in another way a moment ago.
    ///
    /// # Freshness
    /// When it returns, no later [`MemoryTier::get`] hits any of them.
    ///
    /// # Cost
    /// A lock for each digest and up to 64 words; never more for more dependents, unless over a
    /// hundred such invalidations are still being carried out (or the tier is closed): then a few
    /// nanoseconds each.
    pub fn invalidate(&self, digests: &[Digest], cause: &Cause) -> usize {
        self.0.shared.invalidate(digests, cause)
    }

    /// Ends the freshness of whatever depends on any of `digests`, and says how many entries that
    /// were. An entry with no `stale_while_revalidate` is invalidated.
    ///
    /// # Freshness
    /// When it returns, no later [`MemoryTier::get`] finds any of them fresh. What it finds is
    /// stale by their deadlines, counted from this call.
    ///
    /// # Callers must
    /// have changed the history first, as for [`MemoryTier::invalidate`].
    ///
    /// # Cost
    /// As [`MemoryTier::invalidate`].
    pub fn soften(&self, digests: &[Digest], cause: &Cause) -> usize {
        self.0.shared.soften(digests, cause)
    }

    /// Entries that depend on `digest`.
    pub fn dependents(&self, digest: Digest) -> usize {
        self.0.shared.links.dependents(digest)
    }

    /// What `reach` comes to now, without changing anything.
    ///
    /// # Freshness
    /// Entries that come or go while it counts may be counted or not.
    ///
    /// # Cost
    /// About 100 ns for each entry, in pieces: no lock is held for longer than a copy of 65,536
    /// links takes.
    pub fn tally(&self, reach: &Reach) -> Tally {
        self.0.shared.tally(reach)
    }

    /// Whether `reach` comes to more than `limit` entries. An entry that is hit before and after
    /// this call is among those it counts.
    ///
    /// # Cost
    /// A lock for each digest where there are no more links than that; else as
    /// [`MemoryTier::tally`], up to the limit.
    pub fn exceeds(&self, reach: &Reach, limit: u64) -> bool {
        self.0.shared.exceeds(reach, limit)
    }

    /// Shows up to `size` entries of `reach` from `cursor` on, each once; where the next page
    /// begins, `None` behind the last.
    ///
    /// # Callers must
    /// only copy in `show`: it is called under a lock.
    ///
    /// # Freshness
    /// See [`Cursor`].
    ///
    /// # Cost
    /// Bounded by `size`, whatever the reach comes to. So a page may be shorter, even empty: only
    /// `None` is the end.
    pub fn page(
        &self,
        reach: &Reach,
        cursor: Cursor,
        size: usize,
        mut show: impl FnMut(Dependent<'_>),
    ) -> Option<Cursor> {
        self.0.shared.page(reach, cursor, size, &mut show)
    }

    /// Everything on `timeline` before `moment` is known and was applied here.
    pub fn prove(&self, timeline: &str, moment: Moment) {
        self.0.shared.gates.prove(timeline, moment);
    }

    /// Invalidates every entry that is stamped on `timeline`, in one step.
    ///
    /// # Callers must
    /// have changed the history first, as for [`MemoryTier::invalidate`].
    pub fn shut(&self, timeline: &str, cause: &Cause) {
        self.0.shared.shut(timeline, cause);
    }

    /// Everything the tier knows about the entry under `key`, valid or not.
    pub fn inspect(&self, key: &[u8]) -> Option<Inspection> {
        self.0.shared.inspect(key)
    }

    /// What invalidated `key` last, as far as it is remembered: the last 4096 keys are.
    pub fn last_invalidation(&self, key: &[u8]) -> Option<Invalidation> {
        self.0.shared.last_invalidation(key)
    }

    /// Numbers for metrics.
    ///
    /// # Cost
    /// Takes each shard's lock for a moment; for a scrape, not for a request.
    pub fn stats(&self) -> MemoryStats {
        self.0.shared.stats()
    }

    /// Waits until the sweeper has nothing left to do.
    pub fn settle(&self) {
        self.0.shared.jobs.settle();
    }

    /// Stops the sweeper after what it has left to do, and waits for it. The tier works on; whoever
    /// invalidates then clears away himself.
    pub fn close(&self) {
        self.0.shared.jobs.close();
        let sweeper = self.0.sweeper.lock().take();
        // A value that closes the cache when it is dropped may be dropped by the sweeper.
        if let Some(sweeper) = sweeper.filter(|s| s.thread().id() != thread::current().id())
            && sweeper.join().is_err()
        {
            tracing::error!("the memory tier's sweeper panicked, probably in the drop of a value");
        }
    }
}
