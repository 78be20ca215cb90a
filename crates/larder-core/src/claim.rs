//! Claims: a flight's record in a store, which makes the flight single across processes.
//!
//! Only the rules are here; the store keeps the records and the library flies. A process may die,
//! or be stopped and go on hours later, at any step. **Invariant**: of two loads of one key that
//! were claimed, what the earlier one loaded is never written over what the later one did.
//!
//! # Implementation notes
//!
//! 1. A finds nothing in the store and takes the claim of the key, with number 7. It loads.
//! 2. A is stopped. It gives no sign for [`LAPSE`], so that its claim has lapsed.
//! 3. B takes the claim over, with a number above 7. It loads what is newer by now, writes it, and
//!    gives the claim back in the same transaction.
//! 4. A goes on, and would write what it loaded at 1. Its claim is not there any more: refused.
//!
//! Whoever waits too long takes the claim from an owner that lives, by the same rule: its load
//! begins later. Between 1 and 2 A may also give back and be followed by B before B looked: so
//! whoever takes a claim looks into the store once more, if there is something under the key.

use std::time::Duration;

use crate::clock::WallMillis;

/// How often the owner of a claim gives a sign of life: one small write. Ten times more often it
/// would be a load on the store beside long loads, ten times less often [`LAPSE`] would be half a
/// minute.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long after the last sign a claim is given up. Three signs, so that one that is late on a
/// busy machine costs nothing; what is longer is waited for by all who come after a crash.
pub const LAPSE: Duration = Duration::from_secs(3);

/// The name under which an owner holds the claim of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Who holds it: random, one for each cache.
    pub owner: u64,
    /// The fencing number: for one key it only grows.
    pub number: u64,
}

/// A claim as a store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claimed {
    /// Whose it is.
    pub claim: Claim,
    /// Until here the last sign of life counts.
    pub beaten: WallMillis,
    /// It ends here, whatever signs are given.
    pub deadline: WallMillis,
    /// Owners that took it one after the other without giving it back; this one included.
    pub attempt: u32,
}

impl Claimed {
    /// When it lapses, if nothing more is heard.
    pub fn until(&self) -> WallMillis {
        self.beaten.min(self.deadline)
    }
}

/// What becomes of a claim that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    /// It stays where it is.
    Waits,
    /// It is taken over: who asks has waited long enough.
    Over,
}

/// The answer to who asks for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It is taken, in this attempt, with a number above this one.
    Take {
        /// See [`Claimed::attempt`].
        attempt: u32,
        /// The number of whoever had it before.
        above: u64,
    },
    /// Somebody holds it until then at least.
    Held(WallMillis),
}

/// Who gets a claim of which `record` is in the store, at `now`.
pub fn decide(record: Option<&Claimed>, patience: Patience, now: WallMillis) -> Decision {
    match record {
        None => Decision::Take { attempt: 1, above: 0 },
        Some(held) if now < held.until() && patience == Patience::Waits => {
            Decision::Held(held.until())
        }
        Some(left) => {
            Decision::Take { attempt: left.attempt.saturating_add(1), above: left.claim.number }
        }
    }
}

/// What a write into a store is subject to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// Nothing: the value was not loaded by a flight, or its flights are not claimed.
    Open,
    /// Nobody may hold the claim: the flight could not take it.
    Unclaimed,
    /// This claim must be held still, and is given back with the write.
    Held(Claim),
}

/// Whether a value may be written where the claim is `record`, at `now`.
pub fn may_write(record: Option<&Claimed>, fence: Fence, now: WallMillis) -> bool {
    match (fence, record) {
        (Fence::Open, _) | (Fence::Unclaimed, None) => true,
        (Fence::Unclaimed, Some(held)) => held.until() <= now,
        // A lapsed claim that nobody took over is still the newest.
        (Fence::Held(own), Some(held)) => held.claim == own,
        (Fence::Held(_), None) => false,
    }
}
