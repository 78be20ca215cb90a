//! Gates: what all entries stamped on the same set of timelines have in common.
//!
//! They stand apart from marks because they are few and answer for many: one bump of a life ends
//! every entry behind the gate, and one word says since when everything is known on all of its
//! timelines. **Invariant**: a life only grows, and `proven_since` is never later than the earliest
//! proof among the gate's timelines (`app` counts as always proven until it is proven for the first
//! time: where no other node can invalidate on it, whoever does has told this one).

use larder_core::{Moment, Name, timeline::APP};

use crate::{
    chunks::Chunks,
    entry::{Cause, Invalidation},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// A gate and its life at one moment. An entry filled under it is valid only while that life lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

/// Bits of a pass that hold the life; the rest hold the gate.
const LIFE_BITS: u32 = 48;
/// Distinct sets of timelines told apart. Sets beyond share the widest gate, which is safe: it is
/// shut by any timeline and never proven. A cache has a handful; finding one is a walk.
const GATES_MAX: usize = 4096;
/// The gate that stands for every timeline.
const WIDEST: u32 = 0;

impl Pass {
    fn new(gate: u32, life: u64) -> Self {
        Self(u64::from(gate) << LIFE_BITS | life)
    }

    #[inline]
    fn gate(self) -> u32 {
        (self.0 >> LIFE_BITS) as u32
    }

    #[inline]
    fn life(self) -> u64 {
        self.0 & ((1 << LIFE_BITS) - 1)
    }
}

#[derive(Debug)]
struct Gate {
    life: AtomicU64,
    proven_since: AtomicU64,
    last_shut: Mutex<Option<Invalidation>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            life: AtomicU64::new(0),
            proven_since: AtomicU64::new(Moment::EARLIEST.as_micros()),
            last_shut: Mutex::new(None),
        }
    }
}

/// All gates of a tier.
#[derive(Debug)]
pub(crate) struct Gates {
    table: Chunks<Gate>,
    known: RwLock<Known>,
}

/// Which gate stands for which timelines; the widest one is at the front and names none.
#[derive(Debug)]
struct Known {
    sets: Vec<Vec<Name>>,
    proofs: Vec<(Name, Moment)>,
}

impl Known {
    fn proof(&self, timeline: &str) -> Moment {
        let proof = self.proofs.iter().find(|(name, _)| &**name == timeline);
        let unproven = if timeline == APP { Moment::NEVER } else { Moment::EARLIEST };
        proof.map_or(unproven, |(_, moment)| *moment)
    }

    fn find(&self, set: &[&str]) -> Option<usize> {
        self.sets.iter().skip(1).position(|own| own.iter().map(|n| &**n).eq(set.iter().copied()))
    }
}

impl Gates {
    pub(crate) fn new() -> Self {
        let table = Chunks::default();
        table.grow(WIDEST);
        Self { table, known: RwLock::new(Known { sets: vec![Vec::new()], proofs: Vec::new() }) }
    }

