//! `/v1/entries?...`: entries by pattern and by tags, listed in pages or deleted.
//!
//! **Invariant**: a DELETE that selects nothing is refused, and a dry run counts what it would
//! remove (X8).

use http::{Response, StatusCode, request::Parts};
use larder_sqlite::store::{Select, SqliteStore};
use serde_json::{Value as Json, json};

use crate::{
    body::Reply,
    entry, parameters,
    problem::{Code, Problem},
    server::Server,
};

use super::{
    super::turn::survey,
    asked::{Asked, SELECTION},
    failed, turn,
};

/// Entries on a page when nobody says, and at most.
const SIZE: (usize, usize) = (100, 1000);

pub(super) async fn list(
    server: &Server,
    store: &SqliteStore,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let known = [&SELECTION[..], &["region", "cursor", "limit"]].concat();
    let query = head.uri.query().unwrap_or_default();
    let asked = Asked::read(query, &known, server.config.server.parameter_bytes)?;
    let limit = asked.number("limit", SIZE.0, (1, SIZE.1))?;
    let select = asked.select()?.unwrap_or_else(Select::everything);
    let region = asked.region();
    let page = store.entries(&*region).page(&select, asked.get("cursor"), limit + 1).await;
    let mut page = page.map_err(|error| failed(&error))?;
    let is_more = limit < page.len();
    page.truncate(limit);
    let next = page.last().map(|(key, _)| key.clone()).filter(|_| is_more);
    let entries: Vec<Json> =
        page.iter().map(|(key, meta)| entry::known(&region, key, meta)).collect();
    Ok(super::super::json(StatusCode::OK, &json!({ "entries": entries, "next": next })))
}

pub(super) async fn tags(
    server: &Server,
    store: &SqliteStore,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let query = head.uri.query().unwrap_or_default();
    let known = ["region", "cursor", "limit"];
    let asked = Asked::read(query, &known, server.config.server.parameter_bytes)?;
    let limit = asked.number("limit", SIZE.0, (1, SIZE.1))?;
    let region = asked.region();
    let entries = store.entries(&*region);
    let after = asked.get("cursor").map(str::to_owned);
    let work = async move { entries.tag_stats(after.as_deref(), limit + 1).await };
    let mut page = survey(server, work).await?;
    let is_more = limit < page.len();
    page.truncate(limit);
    let next = page.last().map(|tag| tag.name.clone()).filter(|_| is_more);
    let tags: Vec<Json> = page.iter().map(entry::tag).collect();
    let shown = json!({ "region": region, "tags": tags, "next": next });
    Ok(super::super::json(StatusCode::OK, &shown))
}

pub(super) async fn delete(
    server: &Server,
    store: &SqliteStore,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let known = [&SELECTION[..], &["region", "dry_run", "all"]].concat();
    let query = head.uri.query().unwrap_or_default();
    let asked = Asked::read(query, &known, server.config.server.parameter_bytes)?;
    let select = match (asked.select()?, asked.is_on("all")?) {
        (Some(select), false) => select,
        (None, true) => Select::everything(),
        (Some(_), true) => {
            return Err(super::asked::ill("all", "`all` stands without a selection".to_owned()));
        }
        (None, false) => {
            let detail = "say which: `pattern`, `glob`, `tag`, `all_tags`, `not_tag`, or `all`";
            return Err(parameters::about(Code::MissingParameter, "pattern", detail.to_owned()));
        }
    };
    let entries = store.entries(asked.region());
    if asked.is_on("dry_run")? {
        let count = survey(server, async move { entries.count(&select).await }).await?;
        return Ok(super::super::json(StatusCode::OK, &json!({ "would_remove": count })));
    }
    let _turn = turn(server)?;
    let count = entries.remove_matching(&select).await.map_err(|error| failed(&error))?;
    Ok(super::super::json(StatusCode::OK, &json!({ "removed": count })))
}
