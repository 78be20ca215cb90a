//! `larder table`: asks a running server about its tables, and tells it what changed.
//!
//! **Invariant**: it shows what the server says and works nothing out by itself.

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        Asking, Table, TableAdjust, TableCommand, TableGet, TableInvalidate, TableLs, TableRefresh,
        TableStats,
    },
    exit::Exit,
    say,
};

use super::{client::encoded, shown};

pub(super) fn run(arguments: &Table) -> Result<Exit> {
    match &arguments.what {
        TableCommand::Ls(arguments) => list(arguments),
        TableCommand::Get(arguments) => get(arguments),
        TableCommand::Adjust(arguments) => adjust(arguments),
        TableCommand::Invalidate(arguments) => invalidate(arguments),
        TableCommand::Refresh(arguments) => refresh(arguments),
        TableCommand::Stats(arguments) => stats(arguments),
    }?;
    Ok(Exit::Done)
}

/// What the server says; `None` where it was printed as it is.
fn answer(asking: &Asking, text: &str) -> Result<Option<Value>> {
    if asking.json {
        say!("{text}");
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).context("the answer is not larder's")
}

fn post(asking: &Asking, table: &str, what: &str, body: &Value) -> Result<Option<Value>> {
    let path = format!("/v1/tables/{}/{what}", encoded(table));
    answer(asking, &asking.server.post(&path, body)?)
}

fn list(TableLs { asking }: &TableLs) -> Result<()> {
    let Some(answer) = answer(asking, &asking.server.get("/v1/tables")?)? else { return Ok(()) };
    let rows = tables(&answer).map(|table| {
        [
            word(table, "/name"),
            origin(table),
            state(table),
            number(table, "records").to_string(),
            shown::size(number(table, "bytes")),
            window(table),
        ]
    });
    let head = ["TABLE", "ORIGIN", "STATE", "RECORDS", "SIZE", "WINDOW"];
    shown::columns(head, &rows.collect::<Vec<_>>());
    Ok(())
}

/// Where the records come from.
fn origin(table: &Value) -> String {
    match table.get("replica_of").and_then(Value::as_str) {
        Some(owner) => shown::text(&format!("replica of {owner}")),
        None => word(table, "/origin"),
    }
}

/// How it is, and how it came to be so.
fn state(table: &Value) -> String {
    match table.get("restored") {
        Some(Value::Bool(true)) => "restored".to_owned(),
        _ => word(table, "/state"),
    }
}

/// As `time [1, 9)`, or `time, sliding`.
fn window(table: &Value) -> String {
    let index = word(table, "/window/index");
    if table.pointer("/window/slides") == Some(&Value::Bool(true)) {
        return format!("{index}, sliding");
    }
    let end = |range: &Value, at: &str| match range.get(at) {
        None | Some(Value::Null) => "..".to_owned(),
        Some(key) => key_text(key),
    };
    let ranges = table.pointer("/window/ranges").and_then(Value::as_array).into_iter().flatten();
    let ranges: Vec<String> =
        ranges.map(|range| format!(" [{}, {})", end(range, "from"), end(range, "to"))).collect();
    format!("{index}{}", ranges.join(""))
}

fn key_text(key: &Value) -> String {
    let parts: Vec<String> = key.as_array().into_iter().flatten().map(cell).collect();
    parts.join(",")
}

fn get(arguments: &TableGet) -> Result<()> {
    let TableGet { table, asking, .. } = arguments;
    let path = format!("/v1/tables/{}?{}", encoded(table), query(arguments));
    let Some(answer) = answer(asking, &asking.server.get(&path)?)? else { return Ok(()) };
    let records = answer.get("records").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let columns = answer.get("columns").and_then(Value::as_array).into_iter().flatten();
    let columns: Vec<&str> = columns.filter_map(Value::as_str).collect();
    let head: Vec<String> = columns.iter().map(|name| shown::text(name)).collect();
    let row = |record: &Value| -> Vec<String> {
        columns.iter().map(|name| cell(record.get(name).unwrap_or(&Value::Null))).collect()
    };
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    shown::table(&head, &rows);
    if answer.get("covered") == Some(&Value::Bool(false)) {
        say!("not all of it is in the window; what was missing was loaded");
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        say!("more with --cursor {next}");
    }
    Ok(())
}

