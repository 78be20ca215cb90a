//! The fork: one feed of an origin for several sinks.
//!
//! A feed is started once, and watching an origin costs a thread and a look at it for each feed; a
//! process that keeps a cache and ten tables on one database would pay eleven times. Each branch of
//! a fork is a feed of its own to whoever is handed it. It stands apart from [`crate::feed`], which
//! says what a feed must do: this is one that does it by means of another. **Invariant**: what a
//! branch has told its sink is what the feed told, from one position on, and nothing in between is
//! left out.
//!
//! # Implementation notes
//!
//! The branch that starts first starts the feed. A later one joins it in the middle, where loads
//! may not yet see everything that was received:
//!
//! 1. The feed confirmed position 4, and received 5, which loads do not see yet.
//! 2. A branch joins. Were it told that a life begins at 4, it would be told of nothing at 5: a
//!    value loaded now is stamped 4, does not show 5, and would count as current for ever.
//! 3. So it is told nothing yet. What is received from here on is kept for it: 6.
//! 4. The feed confirms 5. The branch is told that a life begins at 5, and that 6 was received.
//!
//! Until then its `catch_up` fails: nothing that was visible before was told. A feed whose loads
//! see what it received, as that of SQLite, has no such time.
//!
//! It is given the last mark that the feed gave, unless that leads behind something which it is
//! told after its life begins: what it keeps for a later process is as good as what the first
//! branch keeps.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{
    BoxFuture,
    change::Change,
    clock::Moment,
    dependency::Dependency,
    error::{Error, ErrorKind},
    feed::{Doubt, Feed, FeedSink, Mark},
    invalidation::Invalidation,
    store::Standing,
    timeline::{Epoch, Name, Position, Stamp},
};

/// One feed, to be followed by several. Cloning shares it; the feed is stopped when the last clone
/// and the last branch are gone.
#[derive(Clone, Debug)]
pub struct Fork(Arc<Trunk>);

/// A feed that is another one, from where it joined.
struct Branch {
    trunk: Arc<Trunk>,
    /// By which its sink is found again.
    number: u64,
}

struct Trunk {
    feed: Arc<dyn Feed>,
    /// Held by whoever starts the feed. Above `flow`.
    started: Mutex<bool>,
    /// Held while sinks are called: who was taken out is not called any more.
    flow: Mutex<Flow>,
}

/// What the feed tells, and to whom.
#[derive(Default)]
struct Flow {
    /// The life of the timeline; none until the feed has said its first word.
    life: Option<Life>,
    sinks: Vec<Listener>,
    /// The branch that started the feed, to which alone it can say that an earlier life goes on.
    starter: u64,
    /// Leads behind what is told next.
    next: Option<Mark>,
    /// Leads behind all that was told, up to that position.
    mark: Option<(Position, Mark)>,
    branches: u64,
}

#[derive(Clone, Copy)]
struct Life {
    epoch: Epoch,
    received: Position,
    confirmed: Position,
}

struct Listener {
    number: u64,
    sink: Arc<dyn FeedSink>,
    joins: Option<Joining>,
}

/// A listener that waits until loads see what it was not told of.
struct Joining {
    at: Position,
    /// What was received since.
    kept: Vec<(Position, Vec<Change>)>,
}

impl Fork {
    /// Forks `feed`, which must not be started.
    pub fn new(feed: Arc<dyn Feed>) -> Self {
        let (started, flow) = (Mutex::new(false), Mutex::default());
        Self(Arc::new(Trunk { feed, started, flow }))
    }

    /// A feed of the same origin. The branch that is started first decides, by [`Feed::start`] or
    /// [`Feed::start_from`], how the feed is started: a cache with a store goes on where it was
    /// left only if it comes first. To one that joins later everything before is in doubt.
    pub fn branch(&self) -> Arc<dyn Feed> {
        let mut flow = self.0.flow.lock();
        flow.branches += 1;
        Arc::new(Branch { trunk: self.0.clone(), number: flow.branches })
    }
}

