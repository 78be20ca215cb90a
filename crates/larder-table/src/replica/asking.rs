//! Asking the owner: how old what a replica shows may be taken to be.
//!
//! Apart from the connections, which bring versions, and from the replica, which has types.
//! **Invariant**: what is proven was asked for and is shown, by the connection that is open and in
//! its life; with the end of either nothing is proven.
//!
//! # Implementation notes
//!
//! *Age.* That a version has come says nothing of its age: it may have waited on the way. So a
//! replica asks, and counts from the moment of the question:
//!
//! 1. A reader comes. The replica asks its owner at 12:00:00.
//! 2. The owner asks its origin, loads what is in doubt, and answers: version 8.
//! 3. Version 8 arrives, and is shown. Whatever is shown from then on is as new as 12:00:00.
//!
//! An answer counts for the connection and the life that it was asked in: after the end of either
//! nothing is proven, and the next read asks.
//!
//! *A connection that ends* leaves the records where they are, for they were a version of the
//! owner; only nobody is shown them without another question, which waits for another connection
//! and all that is sent by that. A reader that was told "young enough" just before looks once more
//! after it has taken its snapshot: else it could take the first version of another owner, of whose
//! age nobody knows.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_core::{
    BoxFuture, Clock, Error, ErrorKind, Moment, Name,
    feed::{Feed, FeedSink},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::published::Version;

/// The owner of a table, as far as a replica asks it.
pub trait Owner: fmt::Debug + Send + Sync + 'static {
    /// The version that [`crate::Table::version`] gives there now. Asked at most once at a time.
    ///
    /// # Errors
    /// Whatever keeps it from answering: reads that need the answer fail with it.
    fn version(&self) -> BoxFuture<'_, Result<Version, Error>>;
}

/// How a replica is, and what has come.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaStats {
    /// Whether it is connected, and was sent all of the table.
    pub is_connected: bool,
    /// Connections that were begun.
    pub connections: u64,
    /// Versions that were shown.
    pub versions: u64,
    /// Bytes that have come.
    pub bytes: u64,
    /// How long ago the question was asked whose answer is shown; `None` while nothing is proven.
    pub age: Option<Duration>,
}

/// The part of a replica that knows no types.
#[derive(Debug)]
pub(super) struct Asking {
    owner: Arc<dyn Owner>,
    pub(super) called: Name,
    clock: Clock,
    wait: Duration,
    /// Everything that the owner knew before this is shown. Changed under the lock of `state`.
    proven: Arc<AtomicU64>,
    state: watch::Sender<State>,
    /// Held by whoever asks.
    turn: tokio::sync::Mutex<()>,
    counts: Mutex<Counts>,
}

/// How far the connection came.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// They are numbered; the last one.
    connection: u64,
    is_open: bool,
    life: u64,
    /// The version that is shown; none of this connection yet at zero.
    number: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    versions: u64,
    bytes: u64,
}

