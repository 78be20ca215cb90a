//! What readers ask, which rows belong to the answer, and what kind of entry gives it.
//!
//! Apart from the notes, because the checker and the readers must mean the same by a question.
//! **Invariant**: whether a row belongs to an answer is decided by the row and the answer alone.

use std::sync::Arc;

use super::{Micros, Read, Written};

/// Rows and buckets from here on are known to one process only, which tells of their changes; those
/// below are in the origin.
pub const TOLD: i64 = 1_000;

/// A question about rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "history", derive(serde::Serialize, serde::Deserialize))]
pub enum Ask {
    /// The row with this id.
    Row(i64),
    /// All rows of this bucket.
    Bucket(i64),
    /// All rows of the buckets from `low` to `high`.
    Range {
        /// The first bucket.
        low: i64,
        /// The last bucket.
        high: i64,
    },
    /// The first `limit` rows of a bucket.
    Page {
        /// The bucket.
        bucket: i64,
        /// What comes first.
        order: Order,
        /// Rows of a full page.
        limit: usize,
    },
}

/// In which order a page is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "history", derive(serde::Serialize, serde::Deserialize))]
pub enum Order {
    /// The smallest id first.
    ById,
    /// The highest version first; of equal ones the smallest id.
    Newest,
}

/// An answer, or the part of one that came from one entry: rows with their versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "history", derive(serde::Serialize, serde::Deserialize))]
pub struct Part {
    /// What it answers.
    pub ask: Ask,
    /// The rows, in the order of the answer.
    pub seen: Vec<(i64, u64)>,
}

/// A value as regions of the history test keep it.
pub type Answer = Arc<Vec<Part>>;

/// What an entry was built from. A new kind needs its line here, in [`Kind::ALL`], and a question
/// of the readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One row, by its id.
    Id,
    /// The rows with one value.
    Scope,
    /// The rows with a value in a range.
    Range,
    /// The first rows of an order.
    Page,
    /// Two other entries.
    Nested,
    /// An entry and an entry that is nested itself.
    Deep,
    /// Two nested entries with one child in common.
    Diamond,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Id, Self::Scope, Self::Range, Self::Page, Self::Nested, Self::Deep, Self::Diamond];
}

impl Ask {
    /// The kind of an entry that answers this alone.
    pub fn kind(self) -> Kind {
        match self {
            Self::Row(_) => Kind::Id,
            Self::Bucket(_) => Kind::Scope,
            Self::Range { .. } => Kind::Range,
            Self::Page { .. } => Kind::Page,
        }
    }

    /// Whether it is about rows of which one process tells.
    pub fn is_told(self) -> bool {
        match self {
            Self::Row(number) | Self::Bucket(number) => TOLD <= number,
            Self::Range { low, .. } => TOLD <= low,
            Self::Page { bucket, .. } => TOLD <= bucket,
        }
    }

    /// Whether the row as `commit` left it meets the conditions of the question.
    pub(super) fn matches(self, commit: &Written) -> bool {
        match self {
            Self::Row(id) => commit.row == id && commit.bucket.is_some(),
            Self::Bucket(bucket) | Self::Page { bucket, .. } => commit.bucket == Some(bucket),
            Self::Range { low, high } => {
                commit.bucket.is_some_and(|bucket| (low..=high).contains(&bucket))
            }
        }
    }

    /// The questions about a row or a bucket that it covers: what changes one of these is close.
    pub(super) fn covers(self) -> impl Iterator<Item = Self> {
        let (row, buckets) = match self {
            Self::Row(_) => (Some(self), None),
            Self::Bucket(bucket) | Self::Page { bucket, .. } => (None, Some(bucket..=bucket)),
            Self::Range { low, high } => (None, Some(low..=high)),
        };
        row.into_iter().chain(buckets.into_iter().flatten().map(Self::Bucket))
    }
}

impl Part {
    /// Whether an answer with these rows is right to leave out the row as `commit` left it.
    pub(super) fn leaves_out(&self, commit: &Written) -> bool {
        !self.ask.matches(commit) || self.ends_before(commit)
    }

    /// Whether the page is full before it comes to the row.
    fn ends_before(&self, commit: &Written) -> bool {
        let Ask::Page { order, limit, .. } = self.ask else { return false };
        let Some((row, version)) = self.seen.last().filter(|_| limit <= self.seen.len()) else {
            return false;
        };
        match order {
            Order::ById => *row < commit.row,
            Order::Newest => {
                commit.version < *version || (commit.version == *version && *row < commit.row)
            }
        }
    }
}

impl Read {
    /// From when on commits on the rows of `ask` need not be in the answer.
    pub(super) fn includes(&self, ask: Ask) -> Micros {
        if ask.is_told() { self.includes_told } else { self.includes_origin }
    }
}
