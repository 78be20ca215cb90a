//! The node that keeps a store: read in every moment, and built anew all the time.
//!
//! Apart from the other two, which live long: its memory is so small that values come back from the
//! store, and its lives are so short that the store is what remains of them, while the writers
//! write. **Invariant**: nobody tells it of anything while there is no life of it, and none ends
//! while it is told or read.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder::{Fetched, Region, Source};
use tokio::{
    runtime::Handle,
    sync::{RwLock, RwLockReadGuard},
    task::{block_in_place, spawn, yield_now},
};

use super::{
    Tracking, Trouble,
    ground::Common,
    node::{Keeps, Node},
    notebook::{Begun, Notebook},
    question::Question,
};
use crate::{
    history::{Micros, Part, Read, Way, Written},
    random::Random,
};

/// The number of this node, by which its rows are told apart from those of others.
pub(super) const KEPT: usize = 2;

/// For so long an answer from the store counts as one of a life that has just begun.
const YOUNG: Micros = 50_000;

/// The longest life: some rounds of changes, and less than a round of the test.
const LIFE_MILLIS: u64 = 500;

/// The longest pause after a life that could not begin, because the file was away.
const RETRY_MILLIS: u64 = 20;

/// What was written and what was read.
pub(super) type Noted = Result<(Vec<Written>, Vec<Read>), Trouble>;

/// See the module.
pub(super) struct Kept {
    origin: PathBuf,
    store: PathBuf,
    tracking: Tracking,
    common: Common,
    notebook: Arc<Notebook>,
    life: RwLock<Option<Life>>,
}

/// One life of the node.
struct Life {
    node: Node,
    born: Micros,
}

impl Life {
    fn region(&self, begun: &Begun) -> &Region<Question, Vec<Part>> {
        let regions = if begun.is_lax() { &self.node.lax } else { &self.node.strict };
        regions.of(&begun.question)
    }
}

impl Kept {
    pub(super) async fn open(
        origin: PathBuf,
        store: PathBuf,
        tracking: Tracking,
        common: Common,
        notebook: Arc<Notebook>,
    ) -> Result<Self, Trouble> {
        let kept = Self { origin, store, tracking, common, notebook, life: RwLock::default() };
        *kept.life.write().await = Some(kept.begin().await?);
        Ok(kept)
    }

    async fn begin(&self) -> Result<Life, Trouble> {
        let keeps = Keeps::Store(&self.store);
        let node = Node::open(&self.origin, self.tracking, self.common.clone(), keeps).await?;
        Ok(Life { node, born: self.notebook.now() })
    }

    /// The life there is now, if there is one and it is not to end; it does not end before this is
    /// given back.
    fn life(&self) -> Option<RwLockReadGuard<'_, Life>> {
        let life = self.life.try_read().ok()?;
        RwLockReadGuard::try_map(life, Option::as_ref).ok()
    }

    /// Reads until `is_over`, whenever there is a life; what was seen.
    pub(super) async fn read(&self, mut random: Random, is_over: impl Fn() -> bool) -> Vec<Read> {
        let mut reads = Vec::new();
        while !is_over() {
            let begun = self.notebook.begin(Question::random_kept(&mut random, KEPT));
            if let Some(life) = self.life() {
                let begun = if random.once_in(2) { begun } else { begun.lax() };
                self.fetch(&life, begun, &mut reads).await;
            }
            yield_now().await;
        }
        reads
    }

    /// Asks `life` for what must be of this moment or may be lax, as `begun` says.
    async fn fetch(&self, life: &Life, begun: Begun, reads: &mut Vec<Read>) {
        let fetched = life.region(&begun).fetch(&begun.question).await;
        reads.extend(fetched.ok().map(|fetched| self.note(life, begun, fetched)));
    }

    fn note(&self, life: &Life, begun: Begun, fetched: Fetched<Vec<Part>>) -> Read {
        let Fetched { value, source, .. } = fetched;
        let is_first = source == Source::Store && begun.began < life.born + YOUNG;
        let begun = if is_first { begun.by(Way::RestartedOverStore) } else { begun };
        self.notebook.note(begun, value, source)
    }

    /// Ends one life after the other and begins the next, until `is_over`; what was read right
    /// before and right after.
    ///
    /// # Errors
    /// What keeps the last life from beginning. The file may be away for a while: then the next
    /// turn tries again.
    pub(super) async fn live(&self, mut random: Random, is_over: impl Fn() -> bool) -> Noted {
        let (mut reads, mut failed) = (Vec::new(), None);
        while !is_over() {
            let most = if failed.is_some() { RETRY_MILLIS } else { LIFE_MILLIS };
            // A pace, not a wait for something.
            tokio::time::sleep(Duration::from_millis(random.below(most))).await;
            // So that the next life finds it.
            if let Some(life) = self.life() {
                self.read_lasting(&life, &mut reads).await;
            }
            let mut place = self.life.write().await;
            // It joins threads and waits for the disk; the readers go on meanwhile.
            let next =
                block_in_place(|| Handle::current().block_on(self.turn(place.take(), &mut random)));
            failed = next.map(|next| *place = Some(next)).err();
            // Nobody is nearer to what was committed between the two: in a moment the next commit
            // makes the same fall.
            if let Some(life) = &*place.downgrade() {
                self.read_lasting(life, &mut reads).await;
            }
        }
        failed.map_or(Ok((Vec::new(), reads)), Err)
    }

    /// Reads what lasts over the end of a life, all of it at once: the writes to the store that one
    /// read waits for are those of all.
    async fn read_lasting(&self, life: &Life, reads: &mut Vec<Read>) {
        let ask = |question| {
            let begun = self.notebook.begin(question);
            let region = life.region(&begun).clone();
            (begun, spawn(async move { region.fetch(&question).await }))
        };
        let asked: Vec<_> = Question::lasting(KEPT).map(ask).collect();
        for (begun, fetched) in asked {
            let fetched = fetched.await.ok().and_then(Result::ok);
            reads.extend(fetched.map(|fetched| self.note(life, begun, fetched)));
        }
    }

    /// Ends a life and begins the next.
    async fn turn(&self, old: Option<Life>, random: &mut Random) -> Result<Life, Trouble> {
        if let Some(old) = old
            && random.once_in(2)
        {
            // The other half is dropped over whatever it still had to say to the store.
            old.node.cache.close().await;
        }
        for _ in 0..random.below(64) {
            yield_now().await;
        }
        self.begin().await
    }

    /// Changes rows of this node and tells of it until `is_over`; what was written, and what was
    /// read right after that.
    pub(super) async fn tell(&self, mut random: Random, is_over: impl Fn() -> bool) -> Noted {
        let (mut written, mut reads) = (Vec::new(), Vec::new());
        while !is_over() {
            if let Some(life) = self.life() {
                let (note, rewarming) =
                    self.common.told.change(&life.node.cache, &mut random).await?;
                written.push(note);
                for _ in 0..random.below(8) {
                    let question = Question::random_told(&mut random, KEPT);
                    self.fetch(&life, self.notebook.begin(question).lax(), &mut reads).await;
                }
                if let Some(rewarming) = rewarming {
                    rewarming.ended().await;
                }
            }
            for _ in 0..random.below(64) {
                yield_now().await;
            }
        }
        Ok((written, reads))
    }
}
