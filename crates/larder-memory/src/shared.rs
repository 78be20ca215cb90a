//! Fill, hit and invalidate: the three operations whose order against each other is the promise.
//!
//! The parts in the other files are each simple; what must hold between them is here and in
//! `sweeper.rs`. **Invariant**: an entry ends by its mark, its gate or a pending item, and each of
//! these is set before the call that ends it returns.
//!
//! # Implementation notes
//!
//! *Fill against invalidation.* The filler (F) links, then asks whether the histories know a
//! change; the applier (A) appends to the history, then invalidates what is linked.
//!
//! 1. F links, A appends, A invalidates: A finds the link and ends the mark. F may publish a slot
//!    that is dead already, which no hit takes.
//! 2. A appends, F links, A invalidates: both see the other.
//! 3. A appends, A invalidates, F links: F asks after linking and finds the change.
//!
//! *Fill against the end of a life.* F takes its pass, then looks at the histories. Whoever shuts
//! the gate has changed the histories before: F's pass is of the old life and admits nothing, or F
//! sees the new histories.
//!
//! *Hit against the sweeper.* The applier announces a pending item; the sweeper ends the marks and
//! then retires the item. A hit therefore looks at the pending items first and at the mark second:
//!
//! 1. Hit finds the item: miss.
//! 2. Hit does not find it because it is retired: then the marks were ended before, and it sees
//!    that.
//! 3. Hit does not find it because it is not announced yet: `invalidate` has not returned.
//!
//! In the other order a hit could find the mark alive, be overtaken by the sweeper, and find the
//! item retired: a hit after `invalidate` returned.
//!
//! *Pending item against a later fill.* An item means what was linked before its ticket. The fill
//! takes its ticket before its first link; a link to a digest that was detached since is refused,
//! and the fill counts as overtaken. So the item means exactly the links that were detached. (When
//! all detached entries were evicted meanwhile, the memory of the detachment is gone with the last
//! of them: a fill of that very moment is then missed until the item is retired, and hit after.)
//!
//! *Soft invalidation.* It ends freshness instead of life: `soft.rs`. The links stay, so that a
//! hard invalidation finds the entry later. Whoever softens first moves the deadlines in the
//! record, then steps the mark; a hit looks at the mark first. So a hit that finds the mark stepped
//! reads the deadlines that were moved. Of many dependents a pending item says the same until the
//! sweeper has stepped every mark, by the argument of "Hit against the sweeper"; it walks the list
//! from its end, because links move towards the front when a list is packed:
//!
//! 1. The sweeper softens a piece from the beginning of the list.
//! 2. Other entries of that piece end; the list is packed, and what was behind the piece moves into
//!    its place.
//! 3. The sweeper goes on behind the piece, and passes over what has moved.
//!
//! From the end, what moves at step 2 was softened already. A fill that took its ticket before and
//! links after the item's own ticket is not in the piece; it asks the histories after that, and is
//! overtaken.
//!
//! *Fill against the burial of an entry that is not linked everywhere.* See `ledger::Stage`.
//!
//! *Fill against the burial of its own entry.* F publishes after its mark was ended and its record
//! was taken: nobody would ever remove that slot. So F looks at the mark once more after publishing
//! and removes the slot itself. Whoever buries ends the mark before he removes the slot; whichever
//! comes first, one of both removes it.
//!
//! LOCKS, in this order: a shard of links, then the list of pending items; a shard of the ledger,
//! then the list of pending items. No other two are held together, and none while a value is
//! dropped.

use std::any::Any;

use larder_core::{
    Clock, Digest, KeyRef, Mode, Moment, dependency::signature, freshness::State,
    safeguard::Safeguard,
};

use crate::{
    causes::Causes,
    engine::{Engine, EngineKey, Slot, Weight},
    entry::{
        Cause, Found, Inserted, Inspection, Invalidation, Knowledge, Lookup, MemoryLimit,
        MemoryStats, NewEntry,
    },
    gates::{Gates, Pass},
    ledger::{Ledger, Record, Stage},
    links::{Detached, Links},
    marks::{Mark, Marks},
    pending::Pending,
    sweeper::{Jobs, Sweep},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        sized,
    },
    weight,
};

/// Dependents that are ended on the caller's path, a few nanoseconds each. Ten times fewer would
/// wake the sweeper for lists that are cheaper to do; ten times more would show in the caller's
/// tail.
pub(crate) const INLINE_DEPENDENTS: usize = sized(64, 2);

