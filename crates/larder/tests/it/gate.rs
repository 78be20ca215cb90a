//! A loader that stops where a test wants it to, so that races happen in a chosen order.
//!
//! **Invariant**: nothing here waits for time; every step is an event.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use larder::{Cache, Clock, Dependency, Error, ErrorKind, Load, Region, RegionBuilder};
use tokio::sync::Semaphore;

/// A row that can be changed, and loads of it that wait for leave to end.
#[derive(Clone)]
pub(crate) struct Gate(Arc<State>);

struct State {
    row: AtomicI64,
    begun: Semaphore,
    leave: Semaphore,
    loads: AtomicUsize,
    failing: AtomicUsize,
}

pub(crate) const FINE: usize = 0;
pub(crate) const TRANSIENT: usize = 1;
pub(crate) const LASTING: usize = 2;
pub(crate) const PANIC: usize = 3;

impl Gate {
    /// A row with the value 1, whose loads wait.
    pub(crate) fn closed() -> Self {
        Self(Arc::new(State {
            row: AtomicI64::new(1),
            begun: Semaphore::new(0),
            leave: Semaphore::new(0),
            loads: AtomicUsize::new(0),
            failing: AtomicUsize::new(FINE),
        }))
    }

    /// A row with the value 1, whose loads do not wait.
    pub(crate) fn open() -> Self {
        let gate = Self::closed();
        gate.0.leave.add_permits(1_000_000);
        gate
    }

    pub(crate) fn write(&self, row: i64) {
        self.0.row.store(row, Ordering::SeqCst);
    }

    pub(crate) fn fail(&self, how: usize) {
        self.0.failing.store(how, Ordering::SeqCst);
    }

    pub(crate) fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// Waits until one more load has read the row.
    pub(crate) async fn begun(&self) {
        self.0.begun.acquire().await.unwrap().forget();
    }

    /// Lets one load end.
    pub(crate) fn let_one_end(&self) {
        self.0.leave.add_permits(1);
    }

    /// The loader: reads the row, says so, waits for leave, then ends.
    pub(crate) async fn load(self, load: Load) -> Result<i64, Error> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        load.depends_on(row_dependency());
        let row = self.0.row.load(Ordering::SeqCst);
        let failing = self.0.failing.load(Ordering::SeqCst);
        self.0.begun.add_permits(1);
        self.0.leave.acquire().await.unwrap().forget();
        match failing {
            TRANSIENT => Err(Error::new(ErrorKind::Unavailable, "reach the origin")),
            LASTING => Err(Error::new(ErrorKind::Origin, "run the statement")),
            PANIC => panic!("the loader was told to panic"),
            _ => Ok(row),
        }
    }

    /// Begins a region over this row.
    pub(crate) fn region(&self, cache: &Cache) -> RegionBuilder<u32, i64> {
        let gate = self.clone();
        cache.region("rows").loader(move |_key: u32, load| gate.clone().load(load))
    }
}

/// What every value of a gate depends on.
pub(crate) fn row_dependency() -> Dependency {
    Dependency::id("app", "Row", [1])
}

/// A cache whose clock stands still.
pub(crate) fn cache() -> (Cache, Clock) {
    let clock = Clock::manual();
    (Cache::builder().clock(clock.clone()).build().unwrap(), clock)
}

/// Runs `region.get_or_load(&1)` on a task of its own.
pub(crate) fn spawn_read(
    region: &Region<u32, i64>,
) -> tokio::task::JoinHandle<Result<Arc<i64>, larder::LoadError<Error>>> {
    let region = region.clone();
    tokio::spawn(async move { region.get_or_load(&1).await })
}
