//! The eviction engine, behind a face of our own: the only file that names quick_cache.
//!
//! The engine decides what stays when memory runs short and knows nothing of time or dependencies.
//! **Invariant**: every slot that leaves the engine, for whatever reason, is handed to whoever made
//! it leave, after the engine's lock was given back.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use larder_core::{KeyBytes, KeyRef, Moment};
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter, sync::Cache};

use crate::{entry::MemoryLimit, gates::Pass, marks::Mark};

/// A key as the engine holds it: up to 24 bytes (a region and two integers) in place, so that a
/// hit compares keys without leaving the slot's cache lines, and as words, so that it does so in a
/// few instructions.
#[derive(Clone)]
pub(crate) enum EngineKey {
    Short { words: [u64; 3], len: u8 },
    Long(KeyBytes),
}

impl EngineKey {
    #[inline]
    pub(crate) fn borrowed(&self) -> KeyRef<'_> {
        match self {
            Self::Short { words, len } => KeyRef::Short { words: *words, len: usize::from(*len) },
            Self::Long(key) => KeyRef::Long(key.as_slice()),
        }
    }

    /// The bytes, as they were before.
    pub(crate) fn to_bytes(&self) -> KeyBytes {
        match self {
            Self::Long(key) => key.clone(),
            Self::Short { .. } => self.borrowed().into(),
        }
    }

    /// The region: the first four bytes.
    pub(crate) fn region(&self) -> u32 {
        match self {
            Self::Short { words: [first, ..], .. } => {
                let [a, b, c, d, ..] = first.to_le_bytes();
                u32::from_le_bytes([a, b, c, d])
            }
            Self::Long(key) => {
                key.as_slice().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
            }
        }
    }

    /// Bytes that lie in an allocation of their own.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(key) => key.as_slice().len(),
        }
    }
}

impl From<KeyBytes> for EngineKey {
    fn from(key: KeyBytes) -> Self {
        if let KeyRef::Short { words, len } = KeyRef::from(&key)
            && let Ok(len) = u8::try_from(len)
        {
            return Self::Short { words, len };
        }
        Self::Long(key)
    }
}

impl PartialEq for EngineKey {
    fn eq(&self, other: &Self) -> bool {
        Sought(self.borrowed()).equivalent(other)
    }
}

impl Eq for EngineKey {}

impl Hash for EngineKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        Sought(self.borrowed()).hash(state);
    }
}

/// Shows the length only: keys may hold personal data.
impl fmt::Debug for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = match self {
            Self::Short { len, .. } => usize::from(*len),
            Self::Long(key) => key.as_slice().len(),
        };
        write!(f, "EngineKey({len} bytes)")
    }
}

/// A borrowed key. The length of a short one is left out of its hash: keys that differ in trailing
/// zeros only, which then share a hash, do not come from one type.
struct Sought<'a>(KeyRef<'a>);

// The words of a short key are taken one by one and never copied as a whole: a copy reads two of
// them at once, which must wait until both have been written to the cache.
impl Hash for Sought<'_> {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            KeyRef::Short { words: [first, second, third], len } => {
                state.write_u64(*first);
                if WORD < *len {
                    state.write_u64(*second);
                }
                if 2 * WORD < *len {
                    state.write_u64(*third);
                }
            }
            KeyRef::Long(bytes) => state.write(bytes),
        }
    }
}

impl Equivalent<EngineKey> for Sought<'_> {
    #[inline(always)]
    fn equivalent(&self, key: &EngineKey) -> bool {
        match (&self.0, key) {
            (
                KeyRef::Short { words: [first, second, third], len },
                EngineKey::Short { words: own, len: own_len },
            ) => {
                let differing = (first ^ own[0]) | (second ^ own[1]) | (third ^ own[2]);
                differing == 0 && *len == usize::from(*own_len)
            }
            (KeyRef::Long(bytes), EngineKey::Long(key)) => *bytes == key.as_slice(),
            _ => false,
        }
    }
}

const WORD: usize = size_of::<u64>();

/// What a hit needs: one cache line, and cloning it is one count.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) mark: Mark,
    pub(crate) pass: Pass,
    /// One bit for each digest the entry depends on.
    pub(crate) signature: u64,
    pub(crate) stored: Moment,
    pub(crate) fresh_until: Moment,
    pub(crate) weight: Weight,
}

