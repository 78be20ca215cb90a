//! Flights: one running load for each key, shared by those who ask.
//!
//! The load runs on a task of its own, so that a reader who leaves, or the one who came first,
//! takes nothing with it. Who may take the result is decided by the rules of `larder-core`.
//! **Invariant**: at most one flight for each key, and between the moment its result is stored and
//! the moment the flight is gone there is no gap in which a reader finds neither.

use std::{
    collections::HashMap,
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use larder_core::{KeyBytes, flight::Arrival};
use tokio::sync::{Notify, watch};

use crate::{
    landing::Landed,
    pause::Pauses,
    sync::{AtomicUsize, Mutex, MutexGuard},
    waits::Run,
};

/// Parts of the map of flights: readers of different keys seldom wait for one another.
pub(crate) const SHARDS: usize = 16;

/// The flights and pauses of one region.
pub(crate) struct Flights<V, E> {
    shards: [Mutex<Shard<V, E>>; SHARDS],
    hasher: RandomState,
}

pub(crate) struct Shard<V, E> {
    pub(crate) flying: HashMap<KeyBytes, Arc<Flight<V, E>>>,
    pub(crate) pauses: Pauses<E>,
}

impl<V, E> Shard<V, E> {
    /// Removes `flight`, unless another one has taken its place.
    pub(crate) fn take_off(&mut self, key: &[u8], flight: &Arc<Flight<V, E>>) {
        if self.flying.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            self.flying.remove(key);
        }
    }
}

impl<V, E> Default for Flights<V, E> {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { flying: HashMap::new(), pauses: Pauses::default() });
        Self { shards: std::array::from_fn(|_| shard()), hasher: RandomState::new() }
    }
}

impl<V, E> Flights<V, E> {
    /// Takes `flight` off the map if nobody waits for it; nobody can join it after that.
    pub(crate) fn give_up(&self, key: &[u8], flight: &Arc<Flight<V, E>>) -> bool {
        let mut shard = self.shard(key);
        let given_up = flight.is_abandoned();
        if given_up {
            shard.take_off(key, flight);
        }
        given_up
    }

    /// The part that holds `key`, locked.
    pub(crate) fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard<V, E>> {
        let [index, ..] = self.hasher.hash_one(key).to_le_bytes();
        let shard = self.shards.get(usize::from(index) % SHARDS);
        shard.expect("the index is below the number of shards").lock()
    }
}

/// One running load.
pub(crate) struct Flight<V, E> {
    pub(crate) run: Run,
    landed: watch::Sender<Option<Arc<Landed<V, E>>>>,
    waiters: AtomicUsize,
    abandoned: Notify,
}

impl<V, E> Flight<V, E> {
    pub(crate) fn new(run: Run) -> Arc<Self> {
        Arc::new(Self {
            run,
            landed: watch::Sender::new(None),
            waiters: AtomicUsize::new(0),
            abandoned: Notify::new(),
        })
    }

    /// Gives the result to everybody who waits, and to those who still come.
    pub(crate) fn land(&self, landed: Arc<Landed<V, E>>) {
        self.landed.send_replace(Some(landed));
    }

    /// Runs `load`, unless everybody who waited leaves first and `give_up` agrees: then `None`.
    pub(crate) async fn unless_abandoned<T>(
        &self,
        load: impl Future<Output = T>,
        give_up: impl Fn() -> bool,
    ) -> Option<T> {
        let mut load = pin!(load);
        loop {
            let mut abandoned = pin!(self.abandoned.notified());
            let loaded = poll_fn(|context| match load.as_mut().poll(context) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending => abandoned.as_mut().poll(context).map(|()| None),
            });
            match loaded.await {
                Some(value) => return Some(value),
                None if give_up() => return None,
                // Somebody came while the last one left.
                None => {}
            }
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) == 0
    }
}

/// One who waits for a flight. Dropping it leaves the flight.
pub(crate) struct Waiter<V, E> {
    flight: Arc<Flight<V, E>>,
    /// Whether the flight was begun for this one.
    pub(crate) is_leader: bool,
}

impl<V, E> Waiter<V, E> {
    pub(crate) fn new(flight: Arc<Flight<V, E>>, is_leader: bool) -> Self {
        flight.waiters.fetch_add(1, Ordering::SeqCst);
        Self { flight, is_leader }
    }

    /// What is waited for.
    pub(crate) fn run(&self) -> &Run {
        &self.flight.run
    }

    /// The result of the flight.
    ///
    /// The sender lives in the flight that this waiter holds, so it cannot go away; and whatever
    /// ends the flight's task, a runtime that shuts down included, sends.
    pub(crate) async fn landed(&self) -> Arc<Landed<V, E>> {
        let mut receiver = self.flight.landed.subscribe();
        loop {
            if let Some(landed) = receiver.borrow_and_update().clone() {
                return landed;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl<V, E> Drop for Waiter<V, E> {
    fn drop(&mut self) {
        if self.flight.waiters.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.flight.abandoned.notify_one();
        }
    }
}

/// Answers remembered for one result: one for each distinct arrival.
#[derive(Default)]
pub(crate) struct Takers(Mutex<HashMap<Arrival, bool>>);

impl Takers {
    /// The remembered answer for `arrival`, or that of `decide`.
    pub(crate) fn ask(&self, arrival: &Arrival, decide: impl FnOnce() -> bool) -> bool {
        let mut known = self.0.lock();
        if let Some(answer) = known.get(arrival) {
            return *answer;
        }
        let answer = decide();
        known.insert(arrival.clone(), answer);
        answer
    }
}

#[cfg(shuttle)]
#[cfg(test)]
mod schedules;
