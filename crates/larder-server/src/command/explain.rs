//! `larder explain`: what a running server knows of one answer.
//!
//! **Invariant**: explaining is not reading: it loads nothing and counts as no hit.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{cli::Explain, exit::Exit, say};

use super::client::encoded;

pub(super) fn run(arguments: &Explain) -> Result<Exit> {
    let Explain { resource, parameters, server, json } = arguments;
    let query: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let path = format!("/v1/resources/{}/explain?{}", encoded(resource), query.join("&"));
    let text = server.get(&path)?;
    if *json {
        say!("{text}");
        return Ok(Exit::Done);
    }
    let answer: Value = serde_json::from_str(&text).context("the answer is not larder's")?;
    let of = |name: &str| answer.get(name).filter(|value| !value.is_null());
    let word = |name: &str| of(name).and_then(Value::as_str).unwrap_or("-");
    say!("{}  state {}  tier {}", word("resource"), word("state"), word("tier"));
    let seconds = |name: &str| of(name).and_then(Value::as_f64);
    if let Some(age) = seconds("age_seconds") {
        let left = seconds("ttl_left_seconds").map_or("-".to_owned(), |left| format!("{left:.0}s"));
        let bytes = of("bytes").and_then(Value::as_u64).unwrap_or_default();
        say!("age {age:.0}s  ttl_left {left}  bytes {bytes}");
        match of("widened").and_then(Value::as_bool) {
            Some(true) => say!("depends on more than fits, so on all of these"),
            _ => say!("depends on"),
        }
    }
    print_dependencies(&answer, "dependencies");
    if let Some(last) = of("last_invalidation") {
        let part = |name: &str| last.get(name).and_then(Value::as_str).unwrap_or_default();
        let ago = last.get("seconds_ago").and_then(Value::as_f64).unwrap_or_default();
        say!("fell last {ago:.0}s ago, over {} on {}", part("what"), part("timeline"));
    }
    Ok(Exit::Done)
}

/// The dependencies under `name`, each with the word that other commands take for it.
pub(super) fn print_dependencies(answer: &Value, name: &str) {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
    let all: Vec<&str> = list(name).filter_map(Value::as_str).collect();
    let words: Vec<Option<&str>> = list("words").map(Value::as_str).collect();
    let width = all.iter().map(|dependency| dependency.chars().count()).max().unwrap_or(0);
    for (place, dependency) in all.iter().enumerate() {
        match words.get(place).copied().flatten() {
            Some(word) => say!("  {dependency:width$}  {word}"),
            None => say!("  {dependency}"),
        }
    }
}
