//! Select: one read, from what is asked to a selection.
//!
//! A read decides by one snapshot (TD4), which `view.rs` finds: whether the window covers what is
//! asked, and what the answer is. **Invariant**: a selection shows each record that the origin had
//! when the last load of its part began, and nothing that was invalidated, before the read began,
//! without being loaded again.

use std::{fmt, ops::RangeBounds, sync::Arc};

use larder_core::{Error, ErrorKind};

use crate::{
    group::{Aggregate, Group},
    index::{Index, IndexKey, Ordered},
    lane::{AnyRanges, stretches, typed},
    measure::{Nothing, Number, Summed},
    ranges::Ranges,
    record::Record,
    selection::{Segment, Selection},
    snapshot::Snapshot,
    stats::Counts,
    table::Table,
    view::{View, is_doubted},
};

/// What a read does about what the window does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outside {
    /// Loads the missing part and joins it with what is there. The two parts are of two moments: a
    /// record that moves from the one into the other between them is shown once or not at all.
    #[default]
    LoadMissing,
    /// Loads all of it: one answer of the origin.
    LoadAll,
    /// Fails with `NotFound`.
    Refuse,
}

/// A read in the making: [`Table::select`].
#[must_use = "nothing is read until `read`"]
pub struct Select<'a, R: Record, W: IndexKey, K: IndexKey> {
    pub(crate) table: &'a Table<R, W>,
    pub(crate) index: Index<R, K>,
    pub(crate) ranges: Ranges<K>,
    pub(crate) also: Vec<Also<R>>,
    filters: Vec<Filter<R>>,
    pub(crate) outside: Outside,
    covered: Covered,
}

/// What counts as covered by the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covered {
    WithSlack,
    Exact,
}

/// Ranges of another index, which a record must be in as well.
pub(crate) struct Also<R> {
    pub(crate) place: usize,
    pub(crate) ranges: Arc<dyn AnyRanges>,
    filter: Filter<R>,
    refused: Option<Error>,
}

pub(crate) type Filter<R> = Arc<dyn Fn(&R) -> bool + Send + Sync>;

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Begins a read of the records whose key of `index` is in `ranges`, in the order of the index.
    pub fn select<K: IndexKey>(
        &self,
        index: &Index<R, K>,
        ranges: Ranges<K>,
    ) -> Select<'_, R, W, K> {
        let (also, filters) = (Vec::new(), Vec::new());
        let (index, outside) = (index.clone(), Outside::default());
        Select { table: self, index, ranges, also, filters, outside, covered: Covered::WithSlack }
    }

    /// The records in one range of an index.
    ///
    /// # Errors
    /// As [`Select::read`]; `Config` when the range ends before it begins.
    pub async fn range<K: IndexKey>(
        &self,
        index: &Index<R, K>,
        range: impl RangeBounds<K>,
    ) -> Result<Selection<R, K>, Error> {
        self.select(index, Ranges::of(range)?).read().await
    }

    /// The record with this primary key; `None` when the origin has none.
    ///
    /// # Errors
    /// As [`Select::read`].
    pub async fn get(&self, key: &R::Key) -> Result<Option<Arc<R>>, Error> {
        let only = Ranges::only([key.clone()]);
        let snapshot = self.ready().await?;
        // What is there is there, wherever the window ends; only a gap may be one of the window.
        if !is_doubted(&snapshot, snapshot.last, &[(0, &only)])
            && let Some(record) = snapshot.content.get(key)
        {
            Counts::add(&self.0.counts.hits, 1);
            return Ok(Some(record.clone()));
        }
        let selection = self.select(&self.primary(), only).exact().read().await?;
        Ok(selection.iter().next().cloned())
    }

    /// The first record of a range of an index.
    ///
    /// # Errors
    /// As [`Table::range`].
    pub async fn first<K: IndexKey>(
        &self,
        index: &Index<R, K>,
        range: impl RangeBounds<K>,
    ) -> Result<Option<Arc<R>>, Error> {
        let selection = self.select(index, Ranges::of(range)?).exact().read().await?;
        Ok(selection.iter().next().cloned())
    }

    /// What is kept of one group, of the records in the window.
    ///
    /// Of one moment, unless every one of several loads of what is in doubt was overtaken by
    /// changes of the same records: then each record is.
    ///
    /// # Errors
    /// As [`Select::read`].
    ///
    /// # Cost
    /// A logarithm of the records.
    pub async fn aggregate<G: IndexKey, N: Number + IndexKey>(
        &self,
        by: &Group<R, G, N>,
        group: &G,
    ) -> Result<Aggregate<N>, Error> {
        self.own(&by.index)?;
        let snapshot = match self.view(&[]).await? {
            View::Whole(snapshot) => snapshot,
            View::Restless(restless) => self.each(restless, &[]).await?,
        };
        let place = by.index.place;
        let ordered = snapshot.content.index::<(G, N), Summed<R, N>>(place);
        let ordered = ordered.expect("a group has an index of its own");
        let tree = &ordered.tree;
        let (from, to) = (tree.rank(|(own, _)| own < group), tree.rank(|(own, _)| own <= group));
        let number = |rank: usize| tree.rows(rank, to).next().map(|((_, number), _)| *number);
        Ok(Aggregate {
            count: to - from,
            sum: tree.sum(from, to, &ordered.spec.measure),
            min: number(from),
            max: to.checked_sub(1).filter(|last| from <= *last).and_then(number),
        })
    }
}

