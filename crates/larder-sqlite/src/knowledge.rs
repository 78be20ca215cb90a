//! What the watcher knows and every load needs: which life of the timeline this is, and how much of
//! the database is watched row by row.
//!
//! It stands between `watcher`, which alone writes it, and `reader`. **Invariant**: it is written
//! before the sink hears of the same thing, so a load that reads it never believes an older life
//! than the stamp it was given.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use larder_core::{Dependency, Epoch, Position, Stamp, Value, timeline::Name};
use parking_lot::RwLock;

use crate::{analysis::Analysis, track::tracked::Tracked};

/// Shared by the watcher and the readers of one origin.
#[derive(Debug)]
pub(crate) struct Knowledge {
    timeline: Name,
    view: RwLock<View>,
    reads_unwatched: AtomicBool,
    is_touch_due: AtomicBool,
    panics: AtomicU64,
}

/// What is known at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The current life of the timeline; `None` before the feed started.
    pub(crate) epoch: Option<Epoch>,
    /// What is watched.
    pub(crate) coverage: Coverage,
    /// Touches of [`UNWATCHED`] so far, by which positions are ahead of the log's numbers.
    pub(crate) extra: u64,
    /// Every commit after this position touched [`UNWATCHED`].
    pub(crate) unwatched_since: Option<Position>,
}

/// How much of the database is watched, and how closely.
#[derive(Clone, Debug)]
pub(crate) enum Coverage {
    /// Nothing: values live by their TTL.
    Nothing,
    /// The whole database as one thing.
    Database,
    /// The tables that the change log reports.
    Rows(Arc<Tracked>),
}

/// Stands for every table that the change log does not report. It is touched whenever anything was
/// committed, and no table can have this name by accident.
pub const UNWATCHED: &str = "*";

impl Knowledge {
    pub(crate) fn new(timeline: Name, coverage: Coverage) -> Self {
        let view = RwLock::new(View { epoch: None, coverage, extra: 0, unwatched_since: None });
        Self {
            timeline,
            view,
            reads_unwatched: AtomicBool::new(false),
            is_touch_due: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        }
    }

    pub(crate) fn timeline(&self) -> &Name {
        &self.timeline
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.write());
    }

    /// A life of the timeline begins, or goes on, in which nobody is known to read what is not
    /// watched: what was read before may be watched now, and what is read again says so again.
    ///
    /// 1. A load takes the view of the life before, and notes that it reads what is not watched.
    /// 2. This. Its stamp is of the life before, in which nothing can be served any more.
    /// 3. A load that takes the new view notes it after this: the view is only seen then.
    pub(crate) fn begin(&self, epoch: Epoch, coverage: Coverage, extra: u64) {
        let mut view = self.view.write();
        self.reads_unwatched.store(false, Ordering::SeqCst);
        *view = View { epoch: Some(epoch), coverage, extra, unwatched_since: None };
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the watcher panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Whether some statement reads a table that the log does not report, in this life.
    ///
    /// 1. A load finds what its answer will depend on: the flag is set.
    /// 2. Its snapshot begins.
    /// 3. Somebody commits to the unwatched table.
    /// 4. The watcher sees the commit, then reads the flag: it is set.
    pub(crate) fn reads_unwatched(&self) -> bool {
        self.reads_unwatched.load(Ordering::SeqCst)
    }

    /// What a value must depend on besides `dependency`, which its loader named by hand and read as
    /// of `stamp` or later.
    ///
    /// What it read of the table is not known, and it may have read before anybody knew that
    /// unwatched tables are read at all:
    ///
    /// 1. A loader reads a row of a table that is not watched.
    /// 2. Somebody commits to that row. Nothing is touched: nobody is known to read it.
    /// 3. The loader names the row. No later commit has to come.
    ///
    /// Therefore naming asks the watcher for one touch, commit or not, unless every commit since
    /// `stamp` made one. The value of 1 is overtaken by it and not stored; the next one is.
    pub(crate) fn companion(&self, dependency: &Dependency, stamp: &Stamp) -> Option<Dependency> {
        let view = self.view();
        let Coverage::Rows(tracked) = &view.coverage else { return None };
        if dependency.about_table().is_some_and(|table| tracked.covers_wholly(table)) {
            return None;
        }
        let is_heard = view.unwatched_since.is_some_and(|since| since <= stamp.as_of);
        if view.epoch != Some(stamp.epoch) || !is_heard {
            self.is_touch_due.store(true, Ordering::SeqCst);
        }
        Some(Dependency::table(self.timeline.clone(), UNWATCHED))
    }

    /// Whether [`Knowledge::companion`] asked for a touch; asked once, it is due no more.
    pub(crate) fn takes_due_touch(&self) -> bool {
        self.is_touch_due.load(Ordering::SeqCst) && self.is_touch_due.swap(false, Ordering::SeqCst)
    }

    /// Notes that unwatched tables were touched at `position`, and are at every commit from now on.
    pub(crate) fn touched_unwatched(&self, position: Position) {
        self.reads_unwatched.store(true, Ordering::SeqCst);
        self.change(|view| {
            view.unwatched_since.get_or_insert(position);
        });
    }

    /// What an answer depends on, as widely as `coverage` demands.
    ///
    /// # Callers must
    /// ask before the answer's snapshot begins: see [`Knowledge::reads_unwatched`].
    pub(crate) fn dependencies(
        &self,
        coverage: &Coverage,
        analysis: &Analysis,
        parameters: &[(&str, &Value)],
    ) -> Vec<Dependency> {
        let tracked = match coverage {
            Coverage::Nothing => return Vec::new(),
            Coverage::Database => return vec![Dependency::everything(self.timeline.clone())],
            Coverage::Rows(tracked) => tracked,
        };
        let mut dependencies = Vec::new();
        let mut unwatched = analysis.reads_untrackable();
        for dependency in analysis.dependencies(parameters) {
            let is_covered = |table: &Arc<str>| tracked.covers(table, analysis);
            unwatched |= !dependency.about_table().is_some_and(is_covered);
            // Kept also where the log does not report it: somebody may name it.
            dependencies.push(dependency);
        }
        if unwatched || dependencies.is_empty() {
            self.reads_unwatched.store(true, Ordering::SeqCst);
            dependencies.push(Dependency::table(self.timeline.clone(), UNWATCHED));
        }
        dependencies
    }
}

impl View {
    /// Where a snapshot stands whose newest row of the log is `newest`, unless that cannot be said.
    ///
    /// 1. This view is read: `extra` touches were made, each for a commit that is visible by now.
    /// 2. The load's snapshot begins and reads `newest`.
    /// 3. A row that the snapshot lacks gets a number above `newest` and a position at least
    ///    `extra` above that; a commit to an unwatched table gets the next `extra`. Both are above
    ///    `newest + extra`.
    /// 4. A row that the snapshot has may get a position above it too, when an unwatched commit
    ///    was counted in between: that is one load too many, never one too few.
    pub(crate) fn stamp(&self, before: &Stamp, newest: u64) -> Stamp {
        if self.epoch != Some(before.epoch) {
            return before.clone();
        }
        let as_of = Position(newest.saturating_add(self.extra));
        Stamp { as_of, ..before.clone() }
    }
}
