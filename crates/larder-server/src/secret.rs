//! Secrets: where they come from, and how they are kept out of what is printed.
//!
//! `auth.rs` and `position.rs` use them; here is what all have in common. **Invariant**: nothing
//! here is predictable, an operating system without randomness is an error, not a weaker secret,
//! and no way to print a [`Secret`] shows what it holds.

use std::fmt;

use serde::Deserialize;

/// 256 random bits.
pub fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// Something that must not be printed, on whatever way it is carried along.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Keeps `secret` from being printed.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}
