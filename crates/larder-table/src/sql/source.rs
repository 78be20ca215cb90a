//! The source: a SELECT on SQLite, of which any part can be asked for.
//!
//! Apart from the definition, which makes records and indexes of its rows. **Invariant**: the text
//! was checked and has the columns that it says; a schema in which it has others ends a load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder_core::{Dependency, Error, ErrorKind, Value, origin::Origin};
use larder_sqlite::{
    Param, Part, Query, ResultColumn, ResultShape, SqlRow, SqliteOrigin, Statement, Stream,
    UNWATCHED,
};

use super::{
    condition::KeyColumn,
    definition::SqlDefinition,
    from_row::{Cells, FromRow},
    key::SqlKey,
    row::{Row, Shape},
};
use crate::record::Record;

/// A SELECT over tables of a SQLite database, whose rows become records.
#[derive(Clone, Debug)]
pub struct SqlSource {
    pub(crate) origin: Arc<SqliteOrigin>,
    pub(crate) statement: Arc<Statement>,
    pub(crate) params: Vec<Value>,
    /// What was known of its result when it was checked, and what all loads rely on.
    pub(crate) shape: Arc<ResultShape>,
    deadline: Duration,
    /// Whether a load has read what the change log does not report, in this life of the timeline.
    pub(crate) reads_unwatched: Arc<AtomicBool>,
}

/// How long a load may take, unless said otherwise: some ten million rows. Ten times more would
/// hold a reader for an hour where a join lacks an index, ten times less would end large windows.
const DEADLINE: Duration = Duration::from_secs(300);

impl SqlSource {
    /// The rows of `sql`, which is one SELECT without parameters.
    ///
    /// # Errors
    /// `Config` when it is not, or two columns of its result have one name; `Origin` when SQLite
    /// refuses it; `Unavailable` when the database cannot be read now.
    ///
    /// # Cost
    /// Two connections and some milliseconds: once for each table.
    pub fn new(origin: &Arc<SqliteOrigin>, sql: &str) -> Result<Self, Error> {
        Self::with_params(origin, sql, [])
    }

    /// The same, with a value for each parameter, which stands in the text as `:name`.
    ///
    /// # Errors
    /// As [`SqlSource::new`], and `Config` when the parameters are not those of the text.
    pub fn with_params(
        origin: &Arc<SqliteOrigin>,
        sql: &str,
        params: impl IntoIterator<Item = (Param, Value)>,
    ) -> Result<Self, Error> {
        let (declared, params): (Vec<Param>, Vec<Value>) = params.into_iter().unzip();
        let statement = origin.prepare(sql, &declared)?;
        let shape = Arc::new(origin.result_shape(&statement)?);
        let origin = origin.clone();
        let (deadline, reads_unwatched) = (DEADLINE, Arc::default());
        Ok(Self { origin, statement, params, shape, deadline, reads_unwatched })
    }