impl Asking {
    pub(super) fn new(owner: Arc<dyn Owner>, called: &str, clock: Clock, wait: Duration) -> Self {
        Self {
            owner,
            called: called.into(),
            clock,
            wait,
            proven: Arc::new(AtomicU64::new(Moment::EARLIEST.as_micros())),
            state: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// The moment, in microseconds of the clock, of the last question whose answer is shown.
    pub(super) fn proven(&self) -> Arc<AtomicU64> {
        self.proven.clone()
    }

    pub(super) fn stats(&self) -> ReplicaStats {
        let (state, counts) = (*self.state.borrow(), *self.counts.lock());
        let proven = self.proven.load(Ordering::Acquire);
        let is_proven = proven != Moment::EARLIEST.as_micros();
        let age = self.clock.now().since(Moment::from_micros(proven));
        ReplicaStats {
            is_connected: state.is_open && state.number != 0,
            connections: state.connection,
            versions: counts.versions,
            bytes: counts.bytes,
            age: is_proven.then_some(age),
        }
    }

    /// A connection to an owner in `life` begins; its number.
    pub(super) fn open(&self, life: u64) -> u64 {
        let mut connection = 0;
        self.state.send_modify(|state| {
            self.unprove();
            connection = state.connection + 1;
            *state = State { connection, is_open: true, life, number: 0 };
        });
        connection
    }

    /// So many bytes have come.
    pub(super) fn came(&self, bytes: u64) {
        self.counts.lock().bytes += bytes;
    }

    /// Lets `publish` show the version `number`, if the connection is the last one; whether it is.
    pub(super) fn show(&self, connection: u64, number: u64, publish: impl FnOnce()) -> bool {
        let is_last = self.state.send_if_modified(|state| {
            let is_last = state.is_open && state.connection == connection;
            if is_last {
                // Before the number: who waits for that finds the version.
                publish();
                state.number = number;
            }
            is_last
        });
        if is_last {
            self.counts.lock().versions += 1;
        }
        is_last
    }

    fn unprove(&self) {
        self.proven.store(Moment::EARLIEST.as_micros(), Ordering::Release);
    }

    /// The connection of that number is over.
    pub(super) fn close(&self, number: u64) {
        self.state.send_if_modified(|state| {
            let is_last = state.is_open && state.connection == number;
            if is_last {
                self.unprove();
                state.is_open = false;
            }
            is_last
        });
    }

    /// Asks the owner, and waits until what it answers is shown.
    async fn ask(&self) -> Result<(), Error> {
        let arrived = self.clock.now();
        let asked = tokio::time::timeout(self.wait, async {
            let _turn = self.turn.lock().await;
            // Somebody asked after this one came, while it waited for its turn.
            if arrived.as_micros() < self.proven.load(Ordering::Acquire) {
                return Ok(());
            }
            while !self.ask_once().await? {}
            Ok(())
        });
        asked.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Whether the answer is shown; else the connection has ended, and it has to be asked again.
    async fn ask_once(&self) -> Result<bool, Error> {
        let mut state = self.state.subscribe();
        // It is held here, so that it cannot end. Also before anything has come: while something is
        // in doubt at the owner it sends nothing until it is asked.
        let now = state.wait_for(|state| state.is_open).await.map(|state| *state);
        let Ok(now) = now else { return Ok(false) };
        let moment = self.clock.now();
        let Version { life, number } = self.owner.version().await?;
        if life != now.life {
            // Another one answers than the one that speaks: one of both is gone.
            self.close(now.connection);
            return Ok(false);
        }
        let is_same = move |state: &State| state.is_open && state.connection == now.connection;
        let is_there = |state: &State| state.number != 0 && number <= state.number;
        let ended = state.wait_for(|state| !is_same(state) || is_there(state)).await;
        if ended.is_err() {
            return Ok(false);
        }
        drop(ended);
        let mut is_shown = false;
        self.state.send_if_modified(|state| {
            is_shown = is_same(state);
            if is_shown {
                self.proven.fetch_max(moment.as_micros(), Ordering::AcqRel);
            }
            false
        });
        Ok(is_shown)
    }

    #[cold]
    fn unanswered(&self) -> Error {
        let state = *self.state.borrow();
        let why = match (state.is_open, state.number) {
            (false, _) => "it is not connected",
            (true, 0) => "not all of the table has come yet",
            (true, _) => "it did not answer, or what it answered with has not come",
        };
        Error::new(ErrorKind::Unavailable, "ask the owner of table").subject(&*self.called).detail(
            format!(
                "{why} within {:?}; let the owner run, let reads accept an older state with \
                 `max_staleness`, or let them wait longer with `wait_for_load`",
                self.wait
            ),
        )
    }
}

/// To the reads of a replica its owner is what tells of changes.
impl Feed for Asking {
    fn timeline(&self) -> &Name {
        &self.called
    }

    fn start(&self, _sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, "follow the owner of table").subject(&*self.called))
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.ask())
    }

    fn stop(&self) {}
}
