//! Capacity: how many loads run and wait at once.
//!
//! It stands apart from `flight` because it is shared by all regions. **Invariant**: no more than
//! `running` loads run; one more waits for a bounded time, in a queue of a bounded length, and a
//! load for which there is no place in it is refused at once; so no more than both together have
//! begun for readers, give or take `running` that begin at the same moment. And a load that waits
//! for another load has no turn:
//!
//! 1. As many loads as may run, run, and each reads another region.
//! 2. Each of those reads begins a load, which needs a turn.
//!
//! If the loads of step 1 kept theirs, those of step 2 would never get one. They give it back while
//! they wait, so whoever has a turn waits for no flight and comes to an end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Loads that run at once by default: enough for a pool of connections, few enough for an origin.
pub(crate) const DEFAULT_RUNNING: usize = 64;

/// Loads that wait for one of those by default.
pub(crate) const DEFAULT_WAITING: usize = 10_000;

/// Loads that may wait for a turn while another load waits for them, whatever a builder says. They
/// are asked for by loads that have begun, which are bounded themselves, so this only bounds how
/// many a loader reads at once. At ten times fewer a page of a thousand parts could not be put
/// together while others are; at ten times more a loader that never stops reading would take some
/// hundred megabytes of tasks before it is told.
const NESTED_WAITING_MIN: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Capacity {
    permits: Arc<Semaphore>,
    /// Readers' loads queue here, and only the first of them queues for a permit: so a load that
    /// wants its turn back, and those it waits for, come before all the others.
    door: Semaphore,
    running: usize,
    waiting_max: usize,
    /// Readers' loads in the queue, and loads that wait for another one, which will be back.
    waiting: AtomicUsize,
    /// Loads in the queue that another load waits for.
    waiting_nested: AtomicUsize,
    /// Loads that began and did not end, whether they have their turn or gave it back.
    begun: AtomicUsize,
}

/// Who a load is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    Reader,
    /// Another load, which has given back its turn.
    Load,
}

