//! `/v1/entries/{key}`: one entry.
//!
//! **Invariant**: the body of a GET is the value, byte for byte, and its entity tag changes with it
//! and with nothing else.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use hyper::body::{Bytes, Incoming};
use larder_sqlite::store::{Finished, NewEntry, Placed, SqliteStore, Stored, ValueKind};
use serde_json::json;

use crate::{
    body::Reply,
    entry,
    problem::{Code, Problem},
    server::Server,
};

use super::{
    super::{condition, read},
    asked::{self, Asked},
    failed, turn,
};

pub(super) async fn get(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region", "as"])?;
    let region = asked.region();
    let entries = store.entries(&*region);
    match asked.get("as") {
        None | Some("value") => {}
        Some("entry") => {
            let found = entries.entry(key).await.map_err(|error| failed(&error))?;
            let found = found.ok_or_else(absent)?;
            return Ok(super::super::json(StatusCode::OK, &entry::whole(&region, &found)));
        }
        Some(_) => return Err(asked::ill("as", "`as` must be value or entry".to_owned())),
    }
    let stored = entries.get(key).await.map_err(|error| failed(&error))?.ok_or_else(absent)?;
    let etag = entity_tag(&stored);
    let is_current = condition::has_current(&head.headers, &etag);
    let media_type = media_type(stored.kind);
    let reply = if is_current { Reply::default() } else { Reply::new(stored.bytes.into()) };
    let mut response = Response::new(reply);
    let headers = response.headers_mut();
    if !is_current {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    headers.insert(ETAG, etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_current {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    Ok(response)
}

pub(super) async fn put(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region", "ttl", "tag", "pinned"])?;
    let lifetime = asked.lifetime()?;
    let is_add = only_if_absent(&head.headers)?;
    let region = asked.region();
    let fence = server.fences.sent(&head.headers, &region, key)?;
    let _turn = turn(server)?;
    let limit = server.config.store.as_ref().map_or(0, |store| store.value_bytes);
    let bytes = read::whole_within(server, body, limit, "store.value_size").await?;
    let stored = value(&head.headers, &bytes)?;
    let etag = entity_tag(&stored);
    let mut new = NewEntry::new(stored, lifetime).tags(asked.all("tag"));
    if asked.is_on("pinned")? {
        new = new.pinned();
    }
    let entries = store.entries(region);
    let placed = match (fence, is_add) {
        (None, true) => entries.add(key, new).await.map(Finished::Placed),
        (None, false) => entries.insert(key, new).await.map(Finished::Placed),
        (Some(fence), true) => entries.begun(key, fence).finish_if_absent(new).await,
        (Some(fence), false) => entries.begun(key, fence).finish(new).await,
    };
    let placed = match placed.map_err(|error| failed(&error))? {
        Finished::Placed(placed) => placed,
        finished => return Err(overtaken(finished)),
    };
    let status = match placed {
        Placed::Inserted => StatusCode::CREATED,
        Placed::Replaced => StatusCode::OK,
        Placed::Present => {
            let detail = "there is an entry under this key; it was left alone";
            return Err(Problem::new(Code::PreconditionFailed, detail));
        }
    };
    let mut response = super::super::json(status, &json!({ "placed": entry::placed(placed) }));
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// What was computed may be older than what was removed.
fn overtaken(finished: Finished) -> Problem {
    let why = match finished {
        Finished::Removed => "the key, or a selection that names it and these tags, was removed",
        _ => {
            "it is not known any more what was removed (too much, by another process, or before \
              a restore)"
        }
    };
    let detail = format!(
        "{why} since `:begin`; nothing was stored: POST `:begin` again, compute the value again, \
         and PUT that"
    );
    Problem::new(Code::Overtaken, detail)
}

/// `:begin`: the fence of a value that is computed from now on.
pub(super) async fn begin(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region"])?;
    let region = asked.region();
    let begun = store.entries(&*region).begin(key).await.map_err(|error| failed(&error))?;
    let sealed = server.fences.seal(begun.fence(), &region, key);
    Ok(super::super::json(StatusCode::OK, &json!({ "begun": sealed })))
}

pub(super) async fn delete(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region"])?;
    let removed =
        store.entries(asked.region()).remove(key).await.map_err(|error| failed(&error))?;
    Ok(super::super::json(StatusCode::OK, &json!({ "removed": u64::from(removed) })))
}

pub(super) async fn incr(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region", "by", "ttl"])?;
    let by = asked.number("by", 1, (i64::MIN, i64::MAX))?;
    let (entries, lifetime) = (store.entries(asked.region()), asked.lifetime()?);
    let sum = entries.incr(key, by, lifetime).await.map_err(|error| failed(&error))?;
    Ok(super::super::json(StatusCode::OK, &json!({ "value": sum })))
}

pub(super) async fn touch(
    server: &Server,
    store: &SqliteStore,
    key: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let asked = asked(server, head, &["region", "ttl"])?;
    let (entries, lifetime) = (store.entries(asked.region()), asked.lifetime()?);
    match entries.touch(key, lifetime).await.map_err(|error| failed(&error))? {
        true => Ok(super::super::json(StatusCode::OK, &json!({ "touched": 1 }))),
        false => Err(absent()),
    }
}

fn asked(server: &Server, head: &Parts, known: &[&str]) -> Result<Asked, Problem> {
    let limit = server.config.server.parameter_bytes;
    Asked::read(head.uri.query().unwrap_or_default(), known, limit)
}

fn absent() -> Problem {
    Problem::new(Code::NoEntry, "PUT makes one; GET /v1/entries lists what there is")
}

/// Whether a PUT is to leave alone what is there. Other conditions are refused: to pass over one
/// would overwrite what its sender wanted to keep.
fn only_if_absent(headers: &HeaderMap) -> Result<bool, Problem> {
    let malformed = |detail| Err(Problem::new(Code::MalformedRequest, detail));
    if headers.contains_key(IF_MATCH) {
        return malformed("`If-Match` cannot be honoured here; `If-None-Match: *` can");
    }
    match headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"*") => Ok(true),
        Some(_) => malformed("of `If-None-Match` only `*` can be honoured here"),
    }
}

/// The value of a body: what its media type says it is, and that it is that.
fn value(headers: &HeaderMap, bytes: &Bytes) -> Result<Stored, Problem> {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = match &*media_type {
        "application/json" => ValueKind::Json,
        text if text.starts_with("text/") => ValueKind::Text,
        _ => ValueKind::Bytes,
    };
    entry::value(bytes.to_vec(), Some(kind))
        .map_err(|problem| Problem::new(Code::MalformedRequest, problem))
}

fn media_type(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Json => "application/json",
        ValueKind::Text => "text/plain; charset=utf-8",
        ValueKind::Bytes => "application/octet-stream",
    }
}

/// Half of a hash: 128 bits tell any two values apart.
fn entity_tag(stored: &Stored) -> HeaderValue {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stored.kind.as_str().as_bytes()).update(b"\0").update(&stored.bytes);
    let hash = hasher.finalize().to_hex();
    let half = hash.get(..32).unwrap_or_default();
    HeaderValue::try_from(format!("\"{half}\"")).expect("hexadecimal digits are visible")
}
