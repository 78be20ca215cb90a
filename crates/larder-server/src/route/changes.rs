//! `POST /v1/changes`: somebody tells which rows changed, so that any program can be a feed.
//!
//! It stands apart from `invalidate.rs` because a row says for itself which scopes it was and is
//! in. **Invariant**: all changes of a request are one step; an error in any of them tells none.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use larder::TrackedChange;
use serde::Deserialize;
use serde_json::json;

use crate::{
    body::Reply,
    items::{ITEMS_MAX, Names},
    position,
    problem::{Code, Problem},
    rows::Written,
    server::Server,
};

use super::read;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    changes: Vec<Written>,
}

pub(super) async fn answer(server: &Server, body: Incoming) -> Result<Response<Reply>, Problem> {
    let Request { changes } = read::json(server, body).await?;
    let count = changes.len();
    if !(1..=ITEMS_MAX).contains(&count) {
        let detail = format!("{count} changes; send 1 to {ITEMS_MAX} in one request");
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    let origins = changes.iter().filter_map(|change| Some(change.origin()?.to_owned()));
    let names = Names::read(&server.catalog, origins.collect()).await?;
    let meaning = |(place, change): (usize, &Written)| {
        change.meaning(&names).map_err(|problem| problem.with("change", place))
    };
    let changes: Vec<TrackedChange> =
        changes.iter().enumerate().map(meaning).collect::<Result<_, _>>()?;
    let told = server.cache.changed(changes).await.map_err(|error| {
        tracing::error!(?error, "changes could not be told");
        Problem::new(Code::LoadFailed, "the changes could not be told; see the log")
    })?;
    server.told.changes.add(count as u64);
    let position = server.positions.header(&told.token);
    let shown = json!({
        "position": position.to_str().unwrap_or_default(),
        "changes": count,
        "entries": told.entries,
    });
    let mut response = super::json(StatusCode::OK, &shown);
    response.headers_mut().insert(position::POSITION, position);
    Ok(response)
}
