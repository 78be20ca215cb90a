//! Writing on the spot: who hands in a small write writes it, if nobody else does.
//!
//! To wake a thread and to be woken by it takes several times as long as to write a row, so
//! whoever finds the connection free takes it. He writes what others handed in before, too, and
//! what they hand in meanwhile, up to a bound; what is left then is the thread's. **Invariant**: a
//! job that was handed in is somebody's to write: of the one who handed it in until he found the
//! connection taken, then of the one who had it, who looks again after he let it go, or of the
//! thread. Nobody waits here: neither for a lock nor for the disk.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use larder_core::Error;
use rusqlite::Connection;

use super::{
    Queue, Writing,
    commit::roll_back,
    waiting::{By, Terms},
};
use crate::{
    error::is_busy,
    store::{
        entries::INLINE_BYTES,
        file,
        keeper::{self, Checkpoint},
        options::Durability,
    },
};

/// Writes in one commit of a caller. With ten times less a crowd commits more often, with ten times
/// more it is the time that bounds him.
const SPOT_MAX: usize = 64;

/// Bytes of values in one commit of a caller, but for the last of them.
const SPOT_BYTES_MAX: u64 = 4 * INLINE_BYTES;

/// How long a caller writes for others. With ten times less the thread is woken where the caller
/// would soon be done, with ten times more his own task and those behind it are held up for what
/// the thread could do.
const SPOT_TIME: Duration = Duration::from_micros(500);

/// How many commits of one write each it takes to forget a crowd.
const CROWD_KEPT: u32 = 8;

/// Of how many writes by themselves one looks whether others of its thread would join. With ten
/// times more a crowd on one thread is found later, with ten times less looking for it costs.
const PROBED: u32 = 64;

/// How much an act does, as far as that is known before: it decides who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It writes one row, with a value of so many bytes.
    Row { bytes: u64 },
    /// It does more, or nobody knows how much; it holds values of so many bytes.
    Much { bytes: u64 },
}

impl Effort {
    /// One row, without a value.
    pub(crate) const ROW: Self = Self::Row { bytes: 0 };

    /// More, without values.
    pub(crate) const MUCH: Self = Self::Much { bytes: 0 };

    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Row { bytes } | Self::Much { bytes } => bytes,
        }
    }

    /// Who may do it. Nobody but the thread waits for the disk.
    pub(super) fn by(self, durability: Durability) -> By {
        match self {
            Self::Row { bytes } if bytes <= INLINE_BYTES && durability == Durability::Relaxed => {
                By::Anyone
            }
            Self::Row { .. } | Self::Much { .. } => By::Thread,
        }
    }
}

/// Whether a transaction has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Now,
    /// It would have to wait.
    NotNow,
}

/// What a caller takes on.
const TERMS: Terms =
    Terms { by: By::Anyone, writes_max: SPOT_MAX, bytes_max: SPOT_BYTES_MAX, time_max: SPOT_TIME };

/// Whether several write at a time, as far as the last commits show it.
///
/// Tasks of one thread never meet: each would find the connection free, and commit for itself. So
/// where there is a crowd, or may be one, a task lets the others hand in theirs first.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    kept: AtomicU32,
    probes: AtomicU32,
}

impl Crowd {
    /// A commit held so many writes.
    pub(super) fn saw(&self, writes: usize) {
        // A hint: what two threads do to it at a time need not add up.
        let kept = self.kept.load(Ordering::Relaxed);
        match writes {
            0 => {}
            1 if kept == 0 => {}
            1 => self.kept.store(kept - 1, Ordering::Relaxed),
            _ => self.kept.store(CROWD_KEPT, Ordering::Relaxed),
        }
    }

    fn may_be_there(&self) -> bool {
        0 < self.kept.load(Ordering::Relaxed)
            || self.probes.fetch_add(1, Ordering::Relaxed) % PROBED == PROBED - 1
    }
}

/// A job that was handed in, until its owner has seen to it. Dropped before, it is the thread's:
/// it would lie there until somebody else writes.
struct Owned<'a>(Option<&'a Queue>);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.call();
        }
    }
}

impl Queue {
    /// Lets the other tasks of this thread hand in what they write.
    pub(super) async fn let_others_join(&self) {
        if !self.crowd.may_be_there() {
            return;
        }
        let mut owned = Owned(Some(self));
        let mut has_let = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_let, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        owned.0 = None;
    }

    /// Writes what waits, if nobody does.
    pub(super) fn write_here(&self) {
        let began = self.options.clock.now();
        loop {
            let Some(mut desk) = self.desk.try_lock().or_else(|| {
                // LOCKS: said before the second try. Whoever has the connection looks after he let
                // it go: he sees this, or let it go before, and it is free.
                self.waiting.lock().is_left = true;
                self.desk.try_lock()
            }) else {
                return;
            };
            let written = self.work(&mut desk, &TERMS);
            drop(desk);
            self.crowd.saw(written.count());
            let has_written = 0 < written.count();
            written.answer();
            let waiting = self.waiting.lock();
            if waiting.jobs.is_empty() || !waiting.is_left {
                return;
            }
            if !has_written || SPOT_TIME <= self.options.clock.now().since(began) {
                drop(waiting);
                return self.call();
            }
        }
    }

    /// Leaves what waits to the thread.
    pub(super) fn call(&self) {
        self.waiting.lock().is_called = true;
        self.arrived.notify_one();
    }

    /// Begins a transaction, if nobody has to be waited for: neither another process nor the disk.
    pub(super) fn begin_at_once(
        &self,
        connection: &Connection,
        log: &mut Option<Connection>,
    ) -> Result<Begun, Error> {
        let failed = Writing::failed("write to the store");
        if self.doubt.is_there() || self.pace.is_held() {
            return Ok(Begun::NotNow);
        }
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        let begun =
            connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        connection.busy_timeout(self.options.busy).map_err(failed)?;
        match begun {
            Err(error) if is_busy(&error) => Ok(Begun::NotNow),
            Err(error) => Err(failed(error)),
            Ok(_) if self.adds_to_the_log(log) => Ok(Begun::Now),
            Ok(_) => {
                roll_back(connection);
                Ok(Begun::NotNow)
            }
        }
    }

    /// Whether the transaction that is open adds to the write-ahead log, and does not begin it
    /// anew: whoever does that waits for the disk, whatever `synchronous` says.
    ///
    /// That was settled when the transaction began, by whether all of the log was copied then. What
    /// was not copied when another connection looks after that, was not copied before.
    fn adds_to_the_log(&self, log: &mut Option<Connection>) -> bool {
        let opened = match log {
            Some(log) => Ok(&*log),
            none => file::open_for_keeping(&self.file, &self.options).map(|log| &*none.insert(log)),
        };
        // The thread finds out what is wrong.
        let Ok(opened) = opened else { return false };
        let Ok(log) = keeper::wal(opened, Checkpoint::Noop) else { return false };
        self.pace.saw(log.pages);
        0 < log.left()
    }
}

#[cfg(test)]
mod tests;
