//! Connections that read: on the caller's own thread where one is free, else on threads of ours.
//!
//! Looking up a small value takes SQLite less time than handing it to another thread, so a read
//! whose cost is known to be small borrows a connection where it stands. Everything else is queued.
//! **Invariant**: nobody waits for a connection while holding one (SD3, SD4), and a pool that is
//! not full grows at once (SD5).

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use larder_core::{Error, ErrorKind, Moment};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    file,
    health::Health,
    lane,
    options::StoreOptions,
    queues::{Queues, Unserved},
};

/// Reads that may wait for a thread.
const WAITING_MAX: usize = 16_384;

/// What is read with a connection, or with why there is none.
type Job = Box<dyn FnOnce(Result<&Connection, Error>) + Send>;

/// The connections and the threads.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    options: StoreOptions,
    health: Arc<Health>,
    lent: Box<[Slot]>,
    waiting: Mutex<VecDeque<(Moment, Job)>>,
    arrived: Condvar,
    closing: AtomicBool,
    unserved: Unserved,
}

/// A connection to borrow, once somebody did. It is in use for as long as it is locked.
#[derive(Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Connection>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts the threads. They and the borrowed connections open the file when first needed.
    pub(crate) fn start(
        path: PathBuf,
        options: StoreOptions,
        health: Arc<Health>,
    ) -> Result<Self, Error> {
        let count = options.readers.max(1);
        let shared = Arc::new(Shared {
            path,
            options,
            health,
            lent: (0..count).map(|_| Slot::default()).collect(),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            closing: AtomicBool::new(false),
            unserved: Unserved::default(),
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(count) };
        for number in 0..count {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("larder-store-{number}"))
                .spawn(move || shared.run());
            pool.threads.push(thread.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start a reader").source(error)
            })?);
        }
        Ok(pool)
    }

    /// Runs `read` here and now if a connection is free; `None`, with nothing done, if not.
    pub(crate) fn borrow<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(mut slot) = self.shared.free_slot() else { return Ok(None) };
        // Taken out, so that whoever panics does not leave a broken one behind.
        let connection = match slot.take() {
            Some(connection) => connection,
            None => file::open_for_reading(&self.shared.path, &self.shared.options)?,
        };
        let read = read(&connection).inspect_err(|error| self.shared.health.note(error))?;
        // After an error the connection may be broken; the next one starts clean.
        *slot = Some(connection);
        Ok(Some(read))
    }

    /// Runs `read` on a thread.
    ///
    /// # Errors
    /// Those of `read` and of opening the file, `Overloaded` when too many wait, `Timeout` when its
    /// turn did not come.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let health = self.shared.health.clone();
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                let result = connection.and_then(read).inspect_err(|error| health.note(error));
                reply.send(result).ok();
            }
        });
        let deadline = self.shared.options.clock.now().plus(self.shared.options.busy);
        {
            let mut waiting = self.shared.waiting.lock();
            if WAITING_MAX <= waiting.len() {
                self.shared.unserved.refused();
                return Err(Error::new(ErrorKind::Overloaded, "read from the store")
                    .detail(format!("{WAITING_MAX} reads are waiting already")));
            }
            waiting.push_back((deadline, job));
        }
        self.shared.arrived.notify_one();
        answer.await.unwrap_or_else(|_| Err(self.shared.unanswered()))
    }
}

impl Pool {
    /// Adds to `queues` what there is to say of reads.
    pub(crate) fn tell(&self, queues: &mut Queues) {
        let shared = &self.shared;
        queues.connections_max = shared.lent.len() as u64;
        for Slot(slot) in &shared.lent {
            match slot.try_lock() {
                Some(slot) => queues.connections_open += u64::from(slot.is_some()),
                None => {
                    queues.connections_open += 1;
                    queues.connections_used += 1;
                }
            }
        }
        queues.reads_waiting = shared.waiting.lock().len() as u64;
        (queues.reads_late, queues.reads_refused) = shared.unserved.counts();
    }
}

