//! Conditions beside the keys they stand for: every row whose key lies in the ranges, from SQLite.

use std::{collections::BTreeSet, ops::Bound};

use proptest::prelude::*;
use rusqlite::{Connection, types::ValueRef};

use super::*;
use crate::sql::RowKey;

/// Columns of every kind, the last of which cannot be NULL.
const SCHEMA: &str =
    "CREATE TABLE t (whole INTEGER, name TEXT, real REAL, any BLOB, id INTEGER NOT NULL);
     CREATE INDEX t_order ON t (whole, name, real, any, id);";

fn columns() -> Vec<KeyColumn> {
    let column = |(name, affinity): (&str, Affinity)| KeyColumn {
        name: format!("\"{name}\""),
        affinity: Some(affinity),
        never_null: name == "id",
    };
    let kinds = [
        ("whole", Affinity::Integer),
        ("name", Affinity::Text),
        ("real", Affinity::Real),
        ("any", Affinity::Blob),
        ("id", Affinity::Integer),
    ];
    kinds.map(column).into()
}

/// Few values, so that keys meet; those that SQLite converts are among them.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        4 => (-1..3_i64).prop_map(Value::Integer),
        2 => prop_oneof![Just(-0.5), Just(0.0), Just(-0.0), Just(1.0), Just(1.5)]
            .prop_map(Value::Real),
        4 => prop_oneof![Just(""), Just("1"), Just("1.0"), Just(" 2"), Just("a"), Just("-x")]
            .prop_map(|text| Value::Text(text.into())),
        1 => prop_oneof![Just(vec![]), Just(b"1".to_vec())]
            .prop_map(|bytes| Value::Blob(bytes.into())),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<Value>>> {
    let values = || proptest::collection::vec(value(), 1..4);
    prop_oneof![
        4 => values().prop_map(Bound::Included),
        4 => values().prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

fn ranges() -> impl Strategy<Value = Ranges<RowKey>> {
    let range = prop_oneof![
        2 => (bound(), bound())
            .prop_map(|(low, high)| RowKey::within(low, high).unwrap_or_else(|_| Ranges::none())),
        1 => proptest::collection::vec(value(), 1..4).prop_map(Ranges::prefix),
    ];
    proptest::collection::vec(range, 1..5)
        .prop_map(|ranges| ranges.iter().fold(Ranges::none(), |all, own| all.union(own)))
}

fn bind(value: &Value) -> rusqlite::types::Value {
    match value.clone() {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(number) => number.into(),
        Value::Real(number) => number.into(),
        Value::Text(text) => text.to_string().into(),
        Value::Blob(bytes) => bytes.to_vec().into(),
    }
}

/// The rows that a condition holds for, each as rowid and key.
fn found(connection: &Connection, keys: &[KeyColumn], part: &Part) -> Vec<(i64, RowKey)> {
    let names = keys.iter().map(|key| &*key.name).collect::<Vec<_>>().join(", ");
    let condition = part.condition.as_deref().unwrap_or("TRUE");
    let sql = format!("SELECT * FROM (SELECT rowid AS row, {names} FROM t) WHERE {condition}");
    let mut select = connection.prepare(&sql).unwrap();
    let params = rusqlite::params_from_iter(part.values.iter().map(bind));
    let rows = select.query_map(params, |row| {
        let value = |place| match row.get_ref(place).unwrap() {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).unwrap().into()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
        };
        Ok((row.get(0)?, RowKey::new((1..=keys.len()).map(value))))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn filled(rows: &[[Value; 4]]) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    for (id, row) in rows.iter().enumerate() {
        let [whole, name, real, any] = row.each_ref().map(bind);
        let values = (whole, name, real, any, id as i64 % 3);
        connection.execute("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)", values).unwrap();
    }
    connection
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// T3: whatever the types of columns and bounds, nothing in the ranges is missing, and nothing
    /// comes twice.
    #[test]
    fn parts_give_each_row_of_the_ranges_once(
        rows in proptest::collection::vec([value(), value(), value(), value()], 1..40),
        places in Just(vec![0_usize, 1, 2, 3, 4]).prop_shuffle(),
        width in 1..4_usize,
        are_known in any::<bool>(),
        ranges in ranges(),
    ) {
        let connection = filled(&rows);
        let all = columns();
        let mut keys: Vec<KeyColumn> =
            places.iter().take(width).map(|place| all[*place].clone()).collect();
        if !are_known {
            keys.iter_mut().for_each(|key| key.affinity = None);
        }
        let whole = found(&connection, &keys, &Part::whole());
        let wanted = whole.iter().filter(|(_, key)| ranges.contains(key)).map(|(row, _)| *row);
        let wanted: BTreeSet<i64> = wanted.collect();
        let mut given = BTreeSet::new();
        for RangePart { part, ranges: own } in parts(&keys, &ranges) {
            for (row, key) in found(&connection, &keys, &part) {
                if own.contains(&key) {
                    prop_assert!(given.insert(row), "row {row} comes twice: {part:?}");
                }
            }
        }
        prop_assert_eq!(given, wanted);
    }
}

/// Numbers around those of which a float tells no two apart, and both zeros.
fn number() -> impl Strategy<Value = Value> {
    let big = 1_i64 << 53;
    let whole = [0, 1, big - 1, big, big + 1, big + 2, big + 3, -big - 1, i64::MAX];
    let real = [0.0, -0.0, 0.5, big as f64, -(big as f64), 2_f64.powi(63), f64::INFINITY];
    let whole = whole.into_iter().map(Value::Integer);
    proptest::sample::select(whole.chain(real.into_iter().map(Value::Real)).collect::<Vec<_>>())
}

type Floats = (crate::Float, crate::Float);

fn floats() -> impl Strategy<Value = Floats> {
    (number(), number()).prop_map(|(one, two)| Floats::from_values(vec![one, two]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A float is the key of whole numbers that SQLite does not find equal to it, and zero of two.
    #[test]
    fn floats_find_the_numbers_that_are_rounded_to_them(
        rows in proptest::collection::vec([number(), number(), number(), number()], 1..40),
        places in Just(vec![0_usize, 2, 3]).prop_shuffle(),
        is_known in any::<bool>(),
        (one, other) in (floats(), floats()),
        is_open in any::<(bool, bool)>(),
        is_point in any::<bool>(),
    ) {
        let connection = filled(&rows);
        let mut keys: Vec<KeyColumn> =
            places.iter().take(2).map(|place| columns()[*place].clone()).collect();
        if !is_known {
            keys.iter_mut().for_each(|key| key.affinity = None);
        }
        let bound = |key, is_open| match is_open {
            true => Bound::Excluded(key),
            false => Bound::Included(key),
        };
        let (low, high) = (one.min(other), one.max(other));
        let ranges = match is_point {
            true => Ranges::only([low, high]),
            false => Ranges::of((bound(low, is_open.0), bound(high, is_open.1)))
                .unwrap_or_else(|_| Ranges::none()),
        };
        let key = |row: &RowKey| Floats::from_values(row.values().to_vec()).unwrap();
        let whole = found(&connection, &keys, &Part::whole());
        let wanted = whole.iter().filter(|(_, row)| ranges.contains(&key(row)));
        let wanted: BTreeSet<i64> = wanted.map(|(row, _)| *row).collect();
        let mut given = BTreeSet::new();
        for RangePart { part, ranges: own } in parts(&keys, &ranges) {
            for (row, values) in found(&connection, &keys, &part) {
                if own.contains(&key(&values)) {
                    prop_assert!(given.insert(row), "row {row} comes twice: {part:?}");
                }
            }
        }
        prop_assert_eq!(given, wanted);
    }
}

fn plan(connection: &Connection, part: &Part) -> String {
    let condition = part.condition.as_deref().unwrap_or("TRUE");
    let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM (SELECT * FROM t) WHERE {condition}");
    let mut explain = connection.prepare(&sql).unwrap();
    let params = rusqlite::params_from_iter(part.values.iter().map(bind));
    let rows = explain.query_map(params, |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn sqlite_uses_the_index_for_each_kind_of_range() {
    let connection = filled(&[]);
    let keys = &columns()[..2];
    let text = |text: &str| Value::Text(text.into());
    let whole = Value::Integer;
    let within = |low, high| RowKey::within(low, high).unwrap();
    let (seven, eight) = (vec![whole(7), text("a")], vec![whole(8), text("c")]);
    let points = |count: i64| RowKey::new([whole(count), text("k")]);
    let table: [(_, &[&str]); 7] = [
        (Ranges::prefix(vec![whole(7)]), &["(whole=?)"]),
        (
            within(Bound::Included(vec![whole(7)]), Bound::Excluded(vec![whole(9)])),
            &["(whole>? AND whole<?)"],
        ),
        (within(Bound::Included(seven.clone()), Bound::Unbounded), &["((whole,name)>(?,?))"]),
        (
            within(Bound::Included(seven.clone()), Bound::Included(eight)),
            &["((whole,name)>(?,?) AND whole<?)", "(whole=? AND name=?)", "(whole=? AND name<?)"],
        ),
        (
            within(Bound::Included(seven), Bound::Excluded(vec![whole(7), text("b")])),
            &["(whole=? AND name>? AND name<?)"],
        ),
        (Ranges::only([points(1)]), &["(whole=? AND name=?)"]),
        (Ranges::only([points(1), points(2), points(5)]), &["(whole=? AND name=?)"]),
    ];
    for (ranges, used) in table {
        let parts = parts(keys, &ranges);
        let plans: Vec<String> = parts.iter().map(|own| plan(&connection, &own.part)).collect();
        assert_eq!(plans.len(), used.len(), "{parts:?}");
        for (plan, used) in plans.iter().zip(used) {
            assert!(plan.contains(used), "{ranges:?} is done by {plan}");
        }
    }
}

/// The end of a prefix is the beginning of the next one, none of whose rows is read.
#[test]
fn prefix_of_a_tuple_reads_nothing_but_what_begins_with_it() {
    let row = |id: i64| [Value::Integer(id % 3), Value::Null, Value::Real(id as f64), Value::Null];
    let connection = filled(&(0..30).map(row).collect::<Vec<_>>());
    let keys = [columns()[0].clone(), columns()[2].clone()];
    let parts = parts(&keys, &Ranges::<(i64, crate::Float)>::prefix(1));
    let read: usize = parts.iter().map(|own| found(&connection, &keys, &own.part).len()).sum();
    assert_eq!(read, 10, "{parts:?}");
}

#[test]
fn many_keys_are_few_statements_of_few_lengths() {
    let keys = &columns()[4..];
    let ranges = Ranges::only((0..2_000).map(|id| RowKey::new([Value::Integer(id)])));
    let parts = parts(keys, &ranges);
    let lengths: Vec<usize> = parts.iter().map(|own| own.part.values.len()).collect();
    assert_eq!(lengths, [512, 512, 512, 512]);
    let together = parts.iter().fold(Ranges::none(), |all, own| all.union(&own.ranges));
    assert_eq!(together, ranges);
}

/// A column of numbers compares such texts as numbers: no condition may take them for text.
#[test]
fn text_that_sqlite_reads_as_a_number_may_be_one() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE n(n NUMERIC); INSERT INTO n VALUES (0.5)").unwrap();
    for text in ["0.5", "+0.5", ".5", " .5", "\t+.5", "\u{b}0.5", "\u{c}\r\n0.5", "5e-1"] {
        let found = connection.query_row("SELECT n = ?1 FROM n", [text], |row| row.get(0));
        assert_eq!((found, may_be_number(text)), (Ok(true), true), "{text:?}");
    }
    let found =
        connection.query_row("SELECT -n = CAST('-.5' AS NUMERIC) FROM n", [], |row| row.get(0));
    assert_eq!((found, may_be_number("-.5")), (Ok(true), true));
    assert!(!may_be_number("a5") && !may_be_number(""));
}
