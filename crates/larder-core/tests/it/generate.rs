//! Strategies for property tests: few distinct things, so that collisions are common.
//!
//! It stands apart so that every property is tested over the same world. **Invariant**: each part
//! can hold the separators that naive encodings use, and equal-looking values of other types.

use std::{ops::Bound, sync::Arc};

use larder_core::{After, Change, Dependency, Nulls, RowChange, Span, Value};
use proptest::prelude::*;

/// The timeline of the rows.
pub(crate) const SHOP: &str = "shop";

const COLUMNS: [&str; 3] = ["group", "id", "name"];

/// A value out of the few that are easily confused.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (-1i64..3).prop_map(Value::Integer),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(f64::NAN)].prop_map(Value::Real),
        text().prop_map(Value::from),
        proptest::collection::vec(0u8..3, 0..3).prop_map(|bytes| Value::from(&bytes[..])),
    ]
}

/// Text with separators, prefixes of each other, and digits.
pub(crate) fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just('a'), Just('b'), Just(':'), Just('='), Just('&'), Just('1'), Just('\0')],
        0..4,
    )
    .prop_map(|letters| letters.into_iter().collect())
}

/// A dependency of any kind, on one of two timelines.
pub(crate) fn any_dependency() -> impl Strategy<Value = Dependency> {
    let timeline = || prop_oneof![Just("shop"), Just("sh"), Just("app")];
    let key = proptest::collection::vec(value(), 0..3);
    let terms = proptest::collection::vec((text(), value()), 0..3);
    prop_oneof![
        (timeline(), text(), key).prop_map(|(on, table, key)| Dependency::id(on, table, key)),
        (timeline(), text(), terms).prop_map(|(on, table, terms)| {
            let terms = terms.into_iter().map(|(column, value)| (Arc::<str>::from(column), value));
            Dependency::scope(on, table, terms)
        }),
        (timeline(), text()).prop_map(|(on, table)| Dependency::table(on, table)),
        text().prop_map(Dependency::tag),
        (text(), text()).prop_map(|(space, name)| Dependency::tag_in(space, name)),
        timeline().prop_map(Dependency::everything),
    ]
}

fn table() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("Album"), Just("Artist")]
}

fn small() -> impl Strategy<Value = Value> {
    prop_oneof![(0i64..3).prop_map(Value::Integer), Just(Value::Null)]
}

fn bound() -> impl Strategy<Value = Bound<Value>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0i64..3).prop_map(|number| Bound::Included(Value::Integer(number))),
        (0i64..3).prop_map(|number| Bound::Excluded(Value::Integer(number))),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (bound(), bound(), prop_oneof![Just(Nulls::Outside), Just(Nulls::Inside)])
        .prop_map(|(low, high, nulls)| Span { low, high, nulls })
}

/// A scope with a span, a watch, or both; by no, one or two equalities.
fn narrowed() -> impl Strategy<Value = Dependency> {
    let terms = (proptest::sample::subsequence(&COLUMNS[..], 0..3), small(), small());
    let watch = proptest::option::of(proptest::sample::subsequence(&COLUMNS[..], 0..3));
    let span = proptest::option::of((proptest::sample::select(&COLUMNS[..]), span()));
    (table(), terms, span, watch).prop_map(|(table, (columns, a, b), span, watch)| {
        let mut scope = Dependency::scope(SHOP, table, columns.into_iter().zip([a, b]));
        if let Some((column, span)) = span {
            scope = scope.within(column, span);
        }
        match watch {
            Some(columns) => scope.watching(columns),
            None => scope,
        }
    })
}

/// A dependency that the changes of [`change`] can touch.
pub(crate) fn dependency() -> impl Strategy<Value = Dependency> {
    prop_oneof![
        4 => narrowed(),
        3 => (table(), small()).prop_map(|(table, id)| Dependency::id(SHOP, table, [id])),
        4 => (table(), proptest::sample::subsequence(&COLUMNS[..], 1..3), small(), small())
            .prop_map(|(table, columns, a, b)| {
                let terms = columns.into_iter().zip([a, b]);
                Dependency::scope(SHOP, table, terms)
            }),
        1 => table().prop_map(|table| Dependency::table(SHOP, table)),
        1 => Just(Dependency::everything(SHOP)),
        1 => Just(Dependency::tag("front")),
    ]
}

fn image() -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(small(), COLUMNS.len())
}

/// A change of a row, whole or with parts that the feed does not report, or a touch by name.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    let row = (table(), proptest::option::of(image()), proptest::option::of(image()), 0u8..20);
    let row = row.prop_map(|(table, old, new, fault)| row_change(table, old, new, fault));
    let modified = proptest::option::of(proptest::sample::subsequence(&COLUMNS[..], 0..3));
    let after = (table(), image(), modified).prop_map(|(table, image, modified)| After {
        row: row_change(table, None, Some(image), 19),
        modified: modified.map(|columns| columns.into_iter().map(Arc::from).collect()),
    });
    prop_oneof![
        6 => (row, 0u8..6).prop_map(|(row, kind)| match kind {
            0 => Change::Perhaps(row),
            _ => Change::Row(row),
        }),
        2 => after.prop_map(Change::After),
        2 => dependency().prop_map(Change::Touch),
    ]
}

/// One in twenty changes lacks its key, one a column, one a value, and some an image.
fn row_change(
    table: &str,
    mut old: Option<Vec<Value>>,
    mut new: Option<Vec<Value>>,
    fault: u8,
) -> RowChange {
    let mut columns = COLUMNS.to_vec();
    let mut key = vec![1];
    match fault {
        0 => key.clear(),
        1 => {
            columns.remove(2);
            for image in [&mut old, &mut new].into_iter().flatten() {
                image.pop();
            }
        }
        2 => {
            if let Some(image) = &mut new {
                image.pop();
            }
        }
        _ => {}
    }
    RowChange {
        table: table.into(),
        columns: columns.into_iter().map(Arc::from).collect(),
        key: key.into(),
        old,
        new,
    }
}