impl<R: Record, W: IndexKey, K: IndexKey> Select<'_, R, W, K> {
    /// Only records whose key of `index`, another one, is in `ranges`. The order stays that of the
    /// first index; which of both is walked is decided by which has fewer records there.
    pub fn and<L: IndexKey>(mut self, index: &Index<R, L>, ranges: Ranges<L>) -> Self {
        let refused = self.table.own(index).err();
        let (place, ranges): (_, Arc<dyn AnyRanges>) = (index.place, Arc::new(ranges));
        let (lane, own) = (self.table.0.lanes.get(place).cloned(), ranges.clone());
        let is_in = move |record: &R| lane.as_ref().is_some_and(|lane| lane.holds(&*own, record));
        self.also.push(Also { place, ranges, filter: Arc::new(is_in), refused });
        self
    }

    /// Only records of which `is_wanted` holds.
    pub fn filter(mut self, is_wanted: impl Fn(&R) -> bool + Send + Sync + 'static) -> Self {
        self.filters.push(Arc::new(is_wanted));
        self
    }

    /// What to do about what the window does not cover; without this, [`Outside::LoadMissing`].
    pub fn outside(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    /// Without the slack of the table ([`crate::Definition::slack`]): what the window does not
    /// cover is not covered.
    pub fn exact(mut self) -> Self {
        self.covered = Covered::Exact;
        self
    }

    /// Reads.
    ///
    /// # Errors
    /// `Timeout` when the table is not loaded in time, `NotFound` when `index` is of another table
    /// or the window does not cover what is asked and that is refused, `Unsupported` when it would
    /// have to be loaded by an index that has no loader; those of the loader, and `Timeout` when it
    /// takes too long, `Panicked` when it panics.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// # Cost
    /// Within the window and with nothing in doubt: a logarithm of the records for each range, no
    /// round trip; records are neither copied nor counted until they are looked at. With something
    /// in doubt: a load of that; at most three, and then one of all that is asked, while the same
    /// records change again in each of them.
    pub async fn read(self) -> Result<Selection<R, K>, Error> {
        let Decided { snapshot, whence, beyond } = self.decide(&self.ranges).await?;
        let Self { table, ref index, ref ranges, ref also, .. } = self;
        let segments = match whence {
            Whence::Window => table.segments_within(&snapshot, index, ranges, also),
            Whence::Loaded(records) => vec![Segment::Loaded(records)],
            Whence::Beyond { missing } => {
                let missing = self.to_load(&missing, ranges)?;
                vec![Segment::Loaded(
                    table.joined(&snapshot, index, ranges, ranges, missing).await?,
                )]
            }
        };
        let filters = self.conditions();
        Ok(Selection::new(snapshot, self.index, self.ranges, segments, filters, beyond))
    }

    /// What a read of `ranges`, all of this one's or some of them, is decided by.
    pub(crate) async fn decide(&self, ranges: &Ranges<K>) -> Result<Decided<R, K>, Error> {
        let Self { table, index, also, .. } = self;
        table.own(index)?;
        if let Some(refused) = also.iter().find_map(|also| also.refused.clone()) {
            return Err(refused);
        }
        let named = also.iter().map(|also| (also.place, &*also.ranges));
        let asked: Vec<(usize, &dyn AnyRanges)> = std::iter::once((index.place, ranges as _))
            .chain(named)
            .filter(|(place, _)| !table.lane(*place).has_many())
            .collect();
        let snapshot = match table.view(&asked).await? {
            View::Whole(snapshot) => snapshot,
            View::Restless(restless) => match self.loader() {
                None => table.each(restless, &asked).await?,
                Some(loader) => {
                    let snapshot = table.visible(&restless, &asked).await?;
                    return self.at_once(snapshot, ranges, loader).await;
                }
            },
        };
        let (missing, beyond) = self.outside_of(&snapshot, ranges);
        let whence = missing.map_or(Whence::Window, |missing| Whence::Beyond { missing });
        if matches!(whence, Whence::Window) {
            Counts::add(&table.0.counts.hits, 1);
        }
        Ok(Decided { snapshot, whence, beyond })
    }

    /// What the window of a snapshot may not cover; and what of it, by the window's index, counts
    /// as covered because of slack.
    fn outside_of(&self, snapshot: &Snapshot<R>, ranges: &Ranges<K>) -> OutsideOf<K> {
        let window = snapshot.window.as_deref().expect("a table that is loaded has a window");
        let missing = self.table.missing(window, &self.index, ranges, &self.also);
        let beyond = missing.as_ref().and_then(|_| self.beyond(window, ranges));
        (missing.filter(|_| beyond.is_none()), beyond)
    }

    /// By what all that is asked can be loaded.
    fn loader(&self) -> Option<AllBy<'_, R>> {
        let can_load = |place: usize| self.table.lane(place).can_load();
        if can_load(self.index.place) {
            return Some(AllBy::Own);
        }
        self.also.iter().find(|also| can_load(also.place)).map(AllBy::Also)
    }

    /// All of `ranges` in one load.
    async fn at_once(
        &self,
        snapshot: Arc<Snapshot<R>>,
        ranges: &Ranges<K>,
        loader: AllBy<'_, R>,
    ) -> Result<Decided<R, K>, Error> {
        let Self { table, index, ranges: all, .. } = self;
        if let (Some(missing), _) = self.outside_of(&snapshot, ranges) {
            self.to_load(&missing, ranges)?;
        }
        let records = match loader {
            AllBy::Own => table.joined(&snapshot, index, all, ranges, ranges).await?,
            AllBy::Also(also) => {
                Counts::add(&table.0.counts.misses, 1);
                let loaded = table.ask(also.place, &*also.ranges).await?;
                sorted(snapshot.content.of(index), all, loaded)
            }
        };
        Ok(Decided { snapshot, whence: Whence::Loaded(records), beyond: None })
    }

    /// What lies beyond the window, where that is within the slack.
    fn beyond(&self, window: &dyn AnyRanges, ranges: &Ranges<K>) -> Option<Arc<dyn AnyRanges>> {
        let Self { table, index, also, covered, .. } = self;
        let slack = table.0.slack.as_ref().filter(|_| *covered == Covered::WithSlack)?;
        let widened = slack(window);
        if table.missing(&*widened, index, ranges, also).is_some() {
            return None;
        }
        // What is asked of the window's index, and is in all that is said of it.
        let own = table.0.window.place;
        let mut beyond = widened.without(window);
        if index.place == own {
            beyond = beyond.intersection(ranges);
        }
        for also in also.iter().filter(|also| also.place == own) {
            beyond = beyond.intersection(&*also.ranges);
        }
        if !beyond.is_empty() {
            Counts::add(&table.0.counts.hits_within_slack, 1);
        }
        Some(beyond)
    }

    /// What is asked of the origin when `missing` of `ranges` is not covered.
    pub(crate) fn to_load<'r>(
        &self,
        missing: &'r Ranges<K>,
        ranges: &'r Ranges<K>,
    ) -> Result<&'r Ranges<K>, Error> {
        match self.outside {
            Outside::Refuse => Err(self.table.not_covered(&self.index)),
            Outside::LoadMissing => Ok(missing),
            Outside::LoadAll => Ok(ranges),
        }
    }

    /// All that a record must meet besides having a key in the ranges.
    pub(crate) fn conditions(&self) -> Vec<Filter<R>> {
        let also = self.also.iter().map(|also| also.filter.clone());
        self.filters.iter().cloned().chain(also).collect()
    }
}

