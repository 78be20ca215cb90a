//! The store: an L2 tier that keeps records for more than one process or one life.
//!
//! Bytes in, bytes out: it decides nothing, because every decision is made by whoever reads the
//! record. **Invariant**: a store may lose, reorder or duplicate records; that costs a load and
//! never shows an old value.

use std::{fmt, sync::Arc};

use crate::{
    BoxFuture,
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

    /// Takes the store's timelines over for one cache, if it has any. Called once for each cache,
    /// before it reads; it may block for as long as a commit takes.
    ///
    /// # Errors
    /// `Conflict` when another cache has them; `Unavailable` and the like when the store does not
    /// answer.
    fn attach(&self) -> Result<Option<Attached>, Error> {
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

/// The timelines of a store, in the hands of one cache. Dropping `tracked` hands them back.
#[derive(Debug)]
pub struct Attached {
    /// Where tracked records are read and written.
    pub tracked: Arc<dyn TrackedStore>,
    /// Where the store stands on each timeline; on `app` always.
    pub standings: Vec<Standing>,
    /// What was registered when the records were written: see [`Dependency::scheme`].
    pub schemes: Vec<Dependency>,
}

/// Where a store stands on one timeline.
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

/// The question that a store asks before it writes a record, with where it stands.
pub type IsRight = Box<dyn FnOnce(&[Standing]) -> bool + Send>;

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
    pub is_right: IsRight,
    /// What else the write is subject to.
    pub fence: Fence,
}

/// Moves a store along one timeline.
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
    /// Whether everything on the timeline was touched.
    pub everything: bool,
    /// See [`Standing::mark`].
    pub mark: Option<Vec<u8>>,
}

/// Where a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// After this position, so that a store which stands earlier has missed something.
    After(Position),
    /// With a new life of the timeline.
    Anew,
}

/// A store that applies changes to what it keeps.
///
/// **Invariant**: every record that it gives, and whose stamp on a timeline is of the store's
/// epoch and not below its floor, reflects that timeline up to the store's position.
///
/// # Implementations must
/// - write a record only if `is_right` says so, in one transaction with the question;
/// - in one transaction mark what a step touches and move the position; refuse to skip a gap: a
///   store that stands before the beginning of a step moves its floor to the end of it;
/// - carry out steps and writes in the order in which they were asked for;
/// - make a step on `app` durable before it is answered;
/// - refuse both with `Conflict` once another cache was attached.
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

    /// Carries out `steps`, all of them or none.
    fn apply(&self, steps: Vec<Step>) -> BoxFuture<'static, Result<(), Error>>;
}

impl fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("bytes", &self.bytes.len())
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