    /// The pass of an entry that is stamped on `timelines`, in any order, repeated or not.
    pub(crate) fn pass<'a>(&self, timelines: impl IntoIterator<Item = &'a str>) -> Pass {
        let mut set: Vec<&str> = timelines.into_iter().collect();
        set.sort_unstable();
        set.dedup();
        let found = self.known.read().find(&set);
        let gate = found.map_or_else(|| self.intern(&set), |place| gate_at(place + 1));
        Pass::new(gate, self.table.grow(gate).life.load(Ordering::Acquire))
    }

    #[cold]
    fn intern(&self, set: &[&str]) -> u32 {
        let mut known = self.known.write();
        if let Some(place) = known.find(set) {
            return gate_at(place + 1);
        }
        if GATES_MAX <= known.sets.len() {
            return WIDEST;
        }
        let gate = gate_at(known.sets.len());
        let proof = set.iter().map(|name| known.proof(name)).min().unwrap_or(Moment::NEVER);
        self.table.grow(gate).proven_since.store(proof.as_micros(), Ordering::Release);
        known.sets.push(set.iter().map(|name| Name::from(*name)).collect());
        gate
    }

    /// Whether the life of the pass lasts.
    pub(crate) fn admits(&self, pass: Pass) -> bool {
        self.proven_since(pass).is_some()
    }

    /// Everything before this moment is known on all timelines of the pass; `None` when the life of
    /// the pass has ended.
    #[inline(always)]
    pub(crate) fn proven_since(&self, pass: Pass) -> Option<Moment> {
        let gate = self.table.get(pass.gate())?;
        let proven = gate.proven_since.load(Ordering::Acquire);
        (gate.life.load(Ordering::Acquire) == pass.life()).then(|| Moment::from_micros(proven))
    }

    /// Everything on `timeline` before `moment` is known and applied.
    pub(crate) fn prove(&self, timeline: &str, moment: Moment) {
        let mut known = self.known.write();
        match known.proofs.iter_mut().find(|(name, _)| &**name == timeline) {
            Some((_, last)) if moment <= *last => return,
            Some((_, last)) => *last = moment,
            None => known.proofs.push((timeline.into(), moment)),
        }
        for (place, set) in known.sets.iter().enumerate() {
            // The widest gate names none, so it stays unproven: who knows what it stands for.
            if !set.iter().any(|name| &**name == timeline) {
                continue;
            }
            let proof = set.iter().map(|name| known.proof(name)).min();
            let micros = proof.unwrap_or(Moment::EARLIEST).as_micros();
            self.table.grow(gate_at(place)).proven_since.store(micros, Ordering::Release);
        }
    }

    /// Ends the life of every gate that stands for `timeline`.
    pub(crate) fn shut(&self, timeline: &str, cause: &Cause, at: Moment) {
        let known = self.known.read();
        for (place, set) in known.sets.iter().enumerate() {
            let gate = gate_at(place);
            if gate == WIDEST || set.iter().any(|name| &**name == timeline) {
                let gate = self.table.grow(gate);
                // The cause first: whoever sees the life ended finds out why.
                *gate.last_shut.lock() = Some(Invalidation { cause: cause.clone(), at });
                gate.life.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Why the gate of `pass` was shut last.
    pub(crate) fn last_shut(&self, pass: Pass) -> Option<Invalidation> {
        self.table.get(pass.gate())?.last_shut.lock().clone()
    }
}

fn gate_at(place: usize) -> u32 {
    u32::try_from(place).expect("gates are fewer than their maximum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_beyond_the_maximum_share_a_gate_that_any_timeline_shuts() {
        let gates = Gates::new();
        let names: Vec<String> = (0..GATES_MAX + 5).map(|n| format!("origin-{n}")).collect();
        let passes: Vec<Pass> = names.iter().map(|name| gates.pass([&**name])).collect();
        let (first, last) = (passes[0], passes[GATES_MAX + 4]);
        assert_eq!(last.gate(), WIDEST);
        let what = Cause { timeline: "t".into(), position: Default::default(), what: "x".into() };
        gates.shut("origin-7", &what, Moment::EARLIEST);
        assert!(gates.admits(first));
        assert!(!gates.admits(last));
        assert!(!gates.admits(passes[7]));
    }

    #[test]
    fn a_set_is_proven_as_far_as_its_least_proven_timeline() {
        let gates = Gates::new();
        gates.prove("shop", Moment::from_micros(10));
        let both = gates.pass(["shop", APP, "crm", "shop"]);
        assert_eq!(gates.proven_since(both), Some(Moment::EARLIEST));
        gates.prove("crm", Moment::from_micros(7));
        assert_eq!(gates.proven_since(both), Some(Moment::from_micros(7)));
        gates.prove("crm", Moment::from_micros(3));
        assert_eq!(gates.proven_since(both), Some(Moment::from_micros(7)));
        assert_eq!(gates.proven_since(gates.pass([APP])), Some(Moment::NEVER));
        assert_eq!(gates.pass([APP, "crm", "shop"]), both);
    }
}
