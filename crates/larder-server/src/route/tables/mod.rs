//! `/v1/tables`: the tables of this server, listed, read and changed.
//!
//! `read` answers ranges, `listed` says how each table is, `change` moves windows and takes
//! invalidations, `stream` sends a table to its replicas, `failure` says what went wrong.
//! **Invariant**: whoever may only read changes nothing, and no answer shows what the origin itself
//! said of a failure.

use std::sync::Arc;

use http::{Method, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    body::Reply,
    config::Scope,
    guard,
    problem::{Code, Problem},
    server::Server,
    table::Table,
};

mod read;

mod answer;

mod change;

mod stream;

mod failure;

pub(super) mod listed;

pub(super) async fn answer(
    server: &Arc<Server>,
    authority: &str,
    rest: &str,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let Some(path) = rest.strip_prefix('/') else {
        server.auth.check(&head.headers, Scope::Read)?;
        super::only_get(head)?;
        let tables = listed::all(server);
        return Ok(super::json(StatusCode::OK, &json!({ "tables": tables })));
    };
    match path.split_once('/') {
        None => {
            server.auth.check(&head.headers, Scope::Read)?;
            super::only_get(head)?;
            read::answer(server, &find(server, path).await?, head).await
        }
        Some((name, what @ ("stream" | "version"))) => {
            server.auth.check(&head.headers, Scope::Read)?;
            super::only(&Method::GET, "GET", head)?;
            let table = find(server, name).await?;
            match what {
                "stream" => stream::answer(server, &table),
                _ => stream::version(server, &table).await,
            }
        }
        Some((name, what @ ("adjust" | "invalidate" | "refresh"))) => {
            server.auth.check(&head.headers, Scope::Invalidate)?;
            super::only(&Method::POST, "POST", head)?;
            guard::check_change(authority, &head.headers)?;
            let table = find(server, name).await?;
            if let Some(owner) = &table.replica_of {
                let detail = format!("it is a replica; send this to its owner, {owner}");
                return Err(Problem::new(Code::TableIsReplica, detail));
            }
            match what {
                "adjust" => change::adjust(server, &table, body).await,
                "invalidate" => change::invalidate(server, &table, body).await,
                _ => change::refresh(server, &table, body).await,
            }
        }
        Some(_) => {
            server.auth.check(&head.headers, Scope::Read)?;
            let detail = "a table has /adjust, /invalidate and /refresh, to POST to, and /stream \
                          and /version, for replicas";
            Err(Problem::new(Code::NotFound, detail))
        }
    }
}

/// The table of that name; waits for the owner of one that is not known yet as long as a read may.
async fn find(server: &Server, name: &str) -> Result<Arc<Table>, Problem> {
    if let Some(table) = server.catalog.table(name) {
        return Ok(table);
    }
    if let Some(follower) = server.catalog.follower(name) {
        return follower.known().await.ok_or_else(|| {
            let detail = format!(
                "its owner, {}, was not reached yet; that is tried again; see the log",
                follower.owner
            );
            Problem::new(Code::TableNotLoaded, detail).with("table", name).retry_after(1)
        });
    }
    Err({
        let shown: String = name.chars().take(64).collect();
        let detail = format!("`{shown}` is not a table here; GET /v1/tables lists those there are");
        Problem::new(Code::NoTable, detail)
    })
}