/// What a read is decided by.
pub(crate) struct Decided<R, K> {
    pub(crate) snapshot: Arc<Snapshot<R>>,
    pub(crate) whence: Whence<R, K>,
    /// What of that which is asked lies outside the window, by its index, where that counts as
    /// covered because of slack.
    pub(crate) beyond: Option<Arc<dyn AnyRanges>>,
}

/// Where the answer to a read is.
pub(crate) enum Whence<R, K> {
    /// In the window.
    Window,
    /// Not all of it is: the window may not cover `missing`.
    Beyond { missing: Ranges<K> },
    /// It was loaded, as it was at one moment, in the order of the index.
    Loaded(Vec<(K, Arc<R>)>),
}

/// What a window does not cover, and what of it counts as covered.
type OutsideOf<K> = (Option<Ranges<K>>, Option<Arc<dyn AnyRanges>>);

/// By which index all that is asked is loaded.
enum AllBy<'a, R> {
    /// The one in whose order it is read.
    Own,
    /// Another one that is named.
    Also(&'a Also<R>),
}

/// So many times fewer records another index must meet for its way to be taken. Finding, copying
/// and sorting a record costs several times what walking past one does, and grows with the
/// logarithm. Measured with a million records: 3.5 times for a thousand that are found, 6 times for
/// thirty thousand. A larger factor walks past records for nothing, a smaller one sorts.
const SORTED_COST: usize = 8;

