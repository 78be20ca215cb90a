//! `POST /v1/tables/{table}/adjust`, `/invalidate` and `/refresh`.
//!
//! **Invariant**: an error anywhere in a request has moved and invalidated nothing.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use larder_table::{
    Adjusted, Ranges,
    sql::{Row, RowKey},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    body::Reply,
    config::table::PRIMARY,
    items::ITEMS_MAX,
    problem::{Code, Problem},
    server::Server,
    table::{Index, Table, key, window},
};

use super::{
    super::read,
    failure,
    read::{beginning, no_index},
};

/// A range of the window's index.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Range {
    from: Option<Json>,
    to: Option<Json>,
}

impl Range {
    fn ranges(&self, index: &Index) -> Result<Ranges<RowKey>, Problem> {
        let read = |name: &str, key: &Option<Json>| {
            let read = key.as_ref().map(|json| key::from_json(json, &index.columns));
            read.transpose().map_err(|why| ill(index, &format!("`{name}`: {why}")))
        };
        let (from, to) = (read("from", &self.from)?, read("to", &self.to)?);
        window::range(from, to).map_err(|_| ill(index, "`to` comes before `from`"))
    }
}

pub(super) async fn adjust(
    server: &Server,
    table: &Table,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let asked: Range = read::json(server, body).await?;
    let index = table.index(&table.window.by).ok_or_else(|| no_index(table, &table.window.by))?;
    let ranges = asked.ranges(index)?;
    if table.window.slides().is_some() {
        let detail = format!("table.{}.window says how it moves; it would move back", table.name);
        return Err(Problem::new(Code::WindowSlides, detail));
    }
    let adjusted = table.held.adjust(ranges).await;
    let adjusted = adjusted.map_err(|error| failure::of(server, table, &error))?;
    tell_adjusted(table, &adjusted);
    Ok(done(table, &adjusted))
}

fn tell_adjusted(table: &Table, adjusted: &Adjusted<Row>) {
    let (loaded, expired) = (adjusted.loaded.len(), adjusted.expired.len());
    tracing::info!(target: "larder::table", table = %table.name, loaded, expired, "window moved");
}

fn done(table: &Table, adjusted: &Adjusted<Row>) -> Response<Reply> {
    let shown = json!({
        "table": table.name,
        "loaded": adjusted.loaded.len(),
        "expired": adjusted.expired.len(),
        "refreshed": adjusted.refreshed,
        "records": table.held.stats().records,
    });
    super::super::json(StatusCode::OK, &shown)
}

/// What changed, by an index and by primary key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Invalidate {
    /// The index of `old` and `new`; that by primary key without.
    index: Option<String>,
    /// Where the records were: keys, what keys begin with, or `{"from": .., "to": ..}`.
    old: Vec<Json>,
    /// Where they are.
    new: Vec<Json>,
    /// Primary keys of records.
    keys: Vec<Json>,
    /// Lets reads go on with what is there until somebody refreshes.
    serve_stale: bool,
}

pub(super) async fn invalidate(
    server: &Server,
    table: &Table,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let asked: Invalidate = read::json(server, body).await?;
    let Invalidate { index, old, new, keys, serve_stale } = asked;
    let count = old.len() + new.len() + keys.len();
    if !(1..=ITEMS_MAX).contains(&count) {
        let detail = format!("{count} are named in `old`, `new` and `keys`; name 1 to {ITEMS_MAX}");
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    let name = index.as_deref().unwrap_or(PRIMARY);
    let index = table.index(name).ok_or_else(|| no_index(table, name))?;
    let primary = table.index(PRIMARY).ok_or_else(|| no_index(table, PRIMARY))?;
    let [old, new] = [union(&old, index)?, union(&new, index)?];
    let keys: Vec<RowKey> =
        keys.iter().map(|json| whole(json, primary)).collect::<Result<_, _>>()?;
    let mut invalidation = table.held.invalidation();
    if !old.is_empty() || !new.is_empty() {
        invalidation = invalidation.by(&index.order, &old, &new);
    }
    if !keys.is_empty() {
        invalidation = invalidation.keys(keys);
    }
    if serve_stale {
        invalidation = invalidation.serve_stale();
    }
    invalidation.commit().map_err(|error| failure::of(server, table, &error))?;
    tracing::debug!(target: "larder::table", table = %table.name, count, "invalidated");
    let invalid = table.held.stats().invalid;
    let shown = json!({ "table": table.name, "named": count, "invalid": invalid });
    Ok(super::super::json(StatusCode::OK, &shown))
}

fn union(items: &[Json], index: &Index) -> Result<Ranges<RowKey>, Problem> {
    let mut all = Ranges::none();
    for item in items {
        all = all.union(&one(item, index)?);
    }
    Ok(all)
}

/// A key, what keys begin with, or a range.
fn one(item: &Json, index: &Index) -> Result<Ranges<RowKey>, Problem> {
    let is_range = |object: &&Map<String, Json>| !object.contains_key("base64");
    if item.as_object().filter(is_range).is_some() {
        let range = Range::deserialize(item);
        let range = range.map_err(|error| ill(index, &error.to_string()))?;
        return range.ranges(index);
    }
    key::from_json(item, &index.columns).map(beginning).map_err(|why| ill(index, &why))
}

/// A primary key with all of its columns.
fn whole(item: &Json, primary: &Index) -> Result<RowKey, Problem> {
    let values = key::from_json(item, &primary.columns).map_err(|why| ill(primary, &why))?;
    match values.len() == primary.columns.len() {
        true => Ok(RowKey::new(values)),
        false => Err(ill(primary, "a primary key has a value for each of its columns")),
    }
}

fn ill(index: &Index, why: &str) -> Problem {
    Problem::new(Code::UnknownItem, format!("index `{}`: {why}", index.name))
}

/// What to load again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Refresh {
    /// Everything in the window, and not only what is invalid.
    all: bool,
}

pub(super) async fn refresh(
    server: &Server,
    table: &Table,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let Refresh { all } = read::json(server, body).await?;
    if all {
        let failed = |error| failure::of(server, table, &error);
        table.held.loaded().await.map_err(failed)?;
        let window = match table.window.slides() {
            Some(_) => table.window.at(server.clock.wall()),
            None => table.held.window().unwrap_or_else(Ranges::none),
        };
        let adjusted = table.held.reload(window).await;
        let adjusted = adjusted.map_err(|error| failure::of(server, table, &error))?;
        let records = adjusted.loaded.len();
        tracing::info!(target: "larder::table", table = %table.name, records, "loaded again");
        return Ok(done(table, &adjusted));
    }
    let refreshed = table.held.refresh_invalid().await;
    let refreshed = refreshed.map_err(|error| failure::of(server, table, &error))?;
    tracing::info!(target: "larder::table", table = %table.name, refreshed, "refreshed");
    let records = table.held.stats().records;
    let shown = json!({ "table": table.name, "refreshed": refreshed, "records": records });
    Ok(super::super::json(StatusCode::OK, &shown))
}
