//! `/v1/entries`: the entries of the store, for those who compute values outside larder.
//!
//! `asked` reads the query; `one` is about one entry, `many` about a selection, `batch` about many
//! by their keys. **Invariant**:
//! reading needs the scope `read`, changing needs `write` and comes from no page of another site; a
//! miss, an empty value and a store that cannot be asked are three different answers (SD18).

use http::{Method, Response, request::Parts};
use hyper::body::Incoming;
use larder::{Error, ErrorKind};
use larder_sqlite::store::SqliteStore;
use tokio::sync::SemaphorePermit;

use crate::{
    body::Reply,
    config::Scope,
    guard, parameters,
    problem::{Code, Problem},
    server::Server,
};

pub(super) mod asked;

mod batch;

mod many;

mod one;

/// What is done to one entry besides its methods: the end of the path.
const ACTIONS: [&str; 3] = [":begin", ":incr", ":touch"];

pub(super) async fn answer(
    server: &Server,
    authority: &str,
    rest: &str,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    if rest == ":batch" {
        // Which of the two is decided once it can be seen what is asked for.
        server.auth.check(&head.headers, Scope::Read).or_else(|problem| {
            server.auth.check(&head.headers, Scope::Write).map_err(|_| problem)
        })?;
        super::only(&Method::POST, "POST", head)?;
        guard::check_change(authority, &head.headers)?;
        return batch::answer(server, store(server)?, head, body).await;
    }
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    server.auth.check(&head.headers, if is_read { Scope::Read } else { Scope::Write })?;
    if !is_read {
        guard::check_site(authority, &head.headers)?;
    }
    let store = store(server)?;
    let Some(rest) = rest.strip_prefix('/') else {
        return match head.method {
            Method::GET | Method::HEAD => many::list(server, store, head).await,
            Method::DELETE => many::delete(server, store, head).await,
            _ => Err(not_allowed("GET, HEAD, DELETE")),
        };
    };
    let action = ACTIONS.into_iter().find_map(|action| Some((rest.strip_suffix(action)?, action)));
    if let (&Method::POST, Some((key, action))) = (&head.method, action) {
        let key = parameters::path(key)?;
        let _turn = turn(server)?;
        return match action {
            ":begin" => one::begin(server, store, &key, head).await,
            ":incr" => one::incr(server, store, &key, head).await,
            _ => one::touch(server, store, &key, head).await,
        };
    }
    let key = parameters::path(rest)?;
    match head.method {
        Method::GET | Method::HEAD => one::get(server, store, &key, head).await,
        Method::PUT => one::put(server, store, &key, head, body).await,
        Method::DELETE => one::delete(server, store, &key, head).await,
        _ => Err(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

pub(super) fn store(server: &Server) -> Result<&SqliteStore, Problem> {
    let none = "this server has no store: add [store] with a `path` to its configuration";
    server.store.as_ref().ok_or_else(|| Problem::new(Code::NoStore, none))
}

/// The turn of a request that writes: each may hold a value in memory.
fn turn(server: &Server) -> Result<SemaphorePermit<'_>, Problem> {
    server.writes.try_acquire().map_err(|_| {
        Problem::new(Code::Overloaded, "as many requests write as may (store.writes)")
            .retry_after(1)
    })
}

pub(super) fn not_allowed(allowed: &'static str) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("use {allowed}")).header("allow", allowed)
}

/// `GET /v1/tags?...`: a page of tags.
pub(super) async fn tags(server: &Server, head: &Parts) -> Result<Response<Reply>, Problem> {
    many::tags(server, store(server)?, head).await
}

/// What the store said, as an answer. Paths and the words of the database are for the log.
pub(crate) fn failed(error: &Error) -> Problem {
    match error.kind() {
        ErrorKind::Limit => Problem::new(Code::EntryTooLarge, error.to_string()),
        ErrorKind::Config => Problem::new(Code::MalformedRequest, error.to_string()),
        ErrorKind::Conflict => Problem::new(Code::NotANumber, error.to_string()),
        ErrorKind::Full => Problem::new(Code::StoreFull, "there is no room, and nothing may go"),
        ErrorKind::Overloaded => {
            Problem::new(Code::Overloaded, "too many writes wait").retry_after(1)
        }
        kind => {
            tracing::error!(%error, "the store could not do what was asked");
            match kind {
                ErrorKind::Corrupt => Problem::new(
                    Code::StoreCorrupt,
                    "what is there is not what was written; see `larder cache check`",
                ),
                _ => Problem::new(Code::StoreUnavailable, "the store cannot be asked now")
                    .retry_after(1),
            }
        }
    }
}
