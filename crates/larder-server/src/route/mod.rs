//! The routes: which request goes where, and what must hold before it gets there.
//!
//! A dozen paths need no router; a table by hand keeps the path of a hit short and the order of the
//! checks in one place. **Invariant**: nothing but health is reached without the right name and,
//! where tokens are set, the right token.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use crate::{
    body::Reply,
    config::Scope,
    guard,
    problem::{Code, Problem},
    server::Server,
};

pub mod resource;

mod condition;

mod failure;

pub mod explain;

mod read;

mod turn;

pub mod invalidate;

pub mod rewarm;

pub mod changes;

pub mod dependents;

pub mod events;

pub mod tables;

pub mod entries;

mod store;

pub mod backups;

pub mod metrics;

pub mod health;

pub mod status;

pub mod page;

pub mod openapi;

type Answer = Result<Response<Reply>, Problem>;

/// Answers one request. It never fails: what goes wrong is an answer too.
pub async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Response<Reply> {
    let number = server.answers.begin();
    let (head, body) = request.into_parts();
    let response = match route(&server, number, &head, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    server.answers.end(response.status());
    response
}

async fn route(server: &Arc<Server>, number: u64, head: &Parts, body: Incoming) -> Answer {
    let path = head.uri.path();
    if path.starts_with("/health/") {
        return health::answer(server, head);
    }
    let authority = server.hosts.check(&head.uri, &head.headers)?;
    if let Some(rest) = path.strip_prefix("/v1/resources/") {
        only_get(head)?;
        server.auth.check(&head.headers, Scope::Read)?;
        return match rest.strip_suffix("/explain") {
            None => resource::answer(server, number, rest, head).await,
            Some(name) => explain::answer(server, name, head),
        };
    }
    if let Some(rest) = path.strip_prefix("/v1/tables")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return tables::answer(server, authority, rest, head, body).await;
    }
    if let Some(rest) = path.strip_prefix("/v1/entries")
        && (rest.is_empty() || rest == ":batch" || rest.starts_with('/'))
    {
        return entries::answer(server, authority, rest, head, body).await;
    }
    match path {
        "/openapi.json" => {
            server.auth.check(&head.headers, Scope::Read)?;
            only_get(head)?;
            Ok(openapi::answer(server))
        }
        "/v1/invalidate" | "/v1/changes" => {
            server.auth.check(&head.headers, Scope::Invalidate)?;
            only(&Method::POST, "POST", head)?;
            guard::check_change(authority, &head.headers)?;
            match path {
                "/v1/invalidate" => invalidate::answer(server, body).await,
                _ => changes::answer(server, body).await,
            }
        }
        "/v1/dependents" => {
            server.auth.check(&head.headers, Scope::Invalidate)?;
            only_get(head)?;
            dependents::answer(server, head).await
        }
        "/v1/events" => {
            server.auth.check(&head.headers, Scope::Invalidate)?;
            only(&Method::GET, "GET", head)?;
            guard::check_site(authority, &head.headers)?;
            events::answer(server, head)
        }
        "/metrics" | "/v1/status" | "/" | "/page.js" | "/page.css" => {
            server.auth.check(&head.headers, Scope::Admin)?;
            only_get(head)?;
            Ok(match path {
                "/metrics" => metrics::answer(server).await,
                "/v1/status" => status::answer(server).await,
                path => page::answer(server, path),
            })
        }
        _ => of_store(server, authority, head).await,
    }
}

/// What is about the store as a whole, or about nothing that is here.
async fn of_store(server: &Server, authority: &str, head: &Parts) -> Answer {
    let path = head.uri.path();
    if let Some(rest) = path.strip_prefix("/v1/backups")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return backups::answer(server, authority, rest, head).await;
    }
    match path {
        "/v1/stats" => {
            server.auth.check(&head.headers, Scope::Admin)?;
            only_get(head)?;
            store::stats(server).await
        }
        "/v1/tags" => {
            server.auth.check(&head.headers, Scope::Read)?;
            only_get(head)?;
            entries::tags(server, head).await
        }
        _ => {
            server.auth.check(&head.headers, Scope::Read)?;
            // `CONNECT host:port` and `OPTIONS *` name no path.
            if !path.starts_with('/') {
                only(&Method::GET, "GET, HEAD, POST", head)?;
            }
            Err(Problem::new(Code::NotFound, "GET / lists what there is"))
        }
    }
}

fn only_get(head: &Parts) -> Result<(), Problem> {
    match head.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => only(&Method::GET, "GET, HEAD", head),
    }
}

fn only(method: &Method, allowed: &'static str, head: &Parts) -> Result<(), Problem> {
    match &head.method {
        own if own == method => Ok(()),
        _ => {
            let detail = format!("use {allowed}");
            Err(Problem::new(Code::MethodNotAllowed, detail).header("allow", allowed))
        }
    }
}

/// A response whose body is never stored by others.
fn plain(media_type: &'static str, body: impl Into<Reply>) -> Response<Reply> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Reply> {
    let mut response = plain("application/json", body.to_string());
    *response.status_mut() = status;
    response
}
