//! The prepared body: a result encoded once, when it was loaded, and shared by every answer.
//!
//! It is what the cache holds, so that a hit neither encodes nor copies. **Invariant**: equal rows
//! give equal bytes and therefore equal entity tags.

use std::{
    convert::Infallible,
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use http_body_util::Full;
use hyper::body::{Bytes, Frame, SizeHint};
use larder_core::{Value, weigh::allocation};

use crate::stream::Stream;

/// The body of every response.
#[derive(Debug)]
pub enum Reply {
    /// Bytes that are there at once: a hit pays for no box.
    Whole(Full<Bytes>),
    /// Parts that come as things happen.
    Stream(Stream),
}

impl Reply {
    /// These bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::new(text.into())
    }
}

impl From<&'static str> for Reply {
    fn from(text: &'static str) -> Self {
        Self::new(Bytes::from_static(text.as_bytes()))
    }
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Pin::new(bytes).poll_frame(context),
            Self::Stream(stream) => {
                stream.poll_part(context).map(|part| part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A result of a resource, ready to be sent.
#[derive(Debug)]
pub struct Body {
    /// A JSON array of objects.
    pub json: Bytes,
    /// A strong entity tag: the hash of the bytes.
    pub etag: HeaderValue,
    /// How many rows there are.
    pub rows: usize,
}

impl Body {
    /// Encodes rows: BLOB as base64, a REAL that JSON cannot say as null.
    pub fn encode<'a, N: AsRef<str>>(
        columns: &[N],
        rows: impl ExactSizeIterator<Item = &'a [Value]>,
    ) -> Self {
        let count = rows.len();
        let names: Vec<String> = columns.iter().map(|name| member(name.as_ref())).collect();
        let mut json = Vec::with_capacity(2 + count * 32 * names.len());
        json.push(b'[');
        for (index, row) in rows.enumerate() {
            if 0 < index {
                json.push(b',');
            }
            put_object(&mut json, &names, row);
        }
        json.push(b']');
        json.shrink_to_fit();
        let etag = entity_tag(&json);
        Self { json: json.into(), etag, rows: count }
    }

    /// Bytes this body owns on the heap.
    pub fn heap_bytes(&self) -> usize {
        allocation(self.json.len()) + allocation(self.etag.len())
    }
}

/// Appends a row as an object whose members begin as [`member`] says.
pub(crate) fn put_object(json: &mut Vec<u8>, members: &[String], row: &[Value]) {
    json.push(b'{');
    for (place, (name, value)) in members.iter().zip(row).enumerate() {
        if 0 < place {
            json.push(b',');
        }
        json.extend_from_slice(name.as_bytes());
        put(json, value);
    }
    json.push(b'}');
}

/// `"name":`, escaped once for all rows.
pub(crate) fn member(name: &str) -> String {
    format!("{}:", serde_json::Value::from(name))
}

fn put(json: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => json.extend_from_slice(b"null"),
        Value::Integer(number) => {
            write!(json, "{number}").expect("writing to memory cannot fail");
        }
        // serde_json writes what JSON cannot say as null.
        Value::Real(number) => serialize(json, number),
        Value::Text(text) => serialize(json, &**text),
        Value::Blob(bytes) => {
            json.push(b'"');
            json.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            json.push(b'"');
        }
    }
}

fn serialize<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("a scalar can be written to memory");
}

/// Half of the hash: 128 bits tell any two bodies apart.
fn entity_tag(json: &[u8]) -> HeaderValue {
    let hash = blake3::hash(json).to_hex();
    let half = hash.get(..32).unwrap_or_default();
    HeaderValue::try_from(format!("\"{half}\"")).expect("hexadecimal digits are visible")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(columns: &[&str], rows: &[Vec<Value>]) -> String {
        let body = Body::encode(columns, rows.iter().map(Vec::as_slice));
        assert_eq!(body.rows, rows.len());
        String::from_utf8(body.json.to_vec()).unwrap()
    }

    #[test]
    fn rows_become_an_array_of_objects() {
        let rows = [
            vec![1.into(), "a \"b\"\n".into(), Value::Null],
            vec![i64::MIN.into(), "\u{e9}".into(), 1.5.into()],
        ];
        let text = json(&["id", "name \"x\"", "price"], &rows);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[0]["name \"x\""], "a \"b\"\n");
        assert_eq!(parsed[0]["price"], serde_json::Value::Null);
        assert_eq!(parsed[1]["id"], i64::MIN);
        assert_eq!(parsed[1]["price"], 1.5);
        assert_eq!(json(&["id"], &[]), "[]");
    }

    #[test]
    fn what_json_cannot_say_is_null_or_base64() {
        let blob: &[u8] = &[0, 255, 16];
        let rows = [vec![f64::NAN.into(), f64::INFINITY.into(), blob.into(), 2.0.into()]];
        assert_eq!(
            json(&["a", "b", "c", "d"], &rows),
            r#"[{"a":null,"b":null,"c":"AP8Q","d":2.0}]"#
        );
    }

    #[test]
    fn the_entity_tag_is_that_of_the_bytes() {
        let none: [Vec<Value>; 0] = [];
        let tag = |name: &str| Body::encode(&[name], none.iter().map(Vec::as_slice)).etag;
        assert_eq!(tag("a"), tag("b"), "both are empty");
        let row = vec![Value::from(1)];
        let full = Body::encode(&["a"], [row].iter().map(Vec::as_slice)).etag;
        assert_ne!(full, tag("a"));
        assert!(full.to_str().unwrap().starts_with('"') && full.len() == 34);
    }
}
