//! `POST /v1/invalidate`: somebody says that something changed, or asks what would fall if it had.
//!
//! **Invariant**: an error anywhere in the request invalidates nothing, and so do a dry run and a
//! limit that is too low for what is named.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use larder::{ErrorKind, Invalidating, Page};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    body::Reply,
    items::{Items, Meaning, Names},
    position,
    problem::{Code, Problem},
    server::Server,
    tag::Tag,
};

use super::{dependents, read, rewarm};

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    // As in `Items`, which cannot be flattened where unknown members are refused.
    ids: Vec<Vec<Json>>,
    scopes: Vec<(String, Map<String, Json>)>,
    tables: Vec<String>,
    tags: Vec<Tag>,
    everything: Vec<String>,
    /// What becomes of the entries.
    mode: Mode,
    /// The most entries that may fall.
    at_most: Option<u64>,
    /// Only show what would fall.
    dry_run: bool,
    /// Load the most read of the entries again.
    rewarm: Option<rewarm::Written>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// They fall at once.
    #[default]
    Hard,
    /// They are stale at once, and served as such where their resource allows it.
    Soft,
}

/// Entries that a dry run shows; `GET /v1/dependents` has pages of any.
const SHOWN: usize = 100;

pub(super) async fn answer(
    server: &Arc<Server>,
    body: Incoming,
) -> Result<Response<Reply>, Problem> {
    let request: Request = read::json(server, body).await?;
    let Request { ids, scopes, tables, tags, everything, mode, at_most, dry_run, rewarm } = request;
    let items = Items { ids, scopes, tables, tags, everything };
    items.check_count()?;
    let names = Names::read(&server.catalog, items.origins()).await?;
    let meaning = items.meaning(&names)?;
    let begin = || {
        let invalidation = server.cache.invalidation().drop_all_of(meaning.dependencies.clone());
        match mode {
            Mode::Hard => invalidation.hard(),
            Mode::Soft => invalidation.soft(),
        }
    };
    let planned = rewarm.map(|rewarm| rewarm.plan(server)).transpose()?;
    if dry_run {
        return preview(server, &meaning, &begin(), at_most);
    }
    let mut invalidation = begin();
    if let Some(entries) = at_most {
        invalidation = invalidation.at_most(entries);
    }
    if let Some(rewarm) = planned.as_ref().and_then(rewarm::Planned::rewarm) {
        invalidation = invalidation.rewarm(rewarm);
    }
    let done = match invalidation.commit().await {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::Limit => {
            server.told.refused.add(1);
            return Err(too_many(&begin(), at_most.unwrap_or_default()));
        }
        Err(error) => return Err(failed(&error)),
    };
    match mode {
        Mode::Hard => server.told.hard.add(1),
        Mode::Soft => server.told.soft.add(1),
    }
    let position = server.positions.header(&done.token);
    let each = done.touched.iter().map(|count| *count as u64);
    let total = each.clone().sum();
    let mut shown = json!({
        "position": position.to_str().unwrap_or_default(),
        "entries": total,
        "touched": meaning.by_item(each, total),
    });
    if let Some(planned) = planned
        && let Json::Object(members) = &mut shown
    {
        let rewarm = planned.follow(server, done.rewarming).await;
        members.insert("rewarm".to_owned(), rewarm);
    }
    let mut response = super::json(StatusCode::OK, &shown);
    response.headers_mut().insert(position::POSITION, position);
    Ok(response)
}

/// What would fall, without letting it.
fn preview(
    server: &Server,
    meaning: &Meaning,
    invalidation: &Invalidating,
    at_most: Option<u64>,
) -> Result<Response<Reply>, Problem> {
    let preview = invalidation.preview().map_err(|error| failed(&error))?;
    let resources: Vec<Json> = preview
        .by_region
        .iter()
        .map(|region| {
            json!({
                "name": &*region.region,
                "entries": region.affected.entries,
                "bytes": region.affected.bytes,
                "reload_seconds": region.reload.map(|reload| reload.as_secs_f64()),
            })
        })
        .collect();
    let each = preview.by_dependency.iter().map(|affected| affected.entries);
    let page = preview.entries(Page::first(SHOWN));
    let shown = json!({
        "dry_run": true,
        "entries": preview.total.entries,
        "bytes": preview.total.bytes,
        "reload_seconds": preview.reload().as_secs_f64(),
        "too_many": at_most.is_some_and(|most| most < preview.total.entries),
        "touched": meaning.by_item(each, preview.total.entries),
        "resources": resources,
        "page": dependents::shown(server, &page),
    });
    Ok(super::json(StatusCode::OK, &shown))
}

fn too_many(invalidation: &Invalidating, at_most: u64) -> Problem {
    // Counted afterwards, so by now fewer may be left than were too many.
    let counted = invalidation.preview().map_or(0, |preview| preview.total.entries);
    let entries = counted.max(at_most.saturating_add(1));
    let detail = format!(
        "{entries} entries would fall, at most {at_most} may; nothing was dropped. Look at them \
         with \"dry_run\": true, name less, or raise at_most"
    );
    Problem::new(Code::TooManyEntries, detail).with("entries", entries).with("at_most", at_most)
}

fn failed(error: &larder::Error) -> Problem {
    tracing::error!(?error, "an invalidation failed");
    Problem::new(Code::LoadFailed, "the invalidation failed; see the log")
}
