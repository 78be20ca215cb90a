//! The readers: tasks that read through two nodes in every way, and those who tell of changes.
//!
//! **Invariant**: a reader notes what a fresh answer must include before it reads, from what it has
//! asked for, never from what it got; and it takes its node after that, so that a node that is put
//! in place of another one meanwhile makes the test weaker and never wrong.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{Fetched, Region, Source};
use larder_core::Clock;
use parking_lot::RwLock;
use tokio::task::yield_now;

use super::{
    Tracking, Trouble,
    ground::{Common, Ground},
    node::{LAX, Node, Regions},
    question::Question,
    told::Told,
};
use crate::{
    history::{Answer, Ask, Label, Loaded, Micros, Part, Read, Way, Written},
    random::Random,
};

/// How often a reader of something stale asks again for what is loaded behind.
const FOLLOWED: u64 = 40;

/// What all tasks share.
pub(super) struct Shared {
    path: PathBuf,
    tracking: Tracking,
    nodes: [RwLock<Arc<Node>>; 2],
    /// The node that was closed last, for those who still have it.
    closed: RwLock<Option<Arc<Node>>>,
    common: [Common; 2],
    clock: Clock,
    is_over: AtomicBool,
    /// What has just befallen the file: the way to note, and until when.
    fate: AtomicU64,
    fate_until: AtomicU64,
}

/// A read that is under way.
#[derive(Clone, Copy)]
struct Begun {
    question: Question,
    began: Micros,
    /// Commits to the origin until here must be included.
    includes_origin: Micros,
    /// How the answer came about, where it does not say so itself.
    way: Option<Way>,
}

impl Begun {
    fn lax(self) -> Self {
        let lax = u64::try_from(LAX.as_micros()).unwrap_or(0);
        Self { includes_origin: self.began.saturating_sub(lax), ..self }
    }

    fn by(self, way: Way) -> Self {
        Self { way: Some(way), ..self }
    }
}

impl Shared {
    /// Two nodes, and the notes of what was written into the rows that are told of.
    pub(super) fn open(
        path: &Path,
        tracking: Tracking,
        random: &mut Random,
    ) -> Result<(Arc<Self>, Vec<Written>), Trouble> {
        let (first, mut written) = Told::new(0, random);
        let (second, more) = Told::new(1, random);
        written.extend(more);
        let first = Common { told: Arc::new(first), loads: Arc::default() };
        let second = Common { told: Arc::new(second), ..first.clone() };
        let open = |common: &Common| {
            let node = Node::open(path, tracking, common.clone())?;
            Ok::<_, Trouble>(RwLock::new(Arc::new(node)))
        };
        let shared = Self {
            path: path.to_owned(),
            tracking,
            nodes: [open(&first)?, open(&second)?],
            closed: RwLock::default(),
            common: [first, second],
            clock: Clock::system(),
            is_over: AtomicBool::new(false),
            fate: AtomicU64::new(0),
            fate_until: AtomicU64::new(0),
        };
        Ok((Arc::new(shared), written))
    }

    /// From now and for `lasting`, answers count as given right after this.
    pub(super) fn befell(&self, way: Way, lasting: Duration) {
        let place = Way::ALL.iter().position(|own| *own == way).unwrap_or(0);
        self.fate.store(place as u64, Ordering::SeqCst);
        let until = self.clock.now().plus(lasting).as_micros();
        self.fate_until.store(until, Ordering::SeqCst);
    }

    /// Tells the readers to come to an end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Puts a new node in place of the one of this number and closes the old one, over which some
    /// go on to read.
    pub(super) async fn restart(&self, number: usize) -> Result<(), Trouble> {
        let number = number % 2;
        let (Some(place), Some(common)) = (self.nodes.get(number), self.common.get(number)) else {
            return Ok(());
        };
        // Nobody tells a node that is not there any more of a change that this one must know.
        let turn = common.told.turn.write().await;
        let node = Node::open(&self.path, self.tracking, common.clone())?;
        let old = std::mem::replace(&mut *place.write(), Arc::new(node));
        drop(turn);
        *self.closed.write() = Some(old.clone());
        old.cache.close().await;
        Ok(())
    }

    /// The epoch of the origin, as the first node knows it.
    pub(super) fn epoch(&self) -> Option<larder::Epoch> {
        Ground::epoch(&self.node(0).cache)
    }