/// Everything the tier's handles and its sweeper share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) limit: u64,
    pub(crate) engine: Engine,
    pub(crate) marks: Marks,
    pub(crate) gates: Gates,
    pub(crate) links: Links,
    pub(crate) pending: Pending,
    pub(crate) ledger: Ledger,
    pub(crate) causes: Causes,
    pub(crate) jobs: Jobs,
    pub(crate) counts: Counts,
    warned_too_large: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) evictions: AtomicU64,
    pub(crate) refused_too_large: AtomicU64,
    pub(crate) invalidated: AtomicU64,
    pub(crate) softened: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) swept: AtomicU64,
}

impl Counts {
    pub(crate) fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn new(limit: MemoryLimit, clock: Clock) -> Self {
        Self {
            clock,
            limit: limit.in_bytes(),
            engine: Engine::new(limit),
            marks: Marks::default(),
            gates: Gates::new(),
            links: Links::new(),
            pending: Pending::default(),
            ledger: Ledger::new(),
            causes: Causes::default(),
            jobs: Jobs::default(),
            counts: Counts::default(),
            warned_too_large: AtomicBool::new(false),
        }
    }

    pub(crate) fn insert(&self, entry: NewEntry, still_valid: impl FnOnce() -> bool) -> Inserted {
        let key = EngineKey::from(entry.key.clone());
        let weight = weight::of(&entry, &key);
        let bytes = weight.map_or(u64::MAX, Weight::bytes);
        let (Some(weight), true) = (weight, bytes <= self.engine.entry_limit()) else {
            return self.refuse(&key, bytes);
        };
        let mut dependencies = entry.dependencies;
        if Safeguard::DependenciesKeptOnRefill.is_off()
            && self.engine.peek(key.borrowed()).is_some()
        {
            dependencies = Default::default();
        }
        let signature = signature(dependencies.digests());
        let linked = self.pending.now();
        let record = Record {
            key: key.clone(),
            dependencies: (!dependencies.digests().is_empty()).then(|| Box::new(dependencies)),
            stamps: entry.stamps,
            deadlines: entry.deadlines,
            pass: entry.pass,
            linked,
            weight: bytes,
            stage: Stage::Linking,
        };
        let Some(mark) = self.link(record) else { return Inserted::Overtaken };
        if !self.gates.admits(entry.pass) || !still_valid() {
            self.bury(mark);
            return Inserted::Overtaken;
        }
        let slot = Slot {
            value: entry.value,
            mark,
            pass: entry.pass,
            signature,
            stored: entry.deadlines.stored,
            fresh_until: entry.deadlines.fresh_until,
            weight,
        };
        self.publish(&key, slot)
    }

    /// Enters the record and links it under each of its digests; `None` when one of them was
    /// invalidated in between.
    fn link(&self, record: Record) -> Option<Mark> {
        let linked = record.linked;
        let digests = record.digests().to_vec();
        let mark = self.ledger.open(Box::new(record), &self.marks);
        if let Err(Detached { done }) = self.links.link(&digests, mark, linked) {
            self.marks.kill(mark);
            if let Some(record) = self.ledger.take_back(mark) {
                self.unlink(mark, &record, done);
            }
            return None;
        }
        self.ledger.finish_linking(mark);
        // Whoever ended it meanwhile could not take the record; see `Stage`.
        if self.marks.is_alive(mark) {
            return Some(mark);
        }
        self.bury(mark);
        None
    }

    fn publish(&self, key: &EngineKey, slot: Slot) -> Inserted {
        let mark = slot.mark;
        let left = self.engine.put(key.clone(), slot);
        for (other, slot) in &left {
            if other != key || slot.mark == mark {
                Counts::add(&self.counts.evictions, 1);
            }
            self.bury(slot.mark);
        }
        if !Safeguard::MarkCheckedAfterFill.is_off() && !self.marks.is_alive(mark) {
            self.engine.remove_marked(key.borrowed(), mark);
        }
        Inserted::Stored
    }

