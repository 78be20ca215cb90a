//! The row: a record of a query that is only known while the program runs.
//!
//! A server that is told its tables by a file has no types for them. **Invariant**: rows and keys
//! are in SQLite's own order: NULL, numbers by value, text and blobs byte by byte, then by the next
//! column.

use std::{cmp::Ordering, fmt, ops::Bound, sync::Arc};

use larder_core::{Error, Value};

use super::key::SqlKey;
use crate::{prefix::Prefixed, ranges::Ranges, record::Record};

/// A row of a result: a value for each column.
#[derive(Clone)]
pub struct Row {
    values: Box<[Value]>,
    shape: Arc<Shape>,
}

/// What all rows of a table have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) columns: Arc<[Arc<str>]>,
    /// Where the columns of the primary key stand.
    pub(crate) key: Vec<usize>,
}

impl Row {
    /// A row with these values, one for each column of the shape.
    pub(crate) fn new(values: Box<[Value]>, shape: Arc<Shape>) -> Self {
        Self { values, shape }
    }

    /// The names of the columns, in the order of the query.
    pub fn columns(&self) -> &Arc<[Arc<str>]> {
        &self.shape.columns
    }

    /// The values, one for each column.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of a column; `None` when there is no such column.
    ///
    /// # Cost
    /// A comparison with each name before it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        let place = self.shape.columns.iter().position(|own| **own == *column)?;
        self.values.get(place)
    }

    /// The bytes that it takes, those of its values and of what they point to included.
    pub fn bytes(&self) -> usize {
        // The counts of an `Arc` are two words.
        const COUNTS: usize = 2 * size_of::<usize>();
        let pointed = |value: &Value| match value {
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
            Value::Text(text) => COUNTS + text.len(),
            Value::Blob(bytes) => COUNTS + bytes.len(),
        };
        let pointed: usize = self.values.iter().map(pointed).sum();
        COUNTS + size_of::<Self>() + size_of_val(&*self.values) + pointed
    }

    /// The values of some columns as a key.
    pub(crate) fn key_of(&self, places: &[usize]) -> RowKey {
        let value = |place: &usize| self.values.get(*place).cloned().unwrap_or(Value::Null);
        match places {
            [only] => RowKey(Parts::One(value(only))),
            several => RowKey(Parts::Several(several.iter().map(value).collect())),
        }
    }

    fn key_values(&self) -> impl Iterator<Item = &Value> {
        self.shape.key.iter().map(|place| self.values.get(*place).unwrap_or(&Value::Null))
    }
}

impl Record for Row {
    type Key = RowKey;

    fn key(&self) -> RowKey {
        self.key_of(&self.shape.key)
    }

    fn order(&self, other: &Self) -> Ordering {
        compare(self.key_values(), other.key_values())
    }
}

/// As `{id: 7, name: "Ada"}`.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shape.columns.iter().zip(&self.values)).finish()
    }
}

/// A key of rows: values of some columns, compared as SQLite compares them.
///
/// A key of fewer columns than its index has stands before every key that begins with it; so
/// `RowKey::new([7])..RowKey::new([8])` are the keys that begin with 7. [`RowKey::within`] makes
/// ranges out of such beginnings.
#[derive(Clone)]
pub struct RowKey(Parts);

#[derive(Clone)]
enum Parts {
    One(Value),
    Several(Arc<[Value]>),
    /// Behind every key that begins with these.
    Behind(Arc<[Value]>),
}

impl RowKey {
    /// The key with these values, of the first columns or of all.
    pub fn new(values: impl IntoIterator<Item = Value>) -> Self {
        let mut values: Vec<Value> = values.into_iter().map(storable).collect();
        match (values.len(), values.pop()) {
            (1, Some(only)) => Self(Parts::One(only)),
            (_, last) => {
                values.extend(last);
                Self(Parts::Several(values.into()))
            }
        }
    }

    /// The key that stands right behind all those that begin with these values. No row has it.
    pub fn behind(values: impl IntoIterator<Item = Value>) -> Self {
        Self(Parts::Behind(values.into_iter().map(storable).collect()))
    }

