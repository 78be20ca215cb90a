//! Layouts: which types have the same one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use super::*;

const FORMAT: &str = "test 1";

fn print<T: Stored>() -> Fingerprint {
    Fingerprint::of::<T>(FORMAT)
}

#[test]
fn what_only_holds_a_value_in_another_way_is_the_same() {
    assert_eq!(print::<Vec<u8>>(), print::<Box<[u8]>>());
    assert_eq!(print::<Option<Box<String>>>(), print::<Option<Rc<str>>>());
    assert_eq!(print::<HashMap<u8, ()>>(), print::<BTreeMap<u8, ()>>());
    assert_eq!(print::<HashSet<u8>>(), print::<BTreeSet<u8>>());
}

#[test]
fn what_means_something_else_is_not() {
    let all = [
        print::<u8>(),
        print::<i8>(),
        print::<u16>(),
        print::<Option<u8>>(),
        print::<Vec<u8>>(),
        print::<BTreeSet<u8>>(),
        print::<[u8; 2]>(),
        print::<[u8; 3]>(),
        print::<(u8,)>(),
        print::<(u8, u8)>(),
        print::<((u8,), u8)>(),
        print::<(u8, (u8,))>(),
        print::<BTreeMap<u8, u16>>(),
        print::<BTreeMap<u16, u8>>(),
        print::<Vec<Option<u8>>>(),
        print::<Option<Vec<u8>>>(),
        Fingerprint::of::<u8>("test 2"),
    ];
    let distinct: BTreeSet<_> = all.into_iter().collect();
    assert_eq!(distinct.len(), all.len());
}

/// A list by hand: a type that holds itself.
struct Link;

impl Stored for Link {
    fn layout(layout: &mut Layout) {
        layout.named::<Self>("Link", |layout| {
            layout.field::<u8>("value");
            layout.field::<Option<Box<Self>>>("next");
        });
    }
}

#[test]
fn a_type_that_holds_itself_has_an_end() {
    let golden = Fingerprint::from_bits(0x5664_3754_28d9_9da8);
    assert_eq!(print::<Link>(), golden);
    assert_ne!(print::<(Link, Link)>(), print::<(Link,)>());
}

#[test]
fn a_fingerprint_is_shown_as_it_is_written() {
    let shown = Fingerprint::from_bits(0x00f0_1234_0000_abcd).to_string();
    assert_eq!(shown, "0x00f0_1234_0000_abcd");
}
