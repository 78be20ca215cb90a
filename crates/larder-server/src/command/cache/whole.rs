//! `larder cache backup`, `backups`, `restore`, `check` and `vacuum`: the file as a whole.
//!
//! **Invariant**: what cannot be done leaves the store and the backup as they were.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use larder_core::{Error, ErrorKind, clock::WallMillis};
use larder_sqlite::store::{self, Condition, Depth, Progress, Resharded, SqliteStore};
use serde_json::{Value, json};

use crate::{
    cli::{AtStore, Backup, Backups, Check, Reshard, Restore},
    exit::Exit,
    moment::Moment,
    say, stats,
};

use super::{
    super::shown,
    answer::{number, text},
    here,
    place::Place,
    remote::Remote,
};

pub(super) async fn backup(at: &AtStore, arguments: &Backup) -> Result<Exit> {
    if let Some(remote) = at.remote()? {
        if arguments.to.is_some() || arguments.kept.backups.is_some() {
            bail!("a server writes into its own directory of backups: name no other place");
        }
        let waiting = here::spinner("taking a backup");
        let taken = remote.back_up()?;
        waiting.finish_and_clear();
        match at.json {
            true => say!("{taken}"),
            false => {
                let (bytes, name) = (number(&taken, "bytes"), text(&taken, "name"));
                say!("{} in {name}, verified", shown::size(bytes));
            }
        }
        return Ok(Exit::Done);
    }
    let store = at.open().await?;
    let to = match &arguments.to {
        Some(to) => to.clone(),
        None => store::backup_in(at.kept(&arguments.kept)?, store.path())?,
    };
    let bar = here::bar(0, "pages");
    let told = bar.clone();
    let progress = move |so_far: Progress| here::at(&told, so_far.done, so_far.pages);
    let taken = store.backup_with(&to, progress);
    let taken = taken.await?;
    bar.finish_and_clear();
    let bytes = taken.bytes();
    match at.json {
        true => {
            let path = taken.path.display().to_string();
            say!("{}", json!({ "path": path, "taken_ms": taken.taken.0, "bytes": bytes }));
        }
        false => say!("{} in {}, verified", shown::size(bytes), taken.path.display()),
    }
    Ok(Exit::Done)
}

pub(super) async fn backups(at: &AtStore, arguments: &Backups) -> Result<Exit> {
    let kept = match at.remote()? {
        Some(remote) => remote.backups()?,
        None => {
            let kept = store::backups_in(at.kept(&arguments.kept)?, at.path()?)?;
            kept.iter().map(stats::backup).collect()
        }
    };
    if at.json {
        say!("{:#}", json!({ "backups": kept }));
        return Ok(Exit::Done);
    }
    if kept.is_empty() {
        say!("no backups yet; `larder cache backup` takes one");
        return Ok(Exit::Done);
    }
    let row = |backup: &Value| {
        let taken = Moment(number(backup, "taken_ms"));
        [taken.to_string(), shown::size(number(backup, "bytes")), text(backup, "name")]
    };
    shown::columns(["taken", "size", "name"], &kept.iter().map(row).collect::<Vec<_>>());
    Ok(Exit::Done)
}