    #[cold]
    fn refuse(&self, key: &EngineKey, weight: u64) -> Inserted {
        let limit = self.engine.entry_limit();
        Counts::add(&self.counts.refused_too_large, 1);
        if !self.warned_too_large.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                weight,
                limit,
                memory = self.limit,
                "an entry is too large for the memory tier and is not stored; said once, \
                 counted always; raise the memory limit or split the value"
            );
        }
        self.remove(key.borrowed());
        Inserted::TooLarge { weight, limit }
    }

    // What is found is taken apart at once and its type is settled first: one thin pointer and a
    // few words then stay in registers. Moved as a whole, the slot would be read in wide pieces
    // right after it was written in narrow ones, which a processor must wait for.
    #[inline(always)]
    pub(crate) fn get<V>(&self, key: KeyRef<'_>, knowledge: Knowledge) -> Lookup<V>
    where
        V: Any + Send + Sync,
    {
        let Some(slot) = self.engine.get(key) else { return Lookup::Miss };
        let Slot { value, mark, pass, signature, stored, fresh_until, .. } = slot;
        let Ok(value) = value.downcast::<V>() else { return Lookup::Miss };
        let validity = self.validity(signature, mark, pass);
        let Some(proven_since) = validity else {
            return self.get_softened(value, mark, pass, stored, knowledge);
        };
        let coarse = self.clock.coarse();
        let state = if self.clock.reached(fresh_until, coarse) {
            match self.state_past_fresh(mark) {
                Some(state) => state,
                None => return Lookup::Miss,
            }
        } else {
            State::Fresh
        };
        let proven = self.is_proven(proven_since, knowledge, coarse);
        Lookup::Hit(Found { value, state, proven, stored, fresh_until })
    }

    #[inline(always)]
    pub(crate) fn is_proven(
        &self,
        proven_since: Moment,
        knowledge: Knowledge,
        coarse: Moment,
    ) -> bool {
        if Safeguard::ProofRequired.is_off() {
            return true;
        }
        match knowledge {
            Knowledge::Within(age) => !self.clock.reached(proven_since.plus(age), coarse),
            Knowledge::Since(moment) => moment <= proven_since,
        }
    }

    /// Up to when everything is known that an entry depends on; `None` when something it depends on
    /// was touched, softly or not. The order of the three questions matters: see "Hit against the
    /// sweeper" above.
    #[inline(always)]
    fn validity(&self, signature: u64, mark: Mark, pass: Pass) -> Option<Moment> {
        if Safeguard::PendingBeforeMark.is_off() && !self.marks.is_firm(mark) {
            return None;
        }
        if self.pending.may_mean(signature)
            && !Safeguard::PendingConsulted.is_off()
            && self.is_pending(mark)
        {
            return None;
        }
        if !Safeguard::PendingBeforeMark.is_off() && !self.marks.is_firm(mark) {
            return None;
        }
        self.gates.proven_since(pass)
    }

    pub(crate) fn validity_of(&self, slot: &Slot) -> Option<Moment> {
        self.validity(slot.signature, slot.mark, slot.pass)
    }

    /// Whether a pending item means the entry; an entry without a record is dead anyway.
    #[cold]
    fn is_pending(&self, mark: Mark) -> bool {
        let means = |record: &Record| self.pending.means(record.linked, record.digests());
        self.ledger.with(mark, means).unwrap_or(true)
    }

    /// What may be done with an entry that is not fresh any more; `None` when it is of no use.
    #[cold]
    fn state_past_fresh(&self, mark: Mark) -> Option<State> {
        let now = self.clock.now();
        let state = self.ledger.with(mark, |record| record.deadlines.state(now))?;
        if state != State::Expired {
            return Some(state);
        }
        self.end_expired(mark);
        None
    }

    /// Ends an entry that was found past its last deadline.
    pub(crate) fn end_expired(&self, mark: Mark) {
        if self.marks.kill(mark) {
            Counts::add(&self.counts.expired, 1);
            self.hand_over(Sweep::Dead(vec![mark]));
        }
    }

    pub(crate) fn remove(&self, key: KeyRef<'_>) -> bool {
        let Some(slot) = self.engine.remove(key) else { return false };
        let was_valid = self.validity_of(&slot).is_some() || self.softened(&slot).is_some();
        self.bury(slot.mark);
        was_valid
    }

    pub(crate) fn invalidate(&self, digests: &[Digest], cause: &Cause) -> usize {
        let invalidation = Invalidation { cause: cause.clone(), at: self.clock.now() };
        let touch = |digest: &Digest| self.invalidate_one(*digest, &invalidation);
        let touched = digests.iter().map(touch).sum();
        Counts::add(&self.counts.invalidated, touched);
        touched
    }

    fn invalidate_one(&self, digest: Digest, invalidation: &Invalidation) -> usize {
        let mut sweep = None;
        let touched = self.links.detach(digest, |mut list, attached| {
            let ticket = self.pending.next();
            if INLINE_DEPENDENTS < list.len()
                && self.jobs.are_open()
                && self.pending.announce(digest, ticket, Mode::Hard, invalidation)
            {
                let invalidation = invalidation.clone();
                sweep = Some(Sweep::Detached { ticket, list, invalidation });
                return (ticket, attached);
            }
            // Few, or more invalidations wait than the list holds: then the caller does the work,
            // which is exact and slows down who is ahead of the sweeper.
            list.retain(|mark| self.marks.kill(*mark));
            let touched = list.len();
            sweep = (!list.is_empty()).then_some(Sweep::Dead(list));
            (ticket, touched)
        });
        if let Some(Sweep::Dead(list)) = &sweep {
            self.note(list, invalidation);
        }
        if let Some(sweep) = sweep {
            self.hand_over(sweep);
        }
        touched.unwrap_or(0)
    }

    /// Remembers for `explain` what invalidated these entries, the first few thousand of them.
    pub(crate) fn note(&self, list: &[Mark], invalidation: &Invalidation) {
        for mark in list.iter().take(crate::causes::KEPT) {
            if let Some(key) = self.ledger.with(*mark, |record| record.key.clone()) {
                self.causes.note(key, invalidation);
            }
        }
    }

    /// Ends an entry, if it has not ended, and clears away everything outside the engine.
    pub(crate) fn bury(&self, mark: Mark) {
        self.marks.kill(mark);
        if let Some(record) = self.ledger.take(mark) {
            self.unlink(mark, &record, record.digests().len());
        }
    }

    /// Takes off the first `count` links of a record that the caller took out of the ledger.
    pub(crate) fn unlink(&self, mark: Mark, record: &Record, count: usize) {
        let digests = record.digests().get(..count).unwrap_or_default();
        self.links.unlink(digests, mark, record.linked, &self.marks);
        self.ledger.release(mark);
    }

    pub(crate) fn inspect(&self, key: &[u8]) -> Option<Inspection> {
        let slot = self.engine.peek(key.into())?;
        let firm = self.validity_of(&slot);
        let softened = if firm.is_none() { self.softened(&slot) } else { None };
        let valid = firm.is_some() || softened.is_some();
        let proven_since = self.gates.proven_since(slot.pass).filter(|_| valid);
        self.ledger.with(slot.mark, |record| Inspection {
            stamps: record.stamps.clone(),
            dependencies: record
                .dependencies
                .as_ref()
                .map_or_else(Vec::new, |set| set.iter().cloned().collect()),
            widened: record.dependencies.as_ref().is_some_and(|set| set.is_widened()),
            deadlines: softened.unwrap_or(record.deadlines),
            weight: record.weight,
            valid,
            proven_since: proven_since.unwrap_or(Moment::EARLIEST),
        })
    }

    pub(crate) fn last_invalidation(&self, key: &[u8]) -> Option<Invalidation> {
        self.in_flight(key).or_else(|| self.causes.of(key))
    }

    /// What has ended the entry under `key` and is not noted yet.
    fn in_flight(&self, key: &[u8]) -> Option<Invalidation> {
        let slot = self.engine.peek(key.into())?;
        if !self.gates.admits(slot.pass) {
            return self.gates.last_shut(slot.pass);
        }
        let means = |record: &Record| self.pending.meaning(record.linked, record.digests());
        self.ledger.with(slot.mark, means).flatten()
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MemoryStats {
            entries: self.engine.len() as u64,
            weight: self.engine.weight(),
            limit: self.limit,
            entry_limit: self.engine.entry_limit(),
            links: self.links.count(),
            link_bytes: self.links.bytes() as u64,
            pending: self.pending.len() as u64,
            evictions: read(&self.counts.evictions),
            refused_too_large: read(&self.counts.refused_too_large),
            invalidated: read(&self.counts.invalidated),
            softened: read(&self.counts.softened),
            expired: read(&self.counts.expired),
            swept: read(&self.counts.swept),
        }
    }

    pub(crate) fn shut(&self, timeline: &str, cause: &Cause) {
        self.gates.shut(timeline, cause, self.now());
        self.hand_over(Sweep::Shut);
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }
}
