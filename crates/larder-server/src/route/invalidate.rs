//! `POST /v1/invalidate`: somebody says that something changed.
//!
//! **Invariant**: an item that names nothing is an error, never a silent success, and an error
//! anywhere in the request invalidates nothing.

use std::collections::HashSet;

use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use larder::{Dependency, Error, Value};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    body::Reply,
    origin::Tables,
    position,
    problem::{Code, Problem},
    server::Server,
};

/// The most items of one request: their application is one step, and steps must stay short.
const ITEMS_MAX: usize = 1000;

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    /// `["shop.Artist", 90]`: a row by its primary key.
    ids: Vec<Vec<Json>>,
    /// `["shop.Album", {"ArtistId": 90}]`: all rows with these values.
    scopes: Vec<(String, serde_json::Map<String, Json>)>,
    /// `"shop.Album"`: every row.
    tables: Vec<String>,
    /// `"front-page"`: a label of the application.
    tags: Vec<String>,
}

impl Request {
    /// The origins it names. Another one that is down does not keep a change from being told.
    fn origins(&self) -> HashSet<String> {
        let ids = self.ids.iter().filter_map(|item| item.first()?.as_str());
        let scopes = self.scopes.iter().map(|(name, _)| name.as_str());
        let names = ids.chain(scopes).chain(self.tables.iter().map(String::as_str));
        names.filter_map(|name| Some(name.split_once('.')?.0.to_owned())).collect()
    }
}

pub(super) async fn answer(server: &Server, body: Incoming) -> Result<Response<Reply>, Problem> {
    let bytes = read(server, body).await?;
    let request: Request = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(Code::MalformedRequest, error.to_string()))?;
    check_count(&request)?;
    let names = Names::read(server, &request).await?;
    let dependencies = dependencies(&names, &request)?;
    let done = server.cache.invalidate(dependencies).await.map_err(|error| {
        tracing::error!(?error, "an invalidation failed");
        Problem::new(Code::LoadFailed, "the invalidation failed; see the log")
    })?;
    let position = server.positions.header(&done.token);
    let mut touched = done.touched.iter().copied();
    let mut next = |count: usize| touched.by_ref().take(count).collect::<Vec<usize>>();
    let mut response = super::json(
        StatusCode::OK,
        &json!({
            "position": position.to_str().unwrap_or_default(),
            "touched": {
                "ids": next(request.ids.len()),
                "scopes": next(request.scopes.len()),
                "tables": next(request.tables.len()),
                "tags": next(request.tags.len()),
            },
        }),
    );
    response.headers_mut().insert(position::POSITION, position);
    Ok(response)
}

async fn read(server: &Server, body: Incoming) -> Result<hyper::body::Bytes, Problem> {
    let limit = server.config.server.body_bytes;
    let read = Limited::new(body, limit).collect();
    let within = server.config.server.request_timeout;
    let problem = match tokio::time::timeout(within, read).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Problem::new(Code::BodyTooLarge, format!("the limit is {limit} bytes"))
        }
        Ok(Err(_)) => {
            Problem::new(Code::MalformedRequest, "the body ended early, or its chunks are wrong")
        }
        Err(_) => {
            let detail = format!("the body was not there within {within:?}; nothing was done");
            Problem::new(Code::RequestTimeout, detail)
        }
    };
    // What is left of the body would be taken for the next request.
    Err(problem.header("connection", "close"))
}

/// The tables of every origin that a request names, looked up once.
struct Names(Vec<(String, Tables)>);

impl Names {
    async fn read(server: &Server, request: &Request) -> Result<Self, Problem> {
        let catalog = server.catalog.clone();
        let named = request.origins();
        let read = move || -> Result<Self, Error> {
            let each = catalog.origins.iter().filter(|origin| named.contains(&origin.name));
            each.map(|origin| Ok((origin.name.clone(), origin.tables()?)))
                .collect::<Result<_, _>>()
                .map(Self)
        };
        // It asks SQLite, which blocks.
        let names = tokio::task::spawn_blocking(read).await.map_err(|_| unreadable())?;
        names.map_err(|_| unreadable())
    }

