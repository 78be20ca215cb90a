//! `larder token`: makes a secret and says where its two halves go.
//!
//! **Invariant**: the secret is printed once and kept nowhere.

use anyhow::{Result, anyhow};

use crate::{auth, exit::Exit, secret};

pub(super) fn run() -> Result<Exit> {
    let secret = secret::random()
        .map_err(|error| anyhow!("the operating system gives no randomness: {error}"))?;
    let hash = blake3::hash(&secret);
    println!("secret  {}", auth::to_hex(&secret));
    println!("hash    {}", hash.to_hex());
    println!();
    println!("The client sends the secret as `Authorization: Bearer SECRET`.");
    println!("The configuration needs only the hash:");
    println!();
    println!("[token.NAME]");
    println!("scopes = [\"read\"]        # read, invalidate, admin");
    println!("hash = \"{}\"", hash.to_hex());
    Ok(Exit::Done)
}
