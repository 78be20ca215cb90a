//! `GET /v1/resources/{resource}?...`: the hot path.
//!
//! A hit is a parse of the query, one look-up and a handful of headers; the body is shared. The
//! slow part of a miss is bounded in time. **Invariant**: every answer says in `Cache-Status` how
//! it came about and in `Larder-Position` what it reflects at least.

use std::{pin::pin, task::Poll};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use larder::{Error, ErrorKind, Fetched, LoadError};

use crate::{
    body::{Body, Reply},
    cache_status,
    catalog::Resource,
    empties::Place,
    parameters::{self, Key},
    position,
    problem::{Code, Problem},
    server::Server,
};

use super::{condition, failure};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const POSITION: HeaderName = HeaderName::from_static(position::POSITION);

pub(super) async fn answer(
    server: &Server,
    number: u64,
    name: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let began = server.is_timed(number).then(|| server.clock.now());
    let resource = find(server, name)?;
    let query = head.uri.query().unwrap_or_default();
    let limit = server.config.server.parameter_bytes;
    let key = parameters::parse(&resource.params, query, limit)?;
    if let Some(at_least) = position::wanted(&head.headers)? {
        reach(server, at_least).await?;
    }
    // Taken before the look-up: the answer reflects at least this.
    let token = server.cache.token();
    let mut fetch = pin!(resource.region.fetch(&key));
    let first = std::future::poll_fn(|context| Poll::Ready(fetch.as_mut().poll(context))).await;
    let (fetched, began) = match first {
        Poll::Ready(fetched) => (fetched, began),
        Poll::Pending => {
            let began = began.unwrap_or_else(|| server.clock.now());
            // What abandoned loads left behind is bounded by those who begin new ones.
            remove_all(server, server.empties.surplus()).await;
            (bounded(server, fetch).await, Some(began))
        }
    };
    let fetched = fetched.map_err(|error| failure::of_load(server, resource, &error))?;
    if fetched.value.rows == 0 && !fetched.source.is_hit() {
        remove_all(server, server.empties.add(resource.place, &key)).await;
    }
    if let Some(began) = began {
        let seconds = match fetched.source.is_hit() {
            true => &resource.hit_seconds,
            false => &resource.miss_seconds,
        };
        seconds.observe(server.clock.now().since(began));
    }
    let position = server.positions.header(&token);
    Ok(respond(resource, &fetched, position, &head.headers))
}

pub(super) fn find<'a>(server: &'a Server, name: &str) -> Result<&'a Resource, Problem> {
    server.catalog.resource(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Problem::new(Code::UnknownResource, format!("`{shown}` is not served here; GET / lists"))
    })
}

/// Waits, not for long, until this node knows the position that was asked for.
#[cold]
pub(super) async fn reach(server: &Server, at_least: &HeaderValue) -> Result<(), Problem> {
    let token = server.positions.open(at_least)?;
    let within = server.config.server.at_least_wait;
    server.cache.reach(&token, within).await.map_err(|error| {
        match error.kind() {
            ErrorKind::Timeout => Problem::new(Code::PositionNotReached, error.to_string()),
            _ => Problem::new(Code::OriginUnavailable, "the origin does not answer"),
        }
        .retry_after(1)
    })
}

/// The rest of a fetch that did not end at once, for as long as a request may take.
async fn bounded(
    server: &Server,
    fetch: impl Future<Output = Result<Fetched<Body>, LoadError<Error>>>,
) -> Result<Fetched<Body>, LoadError<Error>> {
    let limit = server.config.server.request_timeout;
    tokio::time::timeout(limit, fetch).await.unwrap_or_else(|_| {
        Err(LoadError::Cache(
            Error::new(ErrorKind::Timeout, "answer the request")
                .detail(format!("it took longer than {limit:?}; the load goes on, try again")),
        ))
    })
}

#[cold]
async fn remove_all(server: &Server, surplus: Vec<(Place, Key)>) {
    for (place, surplus) in surplus {
        if let Some(resource) = server.catalog.resources.get(place) {
            // The resources of a server are kept in memory only, so that this cannot fail.
            resource.region.remove(&surplus).await.ok();
        }
    }
}

fn respond(
    resource: &Resource,
    fetched: &Fetched<Body>,
    position: HeaderValue,
    request: &HeaderMap,
) -> Response<Reply> {
    let Fetched { value: body, source, kept, age, ttl_left, past_ttl } = fetched;
    let not_modified = condition::has_current(request, &body.etag);
    let reply = if not_modified { Reply::default() } else { Reply::new(body.json.clone()) };
    let mut response = Response::new(reply);
    let headers = response.headers_mut();
    headers.reserve(8);
    if !not_modified {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    headers.insert(CACHE_STATUS, cache_status::header(*source, *kept, *ttl_left, *past_ttl));
    headers.insert(AGE, seconds(age.as_secs()));
    headers.insert(ETAG, body.etag.clone());
    headers.insert(CACHE_CONTROL, resource.cache_control.clone());
    headers.insert(POSITION, position);
    if not_modified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

fn seconds(number: u64) -> HeaderValue {
    if number == 0 { HeaderValue::from_static("0") } else { HeaderValue::from(number) }
}
