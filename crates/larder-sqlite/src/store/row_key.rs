//! The key of a row: text that people chose, or bytes that a region encoded.
//!
//! SQLite keeps the two apart by type and sorts every text before every blob, so that neither can
//! be taken for the other. **Invariant**: patterns are about text keys only.

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKey<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> RowKey<'a> {
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for RowKey<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for RowKey<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl ToSql for RowKey<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
