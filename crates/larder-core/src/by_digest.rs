//! Maps by digest: hashed in two instructions, because a digest is a hash already.
//!
//! They stand apart from [`crate::dependency`] because they are about a node, not about what it
//! says. A digest is the same in every process, so that whoever can name rows could look for many
//! that meet in one bucket; therefore each map folds a random number of its own in. **Invariant**:
//! what a map answers does not depend on that number.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use crate::dependency::Digest;

/// A map whose keys are digests.
pub type DigestMap<V> = HashMap<Digest, V, Folding>;

/// The hashing of one map.
#[derive(Clone, Debug)]
pub struct Folding(u64);

impl Default for Folding {
    fn default() -> Self {
        // Odd, so that no bit of the digest is lost.
        Self(RandomState::new().hash_one(0) | 1)
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { factor: self.0, folded: 0 }
    }
}

/// The hash of one digest.
#[derive(Debug)]
pub struct Folded {
    factor: u64,
    folded: u64,
}

impl Hasher for Folded {
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.folded ^ number) * u128::from(self.factor);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are folded")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.folded = low ^ high;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn finish(&self) -> u64 {
        self.folded
    }
}
