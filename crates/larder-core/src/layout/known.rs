//! The layouts of types that others made, as serde writes them.
//!
//! **Invariant**: two of them have the same layout only if a value of the one is, in the same
//! bytes, the same value of the other: a box is what is in it, but a set is no list.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    ffi::{CString, OsString},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Layout, Stored};

macro_rules! words {
    ($($word:literal: $($own:ty),+;)*) => {$($(
        impl Stored for $own {
            fn layout(layout: &mut Layout) {
                layout.word($word);
            }
        }
    )+)*};
}

words! {
    "unit": ();
    "bool": bool;
    "char": char;
    "i8": i8, num::NonZeroI8;
    "i16": i16, num::NonZeroI16;
    "i32": i32, num::NonZeroI32;
    "i64": i64, num::NonZeroI64;
    "i128": i128, num::NonZeroI128;
    "isize": isize, num::NonZeroIsize;
    "u8": u8, num::NonZeroU8;
    "u16": u16, num::NonZeroU16;
    "u32": u32, num::NonZeroU32;
    "u64": u64, num::NonZeroU64;
    "u128": u128, num::NonZeroU128;
    "usize": usize, num::NonZeroUsize;
    "f32": f32;
    "f64": f64;
    "text": String, str;
    "c text": CString;
    "os text": OsString;
    "path": PathBuf, Path;
    "duration": Duration;
    "system time": SystemTime;
    "ip": IpAddr;
    "ip 4": Ipv4Addr;
    "ip 6": Ipv6Addr;
    "socket": SocketAddr;
    "socket 4": SocketAddrV4;
    "socket 6": SocketAddrV6;
}

/// What is only another way to hold the same.
macro_rules! same {
    ($($own:ty),*) => {$(
        impl<T: Stored + ?Sized> Stored for $own {
            fn layout(layout: &mut Layout) {
                T::layout(layout);
            }
        }
    )*};
}

same!(Box<T>, Arc<T>, Rc<T>);

impl<T: Stored + ToOwned + ?Sized> Stored for Cow<'static, T> {
    fn layout(layout: &mut Layout) {
        T::layout(layout);
    }
}

impl<T: Stored> Stored for [T] {
    fn layout(layout: &mut Layout) {
        layout.word("list").part::<T>();
    }
}

/// What holds any number of one type.
macro_rules! many {
    ($($word:literal: $($own:ty $(where $more:ident)?),+;)*) => {$($(
        impl<T: Stored $(, $more: 'static)?> Stored for $own {
            fn layout(layout: &mut Layout) {
                layout.word($word).part::<T>();
            }
        }
    )+)*};
}

many! {
    "option": Option<T>;
    "list": Vec<T>, VecDeque<T>, LinkedList<T>;
    "set": BTreeSet<T>, HashSet<T, S> where S;
    "heap": BinaryHeap<T>;
}

impl<K: Stored, V: Stored> Stored for BTreeMap<K, V> {
    fn layout(layout: &mut Layout) {
        layout.word("map").part::<K>().part::<V>();
    }
}

impl<K: Stored, V: Stored, S: 'static> Stored for HashMap<K, V, S> {
    fn layout(layout: &mut Layout) {
        layout.word("map").part::<K>().part::<V>();
    }
}

impl<T: Stored, E: Stored> Stored for Result<T, E> {
    fn layout(layout: &mut Layout) {
        layout.word("result").part::<T>().part::<E>();
    }
}

impl<T: 'static> Stored for PhantomData<T> {
    fn layout(layout: &mut Layout) {
        layout.word("unit");
    }
}

impl<T: Stored, const N: usize> Stored for [T; N] {
    fn layout(layout: &mut Layout) {
        layout.word("array").word(&N.to_string()).part::<T>();
    }
}

macro_rules! tuples {
    ($($count:literal: $($part:ident)+;)*) => {$(
        impl<$($part: Stored),+> Stored for ($($part,)+) {
            fn layout(layout: &mut Layout) {
                layout.word(concat!("tuple ", $count))$(.part::<$part>())+;
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
}
