//! The sink: where the feed delivers to a table.
//!
//! It holds the table weakly, so that a feed keeps none. **Invariant**: whatever the feed tells and
//! no rule makes anything precise of puts everything in doubt.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_core::{
    Invalidation as Recorded, Moment, Position,
    change::Change,
    feed::{Doubt, FeedSink, Mark},
    timeline::Epoch,
};

use super::Meaning;
use crate::{
    index::IndexKey,
    record::Record,
    restore::Resuming,
    table::{Inner, Table},
};

/// Where the feed delivers.
pub(super) struct Sink<R: Record, W: IndexKey> {
    pub(super) table: Weak<Inner<R, W>>,
    pub(super) meaning: Arc<Meaning<R>>,
    pub(super) proven: Arc<AtomicU64>,
    /// While the table may go on with what an earlier one saved.
    pub(super) resuming: Option<Arc<Resuming>>,
}

impl<R: Record, W: IndexKey> Sink<R, W> {
    fn table(&self) -> Option<Table<R, W>> {
        self.table.upgrade().map(Table)
    }
}

impl<R: Record, W: IndexKey> FeedSink for Sink<R, W> {
    fn received(&self, _timeline: &str, position: Position, changes: &[Change]) {
        let Some(table) = self.table() else { return };
        table.apply(position, self.meaning.told(&table, changes));
    }

    fn confirmed(&self, _timeline: &str, position: Position, moment: Moment) {
        let Some(table) = self.table() else { return };
        table.confirm(position);
        self.proven.fetch_max(moment.as_micros(), Ordering::AcqRel);
    }

    fn restarted(&self, _timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        if let Some(resuming) = &self.resuming {
            resuming.doubted(doubt);
        }
        self.meaning.hearing.begin();
        if let Some(table) = self.table() {
            table.restart(epoch, start);
        }
    }

    fn marking(&self, _timeline: &str, mark: Option<Mark>) {
        if let Some(table) = self.table() {
            table.0.publishing.lock().places.marking(mark);
        }
    }

    fn resumed(&self, _timeline: &str, epoch: Epoch, position: Position) {
        let Some(table) = self.table() else { return };
        let goes_on = |own: &Arc<Resuming>| own.resumed(|| table.resume(epoch, position));
        if !self.resuming.as_ref().is_some_and(goes_on) {
            table.restart(epoch, position);
        }
    }

    fn recorded(&self, timeline: &str, recorded: &Recorded) {
        let mut own = recorded.dependencies().iter().filter(|one| **one.timeline() == *timeline);
        if let Some(table) = self.table().filter(|_| own.any(|one| self.meaning.names_rows(one))) {
            table.doubt_all();
        }
    }

    fn records_lost(&self, _timeline: &str, _doubt: Doubt) {
        if let Some(table) = self.table() {
            table.doubt_all();
        }
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Sink<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
