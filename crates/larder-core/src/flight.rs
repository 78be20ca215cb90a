//! The rules of a shared load: who may take its result, and whether it may be stored.
//!
//! Only the rules are here; tasks, locks and wake-ups are the library's. **Invariant**: no reader
//! gets a value that misses a change which this node knew when the reader arrived.

use crate::{
    dependency::DependencySet,
    history::{History, Verdict},
    safeguard::Safeguard,
    timeline::{Epoch, Name, Position, Stamps},
};

/// What a node knew of its timelines when a reader arrived: one (epoch, applied) for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arrival(Vec<(Name, Epoch, Position)>);

impl Arrival {
    /// Notes what `history` knows.
    pub fn note(&mut self, history: &History) {
        self.0.push((history.timeline().clone(), history.epoch(), history.applied()));
    }

    /// What was known of `timeline`.
    pub fn known(&self, timeline: &str) -> Option<(Epoch, Position)> {
        let mut known = self.0.iter().filter(|(name, ..)| &**name == timeline);
        known.next().map(|(_, epoch, position)| (*epoch, *position))
    }
}

/// Whether a reader that arrived at `arrival` may take a result with `stamps` and `dependencies`,
/// as far as the timeline of `history` is concerned.
///
/// The interleaving this is for:
///
/// 1. Reader A finds nothing and starts a flight; it takes its stamps and reads the old row.
/// 2. The row changes; the node applies the change.
/// 3. Reader B arrives, finds the flight running and joins it.
/// 4. The flight ends with the old row. A may have it: the change came after A. B may not.
pub fn may_take(
    history: &History,
    stamps: &Stamps,
    dependencies: &DependencySet,
    arrival: &Arrival,
) -> bool {
    if Safeguard::JoinerChecked.is_off() {
        return true;
    }
    let Some((epoch, known)) = arrival.known(history.timeline()) else {
        // The reader knew nothing of this timeline, so it cannot be shown less than it knew.
        return true;
    };
    match stamps.get(history.timeline()) {
        None => !dependencies.reads(history.timeline()),
        // The stamp includes all that was known, even where it lies beyond what was received or
        // where the timeline came into doubt since.
        Some(stamp) if stamp.epoch == epoch && known <= stamp.as_of => true,
        Some(stamp) if stamp.epoch == epoch => {
            history.verdict(stamp, dependencies, known) == Verdict::Untouched
        }
        // The load began in a life that is younger than the reader; a feed starts one only where
        // everything it delivered before is visible. Positions of two lives are never compared.
        Some(stamp) => stamp.epoch == history.epoch(),
    }
}

/// Whether the stamps of a flight that begins now cover what a reader knew at `arrival`, as far as
/// the timeline of `history` is concerned.
///
/// A flight for readers to whom the last result was too old waits for this. Without it they could
/// get a second result that is too old, where a commit was received but is not yet visible:
///
/// 1. The node receives a commit that no load can see yet; its position is not confirmed.
/// 2. A reader arrives and knows of it; its flight is stamped before it, and is too old for it.
/// 3. A second flight at once would be stamped at the same position as the first.
pub fn may_begin(history: &History, arrival: &Arrival) -> bool {
    match arrival.known(history.timeline()) {
        Some((epoch, known)) if epoch == history.epoch() => known <= history.confirmed(),
        _ => true,
    }
}

/// Whether a result may be stored: nothing it depends on was touched up to now.
pub fn may_store(history: &History, stamps: &Stamps, dependencies: &DependencySet) -> bool {
    if Safeguard::FillChecked.is_off() {
        return true;
    }
    match stamps.get(history.timeline()) {
        None => !dependencies.reads(history.timeline()),
        Some(stamp) => {
            history.verdict(stamp, dependencies, history.applied()) == Verdict::Untouched
        }
    }
}
