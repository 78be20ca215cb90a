//! `larder cache rm`: entries go by key, by pattern or by tag.
//!
//! **Invariant**: a dry run counts what the same command without it would remove, and removes
//! nothing.

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{AtStore, Rm},
    exit::Exit,
    say,
};

use super::{super::shown, here, place::Place};

pub(super) async fn rm(at: &AtStore, arguments: &Rm) -> Result<Exit> {
    let store = at.place().await?;
    let mut keys = arguments.keys.clone();
    keys.sort_unstable();
    keys.dedup();
    if arguments.dry_run {
        let count = count(&store, arguments, &keys).await?;
        match at.json {
            true => say!("{}", json!({ "would_remove": count })),
            false => say!("{} would be removed", shown::entries(count)),
        }
        return Ok(Exit::Done);
    }
    // Where nobody is asked, nobody waits for the numbers of a million entries.
    if !arguments.yes && here::can_ask() {
        let count = count(&store, arguments, &keys).await?;
        let region = shown::text(&arguments.place.region);
        let question = format!("remove {} of region `{region}`?", shown::entries(count));
        if 1 < count && !here::is_wanted(&question)? {
            eprintln!("nothing was removed");
            return Ok(Exit::Failed);
        }
    }
    let region = &*arguments.place.region;
    let count = match keys.is_empty() {
        true => store.remove_matching(region, &arguments.which).await?,
        false => store.remove(region, &keys).await?,
    };
    match at.json {
        true => say!("{}", json!({ "removed": count })),
        false => say!("{} removed", shown::entries(count)),
    }
    Ok(Exit::Done)
}

async fn count(store: &Place, arguments: &Rm, keys: &[String]) -> Result<u64> {
    let region = &*arguments.place.region;
    if keys.is_empty() {
        return store.count(region, &arguments.which).await;
    }
    let mut count = 0;
    for key in keys {
        count += u64::from(store.contains(region, key).await?);
    }
    Ok(count)
}
