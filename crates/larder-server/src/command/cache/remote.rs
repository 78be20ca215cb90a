//! A store behind a running server, as commands ask it.
//!
//! Apart from `place`, which decides whom to ask. **Invariant**: what the server refuses ends the
//! command with the server's words; a token is read from a file and never shown.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use larder_sqlite::store::ValueKind;
use serde_json::{Value, json};

use crate::cli::Selection;

use super::{
    super::client::{Host, Refusal, Request, encoded, exchange, token},
    answer::{number, word},
    place::OVERTAKEN,
};

/// How long an answer may take: entries are quick.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a backup or a restore may take.
const PATIENCE_WHOLE: Duration = Duration::from_secs(3600);

/// Entries, keys or tags of one request.
const PAGE: usize = 1000;

/// A server, and who asks it.
#[derive(Debug)]
pub(super) struct Remote {
    url: String,
    host: Host,
    token: Option<String>,
}

/// The query of a request.
#[derive(Debug)]
struct Query(String);

impl Query {
    fn of(region: &str) -> Self {
        Self(format!("?region={}", encoded(region)))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(&format!("&{name}={}", encoded(value)));
        self
    }

    fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn selected(self, which: &Selection) -> Self {
        let mut query =
            self.maybe("pattern", which.pattern.as_deref()).maybe("glob", which.glob.as_deref());
        let lists =
            [("tag", &which.tag), ("all_tags", &which.all_tags), ("not_tag", &which.not_tag)];
        for (name, values) in lists {
            query = values.iter().fold(query, |query, value| query.with(name, value));
        }
        query
    }
}

impl Remote {
    pub(super) fn at(url: &str, token_file: Option<&Path>) -> Result<Self> {
        Ok(Self { url: url.to_owned(), host: Host::of(url)?, token: token(token_file)? })
    }

    /// The answer as JSON; `None` where there is no such entry.
    fn ask(&self, request: &Request<'_>, patience: Duration) -> Result<Option<Value>> {
        match exchange(&self.host, self.token.as_deref(), patience, request) {
            Ok(body) if body.is_empty() => Ok(Some(Value::Null)),
            Ok(body) => {
                serde_json::from_slice(&body).map(Some).context("the answer is not larder's")
            }
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.code() == "no-entry" => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.send("GET", path)
    }

    fn send(&self, method: &'static str, path: &str) -> Result<Value> {
        self.ask(&Request::new(method, path), PATIENCE).map(Option::unwrap_or_default)
    }

    pub(super) fn batch(&self, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request =
            Request::new("POST", "/v1/entries:batch").body("application/json", body.as_bytes());
        self.ask(&request, PATIENCE).map(Option::unwrap_or_default)
    }

    /// At most `limit` entries as listings show them, and where the next begin.
    pub(super) fn page(
        &self,
        region: &str,
        which: &Selection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let query = Query::of(region).selected(which);
        self.pages(&format!("/v1/entries{}", query.0), "entries", after, limit)
    }

    /// Some entries with their values, as `export` writes them, and where the next begin: the
    /// server says how many fit into an answer.
    pub(super) fn whole(
        &self,
        region: &str,
        which: &Selection,
        after: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let query = Query::of(region).selected(which).with("as", "entry");
        let query = query.with("limit", &PAGE.to_string()).maybe("cursor", after);
        let mut page = self.get(&format!("/v1/entries{}", query.0))?;
        let entries = page.get_mut("entries").and_then(Value::as_array_mut);
        let entries = std::mem::take(entries.context("the answer is not larder's")?);
        Ok((entries, page.get("next").and_then(Value::as_str).map(str::to_owned)))
    }

    pub(super) fn tags(
        &self,
        region: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        self.pages(&format!("/v1/tags{}", Query::of(region).0), "tags", after, limit)
    }

    /// At most `limit` items of the member `of`, and where the next begin.
    fn pages(
        &self,
        path: &str,
        of: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let (mut all, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let wanted = (limit - all.len()).min(PAGE);
            let cursor = after.map(|after| format!("&cursor={}", encoded(&after)));
            let cursor = cursor.unwrap_or_default();
            let mut page = self.get(&format!("{path}&limit={wanted}{cursor}"))?;
            if let Some(Value::Array(items)) = page.get_mut(of) {
                all.append(items);
            }
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() || limit <= all.len() {
                return Ok((all, after));
            }
        }
    }

    /// The whole entry, as `export` writes it.
    pub(super) fn entry(&self, region: &str, key: &str) -> Result<Option<Value>> {
        let query = Query::of(region).with("as", "entry");
        self.ask(&Request::new("GET", &path(key, &query.0)), PATIENCE)
    }

    pub(super) fn contains(&self, region: &str, key: &str) -> Result<bool> {
        let request = path(key, &Query::of(region).0);
        match self.ask(&Request::new("HEAD", &request), PATIENCE) {
            Ok(found) => Ok(found.is_some()),
            // The answer to a HEAD has no body that could say which one it is.
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.is_absent() => Ok(false),
                _ => Err(error),
            },
        }
    }

