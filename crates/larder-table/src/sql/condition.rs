//! Conditions: ranges of keys as what stands behind `WHERE`, so that SQLite can use an index.
//!
//! Apart from `key`, which makes values of typed keys. SQLite brings the two sides of a comparison
//! to one type where a column has one, and says neither yes nor no of NULL; a key does neither.
//! **Invariant**: a condition holds for every row whose key lies in its ranges; what it holds for
//! besides is left out by whoever takes the rows. No row of a key is in two parts of one range.

use larder_core::Value;
use larder_sqlite::{Part, analysis::Affinity};

use super::{
    key::{Edge, Side, SqlKey, high, low},
    row::order,
};
use crate::ranges::Ranges;

/// A column that keys are made of.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    /// Its name, quoted.
    pub(crate) name: String,
    /// How SQLite converts what it is compared with; `None` where that is not known.
    pub(crate) affinity: Option<Affinity>,
    pub(crate) never_null: bool,
}

/// A part of a load, and the ranges that it is for.
#[derive(Clone, Debug)]
pub(crate) struct RangePart<K> {
    pub(crate) part: Part,
    pub(crate) ranges: Ranges<K>,
}

/// Values of one condition that names keys one by one. SQLite takes 32,766; ten times fewer would
/// be ten times more statements for a thousand invalid records, more would be longer texts to keep.
const VALUES_MAX: usize = 512;

/// The parts of a result that hold the rows whose keys lie in `ranges`.
pub(crate) fn parts<K: SqlKey>(columns: &[KeyColumn], ranges: &Ranges<K>) -> Vec<RangePart<K>> {
    let mut parts = Vec::new();
    // By how many columns they name: a condition names as many of each key.
    let mut points: Vec<Vec<(Vec<Value>, Ranges<K>)>> = vec![Vec::new(); columns.len() + 1];
    for (low_bound, high_bound) in ranges.iter() {
        let own = Ranges::of((low_bound.cloned(), high_bound.cloned())).expect("ranges are sorted");
        let low = low(low_bound, columns.len());
        let high = high(high_bound, columns.len());
        let is_exact = |values: &Vec<Value>| !values.iter().zip(columns).any(is_rounded);
        match (point(low.as_ref(), high.as_ref()).filter(is_exact), low, high) {
            (Some(values), ..) if points.get(values.len()).is_some() => {
                if let Some(group) = points.get_mut(values.len()) {
                    group.push((values, own));
                }
            }
            (_, low, high) => {
                let between = between(columns, low, high);
                let part = |part| RangePart { part, ranges: own.clone() };
                parts.extend(between.into_iter().map(part));
            }
        }
    }
    for (width, group) in points.into_iter().enumerate().filter(|(width, _)| 0 < *width) {
        for chunk in group.chunks(VALUES_MAX / width.min(VALUES_MAX)) {
            parts.push(one_of(columns, width, chunk));
        }
    }
    parts
}

/// The values, if exactly the keys that begin with them lie between the two edges.
fn point(low: Option<&Edge>, high: Option<&Edge>) -> Option<Vec<Value>> {
    let (Edge { values, side: Side::Before }, Edge { values: others, side: Side::Behind }) =
        (low?, high?)
    else {
        return None;
    };
    let is_same = values.len() == others.len()
        && values.iter().zip(others).all(|(one, other)| order(one, other).is_eq());
    let has_null = values.iter().any(|value| matches!(value, Value::Null));
    (is_same && !has_null && !values.is_empty()).then(|| values.clone())
}

/// The keys that begin with one of several values of the first `width` columns.
fn one_of<K: SqlKey>(
    columns: &[KeyColumn],
    width: usize,
    points: &[(Vec<Value>, Ranges<K>)],
) -> RangePart<K> {
    let mut writer = Writer::default();
    // The last one again and again: few lengths are few texts.
    let last = points.last().map(|(values, _)| values);
    let missing = points.len().next_power_of_two() - points.len();
    let padding = last.into_iter().cycle().take(missing);
    let rows: Vec<String> = points
        .iter()
        .map(|(values, _)| values)
        .chain(padding)
        .map(|values| writer.tuple(values, ""))
        .collect();
    let names = names(columns, width);
    let condition = match (&*rows, width) {
        ([only], _) => format!("{names} = {only}"),
        (rows, 1) => format!("{names} IN ({})", rows.join(", ")),
        (rows, _) => format!("{names} IN (VALUES {})", rows.join(", ")),
    };
    let ranges = points.iter().fold(Ranges::none(), |all, (_, own)| all.union(own));
    RangePart { part: writer.part(&[condition]), ranges }
}

