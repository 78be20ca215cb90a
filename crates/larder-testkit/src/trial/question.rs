//! The questions: what readers ask, as keys of the regions, and how often each.
//!
//! Apart from the readers, because the loaders and the checker must mean the same by a question.
//! **Invariant**: which entries a question is built from, and what each of them answers, is said
//! by the question alone.

use larder::{Key, KeyDecoder, KeyEncoder};

use super::{
    database::{BUCKETS, ITEMS},
    told::{self, ROWS_TOLD},
    writer::{CROWDED, HOT},
};
use crate::{
    history::{Ask, Kind, Order},
    random::Random,
};

/// Entries that depend on the crowded row.
const CROWD: u64 = 400;

/// The same in a node that keeps a store.
const CROWD_KEPT: u64 = 12;

/// Rows that are read where one life of such a node follows another.
const LASTING: i64 = 32;

/// Parents of each shape.
const PARENTS: u64 = 6;

/// A question that one entry answers from the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) ask: Ask,
    pub(super) how: How,
    /// Makes many entries of one question.
    pub(super) salt: u64,
}

/// How an entry comes to know what it depends on; rows of which one is told are always named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The origin says it with the answer.
    Asked,
    /// The same, with half a millisecond of work in the statement.
    Slow,
    /// The loader names it.
    Named,
}

/// A key of the regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// One entry.
    Leaf(Leaf),
    /// Built from two entries.
    Pair([Leaf; 2]),
    /// Built from the pair of the first two, and the third.
    Deep([Leaf; 3]),
    /// Built from the pair of the first two, and the pair of the first and the third.
    Diamond([Leaf; 3]),
}

impl Question {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Leaf(leaf) => leaf.ask.kind(),
            Self::Pair(_) => Kind::Nested,
            Self::Deep(_) => Kind::Deep,
            Self::Diamond(_) => Kind::Diamond,
        }
    }

    /// What the parts of the answer are answers to.
    pub(super) fn asks(&self) -> impl Iterator<Item = Ask> {
        let leaves = match *self {
            Self::Leaf(one) => [Some(one), None, None, None],
            Self::Pair([one, two]) => [Some(one), Some(two), None, None],
            Self::Deep([one, two, three]) => [Some(one), Some(two), Some(three), None],
            Self::Diamond([one, two, three]) => [Some(one), Some(two), Some(one), Some(three)],
        };
        leaves.into_iter().flatten().map(|leaf| leaf.ask)
    }

    /// The entries it is built from.
    pub(super) fn children(&self) -> [Self; 2] {
        match *self {
            Self::Leaf(leaf) => [Self::Leaf(leaf), Self::Leaf(leaf)],
            Self::Pair([one, two]) => [Self::Leaf(one), Self::Leaf(two)],
            Self::Deep([one, two, three]) => [Self::Pair([one, two]), Self::Leaf(three)],
            Self::Diamond([one, two, three]) => [Self::Pair([one, two]), Self::Pair([one, three])],
        }
    }

    /// Any question to node `node`.
    pub(super) fn random(random: &mut Random, node: usize) -> Self {
        let which = random.below(32);
        if (24..).contains(&which) {
            // One of few, so that parents are found in memory and children are shared.
            return Self::parent(which, &mut Random::new(random.below(PARENTS)), node);
        }
        match which {
            0..14 => Self::Leaf(origin_leaf(random)),
            14..19 => Self::Leaf(told_leaf(random, node)),
            _ => Self::Leaf(Leaf { how: How::Named, ..any_leaf(random, BUCKETS, 0) }),
        }
    }

    fn parent(which: u64, random: &mut Random, node: usize) -> Self {
        let mut leaf = || match random.below(4) {
            0 => told_leaf(random, node),
            _ => Leaf { how: How::Named, ..quiet(random) },
        };
        match which {
            24..28 => Self::Pair([leaf(), leaf()]),
            28..30 => Self::Deep([leaf(), leaf(), leaf()]),
            _ => Self::Diamond([leaf(), leaf(), leaf()]),
        }
    }

    /// Any question about rows that node `node` tells of and that one entry answers.
    pub(super) fn random_told(random: &mut Random, node: usize) -> Self {
        Self::Leaf(told_leaf(random, node))
    }

    /// A question to a node that keeps a store, with what `node` is told of: mostly one of few,
    /// whose answers last long enough to be found there.
    pub(super) fn random_kept(random: &mut Random, node: usize) -> Self {
        match random.below(8) {
            0 => Self::random(random, node),
            1 => {
                let (which, one) = (random.below(8), random.below(PARENTS));
                Self::parent(24 + which, &mut Random::new(one), node)
            }
            2 => Self::Leaf(told_leaf(random, node)),
            3 | 4 => {
                let ask = Ask::Row(HOT + number(random, LASTING));
                Self::Leaf(Leaf { ask, how: How::Asked, salt: 0 })
            }
            _ => {
                let salt = random.below(CROWD_KEPT);
                Self::Leaf(Leaf { ask: Ask::Row(CROWDED), how: How::Asked, salt })
            }
        }
    }

    /// What a node that keeps a store is asked where one life follows another: rows that change
    /// some times in a second, so that the answer lasts until then and not much longer.
    pub(super) fn lasting() -> impl Iterator<Item = Self> {
        let row = |id| Leaf { ask: Ask::Row(id), how: How::Asked, salt: 0 };
        let parents = (HOT..HOT + LASTING).step_by(8).flat_map(move |id| {
            let children = [row(id), row(id + 1), row(id + 2)];
            let [one, two, _] = children;
            [Self::Pair([one, two]), Self::Deep(children), Self::Diamond(children)]
        });
        (HOT..HOT + LASTING).map(row).map(Self::Leaf).chain(parents)
    }

    /// The same of rows of which node `node` is told.
    pub(super) fn lasting_told(node: usize) -> impl Iterator<Item = Self> {
        let row = |id| Leaf { ask: Ask::Row(id), how: How::Named, salt: 0 };
        let base = told::base(node);
        (base..base + ROWS_TOLD).map(row).map(Self::Leaf)
    }

    /// Any question to the origin that one entry answers.
    pub(super) fn random_origin(random: &mut Random) -> Self {
        Self::Leaf(origin_leaf(random))
    }
}

