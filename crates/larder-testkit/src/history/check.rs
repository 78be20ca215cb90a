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
pub fn check(notes: &Notes, minimum: &Minimum) -> Report {
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
    report.void = void(&report, minimum);
    report
}

fn void(report: &Report, minimum: &Minimum) -> Vec<String> {
    let counted = [
        ("reads", report.reads, minimum.reads),
        ("reads close after a commit", report.close_reads, minimum.close_reads),
        ("loads beside an open write", report.overlapping_loads, minimum.overlapping_loads),
    ];
    let counted = counted.map(|(what, count, least)| (what.to_owned(), count, least));
    let ways = report.ways.iter().filter(|(way, _)| minimum.ways.contains(way));
    let ways = ways.map(|(way, count)| (format!("reads by {way:?}"), *count, minimum.each_way));
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
