//! `/v1/entries?...`: entries by pattern and by tags, listed in pages or deleted.
//!
//! **Invariant**: a DELETE that selects nothing is refused, and a dry run counts what it would
//! remove (X8).

use http::{Response, StatusCode, request::Parts};
use larder_sqlite::store::{Entries, Meta, Select, SqliteStore};
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
    let known = [&SELECTION[..], &["region", "cursor", "limit", "as"]].concat();
    let query = head.uri.query().unwrap_or_default();
    let asked = Asked::read(query, &known, server.config.server.parameter_bytes)?;
    let limit = asked.number("limit", SIZE.0, (1, SIZE.1))?;
    let select = asked.select()?.unwrap_or_else(Select::everything);
    let is_whole = match asked.get("as") {
        None => false,
        Some("entry") => true,
        Some(_) => return Err(super::asked::ill("as", "`as` must be entry".to_owned())),
    };
    let region = asked.region();
    let _turn = if is_whole { Some(turn(server)?) } else { None };
    let found = store.entries(&*region);
    let page = found.page(&select, asked.get("cursor"), limit + 1).await;
    let mut page = page.map_err(|error| failed(&error))?;
    let is_more = limit < page.len();
    page.truncate(limit);
    let last = page.last().map(|(key, _)| key.clone()).filter(|_| is_more);
    let (entries, next) = match is_whole {
        false => (page.iter().map(|(key, meta)| entry::known(&region, key, meta)).collect(), last),
        true => {
            let bytes_max = server.config.store.as_ref().map_or(0, |store| store.value_bytes);
            let (entries, cut) = whole(&found, &page, bytes_max as u64).await?;
            (entries, cut.or(last))
        }
    };
    let entries: Vec<Json> = entries;
    Ok(super::super::json(StatusCode::OK, &json!({ "entries": entries, "next": next })))
}

/// The entries of a page with their values, as far as they have `bytes_max` bytes as JSON, and at
/// least one; the key after which the others are, if there was no room for all.
async fn whole(
    entries: &Entries,
    page: &[(String, Meta)],
    bytes_max: u64,
) -> Result<(Vec<Json>, Option<String>), Problem> {
    let (mut shown, mut left): (Vec<Json>, _) = (Vec::new(), bytes_max);
    let mut last = None;
    for (key, meta) in page {
        if left < meta.size_bytes && !shown.is_empty() {
            return Ok((shown, last));
        }
        // It may have gone since it was listed.
        if let Some(entry) = entries.entry(key).await.map_err(|error| failed(&error))? {
            let entry = entry::whole(entries.region(), &entry);
            let length = entry.to_string().len() as u64;
            if left < length && !shown.is_empty() {
                return Ok((shown, last));
            }
            left = left.saturating_sub(length);
            shown.push(entry);
        }
        last = Some(key.clone());
    }
    Ok((shown, None))
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
