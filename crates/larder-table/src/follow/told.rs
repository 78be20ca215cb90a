//! What was told: a batch of changes, as far as the rules make something of it.
//!
//! Apart from the sink, which knows the feed: this only goes by one rule at a time. **Invariant**:
//! what a rule cannot tell is said to be so, and nothing of a change is kept by half.

use std::{collections::BTreeSet, sync::Arc};

use larder_core::change::RowChange;

use super::{
    Image,
    rules::{Place, Rule},
};
use crate::{content::PRIMARY, lane::AnyRanges, ranges::Ranges, record::Record, snapshot::Touched};

/// What a batch of changes comes to.
pub(crate) struct Told<R: Record> {
    /// The last state of each record that was told of.
    pub(crate) rows: Vec<(R::Key, Option<Arc<R>>)>,
    /// Each record as it was before.
    pub(crate) left: Vec<Arc<R>>,
    /// Primary keys of records of which only the origin can say how they are.
    pub(crate) doubted: BTreeSet<R::Key>,
    pub(crate) touched: Vec<Touched>,
    /// Everything is in doubt.
    pub(crate) everything: bool,
}

/// How much is known of a row by a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// All of it.
    Exact,
    /// That it may have changed so.
    Perhaps,
}

impl<R: Record> Default for Told<R> {
    fn default() -> Self {
        let (rows, left, touched) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, left, doubted: BTreeSet::new(), touched, everything: false }
    }
}

impl<R: Record> Told<R> {
    /// Names what is doubted by the primary key, if records can be loaded again by that; else
    /// everything is in doubt.
    pub(super) fn name_doubted(&mut self, can_load: impl FnOnce() -> bool) {
        if self.doubted.is_empty() {
            return;
        }
        let doubted = std::mem::take(&mut self.doubted);
        match can_load() {
            true => self.touch(PRIMARY, Arc::new(Ranges::only(doubted))),
            false => self.everything = true,
        }
    }

    /// Adds what a change means by one rule; `None` when that cannot be told.
    pub(super) fn add(
        &mut self,
        rule: &Rule<R>,
        change: &RowChange,
        certainty: Certainty,
    ) -> Option<()> {
        let images = [&change.old, &change.new];
        if images.iter().all(|values| values.is_none()) {
            return None;
        }
        let touches = match rule {
            Rule::Doubt => return None,
            Rule::Touch(Place { place, .. }, ranges) => (*place, ranges),
            Rule::Are(record, by_key) => {
                let made = images.map(|values| match values {
                    Some(values) => record(&Image { change, values }).map(Some),
                    None => Some(None),
                });
                match (made, certainty) {
                    // Both before either is told: half of a change is worse than none.
                    ([Some(old), Some(new)], Certainty::Exact) => {
                        self.replace(old, new);
                        return Some(());
                    }
                    ([Some(old), Some(new)], Certainty::Perhaps) => {
                        let both = [&old, &new].into_iter().flatten();
                        self.doubted.extend(both.map(Record::key));
                        // Also for what is told next: it may take the place of this one.
                        self.left.extend(old.map(Arc::new));
                        return Some(());
                    }
                    _ => (PRIMARY, by_key.as_ref()?),
                }
            }
        };
        let (place, ranges) = touches;
        for values in images.into_iter().flatten() {
            self.touch(place, ranges(&Image { change, values })?);
        }
        Some(())
    }

    /// What the feed says of a row after it was in doubt is how it is.
    fn replace(&mut self, old: Option<R>, new: Option<R>) {
        if let Some(old) = old {
            let key = old.key();
            self.doubted.remove(&key);
            self.rows.push((key, None));
            self.left.push(Arc::new(old));
        }
        if let Some(new) = new {
            let key = new.key();
            self.doubted.remove(&key);
            self.rows.push((key, Some(Arc::new(new))));
        }
    }

    fn touch(&mut self, place: usize, ranges: Arc<dyn AnyRanges>) {
        if ranges.is_empty() {
            return;
        }
        match self.touched.iter_mut().find(|touched| touched.place == place) {
            Some(touched) => touched.ranges = touched.ranges.union(&*ranges),
            None => self.touched.push(Touched { place, ranges }),
        }
    }
}
