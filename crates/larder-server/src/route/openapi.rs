//! `GET /openapi.json`: every path of this server, as OpenAPI 3.1.
//!
//! Made from a table and from the resources that are served, with an example for whatever must be
//! given. **Invariant**: every path and method in it answers, and every route is in it; a test asks
//! a running server for each.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::{body::Reply, catalog::Resource, config::Kind, server::Server, table::Table};

/// What may be asked of one path.
struct Operation {
    path: &'static str,
    method: &'static str,
    does: &'static str,
    /// The scope that a token must have, where tokens are set; nothing for health.
    scope: &'static str,
    query: &'static [Query],
    /// A header that changes what it does.
    header: Option<&'static str>,
    /// The media type of the body, and an example.
    body: Option<(&'static str, &'static str)>,
    /// The media type of the answer.
    answer: &'static str,
}

/// A parameter of a query: name, type, and an example where it must be given.
struct Query(&'static str, &'static str, Option<&'static str>);

const JSON: &str = "application/json";

const REGION: Query = Query("region", "string", None);

const TTL: Query = Query("ttl", "string", Some("10m"));

/// A route that takes nothing but its path.
const fn plain(
    path: &'static str,
    scope: &'static str,
    answer: &'static str,
    does: &'static str,
) -> Operation {
    Operation { path, method: "get", does, scope, query: &[], header: None, body: None, answer }
}

/// A route to the entries of the store.
const fn entry(
    method: &'static str,
    path: &'static str,
    query: &'static [Query],
    does: &'static str,
) -> Operation {
    let scope = if matches!(method.as_bytes(), b"get") { "read" } else { "write" };
    Operation { path, method, does, scope, query, header: None, body: None, answer: JSON }
}

const OPERATIONS: &[Operation] = &[
    entry(
        "get",
        "/v1/entries/{key}",
        &[REGION, Query("as", "string", None)],
        "The value of an entry, byte for byte in its own media type; with `as=entry` as JSON",
    ),
    Operation {
        scope: "read write",
        body: Some((JSON, r#"{"get": ["k"]}"#)),
        ..entry(
            "post",
            "/v1/entries:batch",
            &[],
            "Does one of get, put, add, remove, touch and incr with up to 1000 entries: one \
             snapshot (scope `read`), or one commit with all or none (`write`)",
        )
    },
    entry(
        "post",
        "/v1/entries/{key}:begin",
        &[REGION],
        "Begins to compute an entry: a PUT with `Larder-Begun` is refused if it was removed since",
    ),
    Operation {
        header: Some("Larder-Begun"),
        body: Some(("*/*", "1")),
        ..entry(
            "put",
            "/v1/entries/{key}",
            &[REGION, TTL, Query("tag", "array", None), Query("pinned", "boolean", None)],
            "Writes an entry; with `If-None-Match: *` only if there is none, with `Larder-Begun` \
             only if it was not removed since",
        )
    },
    entry("delete", "/v1/entries/{key}", &[REGION], "Removes an entry"),
    entry(
        "post",
        "/v1/entries/{key}:incr",
        &[REGION, TTL, Query("by", "integer", None)],
        "Adds to the whole number in an entry",
    ),
    entry("post", "/v1/entries/{key}:touch", &[REGION, TTL], "Lets an entry live so long from now"),
    entry(
        "get",
        "/v1/entries",
        &[
            REGION,
            Query("pattern", "string", None),
            Query("glob", "string", None),
            Query("tag", "array", None),
            Query("all_tags", "array", None),
            Query("not_tag", "array", None),
            Query("cursor", "string", None),
            Query("limit", "integer", None),
            Query("as", "string", None),
        ],
        "A page of entries, by key",
    ),
    entry(
        "delete",
        "/v1/entries",
        &[
            REGION,
            Query("pattern", "string", Some("nothing")),
            Query("glob", "string", None),
            Query("tag", "array", None),
            Query("all_tags", "array", None),
            Query("not_tag", "array", None),
            Query("all", "boolean", None),
            Query("dry_run", "boolean", None),
        ],
        "Removes the entries that are selected; any one of the selections will do",
    ),
    entry(
        "get",
        "/v1/tags",
        &[REGION, Query("cursor", "string", None), Query("limit", "integer", None)],
        "A page of tags: how many entries have each, their bytes, how often they were read",
    ),
    plain("/v1/tables", "read", JSON, "The tables: indexes, windows, how they are, numbers"),
    plain("/v1/stats", "admin", JSON, "How the store is doing, and each region"),
    plain("/v1/backups", "backup", JSON, "The backups that are kept, the oldest first"),
    Operation {
        method: "post",
        ..plain("/v1/backups", "backup", JSON, "Takes a backup, verified, beside those")
    },
    Operation {
        method: "post",
        ..plain(
            "/v1/backups/{name}:restore",
            "restore",
            JSON,
            "Puts a backup of the list in the place of what is in the store",
        )
    },
    Operation {
        method: "post",
        body: Some((JSON, r#"{"tags": ["front-page"]}"#)),
        ..plain("/v1/invalidate", "invalidate", JSON, "Drops what was built from what is named")
    },
    Operation {
        method: "post",
        body: Some((
            JSON,
            r#"{"changes": [{"table": "app.Banner", "new": {"id": 7}, "key": ["id"]}]}"#,
        )),
        ..plain("/v1/changes", "invalidate", JSON, "Takes rows that changed")
    },
    Operation {
        query: &[
            Query("of", "string", Some("tag:front-page")),
            Query("size", "integer", None),
            Query("after", "string", None),
        ],
        ..plain("/v1/dependents", "invalidate", JSON, "Which answers depend on something")
    },
    plain("/v1/events", "invalidate", "text/event-stream", "What is invalidated, as it happens"),
    plain("/v1/status", "admin", JSON, "Settings, origins and counters"),
    plain("/metrics", "admin", "text/plain", "The same for Prometheus"),
    plain("/", "admin", "text/html", "A page for people"),
    plain("/page.js", "admin", "text/javascript", "Its script"),
    plain("/page.css", "admin", "text/css", "Its style"),
    plain("/openapi.json", "read", JSON, "This document"),
    plain("/health/live", "", JSON, "Whether the process lives"),
    plain("/health/ready", "", JSON, "Whether it answers, and what it knows of its origins"),
];

pub(super) fn answer(server: &Server) -> Response<Reply> {
    let mut paths = Map::new();
    for resource in &server.catalog.resources {
        let path = format!("/v1/resources/{}", resource.name);
        let explain = "What it was built from, and what made it fall last";
        paths.insert(format!("{path}/explain"), json!({ "get": asked(resource, explain) }));
        paths.insert(path, json!({ "get": asked(resource, "The rows, as objects") }));
    }
    for table in &server.catalog.all_tables() {
        let path = format!("/v1/tables/{}", table.name);
        for (what, body, does) in TABLE_CHANGES {
            paths.insert(format!("{path}/{what}"), json!({ "post": changed(body, does) }));
        }
        for (what, media_type, does) in TABLE_REPLICAS {
            let shown = operation(does, "read", &[], media_type);
            paths.insert(format!("{path}/{what}"), json!({ "get": shown }));
        }
        paths.insert(path, json!({ "get": ranged(table) }));
    }
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_owned(), operation.shown());
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "larder", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem() },
        },
    });
    super::json(StatusCode::OK, &document)
}

