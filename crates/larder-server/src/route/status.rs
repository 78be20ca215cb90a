//! `GET /v1/status`: the whole server as JSON, for the page, `larder status` and people.
//!
//! **Invariant**: what is shown of a secret is that it is set.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{body::Reply, catalog::Resource, config::Setting, server::Server};

use super::{health, store, tables::listed};

pub(super) async fn answer(server: &Server) -> Response<Reply> {
    super::json(StatusCode::OK, &shown(server).await)
}

async fn shown(server: &Server) -> Value {
    let store = match &server.store {
        Some(store) => store::shown(store).await,
        None => Value::Null,
    };
    let status = server.cache.status();
    let resources: Vec<Value> = server.catalog.resources.iter().map(resource).collect();
    let tables = listed::all(server);
    let settings: Vec<Value> = server.config.settings.iter().map(Setting::as_json).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.uptime().as_secs(),
        "cache": {
            "entries": status.entries,
            "bytes": status.bytes,
            "limit_bytes": status.limit_bytes,
            "loads_running": status.loads_running,
            "evictions": status.evictions,
            "entries_invalidated": status.invalidated,
        },
        "origins": health::origins(server),
        "store": store,
        "resources": resources,
        "tables": tables,
        "settings": settings,
    })
}

fn resource(resource: &Resource) -> Value {
    let stats = resource.region.stats();
    let params: Vec<Value> = resource
        .params
        .iter()
        .map(|parameter| json!({ "name": parameter.name, "type": parameter.kind.name() }))
        .collect();
    json!({
        "name": resource.name,
        "path": format!("/v1/resources/{}", resource.name),
        "params": params,
        "reads": resource.reads,
        "hits": stats.hits,
        "stale_hits": stats.stale_hits,
        "misses": stats.misses,
        "errors": stats.errors,
        "forgotten": stats.forgotten,
        "widened": stats.widened,
        "built_on_stale": stats.built_on_stale,
        "hit_mean_micros": micros(resource.hit_seconds.snapshot().mean()),
        "miss_mean_micros": micros(resource.miss_seconds.snapshot().mean()),
    })
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
