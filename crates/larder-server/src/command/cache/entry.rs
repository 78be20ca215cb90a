//! `larder cache get`, `set`, `begin`, `incr` and `touch`: one entry.
//!
//! **Invariant**: what `get` writes to a file is the value, byte for byte; a miss is neither an
//! empty value nor a failure (SD18).

use std::io::{IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use larder_sqlite::store::{Lifetime, ValueKind};

use crate::{
    cli::{AtStore, Begin, Get, Incr, Kind, Living, Set, Touch},
    entry,
    exit::Exit,
    say,
};

use super::{
    super::shown,
    place::{self, New, OVERTAKEN},
};

/// What is read of a value before it is refused, so that an endless input does not fill the memory;
/// more than SQLite takes.
const VALUE_BYTES_MAX: u64 = 1 << 30;

pub(super) async fn get(at: &AtStore, arguments: &Get) -> Result<Exit> {
    let Get { key, place } = arguments;
    let Some(found) = at.place().await?.entry(&place.region, key).await? else {
        if at.json {
            say!("null");
        }
        return Ok(absent(key, &place.region));
    };
    if at.json {
        say!("{found:#}");
        return Ok(Exit::Done);
    }
    let bytes = entry::bytes(&found).context("the answer has no value")?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes).context("cannot write the value")?;
    if out.is_terminal() {
        out.write_all(b"\n").context("cannot write the value")?;
    }
    out.flush().context("cannot write the value")?;
    Ok(Exit::Done)
}

fn absent(key: &str, region: &str) -> Exit {
    eprintln!("there is no entry `{}` in region `{}`", shown::text(key), shown::text(region));
    Exit::Absent
}

pub(super) async fn set(at: &AtStore, arguments: &Set) -> Result<Exit> {
    let lifetime = lifetime(&arguments.living)?;
    let kind = arguments.kind.map(|kind| match kind {
        Kind::Json => ValueKind::Json,
        Kind::Text => ValueKind::Text,
        Kind::Bytes => ValueKind::Bytes,
    });
    let value = entry::value(value(arguments)?, kind).map_err(anyhow::Error::msg)?;
    let key = arguments.key.as_str();
    let new = New {
        region: &arguments.place.region,
        key,
        value,
        lifetime,
        tags: &arguments.tag,
        is_pinned: arguments.pin,
        is_add: arguments.add,
        begun: arguments.begun.as_deref(),
    };
    let word = at.place_or_make().await?.put(new).await?;
    let why_not = match &*word {
        "present" => "was there already; it was left alone",
        OVERTAKEN => "was, or may have been, removed since it was begun; begin and compute again",
        _ => "",
    };
    match at.json {
        true => say!("{}", serde_json::json!({ "placed": word })),
        false if !why_not.is_empty() => {}
        false => say!("{word}"),
    }
    if !why_not.is_empty() {
        eprintln!("the entry `{}` {why_not}", shown::text(key));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

pub(super) async fn begin(at: &AtStore, arguments: &Begin) -> Result<Exit> {
    let Begin { key, place } = arguments;
    let begun = at.place_or_make().await?.begin(&place.region, key).await?;
    match at.json {
        true => say!("{}", serde_json::json!({ "begun": begun })),
        false => say!("{begun}"),
    }
    Ok(Exit::Done)
}

pub(super) async fn incr(at: &AtStore, arguments: &Incr) -> Result<Exit> {
    let Incr { key, by, living, place } = arguments;
    let lifetime = lifetime(living)?;
    let sum = at.place_or_make().await?.incr(&place.region, key, *by, lifetime).await?;
    match at.json {
        true => say!("{}", serde_json::json!({ "value": sum })),
        false => say!("{sum}"),
    }
    Ok(Exit::Done)
}

pub(super) async fn touch(at: &AtStore, arguments: &Touch) -> Result<Exit> {
    let Touch { key, living, place } = arguments;
    let lifetime = lifetime(living)?;
    let is_there = at.place().await?.touch(&place.region, key, lifetime).await?;
    if at.json {
        say!("{}", serde_json::json!({ "touched": u64::from(is_there) }));
    }
    if !is_there {
        return Ok(absent(key, &place.region));
    }
    if !at.json {
        say!("lives {}", place::spoken(lifetime));
    }
    Ok(Exit::Done)
}

fn lifetime(living: &Living) -> Result<Lifetime> {
    living.lifetime().context("say --ttl DURATION or --forever")
}

fn value(arguments: &Set) -> Result<Vec<u8>> {
    if let Some(value) = &arguments.value {
        return Ok(value.clone().into_bytes());
    }
    let mut bytes = Vec::new();
    match &arguments.file {
        Some(path) => {
            let cannot = || format!("cannot read {}", path.display());
            let file = std::fs::File::open(path).with_context(cannot)?;
            file.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(cannot)?;
        }
        None => {
            let input = std::io::stdin().lock().take(VALUE_BYTES_MAX + 1);
            { input }.read_to_end(&mut bytes).context("cannot read standard input")?;
        }
    }
    if VALUE_BYTES_MAX < bytes.len() as u64 {
        bail!("the value has more than {}", shown::size(VALUE_BYTES_MAX));
    }
    Ok(bytes)
}
