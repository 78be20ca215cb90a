//! The node: what this process knows of its timelines.
//!
//! It joins the histories of `larder-core` with the memory tier. What changes them is in `sink`,
//! where feeds deliver, and in `named`, what the application says; `verdicts` asks them.
//! **Invariant**: whoever can see a position as applied can no longer hit an entry that a change up
//! to it touched, because the entries are marked before the lock of the history is released.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    Clock, Dependency, Digest, Epoch, Error, ErrorKind, History, Mode, Moment, Name, Position,
    Stamp, Stamps,
    dependency::Hold,
    feed::{Doubt, Mark},
    store::{Attached, Origins, SchemesKnown},
    timeline::APP,
    token::Token,
};
use larder_memory::{Cause, MemoryTier};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    cache::Reads,
    events::{Event, Events, What},
    hold::{self, Held, Releases},
    journal::Journal,
    line::Line,
    origins::InStore,
    stats::Counters,
};

mod named;

mod sink;

mod verdicts;

pub(crate) use self::{named::digests_by_name, verdicts::Validity};

/// What this process knows. One for each cache, shared by its regions, flights and feeds.
pub(crate) struct Node {
    pub(crate) tier: MemoryTier,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) events: Events,
    timelines: Vec<Timeline>,
    releases: Arc<Releases>,
    journal: Option<Arc<Journal>>,
    /// Whether the store keeps what only this node knows of its origins.
    pub(crate) origins: Origins,
    /// Schemes of the store that every history here notices. LOCKS: below any other.
    pub(crate) schemes: Mutex<SchemesKnown>,
    /// Counts confirmations, so that whoever waits for one can sleep.
    progress: watch::Sender<u64>,
}

pub(crate) struct Timeline {
    name: Name,
    pub(crate) knowledge: Mutex<Knowledge>,
}

pub(crate) struct Knowledge {
    pub(crate) history: History,
    pub(crate) proven: Moment,
    doubt: Option<Doubt>,
    /// Where the feed is after what it tells next.
    pub(crate) mark: Option<Mark>,
    /// Of an origin: what the store has of it.
    pub(crate) in_store: InStore,
    /// On `app`, with a store that others may have too: where this node stands among them.
    pub(crate) line: Option<Line>,
}

/// What is known of one timeline, for `status`.
pub(crate) struct Known {
    pub(crate) name: Name,
    pub(crate) epoch: Epoch,
    pub(crate) applied: Position,
    pub(crate) confirmed: Position,
    pub(crate) proven: Moment,
    pub(crate) doubt: Option<Doubt>,
}

impl Node {
    /// A node with the timeline `app` and those of `origins`, each with a random first epoch.
    pub(crate) fn new(
        tier: MemoryTier,
        clock: Clock,
        origins: impl IntoIterator<Item = Name>,
        capacity: usize,
    ) -> Self {
        let timelines = std::iter::once(Name::from(APP)).chain(origins).map(|name| Timeline {
            knowledge: Mutex::new(Knowledge {
                history: History::new(name.clone(), Epoch::random(), Position::START, capacity),
                proven: Moment::EARLIEST,
                doubt: None,
                mark: None,
                in_store: InStore::default(),
                line: None,
            }),
            name,
        });
        let timelines = timelines.collect();
        Self {
            tier,
            clock,
            counters: Counters::default(),
            events: Events::default(),
            timelines,
            releases: Arc::default(),
            journal: None,
            origins: Origins::Kept,
            schemes: Mutex::new(SchemesKnown::NONE),
            progress: watch::Sender::new(0),
        }
    }

    /// This node, going on where a store stood at `moment` or later: from there it hears what
    /// others announce, and what the entries choose rows by is noticed before anything happens.
    pub(crate) fn with_store(
        mut self,
        attached: &Attached,
        journal: Arc<Journal>,
        moment: Moment,
    ) -> Self {
        for scheme in &attached.schemes {
            self.each_noticing(scheme, |history| history.register(scheme));
        }
        let (epoch, count) = (attached.cursor.epoch, attached.schemes.len());
        *self.schemes.lock() = SchemesKnown { epoch, count };
        let line = Line::new(attached.author, attached.cursor, count);
        let mut knowledge = self.app().knowledge.lock();
        (knowledge.line, knowledge.proven) = (Some(line), moment);
        drop(knowledge);
        self.tier.prove(APP, moment);
        (self.journal, self.origins) = (Some(journal), attached.origins);
        self
    }

    /// What waits to be applied to the store, if there is one.
    pub(crate) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// Waits until what was invalidated by name is in the store, if there is one, on the disk.
    ///
    /// # Errors
    /// What keeps the store from writing it.
    pub(crate) async fn make_durable(&self) -> Result<(), Error> {
        match &self.journal {
            Some(journal) => journal.announced().await,
            None => Ok(()),
        }
    }

    pub(crate) fn timeline(&self, name: &str) -> Option<&Timeline> {
        self.timelines.iter().find(|timeline| &*timeline.name == name)
    }

    pub(crate) fn app(&self) -> &Timeline {
        self.timeline(APP).expect("every node has the timeline `app`")
    }

    /// Fails, naming what exists, when there is no timeline `name`.
    pub(crate) fn expect_timeline(&self, name: &str) -> Result<(), Error> {
        if self.timeline(name).is_some() {
            return Ok(());
        }
        let known: Vec<&str> = self.timelines.iter().map(|timeline| &*timeline.name).collect();
        Err(Error::new(ErrorKind::NotFound, "find the timeline")
            .subject(format!("`{name}`"))
            .detail(format!("this cache has {}", known.join(", "))))
    }

