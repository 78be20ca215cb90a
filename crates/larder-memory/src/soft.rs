//! Soft invalidation: entries whose freshness ends while they live on.
//!
//! It stands apart from `shared.rs` so that the way of a hit stays short: a hit finds that an
//! entry is not as it was filled, and only then comes here. The argument for the order of things is
//! told there. **Invariant**: once a soft invalidation returned, nothing it touched is found fresh;
//! and nothing it touched is found at all where no `stale_while_revalidate` allows it.

use std::{any::Any, sync::Arc};

use larder_core::{
    Digest, Mode, Moment,
    freshness::{Deadlines, State},
    safeguard::Safeguard,
};

use crate::{
    engine::Slot,
    entry::{Cause, Found, Invalidation, Knowledge, Lookup},
    gates::Pass,
    ledger::Record,
    marks::Mark,
    pending::{Meant, Ticket},
    reach::PIECE,
    shared::{Counts, INLINE_DEPENDENTS, Shared},
    sweeper::Sweep,
};

/// How the dependents of a digest are softened.
enum Way {
    /// Here, one by one.
    Here(Ticket, Vec<Mark>),
    /// Here, in pieces: the list of pending items is full, or nobody sweeps.
    Long(Ticket),
    /// By the sweeper; until then an item stands for them.
    Behind(Ticket, usize),
}

impl Shared {
    pub(crate) fn soften(&self, digests: &[Digest], cause: &Cause) -> usize {
        if Safeguard::SoftEndsFreshness.is_off() {
            return 0;
        }
        let invalidation = Invalidation { cause: cause.clone(), at: self.clock.now() };
        digests.iter().map(|digest| self.soften_digest(*digest, &invalidation)).sum()
    }

    fn soften_digest(&self, digest: Digest, invalidation: &Invalidation) -> usize {
        let way = self.links.look(digest, |list, attached| {
            let ticket = self.pending.next();
            if list.len() <= INLINE_DEPENDENTS {
                return Way::Here(ticket, list.to_vec());
            }
            let announce = || self.pending.announce(digest, ticket, Mode::Soft, invalidation);
            match self.jobs.are_open() && announce() {
                true => Way::Behind(ticket, attached),
                false => Way::Long(ticket),
            }
        });
        match way {
            None => 0,
            Some(Way::Here(ticket, list)) => self.soften_list(&list, ticket, invalidation),
            Some(Way::Long(ticket)) => self.soften_links(digest, ticket, invalidation),
            Some(Way::Behind(ticket, attached)) => {
                let invalidation = invalidation.clone();
                self.hand_over(Sweep::Soften { digest, ticket, invalidation });
                attached
            }
        }
    }

    /// Softens what was linked to `digest` before `ticket`, from the end of the list.
    pub(crate) fn soften_links(
        &self,
        digest: Digest,
        ticket: Ticket,
        invalidation: &Invalidation,
    ) -> usize {
        let (mut piece, mut end, mut touched) = (Vec::new(), usize::MAX, 0);
        while end != 0 {
            end = self.links.copy_back(digest, end, PIECE, &mut piece);
            touched += self.soften_list(&piece, ticket, invalidation);
        }
        touched
    }

    fn soften_list(&self, list: &[Mark], ticket: Ticket, invalidation: &Invalidation) -> usize {
        let (mut softened, mut ended) = (Vec::new(), Vec::new());
        for mark in list {
            match self.soften_one(*mark, ticket, invalidation.at) {
                Some(Softened::Stale) => softened.push(*mark),
                Some(Softened::Ended) => ended.push(*mark),
                None => {}
            }
        }
        self.note(&softened, invalidation);
        self.note(&ended, invalidation);
        Counts::add(&self.counts.softened, softened.len());
        Counts::add(&self.counts.invalidated, ended.len());
        let touched = softened.len() + ended.len();
        if !ended.is_empty() {
            self.hand_over(Sweep::Dead(ended));
        }
        touched
    }

    /// Ends the freshness of an entry that was linked before `ticket`; `None` if it was not fresh.
    fn soften_one(&self, mark: Mark, ticket: Ticket, at: Moment) -> Option<Softened> {
        let stays = self.ledger.change(mark, |record| {
            if ticket <= record.linked {
                return None;
            }
            let softened = record.deadlines.softened(at);
            // First the deadlines, then the mark: see "Soft invalidation".
            record.deadlines = softened.unwrap_or(record.deadlines);
            Some(softened.is_some())
        });
        match stays.flatten()? {
            true => self.marks.soften(mark).then_some(Softened::Stale),
            false => self.marks.kill(mark).then_some(Softened::Ended),
        }
    }

    /// What a hit finds of an entry that is not as it was filled: it was softened, or it has ended.
    #[cold]
    #[inline(never)]
    pub(crate) fn get_softened<V: Any + Send + Sync>(
        &self,
        value: Arc<V>,
        mark: Mark,
        pass: Pass,
        stored: Moment,
        knowledge: Knowledge,
    ) -> Lookup<V> {
        let deadlines = self.softened_deadlines(mark);
        let (Some(deadlines), Some(proven_since)) = (deadlines, self.gates.proven_since(pass))
        else {
            return Lookup::Miss;
        };
        let now = self.clock.now();
        let state = deadlines.state(now);
        if state == State::Expired {
            self.end_expired(mark);
            return Lookup::Miss;
        }
        let proven = self.is_proven(proven_since, knowledge, now);
        let fresh_until = deadlines.fresh_until;
        Lookup::Hit(Found { value, state, proven, stored, fresh_until })
    }

    /// The deadlines of the entry in `slot` if it was softened and lives.
    pub(crate) fn softened(&self, slot: &Slot) -> Option<Deadlines> {
        self.softened_deadlines(slot.mark).filter(|_| self.gates.admits(slot.pass))
    }

    /// The pending items first and the mark second, as every hit does.
    fn softened_deadlines(&self, mark: Mark) -> Option<Deadlines> {
        let (deadlines, is_meant) = self.ledger.with(mark, |record| {
            let is_meant = self.pending.means(record.linked, record.digests());
            self.deadlines(record).map(|deadlines| (deadlines, is_meant))
        })??;
        let is_softened = self.marks.is_alive(mark) && (is_meant || !self.marks.is_firm(mark));
        is_softened.then_some(deadlines)
    }

    /// The deadlines of an entry by what is pending; `None` when that ends it.
    pub(crate) fn deadlines(&self, record: &Record) -> Option<Deadlines> {
        match self.pending.meant(record.linked, record.digests()) {
            None => Some(record.deadlines),
            Some(Meant::Softened(at)) => record.deadlines.softened(at),
            Some(Meant::Ended) => None,
        }
    }
}

/// What became of an entry that was fresh.
enum Softened {
    Stale,
    Ended,
}