    /// `shop.Artist` as the tables of its origin and the name of one that is there.
    fn table_of<'a, 'b>(&'a self, name: &'b str) -> Result<(&'a Tables, &'b str), Problem> {
        let unknown = || {
            let shown: String = name.chars().take(64).collect();
            let detail = format!("`{shown}` is no table here: write ORIGIN.TABLE, as shop.Artist");
            Problem::new(Code::UnknownTable, detail).with("table", shown)
        };
        let (origin, table) = name.split_once('.').ok_or_else(unknown)?;
        let own = self.0.iter().find(|(own, _)| own == origin).map(|(_, tables)| tables);
        if own.is_some_and(|tables| !tables.is_tracked()) {
            let detail = format!("`{origin}` is not tracked: its answers live for their TTL");
            return Err(Problem::new(Code::UnknownTable, detail));
        }
        own.filter(|tables| tables.has(table)).map(|tables| (tables, table)).ok_or_else(unknown)
    }
}

fn unreadable() -> Problem {
    let detail = "the names of the tables cannot be looked up now; nothing was invalidated";
    Problem::new(Code::OriginUnavailable, detail).retry_after(1)
}

/// Fails unless there is something to invalidate, and not too much.
fn check_count(request: &Request) -> Result<(), Problem> {
    let Request { ids, scopes, tables, tags } = request;
    let count = ids.len() + scopes.len() + tables.len() + tags.len();
    let detail = match count {
        0 => "name something in ids, scopes, tables or tags".to_owned(),
        1..=ITEMS_MAX => return Ok(()),
        _ => format!("{count} items, the limit is {ITEMS_MAX}; send several requests"),
    };
    Err(Problem::new(Code::MalformedRequest, detail))
}

/// All items as dependencies, in the order in which the answer counts them.
fn dependencies(names: &Names, request: &Request) -> Result<Vec<Dependency>, Problem> {
    let Request { ids, scopes, tables, tags } = request;
    let mut found = Vec::new();
    for item in ids {
        found.push(id(names, item)?);
    }
    for (name, terms) in scopes {
        let (tables, table) = names.table_of(name)?;
        let terms = terms.iter().map(|(column, value)| Ok((column.clone(), scalar(value)?)));
        let terms = terms.collect::<Result<Vec<_>, Problem>>()?;
        found.push(tables.scope(table, terms).map_err(unknown_item)?);
    }
    for name in tables {
        let (tables, table) = names.table_of(name)?;
        found.push(tables.table(table).map_err(unknown_item)?);
    }
    found.extend(tags.iter().map(|tag| Dependency::tag(tag.as_str())));
    Ok(found)
}

fn id(names: &Names, item: &[Json]) -> Result<Dependency, Problem> {
    let shape = || {
        let detail = "an id is a table and the values of its primary key: [\"shop.Artist\", 90]";
        Problem::new(Code::MalformedRequest, detail)
    };
    let (name, key) = item.split_first().ok_or_else(shape)?;
    let (tables, table) = names.table_of(name.as_str().ok_or_else(shape)?)?;
    let key = key.iter().map(scalar).collect::<Result<Vec<_>, Problem>>()?;
    tables.id(table, key).map_err(unknown_item)
}

fn unknown_item(detail: String) -> Problem {
    Problem::new(Code::UnknownItem, detail)
}

/// A JSON value as a scalar: `{"base64": "..."}` is a blob.
fn scalar(value: &Json) -> Result<Value, Problem> {
    let found = match value {
        Json::Null => Some(Value::Null),
        Json::String(text) => Some(Value::from(text.as_str())),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Some(Value::Integer(integer)),
            None => number.as_f64().filter(|real| real.is_finite()).map(Value::Real),
        },
        Json::Object(object) if object.len() == 1 => object
            .get("base64")
            .and_then(Json::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .map(|bytes| Value::from(&*bytes)),
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    found.ok_or_else(|| {
        let detail = "a value is a number, a text, null, or {\"base64\": \"...\"}";
        Problem::new(Code::UnknownItem, detail)
    })
}
