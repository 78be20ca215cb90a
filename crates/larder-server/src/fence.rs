//! Fences on the wire: what `POST /v1/entries/{key}:begin` gives and the `PUT` carries.
//!
//! Apart from `position`, which says what a read must have reached. **Invariant**: a fence that
//! this server, or one that shares its position key, did not give out for this very entry is
//! refused before it is looked at, in constant time.

use http::{HeaderMap, HeaderValue};
use larder_sqlite::store::Fence;
use subtle::ConstantTimeEq as _;

use crate::problem::{Code, Problem};

/// What a `PUT` carries.
pub const BEGUN: &str = "larder-begun";

/// For what the key is derived, so that no other token of this server reads as a fence.
const CONTEXT: &str = "larder server, fence of a computed entry, 1";

const VERSION: u8 = 1;

const MAC_BYTES: usize = 16;

const SEALED_BYTES: usize = 1 + Fence::BYTES + MAC_BYTES;

/// Signs and checks fences.
pub struct Fences([u8; 32]);

impl Fences {
    /// With a key that is derived from `secret`.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(blake3::derive_key(CONTEXT, secret))
    }

    /// The fence as text: hexadecimal, signed for this entry.
    pub fn seal(&self, fence: Fence, region: &str, key: &str) -> String {
        let body = fence.to_bytes();
        let mac = self.mac(&body, region, key);
        let bytes = [VERSION].into_iter().chain(body).chain(mac);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The fence that a request carries, if it carries one.
    pub fn sent(
        &self,
        headers: &HeaderMap,
        region: &str,
        key: &str,
    ) -> Result<Option<Fence>, Problem> {
        let mut sent = headers.get_all(BEGUN).iter();
        match (sent.next(), sent.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => self.open(value, region, key).map(Some),
            _ => Err(Problem::new(Code::MalformedFence, "send Larder-Begun once")),
        }
    }

    fn open(&self, value: &HeaderValue, region: &str, key: &str) -> Result<Fence, Problem> {
        let opened = value.to_str().ok().and_then(|text| self.read(text.trim(), region, key));
        opened.ok_or_else(|| {
            Problem::new(
                Code::MalformedFence,
                "send what `:begin` gave out for this key and region, by this server or one that \
                 shares its position key; a server without a key forgets when it restarts: begin \
                 again",
            )
        })
    }

    /// The fence in a text that [`Fences::seal`] gave for this entry.
    pub fn read(&self, text: &str, region: &str, key: &str) -> Option<Fence> {
        let digits = text.as_bytes();
        let mut bytes = [0; SEALED_BYTES];
        if digits.len() != 2 * SEALED_BYTES {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let [high, low] = *pair;
            *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
        }
        let (version, rest) = bytes.split_first()?;
        let (body, mac) = rest.split_first_chunk::<{ Fence::BYTES }>()?;
        let is_own = bool::from(self.mac(body, region, key).as_slice().ct_eq(mac));
        (is_own && *version == VERSION).then(|| Fence::from_bytes(*body))
    }

    fn mac(&self, body: &[u8; Fence::BYTES], region: &str, key: &str) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(body);
        hasher.update(&(region.len() as u64).to_le_bytes());
        hasher.update(region.as_bytes()).update(key.as_bytes());
        let mut mac = [0; MAC_BYTES];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

impl std::fmt::Debug for Fences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fences(set)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_opens_for_its_entry_and_with_its_key_only() {
        let fence = Fence::from_bytes(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        let (own, friend) = (Fences::new(&[1; 32]), Fences::new(&[1; 32]));
        let text = own.seal(fence, "r", "k");
        assert_eq!(friend.read(&text, "r", "k"), Some(fence));
        assert_eq!(Fences::new(&[2; 32]).read(&text, "r", "k"), None);
        for (region, key) in [("r", "kk"), ("rk", ""), ("", "rk"), ("k", "r")] {
            assert_eq!(own.read(&text, region, key), None, "{region} {key}");
        }
        for at in 0..text.len() {
            let mut other = text.clone();
            let digit = if other.get(at..=at) == Some("0") { "1" } else { "0" };
            other.replace_range(at..=at, digit);
            assert_eq!(own.read(&other, "r", "k"), None, "{at}");
        }
        assert_eq!(own.read("", "r", "k"), None);
    }
}
