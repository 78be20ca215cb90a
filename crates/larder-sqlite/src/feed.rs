//! The feed: the watcher's thread, and the way for anybody to ask right now.
//!
//! Thread and callers share one watcher behind a lock, so a probe by either serves both.
//! **Invariant**: the sink is called under that lock only, so it hears of things in their order,
//! and not at all once [`SqliteFeed::stop`] has returned.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use larder_core::{
    BoxFuture, Change, Clock, Dependency, Error, ErrorKind, Stamp,
    feed::{Feed, FeedSink},
    store::Standing,
    timeline::Name,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    bell::{Bell, Ear, Rung},
    knowledge::{Knowledge, UNWATCHED},
    origin::Track,
    watcher::Watcher,
};

/// Probes that someone who asked is kept waiting for while the database is locked. At the default
/// interval that is a quarter of a second, longer than a writer usually holds its lock.
const PATIENCE: u32 = 128;

/// The pause between two probes while somebody waits.
const HASTE: Duration = Duration::from_millis(2);

/// The longest pause between two probes of a database that cannot be asked.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The pause between two probes of a database beside which nothing is written. It bounds how late
/// a change is noticed that the kernel does not tell of, and it must be well under `max_staleness`.
const REST: Duration = Duration::from_millis(100);

/// Probes at the usual interval after something was written. A commit is visible only once it has
/// reached the disk, a while after it was written: this waits a quarter of a second for it.
const ALERT: u32 = 64;

/// The feed of one SQLite database. Made by [`crate::SqliteOrigin::feed`].
#[derive(Debug)]
pub struct SqliteFeed {
    knowledge: Arc<Knowledge>,
    timeline: Name,
    track: Track,
    clock: Clock,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    interval: Duration,
    watcher: Mutex<Watcher>,
    desk: Mutex<Desk>,
    bell: Bell,
}

/// Makes a thread with that name.
type Spawn = fn(String, Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>>;

/// What the thread remembers from one probe to the next.
#[derive(Debug, Default)]
struct Mood {
    /// Probes in a row that failed.
    failures: u32,
    /// Probes left before resting.
    alert: u32,
}

/// Who waits for what. LOCKS: never held while the watcher's lock is taken.
#[derive(Debug, Default)]
struct Desk {
    stopping: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    probes: u32,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl SqliteFeed {
    pub(crate) fn new(
        knowledge: Arc<Knowledge>,
        path: PathBuf,
        clock: Clock,
        interval: Duration,
        watcher: Watcher,
    ) -> Result<Self, Error> {
        let track = watcher.track();
        let shared = Shared {
            path,
            interval,
            watcher: Mutex::new(watcher),
            desk: Mutex::default(),
            bell: Bell::new()?,
        };
        let (timeline, thread) = (knowledge.timeline().clone(), Mutex::default());
        Ok(Self { knowledge, timeline, track, clock, shared: Arc::new(shared), thread })
    }

    /// Starts, on the thread that `spawn` makes.
    fn start_on(
        &self,
        sink: Arc<dyn FeedSink>,
        left: Option<&Standing>,
        spawn: Spawn,
    ) -> Result<(), Error> {
        let mut thread = self.thread.lock();
        if thread.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "start the feed of")
                .subject(&*self.timeline)
                .detail("it was started before"));
        }
        {
            let mut watcher = self.shared.watcher.lock();
            watcher.deliver_to(Some(sink));
            if let Some(left) = left {
                watcher.go_on_from(left);
            }
            let first = watcher.probe();
            // A database that is merely locked is watched as soon as it is not.
            if let Err(error) = first
                && !error.is_retryable()
            {
                watcher.deliver_to(None);
                return Err(error);
            }
        }
        self.shared.desk.lock().stopping = false;
        let shared = self.shared.clone();
        let name = format!("larder-watch-{}", self.timeline);
        match spawn(name, Box::new(move || shared.run())) {
            Ok(started) => *thread = Some(started),
            Err(error) => {
                self.shared.watcher.lock().deliver_to(None);
                return Err(Error::new(ErrorKind::Unavailable, "start a watcher").source(error));
            }
        }
        Ok(())
    }

    /// Waits for the next probe that gets through.
    async fn wait(&self) -> Result<(), Error> {
        let closed = || Err(Error::new(ErrorKind::Closed, "watch").subject(&*self.timeline));
        let (reply, result) = oneshot::channel();
        {
            let mut desk = self.shared.desk.lock();
            if desk.stopping {
                return closed();
            }
            desk.waiting.push(Waiting { probes: PATIENCE, reply });
        }
        self.shared.bell.ring();
        result.await.unwrap_or_else(|_| closed())
    }
}

