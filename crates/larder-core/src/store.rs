//! The store: an L2 tier that keeps records for more than one process or one life.
//!
//! Bytes in, bytes out: it decides nothing, because every decision is made by whoever reads the
//! record. **Invariant**: a store may lose, reorder or duplicate records; that costs a load and
//! never shows an old value.

use std::{fmt, sync::Arc};

use crate::{
    BoxFuture,
    announcement::{Announced, Cursor, Look},
    claim::{Claim, Fence, Patience},
    clock::WallMillis,
    dependency::{Dependency, Digest},
    error::Error,
    timeline::{Epoch, Name, Position},
};

/// A place for encoded [`crate::record::Record`]s, by region and key.
///
/// # Implementations must
/// - tell a miss (`Ok(None)`) from not being able to answer (`Unavailable`);
/// - make each `put` visible as a whole or not at all;
/// - answer every call in bounded time.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The record under `key` of `region`; `None` is a miss.
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>>;

    /// Puts `record` under `key` of `region`, in place of what was there, if `fence` allows it; to
    /// be let go at `until`, where `None` is never.
    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: Vec<u8>,
        until: Option<WallMillis>,
        fence: Fence,
    ) -> BoxFuture<'a, Result<Written, Error>>;

    /// Removes what is under `key` of `region`; whether there was something.
    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>>;

    /// Attaches one cache to what the store keeps of timelines, if it does: to the announcements
    /// and to the timelines of `origins`, which all caches share as far as their feeds have places;
    /// the others one cache at a time keeps, among those that say that they follow such. Called
    /// once for each cache, before it reads; it may block for as long as a commit takes, and for a
    /// second more where it follows positions.
    ///
    /// # Errors
    /// `Unavailable` and the like when the store does not answer.
    fn attach(&self, origins: &[Name], follows: Follows) -> Result<Option<Attached>, Error> {
        let _ = (origins, follows);
        Ok(None)
    }

    /// The claims of the store, for one cache; `None` where it keeps none, and flights are single
    /// in each process only.
    fn claims(&self) -> Option<Arc<dyn Claims>> {
        None
    }
}

/// What became of a record that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there, and the claim that it was written under was given back.
    Kept,
    /// It is not right any more, and was not written.
    NotRight,
    /// Somebody began to load the key later, and it was not written.
    Outrun,
}

/// The answer to who takes a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is taken.
    Now {
        /// Under which name.
        claim: Claim,
        /// Whether there is a record under the key, which may have been written since the last
        /// look.
        entry: Presence,
    },
    /// Somebody holds it.
    NotNow,
}

/// Whether there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is.
    Present,
    /// There is nothing.
    Absent,
}

/// Claims in a store, for one cache. The rules are those of [`crate::claim`].
///
/// # Implementations must
/// - do each of these in one step that no other process can come between;
/// - let nothing of a claim survive a restore of the store to an earlier state;
/// - answer every call in bounded time.
pub trait Claims: fmt::Debug + Send + Sync + 'static {
    /// Until when somebody holds the claim of `key`, if nothing more is heard of him; `None` when
    /// it can be taken. Costs a read.
    fn holder<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<WallMillis>, Error>>;

    /// Takes the claim of `key`, to end at `deadline` at the latest.
    fn take<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        deadline: WallMillis,
        patience: Patience,
    ) -> BoxFuture<'a, Result<Taken, Error>>;

    /// Gives a sign of life; whether the claim is held still.
    fn beat<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Gives the claim back, if it is held still.
    fn give_back<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends after the next commit to the store by anybody, or later, or never: a hint when to look
    /// again. Commits count from the moment of the call.
    fn next_commit(&self) -> BoxFuture<'static, ()>;
}

/// By what a cache follows its origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// By places of their logs, as all others do: see [`crate::feed::Feed::has_places`].
    Places,
    /// One of them at least by positions that nobody else can follow.
    Positions,
}

/// Whether a cache keeps, in a store, timelines whose positions nobody else can follow: those of
/// feeds whose marks have no place. The others are kept by all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// It does. It is the only one.
    Kept,
    /// Another one may: what depends on such an origin is neither written nor read here.
    NotKept,
}

/// What one cache has of a store. Dropping `tracked` hands back what it alone may keep.
#[derive(Debug)]
pub struct Attached {
    /// Where tracked records are read and written.
    pub tracked: Arc<dyn TrackedStore>,
    /// The number of this cache among the authors of announcements.
    pub author: u64,
    /// Where the line of announcements stands.
    pub cursor: Cursor,
    /// Whether timelines that cannot be shared are this cache's.
    pub origins: Origins,
    /// Where the store stands on each timeline of `origins`; if parts of it stand apart, where all
    /// of them can be told the rest from.
    pub standings: Vec<Standing>,
    /// What was registered when the records were written: see [`Dependency::scheme`].
    pub schemes: Vec<Dependency>,
}

/// Where a store stands on one timeline. Lives and positions are the store's: where feeds mark
/// places the position is such a place, and each cache that follows the timeline has lives and
/// positions of its own beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which timeline.
    pub timeline: Name,
    /// Which life of it.
    pub epoch: Epoch,
    /// Everything up to here was applied to the store.
    pub position: Position,
    /// Records stamped before this are not valid, whatever they depend on.
    pub floor: Position,
    /// From where the feed can go on after `position`, in its own words; `None` when it cannot.
    pub mark: Option<Vec<u8>>,
}

