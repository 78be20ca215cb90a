//! What the suite knows: the truth as it was written, and what the feed has said of it.
//!
//! The sink is a node in miniature: a real [`History`] and nothing else. **Invariant**: every call
//! of the feed is recorded before it takes effect, so that a broken order is seen.

use std::{collections::BTreeMap, sync::Arc};

use larder_core::{
    Change, DependencySet, Epoch, History, Invalidation, Moment, Position, Stamp,
    feed::{Doubt, FeedSink, Mark},
    history::Verdict,
    origin::Answer,
    store::Standing,
};
use parking_lot::Mutex;

use super::{Ask, End, Row, World, Write};
use crate::wait::block_on;

/// One call of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Received(Position),
    Confirmed(Position, Moment),
    Restarted(Epoch, Position, Doubt),
    Resumed(Epoch, Position),
}

/// Whether a log has come by a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Before,
    Never,
}

/// The sink of the suite.
#[derive(Debug)]
pub(super) struct Node(Mutex<Knowledge>);

#[derive(Debug)]
struct Knowledge {
    history: History,
    proven: Moment,
    calls: Vec<Call>,
    /// What was said of what is told next, and what was told last.
    marking: Option<Mark>,
    mark: Option<Mark>,
}

impl Node {
    pub(super) fn new(timeline: &str) -> Self {
        let history = History::new(timeline.into(), Epoch(0), Position::START, 100_000);
        let (proven, calls) = (Moment::EARLIEST, Vec::new());
        let (marking, mark) = (None, None);
        Self(Mutex::new(Knowledge { history, proven, calls, marking, mark }))
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.0.lock().history.stamp()
    }

    /// What the read rule says of a record, and how old the knowledge behind it is.
    pub(super) fn ask(&self, record: &Record) -> (Verdict, Moment) {
        let known = self.0.lock();
        let applied = known.history.applied();
        let verdict = known.history.verdict(&record.stamp, &record.dependencies, applied);
        (verdict, known.proven)
    }

    /// Where it stands, as a store would keep it.
    pub(super) fn standing(&self) -> Standing {
        let Knowledge { history, mark, .. } = &*self.0.lock();
        Standing {
            timeline: history.timeline().clone(),
            epoch: history.epoch(),
            position: history.applied(),
            floor: Position::START,
            mark: mark.as_ref().map(|mark| mark.bytes.clone()),
        }
    }

    /// Whether the last mark has a place.
    fn is_placed(&self) -> bool {
        self.0.lock().mark.as_ref().is_some_and(|mark| mark.place.is_some())
    }

    pub(super) fn register(&self, dependencies: &DependencySet) {
        let history = &mut self.0.lock().history;
        dependencies.iter().for_each(|dependency| history.register(dependency));
    }
}

impl FeedSink for Node {
    fn received(&self, _: &str, position: Position, changes: &[Change]) {
        let mut known = self.0.lock();
        known.calls.push(Call::Received(position));
        known.mark = known.marking.take();
        known.history.apply(position, changes);
    }

    fn confirmed(&self, _: &str, position: Position, moment: Moment) {
        let mut known = self.0.lock();
        known.calls.push(Call::Confirmed(position, moment));
        known.history.confirm(position);
        // As the library does: what is received and not yet visible keeps the proof from moving.
        if known.history.confirmed() == known.history.applied() {
            known.proven = known.proven.max(moment);
        }
    }

    fn restarted(&self, _: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        let mut known = self.0.lock();
        known.calls.push(Call::Restarted(epoch, start, doubt));
        known.mark = known.marking.take();
        known.history.restart(epoch, start);
    }

    fn marking(&self, _: &str, mark: Option<Mark>) {
        self.0.lock().marking = mark;
    }

    fn resumed(&self, _: &str, epoch: Epoch, position: Position) {
        let mut known = self.0.lock();
        known.calls.push(Call::Resumed(epoch, position));
        known.history.restart(epoch, position);
    }

    // The suite writes rows only, so nothing is ever recorded.
    fn recorded(&self, _: &str, _: &Invalidation) {}

    // A node in miniature has the origin's timeline only: nothing else can be named in it.
    fn records_lost(&self, _: &str, _: Doubt) {}
}

/// A stored answer.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) ask: Ask,
    pub(super) rows: Vec<Row>,
    pub(super) stamp: Stamp,
    pub(super) dependencies: DependencySet,
}

impl Record {
    /// As a store has it that stands at `left`, when it was right up to there.
    pub(super) fn kept(self, left: &Standing) -> Self {
        assert_eq!(self.stamp.epoch, left.epoch, "of another life: {self:?}");
        let as_of = self.stamp.as_of.max(left.position);
        Self { stamp: Stamp { as_of, ..self.stamp }, ..self }
    }
}

/// One write with the moment at which it was surely visible.
#[derive(Clone, Debug)]
struct Acknowledged {
    write: Write,
    at: Moment,
}

/// A world, its node, and the truth.
pub(super) struct Ledger<W: World> {
    pub(super) world: W,
    pub(super) node: Arc<Node>,
    truth: BTreeMap<i64, Row>,
    saved: BTreeMap<i64, Row>,
    log: Vec<Acknowledged>,
    version: u64,
}

