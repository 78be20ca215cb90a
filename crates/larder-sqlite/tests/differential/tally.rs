//! What a run has seen: how often entries fell, and how often for nothing, by shape.

use std::collections::BTreeMap;

use larder_core::{Dependency, dependency::Atom};

/// Counts of one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Entries looked at after a transaction that changed some row.
    pub looks: u64,
    /// Of these, results that had changed.
    pub changed: u64,
    /// Of these, entries that were invalidated.
    pub invalidated: u64,
}

/// Row changes of one transaction that count: what a trigger multiplies proves no more.
const COUNTED_MAX: u64 = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub cases: u64,
    pub changes: u64,
    pub shapes: BTreeMap<&'static str, Count>,
}

impl Tally {
    pub fn note_changes(&mut self, changes: u64) {
        self.changes += changes.min(COUNTED_MAX);
    }

    pub fn note(&mut self, shape: &'static str, changed: bool, invalidated: bool) {
        let count = self.shapes.entry(shape).or_default();
        count.looks += 1;
        count.changed += u64::from(changed);
        count.invalidated += u64::from(invalidated);
    }

    pub fn print(&self, title: &str) {
        println!("{title}: {} cases, {} row changes", self.cases, self.changes);
        println!(
            "{:>14} {:>10} {:>10} {:>12} {:>10}",
            "shape", "looks", "changed", "invalidated", "needless"
        );
        for (shape, count) in &self.shapes {
            let needless = count.invalidated - count.changed.min(count.invalidated);
            #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
            let share = 100.0 * needless as f64 / count.invalidated.max(1) as f64;
            println!(
                "{shape:>14} {:>10} {:>10} {:>12} {share:>9.1}%",
                count.looks, count.changed, count.invalidated
            );
        }
    }

    /// Whether results of each of `shapes` changed often enough for the run to mean something.
    pub fn is_enough(&self, changed_min: u64, shapes: &[&str]) -> bool {
        let changed = |shape: &&str| self.shapes.get(shape).map_or(0, |count| count.changed);
        shapes.iter().all(|shape| changed_min <= changed(shape))
    }
}

/// Names the shape of a result's dependencies.
pub fn shape(dependencies: &[Dependency]) -> &'static str {
    let is = |test: fn(&Atom) -> bool| dependencies.iter().all(|d| test(d.atom()));
    let any = |test: fn(&Atom) -> bool| dependencies.iter().any(|d| test(d.atom()));
    if any(|atom| matches!(atom, Atom::Everything)) {
        "everything"
    } else if is(|atom| matches!(atom, Atom::Table(_))) {
        "table"
    } else if any(|atom| matches!(atom, Atom::Table(_))) {
        "mixed"
    } else if is(|atom| matches!(atom, Atom::Id { .. })) {
        "id"
    } else if dependencies.len() == 1 {
        "scope"
    } else {
        "join-scope"
    }
}
