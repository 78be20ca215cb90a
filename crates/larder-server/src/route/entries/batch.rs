//! `POST /v1/entries:batch`: one form, many entries.
//!
//! Apart from `batch`, which does it. **Invariant**: reading a batch needs the scope `read`,
//! changing `write`; and it is of the size of one value, as a request and as an answer.

use http::{Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use larder_sqlite::store::SqliteStore;

use crate::{batch::Batch, body::Reply, config::Scope, problem::Problem, server::Server};

use super::{super::read, turn};

pub(super) async fn answer(
    server: &Server,
    store: &SqliteStore,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let _turn = turn(server)?;
    let bytes_max = server.config.store.as_ref().map_or(0, |store| store.value_bytes);
    let written = read::json_within(server, body, bytes_max, "store.value_size").await?;
    let batch = Batch::read(written)?;
    let scope = if batch.is_read() { Scope::Read } else { Scope::Write };
    server.auth.check(&head.headers, scope)?;
    let entries = store.entries(batch.region());
    let shown = batch.run(entries, server.clock.wall(), bytes_max as u64).await?;
    Ok(super::super::json(StatusCode::OK, &shown))
}
