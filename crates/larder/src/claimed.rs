//! Claimed: the part of a flight that other processes see.
//!
//! Where a store keeps claims, a flight that found nothing there takes the claim of its key before
//! it loads, or waits for whoever has it. **Invariant**: a flight loads after a bounded time,
//! whatever others do and whether the store answers or not; and whatever ends it, its claim is
//! given back, or lapses because nobody beats for it any more.
//!
//! # Implementation notes
//!
//! A flight waits until nobody holds the claim of its key, then for its turn among the loads of
//! this process, and takes the claim with the turn in hand, so that what is claimed is being
//! loaded: a claim that stood in a queue would keep other processes waiting for nothing. If
//! somebody else was faster, it hands its turn back before it waits: with it, flights that wait for
//! others could keep those others from loading.
//!
//! The claim is taken by a task of its own. A flight that does not wait for the answer, because
//! the store is slow or all who wanted the value left, leaves nothing behind: what the task took
//! is dropped with it, and so given back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Error, ErrorKind, KeyBytes,
    claim::{Claim, Fence, HEARTBEAT, Patience},
    store::{Claims, Presence, Taken},
};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    capacity::{AskedBy, Turn},
    l2::within,
    landing::Landed,
    region::Inner,
};

/// Whether a key is loaded once for all processes that share a store, or once in each.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleFlight {
    /// Once for all: the load is claimed in the store, with one small write, and others wait for
    /// its value.
    PerStore,
    /// Once in each process: nothing is written before a load, and nobody is waited for.
    PerProcess,
}

/// How long a flight that waits for another process goes without looking. Waiting ends with the
/// next commit to the store; this is for a hint that is lost, or an owner that is.
const STEP: Duration = Duration::from_millis(250);

/// The shortest time between two looks of one flight, so that an owner whose claim is about to
/// lapse is not asked after without a pause.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Flights of a cache that may wait for other processes at the same time; one more loads without
/// waiting. Each costs a read with every wake-up, so ten times more would keep a core busy.
const WAITING_MAX: usize = 1000;

/// What was claimed for a load, if anything was.
#[derive(Debug)]
pub(crate) struct Claimed {
    fence: Fence,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    claims: Arc<dyn Claims>,
    region: Arc<str>,
    key: KeyBytes,
    claim: Claim,
    runtime: Handle,
    beating: JoinHandle<()>,
}

/// What a flight does next.
pub(crate) enum Next<V, E> {
    /// It lands with what somebody else has loaded.
    Land(Box<Landed<V, E>>),
    /// It loads, now.
    Load(Claimed, Turn),
}

/// How waiting for others ended.
enum Waited<V, E> {
    /// With a value that somebody else has loaded.
    For(Box<Landed<V, E>>),
    /// Nobody holds the claim.
    Free,
    /// It did not: too many wait already.
    Crowded,
}

impl Claimed {
    /// A value that was not loaded by a flight, or whose flights are not claimed.
    pub(crate) fn open() -> Self {
        Self { fence: Fence::Open, held: None }
    }

    /// The store could not be asked, or there was no waiting for it.
    fn unclaimed() -> Self {
        Self { fence: Fence::Unclaimed, held: None }
    }

    /// What writing the value into the store is subject to.
    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether it was claimed before it was loaded.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.fence, Fence::Held(_))
    }

    /// The store has taken the value, and the claim back with it.
    pub(crate) fn was_given_back(&mut self) {
        if let Some(held) = self.held.take() {
            held.beating.abort();
        }
    }
}

impl Held {
    fn begin(
        claims: &Arc<dyn Claims>,
        region: &Arc<str>,
        key: &KeyBytes,
        claim: Claim,
        runtime: &Handle,
    ) -> Self {
        let (claims, region, key) = (claims.clone(), region.clone(), key.clone());
        let beating = runtime.spawn(beat(claims.clone(), region.clone(), key.clone(), claim));
        Self { claims, region, key, claim, runtime: runtime.clone(), beating }
    }
}

/// Gives signs of life until the claim is lost. A beat that fails is tried again with the next.
async fn beat(claims: Arc<dyn Claims>, region: Arc<str>, key: KeyBytes, claim: Claim) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if let Ok(false) = within(claims.beat(&region, key.within_region(), claim)).await {
            return;
        }
    }
}

/// Gives a claim back under which nothing was written: behind, since nobody may wait in a drop.
impl Drop for Claimed {
    fn drop(&mut self) {
        let Some(Held { claims, region, key, claim, runtime, beating }) = self.held.take() else {
            return;
        };
        beating.abort();
        runtime.spawn(async move {
            // What fails lapses.
            let _ = within(claims.give_back(&region, key.within_region(), claim)).await;
        });
    }
}

