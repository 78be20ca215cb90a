//! Groups: counts, sums and extremes of the records that have something in common.
//!
//! A group is a stretch of an index over (group, number), whose tree keeps sums: so nothing is
//! counted when it is asked for. **Invariant**: the answer is that of a walk over the group.

use std::fmt;

use crate::{index::Index, measure::Number};

/// A grouping of the records of a table, made by [`crate::Definition::group`].
pub struct Group<R, G, N> {
    pub(crate) index: Index<R, (G, N)>,
}

impl<R, G, N> Clone for Group<R, G, N> {
    fn clone(&self) -> Self {
        Self { index: self.index.clone() }
    }
}

impl<R, G, N> fmt::Debug for Group<R, G, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.index.name()).finish()
    }
}

/// What is known of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate<N: Number> {
    /// Records in it.
    pub count: usize,
    /// The sum of their numbers.
    pub sum: N::Sum,
    /// The smallest number; `None` when there is none.
    pub min: Option<N>,
    /// The largest number.
    pub max: Option<N>,
}
