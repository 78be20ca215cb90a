//! The second tier: what a region keeps in a store, beside memory.
//!
//! A flight looks here before it loads, and leaves its result here before it ends. **Invariant**:
//! what comes from the store is a record like the result of a flight: it is put into memory, and
//! given to those who wait, by the same rules; a store that does not answer costs a load and is
//! never a miss in silence.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    DependencySet, Error, ErrorKind, KeyBytes, Moment, Stamps, WallMillis, freshness::Deadlines,
    record::Record, store::Store, timeline::APP,
};
use larder_memory::Inserted;

use crate::{codec::Codec, fetched::Kept, landing::Landed, region::Inner};

/// How long a flight waits for the store. A store on this machine answers in microseconds; one that
/// takes longer than this is slower than many origins.
const STORE_WAIT: Duration = Duration::from_millis(250);

/// Where a region keeps its values, and how they become bytes.
pub(crate) struct L2<V> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: Codec<V>,
    pub(crate) version: u32,
}

/// A value from the store that is still right.
struct Promoted<V> {
    value: V,
    deadlines: Deadlines,
    stamps: Stamps,
}

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// The value of `key` from the store, put into memory; `None` when it is not there, or not
    /// right any more, or written by another version of the region.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub(crate) async fn find_in_store(
        &self,
        key: &KeyBytes,
    ) -> Result<Option<Landed<V, E>>, Error> {
        let Some(l2) = &self.l2 else { return Ok(None) };
        let got = within(l2.store.get(&self.name, key.within_region())).await;
        let bytes = got.inspect_err(|error| self.say_unavailable(error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        match self.promote(l2, key, &bytes) {
            Ok(promoted) => Ok(promoted.map(|promoted| self.land_promoted(key, promoted))),
            Err(error) => {
                self.counters.store_undecodable.add(1);
                tracing::debug!(region = %self.name, %error, "a record cannot be read: a miss");
                Ok(None)
            }
        }
    }

    fn promote(
        &self,
        l2: &L2<V>,
        key: &KeyBytes,
        bytes: &[u8],
    ) -> Result<Option<Promoted<V>>, Error> {
        let record = Record::decode(bytes)?;
        let clock = &self.cache.node.clock;
        let (now, wall) = (clock.now(), clock.wall());
        if record.key != key.within_region()
            || record.version != l2.version
            || record.fresh_until <= wall
            || !record.dependencies.is_empty()
        {
            return Ok(None);
        }
        let fresh_until = match record.fresh_until {
            WallMillis(u64::MAX) => Moment::NEVER,
            until => now.plus(until.since(wall)),
        };
        let deadlines = Deadlines {
            stored: now.minus(wall.since(record.stored)),
            fresh_until,
            ..self.policy.deadlines(now, fresh_until)
        };
        // It depends on nothing, so nothing can have been touched since.
        let stamps = Stamps::new().with(self.cache.node.stamp(APP));
        let value = (l2.codec.decode)(&record.value)?;
        Ok(Some(Promoted { value, deadlines, stamps }))
    }

    fn land_promoted(&self, key: &KeyBytes, promoted: Promoted<V>) -> Landed<V, E> {
        let Promoted { value, deadlines, stamps } = promoted;
        let (value, dependencies) = (Arc::new(value), DependencySet::new());
        let inserted = self.publish(key, &value, deadlines, &stamps, &dependencies);
        let kept = if inserted == Inserted::Stored { Kept::InMemory } else { Kept::Not };
        Landed::promoted(value, deadlines, kept, stamps, dependencies, self.cache.node.clock.now())
    }

    /// Leaves a value that was just stored in memory in the store as well.
    ///
    /// Called by the flight before it lands, so that of two loads of one key the later one is
    /// written later.
    pub(crate) async fn keep_in_store(
        &self,
        key: &KeyBytes,
        value: &V,
        deadlines: Deadlines,
        dependencies: &DependencySet,
    ) {
        let Some(l2) = &self.l2 else { return };
        if !dependencies.is_empty() {
            return;
        }
        let kept = match self.record(l2, key, value, deadlines) {
            Ok((record, until)) => {
                let key = key.within_region();
                within(l2.store.put(&self.name, key, record.encode(), until)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.say_unavailable(&error);
        }
    }

    fn record(
        &self,
        l2: &L2<V>,
        key: &KeyBytes,
        value: &V,
        deadlines: Deadlines,
    ) -> Result<(Record, Option<WallMillis>), Error> {
        let (now, wall) = (self.cache.node.clock.now(), self.cache.node.clock.wall());
        let until = (deadlines.fresh_until != Moment::NEVER)
            .then(|| WallMillis(wall.0 + to_millis(deadlines.fresh_until.since(now))));
        let record = Record {
            key: key.within_region().to_vec(),
            stamps: Stamps::new(),
            dependencies: DependencySet::new(),
            version: l2.version,
            stored: wall,
            fresh_until: until.unwrap_or(WallMillis(u64::MAX)),
            value: (l2.codec.encode)(value)?,
        };
        Ok((record, until))
    }

    /// Removes what the store has under `key`; whether there was something.
    pub(crate) async fn remove_find_in_store(&self, key: &KeyBytes) -> Result<bool, Error> {
        match &self.l2 {
            Some(l2) => within(l2.store.remove(&self.name, key.within_region())).await,
            None => Ok(false),
        }
    }

    fn say_unavailable(&self, error: &Error) {
        if self.counters.store_errors.add_first() {
            tracing::warn!(
                region = %self.name, %error,
                "the store does not do its part, so that values are loaded and kept in memory \
                 only; said once, counted always"
            );
        }
    }
}

/// Down to whole milliseconds: nothing lives longer in the store than in memory.
fn to_millis(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(STORE_WAIT, asked).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, "ask the store")
            .detail(format!("it did not answer within {STORE_WAIT:?}")))
    })
}

impl<V> fmt::Debug for L2<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L2").field("store", &self.store).finish_non_exhaustive()
    }
}
