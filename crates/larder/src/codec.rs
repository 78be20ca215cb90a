//! How values become bytes for a store, and values again.
//!
//! Apart from `l2`, which moves the bytes. **Invariant**: bytes that another type wrote are an
//! error, never a wrong value, as far as the format can tell: the default one names every field,
//! and one that names nothing keeps a fingerprint of the type beside each value.

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind, Fingerprint, Stored};

/// How values of one type become bytes, and values again.
pub struct Codec<V> {
    encode: fn(&V) -> Result<Vec<u8>, Error>,
    decode: fn(&[u8]) -> Result<V, Error>,
    fingerprint: Option<Fingerprint>,
    /// Those of other types whose bytes this one reads as well.
    reads: Arc<[Fingerprint]>,
}

impl<V> Codec<V> {
    /// A codec of your own. What it writes must tell by itself whether it can be read: after the
    /// type has changed `decode` is given what the old one wrote, unless the region's `version` was
    /// raised, or the codec is [`Codec::fingerprinted`].
    pub fn new(
        encode: fn(&V) -> Result<Vec<u8>, Error>,
        decode: fn(&[u8]) -> Result<V, Error>,
    ) -> Self {
        Self { encode, decode, fingerprint: None, reads: Arc::default() }
    }

    /// The same codec for bytes that do not say what they are: the fingerprint of `V` in this
    /// `format` stands beside each value, and one with another fingerprint is a miss, counted as
    /// `store_undecodable`.
    #[must_use]
    pub fn fingerprinted(mut self, format: &str) -> Self
    where
        V: Stored,
    {
        self.fingerprint = Some(Fingerprint::of::<V>(format));
        self
    }

    /// Reads also what an earlier type with this fingerprint wrote. Whoever says it has made sure
    /// that the same bytes mean the same: of all changes, a variant added at the end of an enum is
    /// one that keeps them.
    #[must_use]
    pub fn reads(mut self, earlier: Fingerprint) -> Self {
        self.reads = self.reads.iter().copied().chain([earlier]).collect();
        self
    }

    /// What stands beside its values; `None` where the bytes say by themselves what they are.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    pub(crate) fn encode(&self, value: &V) -> Result<Vec<u8>, Error> {
        (self.encode)(value)
    }

    /// The value in `bytes`, beside which the fingerprint `wrote` stands.
    ///
    /// # Errors
    /// `Corrupt` when another type wrote it.
    pub(crate) fn decode(&self, wrote: Option<Fingerprint>, bytes: &[u8]) -> Result<V, Error> {
        let is_own = wrote == self.fingerprint;
        if is_own || wrote.is_some_and(|wrote| self.reads.contains(&wrote)) {
            return (self.decode)(bytes);
        }
        let shown = |print: Option<Fingerprint>| match print {
            Some(print) => print.to_string(),
            None => "none".to_owned(),
        };
        Err(Error::new(ErrorKind::Corrupt, "decode a value").detail(format!(
            "the fingerprint of its type is {}, that of the region's is {}; if both mean the \
             same, say so with `Codec::reads`",
            shown(wrote),
            shown(self.fingerprint)
        )))
    }
}

#[cfg(feature = "store")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> Codec<V> {
    /// MessagePack with the names of fields: compact, and a type that changed is noticed. Maps may
    /// have keys of any type, and numbers that are not finite come back (MD12).
    pub fn message_pack() -> Self {
        Self::new(
            |value| rmp_serde::to_vec_named(value).map_err(|error| not_encoded(&error)),
            |bytes| rmp_serde::from_slice(bytes).map_err(|error| not_decoded(&error)),
        )
    }
}

#[cfg(feature = "positional")]
impl<V: Stored + serde::Serialize + serde::de::DeserializeOwned> Codec<V> {
    /// Fields one after the other without their names (postcard): the fewest bytes. The
    /// fingerprint of the type stands beside each value, so that what another type wrote is a miss.
    ///
    /// Values of types that serde must look at to know them (untagged enums, flattened structs)
    /// cannot be read back from it; the derive of [`Stored`] refuses them.
    pub fn positional() -> Self {
        let codec = Self::new(
            |value| postcard::to_stdvec(value).map_err(|error| not_encoded(&error)),
            |bytes| match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => Err(Error::new(ErrorKind::Corrupt, "decode a value")
                    .detail(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(not_decoded(&error)),
            },
        );
        codec.fingerprinted("postcard 1")
    }
}

#[cfg(feature = "store")]
fn not_encoded(error: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, "encode a value").detail(error.to_string())
}

#[cfg(feature = "store")]
fn not_decoded(error: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, "decode a value").detail(error.to_string())
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        let Self { encode, decode, fingerprint, .. } = *self;
        Self { encode, decode, fingerprint, reads: self.reads.clone() }
    }
}

impl<V> fmt::Debug for Codec<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("fingerprint", &self.fingerprint)
            .field("reads", &self.reads)
            .finish_non_exhaustive()
    }
}
