//! The node: what this process knows of its timelines, and the sink that feeds deliver to.
//!
//! It joins the histories of `larder-core` with the memory tier. **Invariant**: whoever can see a
//! position as applied can no longer hit an entry that a change up to it touched, because the
//! entries are marked before the lock of the history is released.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{
    Change, Clock, Dependency, DependencySet, Digest, Epoch, Error, ErrorKind, History,
    Invalidation, Mode, Moment, Name, Position, Stamp, Stamps, TrackedChange,
    announcement::Announced,
    dependency::Hold,
    feed::{Doubt, FeedSink, Mark},
    flight::{self, Arrival},
    history::Verdict,
    store::{Attached, Begins, Origins, SchemesKnown, Step},
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
    invalidation::{Limit, Told},
    journal::Journal,
    line::Line,
    origins::{Brought, InStore},
    preview, shared,
    stats::Counters,
};

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

/// Whether a value was shown to reflect everything that was known when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Shown,
    /// Something was touched, or it is not remembered whether something was.
    NotShown,
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
                history: History::new(name.clone(), random_epoch(), Position::START, capacity),
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

    /// Notes for the store what was invalidated by name, and is announced.
    ///
    /// # Callers must
    /// hold the lock of `app`.
    fn note_named(
        &self,
        knowledge: &mut Knowledge,
        before: Position,
        digests: &[Digest],
        announced: Option<Announced>,
    ) {
        let position = knowledge.history.applied();
        if let Some(line) = &mut knowledge.line {
            line.note_own(position);
        }
        let Some(journal) = &self.journal else { return };
        let history = &knowledge.history;
        journal.note(Step {
            timeline: history.timeline().clone(),
            epoch: history.epoch(),
            begins: Begins::After(before),
            position,
            digests: digests.to_vec(),
            tables: Vec::new(),
            schemes: SchemesKnown::NONE,
            everything: history.everything() == position,
            mark: None,
            announced,
        });
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

    /// What is known at this moment, for a reader that arrives.
    pub(crate) fn arrival(&self) -> Arrival {
        let mut arrival = Arrival::default();
        for timeline in &self.timelines {
            arrival.note(&timeline.knowledge.lock().history);
        }
        arrival
    }

    /// Whether a reader that arrived at `arrival` may take a value with these stamps.
    pub(crate) fn may_take(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        arrival: &Arrival,
    ) -> bool {
        self.timelines.iter().all(|timeline| {
            let knowledge = timeline.knowledge.lock();
            flight::may_take(&knowledge.history, stamps, dependencies, arrival)
        })
    }

    /// Whether a value with these stamps still reflects everything this node knows.
    pub(crate) fn may_store(&self, stamps: &Stamps, dependencies: &DependencySet) -> bool {
        self.timelines.iter().all(|timeline| {
            let knowledge = timeline.knowledge.lock();
            flight::may_store(&knowledge.history, stamps, dependencies)
        })
    }

    /// The stamps of a value that is read at `arrival`, raised to the positions known then wherever
    /// nothing it depends on was touched up to there; and whether that is so on every timeline.
    ///
    /// # Callers must
    /// have noted the arrival before: what is applied between it and the question is answered for
    /// by the question, and what is applied after both lies beyond the stamps.
    pub(crate) fn validated(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        arrival: &Arrival,
    ) -> (Stamps, Validity) {
        let mut validity = Validity::Shown;
        let mut raised = Stamps::new();
        for stamp in stamps.iter() {
            let shown = self.timeline(&stamp.timeline).and_then(|timeline| {
                let history = &timeline.knowledge.lock().history;
                let (epoch, known) = arrival.known(&stamp.timeline)?;
                let verdict = history.verdict(stamp, dependencies, known);
                let is_shown = epoch == stamp.epoch && verdict == Verdict::Untouched;
                is_shown.then(|| Stamp { as_of: stamp.as_of.max(known), ..stamp.clone() })
            });
            if shown.is_none() {
                validity = Validity::NotShown;
            }
            raised.add(shown.unwrap_or_else(|| stamp.clone()));
        }
        (raised, validity)
    }

    /// Whether a load of `reads` that begins now would be stamped with all that was known at
    /// `arrival`. What is told on `app` is visible at once.
    pub(crate) fn may_begin(&self, arrival: &Arrival, reads: &Reads) -> bool {
        self.timelines
            .iter()
            .filter(|timeline| reads.includes(&timeline.name))
            .all(|timeline| flight::may_begin(&timeline.knowledge.lock().history, arrival))
    }

    /// Whether a record with these stamps lies below what is remembered, for the counter.
    pub(crate) fn is_forgotten(&self, stamps: &Stamps, dependencies: &DependencySet) -> bool {
        stamps.iter().any(|stamp| {
            self.timeline(&stamp.timeline).is_some_and(|timeline| {
                let history = &timeline.knowledge.lock().history;
                let verdict = history.verdict(stamp, dependencies, history.applied());
                verdict == Verdict::Forgotten
            })
        })
    }

    /// Writes what `invalidation` names as invalidated on `app`, as one position. When it returns
    /// no reader hits an entry built from it as fresh. `None`, with nothing done, when more entries
    /// would fall than `limit` allows.
    ///
    /// The limit is looked at under the lock of `app`, so that nothing falls that was not counted:
    ///
    /// 1. A load links its value, which is then among those counted.
    /// 2. Only then it asks the history of `app` whether it was overtaken: that waits for this
    ///    lock.
    /// 3. Only then it is published.
    ///
    /// So what is published before the lock is taken was linked before, and what asks after it was
    /// given back is overtaken.
    pub(crate) fn invalidate(
        &self,
        invalidation: &Invalidation,
        limit: Limit,
    ) -> Option<(Token, Vec<usize>)> {
        let (dependencies, mode) = (invalidation.dependencies(), invalidation.mode());
        self.release_if_many();
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        if let Limit::AtMost(entries) = limit
            && self.tier.exceeds(&preview::reach(dependencies), entries)
        {
            return None;
        }
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let mut touched = Vec::with_capacity(dependencies.len());
        let digests = history.touch(position, dependencies);
        history.confirm(position);
        let announced =
            knowledge.announced(mode, Vec::new(), || shared::named_in_words(dependencies));
        self.note_named(&mut knowledge, before, &digests.concat(), announced);
        for (dependency, digests) in dependencies.iter().zip(digests) {
            let what = dependency.to_string().into();
            let cause = Cause { timeline: app.name.clone(), position, what };
            touched.push(match mode {
                Mode::Hard => self.tier.invalidate(&digests, &cause),
                Mode::Soft => self.tier.soften(&digests, &cause),
            });
        }
        let mut token = Token::new();
        token.require(app.name.clone(), knowledge.history.epoch(), position);
        self.events.tell(|| Event {
            timeline: app.name.clone(),
            position,
            what: What::Named(dependencies.into()),
            mode,
            entries: touched.iter().map(|count| *count as u64).sum(),
            at: self.clock.now(),
        });
        drop(knowledge);
        self.events.wake();
        Some((token, touched))
    }

    /// Writes what the application says of rows on `app`, as one position. When it returns no
    /// reader hits an entry that they can have made wrong.
    pub(crate) fn changed(&self, told: &[TrackedChange]) -> Told {
        let names: Vec<Name> = told.iter().map(|change| change.timeline().clone()).collect();
        let changes: Vec<Change> = told.iter().map(|change| change.change().clone()).collect();
        let words: Arc<str> = in_words(&changes).into();
        self.release();
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let named = names.iter().zip(&changes);
        let touched = history.apply_named(position, named.clone());
        history.confirm(position);
        let announced = knowledge.announced(Mode::Hard, shared::tables_of(named), || words.clone());
        self.note_named(&mut knowledge, before, &touched.digests, announced);
        let mut token = Token::new();
        token.require(app.name.clone(), knowledge.history.epoch(), position);
        let cause = Cause { timeline: app.name.clone(), position, what: words.clone() };
        let entries = self.tier.invalidate(&touched.digests, &cause);
        self.tell_of(cause, What::Reported { changes: changes.len(), words }, entries);
        drop(knowledge);
        self.events.wake();
        Told { token, entries }
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

impl FeedSink for Node {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        self.release();
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        // Before the history: what it notices later than that is only more precise.
        let (tables, schemes) = self.brings(&timeline.name, changes);
        let touched = knowledge.history.apply(position, changes);
        let brought = Brought { touched: &touched, tables, schemes };
        self.note_received(&mut knowledge, brought);
        let words: Arc<str> = in_words(changes).into();
        let cause = Cause { timeline: timeline.name.clone(), position, what: words.clone() };
        self.counters.changes.add(changes.len());
        let mut entries = 0;
        if touched.everything {
            entries += self.shut(&timeline.name, &cause);
        }
        let everything = Digest::everything(&timeline.name);
        let digests: Vec<Digest> =
            touched.digests.into_iter().filter(|digest| *digest != everything).collect();
        entries += self.tier.invalidate(&digests, &cause);
        // A feed also says that nothing changed up to a position.
        if !changes.is_empty() || touched.everything {
            self.tell_of(cause, What::Reported { changes: changes.len(), words }, entries);
        }
        drop(knowledge);
        self.events.wake();
    }

    fn confirmed(&self, timeline: &str, position: Position, moment: Moment) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        let moved = knowledge.history.confirmed() < position;
        knowledge.history.confirm(position);
        // What was received and is not yet visible keeps the proof from getting younger.
        if knowledge.history.confirmed() == knowledge.history.applied() {
            knowledge.proven = knowledge.proven.max(moment);
            self.tier.prove(&timeline.name, knowledge.proven);
        }
        drop(knowledge);
        if moved {
            self.progress.send_modify(|count| *count += 1);
        }
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        knowledge.history.restart(epoch, start);
        knowledge.doubt = Some(doubt);
        self.restart_in_store(&mut knowledge, doubt);
        let what = doubt.to_string().into();
        let cause = Cause { timeline: timeline.name.clone(), position: start, what };
        let entries = self.shut(&timeline.name, &cause);
        self.tell_of(cause, What::Restarted(doubt), entries);
        self.counters.restarts.add(1);
        drop(knowledge);
        self.events.wake();
        self.progress.send_modify(|count| *count += 1);
        if doubt != Doubt::Started {
            tracing::warn!(timeline = %timeline.name, %doubt, "a new epoch: all its entries fell");
        }
    }

    fn marking(&self, timeline: &str, mark: Option<Mark>) {
        if let Some(timeline) = self.timeline(timeline) {
            timeline.knowledge.lock().mark = mark;
        }
    }

    /// Nothing is noted: the store stands there. What was loaded before it was known which life
    /// this is falls, as if a life had begun.
    fn resumed(&self, timeline: &str, epoch: Epoch, position: Position) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        knowledge.history.restart(epoch, position);
        self.go_on(&mut knowledge);
        let what = "the feed goes on where an earlier one left".into();
        let cause = Cause { timeline: timeline.name.clone(), position, what };
        self.shut(&timeline.name, &cause);
        drop(knowledge);
        self.progress.send_modify(|count| *count += 1);
    }

    /// As an invalidation that was asked for here, without a limit: it was decided elsewhere.
    fn recorded(&self, _: &str, invalidation: &Invalidation) {
        self.counters.invalidations.add(1);
        self.invalidate(invalidation, Limit::None);
    }

    /// Everything falls: a record may name what is on any timeline, and all values are stamped on
    /// `app`.
    fn records_lost(&self, timeline: &str, doubt: Doubt) {
        let entries = usize::try_from(self.tier.stats().entries).unwrap_or(usize::MAX);
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let everything = Change::Touch(Dependency::everything(app.name.clone()));
        history.apply(position, &[everything]);
        history.confirm(position);
        let what = format!("invalidations recorded in `{timeline}` may be missing: {doubt}");
        let what: Arc<str> = what.into();
        let announced = knowledge.announced(Mode::Hard, Vec::new(), || what.clone());
        self.note_named(&mut knowledge, before, &[], announced);
        let cause = Cause { timeline: app.name.clone(), position, what };
        self.tier.shut(APP, &cause);
        self.tell_of(cause, What::Restarted(doubt), entries);
        drop(knowledge);
        self.events.wake();
    }
}