impl Feed for SqliteFeed {
    fn timeline(&self) -> &Name {
        &self.timeline
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        self.start_on(sink, None, |name, run| std::thread::Builder::new().name(name).spawn(run))
    }

    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        let spawn: Spawn = |name, run| std::thread::Builder::new().name(name).spawn(run);
        self.start_on(sink, Some(left), spawn)
    }

    /// Asks on the caller's thread, 3-10 us; waits, without holding the thread, only while the
    /// database is locked.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        let called = self.clock.now();
        Box::pin(async move {
            let result = {
                let mut watcher = self.shared.watcher.lock();
                // Somebody asked after this call began, while it waited for the lock.
                if called < watcher.confirmed() { Ok(()) } else { watcher.probe() }
            };
            match result {
                Err(error) if error.is_retryable() => self.wait().await,
                result => result,
            }
        })
    }

    fn companion(&self, dependency: &Dependency, stamp: &Stamp) -> Option<Dependency> {
        self.knowledge.companion(dependency, stamp)
    }

    fn has_passed<'a>(&'a self, mark: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.catch_up().await?;
            self.shared.watcher.lock().has_passed(mark)
        })
    }

    /// From the log, of which it keeps about 100,000 lines.
    fn told_since<'a>(
        &'a self,
        mark: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<Change>>, Error>> {
        Box::pin(async move {
            self.catch_up().await?;
            self.shared.watcher.lock().told_since(mark)
        })
    }

    /// In `rows` mode, also where the log turns out not to be there.
    fn has_places(&self) -> bool {
        self.track == Track::Rows
    }

    /// What the log does not report each watcher counts for itself.
    fn is_placed(&self, dependency: &Dependency) -> bool {
        *dependency.timeline() != self.timeline
            || dependency.about_table().is_none_or(|table| **table != *UNWATCHED)
    }

    fn stop(&self) {
        self.shared.desk.lock().stopping = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.lock().take() {
            thread.join().ok();
        }
        self.shared.watcher.lock().deliver_to(None);
        self.shared.desk.lock().waiting.clear();
    }
}

impl Drop for SqliteFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The thread's life. A panic in a probe is caught there, with what it puts in doubt; one in
    /// here, as in the waker of somebody who waited, costs nothing but their turn.
    fn run(&self) {
        // Heard from the start, so that nothing is written unheard when the first rest begins.
        self.bell.hears(&self.path);
        let mut mood = Mood { alert: ALERT, ..Mood::default() };
        while catch_unwind(AssertUnwindSafe(|| self.watch(&mut mood))).is_err() {
            tracing::error!("a watcher's turn panicked; its thread goes on");
            // So that what panics each time does so four times a second at most.
            mood.failures = mood.failures.saturating_add(64);
        }
    }

    /// Probes until it is told to stop.
    fn watch(&self, mood: &mut Mood) {
        while let Some(waiting) = self.next_turn(mood) {
            let result = {
                let mut watcher = self.watcher.lock();
                if watcher.is_started() { watcher.probe() } else { return }
            };
            match &result {
                Ok(()) => mood.failures = 0,
                Err(error) => {
                    if mood.failures == 0 {
                        tracing::warn!(%error, "the database does not answer");
                    }
                    mood.failures = mood.failures.saturating_add(1);
                }
            }
            self.answer(waiting, &result);
        }
    }

    /// Pauses until it is time to probe, and takes those who wait for that probe.
    fn next_turn(&self, mood: &mut Mood) -> Option<Vec<Waiting>> {
        let (stopping, is_awaited) = {
            let desk = self.desk.lock();
            (desk.stopping, !desk.waiting.is_empty())
        };
        if !stopping {
            let (pause, ear) = self.pause(mood, is_awaited);
            match self.bell.wait(pause, ear) {
                Rung::Written => mood.alert = ALERT,
                Rung::Silence => mood.alert = mood.alert.saturating_sub(1),
                Rung::Called => {}
            }
        }
        let mut desk = self.desk.lock();
        if desk.stopping { None } else { Some(std::mem::take(&mut desk.waiting)) }
    }

    /// How long to pause, and whether a written file ends it.
    fn pause(&self, mood: &Mood, is_awaited: bool) -> (Duration, Ear) {
        match (is_awaited, mood.failures) {
            (true, 0) => (Duration::ZERO, Ear::Shut),
            (true, _) => (HASTE.min(self.interval), Ear::Shut),
            (false, 0) if mood.alert == 0 && self.bell.hears(&self.path) => {
                (REST.max(self.interval), Ear::Open)
            }
            (false, failures) => {
                let growing = self.interval.saturating_mul(failures.clamp(1, 64));
                (growing.min(PAUSE_MAX).max(self.interval), Ear::Shut)
            }
        }
    }

    fn answer(&self, waiting: Vec<Waiting>, result: &Result<(), Error>) {
        for mut one in waiting {
            let is_temporary = result.as_ref().is_err_and(Error::is_retryable);
            if is_temporary && 0 < one.probes {
                one.probes -= 1;
                self.desk.lock().waiting.push(one);
            } else {
                one.reply.send(result.clone()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests;
