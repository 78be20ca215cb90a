//! The writes of a run in the order of their commits.
//!
//! **Invariant**: a moment is a number of commits: moment `n` is after the first `n` of them.

use std::collections::BTreeMap;

use super::{LABELS, Shown};
use crate::history::{Micros, Outcome, Written};

/// See the module.
pub(super) struct Index<'a> {
    rows: BTreeMap<i64, Vec<State<'a>>>,
    /// The rows of each commit.
    commits: Vec<Vec<i64>>,
    /// When commits were acknowledged, sorted; and the last moment that is acknowledged by then.
    acknowledged: Vec<(Micros, usize)>,
    /// When commits began, sorted; and the last moment that may have come by then.
    began: Vec<(Micros, usize)>,
}

/// A row as a commit left it.
pub(super) struct State<'a> {
    /// From which moment on.
    moment: usize,
    written: &'a Written,
    /// When the first of those that come after it was acknowledged.
    superseded: Micros,
}

impl std::ops::Deref for State<'_> {
    type Target = Written;

    fn deref(&self) -> &Written {
        self.written
    }
}

impl<'a> Index<'a> {
    pub(super) fn new(written: &'a [Written]) -> Self {
        let mut by_version: BTreeMap<u64, Vec<&Written>> = BTreeMap::new();
        for one in written.iter().filter(|one| one.outcome != Outcome::RolledBack) {
            by_version.entry(one.version).or_default().push(one);
        }
        let mut rows: BTreeMap<i64, Vec<State<'a>>> = BTreeMap::new();
        let (mut commits, mut acknowledged, mut began) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rows_written) in by_version.into_values().enumerate() {
            let moment = place + 1;
            let ended = rows_written.iter().map(|one| one.ended).max();
            acknowledged.extend(ended.map(|ended| (ended, moment)));
            began.extend(rows_written.iter().map(|one| one.began).min().map(|at| (at, moment)));
            commits.push(rows_written.iter().map(|one| one.row).collect());
            for written in rows_written {
                let state = State { moment, written, superseded: Micros::MAX };
                rows.entry(written.row).or_default().push(state);
            }
        }
        for states in rows.values_mut() {
            let mut superseded = Micros::MAX;
            for state in states.iter_mut().rev() {
                state.superseded = superseded;
                superseded = superseded.min(state.written.ended);
            }
        }
        Self { rows, commits, acknowledged: highest(acknowledged), began: highest(began) }
    }

    /// The first and the last moment that an answer may be of which must include what was
    /// acknowledged before `includes`, and had `ended`.
    pub(super) fn moments(&self, includes: Micros, ended: Micros) -> (usize, usize) {
        let last = |of: &[(Micros, usize)], before: Micros| {
            let count = of.partition_point(|(at, _)| *at < before);
            count.checked_sub(1).and_then(|place| of.get(place)).map_or(0, |(_, moment)| *moment)
        };
        let from = last(&self.acknowledged, includes);
        (from, last(&self.began, ended.saturating_add(1)).max(from))
    }

    /// The rows that are no labels.
    pub(super) fn rows(&self) -> impl Iterator<Item = i64> + '_ {
        self.rows.range(..LABELS).map(|(id, _)| *id)
    }

    pub(super) fn is_row(&self, id: i64) -> bool {
        id < LABELS && self.rows.contains_key(&id)
    }

    /// The rows that may differ from the moment before, also by their labels.
    pub(super) fn changed(&self, moment: usize, is_joined: bool) -> Vec<i64> {
        let rows = moment.checked_sub(1).and_then(|place| self.commits.get(place));
        let rows = rows.map_or(&[][..], |rows| rows);
        match is_joined && rows.iter().any(|id| LABELS <= *id) {
            true => self.rows().collect(),
            false => rows.iter().copied().filter(|id| *id < LABELS).collect(),
        }
    }

    fn states(&self, id: i64) -> &[State<'a>] {
        self.rows.get(&id).map_or(&[], |states| states)
    }

    /// The row as it was at a moment; `None` before it was ever written.
    pub(super) fn at(&self, id: i64, moment: usize) -> Option<&State<'a>> {
        let states = self.states(id);
        let count = states.partition_point(|state| state.moment <= moment);
        states.get(count.checked_sub(1)?)
    }

    fn find(&self, id: i64, version: u64) -> Option<(&State<'a>, Option<&State<'a>>)> {
        let states = self.states(id);
        let place = states.binary_search_by(|state| state.version.cmp(&version)).ok()?;
        Some((states.get(place)?, states.get(place + 1)))
    }

    /// Where this version of a row is; `None` where it is nowhere, or was not begun until `ended`.
    pub(super) fn bucket(&self, id: i64, version: u64, ended: Micros) -> Option<i64> {
        let (state, _) = self.find(id, version)?;
        state.bucket.filter(|_| state.began <= ended)
    }

    /// Whether a later version was acknowledged before `includes`.
    pub(super) fn is_old(&self, id: i64, version: u64, includes: Micros) -> bool {
        self.find(id, version).is_some_and(|(state, _)| state.superseded < includes)
    }

    /// Where a row is, if that cannot have changed since it was last acknowledged before
    /// `includes`, until `ended`.
    pub(super) fn unchanged(
        &self,
        id: i64,
        includes: Micros,
        ended: Micros,
    ) -> Option<Option<i64>> {
        let states = self.states(id);
        let place = states.iter().rposition(|state| state.written.ended < includes)?;
        let later = states.get(place + 1..).unwrap_or_default();
        let is_last = later.iter().all(|state| ended < state.began);
        states.get(place).filter(|_| is_last).map(|state| state.bucket)
    }

    /// Whether a record and its label were beside each other at some moment.
    pub(super) fn is_whole(&self, shown: &Shown) -> bool {
        let Some(version) = shown.label else { return true };
        let own = self.find(shown.id, shown.version);
        let label = self.find(LABELS + shown.bucket, version);
        let (Some((own, after)), Some((label, after_label))) = (own, label) else { return true };
        let ends = |after: Option<&State<'_>>| after.map_or(usize::MAX, |state| state.moment);
        own.moment.max(label.moment) < ends(after).min(ends(after_label))
    }
}

/// Sorted by time, each with the last moment of all up to it.
fn highest(mut times: Vec<(Micros, usize)>) -> Vec<(Micros, usize)> {
    times.sort_unstable();
    let mut last = 0;
    for (_, moment) in &mut times {
        last = last.max(*moment);
        *moment = last;
    }
    times
}
