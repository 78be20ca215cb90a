//! Handing something to the writer, and waiting for the answer.
//!
//! **Invariant**: what waits is bounded in number and in bytes, and who comes later is told so at
//! once; nothing is handed in once the store is closing.

use std::sync::atomic::Ordering;

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    Queue, Writing,
    job::{Act, Job},
    spot::Effort,
    waiting::{Alone, By, Leaves, Waiting},
};
use crate::store::{options::Durability, queues::Queues};

/// Writes that may wait. At ten microseconds each this is a second of work; whoever comes later is
/// told so at once.
const WAITING_MAX: usize = 65_536;

/// Bytes of values that may wait. With less a single bulk write of large values fills it, with more
/// a disk that does not keep up costs memory before anybody is told.
pub(super) const WAITING_BYTES_MAX: u64 = 256 << 20;

impl Queue {
    /// Writes `act` with the next commit.
    ///
    /// # Errors
    /// Those of `act`; `Overloaded` when too many wait; `Timeout` when its turn did not come;
    /// `Unavailable`, `Full`, `ReadOnly` or `Corrupt` when nothing can be written.
    ///
    /// # Cancel safety
    /// Dropped before its turn, nothing is written; dropped later, everything.
    ///
    /// # Cost
    /// A relaxed write of one small row is done by the caller where nobody else writes; what
    /// others hand in meanwhile too, for half a millisecond at most.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        effort: Effort,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (by, mut answer) = self.submit(durability, effort, act)?;
        if by == By::Anyone {
            self.let_others_join().await;
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
            self.write_here();
        }
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same for a thread of its own that may wait.
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (_, answer) = self.submit(Durability::Relaxed, Effort::MUCH, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same, and whatever was committed before it is on the disk when it returns.
    pub(crate) fn write_durably_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (_, answer) = self.submit(Durability::Durable, Effort::MUCH, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.closed()))
    }

    fn submit<T: Send + 'static>(
        &self,
        durability: Durability,
        effort: Effort,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<(By, oneshot::Receiver<Result<T, Error>>), Error> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Act { act: Some(act), result: None, reply });
        let deadline = self.options.clock.now().plus(self.options.busy);
        let durability = match self.options.durability {
            Durability::Durable => Durability::Durable,
            Durability::Relaxed => durability,
        };
        let (by, bytes) = (effort.by(durability), effort.bytes());
        let mut waiting = self.waiting.lock();
        self.check_room(&waiting, bytes)?;
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        waiting.jobs.push_back(Job { by, durability, deadline, bytes, task });
        waiting.is_called |= by == By::Thread;
        let is_to_wake = waiting.is_called && waiting.gathered <= waiting.jobs.len();
        drop(waiting);
        if is_to_wake {
            self.arrived.notify_one();
        }
        Ok((by, answer))
    }

    /// # Errors
    /// Why a write with values of `bytes` bytes may not wait.
    fn check_room(&self, waiting: &Waiting, bytes: u64) -> Result<(), Error> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        if WAITING_MAX <= waiting.jobs.len() {
            self.unserved.refused();
            return Err(Error::new(ErrorKind::Overloaded, "write to the store")
                .subject(&*self.path)
                .detail(format!("{WAITING_MAX} writes are waiting already")));
        }
        // One alone may be larger: it is in memory already.
        if 0 < waiting.bytes && WAITING_BYTES_MAX < waiting.bytes.saturating_add(bytes) {
            return Err(Error::new(ErrorKind::Overloaded, "write to the store")
                .subject(&*self.path)
                .detail(format!(
                    "writes of {} bytes are waiting already, at most {WAITING_BYTES_MAX} may; \
                     write less at a time",
                    waiting.bytes
                )));
        }
        Ok(())
    }

    /// Adds to `queues` what there is to say of writes.
    pub(crate) fn tell(&self, queues: &mut Queues) {
        queues.writes_waiting = self.waiting.lock().jobs.len() as u64;
        (queues.writes_late, queues.writes_refused) = self.unserved.counts();
    }

    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, "write to the store").subject(&*self.path)
    }

    /// Gives `act` the connection for itself, between two commits. What waits is written after it.
    ///
    /// # Errors
    /// Those of `act`; `Closed`; `Panicked`.
    ///
    /// # Cancel safety
    /// It happens, whether it is waited for or not.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit_alone(Leaves::Pages, act)?;
        answer.await.unwrap_or_else(|_| Err(self.panicked()))
    }

    /// The same for a thread of its own that may wait.
    pub(crate) fn alone_blocking<T: Send + 'static>(
        &self,
        leaves: Leaves,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.submit_alone(leaves, act)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.panicked()))
    }

    fn submit_alone<T: Send + 'static>(
        &self,
        leaves: Leaves,
        act: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if self.closing.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        let doubt = self.doubt.clone();
        let act = move |connection: &mut Connection| {
            let result = doubt.settle_alone(connection).and_then(|()| act(connection));
            drop(reply.send(result.inspect_err(|error| doubt.note(error))));
        };
        waiting.alone.push_back(Alone(leaves, Box::new(act)));
        drop(waiting);
        self.arrived.notify_one();
        Ok(answer)
    }

    fn panicked(&self) -> Error {
        Error::new(ErrorKind::Panicked, "write to the store").subject(&*self.path)
    }
}
