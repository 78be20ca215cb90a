//! The readers: tasks that read through two nodes in every way, and those who tell of changes.
//!
//! **Invariant**: a reader notes what a fresh answer must include before it reads, from what it has
//! asked for, never from what it got; and it takes its node after that, so that a node that is put
//! in place of another one meanwhile makes the test weaker and never wrong.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder::{Fetched, Source};
use parking_lot::{Mutex, RwLock};
use tokio::task::yield_now;

use super::{
    Tracking, Trouble,
    ground::{Common, Ground},
    kept::{Files, KEPT, Kept, Noted},
    node::{Keeps, Node, Regions},
    notebook::{Begun, Notebook},
    question::Question,
    told::Told,
};
use crate::{
    history::{Ask, Label, Loaded, Read, Way, Written},
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
    kept: [Kept; 2],
    pub(super) notebook: Arc<Notebook>,
    is_over: AtomicBool,
}

impl Shared {
    /// Two nodes, two more that keep the store at `store`, in so many files, and the notes of what
    /// was written into the rows that are told of.
    pub(super) async fn open(
        path: &Path,
        (store, stored_in): (&Path, u32),
        tracking: Tracking,
        random: &mut Random,
    ) -> Result<(Arc<Self>, Vec<Written>), Trouble> {
        let loads: Arc<Mutex<Vec<Loaded>>> = Arc::default();
        let mut written = Vec::new();
        let mut common = |number| {
            let (told, notes) = Told::new(number, random);
            written.extend(notes);
            Common { told: Arc::new(told), told_elsewhere: None, loads: loads.clone() }
        };
        let (common, kept) = ([common(0), common(1)], KEPT.map(common));
        let open = async |common: &Common| {
            let node = Node::open(path, tracking, common.clone(), Keeps::Nothing).await?;
            Ok::<_, Trouble>(RwLock::new(Arc::new(node)))
        };
        let [first, second] = &common;
        let nodes = [open(first).await?, open(second).await?];
        let (notebook, origin) = (Arc::new(Notebook::new()), path.to_owned());
        let files = Files { origin: origin.clone(), store: store.to_owned(), stored_in, tracking };
        let kept = Kept::open_both(&files, kept, &notebook).await?;
        let shared = Self {
            path: origin,
            tracking,
            nodes,
            closed: RwLock::default(),
            common,
            kept,
            notebook,
            is_over: AtomicBool::new(false),
        };
        Ok((Arc::new(shared), written))
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
        let node = Node::open(&self.path, self.tracking, common.clone(), Keeps::Nothing).await?;
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

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
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
        let begun = self.notebook.begin(Question::random(random, number));
        let (question, node) = (begun.question, self.node(number));
        match random.below(16) {
            0..6 => self.notebook.fetch(node.strict.of(&question), begun, reads).await,
            6..8 => self.notebook.fetch(node.lax.of(&question), begun.lax(), reads).await,
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
                    self.notebook.fetch(node.lax.of(&question), begun, reads).await;
                }
            }
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
        self.notebook.fetch(regions(&self.node(number)).of(&question), begun, reads).await;
        let is_stale = |read: &Read| began <= read.began && read.label == Label::Stale;
        if !reads.last().is_some_and(is_stale) {
            return;
        }
        for _ in 0..random.below(FOLLOWED) {
            yield_now().await;
            let mut next = self.notebook.begin(question).lax();
            let node = self.node(number);
            let fetched = regions(&node).of(&question).fetch(&question).await;
            let Ok(Fetched { value, source, .. }) = fetched else { return };
            let is_there = source == Source::Hit;
            next.way = if is_there { Some(Way::Refreshed) } else { way };
            reads.push(self.notebook.note(next, value, source));
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
            let begun = self.notebook.begin(question).lax().by(Way::ByHand);
            let node = self.node(number);
            match node.hand.get(&question).await {
                Ok(Some(value)) => {
                    return reads.push(self.notebook.note(begun, value, Source::Hit));
                }
                // A value that cannot be computed now is computed by the next one who misses it.
                Ok(None) => drop(node.compute(question).await),
                Err(_) => return,
            }
        }
    }

    /// The nodes that keep a store, one of them first.
    fn kept(&self, number: u64) -> (&Kept, &Kept) {
        let [one, other] = &self.kept;
        if number.is_multiple_of(2) { (one, other) } else { (other, one) }
    }

    /// Reads of a node that keeps a store until it is over. Apart from the other reads: these wait
    /// for the disk.
    pub(super) async fn read_kept(self: Arc<Self>, number: u64, random: Random) -> Vec<Read> {
        self.kept(number).0.read(random, || self.is_over()).await
    }

    /// Ends and begins lives of a node that keeps a store, until it is over.
    pub(super) async fn live(self: Arc<Self>, number: u64, random: Random) -> Noted {
        self.kept(number).0.live(random, || self.is_over()).await
    }

    /// Tells a node that keeps a store of changes, until it is over.
    pub(super) async fn tell_kept(self: Arc<Self>, number: u64, random: Random) -> Noted {
        let (own, other) = self.kept(number);
        own.tell(other, random, || self.is_over()).await
    }

    /// A read of a node that was closed, if there is one: it must not call fresh what it cannot
    /// know. Of rows that are told of it hears nothing, so it is not asked for them.
    async fn beyond_closing(&self, random: &mut Random, reads: &mut Vec<Read>) {
        let begun = self.notebook.begin(Question::random_origin(random)).by(Way::Restarted).lax();
        let closed = self.closed.read().clone();
        if let Some(node) = closed {
            self.notebook.fetch(node.lax.of(&begun.question), begun, reads).await;
        }
    }

    /// Changes rows of node `number` and tells of it until it is over; what was written, and what
    /// was read right after something was loaded again.
    pub(super) async fn tell(self: Arc<Self>, number: usize, mut random: Random) -> Noted {
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
                let begun = self.notebook.begin(Question::random_told(&mut random, number)).lax();
                self.notebook.fetch(node.lax.of(&begun.question), begun, &mut reads).await;
            }
            if let Some(rewarming) = rewarming {
                rewarming.ended().await;
                for _ in 0..24 {
                    let begun = self.notebook.begin(Question::random(&mut random, number)).lax();
                    let question = begun.question;
                    let is_told = question.asks().any(Ask::is_told);
                    let fetched = node.lax.of(&question).fetch(&question).await;
                    if let (true, Ok(Fetched { value, source: Source::Hit, .. })) =
                        (is_told, fetched)
                    {
                        reads.push(self.notebook.note(begun.by(Way::Rewarmed), value, Source::Hit));
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
