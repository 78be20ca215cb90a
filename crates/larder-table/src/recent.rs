//! Recent rows: those that a feed told of so lately that a load may have missed them.
//!
//! A table that follows a feed is written by two: the feed puts rows as they are told, and loads
//! put what they read. It stands apart from the table because what is compared here are positions
//! and nothing else. **Invariant**: what a load read never takes the place of a row that was told
//! of behind the position at which the load began. What is kept for a load is bounded in time,
//! because every load has a deadline.
//!
//! # Implementation notes
//!
//! 1. An adjust asks the origin, which reads row 1 as it is at position 7.
//! 2. Row 1 changes; the feed tells so at position 8, and it is put into the table.
//! 3. The adjust ends and has the row of position 7: it was begun at 7, the row was told at 8, so
//!    what was told is laid over what was read, and if it was deleted it stays away.
//!
//! The answer of 3 may have seen position 8 as well, and more. So whoever loads asks the feed once
//! more before he publishes: then everything that the answer can have seen was told of, and what is
//! laid over it is as new.

use std::{collections::BTreeMap, sync::Arc};

use larder_core::{Epoch, Position, safeguard::Safeguard};

use crate::{place::Places, record::Record};

/// What was told lately, and which loads it matters to.
pub(crate) struct Recent<R: Record> {
    /// Told, and not yet visible to loads: it is put into the table when it is, whole commits at
    /// once. Each by itself: a later one that changes the same row may be visible much later.
    pending: BTreeMap<Position, Told<R>>,
    /// As they were before what is pending: where a load that misses that would find them.
    left: Vec<(Position, Arc<R>)>,
    /// In the table, and told since the oldest load that is under way began.
    rows: Rows<R>,
    /// Where loads began that have not ended.
    loads: Vec<Began>,
    confirmed: Position,
    epoch: Epoch,
    /// Up to here `rows` were looked through.
    forgotten: Position,
    /// From where a later feed can go on.
    pub(crate) places: Places,
}

/// Each row as it is since a position; `None` where it was deleted.
type Rows<R> = BTreeMap<<R as Record>::Key, (Position, Option<Arc<R>>)>;

/// Rows as one commit left them; `None` where it deleted one.
type Told<R> = BTreeMap<<R as Record>::Key, Option<Arc<R>>>;

/// Rows that are shown now, and records as they were before.
type Shown<R> = (Vec<(<R as Record>::Key, Option<Arc<R>>)>, Vec<Arc<R>>);

/// Where a load began: what is confirmed there it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Began {
    position: Position,
    epoch: Epoch,
}

impl Began {
    /// Whether this is where it began, in the life `epoch`.
    pub(crate) fn is_in(self, epoch: Epoch) -> bool {
        self.epoch == epoch
    }
}

impl<R: Record> Default for Recent<R> {
    fn default() -> Self {
        let (pending, left, rows, loads) =
            (BTreeMap::new(), Vec::new(), Rows::<R>::new(), Vec::new());
        let (confirmed, epoch, forgotten) = (Position(0), Epoch::VOID, Position(0));
        let places = Places::default();
        Self { pending, left, rows, loads, confirmed, epoch, forgotten, places }
    }
}

impl<R: Record> Recent<R> {
    /// A load begins now.
    pub(crate) fn begin(&mut self) -> Began {
        let began = Began { position: self.confirmed, epoch: self.epoch };
        self.loads.push(began);
        began
    }

    /// A load has ended, in whatever way.
    pub(crate) fn end(&mut self, began: Began) {
        if let Some(place) = self.loads.iter().position(|own| *own == began) {
            self.loads.swap_remove(place);
        }
        self.forget();
    }

    /// What was told behind the beginning of a load and is in the table.
    pub(crate) fn since(&self, began: Began) -> Vec<(R::Key, Option<Arc<R>>)> {
        if Safeguard::ToldLaidOver.is_off() {
            return Vec::new();
        }
        // A load of another life has seen nothing of this one; what is told of that is in doubt.
        let is_later =
            |position: &Position| began.epoch != self.epoch || began.position < *position;
        let rows = self.rows.iter().filter(|(_, (position, _))| is_later(position));
        rows.map(|(key, (_, row))| (key.clone(), row.clone())).collect()
    }

    /// A row was told of.
    pub(crate) fn told(&mut self, position: Position, key: R::Key, row: Option<Arc<R>>) {
        self.pending.entry(position).or_default().insert(key, row);
    }

    /// Records were told of that were like this before.
    pub(crate) fn left(&mut self, position: Position, left: Vec<Arc<R>>) {
        self.left.extend(left.into_iter().map(|row| (position, row)));
    }

    /// What was told up to `position` is visible to loads that begin now: the rows that are to be
    /// put into the table, and what was there before them, also of those told of several times.
    pub(crate) fn confirm(&mut self, position: Position) -> Shown<R> {
        self.confirmed = self.confirmed.max(position);
        let confirmed = self.confirmed;
        self.places.confirm(confirmed);
        let mut visible = Rows::<R>::new();
        while let Some(first) = self.pending.first_entry().filter(|one| *one.key() <= confirmed) {
            let (position, rows) = first.remove_entry();
            visible.extend(rows.into_iter().map(|(key, row)| (key, (position, row))));
        }
        let told = visible.iter().map(|(key, (_, row))| (key.clone(), row.clone())).collect();
        self.rows.extend(visible);
        self.forget();
        let left = self.left.extract_if(.., |(position, _)| *position <= confirmed);
        (told, left.map(|(_, row)| row).collect())
    }

    /// A new life: positions of the old one mean nothing any more.
    pub(crate) fn restart(&mut self, epoch: Epoch, start: Position) {
        self.pending.clear();
        self.left.clear();
        self.rows.clear();
        (self.confirmed, self.epoch, self.forgotten) = (start, epoch, start);
        self.places.begin(start);
    }

    /// The life of the timeline, and how far it is confirmed.
    pub(crate) fn confirmed(&self) -> (Epoch, Position) {
        (self.epoch, self.confirmed)
    }

    /// Forgets what every load has seen, those that will begin included.
    fn forget(&mut self) {
        let own = self.loads.iter().filter(|began| began.epoch == self.epoch);
        let seen = own.map(|began| began.position).min().unwrap_or(self.confirmed);
        if self.forgotten < seen {
            self.forgotten = seen;
            self.rows.retain(|_, (position, _)| seen < *position);
        }
    }
}

// Beside tests that take safeguards out it would go wrong.
#[cfg(not(shuttle))]
#[cfg(test)]
mod schedules;
