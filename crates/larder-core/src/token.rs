//! Position tokens: what a client keeps to read its own writes from any node.
//!
//! A token is authenticated, so that a client cannot make one up, and opaque by contract: it is not
//! encrypted, and what it holds may change with any version. **Invariant**: a token
//! that this key did not sign is refused before it is looked at, in constant time.

use std::{fmt, fmt::Write as _};

use subtle::ConstantTimeEq;

use crate::{
    encoding::{Reader, put_bytes, put_varint},
    error::{Error, ErrorKind},
    timeline::{Epoch, Name, Position},
};

/// The most characters a token may have: a cache has a handful of timelines with short names.
pub const MAX_TOKEN_CHARS: usize = 4096;

const MAC_BYTES: usize = 16;
const VERSION: u8 = 1;

/// Positions that a read must have reached, one for each timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    marks: Vec<(Name, Epoch, Position)>,
}

/// The secret that signs tokens. Nodes that share it accept each other's tokens.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// A key from 32 secret bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(set)")
    }
}

impl Token {
    /// The empty token, which every node has reached.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for `position` on `timeline`; of two positions in one epoch the later is kept.
    pub fn require(&mut self, timeline: Name, epoch: Epoch, position: Position) {
        match self.marks.iter_mut().find(|(name, own, _)| *name == timeline && *own == epoch) {
            Some((.., own)) => *own = position.max(*own),
            None => self.marks.push((timeline, epoch, position)),
        }
    }

    /// What is required, one item for each timeline and epoch.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Name, Epoch, Position)> {
        self.marks.iter()
    }

    /// The token as text: hexadecimal, signed with `key`.
    pub fn seal(&self, key: &TokenKey) -> String {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.marks.len() as u64);
        for (name, epoch, position) in &self.marks {
            put_bytes(&mut bytes, name.as_bytes());
            bytes.extend_from_slice(&epoch.0.to_le_bytes());
            put_varint(&mut bytes, position.0);
        }
        let mac = mac(key, &bytes);
        bytes.extend_from_slice(&mac);
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text
    }

    /// Reads a token that `key` signed.
    ///
    /// # Errors
    /// `Config` when the text is no token, was signed by another key, or is over the limit.
    pub fn open(text: &str, key: &TokenKey) -> Result<Self, Error> {
        if MAX_TOKEN_CHARS < text.len() {
            return Err(refused(format!(
                "{} characters, the limit is {MAX_TOKEN_CHARS}",
                text.len()
            )));
        }
        let bytes = from_hex(text).ok_or_else(|| refused("it is not hexadecimal"))?;
        let body = bytes.len().checked_sub(MAC_BYTES).ok_or_else(|| refused("it is too short"))?;
        let (body, signature) = bytes.split_at(body);
        if !bool::from(mac(key, body).as_slice().ct_eq(signature)) {
            return Err(refused("this server did not issue it"));
        }
        Self::decode(body).map_err(|error| refused("it is damaged").source(error))
    }

    fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        if reader.byte()? != VERSION {
            return Err(refused("its version is unknown"));
        }
        let mut token = Self::new();
        for _ in 0..reader.varint()? {
            let name = reader.text()?.into();
            let epoch = Epoch(reader.u64()?);
            token.require(name, epoch, Position(reader.varint()?));
        }
        reader.finish()?;
        Ok(token)
    }
}

fn mac(key: &TokenKey, body: &[u8]) -> [u8; MAC_BYTES] {
    let hash = blake3::keyed_hash(&key.0, body);
    let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    *head
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, "read the position token").detail(why)
}