/// Shows the names only: histories are long.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&Name> = self.timelines.iter().map(|timeline| &timeline.name).collect();
        f.debug_struct("Node").field("timelines", &names).finish_non_exhaustive()
    }
}

/// A batch of changes for people: the first few, and how many more.
fn in_words(changes: &[Change]) -> String {
    const SHOWN: usize = 3;
    let mut words = String::new();
    for change in changes.iter().take(SHOWN) {
        if !words.is_empty() {
            words.push_str(", ");
        }
        match change {
            Change::Touch(dependency) => words.push_str(&dependency.to_string()),
            Change::After(after) => {
                words.push_str("update of ");
                words.push_str(&after.row.table);
            }
            Change::Row(row) => {
                let verb = match (&row.old, &row.new) {
                    (None, Some(_)) => "insert into",
                    (Some(_), None) => "delete from",
                    (Some(_), Some(_)) | (None, None) => "update of",
                };
                words.push_str(verb);
                words.push(' ');
                words.push_str(&row.table);
            }
        }
    }
    if SHOWN < changes.len() {
        words.push_str(&format!(" and {} more", changes.len() - SHOWN));
    }
    words
}

/// The links under which an explicit invalidation finds its entries.
pub(crate) fn digests_by_name(dependency: &Dependency) -> Vec<Digest> {
    let mut digests = Vec::new();
    larder_core::change::touched_by_name(dependency, &mut |digest| digests.push(digest));
    digests.sort_unstable();
    digests
}

/// Random enough that two lives never share a number: the hasher's keys come from the system.
pub(crate) fn random_epoch() -> Epoch {
    use std::hash::{BuildHasher, Hasher};
    Epoch(std::hash::RandomState::new().build_hasher().finish())
}

/// So that sharing a node reads the same everywhere.
pub(crate) type SharedNode = Arc<Node>;

#[cfg(test)]
mod tests;
