//! The judgement: each read against the writes.

use super::{
    CLOSE, Label, Minimum, Notes, Read, Report, Violation, Way, Written,
    index::{Index, belongs},
};
use crate::conformance::Ask;

/// Violations kept with all their data; more would only repeat the story.
const SHOWN: usize = 10;

/// Judges a whole run.
///
/// # Cost
/// A row is judged in the logarithm of its commits; an answer about a bucket looks at every row.
pub fn check(notes: &Notes) -> Report {
    let index = Index::new(&notes.written);
    let mut report = Report { reads: notes.reads.len() as u64, ..Report::default() };
    for read in &notes.reads {
        if let Some(violation) = judge(&index, read) {
            report.violated += 1;
            if report.violations.len() < SHOWN {
                report.violations.push(violation);
            }
        }
    }
    let close = notes.reads.iter().filter(|read| index.is_close(read, CLOSE));
    report.close_reads = close.count() as u64;
    let overlapping = notes.loads.iter().filter(|load| index.overlaps(load));
    report.overlapping_loads = overlapping.count() as u64;
    let taken = |way| notes.reads.iter().filter(|read| read.way == way).count() as u64;
    report.ways = Way::ALL.map(|way| (way, taken(way))).to_vec();
    report
}

impl Report {
    /// Adds what another part of the same run did.
    pub fn add(&mut self, other: Self) {
        let Self { violations, violated, reads, close_reads, overlapping_loads, ways } = other;
        let room = SHOWN.saturating_sub(self.violations.len());
        self.violations.extend(violations.into_iter().take(room));
        self.violated += violated;
        self.reads += reads;
        self.close_reads += close_reads;
        self.overlapping_loads += overlapping_loads;
        for (way, count) in ways {
            match self.ways.iter_mut().find(|(own, _)| *own == way) {
                Some((_, own)) => *own += count,
                None => self.ways.push((way, count)),
            }
        }
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
    let taken = |way: &Way| report.ways.iter().find(|(own, _)| own == way).map_or(0, |(_, n)| *n);
    let ways = minimum.ways.iter();
    let ways = ways.map(|way| (format!("reads by {way:?}"), taken(way), minimum.each_way));
    counted
        .into_iter()
        .chain(ways)
        .filter(|(_, count, least)| count < least)
        .map(|(what, count, least)| format!("{count} {what}, at least {least} are needed"))
        .collect()
}

fn judge(index: &Index<'_>, read: &Read) -> Option<Violation> {
    for &(row, version) in &read.seen {
        let made = index.made(row, version);
        let is_real =
            made.is_some_and(|commit| belongs(read.ask, commit) && commit.began <= read.ended);
        if !is_real {
            return Some(Violation::Invented { read: read.clone(), row: (row, version) });
        }
    }
    if read.label == Label::Stale {
        return None;
    }
    let is_missed = |required: &&Written| misses(index, read, required);
    let missed = match read.ask {
        Ask::Row(id) => index.required_of(id, read.includes).filter(is_missed),
        Ask::Bucket(_) => index.required(read.includes).find(is_missed),
    };
    missed.map(|missed| Violation::Missed { read: read.clone(), missed: *missed })
}

/// Whether the answer shows an older version of the row than the required one, or lacks the row
/// although no commit from the required one on took it away.
fn misses(index: &Index<'_>, read: &Read, required: &Written) -> bool {
    match read.seen.iter().find(|(row, _)| *row == required.row) {
        Some((_, version)) => *version < required.version,
        None => !index.may_lack(read.ask, required, read.ended),
    }
}
