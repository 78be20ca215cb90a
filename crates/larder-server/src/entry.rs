//! An entry of a store as JSON: what `export` writes, `import` reads, and every listing shows.
//!
//! One form for all of them, so that what is shown can be read back. **Invariant**: bytes are given
//! back exactly: text as `text`, whatever it means, and what is no text as `base64`.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use larder_core::clock::WallMillis;
use larder_sqlite::store::{Entry, Lifetime, Meta, NewEntry, Placed, Stored, TagStats, ValueKind};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

/// An entry with its value.
pub fn whole(region: &str, entry: &Entry) -> Value {
    let mut line = known(region, &entry.key, &entry.meta);
    let (name, value) = written(&entry.value.bytes);
    if let Value::Object(members) = &mut line {
        members.insert(name.to_owned(), value.into());
    }
    line
}

/// The bytes of a value, as a member and its name.
pub fn written(bytes: &[u8]) -> (&'static str, String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(bytes)),
    }
}

/// The value in what [`whole`] shows.
pub fn bytes(shown: &Value) -> Option<Vec<u8>> {
    let of = |name: &str| shown.get(name).and_then(Value::as_str);
    match (of("text"), of("base64")) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD.decode(text).ok(),
        (None, None) => None,
    }
}

/// What became of an entry that was written, in a word.
pub fn placed(placed: Placed) -> &'static str {
    match placed {
        Placed::Inserted => "inserted",
        Placed::Replaced => "replaced",
        Placed::Present => "present",
    }
}

/// What is known of an entry besides its value. Times are in milliseconds since 1970.
pub fn known(region: &str, key: &str, meta: &Meta) -> Value {
    json!({
        "region": region,
        "key": key,
        "kind": meta.kind.as_str(),
        "tags": meta.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
        "size_bytes": meta.size_bytes,
        "created_ms": meta.created.0,
        "expires_ms": meta.expires.map(|expires| expires.0),
        "accessed_ms": meta.accessed.0,
        "access_count": meta.access_count,
        "pinned": meta.is_pinned,
    })
}

/// A tag with what is known of its entries.
pub fn tag(tag: &TagStats) -> Value {
    json!({ "tag": tag.name, "entries": tag.entries, "bytes": tag.bytes, "reads": tag.reads })
}

/// The kind of that name.
pub fn kind_of(word: &str) -> Option<ValueKind> {
    [ValueKind::Json, ValueKind::Text, ValueKind::Bytes]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}

/// A value of the kind that was named, or that it looks like.
///
/// # Errors
/// What is wrong with it, in words: it is not of the kind that was named.
pub fn value(bytes: Vec<u8>, kind: Option<ValueKind>) -> Result<Stored, String> {
    let is_json = || serde_json::from_slice::<&RawValue>(&bytes).map(drop);
    let kind = match kind {
        Some(kind) => kind,
        None if is_json().is_ok() => ValueKind::Json,
        None if std::str::from_utf8(&bytes).is_ok() => ValueKind::Text,
        None => ValueKind::Bytes,
    };
    match kind {
        ValueKind::Json => is_json().map_err(|error| format!("the value is no JSON: {error}"))?,
        ValueKind::Text => {
            std::str::from_utf8(&bytes)
                .map_err(|error| format!("the value is no text: {error}"))?;
        }
        ValueKind::Bytes => {}
    }
    Ok(Stored { kind, bytes })
}

/// What is believed of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Somebody wrote it.
    Hand,
    /// It says what only `export` knows: whatever a program kept under that kind comes back.
    Export,
}

/// A line that `import` reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Where it belongs.
    pub region: Option<String>,
    /// Its key.
    pub key: String,
    kind: Option<String>,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    tags: Vec<String>,
    ttl_ms: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    expires_ms: Option<Option<u64>>,
    #[serde(default)]
    pinned: bool,
    size_bytes: Option<IgnoredAny>,
    #[serde(rename = "created_ms")]
    _created_ms: Option<IgnoredAny>,
    #[serde(rename = "accessed_ms")]
    _accessed_ms: Option<IgnoredAny>,
    #[serde(rename = "access_count")]
    _access_count: Option<IgnoredAny>,
}

/// What is there, also where it is null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(source).map(Some)
}