/// Counts a flight that waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Self> {
        let waits = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> Inner<K, V, E> {
    /// What a flight does that found nothing in the store: it takes its turn and the claim of its
    /// key, or waits for somebody else's value, for up to `load_timeout`; then it takes the claim
    /// over.
    ///
    /// # Errors
    /// Those of waiting for a turn.
    pub(crate) async fn claim(
        &self,
        key: &KeyBytes,
        asked_by: AskedBy,
    ) -> Result<Next<V, E>, Error> {
        let turn = || self.cache.capacity.turn(asked_by, self.load_timeout);
        let Some(claims) = self.l2.as_ref().and_then(|l2| l2.claims.clone()) else {
            return Ok(Next::Load(Claimed::open(), turn().await?));
        };
        let until = Instant::now() + self.load_timeout;
        let mut waits = None;
        loop {
            let waiting = self.wait_for_others(&claims, key, &mut waits);
            let patience = match timeout_at(until, waiting).await {
                Ok(Ok(Waited::For(landed))) => return Ok(Next::Land(landed)),
                Ok(Ok(Waited::Free)) => Patience::Waits,
                Ok(Ok(Waited::Crowded)) => {
                    return Ok(Next::Load(Claimed::unclaimed(), turn().await?));
                }
                Ok(Err(error)) => {
                    self.say_unavailable(&error);
                    return Ok(Next::Load(Claimed::unclaimed(), turn().await?));
                }
                Err(_) => Patience::Over,
            };
            let turn = turn().await?;
            match self.take_claim(&claims, key, patience).await {
                Ok(Some((claimed, Presence::Absent))) => return Ok(Next::Load(claimed, turn)),
                Ok(Some((claimed, Presence::Present))) => {
                    let found = self.find_in_store(key).await;
                    return Ok(match found {
                        Ok(Some(landed)) => Next::Land(Box::new(landed)),
                        _ => Next::Load(claimed, turn),
                    });
                }
                Ok(None) if patience == Patience::Waits => {}
                Ok(None) => return Ok(Next::Load(Claimed::unclaimed(), turn)),
                Err(error) => {
                    self.say_unavailable(&error);
                    return Ok(Next::Load(Claimed::unclaimed(), turn));
                }
            }
        }
    }

    /// Waits while somebody else holds the claim.
    async fn wait_for_others<'a>(
        &'a self,
        claims: &Arc<dyn Claims>,
        key: &KeyBytes,
        waits: &mut Option<Waits<'a>>,
    ) -> Result<Waited<V, E>, Error> {
        let holder = || within(claims.holder(&self.name, key.within_region()));
        while holder().await?.is_some() {
            if waits.is_none() {
                *waits = Waits::begin(&self.cache.waiting_for_claims);
                self.counters.claims_awaited.add(1);
            }
            if waits.is_none() {
                return Ok(Waited::Crowded);
            }
            // Before the second look: a commit in between ends the wait at once. Not before the
            // first one, which nearly always finds that there is nothing to wait for.
            let commit = claims.next_commit();
            let Some(until) = holder().await? else { break };
            let left = until.since(self.cache.node.clock.wall());
            let _ = timeout(left.clamp(STEP_MIN, STEP), commit).await;
        }
        if waits.is_some()
            && let Some(landed) = self.find_in_store(key).await?
        {
            return Ok(Waited::For(Box::new(landed)));
        }
        Ok(Waited::Free)
    }

    /// Takes the claim, and says whether there is something under the key by now; `None` when
    /// somebody was faster.
    async fn take_claim(
        &self,
        claims: &Arc<dyn Claims>,
        key: &KeyBytes,
        patience: Patience,
    ) -> Result<Option<(Claimed, Presence)>, Error> {
        // For the load, and for what is around it.
        let most = self.load_timeout.saturating_add(HEARTBEAT * 10);
        let deadline = self.cache.node.clock.wall().plus(most);
        let (claims, region, key) = (claims.clone(), self.name.clone(), key.clone());
        let runtime = self.cache.runtime.clone();
        let taking = self.cache.runtime.spawn(async move {
            let taken = claims.take(&region, key.within_region(), deadline, patience).await?;
            let Taken::Now { claim, entry } = taken else { return Ok(None) };
            let held = Held::begin(&claims, &region, &key, claim, &runtime);
            Ok(Some((Claimed { fence: Fence::Held(claim), held: Some(held) }, entry)))
        });
        let ended = async {
            let panicked = |_| Error::new(ErrorKind::Panicked, "claim a load");
            taking.await.map_err(panicked).flatten()
        };
        within(ended).await
    }
}
