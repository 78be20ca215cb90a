//! The origin: where the truth lives, asked one statement at a time.
//!
//! Its contract is about time, not about rows: an answer says of which moment it is.
//! **Invariant**: the stamp of an answer is at or below what the answer reflects, never above.

use std::fmt;

use crate::{
    BoxFuture,
    dependency::Dependency,
    error::Error,
    timeline::{Name, Stamp},
};

/// An answer of an origin, and of which moment it is.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    /// What the origin said.
    pub rows: R,
    /// The answer reflects every change up to here. Taken inside the load's own snapshot where the
    /// origin has one, else the stamp that was passed in.
    pub stamp: Stamp,
    /// What the answer was built from.
    pub dependencies: Vec<Dependency>,
}

/// A source of truth that can be asked.
pub trait Origin: fmt::Debug + Send + Sync + 'static {
    /// One question.
    type Query: Send;
    /// What it answers with.
    type Rows: Send;

    /// The timeline of this origin.
    fn timeline(&self) -> &Name;

    /// What an answer to `query` can depend on: registered before the load takes its stamps.
    fn shape(&self, query: &Self::Query) -> Vec<Dependency>;

    /// Asks. `before` is the confirmed stamp of this timeline, taken before this call.
    ///
    /// # Errors
    /// `Unavailable` and `Timeout` may pass, `Origin` and `Limit` will not.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question; the origin may still finish it.
    fn load<'a>(
        &'a self,
        query: &'a Self::Query,
        before: Stamp,
    ) -> BoxFuture<'a, Result<Answer<Self::Rows>, Error>>;
}
