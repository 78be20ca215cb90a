//! A column and the one form in which a value of it is compared.
//!
//! SQLite stores what it is given under the column's affinity and compares across storage classes:
//! `1`, `1.0` and, in a numeric column, `'1'` are one value. A dependency and a changed row meet by
//! the bytes of a [`Value`], so both pass through here first. **Invariant**: two values that SQLite
//! calls equal in a column have the same [`canonical`] form there; where that cannot be promised
//! [`Column::convert`] is an error, and the condition proves nothing.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, Value};

use super::number::{self, Reading};

/// How SQLite converts what is stored into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Text where the value has an exact text.
    Text,
    /// Like [`Affinity::Integer`]; `CAST` alone tells them apart.
    Numeric,
    /// Integer where the number is whole, real otherwise, text where it is no number.
    Integer,
    /// Real where it is a number.
    Real,
    /// Nothing is converted.
    Blob,
}

impl Affinity {
    /// The affinity of a declared type, by the rules of SQLite's documentation, section 3.1.
    ///
    /// In a STRICT table `ANY` converts nothing; elsewhere it is a numeric type by the last rule.
    pub fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if strict && declared == "ANY" {
            Self::Blob
        } else if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name as declared.
    pub name: Arc<str>,
    /// What is converted on the way in.
    pub affinity: Affinity,
    /// The collating sequence of comparisons, upper case: `BINARY`, `NOCASE`, `RTRIM` or another.
    pub collation: Arc<str>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether the value is computed from other columns.
    pub generated: bool,
}

impl Column {
    /// Whether equal means: the same bytes.
    pub fn is_binary(&self) -> bool {
        &*self.collation == "BINARY"
    }

    /// Brings `value` to the form in which this column stores and compares it.
    ///
    /// # Errors
    /// `Unsupported` where SQLite's conversion is not known to the last bit: a number as text with
    /// more digits than a double keeps, a real as text in scientific form.
    pub fn convert(&self, value: Value) -> Result<Value, Error> {
        let value = match value {
            // SQLite has no NaN: it becomes NULL where it is bound or computed.
            Value::Real(number) if number.is_nan() => return Ok(Value::Null),
            value => value,
        };
        match self.affinity {
            Affinity::Text => self.to_text(value),
            Affinity::Numeric | Affinity::Integer => Ok(whole(self.to_number(value)?)),
            Affinity::Real => Ok(real(self.to_number(value)?)),
            Affinity::Blob => Ok(whole(value)),
        }
    }

    fn to_text(&self, value: Value) -> Result<Value, Error> {
        match value {
            Value::Integer(number) => Ok(number.to_string().into()),
            Value::Real(number) => match number::write_real(number) {
                Some(text) => Ok(text.into()),
                None => Err(self.inexact()),
            },
            value => Ok(value),
        }
    }

    fn to_number(&self, value: Value) -> Result<Value, Error> {
        let Value::Text(text) = &value else { return Ok(value) };
        match number::read(text) {
            Reading::Number(number) => Ok(number),
            Reading::NotANumber => Ok(value),
            Reading::Unsure => Err(self.inexact()),
        }
    }

    fn inexact(&self) -> Error {
        Error::new(ErrorKind::Unsupported, "convert a value for column")
            .subject(&*self.name)
            .detail("its stored form depends on rounding")
    }
}

/// `1.0` as `1`: they compare equal in every column that can hold both.
fn whole(value: Value) -> Value {
    match value {
        Value::Real(number) => number::whole(number),
        value => value,
    }
}

/// Numbers as reals, and one zero only.
fn real(value: Value) -> Value {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "SQLite rounds to the nearest as well")]
        Value::Integer(number) => Value::Real(number as f64),
        Value::Real(number) => Value::Real(if number == 0.0 { 0.0 } else { number }),
        value => value,
    }
}

/// The one form of a value that `column` holds: equal to SQLite is equal here.
///
/// What [`Column::convert`] refuses stays as it is, because a stored value has been converted
/// already.
pub fn canonical(column: &Column, value: Value) -> Value {
    column.convert(value.clone()).unwrap_or(value)
}
