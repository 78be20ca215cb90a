//! A feed that tells of commits before loads can see them, as that of a server does.
//!
//! It stands between SQLite's feed and the table: what was received goes on at once, what was
//! confirmed waits until somebody asks, and the view of the loads with it. **Invariant**: when a
//! position is confirmed, or a life begins, loads see it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use larder_core::{
    BoxFuture, Dependency, Epoch, Error, ErrorKind, Invalidation, Moment, Name, Position, Stamp,
    change::Change,
    feed::{Doubt, Feed, FeedSink},
};
use parking_lot::Mutex;

use super::view::View;

/// See the module.
pub(super) struct Lagging {
    inner: Arc<dyn Feed>,
    view: Arc<View>,
    sink: OnceLock<Arc<Late>>,
}

impl Lagging {
    pub(super) fn new(inner: Arc<dyn Feed>, view: Arc<View>) -> Self {
        Self { inner, view, sink: OnceLock::new() }
    }
}

impl fmt::Debug for Lagging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lagging")
    }
}

impl Feed for Lagging {
    fn timeline(&self) -> &Name {
        self.inner.timeline()
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        let (view, held) = (self.view.clone(), Mutex::default());
        let late = Arc::new(Late { inner: sink, view, held });
        let twice = |_| Error::new(ErrorKind::Conflict, "start a feed twice");
        self.sink.set(late.clone()).map_err(twice)?;
        self.inner.start(late)
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.inner.catch_up().await?;
            self.sink.get().map_or(Ok(()), |sink| sink.confirm())
        })
    }

    fn companion(&self, dependency: &Dependency, stamp: &Stamp) -> Option<Dependency> {
        self.inner.companion(dependency, stamp)
    }

    fn stop(&self) {
        self.inner.stop();
    }
}

/// What was confirmed and waits.
type Held = Option<(Position, Moment)>;

/// Between a feed and its sink.
struct Late {
    inner: Arc<dyn FeedSink>,
    view: Arc<View>,
    /// Held while the sink is called, so that it is called from one place at a time.
    held: Mutex<(Held, Option<Arc<str>>)>,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}

impl Late {
    /// Loads see what was held back, and the sink is told so.
    fn confirm(&self) -> Result<(), Error> {
        let mut held = self.held.lock();
        let (waiting, timeline) = &mut *held;
        if let (Some((position, moment)), Some(timeline)) = (waiting.take(), timeline) {
            self.move_on()?;
            self.inner.confirmed(timeline, position, moment);
        }
        Ok(())
    }

    fn move_on(&self) -> Result<(), Error> {
        let unmoved = |error: super::super::Trouble| {
            Error::new(ErrorKind::Unavailable, "move a view on").detail(error.to_string())
        };
        self.view.move_on().map_err(unmoved)
    }
}

impl FeedSink for Late {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        let _turn = self.held.lock();
        self.inner.received(timeline, position, changes);
    }

    fn confirmed(&self, timeline: &str, position: Position, moment: Moment) {
        let mut held = self.held.lock();
        *held = (Some((position, moment)), Some(timeline.into()));
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        let mut held = self.held.lock();
        held.0 = None;
        self.move_on().expect("the view of a file that is there moves on");
        self.inner.restarted(timeline, epoch, start, doubt);
    }

    fn recorded(&self, timeline: &str, invalidation: &Invalidation) {
        let _turn = self.held.lock();
        self.inner.recorded(timeline, invalidation);
    }

    fn records_lost(&self, timeline: &str, doubt: Doubt) {
        let _turn = self.held.lock();
        self.inner.records_lost(timeline, doubt);
    }
}
