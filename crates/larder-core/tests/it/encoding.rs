//! MD10, KD10, KD15: two things have the same bytes if and only if they are equal.

use larder_core::{Dependency, DependencySet, Key, KeyEncoder, Value};
use proptest::prelude::*;

use crate::generate::{any_dependency, text, value};

fn value_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

fn key_bytes(key: &impl Key) -> Vec<u8> {
    let mut encoder = KeyEncoder::new(7);
    key.encode(&mut encoder);
    encoder.finish().as_slice().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn values_are_equal_iff_their_bytes_are(a in value(), b in value()) {
        prop_assert_eq!(a == b, value_bytes(&a) == value_bytes(&b));
    }

    #[test]
    fn rows_of_values_are_equal_iff_their_bytes_are(
        a in proptest::collection::vec(value(), 0..4),
        b in proptest::collection::vec(value(), 0..4),
    ) {
        let bytes = |row: &[Value]| row.iter().flat_map(value_bytes).collect::<Vec<_>>();
        prop_assert_eq!(a == b, bytes(&a) == bytes(&b));
    }

    #[test]
    fn keys_of_two_texts_are_equal_iff_their_bytes_are(
        a in (text(), text()), b in (text(), text()),
    ) {
        prop_assert_eq!(a == b, key_bytes(&a) == key_bytes(&b));
    }

    #[test]
    fn nested_keys_are_equal_iff_their_bytes_are(
        a in (proptest::collection::vec(text(), 0..3), proptest::option::of(0u8..2), value()),
        b in (proptest::collection::vec(text(), 0..3), proptest::option::of(0u8..2), value()),
    ) {
        prop_assert_eq!(a == b, key_bytes(&a) == key_bytes(&b));
    }

    #[test]
    fn wide_integers_are_equal_iff_their_bytes_are(a in any::<u64>(), b in any::<u64>()) {
        for (a, b) in [(a, b), (a, a), (a % 3, b % 3), (a | 1 << 63, b | 1 << 63)] {
            prop_assert_eq!(a == b, key_bytes(&a) == key_bytes(&b));
            let (a, b) = (i128::from(a) - (1 << 63), i128::from(b) - (1 << 63));
            prop_assert_eq!(a == b, key_bytes(&a) == key_bytes(&b));
        }
    }

    #[test]
    fn dependencies_are_equal_iff_their_digests_are(a in any_dependency(), b in any_dependency()) {
        prop_assert_eq!(a == b, a.digest() == b.digest());
    }

    #[test]
    fn a_dependency_set_holds_each_once_and_all_its_links(
        all in proptest::collection::vec(any_dependency(), 0..8),
    ) {
        let set: DependencySet = all.iter().cloned().collect();
        let mut distinct: Vec<_> = Vec::new();
        for dependency in &all {
            if !distinct.contains(dependency) {
                distinct.push(dependency.clone());
            }
        }
        prop_assert_eq!(set.iter().cloned().collect::<Vec<_>>(), distinct);
        prop_assert!(set.digests().is_sorted());
        for dependency in &all {
            prop_assert!(set.digests().contains(&dependency.digest()));
            prop_assert!(set.reads(dependency.timeline()));
            prop_assert_eq!(set.signature() >> (dependency.digest().0 & 63) & 1, 1);
        }
    }
}

#[test]
fn a_separator_inside_a_part_does_not_move_the_border() {
    // MD10: Id("a:b", "c") was Id("a", "b:c").
    assert_ne!(key_bytes(&("a:b", "c")), key_bytes(&("a", "b:c")));
    let id = |table: &str, key: &str| Dependency::id("shop", table, [key]).digest();
    assert_ne!(id("a:b", "c"), id("a", "b:c"));
    // MD10: the condition {a: "1&b=2"} was {a: 1, b: 2}.
    let one = Dependency::scope("shop", "t", [("a", "1&b=2")]);
    let two = Dependency::scope("shop", "t", [("a", 1i64), ("b", 2i64)]);
    assert_ne!(one.digest(), two.digest());
}

#[test]
fn a_number_is_not_its_text() {
    assert_ne!(key_bytes(&Value::from(1i64)), key_bytes(&Value::from("1")));
    let id = |value: Value| Dependency::id("shop", "t", [value]).digest();
    assert_ne!(id(1i64.into()), id("1".into()));
    assert_ne!(id(Value::Integer(1)), id(Value::Real(1.0)));
    assert_ne!(id(Value::Null), id("".into()));
}

#[test]
fn every_argument_is_part_of_the_key() {
    // KD15: the first argument was dropped; KD10: the number of items and the caller were.
    assert_ne!(key_bytes(&("titanic", 10u32)), key_bytes(&("digits", 10u32)));
    assert_ne!(key_bytes(&("x", 10u32, Some("a"))), key_bytes(&("x", 50u32, Some("a"))));
    assert_ne!(key_bytes(&("x", 10u32, Some("a"))), key_bytes(&("x", 10u32, None::<&str>)));
}

#[test]
fn regions_do_not_share_keys() {
    let key = |region: u32| {
        let mut encoder = KeyEncoder::new(region);
        "same".encode(&mut encoder);
        encoder.finish()
    };
    assert_ne!(key(1), key(2));
}

#[test]
fn a_key_longer_than_the_inline_room_keeps_all_its_bytes() {
    for length in [0, 1, 50, 90, 91, 92, 103, 104, 105, 500] {
        let text = "x".repeat(length);
        let bytes = key_bytes(&(text.clone(), text.clone()));
        assert_eq!(bytes.len(), 4 + 2 * (9 + length));
        assert_eq!(bytes.iter().filter(|byte| **byte == b'x').count(), 2 * length);
    }
}

#[test]
fn one_row_has_one_name_for_feed_and_application() {
    // MD10: Id("article", 1) and PrimaryKey("article", 1) did not match.
    let tracked = Dependency::id("shop", "Article", [Value::Integer(1)]);
    assert_eq!(tracked, Dependency::id("shop", String::from("Article"), [1i64]));
    assert_eq!(tracked.digest(), Dependency::id("shop", "Article", [1u32]).digest());
}

#[test]
fn the_order_in_which_a_scope_is_named_does_not_matter() {
    let one = Dependency::scope("shop", "t", [("a", 1i64), ("b", 2i64)]);
    let two = Dependency::scope("shop", "t", [("b", 2i64), ("a", 1i64)]);
    assert_eq!(one, two);
    assert_eq!(one.digest(), two.digest());
}
