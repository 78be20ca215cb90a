//! Slack: how far a read may reach beyond the window and still be answered from memory.
//!
//! A window of the last day ends where the last step of its slide put it; reads up to "now" reach a
//! little further, and each would ask the origin for seconds in which there may be nothing. Slack
//! trades that for freshness, so it is declared by name and every answer that used it says so
//! (ruling X20). **Invariant**: an answer that cannot say so does not use it.

use std::{fmt, sync::Arc};

use crate::{
    index::IndexKey,
    lane::{AnyRanges, typed},
    ranges::{Cut, Ranges},
};

type Reach<K> = Arc<dyn Fn(&K) -> K + Send + Sync>;

/// How far reads may reach beyond the ends of the ranges of a window:
/// [`crate::Definition::slack`].
///
/// A closure gets a key at which a range of the window ends, and gives the key up to which it
/// counts as covered; one that lies within the window changes nothing.
pub struct Slack<K> {
    before: Option<Reach<K>>,
    behind: Option<Reach<K>>,
}

/// The window with its slack.
pub(crate) type Widened = Arc<dyn Fn(&dyn AnyRanges) -> Arc<dyn AnyRanges> + Send + Sync>;

impl<K: IndexKey> Slack<K> {
    /// Beyond the upper ends: `Slack::behind(|end| end + 20)`.
    pub fn behind(reach: impl Fn(&K) -> K + Send + Sync + 'static) -> Self {
        Self { before: None, behind: Some(Arc::new(reach)) }
    }

    /// Beyond the lower ends.
    pub fn before(reach: impl Fn(&K) -> K + Send + Sync + 'static) -> Self {
        Self { before: Some(Arc::new(reach)), behind: None }
    }

    /// Beyond the lower ends as well.
    #[must_use]
    pub fn and_before(mut self, reach: impl Fn(&K) -> K + Send + Sync + 'static) -> Self {
        self.before = Some(Arc::new(reach));
        self
    }

    fn widened(&self, window: &Ranges<K>) -> Ranges<K> {
        let reached = |cut: &Cut<K>, reach: &Option<Reach<K>>| match (cut, reach) {
            (Cut::At(key, side), Some(reach)) => Cut::At(reach(key), *side),
            (cut, _) => cut.clone(),
        };
        let cuts = window.cuts().iter();
        let wider =
            cuts.map(|(low, high)| (reached(low, &self.before), reached(high, &self.behind)));
        // Together, for what reaches the wrong way must not take anything from the window.
        window.union(&Ranges::of_cuts(wider.collect()))
    }

    pub(crate) fn erased(self) -> Widened {
        Arc::new(move |window| Arc::new(self.widened(typed::<K>(window))))
    }
}

impl<K> fmt::Debug for Slack<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack")
            .field("before", &self.before.is_some())
            .field("behind", &self.behind.is_some())
            .finish()
    }
}
