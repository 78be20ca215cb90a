//! The feed: what advances an origin's timeline by itself.
//!
//! The contract is written for the hard origin: one that tells of a commit before, at, or long
//! after the moment when a load can see it. So a feed says two things at two times: "this was
//! received" and "up to here everything is visible to a load that begins now". **Invariant**: a
//! node calls a value fresh only as far as the *confirmed* position reaches.

use std::{fmt, sync::Arc};

use crate::{
    BoxFuture,
    change::Change,
    clock::Moment,
    dependency::Dependency,
    error::Error,
    invalidation::Invalidation,
    store::Standing,
    timeline::{Epoch, Name, Position, Stamp},
};

/// Where a feed delivers. Implemented by the cache; all methods are short and never call back.
pub trait FeedSink: fmt::Debug + Send + Sync + 'static {
    /// Everything up to `position` was received, and it is `changes`.
    fn received(&self, timeline: &str, position: Position, changes: &[Change]);

    /// Everything up to `position` is visible to loads that begin now, and every commit that was
    /// visible before `moment` is at or below `position`.
    fn confirmed(&self, timeline: &str, position: Position, moment: Moment);

    /// Continuity is in doubt: a new life of the timeline begins at `start`.
    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt);

    /// What is told next, be it received, restarted or resumed, leads to where a later feed can go
    /// on if it is given `mark`; `None` says that none can. See [`Feed::start_from`].
    ///
    /// Only a sink whose knowledge outlives the process, or is shared, needs it.
    fn marking(&self, _timeline: &str, _mark: Option<Mark>) {}

    /// The life `epoch`, which an earlier feed left at `position`, goes on: loads that begin now
    /// see what is up to there, and everything after it will be told. Only a feed that was started
    /// by [`Feed::start_from`] calls it, and as its first word of the timeline.
    fn resumed(&self, _timeline: &str, _epoch: Epoch, _position: Position) {}

    /// A transaction of the origin carried `invalidation`, whose commit is visible to loads that
    /// begin now. It may name what is on other timelines, so it is to be carried out as one that
    /// the application asks this node for.
    fn recorded(&self, timeline: &str, invalidation: &Invalidation);

    /// Invalidations that the origin's transactions carried may have been missed, or cannot be
    /// read: whatever can be named may be wrong.
    fn records_lost(&self, timeline: &str, doubt: Doubt);
}

/// How far a feed came, for other feeds of the same origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// From where a later feed can go on, in the words of this kind of feed.
    pub bytes: Vec<u8>,
    /// The place in the origin's own log, if every feed of it comes by the same places: two feeds
    /// that give the same bytes have passed the same log up to there, and the later of two places
    /// of one log has the greater number. What is told without a greater place than before is of
    /// nothing that [`Feed::is_placed`]. A feed with places answers [`Feed::has_passed`].
    pub place: Option<Position>,
}

/// Why the continuity of a timeline was given up.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The feed begins; nothing is known of what was before.
    Started,
    /// The file or server behind the name is another one.
    Replaced,
    /// The log went back to an older state or lacks rows.
    LogBroken,
    /// The schema changed.
    SchemaChanged,
    /// The triggers or the log that tracking needs are not as they were installed.
    TrackingLost,
    /// More changes waited than the queue holds.
    Overflow,
    /// Something delivered by the origin could not be read.
    Undecodable,
    /// Whoever watches panicked, and may have told half of what it knew.
    Panicked,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "the feed started",
            Self::Replaced => "the origin was replaced by another one",
            Self::LogBroken => "the change log went back or has a gap",
            Self::SchemaChanged => "the schema changed",
            Self::TrackingLost => "the triggers of row tracking are not in place",
            Self::Overflow => "more changes waited than fit",
            Self::Undecodable => "a change could not be read",
            Self::Panicked => "the watcher panicked and began anew",
        })
    }
}

