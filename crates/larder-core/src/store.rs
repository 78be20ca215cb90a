//! The store: an L2 tier that keeps records for more than one process or one life.
//!
//! Bytes in, bytes out: it decides nothing, because every decision is made by whoever reads the
//! record. **Invariant**: a store may lose, reorder or duplicate records; that costs a load and
//! never shows an old value.

use std::fmt;

use crate::{BoxFuture, clock::WallMillis, error::Error};

/// A place for encoded [`crate::record::Record`]s, by region and key.
///
/// # Implementations must
/// - tell a miss (`Ok(None)`) from not being able to answer (`Unavailable`);
/// - make each `put` visible as a whole or not at all;
/// - answer every call in bounded time.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The record under `key` of `region`; `None` is a miss.
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>>;

    /// Puts `record` under `key` of `region`, in place of what was there, to be let go at `until`;
    /// `None` is never.
    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: Vec<u8>,
        until: Option<WallMillis>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes what is under `key` of `region`; whether there was something.
    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>>;
}
