//! Flights: loads for reads of what the window does not cover, shared by those who miss the same.
//!
//! Apart from `refresh.rs`, whose loads are for the table and take turns: what is loaded here goes
//! to its readers and is kept by nobody. **Invariant**: nobody takes the result of a load that
//! began before something in its ranges was invalidated, or told of and shown by the origin, if
//! that was before he came.
//!
//! # Implementation notes
//!
//! A load that others may join is in a list. Whatever it may have missed takes it off the list;
//! those who joined before keep it:
//!
//! 1. Reader A misses row 1 and begins a load, which reads it as it is.
//! 2. Row 1 changes, and is invalidated: the load is taken off the list, and then the invalidation
//!    is published.
//! 3. Reader B comes, finds no load to join and begins another one. A takes the old row: the change
//!    came after A.
//!
//! *Received is not confirmed.* A load that begins after a feed told of a change, and before the
//! origin shows it, has missed it as well, so it is taken off when it is shown:
//!
//! 1. Reader A has come. The feed tells that row 1 changed; no load can see that yet.
//! 2. A begins its load, which reads the old row.
//! 3. Reader B comes, and waits until the change is shown; then it would join the load of A.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use larder_core::{Error, ErrorKind, safeguard::Safeguard};
use tokio::sync::watch;

use crate::{
    index::IndexKey,
    lane::AnyRanges,
    ranges::Ranges,
    record::Record,
    stats::Counts,
    sync::{AbortHandle, Mutex, spawn},
    table::Table,
};

/// What a load gave.
type Landed<R> = Result<Arc<Vec<Arc<R>>>, Error>;

/// A load under way. It ends when nobody waits for it any more.
pub(crate) struct Flight<R> {
    ended: watch::Receiver<Option<Landed<R>>>,
    task: AbortHandle,
}

impl<R> Drop for Flight<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A load that may be joined.
struct Joinable<R> {
    place: usize,
    ranges: Arc<dyn AnyRanges>,
    task: AbortHandle,
    flight: Weak<Flight<R>>,
}

/// The loads that may be joined.
pub(crate) struct Flights<R>(Mutex<Vec<Joinable<R>>>);

impl<R> Default for Flights<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> Flights<R> {
    /// Nobody who comes from now on joins a load of which `may_miss` holds, by the place of its
    /// index and its ranges.
    pub(crate) fn leave(&self, may_miss: impl Fn(usize, &dyn AnyRanges) -> bool) {
        if Safeguard::LateReadsLoadAnew.is_off() {
            return;
        }
        self.0.lock().retain(|one| !may_miss(one.place, &*one.ranges));
    }

    /// Ends them all, for a test that this is noticed.
    #[cfg(all(test, shuttle))]
    pub(crate) fn end_all(&self) {
        self.0.lock().iter().for_each(|one| one.task.abort());
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// A load that gives all of `ranges`; `begin` begins one where there is none.
    fn join(
        &self,
        place: usize,
        ranges: &dyn AnyRanges,
        begin: impl FnOnce() -> (Arc<dyn AnyRanges>, Flight<R>),
    ) -> (Arc<Flight<R>>, Joined) {
        let mut joinable = self.0.lock();
        joinable.retain(|one| !one.task.is_finished() && 0 < one.flight.strong_count());
        let is_enough =
            |one: &&Joinable<R>| one.place == place && ranges.without(&*one.ranges).is_empty();
        let found = joinable.iter().filter(is_enough).find_map(|one| one.flight.upgrade());
        if let Some(flight) = found {
            return (flight, Joined::Another);
        }
        // In the list before it can have read anything, or at least before anything that it can
        // miss takes it off.
        let (ranges, flight) = begin();
        let flight = Arc::new(flight);
        let (task, weak) = (flight.task.clone(), Arc::downgrade(&flight));
        joinable.push(Joinable { place, ranges, task, flight: weak });
        (flight, Joined::Own)
    }
}

/// Whose load it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    Own,
    Another,
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Loads the records whose key of the index at `place` is in `ranges`, or takes them from a
    /// load under way; sorted by primary key.
    ///
    /// # Errors
    /// Those of the loader; `Panicked` when it panicked.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the load to those who wait for it as well; the last one ends it.
    pub(crate) async fn ask_together<K: IndexKey>(
        &self,
        place: usize,
        ranges: &Ranges<K>,
    ) -> Result<Vec<Arc<R>>, Error> {
        let begin = || {
            let ranges: Arc<dyn AnyRanges> = Arc::new(ranges.clone());
            let (tell, ended) = watch::channel(None);
            let (table, own) = (self.clone(), ranges.clone());
            let task = spawn(async move {
                let records = table.ask(place, &*own).await;
                tell.send_replace(Some(records.map(Arc::new)));
            });
            (ranges, Flight { ended, task: task.abort_handle() })
        };
        let (flight, joined) = self.0.flights.join(place, ranges, begin);
        if joined == Joined::Another {
            Counts::add(&self.0.counts.misses_shared, 1);
        }
        let mut ended = flight.ended.clone();
        let landed = match ended.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().expect("it was waited for"),
            Err(_) => Err(self.not_landed()),
        };
        let lane = self.lane(place);
        let is_asked = |one: &&Arc<R>| joined == Joined::Own || lane.holds(ranges, one);
        Ok(landed?.iter().filter(is_asked).cloned().collect())
    }

    #[cold]
    fn not_landed(&self) -> Error {
        Error::new(ErrorKind::Panicked, "load records of table")
            .subject(format!("`{}`", self.name()))
            .detail("its loader panicked, or the runtime is shut down; nothing was changed")
    }
}

impl<R> fmt::Debug for Flights<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("joinable", &self.0.lock().len()).finish()
    }
}
