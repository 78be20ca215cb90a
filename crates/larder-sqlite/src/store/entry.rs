//! One entry of the store: the value, and what is known of it.
//!
//! It stands apart from the tables because callers speak of entries and never of rows.
//! **Invariant**: a value is bytes that are given back exactly; null, empty and false values are
//! values like any other (SD12).

use std::{sync::Arc, time::Duration};

use larder_core::{Error, ErrorKind, clock::WallMillis};

use super::{
    options::Durability,
    packing::{self, Packing},
    values::{Published, Values},
};

/// What the bytes of a value are, for those who show or convert them (S1's `data_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// JSON text.
    Json,
    /// UTF-8 text.
    Text,
    /// Anything.
    Bytes,
}

impl ValueKind {
    /// The word for it, as shown and as accepted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Json => 0,
            Self::Text => 1,
            Self::Bytes => 2,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Json, Self::Text, Self::Bytes].into_iter().find(|kind| kind.code() == code)
    }
}

/// A value as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What the bytes are.
    pub kind: ValueKind,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Stored {
    /// JSON text, taken as it is: nothing parses it here.
    pub fn json(text: impl Into<String>) -> Self {
        Self { kind: ValueKind::Json, bytes: text.into().into_bytes() }
    }

    /// UTF-8 text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: ValueKind::Text, bytes: text.into().into_bytes() }
    }

    /// Anything.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind: ValueKind::Bytes, bytes: bytes.into() }
    }
}

/// How long an entry lives. To live for ever must be said (X4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So long from the moment it is written, rounded up to a whole millisecond. Never zero.
    For(Duration),
    /// Up to a moment; what is written after it is never there.
    Until(WallMillis),
    /// Until it is removed or evicted.
    Forever,
}

impl Lifetime {
    /// The deadline of what is written `now`.
    ///
    /// # Errors
    /// `Config` for a lifetime of zero.
    pub(crate) fn deadline(self, now: WallMillis) -> Result<Option<WallMillis>, Error> {
        match self {
            Self::For(Duration::ZERO) => Err(Error::new(ErrorKind::Config, "write an entry")
                .detail("a lifetime of zero: give a positive one, or say `forever`")),
            Self::For(lifetime) => Ok(Some(now.plus(lifetime))),
            Self::Until(moment) => Ok(Some(moment)),
            Self::Forever => Ok(None),
        }
    }
}

/// Whether eviction may take an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pinned {
    #[default]
    No,
    Yes,
}

/// What is to be written under a key: it replaces value, lifetime and tags as one unit (X15).
#[derive(Clone, Debug)]
#[must_use = "an entry is written by `insert` or `add`"]
pub struct NewEntry {
    pub(crate) value: Stored,
    pub(crate) lifetime: Lifetime,
    pub(crate) tags: Vec<String>,
    pub(crate) pinned: Pinned,
    pub(crate) packing: Packing,
    /// Bytes of the value before it was packed.
    pub(crate) whole_bytes: u64,
    /// Where the value is, if not here; then its bytes are what the row says of the file.
    pub(crate) file: Option<Arc<Published>>,
}

impl NewEntry {
    /// An entry without tags.
    pub fn new(value: Stored, lifetime: Lifetime) -> Self {
        let whole_bytes = value.bytes.len() as u64;
        let (tags, pinned, packing) = (Vec::new(), Pinned::No, Packing::Plain);
        Self { value, lifetime, tags, pinned, packing, whole_bytes, file: None }
    }

    /// The labels by which it is found and deleted with others. Any text; each counts once.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self.tags.sort_unstable();
        self.tags.dedup();
        self
    }

    /// With its value packed, if that makes it smaller.
    pub(crate) fn packed(mut self) -> Self {
        if self.packing == Packing::Plain
            && let Some(packed) = packing::pack(&self.value.bytes)
        {
            (self.value.bytes, self.packing) = (packed, Packing::Zstd);
        }
        self
    }

    /// With its value in a file, if it has more than `above` bytes. Blocks.
    pub(crate) fn filed(
        mut self,
        above: u64,
        values: &Arc<Values>,
        durability: Durability,
    ) -> Result<Self, Error> {
        if self.file.is_none() && above < self.kept_bytes() {
            let file = values.publish(&self.value.bytes, durability)?;
            self.value.bytes = file.reference.encode();
            self.file = Some(file);
        }
        Ok(self)
    }

    /// Bytes of the value as it is kept.
    pub(crate) fn kept_bytes(&self) -> u64 {
        match &self.file {
            Some(file) => file.reference.bytes,
            None => self.value.bytes.len() as u64,
        }
    }

    /// Keeps it from eviction. It counts towards the limits all the same (X5).
    pub fn pinned(mut self) -> Self {
        self.pinned = Pinned::Yes;
        self
    }
}

/// What a write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// There was nothing under the key.
    Inserted,
    /// There was an entry, which is gone.
    Replaced,
    /// There is an entry, and it was left alone.
    Present,
}

/// What is known of an entry besides its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What the bytes are.
    pub kind: ValueKind,
    /// Its labels, sorted.
    pub tags: Vec<Arc<str>>,
    /// Bytes of the value as it is kept: compressed, if it is.
    pub size_bytes: u64,
    /// When it was written.
    pub created: WallMillis,
    /// When it stops being there; `None` is never.
    pub expires: Option<WallMillis>,
    /// When it was read last, or written if it never was. Behind by what is not written yet: two
    /// thousand entries are, each time the keeper comes.
    pub accessed: WallMillis,
    /// How often it was read. Behind like the time of it.
    pub access_count: u64,
    /// Whether eviction leaves it alone.
    pub is_pinned: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Stored,
    /// What is known of it.
    pub meta: Meta,
}
