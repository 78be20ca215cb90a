//! The second tier: what a region keeps in a store, beside memory.
//!
//! A flight looks here before it loads, and leaves its result here before it ends. **Invariant**:
//! what comes from the store is a record like the result of a flight: it is put into memory, and
//! given to those who wait, by the same rules; a store that does not answer costs a load and is
//! never a miss in silence.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    Dependency, DependencySet, Error, ErrorKind, KeyBytes, Moment, Stamps, WallMillis,
    claim::Fence,
    freshness::Deadlines,
    record::Record,
    store::{Claims, FoundRecord, Judge, NewRecord, Standing, Store, Written},
    timeline::APP,
};
use larder_memory::Inserted;
use parking_lot::Mutex;

use crate::{
    claimed::Claimed, codec::Codec, fetched::Kept, journal::Journal, landing::Landed,
    node::SharedNode, origins::Dispute, region::Inner,
};

/// Digests under which an entry is linked in the store, one row each. Beyond them it is linked by
/// whole tables: ten times more would take the writer milliseconds for one entry, ten times fewer
/// are the rows of one long page.
const DIGESTS_MAX: usize = 1000;

/// How long a flight waits for the store. A store on this machine answers in microseconds; one that
/// takes longer than this is slower than many origins.
const STORE_WAIT: Duration = Duration::from_millis(250);

/// Where a region keeps its values, and how they become bytes.
pub(crate) struct L2<V> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: Codec<V>,
    pub(crate) version: u32,
    /// Where loads are claimed, if they are.
    pub(crate) claims: Option<Arc<dyn Claims>>,
}

