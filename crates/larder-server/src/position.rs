//! Positions on the wire: what `Larder-Position` says and `Larder-At-Least` asks for.
//!
//! Signing takes longer than a hit, and the position changes only when a change arrives; so the
//! signed text is kept until then. **Invariant**: the header never names a position that this node
//! had not reached when the answer was looked up.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use larder::{Token, TokenKey};
use parking_lot::RwLock;

use crate::problem::{Code, Problem};

/// What a request asks with.
pub const AT_LEAST: &str = "larder-at-least";

/// What every answer carries.
pub const POSITION: &str = "larder-position";

/// The position that a request asks for. Two are refused: to wait for only one of them would break
/// the promise about the other.
#[inline]
pub fn wanted(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Problem> {
    let mut sent = headers.get_all(AT_LEAST).iter();
    match (sent.next(), sent.next()) {
        (wanted, None) => Ok(wanted),
        _ => Err(Problem::new(Code::MalformedPosition, "send Larder-At-Least once")),
    }
}

/// Signs and checks position tokens.
#[derive(Debug)]
pub struct Positions {
    key: TokenKey,
    last: RwLock<Arc<(Token, HeaderValue)>>,
}

impl Positions {
    /// With the key that nodes share, or a random one.
    pub fn new(secret: [u8; 32]) -> Self {
        let key = TokenKey::new(secret);
        let token = Token::new();
        let value = seal(&token, &key);
        Self { key, last: RwLock::new(Arc::new((token, value))) }
    }

    /// The header for a position.
    #[inline]
    pub fn header(&self, token: &Token) -> HeaderValue {
        {
            let last = self.last.read();
            if last.0 == *token {
                return last.1.clone();
            }
        }
        self.sealed_anew(token)
    }

    #[cold]
    fn sealed_anew(&self, token: &Token) -> HeaderValue {
        let value = seal(token, &self.key);
        *self.last.write() = Arc::new((token.clone(), value.clone()));
        value
    }

    /// Reads what a request asks for.
    pub fn open(&self, value: &HeaderValue) -> Result<Token, Problem> {
        let opened = value.to_str().ok().and_then(|text| Token::open(text.trim(), &self.key).ok());
        opened.ok_or_else(|| {
            Problem::new(
                Code::MalformedPosition,
                "send back what this server, or one that shares its position key, gave out in \
                 Larder-Position; a server without a key forgets its tokens when it restarts",
            )
        })
    }
}

fn seal(token: &Token, key: &TokenKey) -> HeaderValue {
    HeaderValue::try_from(token.seal(key)).expect("a sealed token is hexadecimal")
}

#[cfg(test)]
mod tests {
    use larder::{Epoch, Position};

    use super::*;

    #[test]
    fn a_token_comes_back_only_to_those_who_share_the_key() {
        let own = Positions::new([1; 32]);
        let friend = Positions::new([1; 32]);
        let stranger = Positions::new([2; 32]);
        let mut token = Token::new();
        token.require("shop".into(), Epoch(7), Position(9));
        let header = own.header(&token);
        assert_eq!(own.header(&token), header);
        assert_eq!(friend.open(&header).unwrap(), token);
        assert_eq!(stranger.open(&header).unwrap_err().status(), 400);
        let mut later = token.clone();
        later.require("shop".into(), Epoch(7), Position(10));
        assert_ne!(own.header(&later), header);
    }
}