impl Operation {
    fn shown(&self) -> Value {
        let named =
            ["key", "name"].into_iter().find(|name| self.path.contains(&format!("{{{name}}}")));
        let key = named.map(|name| {
            let schema = json!({ "type": "string" });
            json!({
                "name": name, "in": "path", "required": true, "schema": schema, "example": "k",
            })
        });
        let query = self.query.iter().map(|Query(name, kind, example)| {
            parameter(name, &schema(kind), example.map(Value::from))
        });
        let parameters: Vec<Value> = key.into_iter().chain(query).collect();
        let mut parameters = parameters;
        parameters.extend(self.header.map(|name| {
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "header", "required": false, "schema": schema })
        }));
        let mut shown = operation(self.does, self.scope, &parameters, self.answer);
        if let (Some((media_type, example)), Value::Object(members)) = (self.body, &mut shown) {
            let example = serde_json::from_str(example).unwrap_or(Value::Null);
            let content = json!({ media_type: { "schema": {}, "example": example } });
            members.insert("requestBody".to_owned(), json!({ "content": content }));
        }
        shown
    }
}

/// A question to a resource: its parameters have types and must all be given.
fn asked(resource: &Resource, does: &str) -> Value {
    let parameter = |own: &crate::parameters::Parameter| {
        let (kind, example) = match own.kind {
            Kind::Integer => ("integer", json!(1)),
            Kind::Real => ("number", json!(1.5)),
            Kind::Text => ("string", json!("text")),
            Kind::Blob => ("string", json!("AA")),
        };
        parameter(&own.name, &schema(kind), Some(example))
    };
    let parameters: Vec<Value> = resource.params.iter().map(parameter).collect();
    operation(does, "read", &parameters, JSON)
}