impl Branch {
    fn begin(&self, sink: Arc<dyn FeedSink>, left: Option<&Standing>) -> Result<(), Error> {
        let Trunk { feed, started, flow } = &*self.trunk;
        let mut started = started.lock();
        if *started {
            // Under one lock: what is recorded in between would be lost without a word.
            let mut flow = flow.lock();
            if left.is_some() {
                sink.records_lost(feed.timeline(), Doubt::Started);
            }
            flow.join(self.number, sink, feed.timeline());
            return Ok(());
        }
        // Among the sinks at once: the feed may speak before it has started.
        flow.lock().begin(self.number, sink);
        let flowing = Arc::new(Flowing(Arc::downgrade(&self.trunk)));
        let result = match left {
            None => feed.start(flowing),
            Some(left) => feed.start_from(flowing, left),
        };
        *started = result.is_ok();
        if !*started {
            flow.lock().leave(self.number);
        }
        result
    }
}

impl Feed for Branch {
    fn timeline(&self) -> &Name {
        self.trunk.feed.timeline()
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        self.begin(sink, None)
    }

    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        self.begin(sink, Some(left))
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.trunk.feed.catch_up().await?;
            if !self.trunk.flow.lock().is_joining(self.number) {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Conflict, "catch up with the feed of")
                .subject(&**self.timeline())
                .detail(
                    "its loads do not show yet what it has told others, so that nothing can be \
                     told here; it will, as soon as they do",
                ))
        })
    }

    fn companion(&self, dependency: &Dependency, stamp: &Stamp) -> Option<Dependency> {
        self.trunk.feed.companion(dependency, stamp)
    }

    fn has_passed<'a>(&'a self, mark: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        self.trunk.feed.has_passed(mark)
    }

    fn told_since<'a>(
        &'a self,
        mark: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<Change>>, Error>> {
        Box::pin(async move {
            // What the feed has told was told here, too.
            self.catch_up().await?;
            self.trunk.feed.told_since(mark).await
        })
    }

    fn has_places(&self) -> bool {
        self.trunk.feed.has_places()
    }

    fn is_placed(&self, dependency: &Dependency) -> bool {
        self.trunk.feed.is_placed(dependency)
    }

    fn stop(&self) {
        self.trunk.flow.lock().leave(self.number);
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Flow {
    fn begin(&mut self, number: u64, sink: Arc<dyn FeedSink>) {
        self.starter = number;
        self.sinks.push(Listener { number, sink, joins: None });
    }

    fn join(&mut self, number: u64, sink: Arc<dyn FeedSink>, timeline: &str) {
        let mut listener = Listener { number, sink, joins: None };
        if let Some(life) = self.life {
            listener.joins = Some(Joining { at: life.received, kept: Vec::new() });
            listener.join_at(timeline, life, self.mark.as_ref());
        }
        self.sinks.push(listener);
    }

    fn leave(&mut self, number: u64) {
        self.sinks.retain(|listener| listener.number != number);
    }

    fn is_joining(&self, number: u64) -> bool {
        let own = self.sinks.iter().find(|listener| listener.number == number);
        own.is_some_and(|listener| listener.joins.is_some())
    }

    /// Those that are told everything.
    fn joined(&self) -> impl Iterator<Item = &dyn FeedSink> {
        let joined = self.sinks.iter().filter(|listener| listener.joins.is_none());
        joined.map(|listener| &*listener.sink)
    }

    fn marking(&mut self, timeline: &str, mark: Option<Mark>) {
        self.joined().for_each(|sink| sink.marking(timeline, mark.clone()));
        self.next = mark;
    }

    /// What was marked is told, up to `position`.
    fn marked(&mut self, position: Position) {
        self.mark = self.next.take().map(|mark| (position, mark));
    }

    fn received(&mut self, timeline: &str, position: Position, changes: &[Change]) {
        self.marked(position);
        if let Some(life) = &mut self.life {
            life.received = life.received.max(position);
        }
        self.joined().for_each(|sink| sink.received(timeline, position, changes));
        for joining in self.sinks.iter_mut().filter_map(|listener| listener.joins.as_mut()) {
            joining.kept.push((position, changes.to_vec()));
        }
    }

    fn confirmed(&mut self, timeline: &str, position: Position, moment: Moment) {
        let Some(life) = &mut self.life else { return };
        life.confirmed = life.confirmed.max(position);
        let life = *life;
        for listener in &mut self.sinks {
            listener.join_at(timeline, life, self.mark.as_ref());
        }
        self.joined().for_each(|sink| sink.confirmed(timeline, position, moment));
    }

    fn begins(&mut self, epoch: Epoch, start: Position) {
        self.marked(start);
        self.life = Some(Life { epoch, received: start, confirmed: start });
    }

    fn restarted(&mut self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        self.begins(epoch, start);
        for listener in &mut self.sinks {
            listener.joins = None;
            listener.sink.restarted(timeline, epoch, start, doubt);
        }
    }

    fn resumed(&mut self, timeline: &str, epoch: Epoch, position: Position) {
        self.begins(epoch, position);
        for listener in &self.sinks {
            match listener.number == self.starter {
                true => listener.sink.resumed(timeline, epoch, position),
                // It knows of nothing before.
                false => listener.sink.restarted(timeline, epoch, position, Doubt::Started),
            }
        }
    }
}

impl Listener {
    /// Tells the sink that a life begins, once loads show all that it was not told of.
    fn join_at(&mut self, timeline: &str, life: Life, mark: Option<&(Position, Mark)>) {
        let Some(joining) = self.joins.take_if(|joining| joining.at <= life.confirmed) else {
            return;
        };
        let mark = mark.filter(|(position, _)| *position <= life.confirmed);
        self.sink.marking(timeline, mark.map(|(_, mark)| mark.clone()));
        self.sink.restarted(timeline, life.epoch, life.confirmed, Doubt::Started);
        for (position, changes) in joining.kept {
            if life.confirmed < position {
                self.sink.received(timeline, position, &changes);
            }
        }
    }
}

/// The sink of the feed. It keeps nothing alive: the feed is stopped by what it would keep.
struct Flowing(Weak<Trunk>);

impl Flowing {
    fn with(&self, tell: impl FnOnce(&mut Flow)) {
        if let Some(trunk) = self.0.upgrade() {
            tell(&mut trunk.flow.lock());
        }
    }
}

impl FeedSink for Flowing {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        self.with(|flow| flow.received(timeline, position, changes));
    }

    fn confirmed(&self, timeline: &str, position: Position, moment: Moment) {
        self.with(|flow| flow.confirmed(timeline, position, moment));
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        self.with(|flow| flow.restarted(timeline, epoch, start, doubt));
    }

    fn marking(&self, timeline: &str, mark: Option<Mark>) {
        self.with(|flow| flow.marking(timeline, mark));
    }

    fn resumed(&self, timeline: &str, epoch: Epoch, position: Position) {
        self.with(|flow| flow.resumed(timeline, epoch, position));
    }

    fn recorded(&self, timeline: &str, invalidation: &Invalidation) {
        self.with(|flow| {
            flow.sinks.iter().for_each(|one| one.sink.recorded(timeline, invalidation));
        });
    }

    fn records_lost(&self, timeline: &str, doubt: Doubt) {
        self.with(|flow| flow.sinks.iter().for_each(|one| one.sink.records_lost(timeline, doubt)));
    }
}

/// Not on this thread: it may be the feed's own, if that held the last handle.
impl Drop for Trunk {
    fn drop(&mut self) {
        let feed = self.feed.clone();
        std::thread::spawn(move || feed.stop());
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Branch").field("of", &self.trunk.feed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunk").field("feed", &self.feed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Flowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flowing").finish_non_exhaustive()
    }
}