    /// The keys between two bounds, each of which speaks of all keys that begin with its values:
    /// with both included and equal, exactly those that begin so.
    ///
    /// # Errors
    /// `Config` when the range ends before it begins.
    pub fn within(low: Bound<Vec<Value>>, high: Bound<Vec<Value>>) -> Result<Ranges<Self>, Error> {
        let low = match low {
            Bound::Included(values) => Bound::Included(Self::new(values)),
            Bound::Excluded(values) => Bound::Included(Self::behind(values)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let high = match high {
            Bound::Included(values) => Bound::Excluded(Self::behind(values)),
            Bound::Excluded(values) => Bound::Excluded(Self::new(values)),
            Bound::Unbounded => Bound::Unbounded,
        };
        Ranges::of((low, high))
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        match &self.0 {
            Parts::One(value) => std::slice::from_ref(value),
            Parts::Several(values) | Parts::Behind(values) => values,
        }
    }

    pub(crate) fn stands_behind(&self) -> bool {
        matches!(self.0, Parts::Behind(_))
    }
}

impl Prefixed<Vec<Value>> for RowKey {
    fn beginning(values: Vec<Value>) -> (Bound<Self>, Bound<Self>) {
        (Bound::Included(Self::new(values.clone())), Bound::Excluded(Self::behind(values)))
    }
}

/// SQLite knows nothing that is not a number: it becomes NULL.
fn storable(value: Value) -> Value {
    match value {
        Value::Real(number) if number.is_nan() => Value::Null,
        value => value,
    }
}

impl SqlKey for RowKey {
    const COLUMNS: Option<usize> = None;

    fn from_values(values: Vec<Value>) -> Option<Self> {
        Some(Self::new(values))
    }

    fn beginning(values: Vec<Value>) -> Option<Ranges<Self>> {
        Some(Ranges::prefix(values))
    }

    fn values(&self, out: &mut Vec<Value>) {
        out.extend_from_slice(Self::values(self));
    }

    fn is_behind(&self) -> bool {
        self.stands_behind()
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, others) = (self.values(), other.values());
        let both = own.len().min(others.len());
        let begin = compare(own.iter().take(both), others.iter().take(both));
        // Where one is a beginning of the other, it is before or behind all that begin with it.
        begin.then_with(|| match (own.len().cmp(&others.len()), self, other) {
            (Ordering::Equal, ..) => self.stands_behind().cmp(&other.stands_behind()),
            (Ordering::Less, shorter, _) if shorter.stands_behind() => Ordering::Greater,
            (Ordering::Greater, _, shorter) if shorter.stands_behind() => Ordering::Less,
            (length, ..) => length,
        })
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RowKey {}

/// As `(7, "Ada")`, with `..` behind one that stands behind all that begin so.
impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("");
        self.values().iter().for_each(|value| {
            tuple.field(value);
        });
        if self.stands_behind() { tuple.finish_non_exhaustive() } else { tuple.finish() }
    }
}

/// Compares column by column.
fn compare<'a>(
    own: impl Iterator<Item = &'a Value>,
    others: impl Iterator<Item = &'a Value>,
) -> Ordering {
    own.zip(others)
        .map(|(own, other)| order(own, other))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// How SQLite orders two values of a column without a collation.
pub(crate) fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Integer(one), Value::Real(other)) => integer_to_real(*one, *other),
        (Value::Real(one), Value::Integer(other)) => integer_to_real(*other, *one).reverse(),
        // Not a number is in no column and in no key.
        (Value::Real(one), Value::Real(other)) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        (one, other) => class(one).cmp(&class(other)),
    }
}

fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

