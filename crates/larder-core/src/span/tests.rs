//! The index against looking at every span, and the order of values against SQLite's rules.
//!
//! A block of the tree holds four slots here, so that few spans make several levels of it.

use proptest::prelude::*;

use super::{index::SpanIndex, *};
use crate::{dependency::Digest, timeline::Position};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (-3i64..12).prop_map(Value::Integer),
        prop_oneof![
            Just(-0.0),
            Just(0.0),
            Just(2.5),
            Just(7.0),
            Just(f64::NAN),
            Just(f64::INFINITY)
        ]
        .prop_map(Value::Real),
        prop_oneof![Just(""), Just("a"), Just("ab"), Just("b")].prop_map(Value::from),
        // Alike in more than a prefix tells.
        prop_oneof![Just("a long name 1"), Just("a long name 2"), Just("a long name")]
            .prop_map(Value::from),
        ((1i64 << 60)..(1 << 60) + 3).prop_map(Value::Integer),
    ]
}

/// From everywhere.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        value(),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        (any::<i64>(), -1i64..2).prop_map(|(near, off)| Value::Real((near as f64) + off as f64)),
        any::<String>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(|bytes| Value::Blob(bytes.into())),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Value>> {
    let some = || value().prop_filter("null is no bound", |value| *value != Value::Null);
    prop_oneof![
        2 => Just(Bound::Unbounded),
        4 => some().prop_map(Bound::Included),
        4 => some().prop_map(Bound::Excluded),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (bound(), bound(), prop_oneof![Just(Nulls::Outside), Just(Nulls::Inside)])
        .prop_map(|(low, high, nulls)| Span { low, high, nulls })
}

/// Four levels of a tree.
const SPANS: usize = 48;

/// Hold the n-th span, release it, or ask for a value.
#[derive(Clone, Debug)]
enum Step {
    Hold(usize),
    Release(usize),
    Ask(Value),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SPANS).prop_map(Step::Hold),
        3 => (0..SPANS).prop_map(Step::Release),
        4 => value().prop_map(Step::Ask),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_index_finds_exactly_the_spans_that_hold_a_value(
        spans in proptest::collection::vec(span(), SPANS),
        first in 0..SPANS,
        steps in proptest::collection::vec(step(), 0..160),
    ) {
        let mut index = SpanIndex::default();
        let mut held = [0u32; SPANS];
        let digest = |n: usize| Digest((n as u64 + 1).wrapping_mul(0xd129_0d3b_3f1b_9c5d));
        for step in (0..first).map(Step::Hold).chain(steps) {
            match step {
                Step::Hold(n) => {
                    index.hold(&spans[n], digest(n), Position(1));
                    held[n] += 1;
                }
                Step::Release(n) if 0 < held[n] => {
                    index.release(digest(n));
                    held[n] -= 1;
                }
                Step::Release(n) => index.release(digest(n)),
                Step::Ask(value) => {
                    let mut found = Vec::new();
                    index.holding(&value, &mut |digest| found.push(digest));
                    let holds = |&n: &usize| 0 < held[n] && spans[n].holds(&value);
                    let mut expected: Vec<_> = (0..SPANS).filter(holds).map(digest).collect();
                    found.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert_eq!(index.len(), held.iter().filter(|count| 0 < **count).count());
            index.check();
        }
    }

    #[test]
    fn values_are_in_one_order(a in value(), b in value(), c in value()) {
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        if order(&a, &b) != Ordering::Greater && order(&b, &c) != Ordering::Greater {
            prop_assert_ne!(order(&a, &c), Ordering::Greater);
        }
    }

    #[test]
    fn a_prefix_never_says_the_other_order(a in any_value(), b in any_value()) {
        let prefixes = prefix::of(&a).cmp(&prefix::of(&b));
        prop_assert!(prefixes == Ordering::Equal || prefixes == order(&a, &b));
        let high = prefix::of_high(&Bound::Included(a.clone()));
        prop_assert!(prefix::of_low(&Bound::Unbounded) < prefix::of_low(&Bound::Included(a)));
        prop_assert!(high < prefix::of_high(&Bound::Unbounded));
    }

    #[test]
    fn an_empty_span_holds_nothing(span in span(), value in value()) {
        if span.is_empty() && value != Value::Null {
            prop_assert!(!span.holds(&value));
        }
    }
}

#[test]
fn numbers_are_compared_exactly_across_their_types() {
    let big = (1i64 << 53) + 1;
    let below = Value::Real((1i64 << 53) as f64);
    assert_eq!(order(&Value::Integer(big), &below), Ordering::Greater);
    assert_eq!(order(&Value::Integer(1), &Value::Real(1.0)), Ordering::Equal);
    assert_eq!(order(&Value::Integer(i64::MAX), &Value::Real(2f64.powi(63))), Ordering::Less);
    assert_eq!(order(&Value::Integer(i64::MIN), &Value::Real(-(2f64.powi(63)))), Ordering::Equal);
    assert_eq!(order(&Value::Integer(-1), &Value::Real(-1.5)), Ordering::Greater);
    assert_eq!(order(&Value::Integer(5), &Value::Real(f64::NAN)), Ordering::Less);
}

#[test]
fn a_span_goes_through_bytes() {
    let span = Span {
        low: Bound::Excluded(Value::from("a")),
        high: Bound::Unbounded,
        nulls: Nulls::Inside,
    };
    let mut bytes = Vec::new();
    span.encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(Span::decode(&mut reader).unwrap(), span);
    reader.finish().unwrap();
}
