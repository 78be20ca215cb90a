//! The checker of moments: whether the origin ever was as an answer about many rows shows it.
//!
//! Beside [`crate::history`], which asks of each row whether it is new enough: this asks for one
//! place in the order of all commits at which everything in the answer was so. From that follows
//! that no row is old or missing, that no commit and no move of a window is seen by half, and that
//! any sum over the rows is right. Pure, so it can be tested with histories made by hand.
//! **Invariant**: what cannot be told from the notes counts for the answer, never against it.

mod index;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use self::index::Index;
use crate::history::{Micros, Written};

/// Rows from here on are labels: row `LABELS + n` is what every row in bucket `n` is joined with.
pub const LABELS: i64 = 1_000;

/// Violations that are kept with their data.
const SHOWN: usize = 10;

/// Which rows belong to an answer: those within all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Primary keys.
    pub ids: Range<i64>,
    /// Buckets.
    pub buckets: Range<i64>,
    /// What is left of the primary key when it is divided by the first number.
    pub residue: Option<(i64, i64)>,
}

impl Asked {
    /// Whether a row in this bucket belongs to it.
    fn holds(&self, id: i64, bucket: Option<i64>) -> bool {
        self.ids.contains(&id)
            && bucket.is_some_and(|bucket| self.buckets.contains(&bucket))
            && self.residue.is_none_or(|(by, left)| id.rem_euclid(by) == left)
    }
}

/// One record of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The primary key.
    pub id: i64,
    /// The version of the row.
    pub version: u64,
    /// The bucket in which it was shown, and the version of that bucket's label for records that
    /// are joined with it.
    pub bucket: i64,
    /// See `bucket`.
    pub label: Option<u64>,
}

/// What is to be of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// The whole answer.
    Whole,
    /// Each record of it; a row that moves or changes meanwhile may be missed.
    Each,
}

/// One answer, `W` being how it came about.
#[derive(Clone, Debug)]
pub struct Answer<W> {
    /// What was asked.
    pub asked: Asked,
    /// What was shown.
    pub shown: Vec<Shown>,
    /// After the answer was there.
    pub ended: Micros,
    /// Every commit acknowledged before this must be in it.
    pub includes: Micros,
    /// What is to be of one moment.
    pub grain: Grain,
    /// How it came about.
    pub way: W,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A row that nobody committed, or not there.
    Invented,
    /// A row is shown twice.
    Twice,
    /// A row is older than a commit that must be in the answer.
    Old,
    /// A row lacks that was there all the time.
    Missing,
    /// Each row is right, and there is no moment at which all of them were; or the two sides of a
    /// joined record never were beside each other.
    Torn,
}

/// What the notes come to.
#[derive(Debug)]
pub struct Report<W> {
    /// Answers by the way in which they came about.
    pub taken: BTreeMap<W, u64>,
    /// Answers during which something was committed.
    pub beside: u64,
    /// Answers whose records were to be of one moment each, and were not of one together.
    pub several: BTreeMap<W, u64>,
    /// Answers that were wrong, and why.
    pub wrong: BTreeMap<Fault, u64>,
    /// The first of them.
    pub violations: Vec<(Fault, Answer<W>)>,
}

impl<W> Default for Report<W> {
    fn default() -> Self {
        let (taken, several, wrong) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { taken, beside: 0, several, wrong, violations: Vec::new() }
    }
}

impl<W: Ord> Report<W> {
    /// Adds what another part of the same run did.
    pub fn add(&mut self, other: Self) {
        other.taken.into_iter().for_each(|(way, n)| *self.taken.entry(way).or_default() += n);
        other.wrong.into_iter().for_each(|(why, n)| *self.wrong.entry(why).or_default() += n);
        self.beside += other.beside;
        other.several.into_iter().for_each(|(way, n)| *self.several.entry(way).or_default() += n);
        let room = SHOWN.saturating_sub(self.violations.len());
        self.violations.extend(other.violations.into_iter().take(room));
    }

    /// Answers that were wrong.
    pub fn violated(&self) -> u64 {
        self.wrong.values().sum()
    }
}