/// The keys between two edges: one part, or several where a comparison would read too much or say
/// nothing of NULL.
fn between(columns: &[KeyColumn], low: Option<Edge>, high: Option<Edge>) -> Vec<Part> {
    let shared = match (&low, &high) {
        (Some(low), Some(high)) => {
            let both = low.values.iter().zip(&high.values);
            both.take_while(|(one, other)| order(one, other).is_eq()).count()
        }
        _ => 0,
    };
    let rest = columns.get(shared..).unwrap_or_default();
    if let Some(cut) = high.as_ref().and_then(|high| cut(rest, high, shared)) {
        let mut parts = between(columns, low, Some(cut.clone()));
        parts.extend(between(columns, Some(cut), high));
        return parts;
    }
    let mut writer = Writer::default();
    let mut conditions: Vec<String> = low
        .iter()
        .flat_map(|low| low.values.iter().zip(columns).take(shared))
        .map(|(value, column)| writer.equals(column, value))
        .collect();
    let (low, high) = (low.map(|own| own.beyond(shared)), high.map(|own| own.beyond(shared)));
    let is_at = |edge: &Option<Edge>, side| {
        edge.as_ref().is_some_and(|edge| edge.values.is_empty() && edge.side == side)
    };
    if is_at(&low, Side::Behind) || is_at(&high, Side::Before) {
        return Vec::new();
    }
    let from = low.and_then(|edge| writer.above(rest, &edge));
    let has_low = from.is_some();
    conditions.extend(from);
    let Some(high) = high.filter(|edge| !edge.values.is_empty()) else {
        return vec![writer.part(&conditions)];
    };
    let (mut alone, mut of_null) = (writer.clone(), conditions.clone());
    // Without an end NULL is in it.
    let Some(to) = writer.below(rest, &high) else { return vec![writer.part(&conditions)] };
    conditions.push(to);
    let is_null = matches!(high.values.first(), Some(Value::Null));
    // NULL is below every value, and no comparison with one holds for it.
    let first = rest.first().filter(|first| !has_low && !is_null && !first.never_null);
    let of_null = first.map(|first| {
        of_null.push(alone.equals(first, &Value::Null));
        alone.part(&of_null)
    });
    of_null.into_iter().chain([writer.part(&conditions)]).collect()
}

/// Where to cut what lies below `high`, whose first values are shared with all of it: a comparison
/// of rows says nothing where it meets a NULL, which is below. So what has less in the first column
/// is asked for by itself, and what has the same by the columns behind it.
fn cut(rest: &[KeyColumn], high: &Edge, shared: usize) -> Option<Edge> {
    let exact = exact(rest, high.values.get(shared..)?).len();
    let mut others = rest.iter().take(exact).skip(1);
    let values = high.values.iter().take(shared + 1).cloned().collect();
    others.any(|column| !column.never_null).then_some(Edge { values, side: Side::Before })
}

impl Edge {
    /// The same among keys that have the first values.
    fn beyond(self, shared: usize) -> Self {
        Self { values: self.values.into_iter().skip(shared).collect(), ..self }
    }
}

/// A condition in the making.
#[derive(Clone, Default)]
struct Writer {
    values: Vec<Value>,
}

impl Writer {
    fn part(self, conditions: &[String]) -> Part {
        let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        Part { condition, values: self.values }
    }

    /// A parameter with this value.
    fn value(&mut self, value: &Value) -> String {
        self.values.push(value.clone());
        format!(":larder_{}", self.values.len() - 1)
    }

    /// The values in parentheses where there are several, with `sign` before them.
    fn tuple(&mut self, values: &[Value], sign: &str) -> String {
        let values: Vec<String> = values.iter().map(|value| self.value(value)).collect();
        match &*values {
            [only] => format!("{sign}{only}"),
            several => format!("{sign}({})", several.join(", ")),
        }
    }

    fn equals(&mut self, column: &KeyColumn, value: &Value) -> String {
        let name = &column.name;
        match value {
            Value::Null => format!("{name} IS NULL"),
            value if is_rounded((value, column)) => {
                let (least, greatest) = (self.value(&at_most(value)), self.value(&at_least(value)));
                format!("{name} >= {least} AND {name} <= {greatest}")
            }
            value => format!("{name} = {}", self.value(value)),
        }
    }