    /// The confirmed stamps of all timelines, for a load that begins now.
    pub(crate) fn stamps(&self) -> Stamps {
        self.timelines.iter().map(|timeline| timeline.knowledge.lock().history.stamp()).collect()
    }

    /// The confirmed stamp of one timeline, for a load that begins now.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        Some(self.timeline(name)?.knowledge.lock().history.stamp())
    }

    /// Notices changes to `dependency`, if it is a scope, precisely from now on: those that its own
    /// timeline brings, and those that the application tells on `app`. A range is noticed for as
    /// long as what is given back is kept.
    #[must_use = "a range is noticed only while this is kept"]
    pub(crate) fn register(&self, dependency: &Dependency) -> Option<Hold> {
        if !dependency.is_scope() {
            return None;
        }
        self.release_if_many();
        self.each_noticing(dependency, |history| history.register(dependency));
        dependency.is_held().then(|| Held::keep(dependency.clone(), &self.releases))
    }

    /// Takes the ranges that nobody depends on any more out of the histories.
    ///
    /// # Callers must
    /// hold no timeline's lock.
    fn release(&self) {
        for dependency in self.releases.take() {
            self.each_noticing(&dependency, |history| history.release(&dependency));
        }
    }

    /// As [`Node::release`], once that is worth the locks: feeds do it with each batch, and a cache
    /// may have none.
    fn release_if_many(&self) {
        if hold::QUEUED_MAX < self.releases.len() {
            self.release();
        }
    }

    pub(crate) fn each_noticing(&self, dependency: &Dependency, act: impl Fn(&mut History)) {
        let own = dependency.timeline();
        for timeline in self.timelines.iter().filter(|t| t.name == *own || &*t.name == APP) {
            act(&mut timeline.knowledge.lock().history);
        }
    }

    /// Ranges that are noticed now.
    pub(crate) fn held(&self) -> usize {
        self.release();
        self.app().knowledge.lock().history.held()
    }

    /// Ends everything stamped on `timeline`; how many entries were built from something on it.
    pub(crate) fn shut(&self, timeline: &str, cause: &Cause) -> usize {
        let entries = self.tier.dependents(Digest::everything(timeline));
        self.tier.shut(timeline, cause);
        entries
    }

    /// Tells subscribers what a feed brought. Called under the lock of the timeline.
    pub(crate) fn tell_of(&self, cause: Cause, what: What, entries: usize) {
        let Cause { timeline, position, .. } = cause;
        let (mode, at, entries) = (Mode::Hard, self.clock.now(), entries as u64);
        self.events.tell(|| Event { timeline, position, what, mode, entries, at });
    }

    /// Whether everything that was visible before `moment` is known of the origins of `reads`.
    pub(crate) fn is_proven_since(&self, moment: Moment, reads: &Reads) -> bool {
        self.timelines.iter().all(|timeline| {
            let knowledge = timeline.knowledge.lock();
            let is_asked = match &*timeline.name {
                APP => knowledge.line.is_some(),
                name => reads.includes(name),
            };
            !is_asked || moment <= knowledge.proven
        })
    }

    /// The positions this node has applied: a reader with this token sees what this node shows.
    pub(crate) fn token(&self) -> Token {
        let mut token = Token::new();
        for timeline in &self.timelines {
            let history = &timeline.knowledge.lock().history;
            token.require(timeline.name.clone(), history.epoch(), history.applied());
        }
        token
    }

    /// The first timeline on which this node is not yet where `token` asks it to be.
    pub(crate) fn missing(&self, token: &Token) -> Option<Name> {
        let behind = token.iter().find(|(name, epoch, position)| {
            self.timeline(name).is_some_and(|timeline| {
                let history = &timeline.knowledge.lock().history;
                history.epoch() == *epoch && history.confirmed() < *position
            })
        });
        behind.map(|(name, ..)| name.clone())
    }

    /// Whether the token speaks of another life of a timeline: then only asking the origin shows
    /// that everything the client saw is included.
    pub(crate) fn is_foreign(&self, token: &Token) -> bool {
        token.iter().any(|(name, epoch, _)| {
            self.timeline(name)
                .is_some_and(|timeline| timeline.knowledge.lock().history.epoch() != *epoch)
        })
    }

    /// Wakes those who wait for confirmations.
    pub(crate) fn made_progress(&self) {
        self.progress.send_modify(|count| *count += 1);
    }

    /// A receiver that is woken by every confirmation.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// What is known of every timeline.
    pub(crate) fn known(&self) -> Vec<Known> {
        let known = |timeline: &Timeline| {
            let knowledge = timeline.knowledge.lock();
            Known {
                name: timeline.name.clone(),
                epoch: knowledge.history.epoch(),
                applied: knowledge.history.applied(),
                confirmed: knowledge.history.confirmed(),
                proven: knowledge.proven,
                doubt: knowledge.doubt,
            }
        };
        self.timelines.iter().map(known).collect()
    }

    /// How old the proof of a timeline is; zero for `app` where no others can say anything on it.
    pub(crate) fn proven_age(&self, known: &Known) -> Option<Duration> {
        match (&*known.name, known.proven) {
            (APP, Moment::EARLIEST) => Some(Duration::ZERO),
            (_, Moment::EARLIEST) => None,
            (_, proven) => Some(self.clock.now().since(proven)),
        }
    }
}

/// Shows the names only: histories are long.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&Name> = self.timelines.iter().map(|timeline| &timeline.name).collect();
        f.debug_struct("Node").field("timelines", &names).finish_non_exhaustive()
    }
}

/// So that sharing a node reads the same everywhere.
pub(crate) type SharedNode = Arc<Node>;

#[cfg(test)]
mod tests;
