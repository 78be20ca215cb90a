//! Keys of columns: what a key of an index says of each column that it is made of.
//!
//! Apart from `condition`, which writes SQL and knows no types. **Invariant**: two keys are in the
//! order in which SQLite puts the values that they give, or are equal where those are not (whole
//! numbers that are one [`Float`]).

use std::{ops::Bound, sync::Arc};

use larder_core::Value;

use crate::{float::Float, index::IndexKey, prefix::Successor, ranges::Ranges};

/// A key of an index that is made of columns of a result, in their order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key that is made of columns",
    note = "whole numbers, `Float`, `String`, `Vec<u8>`, `Option` of these, tuples of up to four \
            of them and `RowKey` are"
)]
pub trait SqlKey: IndexKey {
    /// Of how many columns it is made; `None` where that differs from key to key.
    const COLUMNS: Option<usize>;

    /// The key with these values, one for each column; `None` where no key has them.
    fn from_values(values: Vec<Value>) -> Option<Self>;

    /// The keys that begin with these values, which are fewer than a key has; `None` where that
    /// cannot be said, or no key does.
    fn beginning(values: Vec<Value>) -> Option<Ranges<Self>> {
        let _ = values;
        None
    }

    /// Adds the value of each column. Fewer than the index has: of the first columns.
    fn values(&self, out: &mut Vec<Value>);

    /// Whether it stands behind every key that begins with its values, instead of before them.
    fn is_behind(&self) -> bool {
        false
    }
}

/// The key of one column.
pub trait SqlColumn: IndexKey + Successor {
    /// Its value.
    fn value(&self) -> Value;

    /// The key with this value, which is one that the column may hold; `None` where none has it.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl SqlColumn for $number {
            fn value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }

            fn from_value(value: Value) -> Option<Self> {
                let Value::Integer(number) = value else { return None };
                number.try_into().ok()
            }
        }
    )*};
}

whole_numbers!(i8, i16, i32, i64, u8, u16, u32);

impl SqlColumn for bool {
    fn value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            _ => None,
        }
    }
}

/// What is not a number stands behind all numbers, as the shortest text does in SQLite.
impl SqlColumn for Float {
    fn value(&self) -> Value {
        if self.0.is_nan() { Value::from("") } else { Value::Real(self.0) }
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Real(number) => Some(Self(number)),
            #[expect(clippy::cast_precision_loss, reason = "as SQLite rounds into a real column")]
            Value::Integer(number) => Some(Self(number as f64)),
            _ => None,
        }
    }
}

impl SqlColumn for String {
    fn value(&self) -> Value {
        Value::from(self.as_str())
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text.as_ref().to_owned())
    }
}

impl SqlColumn for Arc<str> {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text)
    }
}

impl SqlColumn for Vec<u8> {
    fn value(&self) -> Value {
        Value::Blob(self.as_slice().into())
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Blob(bytes) = value else { return None };
        Some(bytes.to_vec())
    }
}

impl<T: SqlColumn> SqlColumn for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, SqlColumn::value)
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! of_one_column {
    ($($key:ty),*) => {$(
        impl SqlKey for $key {
            const COLUMNS: Option<usize> = Some(1);

            fn from_values(values: Vec<Value>) -> Option<Self> {
                let [value] = <[Value; 1]>::try_from(values).ok()?;
                Self::from_value(value)
            }

            fn values(&self, out: &mut Vec<Value>) {
                out.push(self.value());
            }
        }
    )*};
}

of_one_column!(i8, i16, i32, i64, u8, u16, u32, bool, Float, String, Arc<str>, Vec<u8>);

impl<T: SqlColumn> SqlKey for Option<T> {
    const COLUMNS: Option<usize> = Some(1);

    fn from_values(values: Vec<Value>) -> Option<Self> {
        let [value] = <[Value; 1]>::try_from(values).ok()?;
        Self::from_value(value)
    }

    fn values(&self, out: &mut Vec<Value>) {
        out.push(self.value());
    }
}