fn query(arguments: &TableGet) -> String {
    let TableGet { index, from, to, prefix, and, and_from, and_to, cursor, .. } = arguments;
    let value = |own: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        own().map(|value| value.get_name().to_owned())
    };
    let order = value(&|| arguments.order.to_possible_value());
    let outside = value(&|| arguments.outside.to_possible_value());
    let limit = Some(arguments.limit.to_string());
    let all = [
        ("index", index),
        ("from", from),
        ("to", to),
        ("prefix", prefix),
        ("and", and),
        ("and_from", and_from),
        ("and_to", and_to),
        ("order", &order),
        ("limit", &limit),
        ("cursor", cursor),
        ("outside", &outside),
    ];
    let given = all.iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    given.map(|(name, text)| format!("{name}={}", encoded(text))).collect::<Vec<_>>().join("&")
}

fn adjust(arguments: &TableAdjust) -> Result<()> {
    let TableAdjust { table, from, to, asking } = arguments;
    let mut body = Map::new();
    body.extend(from.as_ref().map(|key| ("from".to_owned(), key.0.clone())));
    body.extend(to.as_ref().map(|key| ("to".to_owned(), key.0.clone())));
    let answer = post(asking, table, "adjust", &body.into())?;
    answer.iter().for_each(print_adjusted);
    Ok(())
}

fn print_adjusted(answer: &Value) {
    let of = |name| number(answer, name);
    let (loaded, expired) = (of("loaded"), of("expired"));
    say!("loaded {loaded}  expired {expired}  there are now {}", of("records"));
}

fn invalidate(arguments: &TableInvalidate) -> Result<()> {
    let TableInvalidate { table, index, old, new, key, serve_stale, asking } = arguments;
    let spans = |all: &[crate::cli::TableSpan]| -> Vec<Value> {
        all.iter().map(|span| span.0.clone()).collect()
    };
    let mut body = json!({ "old": spans(old), "new": spans(new), "serve_stale": serve_stale });
    if let Value::Object(members) = &mut body {
        let keys: Vec<Value> = key.iter().map(|key| key.0.clone()).collect();
        members.insert("keys".to_owned(), keys.into());
        members.extend(index.as_ref().map(|index| ("index".to_owned(), index.as_str().into())));
    }
    if let Some(answer) = post(asking, table, "invalidate", &body)? {
        say!("invalidations that wait for a read or a refresh: {}", number(&answer, "invalid"));
    }
    Ok(())
}

fn refresh(arguments: &TableRefresh) -> Result<()> {
    let TableRefresh { table, all, asking } = arguments;
    match post(asking, table, "refresh", &json!({ "all": all }))? {
        None => {}
        Some(answer) if *all => print_adjusted(&answer),
        Some(answer) => {
            let of = |name| number(&answer, name);
            say!("invalidations carried out {}  there are now {}", of("refreshed"), of("records"));
        }
    }
    Ok(())
}

/// Each number of a table, in the order of its life.
const NUMBERS: [&str; 11] = [
    "records",
    "bytes",
    "limit_bytes",
    "invalid",
    "hits",
    "hits_with_refresh",
    "misses",
    "refreshes",
    "adjustments",
    "loaded",
    "expired",
];

fn stats(arguments: &TableStats) -> Result<()> {
    let TableStats { table: wanted, asking } = arguments;
    let Some(answer) = answer(asking, &asking.server.get("/v1/tables")?)? else { return Ok(()) };
    let is_wanted =
        |table: &&Value| wanted.as_ref().is_none_or(|name| word(table, "/name") == *name);
    let found: Vec<&Value> = tables(&answer).filter(is_wanted).collect();
    if let (true, Some(name)) = (found.is_empty(), wanted) {
        bail!("the server has no table `{name}`; `larder table ls` lists those there are");
    }
    for table in found {
        say!("{}  {}", word(table, "/name"), state(table));
        for name in NUMBERS {
            say!("  {name:<18}{}", number(table, name));
        }
    }
    Ok(())
}

fn tables(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("tables").and_then(Value::as_array).into_iter().flatten()
}

fn word(table: &Value, at: &str) -> String {
    shown::text(table.pointer(at).and_then(Value::as_str).unwrap_or_default())
}

fn number(table: &Value, name: &str) -> u64 {
    table.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// A value of a record.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown::text(text),
        other => other.to_string(),
    }
}