/// Whether a record may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is right, as far as the announcements up to there can say. The store looks at those that
    /// others made since.
    Right(Position),
    /// It is not.
    Wrong,
}

/// The question that a store asks before it writes a record, with where it stands.
pub type Judge = Box<dyn FnOnce(&[Standing]) -> Judgement + Send>;

/// A record that depends on something, as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// The encoded record.
    pub bytes: Vec<u8>,
    /// Where the store stands, in the snapshot that shows the record.
    pub standings: Vec<Standing>,
}

/// A record that depends on something, on its way into a store.
pub struct NewRecord {
    /// The encoded record.
    pub bytes: Vec<u8>,
    /// When it is let go; `None` is never.
    pub until: Option<WallMillis>,
    /// What reaches it: see `DependencySet::lasting_digests`.
    pub digests: Vec<Digest>,
    /// What has to be registered in another life: see [`Dependency::scheme`].
    pub schemes: Vec<Dependency>,
    /// Whether it is still right, asked with where the store stands, inside the transaction that
    /// would write it. It may take short locks and must not call the store.
    pub judge: Judge,
    /// What else the write is subject to.
    pub fence: Fence,
}

/// Moves a store along one timeline, in the words of [`Standing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which timeline.
    pub timeline: Name,
    /// Which life of it.
    pub epoch: Epoch,
    /// Where the step begins.
    pub begins: Begins,
    /// Where it ends.
    pub position: Position,
    /// What was touched; each digest once, sorted.
    pub digests: Vec<Digest>,
    /// What reaches all that hangs on tables of which rows changed, for entries that choose rows by
    /// columns which the author did not know of.
    pub tables: Vec<Digest>,
    /// What the author knew of such columns.
    pub schemes: SchemesKnown,
    /// Whether everything on the timeline was touched.
    pub everything: bool,
    /// See [`Standing::mark`].
    pub mark: Option<Vec<u8>>,
    /// How it is announced: a step on `app`. Its epoch and positions are those of its author; the
    /// store gives it a place in the line.
    pub announced: Option<Announced>,
}

/// Where a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// After this position, so that a store which stands earlier has missed something.
    After(Position),
    /// With a new life of the timeline, in place of that one; `None` is one that its author has
    /// never heard of. Whoever names another one than the store is in comes too late.
    Anew(Option<Epoch>),
}

/// How much one cache knows of the schemes of a store: see [`Dependency::scheme`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemesKnown {
    /// In which life of the line of announcements.
    pub epoch: Epoch,
    /// How many.
    pub count: usize,
}

impl SchemesKnown {
    /// None, in no life.
    pub const NONE: Self = Self { epoch: Epoch::VOID, count: 0 };

    /// What both know.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let is_same = self.epoch == other.epoch;
        if is_same { Self { count: self.count.min(other.count), ..self } } else { Self::NONE }
    }
}

/// Whether where the store stands is on the log that the author of steps follows; asked inside the
/// transaction that carries them out. It may take short locks and must not call the store.
pub type Knows = Arc<dyn Fn(&Standing) -> bool + Send + Sync>;

/// What became of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The place of the one that was announced.
    pub place: Option<Cursor>,
    /// Where the store stands on timelines on which a step was refused: in another life, or at a
    /// place that is not known to be on the same log; in [`Epoch::VOID`] where it stands nowhere,
    /// so that only a new life can begin. Nothing of these was applied.
    pub refused: Vec<Standing>,
}

/// A store that applies changes to what it keeps.
///
/// **Invariant**: every record that it gives, and whose stamp on a timeline is of the store's
/// epoch and not below its floor, reflects that timeline up to the store's position.
///
/// It may be in several parts, each of which stands somewhere by itself, in the same words: with a
/// record goes where its part stands. A part that a step did not come to stands before it.
///
/// # Implementations must
/// - write a record only if its judge says so, and no announcement reaches it that others made
///   beyond what the judge knew, in one transaction with the question;
/// - in one transaction mark what a step touches and move the position; refuse to skip a gap: a
///   store that stands before the beginning of a step moves its floor to the end of it; refuse a
///   step of another life, and one that would move a position which its author does not know;
/// - mark by tables where a step's author did not know all schemes;
/// - give a step on `app` the next place in the line of announcements, in the transaction that
///   marks what it touches; begin a new life of the line where the store is in another one;
/// - carry out steps and writes in the order in which they were asked for;
/// - make a step on `app` durable before it is answered.
pub trait TrackedStore: fmt::Debug + Send + Sync + 'static {
    /// The record under `key` of `region` and where the store stands, from one snapshot.
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<FoundRecord>, Error>>;

    /// Puts `record` under `key` of `region`, if it is right and its fence allows it.
    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Written, Error>>;

    /// Carries out `steps`, those that are not refused or none. In a store of several parts it is
    /// enough that one of them has what is announced, from which the others are told the rest.
    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>>;

    /// What was announced since `since`, by a cache that knows so many schemes of the store.
    ///
    /// # Cost
    /// Where nothing was: one small read.
    fn look(&self, since: Cursor, schemes: usize) -> BoxFuture<'static, Result<Look, Error>>;

    /// As [`Claims::next_commit`].
    fn next_commit(&self) -> BoxFuture<'static, ()>;
}

impl fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("bytes", &self.bytes.len())
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
