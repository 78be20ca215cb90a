//! `/health/live` and `/health/ready`: what a supervisor and a load balancer ask.
//!
//! They need neither a token nor a listed name, so that a probe works by address; the details are
//! only for those who could read resources. **Invariant**: ready means that this node answers: its
//! tables were loaded once, or that was tried. An origin that is down does not make every node
//! behind the balancer vanish at once.

use http::{Method, Response, StatusCode, request::Parts};
use serde_json::{Value, json};

use crate::{
    body::Reply,
    config::Scope,
    problem::{Code, Problem},
    server::Server,
    table::life::State,
};

pub(super) fn answer(server: &Server, head: &Parts) -> Result<Response<Reply>, Problem> {
    if head.method != Method::GET && head.method != Method::HEAD {
        let problem = Problem::new(Code::MethodNotAllowed, "use GET");
        return Err(problem.header("allow", "GET, HEAD"));
    }
    match head.uri.path() {
        "/health/live" => Ok(super::json(StatusCode::OK, &json!({ "status": "live" }))),
        "/health/ready" => Ok(ready(server, head)),
        _ => Err(Problem::new(Code::NotFound, "use /health/live or /health/ready")),
    }
}

fn ready(server: &Server, head: &Parts) -> Response<Reply> {
    let origins = origins(server);
    let sound = origins.iter().all(|origin| origin.get("state") == Some(&"known".into()));
    let tables: Vec<(&str, State)> =
        server.catalog.tables.iter().map(|own| (&*own.name, own.life.state())).collect();
    let followed = server.catalog.followers.iter().map(|one| (&*one.name, one.state()));
    let tables: Vec<(&str, State)> = tables.into_iter().chain(followed).collect();
    let is_loading = tables.iter().any(|(_, state)| *state == State::Loading);
    let is_loaded = tables.iter().all(|(_, state)| *state == State::Loaded);
    let (status, word) = match (server.phase.is_stopping(), is_loading) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        (false, false) if sound && is_loaded => (StatusCode::OK, "ready"),
        (false, false) => (StatusCode::OK, "degraded"),
    };
    let tables = tables.iter().map(|(name, state)| json!({ "name": name, "state": state.name() }));
    let tables: Vec<Value> = tables.collect();
    let named = server.hosts.check(&head.uri, &head.headers).is_ok();
    let details = named && server.auth.check(&head.headers, Scope::Read).is_ok();
    let body = match details {
        true => json!({ "status": word, "origins": origins, "tables": tables }),
        false => json!({ "status": word }),
    };
    super::json(status, &body)
}

/// How it stands with each origin, and what an operator should know.
pub(super) fn origins(server: &Server) -> Vec<Value> {
    let timelines = server.cache.status().timelines;
    let of = |name: &str| timelines.iter().find(|timeline| &*timeline.name == name);
    server
        .catalog
        .origins
        .iter()
        .map(|origin| {
            let timeline = of(&origin.name);
            let age = timeline.and_then(|timeline| timeline.proven_age);
            let doubt = timeline.and_then(|timeline| timeline.last_doubt);
            let notices = server.notices(&origin.name);
            let state = match (timeline, age) {
                (None, _) => "untracked",
                (Some(_), Some(age)) if age.as_secs() < 1 => "known",
                (Some(_), _) => "unknown",
            };
            json!({
                "name": origin.name,
                "track": format!("{:?}", origin.track).to_lowercase(),
                "state": if state == "untracked" { "known" } else { state },
                "known_seconds_ago": age.map(|age| age.as_secs_f64()),
                "epoch_began_because": doubt.map(|doubt| doubt.to_string()),
                "notices": notices,
            })
        })
        .collect()
}