impl<W: World> Ledger<W> {
    /// A world with four rows in two buckets, whose feed runs and has caught up.
    pub(super) fn started(world: W) -> Self {
        let mut ledger = Self::fresh(world);
        for id in 0..4 {
            let row = ledger.row(id, id % 2);
            ledger.commit(&[Write::Put(row)]);
        }
        ledger.start();
        ledger.catch_up();
        ledger
    }

    /// A world that is still empty and whose feed is not started.
    pub(super) fn fresh(world: W) -> Self {
        let node = Arc::new(Node::new(world.feed().timeline()));
        let (truth, saved, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { world, node, truth, saved, log, version: 0 }
    }

    pub(super) fn start(&mut self) {
        self.world.start(self.node.clone());
    }

    pub(super) fn catch_up(&mut self) {
        self.world.catch_up().expect("an origin that can be asked catches up");
    }

    /// Stops the feed where it has caught up: where that is, for a later one.
    pub(super) fn leave(&mut self) -> Standing {
        self.catch_up();
        self.world.feed().stop();
        self.node.standing()
    }

    /// Starts the feed again, as in another life of the process; whether it went on.
    pub(super) fn go_on(&mut self, left: &Standing) -> bool {
        let before = self.node.calls().len();
        self.world.start_from(self.node.clone(), left);
        self.catch_up();
        let calls = self.node.calls();
        let gone_on = Call::Resumed(left.epoch, left.position);
        let first = calls.get(before);
        let has_begun = matches!(first, Some(Call::Restarted(..)));
        assert!(has_begun || first == Some(&gone_on), "{calls:?}");
        !has_begun
    }

    /// What the feed says of a place where an earlier one was, if it has places at all.
    pub(super) fn check_passed(&self, left: &Standing, passed: Passed, why: &str) {
        let Some(mark) = &left.mark else { return };
        if self.node.is_placed() {
            let asked = block_on(self.world.feed().has_passed(mark));
            let has_passed = asked.expect("an origin that can be asked answers");
            assert_eq!(has_passed, passed == Passed::Before, "{why}: {left:?}");
        }
    }

    /// A row that was never written before.
    pub(super) fn row(&mut self, id: i64, bucket: i64) -> Row {
        self.version += 1;
        Row { id, bucket, version: self.version }
    }

    pub(super) fn commit(&mut self, writes: &[Write]) {
        self.transact(writes, End::Commit, &mut |_, _| {});
    }

    /// As [`World::transact`], and keeps the books. `during` gets the node as well.
    pub(super) fn transact(
        &mut self,
        writes: &[Write],
        end: End,
        during: &mut dyn FnMut(&mut W, &Node),
    ) {
        let node = self.node.clone();
        self.world.transact(writes, end, &mut |world| during(world, &node));
        if end == End::Rollback {
            return;
        }
        let at = self.world.clock().now();
        for write in writes {
            match write {
                Write::Put(row) => self.truth.insert(row.id, *row),
                Write::Remove(id) => self.truth.remove(id),
            };
            self.log.push(Acknowledged { write: *write, at });
        }
    }

    pub(super) fn remember(&mut self) {
        self.saved.clone_from(&self.truth);
    }

    pub(super) fn return_to_saved(&mut self) {
        self.truth.clone_from(&self.saved);
        self.log.clear();
    }

    pub(super) fn answer(&self, ask: Ask) -> Vec<Row> {
        self.truth.values().filter(|row| ask.matches(row)).copied().collect()
    }

    /// Loads as a reader does: the stamp first, then the load.
    pub(super) fn load(&mut self, ask: Ask) -> Record {
        let before = self.node.stamp();
        let load = self.world.begin_load(ask, before);
        let answer = self.world.finish_load(load).expect("an origin that can be asked answers");
        record(&self.node, ask, answer)
    }

    /// Checks a record right after the feed has caught up.
    pub(super) fn check_caught_up(&self, record: &Record, when: &str) {
        let (verdict, _) = self.node.ask(record);
        if verdict == Verdict::Untouched {
            assert_eq!(record.rows, self.answer(record.ask), "fresh but wrong, {when}: {record:?}");
        }
    }

    /// Checks a record at any time: it must reflect every write from before what is proven.
    pub(super) fn check_proven(&self, record: &Record, when: &str) {
        let (verdict, proven) = self.node.ask(record);
        if verdict != Verdict::Untouched {
            return;
        }
        for Acknowledged { write, at } in self.log.iter().filter(|entry| entry.at < proven) {
            let Write::Put(row) = write else { continue };
            let shown = record.rows.iter().find(|shown| shown.id == row.id);
            let is_older = shown.is_some_and(|shown| shown.version < row.version);
            assert!(!is_older, "{write:?}, proven since {at:?}, is missing, {when}: {record:?}");
        }
    }
}

pub(super) fn record(node: &Node, ask: Ask, answer: Answer<Vec<Row>>) -> Record {
    let dependencies = answer.dependencies.into_iter().collect();
    // A scope that is registered after the load is answered by its table, never passed over.
    node.register(&dependencies);
    Record { ask, rows: answer.rows, stamp: answer.stamp, dependencies }
}