    pub(super) fn put(&self, new: &Put<'_>) -> Result<String> {
        let Put { region, key, kind, bytes, ttl, tags, is_pinned, is_add, begun } = new;
        let mut query = Query::of(region).with("ttl", ttl);
        query = tags.iter().fold(query, |query, tag| query.with("tag", tag));
        if *is_pinned {
            query = query.with("pinned", "true");
        }
        let media_type = match kind {
            ValueKind::Json => "application/json",
            ValueKind::Text => "text/plain",
            ValueKind::Bytes => "application/octet-stream",
        };
        let path = path(key, &query.0);
        let mut request = Request::new("PUT", &path).body(media_type, bytes);
        if *is_add {
            request = request.header("If-None-Match", "*");
        }
        if let Some(begun) = begun {
            request = request.header("Larder-Begun", begun);
        }
        match self.ask(&request, PATIENCE) {
            Ok(placed) => Ok(word(&placed.unwrap_or_default(), "placed").to_owned()),
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.code() == "precondition-failed" => {
                    Ok("present".to_owned())
                }
                Some(refusal) if refusal.code() == "overtaken" => Ok(OVERTAKEN.to_owned()),
                _ => Err(error),
            },
        }
    }

    /// What the value that is computed from now on is to be written with.
    pub(super) fn begin(&self, region: &str, key: &str) -> Result<String> {
        let query = format!(":begin{}", Query::of(region).0);
        Ok(word(&self.send("POST", &path(key, &query))?, "begun").to_owned())
    }

    /// Writes lines of an export; how many.
    pub(super) fn import(&self, region: &str, ttl: Option<&str>, lines: &[Value]) -> Result<u64> {
        self.batch(&json!({ "region": region, "ttl": ttl, "put": lines }))?;
        Ok(lines.len() as u64)
    }

    pub(super) fn remove(&self, region: &str, keys: &[String]) -> Result<u64> {
        let mut count = 0;
        for keys in keys.chunks(PAGE) {
            let removed = self.batch(&json!({ "region": region, "remove": keys }))?;
            let results = removed.get("results").and_then(Value::as_array);
            count += results.into_iter().flatten().map(|one| number(one, "removed")).sum::<u64>();
        }
        Ok(count)
    }

    /// Counts what is selected, or all of a region.
    pub(super) fn count(&self, region: &str, which: &Selection) -> Result<u64> {
        let query = select(region, which).with("dry_run", "true");
        let counted = self.send("DELETE", &format!("/v1/entries{}", query.0))?;
        Ok(number(&counted, "would_remove"))
    }

    pub(super) fn remove_matching(&self, region: &str, which: &Selection) -> Result<u64> {
        let removed = self.send("DELETE", &format!("/v1/entries{}", select(region, which).0))?;
        Ok(number(&removed, "removed"))
    }

    pub(super) fn incr(&self, region: &str, key: &str, by: i64, ttl: &str) -> Result<i64> {
        let query = Query::of(region).with("ttl", ttl).with("by", &by.to_string());
        let sum = self.send("POST", &path(key, &format!(":incr{}", query.0)))?;
        sum.get("value").and_then(Value::as_i64).context("the answer is not larder's")
    }

    /// Whether there was one.
    pub(super) fn touch(&self, region: &str, key: &str, ttl: &str) -> Result<bool> {
        let query = format!(":touch{}", Query::of(region).with("ttl", ttl).0);
        let path = path(key, &query);
        Ok(self.ask(&Request::new("POST", &path), PATIENCE)?.is_some())
    }

    pub(super) fn stats(&self) -> Result<Value> {
        self.get("/v1/stats")
    }

    pub(super) fn backups(&self) -> Result<Vec<Value>> {
        match self.get("/v1/backups")?.get_mut("backups") {
            Some(Value::Array(backups)) => Ok(std::mem::take(backups)),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn back_up(&self) -> Result<Value> {
        let request = Request::new("POST", "/v1/backups");
        self.ask(&request, PATIENCE_WHOLE).map(Option::unwrap_or_default)
    }

    pub(super) fn restore(&self, name: &str) -> Result<Value> {
        let path = format!("/v1/backups/{}:restore", encoded(name));
        self.ask(&Request::new("POST", &path), PATIENCE_WHOLE).map(Option::unwrap_or_default)
    }

    /// Where it is, for a question.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Put<'a> {
    pub(super) region: &'a str,
    pub(super) key: &'a str,
    pub(super) kind: ValueKind,
    pub(super) bytes: &'a [u8],
    pub(super) ttl: &'a str,
    pub(super) tags: &'a [String],
    pub(super) is_pinned: bool,
    pub(super) is_add: bool,
    pub(super) begun: Option<&'a str>,
}

/// A key is encoded as a whole, so that no part of it is taken for an action.
fn path(key: &str, rest: &str) -> String {
    format!("/v1/entries/{}{rest}", encoded(key))
}

fn select(region: &str, which: &Selection) -> Query {
    let (none, some) = (Query::of(region), Query::of(region).selected(which));
    if none.0 == some.0 { none.with("all", "true") } else { some }
}