/// Bytes in units of sixteen, so that four bytes reach 64 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight(u32);

impl Weight {
    const UNIT: u64 = 16;

    /// The weight, rounded up and never zero (a weightless entry would never be evicted); `None`
    /// beyond 64 GiB.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        u32::try_from(bytes.div_ceil(Self::UNIT)).ok().map(|units| Self(units.max(1)))
    }

    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.0) * Self::UNIT
    }
}

#[derive(Clone)]
struct OwnWeight;

impl Weighter<EngineKey, Slot> for OwnWeight {
    #[inline]
    fn weight(&self, _key: &EngineKey, slot: &Slot) -> u64 {
        slot.weight.bytes()
    }
}

/// Collects what leaves. The engine calls it under a shard's lock, also for a replaced slot and for
/// one it never admitted, so nothing but collecting may happen here.
#[derive(Clone)]
struct Collect;

impl Lifecycle<EngineKey, Slot> for Collect {
    type RequestState = Vec<(EngineKey, Slot)>;

    fn on_evict(&self, left: &mut Self::RequestState, key: EngineKey, slot: Slot) {
        left.push((key, slot));
    }
}

type Hashing = foldhash::fast::RandomState;

/// The engine.
pub(crate) struct Engine {
    cache: Cache<EngineKey, Slot, OwnWeight, Hashing, Collect>,
    entry_limit: u64,
}

/// The share of a shard that one entry may take: the engine's default for its hot part, beyond
/// which it refuses.
const ADMITTED_PERCENT: u64 = 97;
/// At least this much of the limit may be one entry.
const SHARE_OF_LIMIT: u64 = 16;
/// And at least this many bytes, where the limit allows it.
const ENTRY_AT_LEAST: u64 = 1 << 20;
/// More shards than this help no more.
const SHARDS_MAX: u64 = 64;
/// The engine remembers the hashes of half as many entries that have left as it is told to expect,
/// and a memory takes as much as a slot: at one for each 2 KiB, a thirtieth of the limit.
const EXPECTED_BYTES: u64 = 2048;

impl Engine {
    /// An engine for `limit`, in as many shards as leave room in each for one entry of a sixteenth
    /// of the limit or 1 MiB, whichever is more: eight from 9 MiB on, one below 3 MiB.
    pub(crate) fn new(limit: MemoryLimit) -> Self {
        let limit = limit.in_bytes();
        let entry = (limit / SHARE_OF_LIMIT).max(ENTRY_AT_LEAST);
        let room = (limit * ADMITTED_PERCENT / 100 / entry).clamp(1, SHARDS_MAX);
        let shards = 1 << room.ilog2();
        let expected = (limit / EXPECTED_BYTES).max(shards * 32);
        let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(as_size(shards))
            .estimated_items_capacity(as_size(expected))
            .weight_capacity(limit)
            .build()
            .expect("the required options are given");
        let cache = Cache::with_options(options, OwnWeight, Hashing::default(), Collect);
        let entry_limit = cache.shard_capacity() * ADMITTED_PERCENT / 100 - 1;
        Self { cache, entry_limit }
    }

    /// Bytes one entry may take.
    pub(crate) fn entry_limit(&self) -> u64 {
        self.entry_limit
    }

    #[inline(always)]
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Slot> {
        self.cache.get(&Sought(key))
    }

    /// Like `get`, without counting as a use.
    pub(crate) fn peek(&self, key: KeyRef<'_>) -> Option<Slot> {
        self.cache.peek(&Sought(key))
    }

    /// Puts `slot` under `key` and hands back whatever had to leave: the slot that was there,
    /// slots evicted for room, or the new one itself.
    pub(crate) fn put(&self, key: EngineKey, slot: Slot) -> Vec<(EngineKey, Slot)> {
        let mut left = Vec::new();
        self.cache.insert_with_lifecycle(key, slot, &mut left);
        left
    }

    pub(crate) fn remove(&self, key: KeyRef<'_>) -> Option<Slot> {
        self.cache.remove(&Sought(key)).map(|(_, slot)| slot)
    }

    /// Removes the slot under `key` if it is the one with `mark`.
    pub(crate) fn remove_marked(&self, key: KeyRef<'_>, mark: Mark) -> Option<Slot> {
        self.cache.remove_if(&Sought(key), |slot| slot.mark == mark).map(|(_, slot)| slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.cache.weight()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("entry_limit", &self.entry_limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
