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

use larder_core::{Dependency, Epoch, Stamp, Value, timeline::Name};
use parking_lot::RwLock;

use crate::{analysis::Analysis, track::tracked::Tracked};

/// Shared by the watcher and the readers of one origin.
#[derive(Debug)]
pub(crate) struct Knowledge {
    timeline: Name,
    view: RwLock<View>,
    reads_unwatched: AtomicBool,
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
pub(crate) const UNWATCHED: &str = "*";

impl Knowledge {
    pub(crate) fn new(timeline: Name, coverage: Coverage) -> Self {
        let view = RwLock::new(View { epoch: None, coverage, extra: 0 });
        Self { timeline, view, reads_unwatched: AtomicBool::new(false), panics: AtomicU64::new(0) }
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

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the watcher panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Whether some statement reads a table that the log does not report.
    ///
    /// 1. A load finds what its answer will depend on: the flag is set.
    /// 2. Its snapshot begins.
    /// 3. Somebody commits to the unwatched table.
    /// 4. The watcher sees the commit, then reads the flag: it is set.
    pub(crate) fn reads_unwatched(&self) -> bool {
        self.reads_unwatched.load(Ordering::SeqCst)
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
        let as_of = larder_core::Position(newest.saturating_add(self.extra));
        Stamp { as_of, ..before.clone() }
    }
}
