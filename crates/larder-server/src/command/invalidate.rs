//! `larder invalidate`: tells a running server that something changed.
//!
//! **Invariant**: with `--dry-run` nothing falls, and each word that was typed is shown with the
//! number of entries it reaches.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cli::{Invalidate, Spoken},
    exit::Exit,
    items::Items,
    say,
};

use super::dependents;

/// How long the server is asked to wait for loads. Half of what this client waits for an answer:
/// at more, a server that is slow besides would look as if it had gone.
const REWARM_WAIT_MS: u64 = 5000;

pub(super) fn run(arguments: &Invalidate) -> Result<Exit> {
    let mut items = Items::default();
    arguments.what.iter().for_each(|word| items.extend(word.items.clone()));
    let mut request = json!(items);
    if let Value::Object(members) = &mut request {
        let mode = if arguments.soft { "soft" } else { "hard" };
        members.insert("mode".to_owned(), mode.into());
        members.insert("at_most".to_owned(), arguments.at_most.into());
        members.insert("dry_run".to_owned(), arguments.dry_run.into());
        if let Some(at_most) = arguments.rewarm {
            let (concurrency, wait_ms) = (arguments.rewarm_concurrency, REWARM_WAIT_MS);
            let rewarm =
                json!({ "at_most": at_most, "concurrency": concurrency, "wait_ms": wait_ms });
            members.insert("rewarm".to_owned(), rewarm);
        }
    }
    let text = arguments.server.post("/v1/invalidate", &request)?;
    if arguments.json {
        say!("{text}");
        return Ok(Exit::Done);
    }
    let answer: Value = serde_json::from_str(&text).context("the answer is not larder's")?;
    let entries = number(&answer, "entries");
    match (arguments.dry_run, arguments.soft) {
        (true, _) => say!("{entries} would fall"),
        (false, false) => say!("{entries} fell"),
        (false, true) => say!("{entries} are stale"),
    }
    print_words(&arguments.what, &answer);
    if arguments.dry_run {
        print_preview(&answer);
    }
    if let Some(rewarm) = answer.get("rewarm") {
        print_rewarm(rewarm);
    }
    Ok(Exit::Done)
}

/// `1 entry`, `2 entries`.
fn number(answer: &Value, name: &str) -> String {
    match answer.get(name).and_then(Value::as_u64).unwrap_or_default() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

/// Each word with the number of entries it reached. The answer has them kind by kind.
fn print_words(words: &[Spoken], answer: &Value) {
    let width = words.iter().map(|spoken| spoken.word.chars().count()).max().unwrap_or(0);
    let mut seen: std::collections::HashMap<&str, usize> = Default::default();
    for Spoken { word, items } in words {
        let kind = kind(items);
        let place = seen.entry(kind).or_default();
        let touched = answer.get("touched").and_then(|touched| touched.get(kind)?.get(*place));
        *place += 1;
        say!("  {word:width$}  {}", touched.and_then(Value::as_u64).unwrap_or_default());
    }
}

fn kind(items: &Items) -> &'static str {
    match items {
        Items { ids, .. } if !ids.is_empty() => "ids",
        Items { scopes, .. } if !scopes.is_empty() => "scopes",
        Items { tables, .. } if !tables.is_empty() => "tables",
        Items { tags, .. } if !tags.is_empty() => "tags",
        _ => "everything",
    }
}

fn print_rewarm(rewarm: &Value) {
    if let Some(why) = rewarm.get("why").and_then(Value::as_str) {
        return say!("not loaded again: {why}");
    }
    let of = |name| rewarm.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (failed, skipped, left) = (of("failed"), of("skipped"), of("left"));
    say!("loaded again {}  failed {failed}  skipped {skipped}  under way {left}", of("loaded"));
}

fn print_preview(answer: &Value) {
    let resources = answer.get("resources").and_then(Value::as_array);
    for resource in resources.into_iter().flatten() {
        let name = resource.get("name").and_then(Value::as_str).unwrap_or_default();
        let of = |name| resource.get(name).and_then(Value::as_u64).unwrap_or_default();
        let reload = resource.get("reload_seconds").and_then(Value::as_f64);
        let reload = reload.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}s"));
        say!("{name}  entries {}  bytes {}  reload {reload}", of("entries"), of("bytes"));
    }
    if let Some(page) = answer.get("page") {
        dependents::print_entries(page);
    }
}
