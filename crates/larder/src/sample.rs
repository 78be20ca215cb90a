//! The sampler: loads one in so many hits again and compares.
//!
//! It is the last line against what no trigger and no log can see, and the number by which an
//! operator knows that the promise holds. **Invariant**: a difference counts as a violation only if
//! the entry is still valid after everything up to the second load is known; else it was only late.

use std::{fmt, sync::Arc};

use larder_core::Key;
use larder_memory::Knowledge;

use crate::{ambient, capacity::AskedBy, load::Load, loader, region::Inner, waits::Waits};

/// Whether two values are the same for the reader.
type Comparison<V> = dyn Fn(&V, &V) -> bool + Send + Sync;

/// How often to sample and how to compare.
pub(crate) struct Sample<V> {
    pub(crate) one_in: u64,
    pub(crate) is_same: Arc<Comparison<V>>,
}

impl<V> Sample<V> {
    /// Whether the hit after `count` others is to be checked.
    pub(crate) fn is_due(&self, count: u64) -> bool {
        (count + 1).is_multiple_of(self.one_in)
    }
}

impl<V> fmt::Debug for Sample<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample(1 in {})", self.one_in)
    }
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// Loads `key` again on a task of its own and compares with the value that was `served`.
    pub(crate) fn check_sample(self: &Arc<Self>, key: &K, served: Arc<V>) {
        let Some(loader) = self.loader.clone() else { return };
        let (region, key) = (self.clone(), key.clone());
        self.cache.runtime.spawn(async move {
            let timeout = region.load_timeout;
            let turn = region.cache.capacity.turn(AskedBy::Reader, timeout).await;
            let Ok(turn) = turn else { return };
            let load = region.begin_as(Waits::of_process().run(&region.name), Some(turn.lending()));
            let own = load.clone();
            let loading = ambient::within(load.clone(), loader(key.clone(), own));
            let Ok(now) = loader::run(loading, timeout).await else { return };
            drop(turn);
            // Read from something past its TTL it may differ by right.
            if load.collected().is_stale {
                return;
            }
            region.counters.sampled.add(1);
            let is_same = region.sample.as_ref().is_none_or(|s| (s.is_same)(&served, &now));
            if !is_same && region.is_still_served(&key, &served, &load).await {
                region.counters.violations.add(1);
                tracing::error!(
                    region = %region.name,
                    "a sampled entry differs from its origin although no change was reported; \
                     it was dropped"
                );
            }
        });
    }

    /// Whether memory still holds `served` as valid once everything that `load` saw is known. If
    /// so, it is removed.
    async fn is_still_served(&self, key: &K, served: &Arc<V>, load: &Load) -> bool {
        let loaded = self.cache.node.clock.now();
        // The entry may be built from others than the load; who does not answer proves nothing.
        let _ = self.cache.catch_up_all(&self.reads).await;
        if self.cache.catch_up(&load.collected().stamps).await.is_err() {
            return false;
        }
        let bytes = self.encode(key);
        // Not by `max_staleness`: where that is zero nothing in memory is proven for long enough.
        let held = self.fresh(&bytes, Knowledge::Since(loaded));
        let same = held.is_some_and(|held| Arc::ptr_eq(&held, served));
        if !same {
            return false;
        }
        let key = bytes.finish();
        self.forget_in_store(&key).await;
        self.cache.node.tier.remove(key.as_slice())
    }
}
