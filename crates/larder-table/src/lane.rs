//! The lane: what can be done by one index, whatever its keys are.
//!
//! Windows, invalidations and loads each name an index; the table deals with them by its number and
//! through this. It stands apart from the index, which is content of one moment, because a lane
//! stays the same for the life of the table. **Invariant**: ranges that are handed to a lane are of
//! the type of its keys, because only a typed index makes them.

use std::{any::Any, fmt, sync::Arc};

use larder_core::{BoxFuture, Error};

use crate::{
    content::Content,
    index::{IndexKey, Keys, Spec},
    measure::Measure,
    origin::{Fill, Loader},
    ranges::{Cut, Ranges, Side},
    record::Record,
    tree::Tree,
};

/// Ranges of keys of some type.
pub(crate) trait AnyRanges: Any + Send + Sync + fmt::Debug {
    fn is_empty(&self) -> bool;
    fn union(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges>;
    fn intersection(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges>;
    fn without(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges>;
    fn touches(&self, other: &dyn AnyRanges) -> bool;
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

/// The ranges as those of `K`.
pub(crate) fn typed<K: IndexKey>(ranges: &dyn AnyRanges) -> &Ranges<K> {
    ranges.as_any().downcast_ref().expect("ranges are of the type of their index")
}

impl<K: IndexKey> AnyRanges for Ranges<K> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn union(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges> {
        Arc::new(self.union(typed(other)))
    }

    fn intersection(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges> {
        Arc::new(self.intersection(typed(other)))
    }

    fn without(&self, other: &dyn AnyRanges) -> Arc<dyn AnyRanges> {
        Arc::new(self.without(typed(other)))
    }

    fn touches(&self, other: &dyn AnyRanges) -> bool {
        self.touches(typed(other))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// An index and how records are loaded by it, if they can be.
pub(crate) struct Lane<R: Record, K, M> {
    pub(crate) spec: Arc<Spec<R, K, M>>,
    pub(crate) place: usize,
    pub(crate) loader: Option<Loader<R, K>>,
}

/// The same, whatever its keys are.
pub(crate) trait AnyLane<R: Record>: Send + Sync {
    fn name(&self) -> &str;

    fn can_load(&self) -> bool;

    /// Whether a record may have several keys.
    fn has_many(&self) -> bool;

    /// Begins to load what has keys in `ranges`; `None` without a loader.
    fn load(
        &self,
        ranges: &dyn AnyRanges,
        fill: Fill<R>,
    ) -> Option<BoxFuture<'static, Result<(), Error>>>;

    /// The records in `content` that have a key in `ranges`, each once.
    fn within(&self, content: &Content<R>, ranges: &dyn AnyRanges) -> Vec<Arc<R>>;

    /// How many entries of the index lie in `ranges`.
    fn count(&self, content: &Content<R>, ranges: &dyn AnyRanges) -> usize;

    /// Whether `record` has a key in `ranges`.
    fn holds(&self, ranges: &dyn AnyRanges, record: &R) -> bool;

    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<R: Record, K: IndexKey, M: Measure<R>> AnyLane<R> for Lane<R, K, M> {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn can_load(&self) -> bool {
        self.loader.is_some()
    }

    fn has_many(&self) -> bool {
        self.spec.keys.are_many()
    }

    fn load(
        &self,
        ranges: &dyn AnyRanges,
        fill: Fill<R>,
    ) -> Option<BoxFuture<'static, Result<(), Error>>> {
        let loader = self.loader.as_ref()?;
        Some(loader(typed::<K>(ranges).clone(), fill))
    }

    fn within(&self, content: &Content<R>, ranges: &dyn AnyRanges) -> Vec<Arc<R>> {
        let ranges = typed::<K>(ranges);
        let ordered = content.index::<K, M>(self.place).expect("the lane of this index");
        let mut found: Vec<Arc<R>> = Vec::new();
        for (from, to) in stretches(&ordered.tree, ranges) {
            for (key, record) in ordered.tree.rows(from, to) {
                if is_first(&self.spec.keys, ranges, key, record) {
                    found.push(record.clone());
                }
            }
        }
        found
    }

    fn count(&self, content: &Content<R>, ranges: &dyn AnyRanges) -> usize {
        let ordered = content.index::<K, M>(self.place).expect("the lane of this index");
        let stretches = stretches(&ordered.tree, typed::<K>(ranges));
        stretches.into_iter().map(|(from, to)| to.saturating_sub(from)).sum()
    }

    fn holds(&self, ranges: &dyn AnyRanges, record: &R) -> bool {
        let ranges = typed::<K>(ranges);
        self.spec.keys.any(record, |key| ranges.contains(key))
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// The ranks between which the keys of each range stand.
pub(crate) fn stretches<R, K: IndexKey, M: Measure<R>>(
    tree: &Tree<K, R, M>,
    ranges: &Ranges<K>,
) -> Vec<(usize, usize)> {
    let rank = |cut: &Cut<K>| match cut {
        Cut::Start => 0,
        Cut::At(key, Side::Before) => tree.rank(|own| own < key),
        Cut::At(key, Side::Behind) => tree.rank(|own| own <= key),
        Cut::End => tree.len(),
    };
    ranges.cuts().iter().map(|(low, high)| (rank(low), rank(high))).collect()
}

/// Whether `key` is the first of the keys of `record` that lie in `ranges`: a record that has
/// several of them is read once.
pub(crate) fn is_first<R, K: IndexKey>(
    keys: &Keys<R, K>,
    ranges: &Ranges<K>,
    key: &K,
    record: &R,
) -> bool {
    let Keys::Many(_) = keys else { return true };
    !keys.any(record, |other| other < key && ranges.contains(other))
}
