//! Verdicts: what a reader may have, a tier may keep, and a load may begin with.
//!
//! Each puts one question to all timelines; what the answer is for one of them is decided in
//! `larder-core`. **Invariant**: no two timelines are locked together, so an answer is of no common
//! moment, and whoever asks has noted before what it has to hold for.

use larder_core::{
    DependencySet, Stamp, Stamps,
    flight::{self, Arrival},
    history::Verdict,
};

use super::Node;
use crate::cache::Reads;

/// Whether a value was shown to reflect everything that was known when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Shown,
    /// Something was touched, or it is not remembered whether something was.
    NotShown,
}

impl Node {
    /// What is known at this moment, for a reader that arrives.
    pub(crate) fn arrival(&self) -> Arrival {
        let mut arrival = Arrival::default();
        for timeline in &self.timelines {
            arrival.note(&timeline.knowledge.lock().history);
        }
        arrival
    }

    /// Whether a reader that arrived at `arrival` may take a value with these stamps.
    pub(crate) fn may_take(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        arrival: &Arrival,
    ) -> bool {
        self.timelines.iter().all(|timeline| {
            let knowledge = timeline.knowledge.lock();
            flight::may_take(&knowledge.history, stamps, dependencies, arrival)
        })
    }

    /// Whether a value with these stamps still reflects everything this node knows.
    pub(crate) fn may_store(&self, stamps: &Stamps, dependencies: &DependencySet) -> bool {
        self.timelines.iter().all(|timeline| {
            let knowledge = timeline.knowledge.lock();
            flight::may_store(&knowledge.history, stamps, dependencies)
        })
    }

    /// The stamps of a value that is read at `arrival`, raised to the positions known then wherever
    /// nothing it depends on was touched up to there; and whether that is so on every timeline.
    ///
    /// # Callers must
    /// have noted the arrival before: what is applied between it and the question is answered for
    /// by the question, and what is applied after both lies beyond the stamps.
    pub(crate) fn validated(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        arrival: &Arrival,
    ) -> (Stamps, Validity) {
        let mut validity = Validity::Shown;
        let mut raised = Stamps::new();
        for stamp in stamps.iter() {
            let shown = self.timeline(&stamp.timeline).and_then(|timeline| {
                let history = &timeline.knowledge.lock().history;
                let (epoch, known) = arrival.known(&stamp.timeline)?;
                let verdict = history.verdict(stamp, dependencies, known);
                let is_shown = epoch == stamp.epoch && verdict == Verdict::Untouched;
                is_shown.then(|| Stamp { as_of: stamp.as_of.max(known), ..stamp.clone() })
            });
            if shown.is_none() {
                validity = Validity::NotShown;
            }
            raised.add(shown.unwrap_or_else(|| stamp.clone()));
        }
        (raised, validity)
    }

    /// Whether a load of `reads` that begins now would be stamped with all that was known at
    /// `arrival`. What is told on `app` is visible at once.
    pub(crate) fn may_begin(&self, arrival: &Arrival, reads: &Reads) -> bool {
        self.timelines
            .iter()
            .filter(|timeline| reads.includes(&timeline.name))
            .all(|timeline| flight::may_begin(&timeline.knowledge.lock().history, arrival))
    }

    /// Whether a record with these stamps lies below what is remembered, for the counter.
    pub(crate) fn is_forgotten(&self, stamps: &Stamps, dependencies: &DependencySet) -> bool {
        stamps.iter().any(|stamp| {
            self.timeline(&stamp.timeline).is_some_and(|timeline| {
                let history = &timeline.knowledge.lock().history;
                let verdict = history.verdict(stamp, dependencies, history.applied());
                verdict == Verdict::Forgotten
            })
        })
    }
}
