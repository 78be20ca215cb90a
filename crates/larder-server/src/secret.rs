//! Secrets from the operating system's generator.
//!
//! **Invariant**: nothing here is predictable, and an operating system without randomness is an
//! error, not a weaker secret.

/// 256 random bits.
pub fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}
