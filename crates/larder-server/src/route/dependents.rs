//! `GET /v1/dependents?of=...`: who depends on this? Entries as resource and typed parameters.
//!
//! **Invariant**: entries are shown to whoever may invalidate, never to readers: to list the keys
//! that are asked for is more than to ask for one.

use http::{Response, StatusCode, request::Parts};
use larder::{Dependents, Page};
use serde_json::{Map, Value as Json, json};

use crate::{
    body::Reply,
    items::{Items, Names},
    literal,
    parameters::{self, Key},
    problem::{Code, Problem},
    server::Server,
    spoken, word,
};

/// Entries on a page when nobody says.
const SIZE: usize = 100;

/// Entries on a page at most: it is made and sent as a whole.
const SIZE_MAX: usize = 1000;

pub(super) async fn answer(server: &Server, head: &Parts) -> Result<Response<Reply>, Problem> {
    let limit = server.config.server.parameter_bytes;
    let (items, page) = read(head.uri.query().unwrap_or_default(), limit)?;
    items.check_count()?;
    let names = Names::read(&server.catalog, items.origins()).await?;
    let dependencies = items.meaning(&names)?.dependencies;
    let of: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
    let words: Vec<Option<String>> = dependencies.iter().map(word::of).collect();
    let failed = |error| {
        tracing::error!(?error, "dependents could not be listed");
        Problem::new(Code::LoadFailed, "they could not be listed; see the log")
    };
    let found = server.cache.dependents(&dependencies, page).map_err(failed)?;
    let mut shown = shown(server, &found);
    if let Json::Object(members) = &mut shown {
        members.insert("of".to_owned(), json!(of));
        members.insert("words".to_owned(), json!(words));
    }
    Ok(super::json(StatusCode::OK, &shown))
}

/// What is asked about, and for which page.
fn read(query: &str, limit: usize) -> Result<(Items, Page), Problem> {
    let (mut of, mut size, mut after) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = parameters::pair(pair, limit)?;
        let slot = match &*name {
            "of" => &mut of,
            "size" => &mut size,
            "after" => &mut after,
            _ => {
                let detail = "use `of`, `size` and `after`";
                let shown: String = name.chars().take(64).collect();
                return Err(parameters::about(Code::UnknownParameter, &shown, detail.to_owned()));
            }
        };
        if slot.replace(text.into_owned()).is_some() {
            let detail = format!("give `{name}` once");
            return Err(parameters::about(Code::RepeatedParameter, &name, detail));
        }
    }
    let ill = |name, detail: String| parameters::about(Code::IllTypedParameter, name, detail);
    let of = of.ok_or_else(|| {
        let detail = format!("add `of`, one of: {}", spoken::FORMS);
        parameters::about(Code::MissingParameter, "of", detail)
    })?;
    let items = spoken::parse(&of).map_err(|why| ill("of", why))?;
    let size = match size {
        None => SIZE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=SIZE_MAX).contains(size))
            .ok_or_else(|| ill("size", format!("`size` must be 1 to {SIZE_MAX}")))?,
    };
    let page = Page::first(size);
    let page = match after {
        None => page,
        Some(text) => {
            let cursor = text.parse();
            page.after(cursor.map_err(|error: larder::Error| ill("after", error.to_string()))?)
        }
    };
    Ok((items, page))
}

/// A page as JSON.
pub(super) fn shown(server: &Server, page: &Dependents) -> Json {
    let entries: Vec<Json> = page
        .entries
        .iter()
        .map(|entry| {
            let resource = server.catalog.resource(&entry.region);
            let parameters = resource.zip(entry.key_as::<Key>()).map(|(resource, key)| {
                let names = resource.params.iter().map(|parameter| parameter.name.clone());
                names.zip(key.iter().map(literal::shown)).collect::<Map<_, _>>()
            });
            json!({
                "resource": &*entry.region,
                "parameters": parameters,
                "bytes": entry.bytes,
            })
        })
        .collect();
    json!({ "entries": entries, "next": page.next.map(|next| next.to_string()) })
}