    /// How long a load may take, waiting for a free reader of the origin included; five minutes
    /// without this.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The names of its columns.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.shape.columns.iter().map(|column| &column.name)
    }

    /// A table whose records `record` makes of rows.
    pub fn table<R: Record>(
        self,
        name: impl Into<Arc<str>>,
        record: impl Fn(&SqlRow<'_>) -> Result<R, Error> + Send + Sync + 'static,
    ) -> SqlDefinition<R> {
        SqlDefinition::new(self, name.into(), Arc::new(record))
    }

    /// A table of records that say which columns they are made of; usually derived. Records are
    /// loaded by their primary key.
    ///
    /// # Errors
    /// `Config` when the result lacks one of the columns, or the key cannot be made of them.
    pub fn typed<R>(self, name: impl Into<Arc<str>>) -> Result<SqlDefinition<R>, Error>
    where
        R: Record + FromRow,
        R::Key: SqlKey,
    {
        let name = name.into();
        let places = self.find(&name, "record", R::COLUMNS)?;
        let record = move |row: &SqlRow<'_>| R::from_row(&mut Cells::new(row, &places));
        let mut definition = SqlDefinition::new(self, name, Arc::new(record));
        definition.key(R::KEY)?;
        Ok(definition)
    }

    /// A table of the rows as they are, for a query that is only known while the program runs;
    /// `key` names the columns of the primary key. Each record counts the bytes that it takes.
    ///
    /// # Errors
    /// `Config` when the result has no such column, or one that does not compare byte by byte.
    pub fn rows(
        self,
        name: impl Into<Arc<str>>,
        key: &[&str],
    ) -> Result<SqlDefinition<Row>, Error> {
        let name = name.into();
        let columns: Arc<[Arc<str>]> = self.columns().cloned().collect();
        let places = self.places(&name, "primary", key)?;
        let shape = Arc::new(Shape { columns, key: places });
        let (table, own) = (name.clone(), shape.clone());
        let record = move |row: &SqlRow<'_>| own.row(row, &table);
        let mut definition = SqlDefinition::new(self, name, Arc::new(record));
        definition.shape = Some(shape);
        definition.definition().weigh(Row::bytes);
        definition.key(key)?;
        Ok(definition)
    }

    /// Where these columns of an index stand in the result.
    ///
    /// # Errors
    /// `Config` when one is not there, is named twice, or compares in another way than keys do.
    pub(crate) fn places(
        &self,
        table: &Arc<str>,
        index: &str,
        names: &[&str],
    ) -> Result<Vec<usize>, Error> {
        let about = format!("index `{index}`");
        let places = self.find(table, &about, names)?;
        let columns = places.iter().filter_map(|place| self.shape.columns.get(*place));
        if let Some(ResultColumn { name, .. }) = columns.into_iter().find(|own| !own.is_binary) {
            return Err(refused(
                table,
                &about,
                &format!(
                    "the column `{name}` does not compare text byte by byte as UTF-8; select it as \
                 `{name} COLLATE BINARY AS {name}`, or use another column. In a database in \
                 UTF-16 none does: make one in UTF-8 of it"
                ),
            ));
        }
        Ok(places)
    }

    /// Where these columns stand in the result.
    fn find(&self, table: &Arc<str>, about: &str, names: &[&str]) -> Result<Vec<usize>, Error> {
        if names.is_empty() {
            return Err(refused(table, about, "it names no column; name at least one"));
        }
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let Some(place) = self.columns().position(|own| **own == **name) else {
                let known: Vec<&str> = self.columns().map(|own| &**own).collect();
                let known = known.join(", ");
                let detail = format!("the result has no column `{name}`; it has {known}");
                return Err(refused(table, about, &detail));
            };
            if places.contains(&place) {
                return Err(refused(table, about, &format!("it names the column `{name}` twice")));
            }
            places.push(place);
        }
        Ok(places)
    }

    /// What conditions over the columns at these places have to know of them.
    pub(crate) fn key_columns(&self, places: &[usize]) -> Vec<KeyColumn> {
        let columns = places.iter().filter_map(|place| self.shape.columns.get(*place));
        let key_column = |column: &ResultColumn| KeyColumn {
            name: format!("\"{}\"", column.name.replace('"', "\"\"")),
            affinity: column.source.as_ref().map(|(_, source)| source.affinity),
            never_null: column.never_null,
        };
        columns.map(key_column).collect()
    }

    /// Notes whether a load reads what only a touch of [`UNWATCHED`] tells of.
    ///
    /// 1. It is noted, and the snapshot of the load begins.
    /// 2. Somebody commits to such a table; the watcher touches [`UNWATCHED`].
    /// 3. Who follows finds that it was noted.
    ///
    /// How much is watched changes only together with a new epoch, which whoever follows is told.
    fn note_unwatched(&self) {
        if self.is_of_unwatched() {
            self.reads_unwatched.store(true, Ordering::SeqCst);
        }
    }

    /// Whether it reads what only a touch of [`UNWATCHED`] tells of, as far as is watched now.
    pub(super) fn is_of_unwatched(&self) -> bool {
        let query = Query::new(self.statement.clone(), self.params.clone());
        let unwatched = Dependency::table(self.origin.timeline().clone(), UNWATCHED);
        self.origin.shape(&query).contains(&unwatched)
    }

    /// Hands the rows of `parts` to `sink`, each with the number of its part. Fails where the
    /// schema has changed so that what is known of the result is not true any more.
    pub(crate) async fn stream(
        &self,
        parts: Vec<Part>,
        sink: impl FnMut(usize, &SqlRow<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.note_unwatched();
        let stream = Stream {
            statement: self.statement.clone(),
            params: self.params.clone(),
            parts,
            shape: Some(self.shape.clone()),
            deadline: self.deadline,
        };
        self.origin.stream(stream, sink).await
    }
}

#[cold]
fn refused(table: &str, about: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Config, "define table")
        .subject(format!("`{table}`"))
        .detail(format!("{about}: {detail}"))
}

impl Shape {
    /// The row as a record.
    ///
    /// # Errors
    /// `Origin` when a column of the primary key is NULL.
    fn row(self: &Arc<Self>, row: &SqlRow<'_>, table: &str) -> Result<Row, Error> {
        let values = (0..self.columns.len()).map(|place| row.at(place));
        let values: Box<[Value]> = values.collect::<Result<_, _>>()?;
        let null = self.key.iter().find(|place| matches!(values.get(**place), Some(Value::Null)));
        if let Some(column) = null.and_then(|place| self.columns.get(*place)) {
            return Err(Error::new(ErrorKind::Origin, "load records into table")
                .subject(format!("`{table}`"))
                .detail(format!(
                    "the column `{column}` of the primary key is NULL in a row; let the query \
                     leave such rows out, or the key have other columns"
                )));
        }
        Ok(Row::new(values, self.clone()))
    }
}
