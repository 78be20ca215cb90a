//! A typed scalar: one column of a row, one part of a key, one side of a condition.
//!
//! It is smaller than any database's type system on purpose: a backend brings its own types to
//! these five before it compares. **Invariant**: two values are equal iff their encodings are, and
//! values of different variants are never equal (`1` is not `"1"`, MD10).

use std::{fmt, sync::Arc};

use crate::{
    encoding::{Reader, corrupt, put_bytes},
    error::Error,
};

/// A typed scalar.
#[derive(Clone)]
pub enum Value {
    /// The absence of a value. Equal to itself here; SQL's `NULL = NULL` is the backend's business.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float, compared by its bits: `0.0` and `-0.0` differ, a NaN equals itself.
    Real(f64),
    /// UTF-8 text, compared byte by byte.
    Text(Arc<str>),
    /// Bytes.
    Blob(Arc<[u8]>),
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

impl Value {
    /// Appends the injective encoding of this value: one type byte, then the content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(NULL),
            Self::Integer(number) => {
                out.push(INTEGER);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Real(number) => {
                out.push(REAL);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Self::Text(text) => {
                out.push(TEXT);
                put_bytes(out, text.as_bytes());
            }
            Self::Blob(bytes) => {
                out.push(BLOB);
                put_bytes(out, bytes);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match reader.byte()? {
            NULL => Self::Null,
            INTEGER => Self::Integer(reader.u64()?.cast_signed()),
            REAL => Self::Real(f64::from_bits(reader.u64()?)),
            TEXT => Self::Text(reader.text()?.into()),
            BLOB => Self::Blob(reader.bytes()?.into()),
            other => return Err(corrupt(format!("{other} is no type of a value"))),
        })
    }

    /// Reads a value from the front of `bytes`, and leaves what stands behind it there.
    ///
    /// # Errors
    /// `Corrupt` when [`Value::encode`] did not write it; `bytes` are as they were.
    pub fn take(bytes: &mut &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        *bytes = reader.rest();
        Ok(value)
    }

    /// The name of the type, as configuration and error messages spell it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Integer(number) => number.hash(state),
            Self::Real(number) => number.to_bits().hash(state),
            Self::Text(text) => text.hash(state),
            Self::Blob(bytes) => bytes.hash(state),
        }
    }
}

/// Prints the value as `explain` shows it: `90`, `1.5`, `"text"`, `x'00ff'`, `null`.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Blob(bytes) => {
                f.write_str("x'")?;
                for byte in bytes.iter() {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str("'")
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Integer(is.into())
    }
}

macro_rules! small_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Integer(number.into())
            }
        }
    )*};
}

small_integers!(i8, i16, u8, u16);

impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::Real(number.into())
    }
}

/// Beyond the integers of a database as eight bytes, which still follow all of them.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number)
            .map_or_else(|_| Self::Blob(number.to_be_bytes().as_slice().into()), Self::Integer)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes.into())
    }
}

impl From<Arc<[u8]>> for Value {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_one_by_one_and_foreign_bytes_stay_where_they_are() {
        let blob = Value::from(&b"\x00\xff"[..]);
        let values = [Value::Null, 7.into(), (-0.5).into(), "text".into(), blob, "".into()];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.encode(&mut bytes));
        let mut rest = &*bytes;
        for value in &values {
            assert_eq!(Value::take(&mut rest).unwrap(), *value);
        }
        assert!(rest.is_empty());
        for mut foreign in [&[][..], &[9, 1], &[TEXT, 5, b'a'], &[TEXT, 1, 0xff]] {
            let before = foreign;
            assert!(Value::take(&mut foreign).is_err());
            assert_eq!(foreign, before);
        }
    }
}
