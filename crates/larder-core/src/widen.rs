//! Widening: a set of dependencies that is larger than its limit becomes a shorter, wider one.
//!
//! Apart from `dependency`, which only says what a set is. **Invariant**: whatever touched a
//! dependency of the set touches one of the widened set too, so an entry falls more often and never
//! less.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use crate::{
    dependency::{Atom, Dependency, DependencySet},
    timeline::Name,
};

/// `set` with at most `limit` dependencies, or as few as there are timelines.
///
/// Ids and scopes become their table, the table with most of them first; where that is not enough,
/// everything of a timeline becomes the whole timeline.
///
/// # Cost
/// A few hashes for each dependency that remains.
#[must_use]
pub fn widened(set: &DependencySet, limit: usize) -> DependencySet {
    let tables = most_common(set, |dependency| {
        let table = dependency.about_table()?;
        let is_whole = matches!(dependency.atom(), Atom::Table(_));
        (!is_whole).then(|| (dependency.timeline().clone(), Some(table.clone())))
    });
    let mut left = set.len();
    let mut wide: Vec<Group> = Vec::new();
    for (group, count) in tables {
        if left <= limit || count < 2 {
            break;
        }
        left = left + 1 - count;
        wide.push(group);
    }
    let mut shorter = replaced(set, &wide);
    if limit < shorter.len() {
        let timelines = most_common(&shorter, |one| Some((one.timeline().clone(), None)));
        let mut left = shorter.len();
        wide.clear();
        for (group, count) in timelines {
            if left <= limit {
                break;
            }
            left = left + 1 - count;
            wide.push(group);
        }
        shorter = replaced(&shorter, &wide);
    }
    shorter.mark_widened();
    shorter
}

/// Whether `set` has the whole table or timeline of `dependency`, which then adds nothing.
pub fn covers(set: &DependencySet, dependency: &Dependency) -> bool {
    let holds = |wide: Dependency| set.digests().binary_search(&wide.digest()).is_ok();
    let timeline = dependency.timeline();
    let table = dependency.about_table();
    holds(Dependency::everything(timeline.clone()))
        || table.is_some_and(|table| holds(Dependency::table(timeline.clone(), table.clone())))
}

/// A table of a timeline, or the timeline.
type Group = (Name, Option<Arc<str>>);

/// The groups of the set's dependencies, the largest first; equal ones in the order of their names,
/// so that the same set is always widened alike.
fn most_common(
    set: &DependencySet,
    group: impl Fn(&Dependency) -> Option<Group>,
) -> Vec<(Group, usize)> {
    let mut counts: HashMap<Group, usize> = HashMap::new();
    for group in set.iter().filter_map(group) {
        *counts.entry(group).or_default() += 1;
    }
    let mut groups: Vec<(Group, usize)> = counts.into_iter().collect();
    groups.sort_by(|(a, of_a), (b, of_b)| (Reverse(of_a), a).cmp(&(Reverse(of_b), b)));
    groups
}

/// The set with one dependency for each of `wide` in place of all that belong to it.
fn replaced(set: &DependencySet, wide: &[Group]) -> DependencySet {
    let is_wide = |timeline: &Name, table: Option<&Arc<str>>| {
        wide.iter().any(|(name, own)| name == timeline && own.as_ref() == table)
    };
    let widen = |dependency: &Dependency| {
        let timeline = dependency.timeline();
        if is_wide(timeline, None) {
            return Dependency::everything(timeline.clone());
        }
        match dependency.about_table() {
            Some(table) if is_wide(timeline, Some(table)) => {
                Dependency::table(timeline.clone(), table.clone())
            }
            _ => dependency.clone(),
        }
    };
    let mut replaced: DependencySet = set.iter().map(widen).collect();
    set.holds().iter().for_each(|hold| replaced.keep(hold.clone()));
    replaced
}