impl<R: Record, W: IndexKey> Table<R, W> {
    /// What of the ranges such a window may not cover; `None` when it covers all of them.
    fn missing<K: IndexKey>(
        &self,
        window: &dyn AnyRanges,
        index: &Index<R, K>,
        ranges: &Ranges<K>,
        also: &[Also<R>],
    ) -> Option<Ranges<K>> {
        let own = self.0.window.place;
        let is_covered = typed::<W>(window).is_all()
            || also.iter().any(|also| also.place == own && also.ranges.without(window).is_empty());
        if is_covered {
            return None;
        }
        if index.place != own {
            return Some(ranges.clone()).filter(|ranges| !ranges.is_empty());
        }
        let window = typed::<K>(window);
        (!window.covers(ranges)).then(|| ranges.without(window))
    }

    /// Where the answer is in the order of the index; found by another one of those named and then
    /// sorted, where that meets far fewer records.
    fn segments_within<K: IndexKey>(
        &self,
        snapshot: &Snapshot<R>,
        index: &Index<R, K>,
        ranges: &Ranges<K>,
        also: &[Also<R>],
    ) -> Vec<Segment<R, K>> {
        let ordered = snapshot.content.of(index);
        let stretches = stretches(&ordered.tree, ranges);
        let own: usize = stretches.iter().map(|(from, to)| to.saturating_sub(*from)).sum();
        let Some(also) = self.cheaper(snapshot, also, |_| own) else {
            return stretches.into_iter().map(|(from, to)| Segment::Kept { from, to }).collect();
        };
        let found = self.lane(also.place).within(&snapshot.content, &*also.ranges);
        vec![Segment::Loaded(sorted(ordered, ranges, found))]
    }

    /// That of the other indexes by which records are found with less work than by walking past
    /// so many of them as `walked` says, where so many are found by it.
    pub(crate) fn cheaper<'s>(
        &self,
        snapshot: &Snapshot<R>,
        also: &'s [Also<R>],
        walked: impl Fn(usize) -> usize,
    ) -> Option<&'s Also<R>> {
        let count = |also: &Also<R>| self.lane(also.place).count(&snapshot.content, &*also.ranges);
        let fewest = also.iter().map(|also| (count(also), also)).min_by_key(|(count, _)| *count);
        fewest.filter(|(count, _)| count * SORTED_COST < walked(*count)).map(|(_, also)| also)
    }

    /// The records of `asked`, which are some of `ranges`, with those of `missing` loaded, in the
    /// order of the index.
    pub(crate) async fn joined<K: IndexKey>(
        &self,
        snapshot: &Snapshot<R>,
        index: &Index<R, K>,
        ranges: &Ranges<K>,
        asked: &Ranges<K>,
        missing: &Ranges<K>,
    ) -> Result<Vec<(K, Arc<R>)>, Error> {
        Counts::add(&self.0.counts.misses, 1);
        let loaded = self.ask_together(index.place, missing).await?;
        let kept = self.lane(index.place).within(&snapshot.content, &asked.without(missing));
        // A record that was moved meanwhile is where the load found it, and nowhere else.
        let is_loaded = |record: &Arc<R>| loaded.binary_search_by(|own| own.order(record)).is_ok();
        let kept = kept.into_iter().filter(|record| !is_loaded(record));
        let found = kept.chain(loaded.iter().cloned());
        Ok(sorted(snapshot.content.of(index), ranges, found))
    }

    #[cold]
    fn not_covered<K>(&self, index: &Index<R, K>) -> Error {
        Error::new(ErrorKind::NotFound, "read table").subject(format!("`{}`", self.name())).detail(
            format!(
                "its window, on the index `{}`, does not cover what was asked by `{}`; adjust the \
                 window, name a range of it as well, or let the read load what is missing",
                self.0.window.name, index.name
            ),
        )
    }
}

/// Those of `records` that have a key in `ranges`, in the order of the index, each under the first
/// of these keys.
pub(crate) fn sorted<R: Record, K: IndexKey>(
    ordered: &Ordered<R, K, Nothing>,
    ranges: &Ranges<K>,
    records: impl IntoIterator<Item = Arc<R>>,
) -> Vec<(K, Arc<R>)> {
    let mut sorted = Vec::new();
    for record in records {
        let mut first = None;
        ordered.spec.keys.of(&record, &mut |key| {
            if first.is_none() && ranges.contains(&key) {
                first = Some(key);
            }
        });
        sorted.extend(first.map(|key| (key, record)));
    }
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.order(&b.1)));
    sorted
}

impl<R: Record, W: IndexKey, K: IndexKey> fmt::Debug for Select<'_, R, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("index", &self.index)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}
