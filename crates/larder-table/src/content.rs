//! The content: all records of a table in all of its orders, as they are at one moment.
//!
//! It is never changed: what is changed is another content. Apart from the snapshot, which also
//! says what of it is covered and what of it is in doubt. **Invariant**: all indexes hold the same
//! records.

use std::{collections::BTreeMap, panic, sync::Arc, thread};

use larder_core::{Error, ErrorKind};

use crate::{
    index::{AnyIndex, Change, Index, IndexKey, Ordered},
    measure::{Measure, Nothing},
    record::Record,
    runs::AnyRuns,
};

/// The place of the index by primary key: it is the first of every table.
pub(crate) const PRIMARY: usize = 0;

/// How many bytes a record counts.
pub(crate) type Weigh<R> = Arc<dyn Fn(&R) -> usize + Send + Sync>;

/// Records in the order of each index.
pub(crate) struct Content<R> {
    indexes: Vec<Arc<dyn AnyIndex<R>>>,
    bytes: u64,
}

impl<R> Clone for Content<R> {
    fn clone(&self) -> Self {
        Self { indexes: self.indexes.clone(), bytes: self.bytes }
    }
}

/// How much a table may hold.
pub(crate) struct Limits<R> {
    pub(crate) weigh: Weigh<R>,
    pub(crate) bytes_max: u64,
    pub(crate) table: Arc<str>,
}

impl<R: Record> Limits<R> {
    pub(crate) fn check(&self, bytes: u64) -> Result<(), Error> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Limit, "put records into table")
            .subject(format!("`{}`", self.table))
            .detail(format!(
                "they count {bytes} bytes and more, the table may hold {}; nothing was changed; \
                 make the window smaller or raise the table's limit",
                self.bytes_max
            )))
    }

    pub(crate) fn of(&self, record: &R) -> u64 {
        (self.weigh)(record) as u64
    }

    #[cold]
    pub(crate) fn repeated(&self) -> Error {
        Error::new(ErrorKind::Conflict, "load records into table")
            .subject(format!("`{}`", self.table))
            .detail(
                "the origin gave two records with one primary key; nothing was changed; let the \
                 key have more columns, or the query give each row once",
            )
    }
}

impl<R: Record> Content<R> {
    /// No records, in these orders.
    pub(crate) fn empty(indexes: Vec<Arc<dyn AnyIndex<R>>>) -> Self {
        Self::new(indexes, 0)
    }

    /// Orders of the same records, which count so much.
    pub(crate) fn new(indexes: Vec<Arc<dyn AnyIndex<R>>>, bytes: u64) -> Self {
        Self { indexes, bytes }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index at `place`, if its keys are `K` and its measure is `M`.
    pub(crate) fn index<K: IndexKey, M: Measure<R>>(
        &self,
        place: usize,
    ) -> Option<&Ordered<R, K, M>> {
        self.indexes.get(place)?.as_any().downcast_ref()
    }

    /// The index of a user's handle.
    ///
    /// # Callers must
    /// have seen that it is of this table. Only a group has a measure, and no handle.
    pub(crate) fn of<K: IndexKey>(&self, index: &Index<R, K>) -> &Ordered<R, K, Nothing> {
        self.index(index.place).expect("the index of this table")
    }

    /// The records by primary key.
    pub(crate) fn primary(&self) -> &Ordered<R, R::Key, Nothing> {
        self.index(PRIMARY).expect("the first index is that of the primary key")
    }

    /// Whether both are the same, not only equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let mut both = self.indexes.iter().zip(&other.indexes);
        both.all(|(one, other)| std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)))
    }

    pub(crate) fn len(&self) -> usize {
        self.primary().tree.len()
    }

    /// The records, by primary key.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<R>> {
        self.primary().tree.rows(0, self.len()).map(|(_, record)| record)
    }

    pub(crate) fn get(&self, key: &R::Key) -> Option<&Arc<R>> {
        self.primary().tree.find(key)
    }

    /// The content after `removed` went and `put` came, each by its primary key; what is both is
    /// put.
    ///
    /// # Errors
    /// `Conflict` where a unique index would hold a key twice, `Limit` where it is too much.
    ///
    /// # Cost
    /// For few changes a copy of the blocks they fall into, in each order; where most of it is new,
    /// the orders are made anew.
    pub(crate) fn changed(
        &self,
        removed: impl IntoIterator<Item = Arc<R>>,
        put: impl IntoIterator<Item = Arc<R>>,
        limits: &Limits<R>,
    ) -> Result<Self, Error> {
        let mut changes: BTreeMap<R::Key, Change<R>> = BTreeMap::new();
        for record in removed {
            changes.insert(record.key(), Change { old: Some(record), new: None });
        }
        for record in put {
            let key = record.key();
            let old = self.get(&key).cloned();
            changes.insert(key, Change { old, new: Some(record) });
        }
        let changes: Vec<Change<R>> = changes.into_values().collect();
        let weigh = |record: &Option<Arc<R>>| record.as_ref().map_or(0, |one| limits.of(one));
        let came: u64 = changes.iter().map(|change| weigh(&change.new)).sum();
        let went: u64 = changes.iter().map(|change| weigh(&change.old)).sum();
        let bytes = (self.bytes + came).saturating_sub(went);
        limits.check(bytes)?;
        let indexes = each(&self.indexes, changes.len(), |index| index.changed(&changes));
        Ok(Self { indexes: indexes.into_iter().collect::<Result<_, _>>()?, bytes })
    }

    /// A content of the same orders with these records, each primary key once.
    ///
    /// # Errors
    /// As [`Content::changed`].
    pub(crate) fn filled(&self, records: &[Arc<R>], limits: &Limits<R>) -> Result<Self, Error> {
        let bytes = records.iter().map(|record| limits.of(record)).sum();
        limits.check(bytes)?;
        let indexes = each(self.runs(), records.len(), |mut runs: Box<dyn AnyRuns<R>>| {
            runs.add(records);
            runs.merged()
        });
        Ok(Self { indexes: indexes.into_iter().collect::<Result<_, _>>()?, bytes })
    }

    /// The beginning of other records in these orders.
    pub(crate) fn runs(&self) -> Vec<Box<dyn AnyRuns<R>>> {
        self.indexes.iter().map(|index| index.runs()).collect()
    }
}

/// From this many records on each index is dealt with on a thread of its own, and not where other
/// tasks wait: some milliseconds. Starting a thread costs some tens of microseconds, so a tenth
/// would begin to pay for it; ten times more would hold up a runtime's thread for tens of
/// milliseconds.
pub(crate) const MANY: usize = 10_000;

/// What `act` makes of each of these orders of `count` records.
pub(crate) fn each<T: Send, O: Send>(
    orders: impl IntoIterator<Item = T>,
    count: usize,
    act: impl Fn(T) -> O + Sync,
) -> Vec<O> {
    let orders = orders.into_iter();
    if count < MANY {
        return orders.map(act).collect();
    }
    thread::scope(|scope| {
        let act = &act;
        let running: Vec<_> = orders.map(|order| scope.spawn(move || act(order))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            // What panics is a closure of the user's: it goes on where it would have been called.
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        running.into_iter().map(join).collect()
    })
}
