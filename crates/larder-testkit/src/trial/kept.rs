//! The nodes that keep a store, both the same one: read in every moment, and built anew all the
//! time.
//!
//! Apart from the other two, which live long: their memory is so small that values come back from
//! the store, and their lives are so short that the store is what remains of them, while the
//! writers write. What one of them is told of, the other hears through the store; the commits to
//! the origin each hears for itself, and what one has loaded the other may be served.
//! **Invariant**: nobody tells a node of anything while there is no life of it, and none ends while
//! it is told or read.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder::{Error, Fetched, LoadError, Region, Source};
use tokio::{
    runtime::Handle,
    sync::{RwLock, RwLockReadGuard},
    task::{JoinHandle, block_in_place, spawn, yield_now},
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

/// The numbers of these nodes, by which their rows are told apart from those of others.
pub(super) const KEPT: [usize; 2] = [2, 3];

/// For so long a read that is answered from the store counts as one of a life that has just begun.
const YOUNG: Micros = 10_000;

/// The longest life: some rounds of changes, and less than a round of the test.
const LIFE_MILLIS: u64 = 500;

/// The longest pause after a life that could not begin, because the file was away.
const RETRY_MILLIS: u64 = 20;

/// Questions around each change that is told, at most.
const TOLD_ROUND: u64 = 8;

/// A read that is under way.
type Asked = (Begun, JoinHandle<Result<Fetched<Vec<Part>>, LoadError<Error>>>);

/// What was written and what was read.
pub(super) type Noted = Result<(Vec<Written>, Vec<Read>), Trouble>;

/// What these nodes read and write, and how the first of the two files is tracked.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) origin: PathBuf,
    pub(super) store: PathBuf,
    /// In how many files the store is.
    pub(super) stored_in: u32,
    pub(super) tracking: Tracking,
}

/// One such node. See the module.
pub(super) struct Kept {
    number: usize,
    files: Files,
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
    /// Both nodes. Each knows the rows that the other is told of.
    pub(super) async fn open_both(
        files: &Files,
        [first, second]: [Common; 2],
        notebook: &Arc<Notebook>,
    ) -> Result<[Self; 2], Trouble> {
        let open = async |number, own: &Common, other: &Common| {
            let common = Common { told_elsewhere: Some(other.told.clone()), ..own.clone() };
            let (files, notebook, life) = (files.clone(), notebook.clone(), RwLock::default());
            let kept = Self { number, files, common, notebook, life };
            *kept.life.write().await = Some(kept.begin().await?);
            Ok::<_, Trouble>(kept)
        };
        let [one, other] = KEPT;
        Ok([open(one, &first, &second).await?, open(other, &second, &first).await?])
    }

    async fn begin(&self) -> Result<Life, Trouble> {
        let Files { origin, store, stored_in, tracking } = &self.files;
        let keeps = Keeps::Store(store, *stored_in);
        let node = Node::open(origin, *tracking, self.common.clone(), keeps).await?;
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
            let [one, other] = KEPT;
            let told_at = if random.once_in(2) { one } else { other };
            let question = Question::random_kept(&mut random, told_at);
            self.read_one(question, &mut random, &mut reads).await;
            yield_now().await;
        }
        reads
    }

    /// One read, if there is a life: nobody waits for the next, which takes longer than a read.
    async fn read_one(&self, question: Question, random: &mut Random, reads: &mut Vec<Read>) {
        let begun = self.notebook.begin(question);
        let Some(life) = self.life() else { return };
        let begun = match random.once_in(2) {
            true => begun,
            false if self.is_foreign(&question) => begun.lax().lax_told(),
            false => begun.lax(),
        };
        let fetched = life.region(&begun).fetch(&question).await;
        reads.extend(fetched.ok().map(|fetched| self.note(&life, begun, fetched)));
    }

    /// Whether it is about rows of which the other node is told.
    fn is_foreign(&self, question: &Question) -> bool {
        question.asks().any(|ask| ask.is_told() && !self.common.told.has(ask))
    }

    fn note(&self, life: &Life, begun: Begun, fetched: Fetched<Vec<Part>>) -> Read {
        let Fetched { value, source, .. } = fetched;
        let is_first = begun.began < life.born + YOUNG;
        let begun = match source {
            Source::Store if is_first => begun.by(Way::RestartedOverStore),
            Source::Store | Source::Hit if self.is_foreign(&begun.question) => {
                begun.by(Way::Neighbour)
            }
            _ => begun,
        };
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

    /// Reads what lasts over the end of a life.
    async fn read_lasting(&self, life: &Life, reads: &mut Vec<Read>) {
        let told = KEPT.into_iter().flat_map(Question::lasting_told);
        let asked = self.ask(life, told.chain(Question::lasting()));
        self.answered(life, asked, reads).await;
    }

    /// Asks all of it at once: the writes to the store that one read waits for are those of all.
    fn ask(&self, life: &Life, questions: impl Iterator<Item = Question>) -> Vec<Asked> {
        let ask = |question| {
            let begun = self.notebook.begin(question);
            let region = life.region(&begun).clone();
            (begun, spawn(async move { region.fetch(&question).await }))
        };
        questions.map(ask).collect()
    }

    async fn answered(&self, life: &Life, asked: Vec<Asked>, reads: &mut Vec<Read>) {
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
    /// read right after that, here and at the `other` node.
    pub(super) async fn tell(
        &self,
        other: &Self,
        mut random: Random,
        is_over: impl Fn() -> bool,
    ) -> Noted {
        let (mut written, mut reads) = (Vec::new(), Vec::new());
        while !is_over() {
            if let Some(life) = self.life() {
                let questions: Vec<_> = (0..random.below(TOLD_ROUND))
                    .map(|_| Question::random_told(&mut random, self.number))
                    .collect();
                let heard = other.life();
                // What the other loads now may be written to the store right after this change.
                let asked = heard.as_deref().map(|life| other.ask(life, questions.iter().copied()));
                let told = &self.common.told;
                let (note, rewarming) = told.change(&life.node.cache, &mut random).await?;
                written.push(note);
                if let (Some(life), Some(asked)) = (&heard, asked) {
                    other.answered(life, asked, &mut reads).await;
                }
                drop(heard);
                for question in questions {
                    let node = if random.once_in(4) { self } else { other };
                    node.read_one(question, &mut random, &mut reads).await;
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
