//! Keys: how the user's typed key becomes the bytes that the tiers compare.
//!
//! Keys differ from [`crate::dependency`] in that nothing but equality is ever asked of them.
//! **Invariant**: two keys of one type have the same bytes iff they are equal, whatever separators
//! their parts contain (MD10, KD10, KD15).

use std::{fmt, sync::Arc};

use crate::value::Value;

/// The encoded key of an entry, shared by the tiers and the links.
///
/// The first four bytes are the region, so that one engine serves all regions of a cache.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyBytes(Arc<[u8]>);

impl KeyBytes {
    /// The bytes, region included.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for KeyBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl std::borrow::Borrow<[u8]> for KeyBytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Shows the length only: keys may hold personal data and never appear in logs.
impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBytes({} bytes)", self.0.len())
    }
}

/// Bytes a key may take on the stack before it spills to the heap: a region, three integers and a
/// short name fit, so that a hit allocates nothing. Ten times more would cost a hit its cache lines.
const INLINE: usize = 104;

/// Collects the bytes of one key, on the stack as long as they are few.
#[derive(Debug)]
pub struct KeyEncoder {
    inline: [u8; INLINE],
    len: usize,
    spill: Vec<u8>,
}

impl KeyEncoder {
    /// Starts the key of an entry in `region`.
    ///
    /// # Cost
    /// No allocation, nor later while the key stays under about 100 bytes.
    #[inline]
    pub fn new(region: u32) -> Self {
        let mut encoder = Self { inline: [0; INLINE], len: 0, spill: Vec::new() };
        encoder.put(&region.to_le_bytes());
        encoder
    }

    /// Appends raw bytes. Whoever calls it must keep the whole self-delimiting.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if self.spill.is_empty()
            && let Some(room) = self.inline.get_mut(self.len..self.len + bytes.len())
        {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
            return;
        }
        self.put_spilled(bytes);
    }

    #[cold]
    fn put_spilled(&mut self, bytes: &[u8]) {
        if self.spill.is_empty() {
            self.spill.extend_from_slice(self.inline.get(..self.len).unwrap_or_default());
        }
        self.spill.extend_from_slice(bytes);
    }

    /// Appends a length-prefixed string of bytes under a type byte.
    #[inline]
    pub fn put_tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.put(&[tag]);
        self.put(&(bytes.len() as u64).to_le_bytes());
        self.put(bytes);
    }

    /// The bytes so far.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.spill.is_empty() {
            self.inline.get(..self.len).unwrap_or_default()
        } else {
            &self.spill
        }
    }

    /// The finished key: one allocation.
    pub fn finish(&self) -> KeyBytes {
        KeyBytes::from(self.as_slice())
    }
}

/// What can identify an entry within its region.
///
/// # Implementations must
/// append a self-delimiting encoding that is equal for equal keys only.
pub trait Key: Clone + Send + Sync + 'static {
    /// Appends this key to `out`.
    fn encode(&self, out: &mut KeyEncoder);
}

const UNIT: u8 = 0;
const INTEGER: u8 = 1;
const WIDE: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const BOOL: u8 = 5;
const NONE: u8 = 6;
const SOME: u8 = 7;
const LIST: u8 = 8;
const CHAR: u8 = 9;
const SCALAR: u8 = 10;

macro_rules! integer_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            #[inline]
            fn encode(&self, out: &mut KeyEncoder) {
                let mut bytes = [INTEGER; 9];
                bytes[1..].copy_from_slice(&i64::from(*self).to_le_bytes());
                out.put(&bytes);
            }
        }
    )*};
}

integer_keys!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! wide_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            #[inline]
            fn encode(&self, out: &mut KeyEncoder) {
                match i64::try_from(*self) {
                    Ok(small) => small.encode(out),
                    Err(_) => out.put_tagged(WIDE, &self.to_le_bytes()),
                }
            }
        }
    )*};
}

wide_keys!(u64, i128, u128, usize, isize);

impl Key for () {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[UNIT]);
    }
}

impl Key for bool {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[BOOL, u8::from(*self)]);
    }
}

impl Key for char {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[CHAR]);
        out.put(&u32::from(*self).to_le_bytes());
    }
}

impl Key for String {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(TEXT, self.as_bytes());
    }
}

impl Key for &'static str {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(TEXT, self.as_bytes());
    }
}

impl Key for Arc<str> {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(TEXT, self.as_bytes());
    }
}

impl Key for Arc<[u8]> {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(BLOB, self);
    }
}

impl Key for Value {
    fn encode(&self, out: &mut KeyEncoder) {
        let mut bytes = Vec::new();
        Self::encode(self, &mut bytes);
        out.put_tagged(SCALAR, &bytes);
    }
}

impl<K: Key> Key for Option<K> {
    fn encode(&self, out: &mut KeyEncoder) {
        match self {
            None => out.put(&[NONE]),
            Some(key) => {
                out.put(&[SOME]);
                key.encode(out);
            }
        }
    }
}

impl<K: Key> Key for Vec<K> {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[LIST]);
        out.put(&(self.len() as u64).to_le_bytes());
        for key in self {
            key.encode(out);
        }
    }
}

impl<K: Key> Key for Arc<[K]>
where
    Self: Clone,
    K: KeyPart,
{
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[LIST]);
        out.put(&(self.len() as u64).to_le_bytes());
        for key in self.iter() {
            key.encode(out);
        }
    }
}

/// Marks the keys that may stand in an `Arc<[K]>`; bytes have an encoding of their own.
pub trait KeyPart {}

impl KeyPart for Value {}

macro_rules! tuple_keys {
    ($($name:ident)+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[inline]
            fn encode(&self, out: &mut KeyEncoder) {
                #[expect(non_snake_case, reason = "the type parameters name the parts")]
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }
        }
    };
}

tuple_keys!(A);
tuple_keys!(A B);
tuple_keys!(A B C);
tuple_keys!(A B C D);
tuple_keys!(A B C D E);
tuple_keys!(A B C D E F);
