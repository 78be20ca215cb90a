//! Rewarming: what fell and was read often is loaded again before anybody asks.
//!
//! It stands apart from the revalidation in `region.rs`, which a reader sets off for one key.
//! **Invariant**: it loads as a reader would, through the region's flights and the cache's limits,
//! so that readers join its loads; and it never holds an invalidation up.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_core::{BoxFuture, Dependency, Key, KeyBytes, KeyDecoder, KeyRef};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{cache::CacheInner, preview, region::Inner};

/// What to load again after an invalidation. Given to [`crate::Invalidating::rewarm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewarm {
    /// How many of the entries that fell, the most read ones first.
    pub at_most: usize,
    /// How many of them at once, at least one. They count among the loads of the cache.
    pub concurrency: usize,
}

/// Entries that are being loaded again, on tasks of their own. Cloning shares it; dropping it stops
/// nothing.
#[derive(Clone)]
pub struct Rewarming {
    counts: Arc<Counts>,
    ended: watch::Receiver<()>,
}

/// What became of the entries that were to be loaded again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewarmed {
    /// Loaded again, or found loaded by a reader.
    pub loaded: u64,
    /// Loads that ended in an error, or rested after one.
    pub failed: u64,
    /// Not loaded, because their region has no loader any more or never had one, or because the
    /// type of its keys cannot be read back.
    pub skipped: u64,
    /// Chosen, and neither of these yet.
    pub left: u64,
}

#[derive(Default)]
struct Counts {
    loaded: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    left: AtomicU64,
}

/// A region, seen from the bytes of its keys.
pub(crate) trait Reload: Send + Sync {
    /// Whether it has a loader.
    fn can_reload(&self) -> bool;

    /// Loads the entry of `key` again and says whether it worked; `None` when it cannot.
    fn reload(self: Arc<Self>, key: &KeyBytes) -> Option<BoxFuture<'static, bool>>;
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Reload for Inner<K, V, E> {
    fn can_reload(&self) -> bool {
        self.loader.is_some()
    }

    fn reload(self: Arc<Self>, key: &KeyBytes) -> Option<BoxFuture<'static, bool>> {
        let mut decoder = KeyDecoder::new(key.as_slice())?;
        let key = K::decode(&mut decoder).filter(|_| decoder.is_at_end())?;
        self.can_reload().then(|| -> BoxFuture<'static, bool> {
            Box::pin(async move { self.fly_for_nobody(&key).await })
        })
    }
}

/// What is to be loaded again, chosen before it falls.
pub(crate) struct Chosen {
    /// The hottest first.
    keys: Vec<KeyBytes>,
    skipped: u64,
}

/// Entries looked at in one go.
const PAGE: usize = 1 << 14;

/// The hottest entries of those that invalidating `dependencies` reaches.
pub(crate) fn choose(cache: &CacheInner, dependencies: &[Dependency], at_most: usize) -> Chosen {
    let reach = preview::reach(dependencies);
    let mut hottest = BinaryHeap::new();
    let (mut loadable, mut skipped) = (HashMap::new(), 0);
    let mut cursor = Some(Default::default());
    while let Some(from) = cursor {
        cursor = cache.node.tier.page(&reach, from, PAGE, |dependent| {
            let region = dependent.region();
            if !*loadable.entry(region).or_insert_with(|| cache.regions.can_reload(region)) {
                skipped += 1;
                return;
            }
            let key = dependent.key();
            hottest.push(Reverse((cache.heat.of(KeyRef::from(&key)), key)));
            if at_most < hottest.len() {
                hottest.pop();
            }
        });
    }
    // Sorted by what is reversed: the hottest comes first.
    let keys = hottest.into_sorted_vec().into_iter().map(|Reverse((_, key))| key);
    Chosen { keys: keys.collect(), skipped }
}

/// Sets the loads going.
pub(crate) fn start(cache: &Arc<CacheInner>, chosen: Chosen, concurrency: usize) -> Rewarming {
    let counts = Arc::new(Counts::default());
    counts.skipped.store(chosen.skipped, Ordering::Relaxed);
    counts.left.store(chosen.keys.len() as u64, Ordering::Relaxed);
    let (sender, ended) = watch::channel(());
    let workers = concurrency.min(chosen.keys.len());
    let keys = Arc::new(Mutex::new(chosen.keys.into_iter()));
    for _ in 0..workers {
        let (keys, counts, sender) = (keys.clone(), counts.clone(), sender.clone());
        let weak = Arc::downgrade(cache);
        cache.runtime.spawn(async move {
            loop {
                let Some(key) = keys.lock().next() else { break };
                let count = match reload(&weak, &key) {
                    None => &counts.skipped,
                    Some(load) => match load.await {
                        true => &counts.loaded,
                        false => &counts.failed,
                    },
                };
                count.fetch_add(1, Ordering::Relaxed);
                // The last of the two: once nothing is left, all is counted.
                counts.left.fetch_sub(1, Ordering::Release);
            }
            // The last worker's sender ends the watch.
            drop(sender);
        });
    }
    Rewarming { counts, ended }
}

/// The load of `key`; the cache is held no longer than it takes to find its region, so that a
/// rewarming does not keep it alive.
fn reload(cache: &Weak<CacheInner>, key: &KeyBytes) -> Option<BoxFuture<'static, bool>> {
    let id = key.as_slice().first_chunk().map(|id| u32::from_le_bytes(*id))?;
    let region = cache.upgrade()?.regions.reloader(id)?;
    region.reload(key)
}

impl Rewarming {
    /// Waits for the end and says what became of it.
    ///
    /// # Cancel safety
    /// Dropping the future stops nothing.
    pub async fn ended(&self) -> Rewarmed {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: the error says that every worker is gone.
        while ended.changed().await.is_ok() {}
        self.so_far()
    }

    /// What became of it up to now.
    pub fn so_far(&self) -> Rewarmed {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { loaded, failed, skipped, left } = &*self.counts;
        let left = left.load(Ordering::Acquire);
        Rewarmed { loaded: read(loaded), failed: read(failed), skipped: read(skipped), left }
    }
}

impl fmt::Debug for Rewarming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rewarming").field(&self.so_far()).finish()
    }
}