macro_rules! of_several_columns {
    ($count:literal: $($column:ident $place:tt),*) => {
        impl<$($column: SqlColumn),*> SqlKey for ($($column,)*) {
            const COLUMNS: Option<usize> = Some($count);

            fn from_values(values: Vec<Value>) -> Option<Self> {
                if values.len() != $count {
                    return None;
                }
                let mut values = values.into_iter();
                Some(($($column::from_value(values.next()?)?,)*))
            }

            fn beginning(values: Vec<Value>) -> Option<Ranges<Self>> {
                let mut values = values.into_iter();
                let mut from = ($($column::least(),)*);
                // The last of the values that has a next one is that, with the least behind it.
                let mut to = Bound::Unbounded;
                $(
                    if let Some(value) = values.next() {
                        let own = $column::from_value(value)?;
                        if let Some(next) = own.successor() {
                            let mut behind = from.clone();
                            behind.$place = next;
                            to = Bound::Excluded(behind);
                        }
                        from.$place = own;
                    }
                )*
                Ranges::of((Bound::Included(from), to)).ok()
            }

            fn values(&self, out: &mut Vec<Value>) {
                $(out.push(self.$place.value());)*
            }
        }
    };
}

of_several_columns!(1: A 0);
of_several_columns!(2: A 0, B 1);
of_several_columns!(3: A 0, B 1, C 2);
of_several_columns!(4: A 0, B 1, C 2, D 3);

/// An end of a range, as a place between keys of a certain number of columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    /// Values of the first columns.
    pub(crate) values: Vec<Value>,
    pub(crate) side: Side,
}

/// On which side of the keys that begin with the values an edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    Behind,
}

/// The lower end of a range of keys of `width` columns; `None` where it has none.
pub(crate) fn low<K: SqlKey>(bound: Bound<&K>, width: usize) -> Option<Edge> {
    match bound {
        Bound::Included(key) => Some(before(key)),
        Bound::Excluded(key) => Some(behind(key, width)),
        Bound::Unbounded => None,
    }
}

/// The upper end.
pub(crate) fn high<K: SqlKey>(bound: Bound<&K>, width: usize) -> Option<Edge> {
    match bound {
        Bound::Included(key) => Some(behind(key, width)),
        Bound::Excluded(key) => Some(before(key)),
        Bound::Unbounded => None,
    }
}

fn before<K: SqlKey>(key: &K) -> Edge {
    let side = if key.is_behind() { Side::Behind } else { Side::Before };
    Edge { values: values(key), side }
}

/// The place right behind `key` itself: one of fewer columns stands before all that begin with it.
fn behind<K: SqlKey>(key: &K, width: usize) -> Edge {
    let values = values(key);
    let is_whole = values.len() == width;
    let side = if is_whole || key.is_behind() { Side::Behind } else { Side::Before };
    Edge { values, side }
}

fn values<K: SqlKey>(key: &K) -> Vec<Value> {
    let mut values = Vec::new();
    key.values(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_with_values_are_those_and_no_others() {
        type Key = (Option<i64>, String, i64);
        let key = |one: Option<i64>, two: &str, three| (one, two.to_owned(), three);
        let begin = |values: Vec<Value>| Key::beginning(values).unwrap();
        let null = begin(vec![Value::Null]);
        assert!(null.contains(&key(None, "", i64::MIN)) && null.contains(&key(None, "z", 1)));
        assert!(!null.contains(&key(Some(i64::MIN), "", i64::MIN)));
        let last = begin(vec![Value::Integer(i64::MAX)]);
        assert!(last.contains(&key(Some(i64::MAX), "z", i64::MAX)));
        assert!(!last.contains(&key(Some(i64::MAX - 1), "z", i64::MAX)));
        let two = begin(vec![Value::Integer(i64::MAX), Value::from("a")]);
        assert!(two.contains(&key(Some(i64::MAX), "a", i64::MIN)));
        assert!(two.contains(&key(Some(i64::MAX), "a", i64::MAX)));
        assert!(!two.contains(&key(Some(i64::MAX), "a\0", i64::MIN)));
        assert!(!two.contains(&key(Some(i64::MAX), "", i64::MAX)));
        assert!(Key::beginning(vec![Value::Integer(1), Value::Integer(2)]).is_none());
    }
}
