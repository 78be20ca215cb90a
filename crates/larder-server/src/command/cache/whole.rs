//! `larder cache backup`, `restore`, `check` and `vacuum`: the file as a whole.
//!
//! **Invariant**: what cannot be done leaves the store and the backup as they were.

use std::path::Path;

use anyhow::Result;
use larder_core::{Error, ErrorKind};
use larder_sqlite::store::{Condition, Depth, SqliteStore};
use serde_json::{Value, json};

use crate::{
    cli::{AtStore, Backup, Check, Restore},
    exit::Exit,
    say,
};

use super::{super::shown, here};

pub(super) async fn backup(at: &AtStore, arguments: &Backup) -> Result<Exit> {
    let store = at.open().await?;
    let bar = here::bar(0, "pages");
    let told = bar.clone();
    let taken = store.backup_with(&arguments.to, move |progress| {
        told.set_length(progress.pages);
        told.set_position(progress.done);
    });
    let taken = taken.await?;
    bar.finish_and_clear();
    let bytes = bytes_of(&taken.path);
    match at.json {
        true => {
            let path = taken.path.display().to_string();
            say!("{}", json!({ "path": path, "taken_ms": taken.taken.0, "bytes": bytes }));
        }
        false => say!("{} in {}, verified", shown::size(bytes), taken.path.display()),
    }
    Ok(Exit::Done)
}

/// Bytes of a backup, with its value files.
fn bytes_of(path: &Path) -> u64 {
    let length = |file: std::fs::Metadata| file.len();
    let mut values = path.as_os_str().to_owned();
    values.push("-values");
    let values = std::fs::read_dir(Path::new(&values)).into_iter().flatten().flatten();
    let in_files: u64 = values.map(|file| file.metadata().map_or(0, length)).sum();
    std::fs::metadata(path).map_or(0, length) + in_files
}

pub(super) async fn restore(at: &AtStore, arguments: &Restore) -> Result<Exit> {
    let (path, from) = (at.path()?, &arguments.from);
    let question = format!(
        "put the content of {} in the place of what is in {}?",
        from.display(),
        path.display()
    );
    if path.exists() && !arguments.yes && !here::is_wanted(&question)? {
        eprintln!("nothing was changed");
        return Ok(Exit::Failed);
    }
    let condition = SqliteStore::restore_file(&path, from).await?;
    let put_aside = match condition {
        Condition::Replaced { put_aside, .. } => put_aside,
        _ => None,
    };
    let aside = put_aside.map(|path| path.display().to_string());
    if at.json {
        say!("{}", json!({ "restored": from.display().to_string(), "put_aside": aside }));
        return Ok(Exit::Done);
    }
    say!("restored from {}", from.display());
    if let Some(aside) = aside {
        say!("the broken file is kept as {aside}");
    }
    Ok(Exit::Done)
}

pub(super) async fn check(at: &AtStore, arguments: &Check) -> Result<Exit> {
    let depth = if arguments.quick { Depth::Quick } else { Depth::Full };
    let found = match at.open().await {
        Ok(store) => {
            let report = store.check(depth).await?;
            let (entries, bytes, strays) = (report.entries, report.bytes, report.strays);
            Found { entries, bytes, strays, findings: report.findings }
        }
        // A file that cannot even be opened is what a check is for.
        Err(error) => match error.downcast::<Error>() {
            Ok(error) if error.kind() == ErrorKind::Corrupt => {
                Found { entries: 0, bytes: 0, strays: 0, findings: vec![error.to_string()] }
            }
            Ok(error) => return Err(error.into()),
            Err(error) => return Err(error),
        },
    };
    let exit = if found.findings.is_empty() { Exit::Done } else { Exit::Failed };
    if at.json {
        say!("{:#}", found.as_json());
        return Ok(exit);
    }
    for finding in &found.findings {
        say!("fault: {}", shown::text(finding));
    }
    if 0 < found.strays {
        say!("{} value files that no entry names; they are removed behind", found.strays);
    }
    match exit {
        Exit::Done => {
            let (entries, bytes) = (shown::entries(found.entries), shown::size(found.bytes));
            say!("sound: {entries} with {bytes} of keys and values");
        }
        _ => say!("the store is corrupt; `larder cache restore` puts a backup in its place"),
    }
    Ok(exit)
}

struct Found {
    entries: u64,
    bytes: u64,
    strays: u64,
    findings: Vec<String>,
}

impl Found {
    fn as_json(&self) -> Value {
        let Self { entries, bytes, strays, findings } = self;
        let is_sound = findings.is_empty();
        json!({
            "sound": is_sound, "entries": entries, "bytes": bytes,
            "stray_files": strays, "findings": findings,
        })
    }
}

pub(super) async fn vacuum(at: &AtStore) -> Result<Exit> {
    let store = at.open().await?;
    let length = || std::fs::metadata(store.path()).map_or(0, |file| file.len());
    let before = length();
    store.keep().await?;
    let after = length();
    match at.json {
        true => say!("{}", json!({ "bytes_before": before, "bytes_after": after })),
        false => say!("{} before, {} after", shown::size(before), shown::size(after)),
    }
    Ok(Exit::Done)
}
