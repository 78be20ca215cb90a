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