    /// What holds for every key above the edge; `None` where nothing does that could be said.
    fn above(&mut self, columns: &[KeyColumn], edge: &Edge) -> Option<String> {
        let exact = exact(columns, &edge.values);
        let (first, value) = columns.first().zip(edge.values.first())?;
        if !exact.is_empty() {
            let is_cut = exact.len() < edge.values.len();
            let sign = if is_cut || edge.side == Side::Before { " >= " } else { " > " };
            let names = names(columns, exact.len());
            return Some(format!("{names}{}", self.tuple(exact, sign)));
        }
        let name = &first.name;
        match (value, first.affinity) {
            (Value::Null, _) => None,
            // The column has nothing but text, all of which is above.
            (Value::Integer(_) | Value::Real(_), Some(Affinity::Text)) => None,
            // It may have, and then the number is compared as text.
            (Value::Integer(_) | Value::Real(_), None) => {
                Some(format!("({name} >= {} OR {name} >= '')", self.value(&at_most(value))))
            }
            _ => Some(format!("{name} >= {}", self.value(&at_most(value)))),
        }
    }

    /// What holds for every key below the edge, except where its first column is NULL; others of
    /// its columns must not be.
    fn below(&mut self, columns: &[KeyColumn], edge: &Edge) -> Option<String> {
        let exact = exact(columns, &edge.values);
        let (first, value) = columns.first().zip(edge.values.first())?;
        let name = &first.name;
        if exact.is_empty() {
            return match value {
                Value::Null => Some(self.equals(first, value)),
                // A number in quotes is compared as a number in some columns: nothing is left out.
                Value::Text(_) => None,
                value => Some(format!("{name} <= {}", self.value(&at_least(value)))),
            };
        }
        let is_cut = exact.len() < edge.values.len();
        let below = if is_cut || edge.side == Side::Behind { " <= " } else { " < " };
        let names = names(columns, exact.len());
        Some(format!("{names}{}", self.tuple(exact, below)))
    }
}

/// The first columns, in parentheses where they are several.
fn names(columns: &[KeyColumn], count: usize) -> String {
    let names: Vec<&str> = columns.iter().take(count).map(|column| &*column.name).collect();
    match &*names {
        [only] => (*only).to_owned(),
        several => format!("({})", several.join(", ")),
    }
}

/// As many of the first values as compare with their columns as keys do.
fn exact<'a>(columns: &[KeyColumn], values: &'a [Value]) -> &'a [Value] {
    let is_exact = |(column, value): &(&KeyColumn, &Value)| {
        let affinity = column.affinity;
        match value {
            Value::Null => false,
            _ if is_rounded((*value, *column)) => false,
            Value::Integer(_) | Value::Real(_) => affinity.is_some_and(|own| own != Affinity::Text),
            Value::Text(text) => {
                matches!(affinity, Some(Affinity::Text | Affinity::Blob)) || !may_be_number(text)
            }
            Value::Blob(_) => true,
        }
    };
    let count = columns.iter().zip(values).take_while(is_exact).count();
    values.get(..count).unwrap_or_default()
}

/// The first float from which on several whole numbers are one: 2 to the power of 53.
const ROUNDED: f64 = 9_007_199_254_740_992.0;

/// Whether rows whose whole number is not equal to the float may have it as their key: SQLite
/// compares them exactly, and a [`crate::Float`] is the nearest one.
fn is_rounded((value, column): (&Value, &KeyColumn)) -> bool {
    let is_large = matches!(value, Value::Real(number) if ROUNDED <= number.abs());
    is_large && column.affinity != Some(Affinity::Real)
}

/// What is at most any number that is rounded to this float; another value as it is.
fn at_most(value: &Value) -> Value {
    match value {
        Value::Real(number) => Value::Real(number.next_down()),
        value => value.clone(),
    }
}

/// What is at least any number that is rounded to this float; another value as it is.
fn at_least(value: &Value) -> Value {
    match value {
        Value::Real(number) => Value::Real(number.next_up()),
        value => value.clone(),
    }
}

/// Whether SQLite may read the text as a number where a column has numbers.
fn may_be_number(text: &str) -> bool {
    let first = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    first.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}

#[cfg(test)]
mod tests;
