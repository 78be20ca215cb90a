//! `larder cache get` and `set`: one entry.
//!
//! **Invariant**: what `get` writes to a file is the value, byte for byte; a miss is neither an
//! empty value nor a failure (SD18).

use std::io::{IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use larder_sqlite::store::{NewEntry, Placed, ValueKind};

use crate::{
    cli::{AtStore, Get, Kind, Set},
    entry,
    exit::Exit,
    say,
};

use super::super::shown;

/// What is read of a value before it is refused, so that an endless input does not fill the memory;
/// more than SQLite takes.
const VALUE_BYTES_MAX: u64 = 1 << 30;

pub(super) async fn get(at: &AtStore, arguments: &Get) -> Result<Exit> {
    let Get { key, place } = arguments;
    let store = at.open().await?;
    let Some(found) = store.entries(&*place.region).entry(key).await? else {
        if at.json {
            say!("null");
        }
        let (key, region) = (shown::text(key), shown::text(&place.region));
        eprintln!("there is no entry `{key}` in region `{region}`");
        return Ok(Exit::Absent);
    };
    if at.json {
        say!("{:#}", entry::whole(&place.region, &found));
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&found.value.bytes).context("cannot write the value")?;
    if out.is_terminal() {
        out.write_all(b"\n").context("cannot write the value")?;
    }
    out.flush().context("cannot write the value")?;
    Ok(Exit::Done)
}

pub(super) async fn set(at: &AtStore, arguments: &Set) -> Result<Exit> {
    let lifetime = arguments.living.lifetime().context("say --ttl DURATION or --forever")?;
    let kind = arguments.kind.map(|kind| match kind {
        Kind::Json => ValueKind::Json,
        Kind::Text => ValueKind::Text,
        Kind::Bytes => ValueKind::Bytes,
    });
    let value = entry::value(value(arguments)?, kind).map_err(anyhow::Error::msg)?;
    let mut new = NewEntry::new(value, lifetime).tags(arguments.tag.clone());
    if arguments.pin {
        new = new.pinned();
    }
    let store = at.open_or_make().await?;
    let entries = store.entries(&*arguments.place.region).durable();
    let key = arguments.key.as_str();
    let placed = match arguments.add {
        true => entries.add(key, new).await?,
        false => entries.insert(key, new).await?,
    };
    let word = match placed {
        Placed::Inserted => "inserted",
        Placed::Replaced => "replaced",
        Placed::Present => "present",
    };
    match at.json {
        true => say!("{}", serde_json::json!({ "placed": word })),
        false if placed == Placed::Present => {}
        false => say!("{word}"),
    }
    if placed == Placed::Present {
        eprintln!("there is an entry `{}` already; it was left alone", shown::text(key));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
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
