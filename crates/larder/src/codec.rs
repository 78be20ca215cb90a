//! How values become bytes for a store, and values again.
//!
//! Apart from `l2`, which moves the bytes. **Invariant**: bytes that another type wrote are an
//! error, never a wrong value, as far as the format can tell: the default one names every field.

use std::fmt;

use larder_core::Error;

/// How values of one type become bytes, and values again.
pub struct Codec<V> {
    pub(crate) encode: fn(&V) -> Result<Vec<u8>, Error>,
    pub(crate) decode: fn(&[u8]) -> Result<V, Error>,
}

impl<V> Codec<V> {
    /// A codec of your own. What it writes must tell by itself whether it can be read: after the
    /// type has changed `decode` is given what the old one wrote, unless the region's `version` was
    /// raised.
    pub fn new(
        encode: fn(&V) -> Result<Vec<u8>, Error>,
        decode: fn(&[u8]) -> Result<V, Error>,
    ) -> Self {
        Self { encode, decode }
    }
}

#[cfg(feature = "store")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> Codec<V> {
    /// MessagePack with the names of fields: compact, and a type that changed is noticed. Maps may
    /// have keys of any type, and numbers that are not finite come back (MD12).
    pub fn message_pack() -> Self {
        use larder_core::ErrorKind;
        Self {
            encode: |value| {
                rmp_serde::to_vec_named(value).map_err(|error| {
                    Error::new(ErrorKind::Unsupported, "encode a value").detail(error.to_string())
                })
            },
            decode: |bytes| {
                rmp_serde::from_slice(bytes).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, "decode a value").detail(error.to_string())
                })
            },
        }
    }
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        Self { encode: self.encode, decode: self.decode }
    }
}

impl<V> fmt::Debug for Codec<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}
