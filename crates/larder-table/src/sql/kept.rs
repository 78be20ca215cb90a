//! Tables of a SELECT that begin with what an earlier process saved.
//!
//! Apart from the rest of `sql`, which a table that is loaded each time does without.
//! **Invariant**: what was saved of another text, other parameters or other columns is not
//! believed; and neither is that of a query which reads what the log does not tell.

use std::{fmt, path::Path, sync::Arc};

use larder_core::{Clock, Error, Key, KeyEncoder, Value, feed::Feed, key::KeyDecoder};

use super::{
    definition::SqlDefinition,
    row::{Row, RowKey},
};
use crate::{
    codec::Codec,
    follow::Rules,
    index::{Index, IndexKey},
    record::Record,
    restore::Restored,
    table::Table,
};

impl<R: Record> SqlDefinition<R> {
    /// A codec of your own for [`Table::save`] and [`SqlDefinition::restore`], as [`Codec::new`].
    /// What it wrote is known by the query as well.
    pub fn codec(
        &self,
        version: u32,
        encode: impl Fn(&R, &mut Vec<u8>) + Send + Sync + 'static,
        decode: impl Fn(&[u8]) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Codec<R> {
        let source = &self.source;
        let mut columns = Vec::new();
        for name in source.columns() {
            Value::Text(name.clone()).encode(&mut columns);
        }
        let mut params = Vec::new();
        for (param, value) in source.statement.params().iter().zip(&source.params) {
            Value::Text((&*param.name).into()).encode(&mut params);
            value.encode(&mut params);
        }
        Codec::new(version, encode, decode)
            .called_also(source.statement.sql().as_bytes())
            .called_also(&params)
            .called_also(&columns)
    }

    /// The table, which follows `feed` as [`SqlDefinition::follow`] says, and begins with what
    /// [`Table::save`] wrote to `path`, if that can be proven; else it is empty and to be loaded.
    ///
    /// # Errors
    /// As [`SqlDefinition::follow`] and [`Table::restore`].
    ///
    /// # Freshness
    /// As [`Table::restore`]. A query that reads a table which is not tracked, or columns that the
    /// log does not look at, is [`crate::Lost::InDoubt`] each time.
    ///
    /// # Cancel safety
    /// Dropped before it ends, there is no table.
    pub async fn restore<W: IndexKey + Key>(
        self,
        window: &Index<R, W>,
        path: impl AsRef<Path>,
        codec: &Codec<R>,
        feed: Arc<dyn Feed>,
        clock: Clock,
    ) -> Result<(Table<R, W>, Restored), Error> {
        let restoring = self.restorable(window, feed, clock)?;
        let table = restoring.table().clone();
        let restored = restoring.restore(path, codec).await?;
        Ok((table, restored))
    }

    /// The same in two steps, for whoever hands the table out before the file was read: it is
    /// empty and follows nothing until [`Restoring::restore`] was called.
    ///
    /// # Errors
    /// As [`SqlDefinition::follow`].
    pub fn restorable<W: IndexKey + Key>(
        mut self,
        window: &Index<R, W>,
        feed: Arc<dyn Feed>,
        clock: Clock,
    ) -> Result<Restoring<R, W>, Error> {
        self.expect_told_by(&*feed)?;
        let meanings = std::mem::take(&mut self.meanings);
        let source = self.source.clone();
        let table = self.build(window)?;
        let rules = meanings.complete(&source);
        let rules = rules.finding_out(Arc::new(move || source.is_of_unwatched()));
        Ok(Restoring { table, rules, feed, clock })
    }
}

/// A table of a SELECT that is to begin with what was saved: [`SqlDefinition::restorable`].
#[must_use = "the table follows nothing until it was restored"]
pub struct Restoring<R: Record, W: IndexKey> {
    table: Table<R, W>,
    rules: Rules<R>,
    feed: Arc<dyn Feed>,
    clock: Clock,
}

impl<R: Record, W: IndexKey + Key> Restoring<R, W> {
    /// The table. Reads of it wait.
    pub fn table(&self) -> &Table<R, W> {
        &self.table
    }

    /// Begins with what [`Table::save`] wrote to `path`, if that can be proven; else the table is
    /// empty, follows its feed, and is to be loaded.
    ///
    /// # Errors
    /// As [`Table::restore`].
    ///
    /// # Freshness
    /// As [`SqlDefinition::restore`].
    ///
    /// # Cancel safety
    /// As [`Table::restore`]; one that follows nothing then never will.
    pub async fn restore(
        self,
        path: impl AsRef<Path>,
        codec: &Codec<R>,
    ) -> Result<Restored, Error> {
        let Self { table, rules, feed, clock } = self;
        table.restore(path, codec, feed, rules, clock).await
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Restoring<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restoring").field("table", &self.table).finish_non_exhaustive()
    }
}

impl SqlDefinition<Row> {
    /// A codec for rows as they are.
    ///
    /// # Panics
    /// If [`super::SqlSource::rows`] did not make the definition.
    pub fn row_codec(&self) -> Codec<Row> {
        let shape = self.shape.clone().expect("a definition of rows has their shape");
        let key = shape.encoded_key();
        let decode = move |bytes: &[u8]| shape.decode(bytes);
        self.codec(0, super::rows::encode, decode).called_also(&key)
    }
}

const PLAIN: u8 = 0;
const BEHIND: u8 = 1;

/// Integers and reals of the same value are the same key and have other bytes.
impl Key for RowKey {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[if self.stands_behind() { BEHIND } else { PLAIN }]);
        self.values().to_vec().encode(out);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        let kind = from.take(1)?;
        let values = Vec::<Value>::decode(from)?;
        match *kind {
            [PLAIN] => Some(Self::new(values)),
            [BEHIND] => Some(Self::behind(values)),
            _ => None,
        }
    }
}
