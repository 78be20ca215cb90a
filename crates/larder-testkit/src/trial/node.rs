//! A node: a cache with the regions of the history test, over a ground of its own.
//!
//! **Invariant**: every region answers every question in the same way; they differ in how fresh
//! they must be and who writes into them.

use std::{path::Path, sync::Arc, time::Duration};

use larder::{
    Cache, CacheBuilder, Error, Load, MemoryLimit, Region, RegionBuilder,
    sqlite::store::{SqliteStore, StoreOptions},
};

use super::{
    Tracking, Trouble,
    ground::{Common, Ground},
    question::Question,
};
use crate::history::Part;

/// How old knowledge may be where it need not be of this moment.
pub(super) const LAX: Duration = Duration::from_millis(100);

/// How long a stale value may be served.
const STALE: Duration = Duration::from_secs(5);

/// The memory of a node that keeps a store: for a part of what it is asked, so that the rest comes
/// from the store.
const SMALL_BYTES: u64 = 8 << 10;

/// What a node keeps its values in, besides memory.
#[derive(Clone, Copy)]
pub(super) enum Keeps<'a> {
    Nothing,
    /// In the store at this path, in so many files: the strict ones and the lax ones.
    Store(&'a Path, u32),
}

/// One node.
pub(super) struct Node {
    pub(super) cache: Cache,
    /// Asks the origin before every read.
    pub(super) strict: Regions,
    pub(super) lax: Regions,
    /// Values live for a moment and are then served as stale while they are loaded again.
    pub(super) brief: Regions,
    /// Values live until they are invalidated, and if softly, are served as stale.
    pub(super) soft: Regions,
    /// Values are computed by hand.
    pub(super) hand: Region<Question, Vec<Part>>,
    ground: Arc<Ground>,
}

/// Entries, entries built from those, and entries built from both.
pub(super) struct Regions {
    leaves: Region<Question, Vec<Part>>,
    pairs: Region<Question, Vec<Part>>,
    tops: Region<Question, Vec<Part>>,
}

type Builder = RegionBuilder<Question, Vec<Part>>;

impl Node {
    pub(super) async fn open(
        path: &Path,
        tracking: Tracking,
        common: Common,
        keeps: Keeps<'_>,
    ) -> Result<Self, Trouble> {
        let ground = Arc::new(Ground::open(path, tracking, common)?);
        let feed = ground.origin.feed().ok_or("the origin is tracked and has no feed")?;
        let (builder, kept) = keeps.begin().await?;
        let cache = builder.feed(feed).build()?;
        let regions =
            |name, limits: fn(Builder) -> Builder| Regions::build(&cache, &ground, name, limits);
        let keeping = |name, limits: fn(Builder) -> Builder| {
            Regions::build(&cache, &ground, name, move |one| kept(limits(one)))
        };
        let hand = named(&cache, "hand").never_expires().max_staleness(LAX).build()?;
        Ok(Self {
            strict: keeping("strict", |one| one.never_expires().max_staleness(Duration::ZERO))?,
            lax: keeping("lax", |one| one.never_expires().max_staleness(LAX))?,
            brief: regions("brief", |one| {
                let one = one.ttl(Duration::from_millis(2)).max_staleness(LAX);
                one.stale_while_revalidate(STALE)
            })?,
            soft: regions("soft", |one| {
                one.never_expires().max_staleness(LAX).stale_while_revalidate(STALE)
            })?,
            hand,
            cache,
            ground,
        })
    }

    /// Computes the value of `question` by hand and puts it into memory.
    pub(super) async fn compute(&self, question: Question) -> Result<(), Error> {
        let Question::Leaf(leaf) = question else { return Ok(()) };
        let begun = self.hand.begin(&question);
        let part = self.ground.load(leaf, begun.load()).await?;
        begun.finish(vec![part]).await.map(drop)
    }
}

impl Keeps<'_> {
    /// A cache to be built, and what is to be said of a region that it keeps.
    async fn begin(self) -> Result<(CacheBuilder, fn(Builder) -> Builder), Error> {
        match self {
            Self::Nothing => Ok((Cache::builder(), |one| one)),
            Self::Store(path, files) => {
                let options = StoreOptions::new().shards(files);
                let store = SqliteStore::open_with(path, options).await?;
                let builder = Cache::builder().memory(MemoryLimit::bytes(SMALL_BYTES));
                Ok((builder.store(store), |one| one.stored()))
            }
        }
    }
}

fn named(cache: &Cache, name: &str) -> Builder {
    let weigh = |parts: &Vec<Part>| {
        let bytes = |part: &Part| size_of::<Part>() + size_of_val(&part.seen[..]);
        parts.iter().map(bytes).sum()
    };
    cache.region_weighed(name, weigh)
}

impl Regions {
    fn build(
        cache: &Cache,
        ground: &Arc<Ground>,
        name: &str,
        limits: impl Fn(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let part = |part: &str| limits(named(cache, &format!("{name} {part}")));
        let ground = ground.clone();
        let leaves = part("leaves").loader(move |question: Question, load: Load| {
            let ground = ground.clone();
            async move {
                let Question::Leaf(leaf) = question else { return Ok(Vec::new()) };
                Ok::<_, Error>(vec![ground.load(leaf, &load).await?])
            }
        });
        let leaves = leaves.build()?;
        let below = [leaves.clone(), leaves.clone()];
        let pairs = part("pairs").loader(move |question, load| join(below.clone(), question, load));
        let pairs = pairs.build()?;
        let below = [leaves.clone(), pairs.clone()];
        let tops = part("tops").loader(move |question, load| join(below.clone(), question, load));
        Ok(Self { leaves, pairs, tops: tops.build()? })
    }

    /// The region that answers `question`.
    pub(super) fn of(&self, question: &Question) -> &Region<Question, Vec<Part>> {
        match question {
            Question::Leaf(_) => &self.leaves,
            Question::Pair(_) => &self.pairs,
            Question::Deep(_) | Question::Diamond(_) => &self.tops,
        }
    }
}

/// The parts of both children, the one of a leaf from the first region, others from the second.
async fn join(
    [leaves, pairs]: [Region<Question, Vec<Part>>; 2],
    question: Question,
    load: Load,
) -> Result<Vec<Part>, Error> {
    // Were nothing inherited, this alone would keep the entry for ever.
    load.tag("parents");
    let mut parts = Vec::new();
    for child in question.children() {
        let region = if matches!(child, Question::Leaf(_)) { &leaves } else { &pairs };
        parts.extend(load.get_or_load(region, &child).await?.iter().cloned());
    }
    Ok(parts)
}
