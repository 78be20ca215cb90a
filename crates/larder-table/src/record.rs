//! The record: a row with a primary key.
//!
//! Apart from the definition of a table, because a row type has one key and may be in many tables.
//! **Invariant**: a record in a table is never changed; a changed row is another record with the
//! same key.

use std::{cmp::Ordering, fmt::Debug};

/// A row of a table.
///
/// What its key and its indexes are computed from must not change while it is in a table: a type
/// with interior mutability there breaks the order of the table.
pub trait Record: Send + Sync + 'static {
    /// The primary key: one column or a tuple of several.
    type Key: Ord + Clone + Debug + Send + Sync + 'static;

    /// The primary key of this record.
    fn key(&self) -> Self::Key;

    /// How this record stands to `other` by their primary keys. To be written by hand where making
    /// a key is not cheap: it is asked wherever keys of an index are equal.
    fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
