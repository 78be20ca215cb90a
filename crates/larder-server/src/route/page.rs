//! `GET /`: one page that lists what is served and counts along.
//!
//! Everything it needs comes from this server. **Invariant**: its policy lets it load its own
//! script and style and nothing else, and what the server sends is put in as text, never as markup.

use http::{HeaderValue, Response, header};

use crate::{body::Reply, server::Server};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn answer(server: &Server, path: &str) -> Response<Reply> {
    let mut response = match path {
        "/page.js" => super::plain("text/javascript; charset=utf-8", SCRIPT),
        "/page.css" => super::plain("text/css; charset=utf-8", STYLE),
        _ => super::plain("text/html; charset=utf-8", page(server)),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn page(server: &Server) -> String {
    let rows: String = server.catalog.resources.iter().map(row).collect();
    let tables: String = server.catalog.all_tables().iter().map(|table| table_row(table)).collect();
    let paths: String = PATHS.iter().map(path).collect();
    let page = HTML.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{paths}", &paths);
    // Last, so that nothing in them is taken for a place to fill.
    page.replace("{rows}", &rows).replace("{tables}", &tables)
}

/// Everything that can be asked besides resources, and whether a browser can just go there.
const PATHS: [(&str, &str, Way, &str); 32] = [
    ("GET", "/v1/resources/{resource}?...", Way::Typed, "the answer, as a JSON array of objects"),
    (
        "GET",
        "/v1/resources/{resource}/explain?...",
        Way::Typed,
        "what one was built from, and why \
      it fell last",
    ),
    ("GET", "/v1/dependents?of=...", Way::Typed, "which answers depend on something"),
    (
        "POST",
        "/v1/invalidate",
        Way::Typed,
        "drops what was built from ids, scopes, tables or tags, \
      or shows what would fall; loads it again",
    ),
    ("POST", "/v1/changes", Way::Typed, "takes rows that changed"),
    ("GET", "/v1/events", Way::Typed, "everything that is invalidated, as it happens"),
    ("GET", "/v1/entries/{key}", Way::Typed, "the value of an entry of the store"),
    ("PUT", "/v1/entries/{key}?ttl=...", Way::Typed, "writes one"),
    ("DELETE", "/v1/entries/{key}", Way::Typed, "removes one"),
    ("POST", "/v1/entries/{key}:incr?by=...", Way::Typed, "adds to the number in one"),
    ("POST", "/v1/entries/{key}:touch?ttl=...", Way::Typed, "lets one live longer"),
    (
        "POST",
        "/v1/entries/{key}:begin",
        Way::Typed,
        "begins to compute one; a PUT with what it says is refused if it was removed since",
    ),
    ("POST", "/v1/entries:batch", Way::Typed, "many at once: all or none"),
    (
        "GET, DELETE",
        "/v1/entries?pattern=...&tag=...",
        Way::Typed,
        "entries by pattern and tags, listed or removed",
    ),
    ("GET", "/v1/tags", Way::Typed, "the tags of entries, and how often they were read"),
    ("GET", "/v1/stats", Way::Typed, "how the store is doing"),
    ("GET", "/v1/backups", Way::Typed, "the backups of the store"),
    ("POST", "/v1/backups", Way::Typed, "takes one"),
    ("POST", "/v1/backups/{name}:restore", Way::Typed, "goes back to one"),
    ("GET", "/v1/tables", Way::Link, "the tables, and how they are"),
    ("GET", "/v1/tables/{table}?index=...&from=...&to=...", Way::Typed, "records of a range"),
    ("GET", "/v1/tables/{table}/stream", Way::Typed, "a table on its way to a replica"),
    ("GET", "/v1/tables/{table}/version", Way::Typed, "what a replica must have been sent"),
    ("POST", "/v1/tables/{table}/adjust", Way::Typed, "moves a window"),
    ("POST", "/v1/tables/{table}/invalidate", Way::Typed, "has records loaded again"),
    ("POST", "/v1/tables/{table}/refresh", Way::Typed, "loads now what is invalid"),
    ("GET", "/v1/status", Way::Link, "settings, origins and counters as JSON"),
    ("GET", "/metrics", Way::Link, "the same for Prometheus"),
    ("GET", "/openapi.json", Way::Link, "all of this for programs"),
    ("GET", "/health/live", Way::Link, "whether the process lives"),
    ("GET", "/health/ready", Way::Link, "whether it answers, and what it knows of its origins"),
    ("GET", "/", Way::Link, "this page"),
];

/// How somebody who reads the page gets there.
#[derive(Clone, Copy)]
enum Way {
    Link,
    Typed,
}

fn path((method, path, way, does): &(&str, &str, Way, &str)) -> String {
    let (path, does) = (escaped(path), escaped(does));
    let request = match way {
        Way::Link => format!("{method} <a href=\"{path}\">{path}</a>"),
        Way::Typed => format!("{method} {path}"),
    };
    format!("<tr><td><code>{request}</code></td><td>{does}</td></tr>\n")
}

/// Names of resources and parameters come from the configuration; they are escaped all the same.
fn row(resource: &crate::catalog::Resource) -> String {
    let query: Vec<String> = resource
        .params
        .iter()
        .map(|parameter| format!("{}={{{}}}", parameter.name, parameter.kind.name()))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let url = escaped(&format!("/v1/resources/{}{mark}{}", resource.name, query.join("&")));
    let name = escaped(&resource.name);
    let reads = escaped(&resource.reads.join(", "));
    format!(
        "<tr data-name=\"{name}\"><td><code>{url}</code></td><td>{reads}</td>\
         <td class=\"n hits\"></td><td class=\"n misses\"></td><td class=\"n errors\"></td>\
         <td class=\"n hit_mean_micros\"></td><td class=\"n miss_mean_micros\"></td></tr>\n"
    )
}

/// One line for each table, like those of resources.
fn table_row(table: &crate::table::Table) -> String {
    let indexes: Vec<String> = table.indexes.iter().map(|index| index.name.clone()).collect();
    let url = escaped(&format!("/v1/tables/{}?index={{{}}}", table.name, indexes.join("|")));
    let (name, reads) = (escaped(&table.name), escaped(&table.reads.join(", ")));
    format!(
        "<tr data-table=\"{name}\"><td><code>{url}</code></td><td>{reads}</td>\
         <td class=\"state\"></td><td class=\"n records\"></td><td class=\"n bytes\"></td>\
         <td class=\"n hits\"></td><td class=\"n misses\"></td><td class=\"n invalid\"></td></tr>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HTML: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