/// Lets what runs finish and drops what waits.
impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.waiting.lock().clear();
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Shared {
    /// A connection that nobody uses: first the one that this thread used last, which its processor
    /// still knows.
    fn free_slot(&self) -> Option<MutexGuard<'_, Option<Connection>>> {
        let (before, from) = self.lent.split_at(lane::number() % self.lent.len().max(1));
        from.iter().chain(before).find_map(|Slot(slot)| slot.try_lock())
    }

    fn unanswered(&self) -> Error {
        let kind = match self.closing.load(Ordering::SeqCst) {
            true => ErrorKind::Closed,
            false => ErrorKind::Timeout,
        };
        let busy = self.options.busy;
        let error = Error::new(kind, "read from the store");
        match kind {
            ErrorKind::Timeout => error.detail(format!("its turn did not come within {busy:?}")),
            _ => error,
        }
    }

    fn run(&self) {
        let mut opened: Option<Connection> = None;
        while let Some((deadline, job)) = self.next_job() {
            if deadline < self.options.clock.now() {
                self.unserved.late();
                continue;
            }
            let connection = match &mut opened {
                Some(connection) => Ok(&*connection),
                none => file::open_for_reading(&self.path, &self.options)
                    .inspect_err(|error| tracing::error!(%error, "a reader cannot open the store"))
                    .map(|connection| &*none.insert(connection)),
            };
            if catch_unwind(AssertUnwindSafe(|| job(connection))).is_err() {
                tracing::error!("a read panicked; its thread goes on");
                opened = None;
            }
        }
    }

    fn next_job(&self) -> Option<(Moment, Job)> {
        let mut waiting = self.waiting.lock();
        loop {
            if self.closing.load(Ordering::SeqCst) {
                return None;
            }
            match waiting.pop_front() {
                Some(job) => return Some(job),
                None => self.arrived.wait(&mut waiting),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use larder_core::Clock;
    use larder_testkit::{temp::TempDir, wait::block_on};

    use super::*;
    use crate::store::{
        entry::{Lifetime, NewEntry, Stored},
        handle::SqliteStore,
    };

    /// Ends the test if `work` does not end: it waits for itself.
    fn ends(work: impl FnOnce() + Send + 'static) {
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            work();
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(20)).expect("it waits for itself");
    }

    fn open(place: &TempDir) -> SqliteStore {
        // A clock that stands still: nothing that waits is saved by its deadline.
        let options = StoreOptions::new().readers(1).clock(Clock::manual());
        let store = block_on(SqliteStore::open_with(place.join("x.db"), options)).unwrap();
        let new = NewEntry::new(Stored::text("x"), Lifetime::Forever);
        block_on(store.entries("r").insert("a", new)).unwrap();
        store
    }

    #[test]
    fn who_reads_by_the_only_connection_can_ask_and_write_meanwhile() {
        // SD3, SD5: nobody waits for a second connection while holding the first.
        let place = TempDir::new("pool").unwrap();
        let store = open(&place);
        let own = store.clone();
        ends(move || {
            let nested = own.pool().borrow(|_| {
                let entries = own.entries("r");
                assert!(own.pool().borrow(|_| Ok(())).unwrap().is_none(), "there is one only");
                // What was borrowed is not what the thread reads with, and not what is written by.
                assert!(block_on(entries.get("a")).unwrap().is_some());
                assert_eq!(block_on(own.stats()).unwrap().entries, 1);
                let new = NewEntry::new(Stored::text("y"), Lifetime::Forever);
                block_on(entries.insert("b", new)).map(drop)
            });
            assert!(nested.unwrap().is_some());
        });
        let own = store.clone();
        ends(move || {
            let (pool, writing) = (own.pool(), own.clone());
            let nested = pool.read(move |_| {
                let entries = writing.entries("r");
                assert!(block_on(entries.get("b")).unwrap().is_some(), "by what can be borrowed");
                let new = NewEntry::new(Stored::text("z"), Lifetime::Forever);
                block_on(entries.insert("c", new)).map(drop)
            });
            block_on(nested).unwrap();
        });
        assert!(block_on(store.entries("r").get("c")).unwrap().is_some());
    }

    #[test]
    fn a_pool_grows_at_once_and_to_its_end() {
        // SD5: the third who comes does not wait for anybody's patience to end.
        let place = TempDir::new("pool").unwrap();
        let options = StoreOptions::new().readers(3).clock(Clock::manual());
        let store = block_on(SqliteStore::open_with(place.join("x.db"), options)).unwrap();
        ends(move || {
            let pool = store.pool();
            let nested = pool.borrow(|_| pool.borrow(|_| pool.borrow(|_| pool.borrow(|_| Ok(())))));
            let (mut queues, third) = (Queues::default(), nested.unwrap().flatten().flatten());
            assert!(third.is_some_and(|fourth| fourth.is_none()), "three, and no fourth");
            pool.tell(&mut queues);
            assert_eq!((queues.connections_open, queues.connections_used), (3, 0));
        });
    }
}
