//! What was invalidated last, and by what: the memory behind `explain`.
//!
//! Best effort by design: it keeps the last few thousand keys, however many are invalidated.
//! **Invariant**: its size is bounded, and it is never asked whether an entry is valid.

use std::collections::{HashMap, VecDeque};

use larder_core::KeyBytes;

use crate::{engine::EngineKey, entry::Invalidation, sync::Mutex};

/// Keys remembered. Each takes about 150 bytes, so ten times more would be megabytes for comfort.
pub(crate) const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Causes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<EngineKey, (u64, Invalidation), foldhash::fast::RandomState>,
    order: VecDeque<(u64, EngineKey)>,
    count: u64,
}

impl Causes {
    /// Notes that `key` was invalidated.
    pub(crate) fn note(&self, key: EngineKey, invalidation: &Invalidation) {
        let kept = &mut *self.0.lock();
        kept.count += 1;
        kept.order.push_back((kept.count, key.clone()));
        kept.by_key.insert(key, (kept.count, invalidation.clone()));
        while KEPT < kept.order.len() {
            let Some((count, key)) = kept.order.pop_front() else { break };
            // A key noted again since is kept by its later place.
            if kept.by_key.get(&key).is_some_and(|(last, _)| *last == count) {
                kept.by_key.remove(&key);
            }
        }
    }

    /// What invalidated `key` last.
    pub(crate) fn of(&self, key: &[u8]) -> Option<Invalidation> {
        let key = EngineKey::from(KeyBytes::from(key));
        self.0.lock().by_key.get(&key).map(|(_, invalidation)| invalidation.clone())
    }
}
