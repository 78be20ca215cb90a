//! Named: what the application says is wrong, on the timeline `app`.
//!
//! Apart from `sink`, which is told by feeds. **Invariant**: one call is one position, which is
//! applied and confirmed at once, noted for the store, and marked in memory, before the lock of
//! `app` is released.

use std::sync::Arc;

use larder_core::{
    Change, Dependency, Digest, Invalidation, Mode, Name, Position, TrackedChange,
    announcement::Announced,
    store::{Begins, SchemesKnown, Step},
    token::Token,
};
use larder_memory::Cause;

use super::{Knowledge, Node, sink::in_words};
use crate::{
    events::{Event, What},
    invalidation::{Limit, Told},
    preview, shared,
};

impl Node {
    /// Writes what `invalidation` names as invalidated on `app`, as one position. When it returns
    /// no reader hits an entry built from it as fresh. `None`, with nothing done, when more entries
    /// would fall than `limit` allows.
    ///
    /// The limit is looked at under the lock of `app`, so that nothing falls that was not counted:
    ///
    /// 1. A load links its value, which is then among those counted.
    /// 2. Only then it asks the history of `app` whether it was overtaken: that waits for this
    ///    lock.
    /// 3. Only then it is published.
    ///
    /// So what is published before the lock is taken was linked before, and what asks after it was
    /// given back is overtaken.
    pub(crate) fn invalidate(
        &self,
        invalidation: &Invalidation,
        limit: Limit,
    ) -> Option<(Token, Vec<usize>)> {
        let (dependencies, mode) = (invalidation.dependencies(), invalidation.mode());
        self.release_if_many();
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        if let Limit::AtMost(entries) = limit
            && self.tier.exceeds(&preview::reach(dependencies), entries)
        {
            return None;
        }
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let mut touched = Vec::with_capacity(dependencies.len());
        let digests = history.touch(position, dependencies);
        history.confirm(position);
        let announced =
            knowledge.announced(mode, Vec::new(), || shared::named_in_words(dependencies));
        self.note_named(&mut knowledge, before, &digests.concat(), announced);
        for (dependency, digests) in dependencies.iter().zip(digests) {
            let what = dependency.to_string().into();
            let cause = Cause { timeline: app.name.clone(), position, what };
            touched.push(match mode {
                Mode::Hard => self.tier.invalidate(&digests, &cause),
                Mode::Soft => self.tier.soften(&digests, &cause),
            });
        }
        let mut token = Token::new();
        token.require(app.name.clone(), knowledge.history.epoch(), position);
        self.events.tell(|| Event {
            timeline: app.name.clone(),
            position,
            what: What::Named(dependencies.into()),
            mode,
            entries: touched.iter().map(|count| *count as u64).sum(),
            at: self.clock.now(),
        });
        drop(knowledge);
        self.events.wake();
        Some((token, touched))
    }

    /// Writes what the application says of rows on `app`, as one position. When it returns no
    /// reader hits an entry that they can have made wrong.
    pub(crate) fn changed(&self, told: &[TrackedChange]) -> Told {
        let names: Vec<Name> = told.iter().map(|change| change.timeline().clone()).collect();
        let changes: Vec<Change> = told.iter().map(|change| change.change().clone()).collect();
        let words: Arc<str> = in_words(&changes).into();
        self.release();
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let named = names.iter().zip(&changes);
        let touched = history.apply_named(position, named.clone());
        history.confirm(position);
        let announced = knowledge.announced(Mode::Hard, shared::tables_of(named), || words.clone());
        self.note_named(&mut knowledge, before, &touched.digests, announced);
        let mut token = Token::new();
        token.require(app.name.clone(), knowledge.history.epoch(), position);
        let cause = Cause { timeline: app.name.clone(), position, what: words.clone() };
        let entries = self.tier.invalidate(&touched.digests, &cause);
        self.tell_of(cause, What::Reported { changes: changes.len(), words }, entries);
        drop(knowledge);
        self.events.wake();
        Told { token, entries }
    }

    /// Notes for the store what was invalidated by name, and is announced.
    ///
    /// # Callers must
    /// hold the lock of `app`.
    pub(super) fn note_named(
        &self,
        knowledge: &mut Knowledge,
        before: Position,
        digests: &[Digest],
        announced: Option<Announced>,
    ) {
        let position = knowledge.history.applied();
        if let Some(line) = &mut knowledge.line {
            line.note_own(position);
        }
        let Some(journal) = &self.journal else { return };
        let history = &knowledge.history;
        journal.note(Step {
            timeline: history.timeline().clone(),
            epoch: history.epoch(),
            begins: Begins::After(before),
            position,
            digests: digests.to_vec(),
            tables: Vec::new(),
            schemes: SchemesKnown::NONE,
            everything: history.everything() == position,
            mark: None,
            announced,
        });
    }
}

/// The links under which an explicit invalidation finds its entries.
pub(crate) fn digests_by_name(dependency: &Dependency) -> Vec<Digest> {
    let mut digests = Vec::new();
    larder_core::change::touched_by_name(dependency, &mut |digest| digests.push(digest));
    digests.sort_unstable();
    digests
}
