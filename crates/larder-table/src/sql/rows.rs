//! Rows of a table of which no query is known here: the replica of a table of a SELECT.
//!
//! Apart from `source`, which asks. **Invariant**: rows of one shape are read only where the codec
//! of the same shape wrote them.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, Key, KeyEncoder, Value};

use super::row::{Row, RowKey, Shape};
use crate::{codec::Codec, definition::Definition, index::Index};

/// The columns of rows, and which of them are the primary key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RowShape(Arc<Shape>);

impl RowShape {
    /// Rows with these columns, in this order; `key` names those of the primary key.
    ///
    /// # Errors
    /// `Config` when the key names no column, or one that is not there.
    pub fn new<N: AsRef<str>>(
        columns: impl IntoIterator<Item = N>,
        key: &[&str],
    ) -> Result<Self, Error> {
        let columns: Arc<[Arc<str>]> =
            columns.into_iter().map(|name| Arc::from(name.as_ref())).collect();
        let shape = Shape { columns, key: Vec::new() };
        let key = shape.places("primary", key)?;
        Ok(Self(Arc::new(Shape { key, ..shape })))
    }

    /// A table of such rows. Each counts the bytes that it takes.
    pub fn definition(&self, name: impl Into<Arc<str>>) -> Definition<Row> {
        let mut definition = Definition::new(name);
        definition.weigh(Row::bytes);
        definition
    }

    /// Orders the rows of a definition by some of their columns.
    ///
    /// # Errors
    /// `Config` when there is no such column.
    pub fn index(
        &self,
        definition: &mut Definition<Row>,
        name: &str,
        columns: &[&str],
    ) -> Result<Index<Row, RowKey>, Error> {
        let places = self.0.places(name, columns)?;
        Ok(definition.index(name, move |row: &Row| row.key_of(&places)))
    }

    /// A codec for such rows, which is known by the names of the columns and by the key.
    pub fn codec(&self) -> Codec<Row> {
        let (shape, mut columns) = (self.0.clone(), Vec::new());
        for name in &*shape.columns {
            Value::Text(name.clone()).encode(&mut columns);
        }
        let key = shape.encoded_key();
        let codec = Codec::new(0, encode, move |bytes| shape.decode(bytes));
        codec.called_also(&columns).called_also(&key)
    }
}

/// Appends the values of a row.
pub(super) fn encode(row: &Row, out: &mut Vec<u8>) {
    row.values().iter().for_each(|value| value.encode(out));
}

impl Shape {
    /// The row whose values [`encode`] wrote.
    pub(super) fn decode(self: &Arc<Self>, mut bytes: &[u8]) -> Result<Row, Error> {
        let values = self.columns.iter().map(|_| Value::take(&mut bytes));
        let values = values.collect::<Result<Box<[Value]>, Error>>()?;
        if bytes.is_empty() {
            return Ok(Row::new(values, self.clone()));
        }
        Err(Error::new(ErrorKind::Corrupt, "decode a row").detail("it has more columns"))
    }

    /// Where the columns of the key stand, as bytes.
    pub(super) fn encoded_key(&self) -> Vec<u8> {
        let key: Vec<u64> = self.key.iter().map(|place| *place as u64).collect();
        let mut encoder = KeyEncoder::new(0);
        key.encode(&mut encoder);
        encoder.finish().as_slice().to_vec()
    }

    fn places(&self, index: &str, names: &[&str]) -> Result<Vec<usize>, Error> {
        let refused = |detail: String| {
            Error::new(ErrorKind::Config, "define table")
                .detail(format!("index `{index}`: {detail}"))
        };
        if names.is_empty() {
            return Err(refused("it names no column; name at least one".into()));
        }
        let place = |name: &&str| {
            let place = self.columns.iter().position(|own| **own == **name);
            place.ok_or_else(|| {
                let known = self.columns.join(", ");
                refused(format!("there is no column `{name}`; there are {known}"))
            })
        };
        names.iter().map(place).collect()
    }
}
