//! Invalidations: which records have changed in the origin, in the words of whoever changed them.
//!
//! **Invariant**: ranges are kept beside the index they are of, so their types agree.

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind};

use crate::{
    index::{Index, IndexKey},
    ranges::Ranges,
    record::Record,
    snapshot::{Meanwhile, Touched},
    table::Table,
};

/// An invalidation in the making: [`Table::invalidation`].
///
/// Naming a change by more than one index lets more reads pass by it untouched; one is enough for
/// it to be carried out.
#[must_use = "nothing is invalidated until `commit`"]
pub struct Invalidation<'a, R: Record, W: IndexKey> {
    pub(crate) table: &'a Table<R, W>,
    touched: Vec<Touched>,
    meanwhile: Meanwhile,
    refused: Option<Error>,
}

impl<'a, R: Record, W: IndexKey> Invalidation<'a, R, W> {
    pub(crate) fn new(table: &'a Table<R, W>) -> Self {
        Self { table, touched: Vec::new(), meanwhile: Meanwhile::Refresh, refused: None }
    }

    /// The records whose key of `index` was in `old` or is in `new`: rows that changed, came, went
    /// or moved. What lies outside the window is left out by itself (TD11).
    pub fn by<K: IndexKey>(
        mut self,
        index: &Index<R, K>,
        old: &Ranges<K>,
        new: &Ranges<K>,
    ) -> Self {
        if let Err(error) = self.table.own(index) {
            self.refused.get_or_insert(error);
            return self;
        }
        let (place, ranges) = (index.place, old.union(new));
        match self.touched.iter_mut().find(|touched| touched.place == place) {
            Some(touched) => touched.ranges = touched.ranges.union(&ranges),
            None => self.touched.push(Touched { place, ranges: Arc::new(ranges) }),
        }
        self
    }

    /// The records with these primary keys.
    pub fn keys(self, keys: impl IntoIterator<Item = R::Key>) -> Self {
        let primary = self.table.primary();
        self.by(&primary, &Ranges::only(keys), &Ranges::none())
    }

    /// Lets reads go on with what is there until somebody refreshes.
    pub fn serve_stale(mut self) -> Self {
        self.meanwhile = Meanwhile::ServeStale;
        self
    }

    /// Invalidates. When it returns, every read that begins later and touches what was named gets
    /// what the origin gave to a load that began after this call; or, with
    /// [`Invalidation::serve_stale`], what is there.
    ///
    /// # Errors
    /// `Config` when nothing was named, or nothing by an index by which records can be loaded.
    /// `Unavailable` before the table is being loaded: there is nothing yet that could be wrong.
    ///
    /// # Cost
    /// None of the records is touched; a read is a little slower for each invalidation that waits.
    pub fn commit(self) -> Result<(), Error> {
        let Self { table, touched, meanwhile, refused } = self;
        if let Some(error) = refused {
            return Err(error);
        }
        table.mark(touched, meanwhile)
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Invalidation<'_, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidation")
            .field("touched", &self.touched)
            .field("meanwhile", &self.meanwhile)
            .finish_non_exhaustive()
    }
}

/// Nothing, or nothing that can be loaded again, was named.
#[cold]
pub(crate) fn unnamed(table: &str, detail: &'static str) -> Error {
    Error::new(ErrorKind::Config, "invalidate records of table")
        .subject(format!("`{table}`"))
        .detail(detail)
}
