//! Records as bytes: JSON objects, by themselves or one in a line.
//!
//! **Invariant**: a record reads as the row of a resource does, so that clients need one reader.

use std::sync::Arc;

use larder_table::sql::Row;

use crate::body;

/// The columns of a table as members of objects, escaped once for all records.
#[derive(Clone, Debug)]
pub struct Members(Arc<[String]>);

impl Members {
    /// Those of the columns with these names.
    pub fn new(columns: &[Arc<str>]) -> Self {
        Self(columns.iter().map(|name| body::member(name)).collect())
    }

    /// Appends a record as an object.
    pub fn put(&self, out: &mut Vec<u8>, record: &Row) {
        body::put_object(out, &self.0, record.values());
    }
}
