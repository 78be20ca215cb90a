//! The judgement: each read against the writes.

use super::{
    CLOSE, Kind, Label, Minimum, Notes, Part, Read, Report, Violation, Way, Written, index::Index,
};

/// Violations kept with all their data; more would only repeat the story.
const SHOWN: usize = 10;

/// Judges a whole run.
///
/// # Cost
/// A row is judged in the logarithm of its commits; an answer about several looks at every row.
pub fn check(notes: &Notes) -> Report {
    let index = Index::new(&notes.written);
    let mut report = Report { reads: notes.reads.len() as u64, ..Report::default() };
    for read in &notes.reads {
        let place = (read.kind, read.way);
        *report.taken.entry(place).or_default() += 1;
        if let Some(violation) = judge(&index, read) {
            report.violated += 1;
            *report.violated_in.entry(place).or_default() += 1;
            if report.violations.len() < SHOWN {
                report.violations.push(violation);
            }
        }
    }
    let close = notes.reads.iter().filter(|read| index.is_close(read, CLOSE));
    report.close_reads = close.count() as u64;
    let overlapping = notes.loads.iter().filter(|load| index.overlaps(load));
    report.overlapping_loads = overlapping.count() as u64;
    report
}

impl Report {
    /// Adds what another part of the same run did.
    pub fn add(&mut self, other: Self) {
        let Self { violations, violated, violated_in, .. } = other;
        let room = SHOWN.saturating_sub(self.violations.len());
        self.violations.extend(violations.into_iter().take(room));
        self.violated += violated;
        self.reads += other.reads;
        self.close_reads += other.close_reads;
        self.overlapping_loads += other.overlapping_loads;
        for (own, other) in [(&mut self.taken, other.taken), (&mut self.violated_in, violated_in)] {
            for (place, count) in other {
                *own.entry(place).or_default() += count;
            }
        }
    }

    /// Reads by `way`.
    pub fn by(&self, way: Way) -> u64 {
        self.taken.iter().filter(|((_, own), _)| *own == way).map(|(_, count)| count).sum()
    }

    /// Reads of `kind`.
    pub fn of(&self, kind: Kind) -> u64 {
        self.taken.iter().filter(|((own, _), _)| *own == kind).map(|(_, count)| count).sum()
    }

    /// What there was too little of. Not empty means that the run is void: it says nothing.
    pub fn lacks(&self, minimum: &Minimum) -> Vec<String> {
        lacks(self, minimum)
    }
}

fn lacks(report: &Report, minimum: &Minimum) -> Vec<String> {
    let counted = [
        ("reads", report.reads, minimum.reads),
        ("reads close after a commit", report.close_reads, minimum.close_reads),
        ("loads beside an open write", report.overlapping_loads, minimum.overlapping_loads),
    ];
    let counted = counted.map(|(what, count, least)| (what.to_owned(), count, least));
    let ways = minimum.ways.iter();
    let ways = ways.map(|way| (format!("reads by {way:?}"), report.by(*way), minimum.each_way));
    let kinds = minimum.kinds.iter();
    let kinds =
        kinds.map(|kind| (format!("reads of {kind:?}"), report.of(*kind), minimum.each_kind));
    counted
        .into_iter()
        .chain(ways)
        .chain(kinds)
        .filter(|(_, count, least)| count < least)
        .map(|(what, count, least)| format!("{count} {what}, at least {least} are needed"))
        .collect()
}

fn judge(index: &Index<'_>, read: &Read) -> Option<Violation> {
    read.parts.iter().find_map(|part| judge_part(index, read, part))
}

fn judge_part(index: &Index<'_>, read: &Read, part: &Part) -> Option<Violation> {
    for &(row, version) in &part.seen {
        let made = index.made(row, version);
        let is_real =
            made.is_some_and(|commit| part.ask.matches(commit) && commit.began <= read.ended);
        if !is_real {
            return Some(Violation::Invented { read: read.clone(), row: (row, version) });
        }
    }
    let is_due = |required: &&Written| match read.label {
        Label::Fresh => true,
        Label::Stale => !index.was_softened(required.row),
        Label::Unproven => false,
    };
    let mut required = index.required(part.ask, read.includes(part.ask)).filter(is_due);
    let missed = required.find(|required| misses(index, read, part, required));
    missed.map(|missed| Violation::Missed { read: read.clone(), missed: *missed })
}

/// Whether the answer shows an older version of the row than the required one, or lacks the row
/// although no commit from the required one on took it away.
fn misses(index: &Index<'_>, read: &Read, part: &Part, required: &Written) -> bool {
    match part.seen.iter().find(|(row, _)| *row == required.row) {
        Some((_, version)) => *version < required.version,
        None => !index.may_lack(part, required, read.ended),
    }
}
