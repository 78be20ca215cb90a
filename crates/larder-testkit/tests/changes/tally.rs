//! What a run has seen: how often a scope fell, and how often for nothing, by kind of condition.

use std::collections::BTreeMap;

use crate::row::Known;

/// Kinds whose scopes say exactly which rows they hold.
const EXACT: [&str; 5] = ["id", "table", "equality", "list", "range"];

/// Kinds that a run must have tried.
const ALL: [&str; 7] = ["id", "table", "equality", "list", "range", "two ranges", "page"];

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    checks: u64,
    changed: u64,
    touched: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<(&'static str, Known), Count>);

impl Tally {
    pub fn note(&mut self, kind: &'static str, known: Known, changed: bool, touched: bool) {
        let count = self.0.entry((kind, known)).or_default();
        count.checks += 1;
        count.changed += u64::from(changed);
        count.touched += u64::from(touched);
    }

    pub fn checks(&self) -> u64 {
        self.0.values().map(|count| count.checks).sum()
    }

    /// Scopes that fell for nothing although they could have known.
    pub fn needless_where_exact(&self) -> u64 {
        let exact = self
            .0
            .iter()
            .filter(|((kind, known), _)| *known == Known::Both && EXACT.contains(kind));
        exact.map(|(_, count)| count.touched - count.changed).sum()
    }

    /// Whether lists of each kind changed often enough for the run to mean something.
    pub fn is_enough(&self) -> bool {
        ALL.iter().all(|kind| {
            let own = self.0.iter().filter(|((own, _), _)| own == kind);
            100 <= own.map(|(_, count)| count.changed).sum::<u64>()
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    pub fn print(&self, seconds: f64) {
        let rate = self.checks() as f64 / seconds.max(0.001);
        println!("{} checks, 0 missed, {rate:.0} a second", self.checks());
        println!("      condition      known     checks    changed    touched   needless");
        for ((kind, known), count) in &self.0 {
            let needless = count.touched - count.changed;
            let share = 100.0 * needless as f64 / count.touched.max(1) as f64;
            let Count { checks, changed, touched } = count;
            let known = format!("{known:?}");
            println!(
                "{kind:>15} {known:>10} {checks:>10} {changed:>10} {touched:>10} {share:>9.1}%"
            );
        }
    }
}
