//! `larder cache batch`: lines of operations in, lines of results out.
//!
//! Operations of one form and region that follow each other are one batch, as a server takes it.
//! **Invariant**: results are in the order of the lines, each printed when it is done; where a
//! batch cannot be done, none of it is, and all before it is.

use std::io::{BufRead, Read as _, Write as _};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::{
    batch::{ITEMS_MAX, Living},
    cli::{AtStore, Operations},
    entry::Line,
    exit::Exit,
};

use super::{
    place::{self, Place},
    transfer::{LINE_BYTES_MAX, REQUEST_BYTES},
};

/// What an operation may be.
const FORMS: [&str; 6] = ["get", "put", "add", "remove", "touch", "incr"];

pub(super) async fn batch(at: &AtStore, arguments: &Operations) -> Result<Exit> {
    let store = at.place_or_make().await?;
    let ttl = arguments.living.lifetime().map(place::written);
    let mut from = std::io::stdin().lock();
    let mut group = Group::default();
    let (mut line, mut exit) = (Vec::new(), Exit::Done);
    for number in 1_u64.. {
        line.clear();
        let read = (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let is_end = read.context("cannot read a line")? == 0;
        let operation = match line.trim_ascii() {
            [] => None,
            text => Some(Operation::read(text, &arguments.place.region)),
        };
        if is_end || operation.as_ref().is_some_and(|own| !group.takes(own, line.len())) {
            exit = worse(exit, group.run(&store, ttl.as_deref()).await?);
        }
        match operation {
            Some(Ok(operation)) => group.push(operation, number, line.len()),
            Some(Err(problem)) => bail!("line {number} {problem}; all before it is done"),
            None if is_end => break,
            None => {}
        }
    }
    Ok(exit)
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Done { other } else { one }
}

/// One line.
struct Operation {
    region: String,
    form: &'static str,
    item: Value,
}

impl Operation {
    fn read(text: &[u8], region: &str) -> Result<Self> {
        let mut members: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| anyhow!("is no operation: {error}"))?;
        let form = members.remove("op").unwrap_or_default();
        let form = FORMS.into_iter().find(|own| form == *own);
        let form = form.with_context(|| format!("needs an `op`: {}", FORMS.join(", ")))?;
        let region = match members.remove("region") {
            None => region.to_owned(),
            Some(Value::String(region)) => region,
            Some(_) => bail!("has a region that is no text"),
        };
        let item = match form {
            "get" | "remove" => match (members.remove("key"), members.keys().next()) {
                (Some(key @ Value::String(_)), None) => key,
                (_, Some(other)) => bail!("has `{other}`, which is not for `{form}`"),
                _ => bail!("needs a `key`, as text"),
            },
            "put" | "add" => checked::<Line>(members)?,
            _ => checked::<Living>(members)?,
        };
        Ok(Self { region, form, item })
    }
}

/// The item, which reads as a `T`.
fn checked<T: serde::de::DeserializeOwned>(members: Map<String, Value>) -> Result<Value> {
    // Through text, as a server reads it.
    let item = Value::Object(members);
    serde_json::from_str::<T>(&item.to_string()).map_err(|error| anyhow!("is not one: {error}"))?;
    Ok(item)
}

/// Operations that are done together.
#[derive(Default)]
struct Group {
    region: String,
    form: &'static str,
    items: Vec<Value>,
    bytes: usize,
    lines: (u64, u64),
}

impl Group {
    /// Whether an operation of so many bytes can be part of it. One that cannot be read ends it.
    fn takes(&self, operation: &Result<Operation>, bytes: usize) -> bool {
        let Ok(operation) = operation else { return false };
        self.items.is_empty()
            || operation.form == self.form
                && operation.region == self.region
                && self.items.len() < ITEMS_MAX
                && self.bytes + bytes <= REQUEST_BYTES
    }

    fn push(&mut self, operation: Operation, number: u64, bytes: usize) {
        let Operation { region, form, item } = operation;
        if self.items.is_empty() {
            self.lines.0 = number;
        }
        (self.region, self.form, self.lines.1) = (region, form, number);
        self.bytes += bytes;
        self.items.push(item);
    }

    /// Does what is in it, and prints what became of each; it is empty then.
    async fn run(&mut self, store: &Place, ttl: Option<&str>) -> Result<Exit> {
        let Self { region, form, items, lines: (first, last), .. } = std::mem::take(self);
        if items.is_empty() {
            return Ok(Exit::Done);
        }
        let what = || format!("lines {first} to {last} were not done; all before them is");
        let results = results(store, &region, form, items, ttl).await.with_context(what)?;
        let mut out = std::io::stdout().lock();
        let mut exit = Exit::Done;
        for result in results {
            if result.get("error").is_some() {
                exit = Exit::Failed;
            }
            writeln!(out, "{result}").context("cannot write a result")?;
        }
        out.flush().context("cannot write the results")?;
        Ok(exit)
    }
}

/// What became of each item. What has no room in one answer is asked for again.
async fn results(
    store: &Place,
    region: &str,
    form: &str,
    items: Vec<Value>,
    ttl: Option<&str>,
) -> Result<Vec<Value>> {
    let ask = async |items: &[Value]| {
        store.batch(&json!({ "region": region, "ttl": ttl, form: items })).await
    };
    let mut results = ask(&items).await?;
    loop {
        let left_out = |result: &Value| {
            result.pointer("/error/code").is_some_and(|code| code == "answer-too-large")
        };
        let places = (0..).zip(&results).filter(|(_, result)| left_out(result));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let wanted: Vec<Value> =
            places.iter().filter_map(|place| items.get(*place).cloned()).collect();
        if wanted.is_empty() {
            return Ok(results);
        }
        let again = ask(&wanted).await?;
        if again.iter().all(left_out) {
            bail!("the server gives none of the values that are left: its answers are too small");
        }
        for (place, result) in places.into_iter().zip(again) {
            if let Some(own) = results.get_mut(place) {
                *own = result;
            }
        }
    }
}