    /// The loads so far.
    pub(super) fn loads(&self) -> Vec<Loaded> {
        let [first, _] = &self.common;
        first.loads.lock().clone()
    }

    fn node(&self, number: usize) -> Arc<Node> {
        let [first, second] = &self.nodes;
        let node = if number == 0 { first } else { second };
        node.read().clone()
    }

    fn now(&self) -> Micros {
        self.clock.now().as_micros()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// What had just befallen the file when a read began.
    fn fate(&self, began: Micros) -> Option<Way> {
        let place = usize::try_from(self.fate.load(Ordering::SeqCst)).ok()?;
        let is_near = began < self.fate_until.load(Ordering::SeqCst);
        Way::ALL.get(place).copied().filter(|_| is_near)
    }

    fn begin(&self, question: Question) -> Begun {
        let began = self.now();
        Begun { question, began, includes_origin: began, way: None }
    }

    fn note(&self, begun: Begun, parts: Answer, source: Source) -> Read {
        let Begun { question, began, includes_origin, way } = begun;
        assert!(
            question.asks().eq(parts.iter().map(|part| part.ask)),
            "{question:?} was answered with {parts:?}"
        );
        let kind = question.kind();
        let (of_source, label) = meaning(source);
        let is_softened = way == Some(Way::Softened) && of_source == Way::StaleWhileRevalidate;
        let own = match (way, label) {
            (Some(Way::Softened), _) if is_softened => Way::Softened,
            (Some(Way::Softened) | None, _) => of_source,
            (Some(way), Label::Fresh) => way,
            (Some(_), _) => of_source,
        };
        let way = self.fate(began).unwrap_or(own);
        let (ended, includes_told) = (self.now(), began);
        Read { kind, parts, began, ended, includes_origin, includes_told, way, label }
    }

    /// Reads until it is over; what was seen.
    pub(super) async fn read(self: Arc<Self>, mut random: Random) -> Vec<Read> {
        let mut reads = Vec::new();
        while !self.is_over() {
            for _ in 0..16 {
                self.one(&mut random, &mut reads).await;
            }
            yield_now().await;
        }
        reads
    }

    /// One read in a way of its own. What ends in an error has no answer to be judged.
    async fn one(&self, random: &mut Random, reads: &mut Vec<Read>) {
        let number = usize::from(random.once_in(2));
        let begun = self.begin(Question::random(random, number));
        let (question, node) = (begun.question, self.node(number));
        match random.below(16) {
            0..6 => self.fetch(node.strict.of(&question), begun, reads).await,
            6..8 => self.fetch(node.lax.of(&question), begun.lax(), reads).await,
            8..10 => self.follow(number, |node| &node.brief, begun.lax(), random, reads).await,
            10..12 => {
                let begun = begun.lax().by(Way::Softened);
                self.follow(number, |node| &node.soft, begun, random, reads).await;
            }
            12 => self.by_hand(number, question, reads).await,
            13 => self.beyond_closing(random, reads).await,
            _ => {
                // Another node was asked at `began` and hands over its token.
                let other = self.node(1 - number);
                let asked = Question::random_origin(random);
                if other.strict.of(&asked).fetch(&asked).await.is_err() {
                    return;
                }
                let token = other.cache.token();
                if node.cache.reach(&token, Duration::from_secs(2)).await.is_ok() {
                    let begun = begun.by(Way::AtLeast);
                    self.fetch(node.lax.of(&question), begun, reads).await;
                }
            }
        }
    }

    async fn fetch(
        &self,
        region: &Region<Question, Vec<Part>>,
        begun: Begun,
        reads: &mut Vec<Read>,
    ) {
        if let Ok(Fetched { value, source, .. }) = region.fetch(&begun.question).await {
            reads.push(self.note(begun, value, source));
        }
    }

    /// As `fetch`; after something stale until what is loaded behind is there.
    async fn follow(
        &self,
        number: usize,
        regions: fn(&Node) -> &Regions,
        begun: Begun,
        random: &mut Random,
        reads: &mut Vec<Read>,
    ) {
        let Begun { question, began, way, .. } = begun;
        self.fetch(regions(&self.node(number)).of(&question), begun, reads).await;
        let is_stale = |read: &Read| began <= read.began && read.label == Label::Stale;
        if !reads.last().is_some_and(is_stale) {
            return;
        }
        for _ in 0..random.below(FOLLOWED) {
            yield_now().await;
            let mut next = self.begin(question).lax();
            let node = self.node(number);
            let fetched = regions(&node).of(&question).fetch(&question).await;
            let Ok(Fetched { value, source, .. }) = fetched else { return };
            let is_there = source == Source::Hit;
            next.way = if is_there { Some(Way::Refreshed) } else { way };
            reads.push(self.note(next, value, source));
            if is_there {
                return;
            }
        }
    }

    /// A read of the region without a loader; who finds nothing there computes it, and reads again.
    async fn by_hand(&self, number: usize, question: Question, reads: &mut Vec<Read>) {
        if !matches!(question, Question::Leaf(_)) {
            return;
        }
        for _ in 0..2 {
            let begun = self.begin(question).lax().by(Way::ByHand);
            let node = self.node(number);
            match node.hand.get(&question).await {
                Ok(Some(value)) => return reads.push(self.note(begun, value, Source::Hit)),
                // A value that cannot be computed now is computed by the next one who misses it.
                Ok(None) => drop(node.compute(question).await),
                Err(_) => return,
            }
        }
    }

    /// A read of a node that was closed, if there is one: it must not call fresh what it cannot
    /// know. Of rows that are told of it hears nothing, so it is not asked for them.
    async fn beyond_closing(&self, random: &mut Random, reads: &mut Vec<Read>) {
        let begun = self.begin(Question::random_origin(random)).by(Way::Restarted).lax();
        let closed = self.closed.read().clone();
        if let Some(node) = closed {
            self.fetch(node.lax.of(&begun.question), begun, reads).await;
        }
    }

    /// Changes rows of node `number` and tells of it until it is over; what was written, and what
    /// was read right after something was loaded again.
    pub(super) async fn tell(
        self: Arc<Self>,
        number: usize,
        mut random: Random,
    ) -> Result<(Vec<Written>, Vec<Read>), Trouble> {
        let (mut written, mut reads) = (Vec::new(), Vec::new());
        let told = &self.common.get(number).ok_or("there is no such node")?.told;
        while !self.is_over() {
            let turn = told.turn.read().await;
            let node = self.node(number);
            let (note, rewarming) = told.change(&node.cache, &mut random).await?;
            written.push(note);
            // Nobody is nearer to the change than who told of it: what is still to be done behind
            // the call is undone now.
            for _ in 0..random.below(8) {
                let begun = self.begin(Question::random_told(&mut random, number)).lax();
                self.fetch(node.lax.of(&begun.question), begun, &mut reads).await;
            }
            if let Some(rewarming) = rewarming {
                rewarming.ended().await;
                for _ in 0..24 {
                    let begun = self.begin(Question::random(&mut random, number)).lax();
                    let question = begun.question;
                    let is_told = question.asks().any(Ask::is_told);
                    let fetched = node.lax.of(&question).fetch(&question).await;
                    if let (true, Ok(Fetched { value, source: Source::Hit, .. })) =
                        (is_told, fetched)
                    {
                        reads.push(self.note(begun.by(Way::Rewarmed), value, Source::Hit));
                    }
                }
            }
            drop(turn);
            for _ in 0..random.below(16) {
                yield_now().await;
            }
        }
        Ok((written, reads))
    }
}

/// The way and the label of an answer from this source. Each source that there will be needs its
/// arm: see [`Way`].
fn meaning(source: Source) -> (Way, Label) {
    match source {
        Source::Hit => (Way::Hit, Label::Fresh),
        Source::Loaded => (Way::Led, Label::Fresh),
        Source::Joined => (Way::Joined, Label::Fresh),
        Source::SecondFlight => (Way::SecondFlight, Label::Fresh),
        Source::StaleWhileRevalidate => (Way::StaleWhileRevalidate, Label::Stale),
        Source::StaleOnError => (Way::StaleWhileRevalidate, Label::Stale),
        // What it was built from may be unproven itself.
        Source::BuiltOnStale => (Way::BuiltOnStale, Label::Unproven),
        Source::Unproven => (Way::SecondFlight, Label::Unproven),
        other => panic!("the history test does not know the source {other:?}; give it a way"),
    }
}
