//! The image: a row of the origin's table as a feed tells of it, before or after a change.
//!
//! Apart from the rules, which are closures over images. **Invariant**: a column that the feed does
//! not report has no value here, not even NULL.

#[cfg(feature = "sqlite")]
use std::sync::Arc;

use larder_core::{Value, change::RowChange};

/// A row of the origin, as it was or as it is.
#[derive(Debug)]
pub struct Image<'a> {
    pub(super) change: &'a RowChange,
    pub(super) values: &'a [Value],
}

impl Image<'_> {
    /// The columns that the feed reports of each row, sorted by name.
    #[cfg(feature = "sqlite")]
    pub(crate) fn columns(&self) -> &Arc<[Arc<str>]> {
        &self.change.columns
    }

    /// Their values.
    #[cfg(feature = "sqlite")]
    pub(crate) fn values(&self) -> &[Value] {
        self.values
    }

    /// The value of a column; `None` when the feed does not report it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        let columns = &self.change.columns;
        let place = columns.binary_search_by(|own| (**own).cmp(column)).ok()?;
        self.values.get(place)
    }

    /// The value of a column of whole numbers.
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.get(column)? {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The value of a column of numbers.
    pub fn real(&self, column: &str) -> Option<f64> {
        match self.get(column)? {
            Value::Real(real) => Some(*real),
            #[expect(clippy::cast_precision_loss, reason = "a number of a column of reals")]
            Value::Integer(integer) => Some(*integer as f64),
            _ => None,
        }
    }

    /// The value of a column of text.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
