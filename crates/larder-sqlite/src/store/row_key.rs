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
    /// The key that a row shows; `None` when no larder wrote it.
    pub(crate) fn read(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Self::Text),
            ValueRef::Blob(bytes) => Some(Self::Bytes(bytes)),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
        }
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A key that is taken to another thread.
#[derive(Clone, Debug)]
pub(crate) enum OwnKey {
    Text(String),
    Bytes(Vec<u8>),
}

impl OwnKey {
    pub(crate) fn as_row(&self) -> RowKey<'_> {
        match self {
            Self::Text(text) => RowKey::Text(text),
            Self::Bytes(bytes) => RowKey::Bytes(bytes),
        }
    }
}

impl From<RowKey<'_>> for OwnKey {
    fn from(key: RowKey<'_>) -> Self {
        match key {
            RowKey::Text(text) => Self::Text(text.to_owned()),
            RowKey::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl<'a> From<&'a str> for RowKey<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
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