pub(super) async fn restore(at: &AtStore, arguments: &Restore) -> Result<Exit> {
    if let Some(remote) = at.remote()? {
        return restore_there(at, &remote, arguments);
    }
    let (path, from) = (at.path()?, chosen(at, arguments)?);
    let question = format!(
        "put the content of {} in the place of what is in {}?",
        from.display(),
        path.display()
    );
    if path.exists() && !arguments.yes && !here::is_wanted(&question)? {
        eprintln!("nothing was changed");
        return Ok(Exit::Failed);
    }
    let waiting = here::spinner("checking the backup and restoring it");
    let condition = SqliteStore::restore_file(&path, &from).await?;
    waiting.finish_and_clear();
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

/// The backup that is meant: a file, the name of one that is kept, or the one of a time.
fn chosen(at: &AtStore, arguments: &Restore) -> Result<PathBuf> {
    let kept = || anyhow::Ok(store::backups_in(at.kept(&arguments.kept)?, at.path()?)?);
    match (&arguments.from, arguments.as_of) {
        (None, Some(Moment(at))) => Ok(store::backup_as_of(kept()?, WallMillis(at))?.path),
        (Some(from), _) if from.exists() => Ok(from.clone()),
        (Some(from), _) => {
            // Whoever names a file that is not there may know none that is kept.
            let kept = kept().unwrap_or_default();
            let named = kept.into_iter().find(|own| own.path.file_name() == Some(from.as_os_str()));
            Ok(named.map_or_else(|| from.clone(), |own| own.path))
        }
        (None, None) => bail!("name a backup, or a time with --as-of"),
    }
}

fn restore_there(at: &AtStore, remote: &Remote, arguments: &Restore) -> Result<Exit> {
    if arguments.kept.backups.is_some() {
        bail!("a server restores from its own directory of backups: name no other place");
    }
    let name = match (&arguments.from, arguments.as_of) {
        (Some(from), _) => from.to_str().unwrap_or_default().to_owned(),
        (None, Some(Moment(at))) => {
            let kept = remote.backups()?;
            let mut kept = kept.iter().rev();
            let found = kept.find(|backup| number(backup, "taken_ms") <= at);
            found
                .map(|backup| text(backup, "name"))
                .ok_or_else(|| anyhow!("no backup that is kept was taken by {}", Moment(at)))?
        }
        (None, None) => bail!("name a backup, or a time with --as-of"),
    };
    if name.contains('/') {
        bail!("a server restores what it keeps: give a name of `larder cache backups`");
    }
    let question = format!("put the content of {name} in the place of what {} has?", remote.url());
    if !arguments.yes && !here::is_wanted(&question)? {
        eprintln!("nothing was changed");
        return Ok(Exit::Failed);
    }
    let waiting = here::spinner("the server restores the backup");
    let restored = remote.restore(&name)?;
    waiting.finish_and_clear();
    match at.json {
        true => say!("{}", json!({ "restored": restored.get("restored"), "put_aside": null })),
        false => say!("restored from {}", shown::text(&name)),
    }
    Ok(Exit::Done)
}

pub(super) async fn check(at: &AtStore, arguments: &Check) -> Result<Exit> {
    let depth = if arguments.quick { Depth::Quick } else { Depth::Full };
    if let Some(remote) = at.remote()? {
        Place::There(remote).file("`larder cache check` looks at the file")?;
    }
    let found = match at.open().await {
        Ok(store) => {
            let bar = here::percent("checking");
            let told = bar.clone();
            let progress = move |done, all| here::at(&told, done, all);
            let report = store.check_with(depth, progress).await?;
            bar.finish_and_clear();
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
        _ => say!(
            "the store is corrupt; `larder cache restore` puts a backup in its place, and `larder \
                   cache backups` lists those that are kept"
        ),
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

pub(super) async fn reshard(at: &AtStore, arguments: &Reshard) -> Result<Exit> {
    if at.remote()?.is_some() {
        bail!("a store is resharded where its files are, while no server has it open");
    }
    let (path, count) = (at.path()?, arguments.shards);
    let bar = here::bar(0, "entries");
    let told = bar.clone();
    let done = store::reshard(path, count, move |done, all| here::at(&told, done, all)).await?;
    bar.finish_and_clear();
    let Resharded { before, entries, left, .. } = done;
    if at.json {
        let (moved, files) = (entries, count);
        say!("{}", json!({ "files_before": before, "files": files, "moved": moved, "left": left }));
        return Ok(Exit::Done);
    }
    if before == count {
        say!("it is kept in {count} files already");
        return Ok(Exit::Done);
    }
    say!("{} in {count} files, before in {before}", shown::entries(entries));
    if 0 < left {
        say!("{} that a cache can invalidate were left behind", shown::entries(left));
    }
    say!("say `shards = {count}` in [store] of the configuration");
    Ok(Exit::Done)
}

pub(super) async fn vacuum(at: &AtStore) -> Result<Exit> {
    let store =
        at.place().await?.file("it vacuums by itself; `larder cache vacuum` does it now")?;
    let length = || stats::file_bytes(&store);
    let before = length();
    let bar = here::percent("removing what is gone");
    let told = bar.clone();
    store.keep_with(move |done, all| here::at(&told, done, all)).await?;
    bar.finish_and_clear();
    let after = length();
    match at.json {
        true => say!("{}", json!({ "bytes_before": before, "bytes_after": after })),
        false => say!("{} before, {} after", shown::size(before), shown::size(after)),
    }
    Ok(Exit::Done)
}
