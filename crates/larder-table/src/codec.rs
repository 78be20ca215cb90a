//! The codec: how the records of a table become bytes of a file, and records again.
//!
//! Apart from the record, which most tables keep in memory only. **Invariant**: bytes that another
//! codec wrote are told apart by what it is called, as far as whoever wrote the codec says so.

use std::{fmt, sync::Arc};

use larder_core::{Error, Fingerprint, Stored};

type Encode<R> = dyn Fn(&R, &mut Vec<u8>) + Send + Sync;
type Decode<R> = dyn Fn(&[u8]) -> Result<R, Error> + Send + Sync;

/// How the records of one table become bytes, and records again. Cheap to clone.
pub struct Codec<R> {
    encode: Arc<Encode<R>>,
    decode: Arc<Decode<R>>,
    /// By which what it wrote is known again.
    called: Vec<u8>,
}

impl<R> Codec<R> {
    /// A codec of your own: `encode` appends the bytes of a record, `decode` is given exactly
    /// those.
    ///
    /// Closures cannot be compared, and a file that was written before they changed would be
    /// believed. So give another `version` whenever one of them means something else: those of the
    /// codec, the loader of the window, the key that the window is by, or the rules by which the
    /// table follows its feed.
    pub fn new(
        version: u32,
        encode: impl Fn(&R, &mut Vec<u8>) + Send + Sync + 'static,
        decode: impl Fn(&[u8]) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Self {
        let (encode, decode) = (Arc::new(encode), Arc::new(decode));
        Self { encode, decode, called: version.to_le_bytes().to_vec() }
    }

    /// The same for bytes that do not say what they are, in this `format`: what was written of
    /// another type, or of this one before it changed, is known by the fingerprint of it.
    #[must_use]
    pub fn fingerprinted(self, format: &str) -> Self
    where
        R: Stored,
    {
        self.called_also(&Fingerprint::of::<R>(format).bits().to_le_bytes())
    }

    /// The same codec for what is known by `more` as well.
    pub(crate) fn called_also(mut self, more: &[u8]) -> Self {
        self.called.extend_from_slice(&(more.len() as u64).to_le_bytes());
        self.called.extend_from_slice(more);
        self
    }

    pub(crate) fn called(&self) -> &[u8] {
        &self.called
    }

    pub(crate) fn encode(&self, record: &R, out: &mut Vec<u8>) {
        (self.encode)(record, out);
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<R, Error> {
        (self.decode)(bytes)
    }
}

impl<R> Clone for Codec<R> {
    fn clone(&self) -> Self {
        let (encode, decode) = (self.encode.clone(), self.decode.clone());
        Self { encode, decode, called: self.called.clone() }
    }
}

impl<R> fmt::Debug for Codec<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}
