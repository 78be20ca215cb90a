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
/// short name fit, so that a hit allocates nothing. Ten times more would cost a hit its
/// cache lines.
const INLINE: usize = 104;

/// Collects the bytes of one key, on the stack as long as they are few.
///
/// # Implementation notes
/// It writes whole words. A processor that reads back what it has just written in smaller pieces
/// must wait until those have reached its cache, and everything before them too: with 4- and 9-byte
/// writes a hit in a large tier took five times as long as the bare engine's.
#[derive(Debug)]
pub struct KeyEncoder {
    inline: [u8; INLINE],
    len: usize,
    /// The bytes after the last whole word, which are in `inline` as well.
    tail: u64,
    spill: Vec<u8>,
}

const WORD: usize = size_of::<u64>();

impl KeyEncoder {
    /// Starts the key of an entry in `region`.
    ///
    /// # Cost
    /// No allocation, nor later while the key stays under about 100 bytes.
    #[inline]
    pub fn new(region: u32) -> Self {
        let mut encoder = Self { inline: [0; INLINE], len: 0, tail: 0, spill: Vec::new() };
        encoder.put_word(region.into(), size_of::<u32>());
        encoder
    }

    /// Appends raw bytes. Whoever calls it must keep the whole self-delimiting.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            self.put_word(u64::from_le_bytes(*word), WORD);
        }
        if !rest.is_empty() {
            let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.put_word(word, rest.len());
        }
    }

    /// Appends the lowest `count` bytes of `word`, the others of which are zero.
    #[inline]
    fn put_word(&mut self, word: u64, count: usize) {
        if INLINE < self.len + count || !self.spill.is_empty() {
            return self.put_spilled(word, count);
        }
        let (place, shift) = (self.len / WORD, self.len % WORD * 8);
        let (slots, _) = self.inline.as_chunks_mut::<WORD>();
        self.tail |= word << shift;
        if let Some(slot) = slots.get_mut(place) {
            *slot = self.tail.to_le_bytes();
        }
        if 64 <= shift + count * 8 {
            // Nothing is left over when the word began with a slot.
            self.tail = if shift == 0 { 0 } else { word >> (64 - shift) };
            if let Some(slot) = slots.get_mut(place + 1) {
                *slot = self.tail.to_le_bytes();
            }
        }
        self.len += count;
    }

    #[cold]
    fn put_spilled(&mut self, word: u64, count: usize) {
        if self.spill.is_empty() {
            self.spill.extend_from_slice(self.inline.get(..self.len).unwrap_or_default());
        }
        self.spill.extend(word.to_le_bytes().iter().take(count));
    }

    /// Appends a length-prefixed string of bytes under a type byte.
    #[inline]
    pub fn put_tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.put_word(tag.into(), 1);
        self.put_word(bytes.len() as u64, WORD);
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
                out.put_word(INTEGER.into(), 1);
                out.put_word(i64::from(*self).cast_unsigned(), WORD);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_put_in_any_pieces_come_out_as_they_went_in() {
        let all: Vec<u8> = (0..250).collect();
        for piece in 1..40 {
            for total in [0, 1, 7, 8, 9, 96, 99, 100, 101, 104, 105, 250] {
                let bytes = &all[..total];
                let mut encoder = KeyEncoder::new(7);
                bytes.chunks(piece).for_each(|piece| encoder.put(piece));
                let expected = [&7u32.to_le_bytes()[..], bytes].concat();
                assert_eq!(encoder.as_slice(), expected, "{total} bytes in pieces of {piece}");
                assert_eq!(encoder.finish().as_slice(), expected);
            }
        }
    }
}
