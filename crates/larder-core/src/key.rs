//! Keys: how the user's typed key becomes the bytes that the tiers compare.
//!
//! Keys differ from [`crate::dependency`] in that nothing but equality is ever asked of them.
//! **Invariant**: two keys of one type have the same bytes iff they are equal, whatever separators
//! their parts contain (MD10, KD10, KD15).

use std::{fmt, sync::Arc};

use crate::value::Value;

pub use decoder::{KeyDecoder, KeyWords};

mod decoder;

/// The encoded key of an entry, shared by the tiers and the links.
///
/// The first four bytes are the region, so that one engine serves all regions of a cache.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyBytes(Arc<[u8]>);

impl KeyBytes {
    /// The bytes without the region, whose number means something in this process only.
    pub fn within_region(&self) -> &[u8] {
        self.0.get(size_of::<u32>()..).unwrap_or_default()
    }

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

/// Bytes that a key may have to stay in registers: a region, a type byte each and two integers.
const SHORT: usize = 3 * WORD;

/// Bytes a longer key may take on the stack before it goes to the heap, so that a hit allocates
/// nothing. Ten times more would cost a hit its cache lines.
const LONG: usize = 104;

const WORD: usize = size_of::<u64>();

/// Collects the bytes of one key: short ones in registers, longer ones on the stack.
///
/// # Implementation notes
/// A short key never goes through memory on its way to the engine. Reading back what was just
/// written makes a processor wait until the stores have reached its cache, behind every locked
/// instruction before them, so that the cache misses of successive hits no longer overlap: with the
/// key in a buffer a hit among 100 000 entries took 210 ns, with the key in registers 93.
#[derive(Debug)]
pub struct KeyEncoder {
    first: u64,
    second: u64,
    third: u64,
    /// Bytes so far. Over `SHORT` they are all in `long`.
    len: usize,
    long: Option<Long>,
}

#[derive(Debug)]
struct Long {
    inline: [u8; LONG],
    spill: Vec<u8>,
}

/// A borrowed key, as the engine looks for it: short ones are always in words, so that two equal
/// keys have the same form.
#[derive(Clone, Copy, Debug)]
pub enum KeyRef<'a> {
    /// Up to 24 bytes as little-endian words, filled up with zeros.
    Short {
        /// The bytes.
        words: [u64; 3],
        /// How many there are.
        len: usize,
    },
    /// The bytes of a longer key.
    Long(&'a [u8]),
}

impl<'a> From<&'a KeyBytes> for KeyRef<'a> {
    fn from(key: &'a KeyBytes) -> Self {
        Self::from(key.as_slice())
    }
}

impl<'a> From<&'a [u8]> for KeyRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        if SHORT < bytes.len() {
            return Self::Long(bytes);
        }
        let mut words = [0; 3];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(WORD)) {
            *word = little_endian(chunk);
        }
        Self::Short { words, len: bytes.len() }
    }
}

/// One allocation.
impl From<KeyRef<'_>> for KeyBytes {
    fn from(key: KeyRef<'_>) -> Self {
        match key {
            KeyRef::Long(bytes) => Self::from(bytes),
            KeyRef::Short { words, len } => {
                let mut bytes = [0; SHORT];
                let (slots, _) = bytes.as_chunks_mut::<WORD>();
                for (slot, word) in slots.iter_mut().zip(words) {
                    *slot = word.to_le_bytes();
                }
                Self::from(bytes.get(..len).unwrap_or_default())
            }
        }
    }
}

/// Up to eight bytes as a word, filled up with zeros.
#[inline(always)]
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl<'a> From<&'a KeyEncoder> for KeyRef<'a> {
    #[inline(always)]
    fn from(key: &'a KeyEncoder) -> Self {
        match &key.long {
            None => Self::Short { words: [key.first, key.second, key.third], len: key.len },
            Some(long) => Self::Long(long.as_slice(key.len)),
        }
    }
}

impl Long {
    fn as_slice(&self, len: usize) -> &[u8] {
        self.inline.get(..len).unwrap_or(&self.spill)
    }
}

impl KeyEncoder {
    /// Starts the key of an entry in `region`.
    ///
    /// # Cost
    /// No allocation, nor later while the key stays under about 100 bytes.
    #[inline(always)]
    pub fn new(region: u32) -> Self {
        Self { first: region.into(), second: 0, third: 0, len: size_of::<u32>(), long: None }
    }

