//! What a run has seen: how often a scope fell, and how often for nothing, by kind of condition.

use std::collections::BTreeMap;

use crate::row::Known;

/// For each kind, the share of falls that may be for nothing where the old and the new row are
/// known. A run must have tried every kind.
///
/// The first five say exactly which rows they hold. A page falls for what changes inside its
/// stretch although the same rows stay on it, measured 39.8 %; of two ranges only the first is
/// kept, measured 66.7 %. The ceilings leave room for the chance of a short run.
const CEILINGS: [(&str, f64); 7] = [
    ("id", 0.0),
    ("table", 0.0),
    ("equality", 0.0),
    ("list", 0.0),
    ("range", 0.0),
    ("page", 0.44),
    ("two ranges", 0.76),
];

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    checks: u64,
    changed: u64,
    touched: u64,
}

impl Count {
    /// The share of falls that were for nothing.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn needless(self) -> f64 {
        (self.touched - self.changed) as f64 / self.touched.max(1) as f64
    }
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

    /// The kinds that fell for nothing more often than they may, with their shares.
    pub fn above_ceilings(&self) -> Vec<String> {
        let above = CEILINGS.iter().filter_map(|(kind, ceiling)| {
            let share = self.0.get(&(*kind, Known::Both))?.needless();
            (*ceiling < share).then(|| {
                let (share, ceiling) = (100.0 * share, 100.0 * ceiling);
                format!(
                    "{kind}: {share:.1} % of the falls are needless, at most {ceiling} % may be"
                )
            })
        });
        above.collect()
    }

    /// Whether lists of each kind changed often enough for the run to mean something.
    pub fn is_enough(&self) -> bool {
        CEILINGS.iter().all(|(kind, _)| {
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
            let share = 100.0 * count.needless();
            let Count { checks, changed, touched } = count;
            let known = format!("{known:?}");
            println!(
                "{kind:>15} {known:>10} {checks:>10} {changed:>10} {touched:>10} {share:>9.1}%"
            );
        }
    }
}

#[test]
fn a_share_above_its_ceiling_is_told() {
    let mut tally = Tally::default();
    tally.note("range", Known::Both, true, true);
    tally.note("page", Known::Both, true, true);
    assert_eq!(tally.above_ceilings(), [""; 0]);
    tally.note("range", Known::Both, false, true);
    tally.note("page", Known::After, false, true);
    let told = tally.above_ceilings();
    assert_eq!(told, ["range: 50.0 % of the falls are needless, at most 0 % may be"]);
    tally.note("page", Known::Both, false, true);
    assert_eq!(tally.above_ceilings().len(), 2);
}
