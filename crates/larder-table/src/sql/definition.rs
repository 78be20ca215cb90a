//! The definition of a table of a SELECT: what its records are, and which columns its indexes are
//! made of.
//!
//! Apart from [`crate::Definition`], which knows no columns and is in here. **Invariant**: an index
//! by which is loaded computes the same key of a record as its columns have in the row.

use std::{collections::BTreeSet, sync::Arc};

use larder_core::{Error, ErrorKind};
use larder_sqlite::{Cell, SqlRow};
use parking_lot::Mutex;

use super::{
    condition::{KeyColumn, RangePart, parts},
    follow::Meanings,
    key::SqlKey,
    row::{Row, RowKey, Shape},
    source::SqlSource,
};
use crate::{
    definition::Definition,
    index::{Index, IndexKey},
    origin::Fill,
    ranges::Ranges,
    record::Record,
    table::Table,
};

/// What makes a record of a row.
pub(super) type MakesRecord<R> = Arc<dyn Fn(&SqlRow<'_>) -> Result<R, Error> + Send + Sync>;

/// A table of a SELECT in the making. Made by [`SqlSource::table`] and its neighbours.
pub struct SqlDefinition<R: Record> {
    pub(super) source: Arc<SqlSource>,
    pub(super) name: Arc<str>,
    definition: Definition<R>,
    record: MakesRecord<R>,
    /// What changes of the origin's tables mean, as far as it was said or is plain.
    pub(super) meanings: Meanings<R>,
    /// Of records that are rows.
    pub(super) shape: Option<Arc<Shape>>,
    /// Where the columns stand that any index is made of by which is loaded. Each load looks at all
    /// of them, those of indexes that came after its own included.
    keyed: Arc<Mutex<BTreeSet<usize>>>,
}

/// Says no two records have the same key of an index, or that they may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Any,
    Unique,
}

impl<R: Record> SqlDefinition<R> {
    pub(crate) fn new(source: SqlSource, name: Arc<str>, record: MakesRecord<R>) -> Self {
        let definition = Definition::new(name.clone());
        let (source, meanings, keyed) = (Arc::new(source), Meanings::default(), Arc::default());
        Self { source, name, definition, record, meanings, shape: None, keyed }
    }

    /// The definition itself, for what has nothing to do with SQL: limits, groups, indexes by which
    /// is not loaded.
    pub fn definition(&mut self) -> &mut Definition<R> {
        &mut self.definition
    }

    /// Says which columns the primary key is made of: then records are loaded by it.
    ///
    /// # Errors
    /// `Config` when the result has no such column, the key has another number of them, or one
    /// compares in another way than keys do.
    pub fn key(&mut self, columns: &[&str]) -> Result<Index<R, R::Key>, Error>
    where
        R::Key: SqlKey,
    {
        let index = self.definition.primary();
        let places = self.check::<R::Key>(index.name(), columns)?;
        self.loads_by(&index, &places, R::key);
        Ok(index)
    }

    /// Orders the records by a key that is made of `columns`, in their order, and loads by it:
    /// `key` computes of a record what the columns have in its row.
    ///
    /// # Errors
    /// As [`SqlDefinition::key`].
    pub fn index<K: SqlKey>(
        &mut self,
        name: &str,
        columns: &[&str],
        key: impl Fn(&R) -> K + Send + Sync + 'static,
    ) -> Result<Index<R, K>, Error> {
        self.add(name, columns, key, Keys::Any)
    }

    /// The same; no two records may have the same key.
    ///
    /// # Errors
    /// As [`SqlDefinition::key`].
    pub fn unique<K: SqlKey>(
        &mut self,
        name: &str,
        columns: &[&str],
        key: impl Fn(&R) -> K + Send + Sync + 'static,
    ) -> Result<Index<R, K>, Error> {
        self.add(name, columns, key, Keys::Unique)
    }

    fn add<K: SqlKey>(
        &mut self,
        name: &str,
        columns: &[&str],
        key: impl Fn(&R) -> K + Send + Sync + 'static,
        keys: Keys,
    ) -> Result<Index<R, K>, Error> {
        let places = self.check::<K>(name, columns)?;
        let key = Arc::new(key);
        let own = key.clone();
        let index = match keys {
            Keys::Any => self.definition.index(name, move |record| own(record)),
            Keys::Unique => self.definition.unique(name, move |record| own(record)),
        };
        self.loads_by(&index, &places, move |record| key(record));
        Ok(index)
    }

    /// Fails unless keys `K` can be made of these columns; else where they stand.
    fn check<K: SqlKey>(&self, index: &str, columns: &[&str]) -> Result<Vec<usize>, Error> {
        let places = self.source.places(&self.name, index, columns)?;
        match K::COLUMNS {
            Some(own) if own != columns.len() => {
                Err(Error::new(ErrorKind::Config, "define an index of table")
                    .subject(format!("`{}`", self.name))
                    .detail(format!(
                        "index `{index}`: its keys are made of {own} columns, {} are named",
                        columns.len()
                    )))
            }
            _ => Ok(places),
        }
    }

