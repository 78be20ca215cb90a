//! Keys read back: as the typed key, to load an entry again, and in words, for people.
//!
//! It stands apart from the encoding because no read needs it. **Invariant**: bytes that were not
//! written by the encoding of the type asked for give nothing, and never a panic; and what is not
//! understood is shown as bytes, never left out.

use std::fmt;

use super::{BLOB, BOOL, CHAR, INTEGER, KeyBytes, LIST, NONE, SCALAR, SOME, TEXT, UNIT, WIDE};
use crate::{encoding::Reader, value::Value};

/// Reads one key, part by part, in the order in which it was written.
#[derive(Clone, Debug)]
pub struct KeyDecoder<'a> {
    rest: &'a [u8],
}

/// Lists within lists that are told apart in words; what lies deeper is shown as bytes. No type of
/// a sane key comes near it, and ten thousand would overrun the stack on bytes that only look so.
const DEPTH: usize = 16;

impl<'a> KeyDecoder<'a> {
    /// Begins behind the region of `key`; `None` when it is too short to have one.
    pub fn new(key: &'a [u8]) -> Option<Self> {
        let (_, rest) = key.split_first_chunk::<4>()?;
        Some(Self { rest })
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// Whether every byte was read. A key that leaves bytes behind is not of the type it was read
    /// as.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn word<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Reads the type byte `tag`.
    pub(super) fn tag(&mut self, tag: u8) -> Option<()> {
        (self.word()? == [tag]).then_some(())
    }

    /// Reads the type byte of a part that may be of two types; whether it is the first.
    pub(super) fn either(&mut self, first: u8, second: u8) -> Option<bool> {
        let [tag] = self.word()?;
        (tag == first || tag == second).then_some(tag == first)
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        self.word().map(i64::from_le_bytes)
    }

    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.word().map(u64::from_le_bytes)?).ok()
    }

    /// The bytes of a part that carries its length.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    pub(super) fn scalar(&mut self) -> Option<Value> {
        let mut reader = Reader::new(self.counted()?);
        let value = Value::decode(&mut reader).ok()?;
        reader.finish().ok()?;
        Some(value)
    }

    /// One part in words; `None`, with nothing read, when its bytes are not understood.
    fn part(&mut self, depth: usize) -> Option<String> {
        let mut ahead = self.clone();
        let words = ahead.part_ahead(depth)?;
        *self = ahead;
        Some(words)
    }

    fn part_ahead(&mut self, depth: usize) -> Option<String> {
        let [tag] = self.word()?;
        Some(match tag {
            UNIT => "()".into(),
            INTEGER => self.integer()?.to_string(),
            WIDE => match *self.counted()? {
                [a, b, c, d, e, f, g, h] => {
                    u64::from_le_bytes([a, b, c, d, e, f, g, h]).to_string()
                }
                // A large u128 and a small i128 have the same bytes.
                ref bytes => hex(bytes),
            },
            TEXT => format!("{:?}", self.text()?),
            BLOB => hex(self.counted()?),
            BOOL => (self.word()? != [0]).to_string(),
            CHAR => format!("{:?}", char::from_u32(u32::from_le_bytes(self.word()?))?),
            SCALAR => self.scalar()?.to_string(),
            NONE => "none".into(),
            SOME => format!("some {}", self.part(depth.checked_sub(1)?)?),
            LIST => {
                let count = self.count()?;
                let within = depth.checked_sub(1)?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    parts.push(self.part(within)?);
                }
                format!("[{}]", parts.join(", "))
            }
            _ => return None,
        })
    }
}

/// As a value of bytes is printed: `x'00ff'`.
fn hex(bytes: &[u8]) -> String {
    Value::from(bytes).to_string()
}

/// A key for people: `90`, `"abc"`, `(90, "abc")`, `[1, 2]`, `none`.
///
/// Tuples within a key are not told from their parts, and a key whose type has an encoding of its
/// own is shown as bytes.
///
/// Keys may hold personal data. Show this to whoever asked, and do not log it.
pub struct KeyWords<'a>(&'a KeyBytes);

impl KeyBytes {
    /// This key in words.
    pub fn words(&self) -> KeyWords<'_> {
        KeyWords(self)
    }
}

impl fmt::Display for KeyWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut decoder) = KeyDecoder::new(self.0.as_slice()) else {
            return f.write_str(&hex(self.0.as_slice()));
        };
        let mut parts = Vec::new();
        while !decoder.is_at_end() {
            let Some(part) = decoder.part(DEPTH) else {
                parts.push(hex(decoder.rest));
                break;
            };
            parts.push(part);
        }
        match &*parts {
            [part] => f.write_str(part),
            parts => write!(f, "({})", parts.join(", ")),
        }
    }
}

/// Shows nothing of the key, as [`KeyBytes`] does.
impl fmt::Debug for KeyWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests;