impl Capacity {
    pub(crate) fn new(running: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(running)),
            door: Semaphore::new(1),
            running,
            waiting_max,
            waiting: AtomicUsize::new(0),
            waiting_nested: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        })
    }

    /// Waits for a turn, for `within` at most.
    ///
    /// A region gives its `load_timeout`: whoever would not wait longer than that for a load would
    /// not wait longer for one to begin. The loads in front have limits of their own, but those of
    /// other regions may be as long as anybody likes.
    ///
    /// # Errors
    /// `Overloaded` when as many wait as may, or when no turn came in time; `Closed` when the cache
    /// was closed.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        asked_by: AskedBy,
        within: Duration,
    ) -> Result<Turn, Error> {
        // A free turn may be one that a load gave back while it waits: all of those that waited
        // would let the loads that have begun grow without end.
        if asked_by == AskedBy::Reader {
            self.expect_room()?;
        }
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(Turn::new(self, permit));
        }
        let place = match asked_by {
            AskedBy::Reader => Place::take(self, &self.waiting, self.waiting_max)?,
            AskedBy::Load => {
                Place::take(self, &self.waiting_nested, self.waiting_max.max(NESTED_WAITING_MIN))?
            }
        };
        let permit = tokio::time::timeout(within, self.queue(asked_by)).await;
        drop(place);
        match permit {
            Ok(permit) => Ok(Turn::new(self, permit?)),
            Err(_) => Err(overloaded(format!(
                "no turn came within {within:?}, with {} loads running, which is the limit; try \
                 again later",
                self.running
            ))),
        }
    }

    /// Fails when as many loads run and wait as may do both together.
    fn expect_room(&self) -> Result<(), Error> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let free = self.permits.available_permits();
        match self.waiting_max + free <= waiting && waiting != 0 {
            true => Err(self.full(self.waiting_max)),
            false => Ok(()),
        }
    }

    fn full(&self, most: usize) -> Error {
        overloaded(format!(
            "{} loads run and {most} wait, which is the limit; try again later",
            self.running
        ))
    }

    async fn queue(&self, asked_by: AskedBy) -> Result<OwnedSemaphorePermit, Error> {
        let _first = match asked_by {
            AskedBy::Reader => Some(self.door.acquire().await.map_err(|_| closed())?),
            AskedBy::Load => None,
        };
        self.permits.clone().acquire_owned().await.map_err(|_| closed())
    }

    /// Lets nobody begin any more.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.door.close();
    }

    /// Loads that began and did not end.
    pub(crate) fn running(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

/// A place in a queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(capacity: &Capacity, queue: &'a AtomicUsize, most: usize) -> Result<Self, Error> {
        let place = Self(queue);
        if most <= queue.fetch_add(1, Ordering::Relaxed) {
            return Err(capacity.full(most));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The turn of one load. Dropping it ends it, whoever may still hold its [`Lending`].
#[derive(Debug)]
pub(crate) struct Turn(Lending);

/// The way to give a turn back for a while, for whoever has a handle on the load.
#[derive(Clone, Debug)]
pub(crate) struct Lending(Arc<Lent>);

#[derive(Debug)]
struct Lent {
    capacity: Arc<Capacity>,
    state: Mutex<State>,
    /// Held while a permit is asked for: a load with two reads that end together must not wait for
    /// a second one while it has the first.
    asking: tokio::sync::Mutex<()>,
}

/// INVARIANT: there is no permit while something is waited for.
#[derive(Debug)]
struct State {
    permit: Option<OwnedSemaphorePermit>,
    waits: usize,
    ended: bool,
}

impl Turn {
    fn new(capacity: &Arc<Capacity>, permit: OwnedSemaphorePermit) -> Self {
        capacity.begun.fetch_add(1, Ordering::Relaxed);
        let state = State { permit: Some(permit), waits: 0, ended: false };
        Self(Lending(Arc::new(Lent {
            capacity: capacity.clone(),
            state: Mutex::new(state),
            asking: tokio::sync::Mutex::new(()),
        })))
    }

    pub(crate) fn lending(&self) -> Lending {
        self.0.clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Lent { capacity, state, .. } = &*self.0.0;
        let mut state = state.lock();
        state.ended = true;
        let permit = state.permit.take();
        if state.waits != 0 {
            capacity.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        drop(state);
        drop(permit);
        capacity.begun.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lending {
    /// Gives the turn back until [`Waiting::end`]; with several reads at once, of the last one.
    pub(crate) fn give_back(&self) -> Waiting<'_> {
        let Lent { capacity, state, .. } = &*self.0;
        let mut state = state.lock();
        state.waits += 1;
        let permit = state.permit.take();
        if state.waits == 1 && !state.ended {
            capacity.waiting.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        drop(permit);
        Waiting { turn: self, ended: false }
    }

    /// Whether nothing is waited for any more and the turn is wanted again.
    fn stop_waiting(&self) -> bool {
        let Lent { capacity, state, .. } = &*self.0;
        let mut state = state.lock();
        state.waits -= 1;
        let is_last = state.waits == 0 && !state.ended;
        if is_last {
            capacity.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        is_last
    }

    fn wants_a_permit(&self) -> bool {
        let state = self.0.state.lock();
        state.waits == 0 && !state.ended && state.permit.is_none()
    }

    /// Keeps `permit` if it is still wanted.
    fn keep(&self, permit: OwnedSemaphorePermit) {
        let mut state = self.0.state.lock();
        if state.waits == 0 && !state.ended && state.permit.is_none() {
            state.permit = Some(permit);
        }
    }
}

/// A load that waits for another one and has given back its turn for that long.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    turn: &'a Lending,
    ended: bool,
}

impl Waiting<'_> {
    /// Takes the turn again. A cache that was closed meanwhile lets the load end without one.
    pub(crate) async fn end(mut self) {
        self.ended = true;
        if !self.turn.stop_waiting() {
            return;
        }
        let _asking = self.turn.0.asking.lock().await;
        if self.turn.wants_a_permit()
            && let Ok(permit) = self.turn.0.capacity.permits.clone().acquire_owned().await
        {
            self.turn.keep(permit);
        }
    }
}

/// A read that was given up. Nothing can be waited for here, so without a free turn the load goes
/// on without one; that is over the limit by one until it ends or reads again.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.ended
            && self.turn.stop_waiting()
            && let Ok(permit) = self.turn.0.capacity.permits.clone().try_acquire_owned()
        {
            self.turn.keep(permit);
        }
    }
}

fn overloaded(detail: String) -> Error {
    Error::new(ErrorKind::Overloaded, "begin a load").detail(detail)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "begin a load").detail("the cache was closed")
}

#[cfg(test)]
mod tests;
