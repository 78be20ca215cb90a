//! `/v1/tables`: the tables of this server, listed, read and changed.
//!
//! `read` answers ranges, `listed` says how each table is, `change` moves windows and takes
//! invalidations, `failure` says what went wrong. **Invariant**: whoever may only read changes
//! nothing, and no answer shows what the origin itself said of a failure.

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
        let tables = server.catalog.tables.iter().map(|table| listed::shown(table));
        let tables: Vec<_> = tables.collect();
        return Ok(super::json(StatusCode::OK, &json!({ "tables": tables })));
    };
    match path.split_once('/') {
        None => {
            server.auth.check(&head.headers, Scope::Read)?;
            super::only_get(head)?;
            read::answer(server, find(server, path)?, head).await
        }
        Some((name, what @ ("adjust" | "invalidate" | "refresh"))) => {
            server.auth.check(&head.headers, Scope::Invalidate)?;
            super::only(&Method::POST, "POST", head)?;
            guard::check_change(authority, &head.headers)?;
            let table = find(server, name)?;
            match what {
                "adjust" => change::adjust(server, table, body).await,
                "invalidate" => change::invalidate(server, table, body).await,
                _ => change::refresh(server, table, body).await,
            }
        }
        Some(_) => {
            server.auth.check(&head.headers, Scope::Read)?;
            let detail = "a table has /adjust, /invalidate and /refresh, to POST to";
            Err(Problem::new(Code::NotFound, detail))
        }
    }
}

fn find<'a>(server: &'a Server, name: &str) -> Result<&'a Arc<Table>, Problem> {
    server.catalog.table(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let detail = format!("`{shown}` is not a table here; GET /v1/tables lists those there are");
        Problem::new(Code::NoTable, detail)
    })
}
