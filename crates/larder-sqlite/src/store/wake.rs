//! Waking those who wait for what somebody else commits to the store.
//!
//! One thread looks for all who wait, on a connection whose `data_version` nobody else looks at.
//! **Invariant**: a wake-up is a hint. Whoever waits looks for himself, before he waits for the
//! first time and again within a bound of his own; a thread that never wakes anybody costs a
//! delay, never an answer.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use larder_core::{BoxFuture, Clock, Error, ErrorKind, Moment};
use rusqlite::Connection;
use tokio::sync::watch;

use super::{file, options::StoreOptions};
use crate::bell::{Bell, Ear};

/// The pause between two looks where the kernel tells of written files.
const PAUSE_HEARD: Duration = Duration::from_millis(100);

/// The same where it does not: a look takes two microseconds.
const PAUSE_UNHEARD: Duration = Duration::from_millis(5);

/// The pause while nobody waits: whoever begins to wait ends it.
const PAUSE_ALONE: Duration = Duration::from_secs(60);

/// The shortest time between two wake-ups. A store that is written all the time would else keep a
/// core busy with looking; ten times more, and every flight that waits would wait as much longer.
const PACE: Duration = Duration::from_millis(2);

/// The pause between two attempts to start the thread. What it lacks, descriptors or threads, is
/// seldom there a moment later, and everybody who waits would try; with ten times more, waits of a
/// process that was short of them once would stay long for a while.
const AGAIN: Duration = Duration::from_secs(30);

/// The thread of a store, which is started when somebody waits for the first time.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    wake: Option<Wake>,
    not_before: Option<Moment>,
}

impl Waker {
    /// As [`Wake::next_commit`]; it never ends where the thread cannot be started.
    pub(crate) fn next_commit(
        &mut self,
        clock: &Clock,
        start: impl FnOnce() -> Result<Wake, Error>,
    ) -> BoxFuture<'static, ()> {
        let now = clock.now();
        if self.wake.is_none() && self.not_before.is_none_or(|moment| moment <= now) {
            match start() {
                Ok(started) => self.wake = Some(started),
                Err(error) => {
                    // Once: what follows says nothing new.
                    if self.not_before.is_none() {
                        tracing::warn!(
                            %error,
                            "waits for the store take longer, until its commits can be watched"
                        );
                    }
                    self.not_before = Some(now.plus(AGAIN));
                }
            }
        }
        match &self.wake {
            Some(wake) => wake.next_commit(),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// The thread, and how to begin to wait.
#[derive(Debug)]
pub(crate) struct Wake {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    options: StoreOptions,
    bell: Bell,
    commits: watch::Sender<u64>,
    closing: AtomicBool,
}

impl Wake {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Unavailable` when the system gives no thread or no descriptor.
    pub(crate) fn start(path: PathBuf, options: StoreOptions) -> Result<Self, Error> {
        let bell = Bell::new()?;
        let (commits, closing) = (watch::Sender::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { path, options, bell, commits, closing });
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("larder-wake".into())
            .spawn(move || own.run())
            .map_err(|error| Error::new(ErrorKind::Unavailable, "watch the store").source(error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ends after the next commit that is noticed from now on; see the invariant.
    pub(crate) fn next_commit(&self) -> BoxFuture<'static, ()> {
        let was_alone = self.shared.commits.receiver_count() == 0;
        let mut commits = self.shared.commits.subscribe();
        if was_alone {
            self.shared.bell.ring();
        }
        Box::pin(async move {
            if commits.changed().await.is_err() {
                // The store is closed; the bound of whoever waits ends this.
                std::future::pending::<()>().await;
            }
        })
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut opened: Option<(Connection, i64)> = None;
        while !self.closing.load(Ordering::SeqCst) {
            let (pause, ear) = match self.commits.receiver_count() {
                0 => (PAUSE_ALONE, Ear::Shut),
                _ if self.bell.hears(&self.path) => (PAUSE_HEARD, Ear::Open),
                _ => (PAUSE_UNHEARD, Ear::Shut),
            };
            self.bell.wait(pause, ear);
            if self.look(&mut opened) {
                self.commits.send_modify(|count| *count += 1);
                self.bell.wait(PACE, Ear::Shut);
            }
        }
    }

    /// Whether somebody has committed since the last look, or nobody can say.
    fn look(&self, opened: &mut Option<(Connection, i64)>) -> bool {
        if opened.is_none() {
            // What was committed before it was opened is not told of by its number.
            *opened =
                file::open_for_reading(&self.path, &self.options).ok().map(|own| (own, i64::MIN));
        }
        let Some((connection, seen)) = opened else { return true };
        let asked = connection
            .prepare_cached("PRAGMA main.data_version")
            .and_then(|mut ask| ask.query_row([], |row| row.get::<_, i64>(0)));
        match asked {
            Ok(version) => std::mem::replace(seen, version) != version,
            Err(_) => {
                *opened = None;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_be_started_is_tried_again_after_a_while() {
        let (clock, mut waker, mut tries) = (Clock::manual(), Waker::default(), 0);
        let mut wait = |after: Duration| {
            clock.advance(after);
            drop(waker.next_commit(&clock, || {
                tries += 1;
                Err(Error::new(ErrorKind::Unavailable, "watch the store"))
            }));
            tries
        };
        assert_eq!(wait(Duration::ZERO), 1);
        assert_eq!(wait(Duration::ZERO), 1);
        assert_eq!(wait(AGAIN - Duration::from_micros(1)), 1);
        assert_eq!(wait(Duration::from_micros(1)), 2);
        assert_eq!(wait(Duration::ZERO), 2, "and so on");
        let path = std::env::temp_dir().join("larder-no-such-store");
        clock.advance(AGAIN);
        drop(waker.next_commit(&clock, || Wake::start(path, StoreOptions::new())));
        assert!(waker.wake.is_some());
        let never = || unreachable!("it runs");
        drop(waker.next_commit(&clock, never));
    }
}