impl Line {
    /// The entry to be written at `now`; `None` where its time is over. `otherwise` is for a line
    /// that does not say how long it lives.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn entry(
        self,
        now: WallMillis,
        otherwise: Option<Lifetime>,
    ) -> Result<Option<NewEntry>, String> {
        let lifetime = match (self.ttl_ms, self.expires_ms, otherwise) {
            (Some(_), Some(_), _) => return Err("has both ttl_ms and expires_ms".to_owned()),
            (Some(0), ..) => return Err("has a ttl_ms of 0".to_owned()),
            (Some(millis), ..) => Lifetime::For(Duration::from_millis(millis)),
            (None, Some(None), _) => Lifetime::Forever,
            (None, Some(Some(millis)), _) if millis <= now.0 => return Ok(None),
            (None, Some(Some(millis)), _) => Lifetime::Until(WallMillis(millis)),
            (None, None, Some(lifetime)) => lifetime,
            (None, None, None) => {
                return Err("does not say how long it lives: add ttl_ms, or expires_ms with null \
                            for ever, or give --ttl or --forever for such lines"
                    .to_owned());
            }
        };
        let kind = match self.kind.as_deref() {
            None => None,
            Some(word) => Some(
                kind_of(word)
                    .ok_or_else(|| format!("has the kind `{word}`: write json, text or bytes"))?,
            ),
        };
        let origin = if self.size_bytes.is_some() { Origin::Export } else { Origin::Hand };
        let value = |bytes, kind| match (origin, kind) {
            (Origin::Export, Some(kind)) => Ok(Stored { kind, bytes }),
            _ => value(bytes, kind),
        };
        let stored = match (self.text, self.base64, self.value) {
            (Some(text), None, None) => value(text.into_bytes(), kind.or(Some(ValueKind::Text)))?,
            (None, Some(text), None) => {
                let bytes = STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
                value(bytes, kind.or(Some(ValueKind::Bytes)))?
            }
            (None, None, Some(raw)) => {
                value(raw.get().as_bytes().to_vec(), kind.or(Some(ValueKind::Json)))?
            }
            _ => return Err("needs exactly one of text, base64 and value".to_owned()),
        };
        let entry = NewEntry::new(stored, lifetime).tags(self.tags);
        Ok(Some(if self.pinned { entry.pinned() } else { entry }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMillis = WallMillis(1_000);

    fn read(line: &str) -> Result<Option<NewEntry>, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        line.entry(NOW, None)
    }

    #[test]
    fn a_line_says_value_and_lifetime_in_one_way() {
        // X4: to live for ever must be said; SD12: null is a value.
        for line in [
            r#"{"key":"a","text":"1","expires_ms":null}"#,
            r#"{"key":"a","base64":"/w==","ttl_ms":1}"#,
            r#"{"key":"a","value":null,"ttl_ms":1}"#,
            r#"{"key":"a","value":123456789012345678901234567890,"ttl_ms":1}"#,
        ] {
            assert!(matches!(read(line), Ok(Some(_))), "{line}: {:?}", read(line));
        }
        assert!(read(r#"{"key":"a","text":"","expires_ms":1000}"#).unwrap().is_none());
        for (line, complaint) in [
            (r#"{"key":"a","text":"1"}"#, "how long it lives"),
            (r#"{"key":"a","ttl_ms":1}"#, "exactly one of"),
            (r#"{"key":"a","text":"1","value":1,"ttl_ms":1}"#, "exactly one of"),
            (r#"{"key":"a","text":"1","ttl_ms":1,"expires_ms":null}"#, "both"),
            (r#"{"key":"a","text":"1","ttl_ms":0}"#, "of 0"),
            (r#"{"key":"a","text":"{","kind":"json","ttl_ms":1}"#, "no JSON"),
            (r#"{"key":"a","text":"1","kind":"xml","ttl_ms":1}"#, "`xml`"),
            (r#"{"key":"a","txt":"1","ttl_ms":1}"#, "txt"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }

    #[test]
    fn what_was_exported_is_of_the_kind_that_it_says() {
        // A program may keep under a kind whatever it wants.
        for (value, kind) in [
            (r#""text":"{","kind":"json""#, ValueKind::Json),
            (r#""base64":"/w==","kind":"text""#, ValueKind::Text),
        ] {
            let line = format!(r#"{{"key":"a",{value},"size_bytes":1,"expires_ms":null}}"#);
            assert!(read(&line).is_ok_and(|new| new.is_some()), "{kind:?}: {:?}", read(&line));
            let by_hand = format!(r#"{{"key":"a",{value},"expires_ms":null}}"#);
            assert!(read(&by_hand).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn the_kind_is_what_the_bytes_read_as() {
        let of = |bytes: &[u8]| value(bytes.to_vec(), None).unwrap().kind;
        assert_eq!(of(b"{\"a\": [1]}"), ValueKind::Json);
        assert_eq!(of(b"false"), ValueKind::Json);
        assert_eq!(of(b"hello"), ValueKind::Text);
        assert_eq!(of(b""), ValueKind::Text);
        assert_eq!(of(&[0xff]), ValueKind::Bytes);
    }
}