fn number(random: &mut Random, bound: i64) -> i64 {
    random.below(bound.cast_unsigned()).cast_signed()
}

fn origin_leaf(random: &mut Random) -> Leaf {
    let asked = |ask| Leaf { ask, how: How::Asked, salt: 0 };
    match random.below(20) {
        0..8 => asked(Ask::Row(number(random, HOT))),
        8..10 => asked(Ask::Row(number(random, ITEMS))),
        10..13 => asked(Ask::Bucket(number(random, BUCKETS))),
        13..15 => Leaf { how: How::Slow, ..asked(Ask::Row(number(random, HOT))) },
        _ => Leaf { salt: random.below(CROWD), ..asked(Ask::Row(CROWDED)) },
    }
}

/// Something that does not change all the time.
fn quiet(random: &mut Random) -> Leaf {
    let ask = match random.below(4) {
        0 | 1 => Ask::Row(HOT + number(random, 3)),
        2 => Ask::Bucket(number(random, 2)),
        _ => Ask::Page { bucket: number(random, 2), order: Order::ById, limit: 3 },
    };
    Leaf { ask, how: How::Asked, salt: 0 }
}

fn told_leaf(random: &mut Random, node: usize) -> Leaf {
    match random.below(3) {
        0 => {
            let ask = Ask::Row(told::base(node) + number(random, ROWS_TOLD));
            Leaf { ask, how: How::Named, salt: 0 }
        }
        _ => any_leaf(random, told::BUCKETS_TOLD, told::base(node)),
    }
}

fn any_leaf(random: &mut Random, buckets: i64, base: i64) -> Leaf {
    let bucket = base + number(random, buckets);
    let ask = match random.below(5) {
        0 => Ask::Row(base + number(random, HOT)),
        1 => Ask::Bucket(bucket),
        2 => Ask::Range { low: bucket, high: bucket + number(random, 3) },
        3 => Ask::Page { bucket, order: Order::ById, limit: 3 },
        _ => Ask::Page { bucket, order: Order::Newest, limit: 2 },
    };
    Leaf { ask, how: How::Named, salt: 0 }
}

/// A leaf in numbers: how, what, two numbers of the question, salt.
type Code = (u8, u8, i64, i64, u64);

impl Leaf {
    fn code(self) -> Code {
        let length = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
        let (what, one, two) = match self.ask {
            Ask::Row(id) => (0, id, 0),
            Ask::Bucket(bucket) => (1, bucket, 0),
            Ask::Range { low, high } => (2, low, high),
            Ask::Page { bucket, order: Order::ById, limit } => (3, bucket, length(limit)),
            Ask::Page { bucket, order: Order::Newest, limit } => (4, bucket, length(limit)),
        };
        (self.how as u8, what, one, two, self.salt)
    }

    fn of((how, what, one, two, salt): Code) -> Option<Self> {
        let page =
            |order| Some(Ask::Page { bucket: one, order, limit: usize::try_from(two).ok()? });
        let ask = match what {
            0 => Ask::Row(one),
            1 => Ask::Bucket(one),
            2 => Ask::Range { low: one, high: two },
            3 => page(Order::ById)?,
            4 => page(Order::Newest)?,
            _ => return None,
        };
        let how = [How::Asked, How::Slow, How::Named].get(usize::from(how)).copied()?;
        Some(Self { ask, how, salt })
    }
}

impl Key for Question {
    fn encode(&self, out: &mut KeyEncoder) {
        let (shape, leaves): (u8, &[Leaf]) = match self {
            Self::Leaf(leaf) => (0, std::slice::from_ref(leaf)),
            Self::Pair(leaves) => (1, leaves),
            Self::Deep(leaves) => (2, leaves),
            Self::Diamond(leaves) => (3, leaves),
        };
        shape.encode(out);
        leaves.iter().for_each(|leaf| leaf.code().encode(out));
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        let shape = u8::decode(from)?;
        let mut leaf = || Leaf::of(Code::decode(from)?);
        Some(match shape {
            0 => Self::Leaf(leaf()?),
            1 => Self::Pair([leaf()?, leaf()?]),
            2 => Self::Deep([leaf()?, leaf()?, leaf()?]),
            3 => Self::Diamond([leaf()?, leaf()?, leaf()?]),
            _ => return None,
        })
    }
}
