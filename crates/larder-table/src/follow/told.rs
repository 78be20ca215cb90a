//! What was told: a batch of changes, as far as the rules make something of it.
//!
//! Apart from the sink, which knows the feed: this only goes by one rule at a time. **Invariant**:
//! what a rule cannot tell is said to be so, and nothing of a change is kept by half.

use std::sync::Arc;

use larder_core::change::RowChange;

use super::{
    Image,
    rules::{Place, Rule},
};
use crate::{record::Record, snapshot::Touched};

/// What a batch of changes comes to.
pub(crate) struct Told<R: Record> {
    /// The last state of each record that was told of.
    pub(crate) rows: Vec<(R::Key, Option<Arc<R>>)>,
    /// Each record as it was before.
    pub(crate) left: Vec<Arc<R>>,
    pub(crate) touched: Vec<Touched>,
    /// Everything is in doubt.
    pub(crate) everything: bool,
}

impl<R: Record> Default for Told<R> {
    fn default() -> Self {
        let (rows, left, touched) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, left, touched, everything: false }
    }
}

/// Adds what a change means by one rule; `None` when that cannot be told.
pub(super) fn tell<R: Record>(
    rule: &Rule<R>,
    change: &RowChange,
    told: &mut Told<R>,
) -> Option<()> {
    let images = [&change.old, &change.new];
    if images.iter().all(|values| values.is_none()) {
        return None;
    }
    match rule {
        Rule::Doubt => return None,
        Rule::Are(record) => {
            // Both before either is told: half of a change is worse than none.
            let [old, new] = images.map(|values| match values {
                Some(values) => record(&Image { change, values }).map(Some),
                None => Some(None),
            });
            let (old, new) = (old?, new?);
            told.rows.extend(old.iter().map(|old| (old.key(), None)));
            told.left.extend(old.map(Arc::new));
            told.rows.extend(new.map(|new| (new.key(), Some(Arc::new(new)))));
        }
        Rule::Touch(Place { place, .. }, ranges) => {
            for values in images.into_iter().flatten() {
                let ranges = ranges(&Image { change, values })?;
                if ranges.is_empty() {
                    continue;
                }
                match told.touched.iter_mut().find(|touched| touched.place == *place) {
                    Some(touched) => touched.ranges = touched.ranges.union(&*ranges),
                    None => told.touched.push(Touched { place: *place, ranges }),
                }
            }
        }
    }
    Some(())
}
