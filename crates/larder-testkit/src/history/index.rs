//! The writes of a run, arranged so that each read is judged in logarithmic time.
//!
//! **Invariant**: nothing here depends on the order in which the notes were taken.

use std::collections::{HashMap, HashSet};

use super::{Ask, Loaded, Micros, Outcome, Part, Read, TOLD, Written};

/// Everything that was written, by row and by time.
pub(super) struct Index<'a> {
    rows: HashMap<i64, Row<'a>>,
    /// Ends of commits that concern an answer, sorted.
    commits: HashMap<Ask, Vec<Micros>>,
    /// Rows with a change that was told softly.
    softened: HashSet<i64>,
    /// When transactions were open: disjoint, sorted.
    open: Vec<(Micros, Micros)>,
}

/// The commits of one row.
#[derive(Default)]
struct Row<'a> {
    /// By version.
    versions: Vec<&'a Written>,
    /// By when an answer must show it, each with the commit of the highest version among those that
    /// it must show by then.
    acknowledged: Vec<(Micros, &'a Written)>,
}

impl<'a> Index<'a> {
    pub(super) fn new(written: &'a [Written]) -> Self {
        let mut rows: HashMap<i64, Row<'a>> = HashMap::new();
        for commit in written.iter().filter(|write| write.outcome != Outcome::RolledBack) {
            rows.entry(commit.row).or_default().versions.push(commit);
        }
        let mut commits: HashMap<Ask, Vec<Micros>> = HashMap::new();
        for (id, row) in &mut rows {
            row.arrange(if TOLD <= *id { Told::OneByOne } else { Told::InOrder });
            let mut before = None;
            for commit in &row.versions {
                let buckets = [before, commit.bucket];
                let asks = buckets.into_iter().flatten().map(Ask::Bucket).chain([Ask::Row(*id)]);
                for ask in asks {
                    commits.entry(ask).or_default().push(commit.ended);
                }
                before = commit.bucket;
            }
        }
        commits.values_mut().for_each(|ends| ends.sort_unstable());
        let open = union(written.iter().map(|write| (write.began, write.ended)).collect());
        let soft = written.iter().filter(|write| write.outcome == Outcome::Softened);
        let softened = soft.map(|write| write.row).collect();
        Self { rows, commits, softened, open }
    }

    /// The newest commits that must be in an answer to `ask`: of its row, or of each row.
    pub(super) fn required(&self, ask: Ask, includes: Micros) -> impl Iterator<Item = &'a Written> {
        let (one, all) = match ask {
            Ask::Row(id) => (self.rows.get(&id), None),
            _ => (None, Some(self.rows.values())),
        };
        let rows = one.into_iter().chain(all.into_iter().flatten());
        rows.filter_map(move |row| row.required(includes))
    }

    /// Whether a change of the row was ever told softly.
    pub(super) fn was_softened(&self, row: i64) -> bool {
        self.softened.contains(&row)
    }

    /// The commit that made this version of the row.
    pub(super) fn made(&self, row: i64, version: u64) -> Option<&'a Written> {
        let versions = &self.rows.get(&row)?.versions;
        let place = versions.binary_search_by_key(&version, |commit| commit.version).ok()?;
        versions.get(place).copied()
    }

    /// Whether an answer may lack the row: some commit from `required` on, begun before `until`,
    /// left it outside.
    pub(super) fn may_lack(&self, part: &Part, required: &Written, until: Micros) -> bool {
        let Some(row) = self.rows.get(&required.row) else { return true };
        row.versions
            .iter()
            .skip_while(|commit| commit.version < required.version)
            .any(|commit| commit.began <= until && part.leaves_out(commit))
    }

    /// Whether a commit that concerns the read ended at most `within` before it began.
    pub(super) fn is_close(&self, read: &Read, within: Micros) -> bool {
        let mut asks = read.parts.iter().flat_map(|part| part.ask.covers());
        asks.any(|ask| {
            let Some(ends) = self.commits.get(&ask) else { return false };
            let after = ends.partition_point(|end| *end <= read.began);
            let last = after.checked_sub(1).and_then(|place| ends.get(place));
            last.is_some_and(|end| read.began - end <= within)
        })
    }

    /// Whether any transaction was open at some time during the load.
    pub(super) fn overlaps(&self, load: &Loaded) -> bool {
        let after = self.open.partition_point(|(_, end)| *end < load.began);
        self.open.get(after).is_some_and(|(begin, _)| *begin <= load.ended)
    }
}

/// How a cache hears of the commits of a row.
#[derive(Clone, Copy)]
enum Told {
    /// From the origin, in the order in which they were made.
    InOrder,
    /// From whoever made them, each for itself. What is told names the row as this one commit found
    /// it, so it must be shown once those before it were told as well:
    ///
    /// 1. An answer is built from a row in bucket 2.
    /// 2. One task moves it to bucket 1 and has not told of it yet.
    /// 3. Another one removes it, and tells that it was in bucket 1 and is gone.
    /// 4. The answer falls when the first one tells that it has left bucket 2.
    OneByOne,
}

impl<'a> Row<'a> {
    fn arrange(&mut self, told: Told) {
        self.versions.sort_unstable_by_key(|commit| commit.version);
        let mut known = 0;
        let known_at = |commit: &&'a Written| {
            known = match told {
                Told::InOrder => commit.ended,
                Told::OneByOne => commit.ended.max(known),
            };
            (known, *commit)
        };
        self.acknowledged = self.versions.iter().map(known_at).collect();
        self.acknowledged.sort_unstable_by_key(|(known, commit)| (*known, commit.version));
        let mut newest: Option<&'a Written> = None;
        for (_, commit) in &mut self.acknowledged {
            *commit = newest.filter(|newest| commit.version < newest.version).unwrap_or(commit);
            newest = Some(*commit);
        }
    }

    fn required(&self, includes: Micros) -> Option<&'a Written> {
        let after = self.acknowledged.partition_point(|(end, _)| *end < includes);
        let (_, newest) = self.acknowledged.get(after.checked_sub(1)?)?;
        Some(newest)
    }
}

fn union(mut spans: Vec<(Micros, Micros)>) -> Vec<(Micros, Micros)> {
    spans.sort_unstable();
    let mut joined: Vec<(Micros, Micros)> = Vec::new();
    for (begin, end) in spans {
        match joined.last_mut() {
            Some((_, last)) if begin <= *last => *last = end.max(*last),
            _ => joined.push((begin, end)),
        }
    }
    joined
}
