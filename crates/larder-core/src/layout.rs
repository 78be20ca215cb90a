//! What a type looks like in bytes that name nothing, and a fingerprint of it.
//!
//! A codec that writes fields one after the other, without their names, reads the bytes of another
//! type as a wrong value. So the fingerprint of the type stands beside such a value. **Invariant**:
//! two types whose values have the same fingerprint have the same names, in the same order, for the
//! same kinds of parts, however deep; what is the same by another name was declared so.

mod known;

use std::{any::TypeId, fmt};

use crate::encoding::{put_bytes, put_varint};

const MAGIC: &[u8; 4] = b"LRL1";

const WORD: u8 = 1;
const NAMED: u8 = 2;
const AGAIN: u8 = 3;
const FIELD: u8 = 4;
const VARIANT: u8 = 5;
const END: u8 = 6;
const OPAQUE: u8 = 7;

/// A type that says how its values are laid out in bytes that name nothing.
///
/// `#[derive(Stored)]` writes it for structs and enums. By hand it is written for types whose bytes
/// are not those that serde derives.
pub trait Stored: 'static {
    /// Says it to `layout`: one word, or one named type with its fields or variants.
    fn layout(layout: &mut Layout);
}

/// A layout as it is being told.
///
/// A type that comes again, be it inside itself, is told once.
#[derive(Debug, Default)]
pub struct Layout {
    bytes: Vec<u8>,
    /// Named types in the order in which they came.
    known: Vec<TypeId>,
}

impl Layout {
    /// A type that is what `word` says, such as `u64`, or what holds the parts told next, such as
    /// `list`. The word alone must say how many parts follow.
    pub fn word(&mut self, word: &str) -> &mut Self {
        self.bytes.push(WORD);
        self.text(word)
    }

    /// A part of what the last [`Layout::word`] said.
    pub fn part<T: Stored>(&mut self) -> &mut Self {
        T::layout(self);
        self
    }

    /// The type `T` with the fields and variants that `parts` tells.
    pub fn named<T: 'static>(&mut self, name: &str, parts: impl FnOnce(&mut Self)) {
        let own = TypeId::of::<T>();
        if let Some(place) = self.known.iter().position(|known| *known == own) {
            self.bytes.push(AGAIN);
            put_varint(&mut self.bytes, place as u64);
            return;
        }
        self.known.push(own);
        self.bytes.push(NAMED);
        self.text(name);
        parts(self);
        self.bytes.push(END);
    }

    /// A field of the named type that is being told, or of its last variant.
    pub fn field<T: Stored>(&mut self, name: &str) {
        self.bytes.push(FIELD);
        self.text(name);
        T::layout(self);
    }

    /// A field of whose type only `layout` is known: another text is another layout.
    pub fn opaque(&mut self, name: &str, layout: &str) {
        self.bytes.push(FIELD);
        self.text(name);
        self.bytes.push(OPAQUE);
        self.text(layout);
    }

    /// A variant of the named type that is being told; its fields follow.
    pub fn variant(&mut self, name: &str) {
        self.bytes.push(VARIANT);
        self.text(name);
    }

    fn text(&mut self, text: &str) -> &mut Self {
        put_bytes(&mut self.bytes, text.as_bytes());
        self
    }
}

/// What stands beside a value whose bytes name nothing: 64 bits of a hash over the layout of its
/// type and the format of the bytes. Stable between processes, builds and platforms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// That of `T` in bytes of `format`, such as `postcard 1`.
    ///
    /// # Cost
    /// Some microseconds for each field; to be taken once.
    pub fn of<T: Stored>(format: &str) -> Self {
        let mut layout = Layout { bytes: MAGIC.to_vec(), known: Vec::new() };
        layout.text(format);
        T::layout(&mut layout);
        let hash = blake3::hash(&layout.bytes);
        let bits = hash.as_bytes().first_chunk().expect("a hash has more than eight bytes");
        Self(u64::from_le_bytes(*bits))
    }

    /// The one that is shown as these bits, such as `0x9f86_d081_884c_7d65`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// As it is written for [`Fingerprint::from_bits`].
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quarter = |place: u32| (self.0 >> (16 * place)) & 0xffff;
        let [a, b, c, d] = [3, 2, 1, 0].map(quarter);
        write!(f, "0x{a:04x}_{b:04x}_{c:04x}_{d:04x}")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
