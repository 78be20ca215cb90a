//! `larder dependents`: which answers of a running server depend on something.
//!
//! **Invariant**: it shows one page, and says how to get the next if there is one.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{cli::Dependents, exit::Exit, say};

use super::{client::encoded, explain::print_dependencies};

pub(super) fn run(arguments: &Dependents) -> Result<Exit> {
    let mut path =
        format!("/v1/dependents?of={}&size={}", encoded(&arguments.of.word), arguments.size);
    if let Some(after) = &arguments.after {
        path.push_str(&format!("&after={}", encoded(after)));
    }
    let text = arguments.server.get(&path)?;
    if arguments.json {
        say!("{text}");
        return Ok(Exit::Done);
    }
    let answer: Value = serde_json::from_str(&text).context("the answer is not larder's")?;
    say!("what depends on");
    print_dependencies(&answer, "of");
    say!("entries");
    print_entries(&answer);
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        say!("more with --after {next}");
    }
    Ok(Exit::Done)
}

/// The entries of a page: resource and parameters, as `larder explain` takes them.
pub(super) fn print_entries(page: &Value) {
    let entries = page.get("entries").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let resource = entry.get("resource").and_then(Value::as_str).unwrap_or_default();
        let parameters = entry.get("parameters").and_then(Value::as_object);
        let parameters = parameters.into_iter().flatten().map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            Value::Object(blob) => {
                format!("{name}={}", blob.get("base64").and_then(Value::as_str).unwrap_or_default())
            }
            other => format!("{name}={other}"),
        });
        let words: Vec<String> = std::iter::once(resource.to_owned()).chain(parameters).collect();
        say!("  {}", words.join("  "));
    }
}
