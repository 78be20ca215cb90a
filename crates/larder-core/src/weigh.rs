//! How many bytes a value takes in memory, estimated without serialising it.
//!
//! It stands apart from the memory tier because users implement it for their types. **Invariant**:
//! the estimate counts what the value owns on the heap, allocator rounding included, and never
//! what it merely shares.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::value::Value;

/// Bytes that an allocation takes: what was asked for, rounded as common allocators do.
pub fn allocation(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// A value that knows how much memory it owns.
pub trait Weigh {
    /// Bytes on the heap owned by `self`, without `size_of_val(self)`.
    fn heap_bytes(&self) -> usize;
}

macro_rules! flat {
    ($($flat:ty),*) => {$(
        impl Weigh for $flat {
            fn heap_bytes(&self) -> usize {
                0
            }
        }
    )*};
}

flat!((), bool, char, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64);
flat!(&'static str);

impl Weigh for String {
    fn heap_bytes(&self) -> usize {
        allocation(self.capacity())
    }
}

impl Weigh for Value {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
            Self::Text(text) => allocation(text.len() + 16),
            Self::Blob(bytes) => allocation(bytes.len() + 16),
        }
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Weigh::heap_bytes)
    }
}

impl<T: Weigh, E: Weigh> Weigh for Result<T, E> {
    fn heap_bytes(&self) -> usize {
        match self {
            Ok(value) => value.heap_bytes(),
            Err(error) => error.heap_bytes(),
        }
    }
}

impl<T: Weigh> Weigh for Vec<T> {
    fn heap_bytes(&self) -> usize {
        allocation(self.capacity() * size_of::<T>())
            + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for Box<[T]> {
    fn heap_bytes(&self) -> usize {
        allocation(size_of_val(&**self)) + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for Box<T> {
    fn heap_bytes(&self) -> usize {
        allocation(size_of::<T>()) + (**self).heap_bytes()
    }
}

/// Counts the content as owned: an `Arc` in a cached value is usually its only one.
impl<T: Weigh> Weigh for Arc<T> {
    fn heap_bytes(&self) -> usize {
        allocation(size_of::<T>() + 16) + (**self).heap_bytes()
    }
}

impl Weigh for Arc<str> {
    fn heap_bytes(&self) -> usize {
        allocation(self.len() + 16)
    }
}

impl<T: Weigh> Weigh for Arc<[T]> {
    fn heap_bytes(&self) -> usize {
        allocation(size_of_val(&**self) + 16) + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

/// Hash tables keep one byte of control and an eighth of empty slots beside each item.
impl<K: Weigh, V: Weigh, S> Weigh for HashMap<K, V, S> {
    fn heap_bytes(&self) -> usize {
        let slots = (self.capacity() * 8).div_ceil(7).next_power_of_two();
        let table = if self.capacity() == 0 { 0 } else { slots * (size_of::<(K, V)>() + 1) + 16 };
        let items = self.iter().map(|(key, value)| key.heap_bytes() + value.heap_bytes());
        allocation(table) + items.sum::<usize>()
    }
}

/// Nodes hold up to eleven items and are about two thirds full.
impl<K: Weigh, V: Weigh> Weigh for BTreeMap<K, V> {
    fn heap_bytes(&self) -> usize {
        let node = allocation(11 * size_of::<(K, V)>() + 16);
        let items = self.iter().map(|(key, value)| key.heap_bytes() + value.heap_bytes());
        node * self.len().div_ceil(7) + items.sum::<usize>()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Weigh),+> Weigh for ($($name,)+) {
            fn heap_bytes(&self) -> usize {
                #[expect(non_snake_case, reason = "the type parameters name the parts")]
                let ($($name,)+) = self;
                0 $(+ $name.heap_bytes())+
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
