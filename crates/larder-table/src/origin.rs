//! The origin of a table's records: closures that load the records of some ranges of an index.
//!
//! A closure gives records to a [`Fill`] one by one, so that an origin can stream and a window that
//! is too large is refused while it comes. **Invariant**: what is given to a fill is in no table
//! until the whole load has succeeded.

use std::{fmt, mem, sync::Arc};

use larder_core::{BoxFuture, Error};

use crate::{
    content::Limits,
    ranges::Ranges,
    record::Record,
    runs::{RUN, Sorter},
    sync::Mutex,
};

/// Loads the records whose keys are in some ranges.
pub(crate) type Loader<R, K> =
    Arc<dyn Fn(Ranges<K>, Fill<R>) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// Where a load puts the records that it reads. Cheap to clone.
pub struct Fill<R: Record>(Arc<Filling<R>>);

struct Filling<R: Record> {
    limits: Arc<Limits<R>>,
    /// Who orders them while they come, if anybody does.
    sorter: Option<Arc<Sorter<R>>>,
    state: Mutex<State<R>>,
}

struct State<R> {
    records: Vec<Arc<R>>,
    bytes: u64,
}

impl<R: Record> Fill<R> {
    pub(crate) fn new(limits: Arc<Limits<R>>) -> Self {
        Self::with(limits, None)
    }

    /// Hands the records over to `sorter`, a run at a time.
    pub(crate) fn sorted_by(limits: Arc<Limits<R>>, sorter: Arc<Sorter<R>>) -> Self {
        Self::with(limits, Some(sorter))
    }

    fn with(limits: Arc<Limits<R>>, sorter: Option<Arc<Sorter<R>>>) -> Self {
        let state = Mutex::new(State { records: Vec::new(), bytes: 0 });
        Self(Arc::new(Filling { limits, sorter, state }))
    }

    /// Puts a record.
    ///
    /// # Errors
    /// `Limit` when the records of this load alone are more than the table may hold. The load
    /// should end with it.
    pub fn put(&self, record: R) -> Result<(), Error> {
        let Filling { limits, sorter, state } = &*self.0;
        let bytes = limits.of(&record);
        let mut state = state.lock();
        state.bytes += bytes;
        limits.check(state.bytes)?;
        state.records.push(Arc::new(record));
        if let Some(sorter) = sorter.as_ref().filter(|_| RUN <= state.records.len()) {
            let piece = mem::replace(&mut state.records, Vec::with_capacity(RUN));
            drop(state);
            sorter.take(piece);
        }
        Ok(())
    }

    /// Puts each of `records`.
    ///
    /// # Errors
    /// As [`Fill::put`].
    pub fn put_all(&self, records: impl IntoIterator<Item = R>) -> Result<(), Error> {
        records.into_iter().try_for_each(|record| self.put(record))
    }

    /// The records that nobody was handed, in the order in which they were put.
    pub(crate) fn take(&self) -> Vec<Arc<R>> {
        mem::take(&mut self.0.state.lock().records)
    }

    /// The records, sorted by primary key.
    ///
    /// # Errors
    /// `Conflict` when a primary key came twice.
    pub(crate) fn finish(&self) -> Result<Vec<Arc<R>>, Error> {
        let mut records = self.take();
        if !records.is_sorted_by(|a, b| a.order(b).is_le()) {
            records.sort_by(|a, b| a.order(b));
        }
        let is_same = |two: &[Arc<R>]| matches!(two, [one, other] if one.order(other).is_eq());
        match records.windows(2).any(is_same) {
            true => Err(self.0.limits.repeated()),
            false => Ok(records),
        }
    }
}

impl<R: Record> Clone for Fill<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Record> fmt::Debug for Fill<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("bytes", &self.0.state.lock().bytes).finish()
    }
}
