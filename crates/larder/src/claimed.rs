//! Claimed: the part of a flight that other processes see.
//!
//! Where a store keeps claims, a flight that found nothing there takes the claim of its key before
//! it loads, or waits for whoever has it. **Invariant**: a flight loads after a bounded time,
//! whatever others do and whether the store answers or not; and whatever ends it, its claim is
//! given back, or lapses because nobody beats for it any more.
//!
//! # Implementation notes
//!
//! A flight waits for its claim before it waits for its turn among the loads of this process: with
//! a turn in hand, flights that wait for others could keep those others from loading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Error, KeyBytes,
    claim::{Claim, Fence, HEARTBEAT, Patience},
    store::{Claims, Presence, Taken},
};
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};

use crate::{l2::within, landing::Landed, region::Inner};

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
    /// It loads.
    Load(Claimed),
}

impl Claimed {
    /// A value that was not loaded by a flight, or whose flights are not claimed.
    pub(crate) fn open() -> Self {
        Self { fence: Fence::Open, held: None }
    }

    /// What writing the value into the store is subject to.
    pub(crate) fn fence(&self) -> Fence {
        self.fence
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
    /// What a flight does that found nothing in the store: it takes the claim of its key and loads,
    /// or waits for somebody else's value, for up to `load_timeout`; then it takes the claim over.
    pub(crate) async fn claim(&self, key: &KeyBytes) -> Next<V, E> {
        let claims = match self.l2.as_ref().and_then(|l2| l2.claims.as_ref()) {
            Some(claims) => claims.clone(),
            None => return Next::Load(Claimed::open()),
        };
        let waited = timeout(self.load_timeout, self.wait_for_claim(&claims, key)).await;
        let next = match waited {
            Ok(next) => next,
            Err(_) => self.take_claim(&claims, key, Patience::Over).await.map(|next| {
                next.unwrap_or(Next::Load(Claimed { fence: Fence::Unclaimed, held: None }))
            }),
        };
        next.unwrap_or_else(|error| {
            self.say_unavailable(&error);
            Next::Load(Claimed { fence: Fence::Unclaimed, held: None })
        })
    }

    async fn wait_for_claim(
        &self,
        claims: &Arc<dyn Claims>,
        key: &KeyBytes,
    ) -> Result<Next<V, E>, Error> {
        let mut waits = None;
        loop {
            // Before the look: a commit in between ends the wait at once.
            let commit = claims.next_commit();
            let holder = within(claims.holder(&self.name, key.within_region())).await?;
            if let Some(until) = holder {
                if waits.is_none() {
                    waits = Waits::begin(&self.cache.waiting_for_claims);
                    self.counters.claims_awaited.add(1);
                }
                if waits.is_none() {
                    return Ok(Next::Load(Claimed { fence: Fence::Unclaimed, held: None }));
                }
                let left = until.since(self.cache.node.clock.wall());
                let _ = timeout(left.clamp(STEP_MIN, STEP), commit).await;
                continue;
            }
            if waits.is_some()
                && let Some(landed) = self.find_in_store(key).await?
            {
                return Ok(Next::Land(Box::new(landed)));
            }
            if let Some(next) = self.take_claim(claims, key, Patience::Waits).await? {
                return Ok(next);
            }
        }
    }

    /// What follows from taking the claim; `None` when somebody was faster.
    async fn take_claim(
        &self,
        claims: &Arc<dyn Claims>,
        key: &KeyBytes,
        patience: Patience,
    ) -> Result<Option<Next<V, E>>, Error> {
        // For its turn, for the load, and for what is around them.
        let most = self.load_timeout.saturating_mul(2).saturating_add(HEARTBEAT * 10);
        let deadline = self.cache.node.clock.wall().plus(most);
        let taken = claims.take(&self.name, key.within_region(), deadline, patience);
        let Taken::Now { claim, entry } = within(taken).await? else { return Ok(None) };
        let held = Held::begin(claims, &self.name, key, claim, &self.cache.runtime);
        let claimed = Claimed { fence: Fence::Held(claim), held: Some(held) };
        if entry == Presence::Present
            && let Some(landed) = self.find_in_store(key).await?
        {
            return Ok(Some(Next::Land(Box::new(landed))));
        }
        Ok(Some(Next::Load(claimed)))
    }
}
