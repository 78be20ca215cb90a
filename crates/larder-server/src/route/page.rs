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
    HTML.replace("{rows}", &rows).replace("{version}", env!("CARGO_PKG_VERSION"))
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HTML: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