/// Exactly: not every 64-bit integer is a float.
fn integer_to_real(integer: i64, real: f64) -> Ordering {
    /// 2 to the power of 63: the first float above all integers.
    const END: f64 = 9_223_372_036_854_775_808.0;
    if END <= real {
        return Ordering::Less;
    }
    if real < -END {
        return Ordering::Greater;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is within the range of integers")]
    let whole = real.trunc() as i64;
    integer.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(real.fract() + 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[i64]) -> RowKey {
        RowKey::new(values.iter().map(|value| Value::Integer(*value)))
    }

    #[test]
    fn key_of_fewer_columns_stands_before_all_that_begin_with_it() {
        let behind = RowKey::behind([Value::Integer(7)]);
        let sorted = [key(&[6, 9]), key(&[7]), key(&[7, 1]), key(&[7, 2]), behind, key(&[8])];
        assert!(
            sorted.is_sorted_by(|a, b| a < b) && sorted.iter().rev().is_sorted_by(|a, b| a > b)
        );
        let seven = Ranges::<RowKey>::prefix(vec![Value::Integer(7)]);
        assert!(seven.contains(&key(&[7, i64::MAX])) && !seven.contains(&key(&[8, 0])));
        let from = Bound::Excluded(vec![Value::Integer(7)]);
        let beyond = RowKey::within(from, Bound::Unbounded).unwrap();
        assert!(!beyond.contains(&key(&[7, 5])) && beyond.contains(&key(&[8, 0])));
        let reversed = RowKey::within(
            Bound::Included(vec![Value::Integer(8)]),
            Bound::Included(vec![Value::Integer(7)]),
        );
        assert!(reversed.is_err());
    }

    #[test]
    fn values_are_in_the_order_of_sqlite() {
        let big = 9_007_199_254_740_993_i64;
        let sorted = [
            Value::Null,
            Value::Real(f64::NEG_INFINITY),
            Value::Integer(i64::MIN),
            Value::Real(-1.5),
            Value::Integer(-1),
            Value::Real(-0.5),
            Value::Integer(0),
            Value::Real(0.5),
            Value::Integer(1),
            Value::Real(9_007_199_254_740_992.0),
            Value::Integer(big),
            Value::Integer(i64::MAX),
            Value::Real(9_223_372_036_854_775_808.0),
            Value::Text("".into()),
            Value::Text("1".into()),
            Value::Text("B".into()),
            Value::Text("a".into()),
            Value::Blob(Arc::from([])),
        ];
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut less = connection.prepare("SELECT ?1 < ?2, ?1 = ?2").unwrap();
        for one in &sorted {
            for other in &sorted {
                if [one, other].iter().any(|value| matches!(value, Value::Null)) {
                    continue;
                }
                let bind = |value: &Value| -> rusqlite::types::Value {
                    match value.clone() {
                        Value::Null => rusqlite::types::Value::Null,
                        Value::Integer(number) => number.into(),
                        Value::Real(number) => number.into(),
                        Value::Text(text) => text.to_string().into(),
                        Value::Blob(bytes) => bytes.to_vec().into(),
                    }
                };
                let (less, equal): (bool, bool) = less
                    .query_row((bind(one), bind(other)), |row| Ok((row.get(0)?, row.get(1)?)))
                    .unwrap();
                let wanted = match (less, equal) {
                    (true, _) => Ordering::Less,
                    (_, true) => Ordering::Equal,
                    _ => Ordering::Greater,
                };
                assert_eq!(order(one, other), wanted, "{one:?} and {other:?}");
            }
        }
        assert!(sorted.is_sorted_by(|one, other| order(one, other).is_lt()));
        assert_eq!(order(&Value::Real(-0.0), &Value::Integer(0)), Ordering::Equal);
        assert_eq!(order(&Value::Real(2.0), &Value::Integer(2)), Ordering::Equal);
    }

    #[test]
    fn bytes_of_a_row_count_what_its_values_point_to() {
        let shape = Arc::new(Shape { columns: Arc::from([Arc::from("a")]), key: vec![0] });
        let row = |value| Row::new([value].into(), shape.clone()).bytes();
        let number = row(Value::Integer(1));
        assert_eq!(number, 16 + size_of::<Row>() + size_of::<Value>());
        assert_eq!(row(Value::Text("1234567890".into())), number + 16 + 10);
    }
}
