//! `larder status`: asks a running server how it is.
//!
//! It finds the server as `serve` finds its address: flag, environment, file, default.
//! **Invariant**: it shows what the server says and works nothing out by itself.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{cli::Status, exit::Exit, say};

use super::shown;

pub(super) fn run(arguments: &Status) -> Result<Exit> {
    let text = arguments.server.get("/v1/status")?;
    if arguments.json {
        say!("{text}");
        return Ok(Exit::Done);
    }
    let status: Value = serde_json::from_str(&text).context("the answer is not larder's")?;
    print_rows(&status, "settings", &["setting", "value", "source"]);
    print_rows(&status, "origins", &["name", "track", "state"]);
    let columns = ["name", "hits", "stale_hits", "misses", "errors", "hit_mean_micros"];
    print_rows(&status, "resources", &columns);
    if status.get("tables").and_then(Value::as_array).is_some_and(|tables| !tables.is_empty()) {
        let columns = ["name", "state", "records", "bytes", "hits", "misses", "invalid"];
        print_rows(&status, "tables", &columns);
    }
    warnings(&status).iter().for_each(|line| say!("  {line}"));
    store(&status).iter().for_each(|line| say!("{line}"));
    Ok(Exit::Done)
}

/// How the store is, and loudly what was wrong with it.
fn store(status: &Value) -> Vec<String> {
    let Some(store) = status.get("store").filter(|store| store.is_object()) else {
        return Vec::new();
    };
    let text = |name: &str| store.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| store.get(name).and_then(Value::as_u64);
    let mut line = format!("  {}", text("condition"));
    if let (Some(entries), Some(bytes)) = (number("entries"), number("bytes")) {
        line = format!("{line}  {}  {}", shown::entries(entries), shown::size(bytes));
    }
    let mut lines = vec!["store".to_owned(), line];
    if !text("says").is_empty() {
        lines.push(format!("  !! {}", shown::text(text("says"))));
    }
    let findings = store.get("findings").and_then(Value::as_array).into_iter().flatten();
    let findings = findings.filter_map(Value::as_str);
    lines.extend(findings.map(|finding| format!("  !! {}", shown::text(finding))));
    lines
}

/// What should be nothing, and a word on what it means where it is not.
fn warnings(status: &Value) -> Vec<String> {
    const WARNINGS: [(&str, &str); 3] = [
        ("forgotten", "loads took longer than changes are remembered, and were not stored"),
        ("widened", "loads depended on more than fits, so their answers fall with whole tables"),
        ("built_on_stale", "answers were built from others that were past their TTL"),
    ];
    let mut lines = Vec::new();
    for resource in status.get("resources").and_then(Value::as_array).into_iter().flatten() {
        let name = resource.get("name").and_then(Value::as_str).unwrap_or_default();
        for (counter, meaning) in WARNINGS {
            match resource.get(counter).and_then(Value::as_u64) {
                None | Some(0) => {}
                Some(count) => lines.push(format!("{name}  {counter} {count}: {meaning}")),
            }
        }
    }
    lines
}

fn print_rows(status: &Value, section: &str, columns: &[&str]) {
    say!("{section}");
    for row in status.get(section).and_then(Value::as_array).into_iter().flatten() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| match row.get(column) {
                Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
                Some(value) if ["resources", "tables"].contains(&section) => {
                    format!("{column} {value}")
                }
                Some(value) => value.to_string(),
                None => "-".to_owned(),
            })
            .collect();
        say!("  {}", cells.join("  "));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_store_that_was_replaced_says_so() {
        let status = json!({ "store": {
            "condition": "replaced", "says": "THE STORE WAS CORRUPT", "findings": ["page 3"],
            "entries": 1, "bytes": 10,
        } });
        let lines = store(&status);
        assert_eq!(lines[1], "  replaced  1 entry  10 B");
        assert_eq!(lines[2..], ["  !! THE STORE WAS CORRUPT", "  !! page 3"]);
        assert!(store(&json!({ "store": null })).is_empty() && store(&json!({})).is_empty());
    }

    #[test]
    fn what_should_be_nothing_is_shown_where_it_is_not() {
        let status = json!({ "resources": [
            { "name": "quiet", "forgotten": 0, "widened": 0, "built_on_stale": 0 },
            { "name": "loud", "forgotten": 2, "widened": 0, "built_on_stale": 3 },
        ] });
        let lines = warnings(&status);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("loud  forgotten 2: ") && lines[1].contains("stale 3: "));
        assert!(warnings(&json!({ "resources": [{ "name": "old server" }] })).is_empty());
    }
}