/// Judges every answer against what was written. Of a row, and of all rows, a greater version was
/// committed later.
///
/// # Cost
/// For an answer: its rows and those there are, and the commits while it was made.
pub fn check<W: Clone + Ord>(written: &[Written], answers: &[Answer<W>]) -> Report<W> {
    let index = Index::new(written);
    let mut report = Report::default();
    for answer in answers {
        *report.taken.entry(answer.way.clone()).or_default() += 1;
        let (from, to) = index.moments(answer.includes, answer.ended);
        report.beside += u64::from(from < to);
        match judge(&index, answer) {
            Ok(()) => {}
            Err(Fault::Torn) if answer.grain == Grain::Each && !is_half(&index, answer) => {
                *report.several.entry(answer.way.clone()).or_default() += 1;
            }
            Err(fault) => {
                *report.wrong.entry(fault).or_default() += 1;
                if report.violations.len() < SHOWN {
                    report.violations.push((fault, answer.clone()));
                }
            }
        }
    }
    report
}

/// Whether a joined record has sides that never were beside each other.
fn is_half<W>(index: &Index<'_>, answer: &Answer<W>) -> bool {
    answer.shown.iter().any(|shown| !index.is_whole(shown))
}

fn judge<W>(index: &Index<'_>, answer: &Answer<W>) -> Result<(), Fault> {
    let mut shown: BTreeMap<i64, &Shown> = BTreeMap::new();
    for one in &answer.shown {
        if shown.insert(one.id, one).is_some() {
            return Err(Fault::Twice);
        }
    }
    if has_moment(index, answer, &shown) {
        return Ok(());
    }
    for one in &answer.shown {
        let bucket = index.bucket(one.id, one.version, answer.ended);
        if bucket != Some(one.bucket) || !answer.asked.holds(one.id, bucket) {
            return Err(Fault::Invented);
        }
        if index.is_old(one.id, one.version, answer.includes) {
            return Err(Fault::Old);
        }
        let label = LABELS + one.bucket;
        if let Some(version) = one.label {
            if index.bucket(label, version, answer.ended).is_none() {
                return Err(Fault::Invented);
            }
            if index.is_old(label, version, answer.includes) {
                return Err(Fault::Old);
            }
        }
    }
    let mut absent = index.rows().filter(|id| !shown.contains_key(id));
    let is_missing = |id: i64| {
        let only = index.unchanged(id, answer.includes, answer.ended);
        only.is_some_and(|bucket| answer.asked.holds(id, bucket))
    };
    if absent.any(is_missing) { Err(Fault::Missing) } else { Err(Fault::Torn) }
}

/// Whether there is a moment at which the origin was as the answer shows: counted are the rows that
/// differ, at the first moment that it may be of, and then along those that follow.
fn has_moment<W>(index: &Index<'_>, answer: &Answer<W>, shown: &BTreeMap<i64, &Shown>) -> bool {
    if shown.keys().any(|id| !index.is_row(*id)) {
        return false;
    }
    let is_joined = answer.shown.iter().any(|one| one.label.is_some());
    let differs = |id: i64, moment: usize| {
        let state = index.at(id, moment).filter(|state| answer.asked.holds(id, state.bucket));
        match (state, shown.get(&id)) {
            (None, None) => false,
            (Some(state), Some(one)) => {
                let label = one.label.and_then(|_| index.at(LABELS + one.bucket, moment));
                state.bucket != Some(one.bucket)
                    || state.version != one.version
                    || label.map(|label| label.version) != one.label
            }
            _ => true,
        }
    };
    let (from, to) = index.moments(answer.includes, answer.ended);
    let mut different: BTreeMap<i64, bool> = BTreeMap::new();
    different.extend(index.rows().map(|id| (id, differs(id, from))));
    let mut count = different.values().filter(|differs| **differs).count();
    for moment in from..=to {
        if from < moment {
            for id in index.changed(moment, is_joined) {
                let own = different.entry(id).or_default();
                let now = differs(id, moment);
                count = count + usize::from(now) - usize::from(*own);
                *own = now;
            }
        }
        if count == 0 {
            return true;
        }
    }
    false
}
