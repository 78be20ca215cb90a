//! Asked: a table as the origin of entries, so that what is built from its records falls with them.
//!
//! A loader asks a table as it asks a database, and what its value depends on and of which moment
//! it is comes with the answer. Apart from `select.rs`, whose reads promise less: what the table
//! was *told* of, where an entry needs what was *visible* when its load began. **Invariant**: an
//! answer shows every change that the stamp of its load covers.
//!
//! # Implementation notes
//!
//! A cache and a table may hear of the same commit one after the other:
//!
//! 1. The cache is told of position 7 and a load begins, stamped 7.
//! 2. It asks the table, which was told up to 6 and finds nothing in doubt.
//! 3. Built from that the entry would be of position 7, and the change at 7 never touch it.
//!
//! So the table's own feed is asked first: what was visible before is told when it answers. What
//! reads are served stale by name is loaded again for the same reason.
//!
//! What the feed does not watch it touches as one thing, if somebody reads it. Where loads of the
//! table see to that, an answer depends on it without asking the feed for a touch: that would be
//! one at every commit from then on, for all who follow the origin.

use std::{fmt, sync::Arc};

use larder_core::{
    BoxFuture, Dependency, Error, ErrorKind, Name, Stamp,
    origin::{Answer, Origin},
    timeline::APP,
};

use crate::{
    follow::Followed,
    index::{Index, IndexKey},
    ranges::Ranges,
    record::Record,
    selection::Selection,
    snapshot::{Mark, Meanwhile},
    table::Table,
};

type Names<K> = Arc<dyn Fn(&Ranges<K>) -> Vec<Dependency> + Send + Sync>;

/// A table as an origin, asked by ranges of one of its indexes: [`Table::asked_by`].
///
/// ```
/// # use larder_core::{Error, origin::Origin};
/// # use larder_table::{Ranges, Record, Table, Index};
/// # struct Reading; impl Record for Reading { type Key = u64; fn key(&self) -> u64 { 1 } }
/// # type Times = Index<Reading, i64>;
/// # fn load_with(table: &Table<Reading, i64>, by_time: &Times) -> Result<(), Error> {
/// let readings = table.asked_by(by_time);
/// // In a loader: `load.ask(&readings, &Ranges::of(0..60)?).await?`
/// # drop(readings.shape(&Ranges::of(0..60)?)); Ok(()) }
/// ```
pub struct Asked<R: Record, W: IndexKey, K> {
    table: Table<R, W>,
    index: Index<R, K>,
    timeline: Name,
    names: Option<Names<K>>,
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// This table as an origin of entries. One that follows a feed is asked on the timeline of that
    /// feed, which the cache must follow too; so it is to be called after [`Table::follow`].
    ///
    /// Entries depend on every row of the tables that its rules speak of, until [`Asked::naming`]
    /// says it better; and on [`Table::dependency`].
    pub fn asked_by<K: IndexKey>(&self, index: &Index<R, K>) -> Asked<R, W, K> {
        let timeline = self.timeline().unwrap_or_else(|| APP.into());
        Asked { table: self.clone(), index: index.clone(), timeline, names: None }
    }

    /// What every entry depends on that asked this table: to be invalidated in the cache after an
    /// invalidation of the table by hand was committed. Not before: a load in between would find
    /// the old records and come after what tells of the change.
    pub fn dependency(&self) -> Dependency {
        Dependency::table(APP, self.name())
    }

    fn timeline(&self) -> Option<Name> {
        self.0.followed.get().map(|followed| followed.timeline().clone())
    }
}

impl<R: Record, W: IndexKey, K: IndexKey> Asked<R, W, K> {
    /// Says what the records in some ranges of the index are built from, in place of every row of
    /// every table: the scope of a device for the readings of that device.
    #[must_use]
    pub fn naming(
        mut self,
        names: impl Fn(&Ranges<K>) -> Vec<Dependency> + Send + Sync + 'static,
    ) -> Self {
        self.names = Some(Arc::new(names));
        self
    }

    async fn answer(
        &self,
        ranges: &Ranges<K>,
        before: Stamp,
    ) -> Result<Answer<Selection<R, K>>, Error> {
        self.table.expect_own("ask table for what an entry is built from")?;
        if self.table.timeline().is_some_and(|timeline| timeline != self.timeline) {
            return Err(Error::new(ErrorKind::Config, "ask table")
                .subject(format!("`{}`", self.table.name()))
                .detail("it follows a feed since; call `asked_by` after `follow`"));
        }
        self.table.catch_up().await?;
        let is_served = |mark: &Mark| mark.meanwhile == Meanwhile::ServeStale;
        if self.table.snapshot().marks.iter().any(|mark| is_served(mark)) {
            self.table.refresh(is_served).await?;
        }
        // Exactly, for an entry does not say that something is missing.
        let rows = self.table.select(&self.index, ranges.clone()).exact().read().await?;
        let mut dependencies = self.shape(ranges);
        let companions = dependencies.iter().filter_map(|one| self.table.companion(one));
        dependencies.extend(companions.collect::<Vec<_>>());
        Ok(Answer { rows, stamp: before, dependencies })
    }
}

impl<R: Record, W: IndexKey, K: IndexKey> Origin for Asked<R, W, K> {
    type Query = Ranges<K>;
    type Rows = Selection<R, K>;

    fn timeline(&self) -> &Name {
        &self.timeline
    }

    fn shape(&self, ranges: &Ranges<K>) -> Vec<Dependency> {
        let mut shape = match (&self.names, self.table.0.followed.get()) {
            (Some(names), _) => names(ranges),
            (None, Some(followed)) => followed.dependencies().collect(),
            (None, None) => Vec::new(),
        };
        shape.push(self.table.dependency());
        shape.extend(self.table.0.followed.get().and_then(Followed::unwatched));
        shape
    }

    fn load<'a>(
        &'a self,
        ranges: &'a Ranges<K>,
        before: Stamp,
    ) -> BoxFuture<'a, Result<Answer<Selection<R, K>>, Error>> {
        Box::pin(self.answer(ranges, before))
    }
}

impl<R: Record, W: IndexKey, K> fmt::Debug for Asked<R, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("table", &self.table).field("by", &self.index).finish()
    }
}