    fn loads_by<K: SqlKey>(
        &mut self,
        index: &Index<R, K>,
        places: &[usize],
        key: impl Fn(&R) -> K + Send + Sync + 'static,
    ) {
        self.meanings.derive(&self.source, index, places, &self.record);
        self.keyed.lock().extend(places);
        let load = Arc::new(Load {
            columns: self.source.key_columns(places),
            source: self.source.clone(),
            record: self.record.clone(),
            key: Box::new(key),
            keyed: self.keyed.clone(),
            about: format!("`{}` by index `{}`", self.name, index.name()),
        });
        self.definition.loads_by(index, move |ranges, fill| load.clone().run(ranges, fill));
    }

    /// The table, empty and not yet loaded. Its window is a set of ranges of `window`. It hears of
    /// no change; [`SqlDefinition::follow`] makes one that does.
    ///
    /// # Errors
    /// As [`Definition::build`].
    pub fn build<W: IndexKey>(self, window: &Index<R, W>) -> Result<Table<R, W>, Error> {
        self.definition.build(window)
    }
}

impl SqlDefinition<Row> {
    /// Orders the rows by some of their columns, and loads by them.
    ///
    /// # Errors
    /// As [`SqlDefinition::key`].
    pub fn columns(&mut self, name: &str, columns: &[&str]) -> Result<Index<Row, RowKey>, Error> {
        let places = self.source.places(&self.name, name, columns)?;
        self.index(name, columns, move |row: &Row| row.key_of(&places))
    }

    /// The same; no two rows may have the same values of them.
    ///
    /// # Errors
    /// As [`SqlDefinition::key`].
    pub fn unique_columns(
        &mut self,
        name: &str,
        columns: &[&str],
    ) -> Result<Index<Row, RowKey>, Error> {
        let places = self.source.places(&self.name, name, columns)?;
        self.unique(name, columns, move |row: &Row| row.key_of(&places))
    }
}

impl<R: Record> std::fmt::Debug for SqlDefinition<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.definition.fmt(f)
    }
}

/// How records are loaded by one index.
struct Load<R, K> {
    source: Arc<SqlSource>,
    columns: Vec<KeyColumn>,
    record: MakesRecord<R>,
    key: Box<dyn Fn(&R) -> K + Send + Sync>,
    keyed: Arc<Mutex<BTreeSet<usize>>>,
    /// Table and index, for errors.
    about: String,
}

impl<R: Record, K: SqlKey> Load<R, K> {
    async fn run(self: Arc<Self>, ranges: Ranges<K>, fill: Fill<R>) -> Result<(), Error> {
        let (parts, own): (Vec<_>, Vec<Ranges<K>>) = parts(&self.columns, &ranges)
            .into_iter()
            .map(|RangePart { part, ranges }| (part, ranges))
            .unzip();
        let (about, load) = (self.about.clone(), self.clone());
        let keyed: Vec<usize> = self.keyed.lock().iter().copied().collect();
        let taken = self.source.stream(parts, move |part, row| {
            expect_text(row, &keyed)?;
            let record = (load.record)(row)?;
            let is_asked = |own: &Ranges<K>| own.contains(&(load.key)(&record));
            // A row can be in several parts, and a part may have more than was asked for: neither
            // is to count against the limits.
            if own.get(part).is_some_and(is_asked) { fill.put(record) } else { Ok(()) }
        });
        taken.await.map_err(|error| said_of(&about, error))
    }
}

/// Fails where a cell that a key is made of is text and not UTF-8: a value keeps what can be kept
/// of it, which is the same for several such texts, and which no condition finds.
fn expect_text(row: &SqlRow<'_>, keyed: &[usize]) -> Result<(), Error> {
    let is_broken = |place: &&usize| match row.cell(**place) {
        Cell::Text(bytes) => std::str::from_utf8(bytes).is_err(),
        _ => false,
    };
    let Some(place) = keyed.iter().find(is_broken) else { return Ok(()) };
    let column = row.columns().get(*place).map_or("", |name| &**name);
    Err(Error::new(ErrorKind::Origin, "read a column of the result")
        .subject(format!("`{column}`"))
        .detail(format!(
            "an index is made of it, and a row has text in it that is not UTF-8; let the query \
             leave such rows out, or show it as `CAST({column} AS BLOB) AS {column}`"
        )))
}

/// The error, with the table and the index it is about; those of the table itself say so already.
fn said_of(about: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Limit => error,
        kind => Error::new(kind, "load records into table")
            .subject(about)
            .detail(error.to_string())
            .source(error),
    }
}
