//! Conditions: what may be asked of one column, as types that the compiler checks.
//!
//! They stand apart from [`crate::scope`], which puts conditions on several columns together.
//! **Invariant**: every value that meets a condition as the application compares values meets it
//! here as well; a type for which that cannot be said ([`Exact`]) cannot be asked for so.

use std::{
    ops::{
        Bound::{self, Excluded, Included, Unbounded},
        Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive,
    },
    sync::Arc,
};

use crate::{
    span::{Nulls, Span},
    value::Value,
};

/// A condition on one column.
///
/// Made from a value (`category("sci-fi")`), from a range (`price(..10)`), by [`any_of`] and
/// [`null`]: so that what a scope may ask is checked when it is compiled.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Any of these values.
    AnyOf(Vec<Value>),
    /// A stretch of values.
    Within(Span),
}

/// What may be asked of a column with values of type `T`: one value, [`any_of`] several, a range,
/// or [`null`] where `T` is an `Option`.
#[diagnostic::on_unimplemented(
    message = "a column of type `{T}` cannot be asked for `{Self}`",
    label = "no condition on a column of type `{T}`",
    note = "a column is asked for a value of its type, `any_of([..])` such values, or a range of \
            them; one of floats only for a range, and `null()` only where the type is an `Option`"
)]
pub trait Asks<T> {
    /// The condition.
    fn condition(self) -> Condition;
}

/// What stands for one value of a column of type `T`: the value, a reference to it, text for a
/// `String`, and each of these for an `Option` of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no value of a column of type `{T}`",
    label = "expected `{T}`, or a reference to one",
    note = "values are not converted, `1` and `\"1\"` are different things; a type of your own \
            implements `Clone`, and `Value` implements `From` it"
)]
pub trait ValueOf<T> {
    /// The value.
    fn value(self) -> Value;
}

/// A type whose values are equal if and only if their [`Value`]s are: what a key may consist of and
/// what an equality may be asked of.
///
/// Not floats: `0.0` equals `-0.0` and has other bits, and a database may keep `1.0` as the integer
/// `1`. A column of floats can still be asked for a range.
///
/// # Implementations must
/// keep to that, and be convertible into a [`Value`] to be of use:
///
/// ```
/// use larder_core::{Exact, Value};
///
/// #[derive(Clone)]
/// struct ArticleId(i64);
///
/// impl From<ArticleId> for Value {
///     fn from(id: ArticleId) -> Self {
///         id.0.into()
///     }
/// }
///
/// impl Exact for ArticleId {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key, nor be asked for a single value",
    label = "values of this type are not known to be equal exactly if their encodings are",
    note = "a column of floats can be asked for a range; a type of your own implements `Exact` and \
            `From<..> for Value`"
)]
pub trait Exact {}

macro_rules! exact {
    ($($exact:ty),*) => {$(
        impl Exact for $exact {}
    )*};
}

exact!(i8, i16, i32, i64, u8, u16, u32, u64, bool, String, &str, Arc<str>, Vec<u8>, Arc<[u8]>);

impl<T: Exact> Exact for Option<T> {}

// A list of all implementations beside a mistake helps nobody; the notes of the traits do.
macro_rules! single_values {
    ($($own:ty => $column:ty, $convert:expr;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Clone + Into<Value>> ValueOf<$column> for $own {
            fn value(self) -> Value {
                let convert: fn($own) -> Value = $convert;
                convert(self)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<T: Exact + Clone + Into<Value>> Asks<$column> for $own {
            fn condition(self) -> Condition {
                Condition::AnyOf(vec![ValueOf::<$column>::value(self)])
            }
        }
    )*};
}

single_values! {
    T => T, T::into;
    &T => T, |own| own.clone().into();
    T => Option<T>, T::into;
    &T => Option<T>, |own| own.clone().into();
}

macro_rules! text_values {
    ($($column:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl ValueOf<$column> for &str {
            fn value(self) -> Value {
                self.into()
            }
        }

        #[diagnostic::do_not_recommend]
        impl Asks<$column> for &str {
            fn condition(self) -> Condition {
                Condition::AnyOf(vec![self.into()])
            }
        }
    )*};
}

text_values!(String, Option<String>, Arc<str>, Option<Arc<str>>);

/// Any of several values. [`any_of`] makes it.
#[derive(Clone, Debug)]
pub struct AnyOf<I>(I);

/// Any of `values`: `IN (..)`. None at all is an error where it is used.
pub fn any_of<I: IntoIterator>(values: I) -> AnyOf<I> {
    AnyOf(values)
}

#[diagnostic::do_not_recommend]
impl<T: Exact, I: IntoIterator<Item: ValueOf<T>>> Asks<T> for AnyOf<I> {
    fn condition(self) -> Condition {
        Condition::AnyOf(self.0.into_iter().map(ValueOf::value).collect())
    }
}

/// No value: `IS NULL`. [`null`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct NoValue;

/// No value: `IS NULL`. Only columns of an `Option` can be asked for it.
pub fn null() -> NoValue {
    NoValue
}

#[diagnostic::do_not_recommend]
impl<T> Asks<Option<T>> for NoValue {
    fn condition(self) -> Condition {
        Condition::AnyOf(vec![Value::Null])
    }
}

macro_rules! ranges {
    ($($range:ty, $bounds:expr;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T, V: ValueOf<T>> Asks<T> for $range {
            fn condition(self) -> Condition {
                let bounds: fn($range) -> (Bound<V>, Bound<V>) = $bounds;
                let (low, high) = bounds(self);
                within(low, high)
            }
        }
    )*};
}

ranges! {
    Range<V>, |range| (Included(range.start), Excluded(range.end));
    RangeFrom<V>, |range| (Included(range.start), Unbounded);
    RangeTo<V>, |range| (Unbounded, Excluded(range.end));
    RangeToInclusive<V>, |range| (Unbounded, Included(range.end));
    RangeInclusive<V>, |range| {
        let (low, high) = range.into_inner();
        (Included(low), Included(high))
    };
    (Bound<V>, Bound<V>), |bounds| bounds;
}

/// A bound without a value is taken as none at all, with the rows without a value inside: where
/// those stand in an order differs, and so the widest is meant.
fn within<T, V: ValueOf<T>>(low: Bound<V>, high: Bound<V>) -> Condition {
    let mut nulls = Nulls::Outside;
    let mut bound = |bound: Bound<V>| match bound.map(ValueOf::value) {
        Included(Value::Null) | Excluded(Value::Null) => {
            nulls = Nulls::Inside;
            Unbounded
        }
        bound => bound,
    };
    let (low, high) = (bound(low), bound(high));
    Condition::Within(Span { low, high, nulls })
}
