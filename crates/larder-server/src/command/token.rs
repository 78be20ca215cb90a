//! `larder token`: makes a secret and says where its two halves go.
//!
//! **Invariant**: the secret is printed once and kept nowhere.

use anyhow::{Result, anyhow};

use crate::{auth, exit::Exit, say, secret};

pub(super) fn run() -> Result<Exit> {
    let secret = secret::random()
        .map_err(|error| anyhow!("the operating system gives no randomness: {error}"))?;
    let hash = blake3::hash(&secret);
    say!("secret  {}", auth::to_hex(&secret));
    say!("hash    {}", hash.to_hex());
    say!();
    say!("The client sends the secret as `Authorization: Bearer SECRET`.");
    say!("The configuration needs only the hash:");
    say!();
    say!("[token.NAME]");
    say!("scopes = [\"read\"]        # read, write, invalidate, admin");
    say!("hash = \"{}\"", hash.to_hex());
    Ok(Exit::Done)
}