/// A value from the store that is still right.
struct Promoted<V> {
    value: V,
    deadlines: Deadlines,
    stamps: Stamps,
    dependencies: DependencySet,
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
        let got = within(async {
            let key = key.within_region();
            match self.cache.node.journal().and_then(|journal| journal.store()) {
                Some(tracked) => tracked.get(&self.name, key).await,
                None => {
                    let bytes = l2.store.get(&self.name, key).await?;
                    Ok(bytes.map(|bytes| FoundRecord { bytes, standings: Vec::new() }))
                }
            }
        });
        let got = got.await.inspect_err(|error| self.say_unavailable(error))?;
        let Some(FoundRecord { bytes, standings }) = got else { return Ok(None) };
        let undecodable = |error| {
            self.counters.store_undecodable.add(1);
            tracing::debug!(region = %self.name, %error, "a record cannot be read: a miss");
            Ok(None)
        };
        let record = match Record::decode(&bytes) {
            Ok(record) => record,
            Err(error) => return undecodable(error),
        };
        // Others that follow the same origins may have been faster, or be in another life. An
        // origin that it does not depend on may be silent for as long as it likes.
        for standing in self.cache.node.unknown(&standings) {
            if record.stamps.get(&standing.timeline).is_some() {
                self.cache.ask_about(standing, Dispute::Leave).await;
            }
        }
        let promoted = match self.promote(l2, key, record, &standings) {
            Ok(Some(promoted)) => promoted,
            Ok(None) => return Ok(None),
            Err(error) => return undecodable(error),
        };
        let Promoted { stamps, dependencies, .. } = &promoted;
        // As after a load: what this node does not know yet, it asks.
        let is_known = dependencies.is_empty() || self.cache.catch_up(stamps).await.is_ok();
        if !is_known || !self.cache.node.may_store(stamps, dependencies) {
            self.counters.store_overtaken.add(1);
            return Ok(None);
        }
        Ok(Some(self.land_promoted(key, promoted)))
    }

    fn promote(
        &self,
        l2: &L2<V>,
        key: &KeyBytes,
        record: Record,
        standings: &[Standing],
    ) -> Result<Option<Promoted<V>>, Error> {
        let node = &self.cache.node;
        let (now, wall) = (node.clock.now(), node.clock.wall());
        if record.key != key.within_region()
            || record.version != l2.version
            || record.fresh_until <= wall
        {
            return Ok(None);
        }
        let fresh_until = match record.fresh_until {
            WallMillis(u64::MAX) => Moment::NEVER,
            until => now.plus(until.since(wall)),
        };
        // The record's deadline, and the region's as it is today: whichever comes first.
        let stored = now.minus(wall.since(record.stored));
        let deadlines = self.policy.deadlines(stored, fresh_until);
        if deadlines.fresh_until <= now {
            return Ok(None);
        }
        let mut dependencies = record.dependencies;
        let stamps = match dependencies.is_empty() {
            // It depends on nothing, so nothing can have been touched since.
            true => Some(Stamps::new().with(node.stamp(APP))),
            false => node.raised(&record.stamps, &dependencies, standings),
        };
        let Some(stamps) = stamps else { return Ok(None) };
        let holds: Vec<_> = dependencies.iter().filter_map(|one| node.register(one)).collect();
        holds.into_iter().for_each(|hold| dependencies.keep(hold));
        let value = l2.codec.decode(record.fingerprint, &record.value)?;
        Ok(Some(Promoted { value, deadlines, stamps, dependencies }))
    }

    fn land_promoted(&self, key: &KeyBytes, promoted: Promoted<V>) -> Landed<V, E> {
        let Promoted { value, deadlines, stamps, dependencies } = promoted;
        let value = Arc::new(value);
        let inserted = self.publish(key, &value, deadlines, &stamps, &dependencies);
        let kept = if inserted == Inserted::Stored { Kept::InMemory } else { Kept::Not };
        Landed::promoted(value, deadlines, kept, stamps, dependencies, self.cache.node.clock.now())
    }

    /// Leaves a value that was just stored in memory in the store as well; whether it may stay in
    /// memory: not if somebody else began to load it later, and stored it.
    ///
    /// Called by the flight before it lands, so that of two loads of one key the later one is
    /// written later. Among processes the claim sees to that.
    pub(crate) async fn keep_in_store(
        &self,
        key: &KeyBytes,
        value: &V,
        deadlines: Deadlines,
        (stamps, dependencies): (&Stamps, &DependencySet),
        claimed: &mut Claimed,
    ) -> Written {
        let Some(l2) = &self.l2 else { return Written::NotRight };
        let journal = self.cache.node.journal();
        // What only this process can notice is of no use to others, or to a later one.
        let is_placed = |one| self.cache.feeds.iter().all(|feed| feed.is_placed(one));
        if !dependencies.is_empty() && (journal.is_none() || !dependencies.iter().all(is_placed)) {
            self.forget_in_store(key).await;
            return Written::NotRight;
        }
        // What it does not depend on cannot make it wrong; but on `app` anything may be named.
        let is_asked = |name: &str| name == APP || dependencies.reads(name);
        let asked = stamps.iter().filter(|stamp| is_asked(&stamp.timeline)).cloned().collect();
        let record = match self.record(l2, key, value, deadlines, asked, dependencies) {
            Ok(record) => record,
            Err(error) => {
                self.say_unavailable(&error);
                self.forget_in_store(key).await;
                return Written::NotRight;
            }
        };
        let fence = claimed.fence();
        let written = match journal {
            Some(journal) if !dependencies.is_empty() => {
                within(self.keep_tracked(journal, key, record, fence)).await
            }
            _ => {
                let (record, until) = record;
                let key = key.within_region();
                within(l2.store.put(&self.name, key, record.encode(), until, fence)).await
            }
        };
        match &written {
            Ok(Written::Kept) => claimed.was_given_back(),
            Ok(Written::NotRight) => self.counters.store_overtaken.add(1),
            Ok(Written::Outrun) => self.counters.outrun.add(1),
            Err(error) => {
                self.say_unavailable(error);
                self.forget_in_store(key).await;
            }
        }
        written.unwrap_or(Written::NotRight)
    }

    /// Takes the predecessor of a value that could not be kept out of the store, where a later read
    /// would take it for the newer one.
    pub(crate) async fn forget_in_store(&self, key: &KeyBytes) {
        if let Err(error) = self.remove_from_store(key).await {
            self.say_unavailable(&error);
        }
    }

    async fn keep_tracked(
        &self,
        journal: &Journal,
        key: &KeyBytes,
        (record, until): (Record, Option<WallMillis>),
        fence: Fence,
    ) -> Result<Written, Error> {
        let node = &self.cache.node;
        // A second time where another node has moved the store on: this one may only be slower.
        for _ in 0..2 {
            // A store that is behind the value, or in an earlier life, refuses it.
            journal.written().await?;
            let unknown = Arc::new(Mutex::new(Vec::new()));
            let (Some(store), Some(app), Some(stamps)) =
                (journal.store(), node.announced_stamp(), node.in_places(&record.stamps))
            else {
                return Ok(Written::NotRight);
            };
            let mut kept = Record { stamps, ..record.clone() };
            kept.stamps.set(app);
            let new = NewRecord {
                bytes: kept.encode(),
                until,
                digests: record.dependencies.lasting_digests(DIGESTS_MAX),
                schemes: record.dependencies.iter().filter_map(Dependency::scheme).collect(),
                judge: judge(node, &record, kept.stamps, &unknown),
                fence,
            };
            let written = store.put(&self.name, key.within_region(), new).await?;
            let unknown = std::mem::take(&mut *unknown.lock());
            if written != Written::NotRight || unknown.is_empty() {
                return Ok(written);
            }
            for standing in unknown {
                if !self.cache.ask_about(&standing, Dispute::TakeOwn).await {
                    return Ok(Written::NotRight);
                }
            }
        }
        Ok(Written::NotRight)
    }

    fn record(
        &self,
        l2: &L2<V>,
        key: &KeyBytes,
        value: &V,
        deadlines: Deadlines,
        stamps: Stamps,
        dependencies: &DependencySet,
    ) -> Result<(Record, Option<WallMillis>), Error> {
        let (now, wall) = (self.cache.node.clock.now(), self.cache.node.clock.wall());
        let until = (deadlines.fresh_until != Moment::NEVER)
            .then(|| WallMillis(wall.0 + to_millis(deadlines.fresh_until.since(now))));
        let record = Record {
            key: key.within_region().to_vec(),
            stamps,
            dependencies: dependencies.clone(),
            version: l2.version,
            fingerprint: l2.codec.fingerprint(),
            stored: wall,
            fresh_until: until.unwrap_or(WallMillis(u64::MAX)),
            value: l2.codec.encode(value)?,
        };
        Ok((record, until))
    }

    /// Removes what the store has under `key`; whether there was something.
    pub(crate) async fn remove_from_store(&self, key: &KeyBytes) -> Result<bool, Error> {
        match &self.l2 {
            Some(l2) => within(l2.store.remove(&self.name, key.within_region())).await,
            None => Ok(false),
        }
    }

    pub(crate) fn say_unavailable(&self, error: &Error) {
        if self.counters.store_errors.add_first() {
            tracing::warn!(
                region = %self.name, %error,
                "the store does not do its part, so that values are loaded and kept in memory \
                 only; said once, counted always"
            );
        }
    }
}

/// The question whether `record` is right, which is kept under the stamps `kept`; where the store
/// stands at a place that the node does not know, that is left in `unknown`.
fn judge(
    node: &SharedNode,
    record: &Record,
    kept: Stamps,
    unknown: &Arc<Mutex<Vec<Standing>>>,
) -> Judge {
    let (node, unknown) = (node.clone(), unknown.clone());
    let (stamps, dependencies) = (record.stamps.clone(), record.dependencies.clone());
    Box::new(move |standings| {
        let is_read = |one: &&Standing| stamps.get(&one.timeline).is_some();
        let found = node.unknown(standings).into_iter().filter(is_read).cloned();
        unknown.lock().extend(found);
        node.judge(&stamps, &dependencies, &kept, standings)
    })
}

/// Down to whole milliseconds: nothing lives longer in the store than in memory.
fn to_millis(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// What `asked` answers, if it does within the time that a flight has for a store.
pub(crate) async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
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
