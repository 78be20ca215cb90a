//! The sink: what the feeds of origins tell this node.
//!
//! Apart from `named`, which is told by the application. **Invariant**: what a feed has told is in
//! the history, among what the store is to have, and marked in memory, before the lock of its
//! timeline is released.

use std::sync::Arc;

use larder_core::{
    Change, Dependency, Digest, Epoch, Invalidation, Mode, Moment, Position,
    feed::{Doubt, FeedSink, Mark},
    timeline::APP,
};
use larder_memory::Cause;

use super::Node;
use crate::{events::What, invalidation::Limit, origins::Brought};

impl FeedSink for Node {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        self.release();
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        // Before the history: what it notices later than that is only more precise.
        let (tables, schemes) = self.brings(&timeline.name, changes);
        let touched = knowledge.history.apply(position, changes);
        let brought = Brought { touched: &touched, tables, schemes };
        self.note_received(&mut knowledge, brought);
        let words: Arc<str> = in_words(changes).into();
        let cause = Cause { timeline: timeline.name.clone(), position, what: words.clone() };
        self.counters.changes.add(changes.len());
        let mut entries = 0;
        if touched.everything {
            entries += self.shut(&timeline.name, &cause);
        }
        let everything = Digest::everything(&timeline.name);
        let digests: Vec<Digest> =
            touched.digests.into_iter().filter(|digest| *digest != everything).collect();
        entries += self.tier.invalidate(&digests, &cause);
        // A feed also says that nothing changed up to a position.
        if !changes.is_empty() || touched.everything {
            self.tell_of(cause, What::Reported { changes: changes.len(), words }, entries);
        }
        drop(knowledge);
        self.events.wake();
    }

    fn confirmed(&self, timeline: &str, position: Position, moment: Moment) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        let moved = knowledge.history.confirmed() < position;
        knowledge.history.confirm(position);
        // What was received and is not yet visible keeps the proof from getting younger.
        if knowledge.history.confirmed() == knowledge.history.applied() {
            knowledge.proven = knowledge.proven.max(moment);
            self.tier.prove(&timeline.name, knowledge.proven);
        }
        drop(knowledge);
        if moved {
            self.progress.send_modify(|count| *count += 1);
        }
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        knowledge.history.restart(epoch, start);
        knowledge.doubt = Some(doubt);
        self.restart_in_store(&mut knowledge, doubt);
        let what = doubt.to_string().into();
        let cause = Cause { timeline: timeline.name.clone(), position: start, what };
        let entries = self.shut(&timeline.name, &cause);
        self.tell_of(cause, What::Restarted(doubt), entries);
        self.counters.restarts.add(1);
        drop(knowledge);
        self.events.wake();
        self.progress.send_modify(|count| *count += 1);
        if doubt != Doubt::Started {
            tracing::warn!(timeline = %timeline.name, %doubt, "a new epoch: all its entries fell");
        }
    }

    fn marking(&self, timeline: &str, mark: Option<Mark>) {
        if let Some(timeline) = self.timeline(timeline) {
            timeline.knowledge.lock().mark = mark;
        }
    }

    /// Nothing is noted: the store stands there. What was loaded before it was known which life
    /// this is falls, as if a life had begun.
    fn resumed(&self, timeline: &str, epoch: Epoch, position: Position) {
        let Some(timeline) = self.timeline(timeline) else { return };
        let mut knowledge = timeline.knowledge.lock();
        knowledge.history.restart(epoch, position);
        self.go_on(&mut knowledge);
        let what = "the feed goes on where an earlier one left".into();
        let cause = Cause { timeline: timeline.name.clone(), position, what };
        self.shut(&timeline.name, &cause);
        drop(knowledge);
        self.progress.send_modify(|count| *count += 1);
    }

    /// As an invalidation that was asked for here, without a limit: it was decided elsewhere.
    fn recorded(&self, _: &str, invalidation: &Invalidation) {
        self.counters.invalidations.add(1);
        self.invalidate(invalidation, Limit::None);
    }

    /// Everything falls: a record may name what is on any timeline, and all values are stamped on
    /// `app`.
    fn records_lost(&self, timeline: &str, doubt: Doubt) {
        let entries = usize::try_from(self.tier.stats().entries).unwrap_or(usize::MAX);
        let app = self.app();
        let mut knowledge = app.knowledge.lock();
        let history = &mut knowledge.history;
        let before = history.applied();
        let position = before.next();
        let everything = Change::Touch(Dependency::everything(app.name.clone()));
        history.apply(position, &[everything]);
        history.confirm(position);
        let what = format!("invalidations recorded in `{timeline}` may be missing: {doubt}");
        let what: Arc<str> = what.into();
        let announced = knowledge.announced(Mode::Hard, Vec::new(), || what.clone());
        self.note_named(&mut knowledge, before, &[], announced);
        let cause = Cause { timeline: app.name.clone(), position, what };
        self.tier.shut(APP, &cause);
        self.tell_of(cause, What::Restarted(doubt), entries);
        drop(knowledge);
        self.events.wake();
    }
}

/// A batch of changes for people: the first few, and how many more.
pub(super) fn in_words(changes: &[Change]) -> String {
    const SHOWN: usize = 3;
    let mut words = String::new();
    for change in changes.iter().take(SHOWN) {
        if !words.is_empty() {
            words.push_str(", ");
        }
        match change {
            Change::Touch(dependency) => words.push_str(&dependency.to_string()),
            Change::After(after) => {
                words.push_str("update of ");
                words.push_str(&after.row.table);
            }
            Change::Perhaps(row) => {
                words.push_str("perhaps a change of ");
                words.push_str(&row.table);
            }
            Change::Row(row) => {
                let verb = match (&row.old, &row.new) {
                    (None, Some(_)) => "insert into",
                    (Some(_), None) => "delete from",
                    (Some(_), Some(_)) | (None, None) => "update of",
                };
                words.push_str(verb);
                words.push(' ');
                words.push_str(&row.table);
            }
        }
    }
    if SHOWN < changes.len() {
        words.push_str(&format!(" and {} more", changes.len() - SHOWN));
    }
    words
}
