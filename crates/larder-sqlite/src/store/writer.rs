//! The writer: one connection that writes, as many writes to a commit as are waiting.
//!
//! SQLite lets one connection write at a time, so that more of them would only wait for each other
//! (SD3), and a commit costs more than what is in it. A thread writes what is large and what has to
//! be on the disk; what takes microseconds is written by whoever finds the connection free: see
//! `spot`. **Invariant**: a call is answered after the commit that holds it, and what it changed is
//! in that commit whole or not at all; a call that fails or panics takes nothing of the others in
//! its group with it (SD15). Whoever writes takes what waits from the front, so that what was
//! handed in first is written first.
mod queue;

mod job;

mod waiting;

mod spot;

mod thread;

mod gathering;

mod commit;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use larder_core::{Error, ErrorKind, clock::WallMillis};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::{
    access::Access,
    counters::Counters,
    doubt::Doubt,
    fence::Removals,
    options::{Durability, StoreOptions},
    pace::Pace,
    queues::Unserved,
    total::Totals,
};
use crate::error::from_driver;

pub(crate) use self::{spot::Effort, waiting::Leaves};

use self::{commit::Desk, spot::Crowd, waiting::Waiting};

/// What a write is done with: the connection inside the transaction, and what it shares with the
/// others of its group.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) options: &'a StoreOptions,
    pub(crate) totals: &'a mut Totals,
    pub(crate) access: &'a Access,
    pub(crate) counters: &'a Counters,
    /// What was removed last.
    pub(crate) removals: &'a mut Removals,
    /// One time for the whole group.
    pub(crate) now: WallMillis,
    /// Whether the timeline `app` moved.
    pub(crate) has_advanced: &'a mut bool,
}

impl Writing<'_> {
    /// What the driver said, as an error of `operation`.
    pub(crate) fn failed(
        operation: &'static str,
    ) -> impl Fn(rusqlite::Error) -> Error + Copy + 'static {
        move |error| from_driver(operation, "the store", &error)
    }
}

/// The thread and its queue.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    file: PathBuf,
    path: String,
    options: StoreOptions,
    access: Arc<Access>,
    counters: Arc<Counters>,
    desk: Mutex<Desk>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    crowd: Crowd,
    closing: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
    unserved: Unserved,
    pub(crate) doubt: Arc<Doubt>,
    pub(crate) pace: Pace,
}

impl Writer {
    /// Starts the thread over `connection`.
    pub(crate) fn start(
        connection: Connection,
        file: PathBuf,
        options: StoreOptions,
        access: Arc<Access>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let page: u32 = connection
            .query_row("PRAGMA main.page_size", [], |row| row.get(0))
            .map_err(Writing::failed("start the writer"))?;
        let queue = Arc::new(Queue {
            pace: Pace::new(options.wal_bytes.div_ceil(u64::from(page.max(1)))),
            path: file.display().to_string(),
            doubt: Arc::new(Doubt::of(&file)),
            file,
            options,
            access,
            counters,
            desk: Mutex::new(Desk {
                connection: Some(connection),
                log: None,
                synchronous: Durability::Relaxed,
                removals: Removals::default(),
            }),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            crowd: Crowd::default(),
            closing: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            unserved: Unserved::default(),
        });
        let own = queue.clone();
        let thread = std::thread::Builder::new()
            .name("larder-write".into())
            .spawn(move || own.run())
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start the writer").source(error)
            })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

/// Does what waits already, then ends.
impl Drop for Writer {
    fn drop(&mut self) {
        {
            // LOCKS: under `waiting`, or the thread may look, see nothing, and begin to wait after
            // it was told.
            let _waiting = self.queue.waiting.lock();
            self.queue.closing.store(true, Ordering::SeqCst);
        }
        self.queue.arrived.notify_all();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
