//! Spans: a stretch of one column's values, as `price < 10` or "up to the last row of this page".
//!
//! They stand apart from the equalities of a scope because a change cannot be met by a digest of
//! its values: every span that holds a value must be found (see `index`). **Invariant**: where a
//! comparison of the application and ours could differ, a span holds more values, never fewer.

use std::{cmp::Ordering, fmt, ops::Bound};

use crate::{
    encoding::{Reader, corrupt},
    error::Error,
    value::Value,
};

pub(crate) mod index;

mod tree;

mod prefix;

/// A stretch of the values of one column.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// Where it begins.
    pub low: Bound<Value>,
    /// Where it ends.
    pub high: Bound<Value>,
    /// Whether rows without a value belong to it.
    pub nulls: Nulls,
}

/// Where the rows without a value stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// Outside, as a condition in SQL has it: `NULL < 10` is not true.
    Outside,
    /// Inside, as in a list that is sorted by the column and begins or ends with them.
    Inside,
}

/// How values follow each other: numbers by value whatever their type, then text and bytes by
/// their bytes, as SQLite and Rust sort them. Nothing is said of null, which no bound can be.
pub(crate) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => reals(*a, *b),
        (Value::Integer(a), Value::Real(b)) => integer_and_real(*a, *b),
        (Value::Real(a), Value::Integer(b)) => integer_and_real(*b, *a).reverse(),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

/// Zeros are equal whatever their sign; what is not a number follows all numbers.
fn reals(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Exact: a float of 2^63 and more is beyond every integer, and below that its whole part fits.
#[expect(clippy::cast_possible_truncation, reason = "the whole part is within an i64")]
fn integer_and_real(integer: i64, real: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if real.is_nan() || BEYOND <= real {
        return Ordering::Less;
    }
    if real < -BEYOND {
        return Ordering::Greater;
    }
    let whole = real.trunc();
    integer.cmp(&(whole as i64)).then_with(|| reals(whole, real))
}

impl Span {
    /// The values between two bounds; rows without a value are outside.
    pub fn between(low: Bound<Value>, high: Bound<Value>) -> Self {
        Self { low, high, nulls: Nulls::Outside }
    }

    /// Whether `value` lies in it.
    pub fn holds(&self, value: &Value) -> bool {
        if matches!(value, Value::Null) {
            return self.nulls == Nulls::Inside;
        }
        begins_by(&self.low, value) && ends_after(&self.high, value)
    }

    /// Whether no value can lie in it: its bounds are reversed.
    pub fn is_empty(&self) -> bool {
        let (Bound::Included(low) | Bound::Excluded(low)) = &self.low else { return false };
        let (Bound::Included(high) | Bound::Excluded(high)) = &self.high else { return false };
        let is_open =
            matches!(self.low, Bound::Excluded(_)) || matches!(self.high, Bound::Excluded(_));
        match order(low, high) {
            Ordering::Less => false,
            Ordering::Equal => is_open,
            Ordering::Greater => true,
        }
    }

    /// Leaves only what lies in `other` as well.
    pub(crate) fn narrow(&mut self, other: Self) {
        if order_of_lows(&self.low, &other.low) == Ordering::Less {
            self.low = other.low;
        }
        if order_of_highs(&other.high, &self.high) == Ordering::Less {
            self.high = other.high;
        }
        if other.nulls == Nulls::Outside {
            self.nulls = Nulls::Outside;
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for bound in [&self.low, &self.high] {
            match bound {
                Bound::Unbounded => out.push(0),
                Bound::Included(value) => {
                    out.push(1);
                    value.encode(out);
                }
                Bound::Excluded(value) => {
                    out.push(2);
                    value.encode(out);
                }
            }
        }
        out.push(u8::from(self.nulls == Nulls::Inside));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut bound = || {
            Ok(match reader.byte()? {
                0 => Bound::Unbounded,
                1 => Bound::Included(Value::decode(reader)?),
                2 => Bound::Excluded(Value::decode(reader)?),
                other => return Err(corrupt(format!("{other} is no kind of bound"))),
            })
        };
        let (low, high) = (bound()?, bound()?);
        let nulls = match reader.byte()? {
            0 => Nulls::Outside,
            1 => Nulls::Inside,
            other => return Err(corrupt(format!("{other} is no place for nulls"))),
        };
        Ok(Self { low, high, nulls })
    }
}

/// Whether `value` is at or behind the beginning.
fn begins_by(low: &Bound<Value>, value: &Value) -> bool {
    match low {
        Bound::Unbounded => true,
        Bound::Included(low) => order(low, value) != Ordering::Greater,
        Bound::Excluded(low) => order(low, value) == Ordering::Less,
    }
}

/// Whether `value` is at or before the end.
fn ends_after(high: &Bound<Value>, value: &Value) -> bool {
    match high {
        Bound::Unbounded => true,
        Bound::Included(high) => order(value, high) != Ordering::Greater,
        Bound::Excluded(high) => order(value, high) == Ordering::Less,
    }
}

/// Beginnings in the order in which they let values in.
fn order_of_lows(a: &Bound<Value>, b: &Bound<Value>) -> Ordering {
    order_of_bounds(a, b, Ordering::Less)
}

/// Ends in the order in which they stop values.
fn order_of_highs(a: &Bound<Value>, b: &Bound<Value>) -> Ordering {
    order_of_bounds(a, b, Ordering::Greater)
}

/// `open` is where a side without a bound stands; an excluded bound stands on the other side of
/// an included one with the same value.
fn order_of_bounds(a: &Bound<Value>, b: &Bound<Value>, open: Ordering) -> Ordering {
    match (a, b) {
        (Bound::Unbounded, Bound::Unbounded) => Ordering::Equal,
        (Bound::Unbounded, _) => open,
        (_, Bound::Unbounded) => open.reverse(),
        (
            Bound::Included(one) | Bound::Excluded(one),
            Bound::Included(two) | Bound::Excluded(two),
        ) => {
            let is_excluded = |bound: &Bound<Value>| matches!(bound, Bound::Excluded(_));
            order(one, two).then_with(|| match (is_excluded(a), is_excluded(b)) {
                (false, true) => open,
                (true, false) => open.reverse(),
                _ => Ordering::Equal,
            })
        }
    }
}

/// Prints the span as `explain` shows it, after the name of its column: ` in 5..=10`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.low {
            Bound::Unbounded => {}
            Bound::Included(low) => write!(f, "{low}")?,
            Bound::Excluded(low) => write!(f, "{low}<")?,
        }
        f.write_str("..")?;
        match &self.high {
            Bound::Unbounded => {}
            Bound::Included(high) => write!(f, "={high}")?,
            Bound::Excluded(high) => write!(f, "{high}")?,
        }
        match self.nulls {
            Nulls::Outside => Ok(()),
            Nulls::Inside => f.write_str(" or null"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
