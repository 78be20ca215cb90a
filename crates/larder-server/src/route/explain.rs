//! `GET /v1/resources/{resource}/explain?...`: what is known of one entry, without reading it.
//!
//! **Invariant**: explaining an entry changes neither it nor any count of reads.

use http::{Response, StatusCode, request::Parts};
use larder::{EntryState, Explanation};
use serde_json::{Value, json};

use crate::{body::Reply, parameters, problem::Problem, server::Server, word};

use super::resource::find;

pub(super) fn answer(
    server: &Server,
    name: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let resource = find(server, name)?;
    let query = head.uri.query().unwrap_or_default();
    let limit = server.config.server.parameter_bytes;
    let key = parameters::parse(&resource.params, query, limit)?;
    let shown = shown(name, &resource.region.explain(&key));
    Ok(super::json(StatusCode::OK, &shown))
}

fn shown(name: &str, explanation: &Explanation) -> Value {
    let state = match explanation.state {
        EntryState::Absent => "absent",
        EntryState::Invalid => "invalid",
        EntryState::Fresh => "fresh",
        EntryState::Stale => "stale",
        _ => "unknown",
    };
    let stamps: Vec<Value> = explanation
        .stamps
        .iter()
        .map(|stamp| {
            // Epochs are random 64-bit numbers, more than a JSON number is safe for.
            json!({
                "timeline": &*stamp.timeline,
                "epoch": format!("{:016x}", stamp.epoch.0),
                "as_of": stamp.as_of.0,
            })
        })
        .collect();
    let dependencies: Vec<String> =
        explanation.dependencies.iter().map(ToString::to_string).collect();
    let last = explanation.last_invalidation.as_ref().map(|last| {
        json!({
            "timeline": &*last.timeline,
            "position": last.position.0,
            "what": &*last.what,
            "seconds_ago": last.ago.as_secs_f64(),
        })
    });
    json!({
        "resource": name,
        "tier": explanation.bytes.map(|_| "memory"),
        "state": state,
        "age_seconds": explanation.age.map(|age| age.as_secs_f64()),
        "ttl_left_seconds": explanation.ttl_left.map(|left| left.as_secs_f64()),
        "bytes": explanation.bytes,
        "stamps": stamps,
        "dependencies": dependencies,
        "words": explanation.dependencies.iter().map(word::of).collect::<Vec<_>>(),
        "widened": explanation.widened,
        "last_invalidation": last,
    })
}
