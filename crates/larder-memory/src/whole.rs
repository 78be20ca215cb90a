//! A hit for another entry: the value together with what it was built from.
//!
//! Apart from the hit of a reader in `shared.rs`, which never looks into the ledger. **Invariant**:
//! value, stamps and dependencies are of the same fill:
//!
//! 1. The slot gives the value and the mark of its fill.
//! 2. Another fill takes its place.
//! 3. The ledger is asked for the record of that mark: it has the record of step 1 or none, and
//!    none is a miss. Asked for the record of the *key*, it would give the dependencies of the
//!    second fill to the value of the first.

use std::any::Any;

use larder_core::{KeyRef, freshness::State};

use crate::{
    entry::{Found, Knowledge, Whole},
    shared::Shared,
};

impl Shared {
    pub(crate) fn whole<V>(&self, key: KeyRef<'_>, knowledge: Knowledge) -> Option<Whole<V>>
    where
        V: Any + Send + Sync,
    {
        let slot = self.engine.get(key)?;
        let firm = self.validity_of(&slot);
        // What was softened lives on, with deadlines of its own.
        let softened = if firm.is_none() { Some(self.softened(&slot)?) } else { None };
        let proven_since = firm.or_else(|| self.gates.proven_since(slot.pass))?;
        let (stamps, dependencies, deadlines) = self.ledger.with(slot.mark, |record| {
            let dependencies = record.dependencies.as_deref().cloned().unwrap_or_default();
            (record.stamps.clone(), dependencies, softened.unwrap_or(record.deadlines))
        })?;
        let now = self.now();
        let state = deadlines.state(now);
        if state == State::Expired {
            return None;
        }
        let proven = self.is_proven(proven_since, knowledge, now);
        let value = slot.value.downcast::<V>().ok()?;
        let (stored, fresh_until) = (deadlines.stored, deadlines.fresh_until);
        let found = Found { value, state, proven, stored, fresh_until };
        Some(Whole { found, stamps, dependencies })
    }
}
