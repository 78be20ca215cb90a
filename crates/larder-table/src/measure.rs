//! The measure: what is summed up along an index.
//!
//! Apart from the tree, which keeps the sums, because what is a sum is the user's choice.
//! **Invariant**: sums are made anew from what is there, never by taking away: a float does not
//! drift.

use std::sync::Arc;

/// A number of each record whose sums are kept.
pub(crate) trait Measure<R>: Send + Sync + 'static {
    type Sum: Clone + Default + Send + Sync + 'static;

    fn of(&self, record: &R) -> Self::Sum;

    fn add(sum: &mut Self::Sum, more: Self::Sum);
}

/// Nothing is summed up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl<R> Measure<R> for Nothing {
    type Sum = ();

    fn of(&self, _record: &R) {}

    fn add((): &mut (), (): ()) {}
}

/// A number that can be summed up.
pub trait Number: Copy + Send + Sync + 'static {
    /// Sums of it; wide enough not to overflow in practice.
    type Sum: Copy + Default + Send + Sync + 'static;

    /// Adds it to a sum.
    fn add_to(self, sum: Self::Sum) -> Self::Sum;

    /// The sum of two sums.
    fn join(one: Self::Sum, other: Self::Sum) -> Self::Sum;
}

impl Number for i64 {
    type Sum = i128;

    fn add_to(self, sum: i128) -> i128 {
        sum + i128::from(self)
    }

    fn join(one: i128, other: i128) -> i128 {
        one + other
    }
}

/// The sum of what a closure says of each record.
pub(crate) struct Summed<R, N>(pub(crate) Arc<dyn Fn(&R) -> N + Send + Sync>);

impl<R: 'static, N: Number> Measure<R> for Summed<R, N> {
    type Sum = N::Sum;

    fn of(&self, record: &R) -> N::Sum {
        (self.0)(record).add_to(N::Sum::default())
    }

    fn add(sum: &mut N::Sum, more: N::Sum) {
        *sum = N::join(*sum, more);
    }
}