/// What may be posted to a table: the word, an example, and what it does.
const TABLE_CHANGES: [(&str, &str, &str); 3] = [
    ("adjust", "{}", "Moves the window to the keys from `from` on, up to `to`"),
    (
        "invalidate",
        r#"{"old": [{}]}"#,
        "Has records loaded again: by what their keys were (`old`) and are (`new`), by primary key \
         (`keys`)",
    ),
    ("refresh", "{}", "Loads now what is invalid, with `all` everything"),
];

/// What a replica of a table asks: the word, the type of the answer, and what it is.
const TABLE_REPLICAS: [(&str, &str, &str); 2] = [
    ("stream", "application/vnd.larder.table", "The table and its changes, for a replica"),
    ("version", JSON, "What a replica must have been sent to be as new as this question"),
];

fn changed(example: &str, does: &str) -> Value {
    let mut shown = operation(does, "invalidate", &[], JSON);
    let example: Value = serde_json::from_str(example).unwrap_or(Value::Null);
    if let Value::Object(members) = &mut shown {
        let content = json!({ JSON: { "schema": { "type": "object" }, "example": example } });
        members.insert("requestBody".to_owned(), json!({ "content": content }));
    }
    shown
}

/// A question to a table: nothing of it must be given.
fn ranged(table: &Table) -> Value {
    let names: Vec<&str> = table.indexes.iter().map(|index| &*index.name).collect();
    let index = json!({ "type": "string", "enum": names });
    let text = schema("string");
    let order = json!({ "type": "string", "enum": ["asc", "desc"] });
    let outside = json!({ "type": "string", "enum": ["load", "load-all", "refuse"] });
    let all = [
        ("index", &index),
        ("from", &text),
        ("to", &text),
        ("prefix", &text),
        ("and", &index),
        ("and_from", &text),
        ("and_to", &text),
        ("order", &order),
        ("limit", &schema("integer")),
        ("cursor", &text),
        ("outside", &outside),
    ];
    let parameters: Vec<Value> =
        all.iter().map(|(name, schema)| parameter(name, schema, None)).collect();
    operation("A page of the records in a range of an index", "read", &parameters, JSON)
}

fn operation(does: &str, scope: &str, parameters: &[Value], answer: &str) -> Value {
    let refused = json!({
        "description": "What cannot be done, with a stable `code`",
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    });
    let done = json!({ "description": does, "content": { answer: {} } });
    let mut shown = json!({
        "summary": does,
        "parameters": parameters,
        "responses": { "2XX": done, "default": refused },
    });
    if let (false, Value::Object(members)) = (scope.is_empty(), &mut shown) {
        // Any one of them will do; none where the server has no tokens.
        let scopes = scope.split(' ').map(|scope| json!({ "token": [scope] }));
        let security: Vec<Value> = std::iter::once(json!({})).chain(scopes).collect();
        members.insert("security".to_owned(), security.into());
    }
    shown
}

fn parameter(name: &str, schema: &Value, example: Option<Value>) -> Value {
    let is_required = example.is_some();
    let mut shown =
        json!({ "name": name, "in": "query", "required": is_required, "schema": schema });
    if let (Some(example), Value::Object(members)) = (example, &mut shown) {
        members.insert("example".to_owned(), example);
    }
    shown
}

fn schema(kind: &str) -> Value {
    match kind {
        "array" => json!({ "type": kind, "items": { "type": "string" } }),
        _ => json!({ "type": kind }),
    }
}

/// RFC 9457, with the member `code`.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text, "title": text, "detail": text, "code": text,
            "status": { "type": "integer" },
        },
    })
}
