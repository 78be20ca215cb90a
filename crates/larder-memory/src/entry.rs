//! The data that goes in and out of the memory tier.
//!
//! Plain structs and enums without behaviour, apart from `tier.rs` so that the surface can be read
//! at a glance. **Invariant**: nothing here names the eviction engine.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use larder_core::{
    Dependency, DependencySet, KeyBytes, Moment, Name, Position, Stamps,
    freshness::{Deadlines, State},
};

use crate::gates::Pass;

/// How much memory the tier may take. There is no way to say "unbounded".
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Bytes of keys, values, bookkeeping and links together.
    Bytes(u64),
}

impl MemoryLimit {
    /// At most `bytes`. Less than [`MemoryLimit::SMALLEST`] is raised to it.
    pub fn bytes(bytes: u64) -> Self {
        Self::Bytes(bytes.max(Self::SMALLEST))
    }

    /// 64 KiB: the engine's own tables take a few kilobytes before the first entry.
    pub const SMALLEST: u64 = 64 << 10;

    pub(crate) fn in_bytes(self) -> u64 {
        let Self::Bytes(bytes) = self;
        bytes.max(Self::SMALLEST)
    }
}

/// 256 MiB.
impl Default for MemoryLimit {
    fn default() -> Self {
        Self::Bytes(256 << 20)
    }
}

/// An entry to be stored, with everything that decides how long it lives.
pub struct NewEntry {
    /// The encoded key, region included.
    pub key: KeyBytes,
    /// The value, shared with every reader.
    pub value: Arc<dyn Any + Send + Sync>,
    /// Bytes of the value in memory: its own size and what it owns on the heap.
    pub value_bytes: usize,
    /// Until when it may be served, and how.
    pub deadlines: Deadlines,
    /// What it was built from. Links are held for each digest.
    pub dependencies: DependencySet,
    /// What it reflects.
    pub stamps: Stamps,
    /// Taken by [`crate::MemoryTier::pass`] before the histories were checked for this fill.
    pub pass: Pass,
}

impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("key", &self.key)
            .field("value_bytes", &self.value_bytes)
            .field("dependencies", &self.dependencies.len())
            .finish_non_exhaustive()
    }
}

/// What became of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, and served until something ends it.
    Stored,
    /// Something it depends on changed while it was being stored; it is not.
    Overtaken,
    /// It can never fit; what was under its key is gone too.
    TooLarge {
        /// Bytes it would take.
        weight: u64,
        /// Bytes one entry may take.
        limit: u64,
    },
}

/// How good the proof must be that nothing unknown has happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Everything older than this is known.
    Within(Duration),
    /// Everything before this moment is known.
    Since(Moment),
}

/// The answer to a key.
#[derive(Debug)]
pub enum Lookup<V> {
    /// Nothing that may be served: absent, invalidated, expired or evicted.
    Miss,
    /// A valid entry; what may be done with it is in its state.
    Hit(Found<V>),
}

/// A valid entry.
pub struct Found<V> {
    /// The value.
    pub value: Arc<V>,
    /// What may be done with it now, as far as time is concerned. Never `Expired`.
    pub state: State,
    /// Whether the knowledge asked for is there. If not, ask the origin's feed or the origin.
    pub proven: bool,
    /// When it was stored.
    pub stored: Moment,
    /// Fresh before this.
    pub fresh_until: Moment,
}

impl<V> fmt::Debug for Found<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("state", &self.state)
            .field("proven", &self.proven)
            .field("stored", &self.stored)
            .field("fresh_until", &self.fresh_until)
            .finish_non_exhaustive()
    }
}

/// A valid entry and everything that is known of the same fill of it.
pub struct Whole<V> {
    /// The value, and what may be done with it.
    pub found: Found<V>,
    /// What it reflects.
    pub stamps: Stamps,
    /// What it was built from.
    pub dependencies: DependencySet,
}

impl<V> fmt::Debug for Whole<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, stamps, dependencies } = self;
        f.debug_struct("Whole")
            .field("found", found)
            .field("stamps", stamps)
            .field("dependencies", &dependencies.len())
            .finish()
    }
}

/// What invalidated entries, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// On which timeline it happened.
    pub timeline: Name,
    /// Where on it.
    pub position: Position,
    /// In words, for a reader.
    pub what: Arc<str>,
}

/// When and by what a key was invalidated last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// What did it.
    pub cause: Cause,
    /// When.
    pub at: Moment,
}

/// Everything the tier knows about one entry.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What it reflects.
    pub stamps: Stamps,
    /// What it was built from.
    pub dependencies: Vec<Dependency>,
    /// Whether that is wider than what was read, because it was too much to keep.
    pub widened: bool,
    /// Until when it may be served, and how.
    pub deadlines: Deadlines,
    /// Bytes it is counted with.
    pub weight: u64,
    /// Whether nothing it depends on was touched, or only softly: that is in the deadlines. Says
    /// nothing about time.
    pub valid: bool,
    /// Everything before this moment is known on all of its timelines.
    pub proven_since: Moment,
}

/// Numbers about the tier. Read one after the other: together they are no snapshot.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Entries held, those not yet swept included.
    pub entries: u64,
    /// Bytes they are counted with.
    pub weight: u64,
    /// Bytes they may take.
    pub limit: u64,
    /// Bytes one entry may take.
    pub entry_limit: u64,
    /// Links from digests to entries.
    pub links: u64,
    /// Bytes of those links.
    pub link_bytes: u64,
    /// Invalidations not yet carried out on every dependent; hits look for themselves meanwhile.
    pub pending: u64,
    /// Entries that made room for others, ever.
    pub evictions: u64,
    /// Entries refused because they can never fit, ever.
    pub refused_too_large: u64,
    /// Entries invalidated through a dependency, ever.
    pub invalidated: u64,
    /// Entries that a soft invalidation left as stale, ever.
    pub softened: u64,
    /// Entries found past their last deadline, ever.
    pub expired: u64,
    /// Dead entries cleared away by the sweeper, ever.
    pub swept: u64,
}
