//! Who depends on what: entries as resource and typed parameters, page by page.
//!
//! **Invariant**: entries are shown to whoever may invalidate, never to readers: to list the keys
//! that are asked for is more than to ask for one.

use larder::Dependents;
use serde_json::{Map, Value as Json, json};

use crate::{literal, parameters::Key, server::Server};

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
