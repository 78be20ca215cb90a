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
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{file, health::Health, options::StoreOptions};

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
    free: Mutex<Free>,
    waiting: Mutex<VecDeque<(Moment, Job)>>,
    arrived: Condvar,
    closing: AtomicBool,
}

#[derive(Default)]
struct Free {
    connections: Vec<Connection>,
    opened: usize,
}

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
            free: Mutex::default(),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            closing: AtomicBool::new(false),
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
        let Some(connection) = self.shared.take()? else { return Ok(None) };
        let mut lent = Lent { shared: &self.shared, connection: Some(connection) };
        let result = lent.connection.as_ref().map(read).transpose();
        // After an error the connection may be broken; the next one starts clean.
        if let Err(error) = &result {
            self.shared.health.note(error);
            lent.connection = None;
            self.shared.free.lock().opened -= 1;
        }
        result
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
                return Err(Error::new(ErrorKind::Overloaded, "read from the store")
                    .detail(format!("{WAITING_MAX} reads are waiting already")));
            }
            waiting.push_back((deadline, job));
        }
        self.shared.arrived.notify_one();
        answer.await.unwrap_or_else(|_| Err(self.shared.unanswered()))
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

/// A connection that finds its way back, unless its borrower panicked.
struct Lent<'a> {
    shared: &'a Shared,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut free = self.shared.free.lock();
        if std::thread::panicking() {
            free.opened -= 1;
        } else {
            free.connections.push(connection);
        }
    }
}

impl Shared {
    fn take(&self) -> Result<Option<Connection>, Error> {
        {
            let mut free = self.free.lock();
            if let Some(connection) = free.connections.pop() {
                return Ok(Some(connection));
            }
            if self.options.readers.max(1) <= free.opened {
                return Ok(None);
            }
            free.opened += 1;
        }
        file::open_for_reading(&self.path, &self.options).map(Some).inspect_err(|_| {
            self.free.lock().opened -= 1;
        })
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
