//! Who may do what: bearer tokens, kept as hashes and compared in constant time.
//!
//! It decides from a header alone; `guard.rs` decides from the rest of the request. **Invariant**:
//! no secret is kept after start, and how long a refusal takes tells nothing about a secret.

use std::net::SocketAddr;

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    config::{Config, ConfigError, Scope, Token},
    problem::{Code, Problem},
};

/// The gate in front of every endpoint but health.
#[derive(Debug)]
pub enum Auth {
    /// Whoever reaches loopback may do everything.
    Open,
    /// Only the bearer of one of these.
    Tokens(Vec<Token>),
}

impl Auth {
    /// Open on loopback unless tokens are set; off loopback there must be tokens.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        match (config.tokens.as_slice(), config.server.listen.ip().is_loopback()) {
            ([], true) => Ok(Self::Open),
            ([], false) => Err(no_token(config.server.listen)),
            (tokens, _) => Ok(Self::Tokens(tokens.to_vec())),
        }
    }

    /// Lets the request through to what needs `scope`, or says why not.
    #[inline]
    pub fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        match self {
            Self::Open => Ok(()),
            Self::Tokens(tokens) => check_bearer(tokens, headers, scope),
        }
    }
}

fn no_token(listen: SocketAddr) -> ConfigError {
    let problem = format!(
        "{listen} can be reached by others, so a token is needed. Make one with `larder token` \
         and add a [token.NAME] section, or listen on 127.0.0.1"
    );
    ConfigError::new("server.listen", problem)
}

fn check_bearer(tokens: &[Token], headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
    let unauthorized = |detail: &'static str| {
        Err(Problem::new(Code::Unauthorized, detail)
            .header("www-authenticate", "Bearer realm=\"larder\""))
    };
    let Some(sent) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return unauthorized("send `Authorization: Bearer TOKEN`");
    };
    let secret = match sent.split_once(' ') {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
        _ => return unauthorized("the scheme must be Bearer"),
    };
    let Some(secret) = from_hex(secret) else {
        return unauthorized("a token has 64 hexadecimal digits");
    };
    let hash = blake3::hash(&secret);
    let mut known = Choice::from(0);
    let mut allowed = Choice::from(0);
    // Every token is compared, whether or not one fitted already.
    for token in tokens {
        let same = hash.as_bytes().ct_eq(token.hash.reveal());
        let covers = token.scopes.iter().any(|own| *own == scope || *own == Scope::Admin);
        known |= same;
        allowed |= same & Choice::from(u8::from(covers));
    }
    match (bool::from(known), bool::from(allowed)) {
        (false, _) => unauthorized("this token is not known here"),
        (true, false) => Err(Problem::new(
            Code::Forbidden,
            format!("this token lacks the scope `{}`", format!("{scope:?}").to_lowercase()),
        )),
        (true, true) => Ok(()),
    }
}

/// 32 bytes from 64 hexadecimal digits.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// 64 hexadecimal digits from 32 bytes.
pub fn to_hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use crate::secret::Secret;

    use super::*;

    fn token(secret: [u8; 32], scopes: &[Scope]) -> Token {
        let hash = Secret::new(*blake3::hash(&secret).as_bytes());
        Token { name: "t".into(), scopes: scopes.to_vec(), hash }
    }

    fn status(auth: &Auth, header: Option<&str>, scope: Scope) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(AUTHORIZATION, text.parse().unwrap());
        }
        auth.check(&headers, scope).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn hex_reads_back_as_written() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 7 % 256).unwrap());
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex(&"z".repeat(64)), None);
    }

    #[test]
    fn a_token_opens_what_its_scopes_name_and_admin_opens_all() {
        let [reader, admin, other] = [[1; 32], [2; 32], [3; 32]];
        let tokens = vec![token(reader, &[Scope::Read]), token(admin, &[Scope::Admin])];
        let auth = Auth::Tokens(tokens);
        let bearer = |secret| format!("Bearer {}", to_hex(secret));
        assert_eq!(status(&auth, Some(&bearer(&reader)), Scope::Read), 200);
        assert_eq!(status(&auth, Some(&bearer(&reader)), Scope::Invalidate), 403);
        assert_eq!(status(&auth, Some(&bearer(&admin)), Scope::Invalidate), 200);
        assert_eq!(status(&auth, Some(&bearer(&other)), Scope::Read), 401);
        assert_eq!(status(&auth, Some("Basic abc"), Scope::Read), 401);
        assert_eq!(status(&auth, None, Scope::Read), 401);
    }
}