    /// Appends raw bytes. Whoever calls it must keep the whole self-delimiting.
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        if SHORT < self.len + bytes.len() {
            return self.put_long(bytes);
        }
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            self.put_word(u64::from_le_bytes(*word), WORD);
        }
        if !rest.is_empty() {
            self.put_word(little_endian(rest), rest.len());
        }
    }

    /// Appends the lowest `count` bytes of `word`, the others of which are zero.
    #[inline(always)]
    fn put_word(&mut self, word: u64, count: usize) {
        if SHORT < self.len + count {
            return self.put_long(word.to_le_bytes().get(..count).unwrap_or_default());
        }
        let shift = self.len % WORD * 8;
        let high = if shift == 0 { 0 } else { word >> (64 - shift) };
        let low = word << shift;
        match self.len / WORD {
            0 => (self.first, self.second) = (self.first | low, high),
            1 => (self.second, self.third) = (self.second | low, high),
            _ => self.third |= low,
        }
        self.len += count;
    }

    #[inline(never)]
    fn put_long(&mut self, bytes: &[u8]) {
        let len = self.len;
        let long = self.long.get_or_insert_with(|| {
            let mut inline = [0; LONG];
            let (slots, _) = inline.as_chunks_mut::<WORD>();
            for (slot, word) in slots.iter_mut().zip([self.first, self.second, self.third]) {
                *slot = word.to_le_bytes();
            }
            Long { inline, spill: Vec::new() }
        });
        match long.inline.get_mut(len..len + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                if long.spill.is_empty() {
                    long.spill.extend_from_slice(long.inline.get(..len).unwrap_or_default());
                }
                long.spill.extend_from_slice(bytes);
            }
        }
        self.len += bytes.len();
    }

    /// Appends an integer under its type byte.
    #[inline(always)]
    fn put_integer(&mut self, integer: i64) {
        self.put_word(INTEGER.into(), 1);
        self.put_word(integer.cast_unsigned(), WORD);
    }

    /// Appends a length-prefixed string of bytes under a type byte.
    #[inline(always)]
    pub fn put_tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.put_word(tag.into(), 1);
        self.put_word(bytes.len() as u64, WORD);
        self.put(bytes);
    }

    /// The finished key: one allocation.
    pub fn finish(&self) -> KeyBytes {
        KeyRef::from(self).into()
    }
}

/// What can identify an entry within its region.
///
/// # Implementations must
/// append a self-delimiting encoding that is equal for equal keys only.
pub trait Key: Clone + Send + Sync + 'static {
    /// Appends this key to `out`.
    fn encode(&self, out: &mut KeyEncoder);

    /// Reads back what [`Key::encode`] appended; `None` for anything else.
    ///
    /// A type that does not implement it works in all other ways, but its entries cannot be loaded
    /// again by whoever knows them by their bytes only, as invalidating with a rewarm does.
    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        let _ = from;
        None
    }
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
            #[inline(always)]
            fn encode(&self, out: &mut KeyEncoder) {
                out.put_integer(i64::from(*self));
            }

            fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
                from.tag(INTEGER)?;
                Self::try_from(from.integer()?).ok()
            }
        }
    )*};
}

integer_keys!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! wide_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            #[inline(always)]
            fn encode(&self, out: &mut KeyEncoder) {
                match i64::try_from(*self) {
                    Ok(small) => small.encode(out),
                    Err(_) => out.put_tagged(WIDE, &self.to_le_bytes()),
                }
            }

            fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
                if from.either(INTEGER, WIDE)? {
                    return Self::try_from(from.integer()?).ok();
                }
                from.counted()?.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )*};
}

wide_keys!(u64, i128, u128, usize, isize);

impl Key for () {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[UNIT]);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(UNIT)
    }
}

impl Key for bool {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[BOOL, u8::from(*self)]);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(BOOL)?;
        from.either(0, 1).map(|is_false| !is_false)
    }
}

impl Key for char {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put(&[CHAR]);
        out.put(&u32::from(*self).to_le_bytes());
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(CHAR)?;
        char::from_u32(u32::from_le_bytes(from.word()?))
    }
}

impl Key for String {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(TEXT, self.as_bytes());
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(TEXT)?;
        from.text().map(Into::into)
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

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(TEXT)?;
        from.text().map(Into::into)
    }
}

impl Key for Arc<[u8]> {
    fn encode(&self, out: &mut KeyEncoder) {
        out.put_tagged(BLOB, self);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(BLOB)?;
        from.counted().map(Into::into)
    }
}

impl Key for Value {
    fn encode(&self, out: &mut KeyEncoder) {
        let mut bytes = Vec::new();
        Self::encode(self, &mut bytes);
        out.put_tagged(SCALAR, &bytes);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(SCALAR)?;
        from.scalar()
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

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        match from.either(NONE, SOME)? {
            true => Some(None),
            false => K::decode(from).map(Some),
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

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        from.tag(LIST)?;
        let count = from.count()?;
        // The count is foreign until as many parts were read: no memory is taken on its word.
        (0..count).map(|_| K::decode(from)).collect()
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

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        Vec::decode(from).map(Into::into)
    }
}

/// Marks the keys that may stand in an `Arc<[K]>`; bytes have an encoding of their own.
pub trait KeyPart {}

impl KeyPart for Value {}

macro_rules! tuple_keys {
    ($($name:ident)+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[inline(always)]
            fn encode(&self, out: &mut KeyEncoder) {
                #[expect(non_snake_case, reason = "the type parameters name the parts")]
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }

            fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
                Some(($($name::decode(from)?,)+))
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
                assert_eq!(
                    encoder.finish().as_slice(),
                    expected,
                    "{total} bytes in pieces of {piece}"
                );
                assert_eq!(encoder.finish().as_slice(), expected);
            }
        }
    }
}