/// One origin's stream of changes.
///
/// # Implementations must
/// - call the sink from one place at a time, in the order in which things are to be known;
/// - call `restarted`, or `resumed`, on the sink once before `received` and `confirmed`, and
///   `restarted` again at every doubt;
/// - call `recorded`, or `records_lost`, before they confirm, or restart at, the position of the
///   commit that carried the record: whoever knows that position then knows what was recorded;
/// - restart only at a `start` that is visible to loads, and where everything delivered before in
///   another epoch is visible as well: a reader that knew of it may be shown any value stamped in
///   the new one;
/// - deliver positions that grow within an epoch, each change at its commit's position or later;
/// - confirm a position only when every change up to it is visible to the origin's loads;
/// - stop calling `confirmed` as soon as they cannot ask the origin: silence is how a node learns
///   that its knowledge ages.
///
/// # Callers must
/// start a feed once, and keep the sink alive until [`Feed::stop`] returned.
pub trait Feed: fmt::Debug + Send + Sync + 'static {
    /// The timeline this feed advances.
    fn timeline(&self) -> &Name;

    /// Begins to watch and to deliver to `sink`, on a thread or task of the feed's own.
    ///
    /// # Errors
    /// When the origin cannot be opened or asked at all.
    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error>;

    /// As [`Feed::start`], for a sink that kept what it knew in the life and up to the position of
    /// `left`.
    ///
    /// The feed says `resumed` and tells of everything after it, where no position means less than
    /// the same one did to an earlier feed in that life; or it begins a new life, where anything at
    /// all is in doubt. It also tells what was recorded since, or that it is lost. The default
    /// knows of nothing and says so.
    ///
    /// # Errors
    /// As [`Feed::start`].
    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        let _ = left;
        sink.records_lost(self.timeline(), Doubt::Started);
        self.start(sink)
    }

    /// Asks the origin now. When it returns, every commit that was visible before the call has been
    /// delivered as received; and confirmed, unless the origin keeps it from loads.
    ///
    /// # Errors
    /// `Unavailable` or `Conflict` when the origin does not answer: then nothing is known.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// What a value must depend on besides `dependency`, which its loader named without asking the
    /// origin and read as of `stamp` or later, for every change of it to be heard: `None` where the
    /// feed tells of them all.
    fn companion(&self, dependency: &Dependency, stamp: &Stamp) -> Option<Dependency> {
        let _ = (dependency, stamp);
        None
    }

    /// Asks the origin now, and whether the log behind this feed is the one in which another feed
    /// gave `mark`, with a place; it has been told up to there at least when this returns.
    ///
    /// The default knows of no other feed.
    ///
    /// # Errors
    /// As [`Feed::catch_up`]: then nothing is known.
    fn has_passed<'a>(&'a self, mark: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        let _ = mark;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Asks the origin now, and for all that this feed would have told behind `mark`, which another
    /// feed gave, up to what it has told when this returns; what was recorded to be invalidated is
    /// among it as touches. `None` where that cannot be said: another log, a gap in it, or more
    /// than is told one by one. What no log tells of is not in it.
    ///
    /// So whoever joined a feed in the middle learns what he has missed since a mark of his own.
    ///
    /// The default knows of no other feed.
    ///
    /// # Errors
    /// As [`Feed::catch_up`]: then nothing is known.
    fn told_since<'a>(
        &'a self,
        mark: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<Change>>, Error>> {
        let _ = mark;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether its marks have places, as far as it can be said before it starts. One that says so
    /// and then gives a mark without a place has nothing kept of it in a store: whoever would keep
    /// that has to be the only one, and none was asked to be. See [`Mark::place`].
    ///
    /// The default has none.
    fn has_places(&self) -> bool {
        false
    }

    /// Whether all that touches `dependency` is told at places of the log, so that another feed
    /// tells it there too; what only this process can notice is not. See [`Mark::place`].
    fn is_placed(&self, dependency: &Dependency) -> bool {
        let _ = dependency;
        true
    }

    /// Stops watching and waits until the sink is not called any more.
    fn stop(&self);
}
