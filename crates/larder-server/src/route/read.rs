//! The body of a request that changes or asks something: read to its limits, and as JSON.
//!
//! **Invariant**: a body that is too long, too slow or cut off changes nothing, and what is left of
//! it is never taken for the next request.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;

use crate::{
    problem::{Code, Problem},
    server::Server,
};

/// The whole body as JSON of a known form.
pub(super) async fn json<T: DeserializeOwned>(
    server: &Server,
    body: Incoming,
) -> Result<T, Problem> {
    parse(&whole(server, body).await?)
}

/// The same of at most `limit` bytes, which the setting of that name says.
pub(super) async fn json_within<T: DeserializeOwned>(
    server: &Server,
    body: Incoming,
    limit: usize,
    setting: &str,
) -> Result<T, Problem> {
    parse(&whole_within(server, body, limit, setting).await?)
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    // A list would be taken for the members in the order in which they are declared.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        let detail = "send one JSON object, {\"name\": ...}; nothing was done";
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MalformedRequest, error.to_string()))
}

async fn whole(server: &Server, body: Incoming) -> Result<Bytes, Problem> {
    let limit = server.config.server.body_bytes;
    whole_within(server, body, limit, "server.body_size").await
}

/// The whole body, of at most `limit` bytes, which the setting of that name says.
pub(super) async fn whole_within(
    server: &Server,
    body: Incoming,
    limit: usize,
    setting: &str,
) -> Result<Bytes, Problem> {
    let read = Limited::new(body, limit).collect();
    let within = server.config.server.request_timeout;
    let problem = match tokio::time::timeout(within, read).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!(
                "the limit is {limit} bytes ({setting}); nothing was done, send several requests"
            );
            Problem::new(Code::BodyTooLarge, detail).with("limit_bytes", limit)
        }
        Ok(Err(_)) => {
            Problem::new(Code::MalformedRequest, "the body ended early, or its chunks are wrong")
        }
        Err(_) => {
            let detail = format!("the body was not there within {within:?}; nothing was done");
            Problem::new(Code::RequestTimeout, detail)
        }
    };
    Err(problem.header("connection", "close"))
}
