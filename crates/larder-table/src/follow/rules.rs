//! The rules: what a changed row of each of the origin's tables means for the records of a table.
//!
//! They are said before the feed is started and never change after; `told.rs` goes by them.
//! **Invariant**: each rule is also there in words, so that a file knows which ones it was kept by.

#[cfg(feature = "sqlite")]
use std::sync::atomic::AtomicBool;
use std::{fmt, sync::Arc, time::Duration};

use super::{Image, followed::Hearing};
use crate::{
    index::{Index, IndexKey},
    lane::AnyRanges,
    ranges::Ranges,
    record::Record,
};

pub(super) type Touches = Box<dyn Fn(&Image<'_>) -> Option<Arc<dyn AnyRanges>> + Send + Sync>;
pub(super) type MakesRecord<R> = Box<dyn Fn(&Image<'_>) -> Option<R> + Send + Sync>;

/// An index, whatever its keys are.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) place: usize,
    /// Which definition it belongs to.
    pub(super) of: u64,
}

/// What rows of one table of the origin mean.
pub(super) enum Rule<R> {
    /// They are the records. One that cannot be made may be found by its primary key.
    Are(MakesRecord<R>, Option<Touches>),
    /// They touch records by an index.
    Touch(Place, Touches),
    /// Nobody can say which records they go into.
    Doubt,
}

/// What the changes that a feed tells of mean for a table.
pub struct Rules<R: Record> {
    pub(super) rules: Vec<(Arc<str>, Rule<R>)>,
    pub(super) max_staleness: Duration,
    pub(super) hearing: Hearing,
    reads_unwatched: Option<ReadsUnwatched>,
    /// Each rule in words, by which a file is known to have followed the same ones.
    pub(super) said: Vec<Arc<str>>,
}

/// Finds out, once the feed has started, whether the records are of something that it does not
/// watch: what became of that while nobody followed it is told by nobody.
pub(crate) type ReadsUnwatched = Arc<dyn Fn() -> bool + Send + Sync>;

/// How old a table's knowledge of its origin may be, unless said otherwise.
const MAX_STALENESS: Duration = Duration::from_secs(1);

impl<R: Record> Default for Rules<R> {
    fn default() -> Self {
        let hearing = Hearing::Expected;
        let (rules, said, max_staleness) = (Vec::new(), Vec::new(), MAX_STALENESS);
        Self { rules, max_staleness, hearing, reads_unwatched: None, said }
    }
}

impl<R: Record> Rules<R> {
    /// No rules: nothing that a feed tells means anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Each row of `table` is a record, and what `record` makes of it is put in its place without
    /// asking the origin. `None` says that it cannot be told from the row: then everything is in
    /// doubt.
    ///
    /// Where the feed says no more than that a row may have changed, the record with its primary
    /// key is loaded again, or everything if there is no loader by that. The feed of SQLite says so
    /// of rows that stand in the way of others (`INSERT OR IGNORE`, `REPLACE`, an upsert whose
    /// condition does not hold), and of all rows of a table with triggers of the application.
    #[must_use]
    pub fn records(
        self,
        table: impl Into<Arc<str>>,
        record: impl Fn(&Image<'_>) -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        self.with(table.into(), Rule::Are(Box::new(record), None), "are the records")
    }

    /// The same for rows that are found by the primary key, in the ranges that `by` tells of, where
    /// no record can be made of them.
    #[cfg(feature = "sqlite")]
    pub(crate) fn records_or_found<K: IndexKey>(
        self,
        table: Arc<str>,
        by: &str,
        record: impl Fn(&Image<'_>) -> Option<R> + Send + Sync + 'static,
        ranges: impl Fn(&Image<'_>) -> Option<Ranges<K>> + Send + Sync + 'static,
    ) -> Self {
        let ranges = move |image: &Image<'_>| -> Option<Arc<dyn AnyRanges>> {
            Some(Arc::new(ranges(image)?))
        };
        let said = format!("are the records, or are found by {by}");
        self.with(table, Rule::Are(Box::new(record), Some(Box::new(ranges))), &said)
    }

    fn with(mut self, table: Arc<str>, rule: Rule<R>, said: &str) -> Self {
        self.said.push(format!("{table}: {said}").into());
        self.rules.push((table, rule));
        self
    }

    /// A row of `table` goes into the records with this key of `index`: of its parent by its own
    /// foreign key, of its children by the primary key they refer to. Records are touched under the
    /// key of the row as it was and as it is. `None` says that it cannot be told.
    #[must_use]
    pub fn touches<K: IndexKey>(
        self,
        table: impl Into<Arc<str>>,
        index: &Index<R, K>,
        key: impl Fn(&Image<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        let ranges = move |image: &Image<'_>| -> Option<Arc<dyn AnyRanges>> {
            Some(Arc::new(Ranges::only([key(image)?])))
        };
        let place = Place { place: index.place, of: index.of };
        let said = format!("touch `{}`", index.name());
        self.with(table.into(), Rule::Touch(place, Box::new(ranges)), &said)
    }

    /// A row of `table` goes into records, and nobody can say which: every change of it puts
    /// everything in doubt.
    #[must_use]
    pub fn doubts(self, table: impl Into<Arc<str>>) -> Self {
        self.with(table.into(), Rule::Doubt, "are in doubt")
    }

    /// As [`Rules::touches`] with the keys in some ranges, which `by` tells of.
    #[cfg(feature = "sqlite")]
    pub(crate) fn touches_within<K: IndexKey>(
        self,
        table: Arc<str>,
        index: &Index<R, K>,
        by: &str,
        ranges: impl Fn(&Image<'_>) -> Option<Ranges<K>> + Send + Sync + 'static,
    ) -> Self {
        let ranges = move |image: &Image<'_>| -> Option<Arc<dyn AnyRanges>> {
            Some(Arc::new(ranges(image)?))
        };
        let place = Place { place: index.place, of: index.of };
        let said = format!("touch `{}` by {by}", index.name());
        self.with(table, Rule::Touch(place, Box::new(ranges)), &said)
    }

    /// Says that loads see to it that the feed tells of every change of what they read: of what is
    /// not watched by the name `unwatched`, which means something once `is_read` is set.
    #[cfg(feature = "sqlite")]
    pub(crate) fn heard_by_origin(mut self, unwatched: Arc<str>, is_read: Arc<AtomicBool>) -> Self {
        self.hearing = Hearing::OfOrigin { unwatched, is_read };
        self
    }

    /// Says how to find out whether the records are of something that the feed does not watch.
    #[cfg(feature = "sqlite")]
    pub(crate) fn finding_out(mut self, reads_unwatched: ReadsUnwatched) -> Self {
        self.reads_unwatched = Some(reads_unwatched);
        self
    }

    pub(crate) fn reads_unwatched(&self) -> Option<ReadsUnwatched> {
        self.reads_unwatched.clone()
    }

    /// Each rule in words.
    pub(crate) fn said(&self) -> &[Arc<str>] {
        &self.said
    }

    /// Whether a rule speaks of this table.
    #[cfg(feature = "sqlite")]
    pub(crate) fn speak_of(&self, table: &str) -> bool {
        self.rules.iter().any(|(own, _)| **own == *table)
    }

    /// How old the knowledge of the origin may be for a read; beyond it the feed is asked first.
    /// One second without this.
    #[must_use]
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }
}

impl<R: Record> fmt::Debug for Rules<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&str> = self.rules.iter().map(|(table, _)| &**table).collect();
        f.debug_struct("Rules").field("tables", &tables).finish_non_exhaustive()
    }
}
