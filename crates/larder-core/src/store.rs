//! The store: an L2 tier that keeps records for more than one process or one life.
//!
//! Bytes in, bytes out: it decides nothing, because every decision is made by whoever reads the
//! record. **Invariant**: a store may lose, reorder or duplicate records; that costs a load and
//! never shows an old value.

use std::fmt;

use crate::{BoxFuture, error::Error};

/// A place for encoded [`crate::record::Record`]s.
///
/// # Implementations must
/// tell a miss (`Ok(None)`) from not being able to answer (`Unavailable`), and make each `put`
/// visible as a whole or not at all.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The record under `key`; `None` is a miss.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>>;

    /// Puts `record` under `key`, in place of what was there.
    fn put<'a>(&'a self, key: &'a [u8], record: Vec<u8>) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes what is under `key`; whether there was something.
    fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>>;
}
