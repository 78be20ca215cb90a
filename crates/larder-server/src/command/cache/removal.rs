//! `larder cache rm`: entries go by key, by pattern or by tag.
//!
//! **Invariant**: a dry run counts what the same command without it would remove, and removes
//! nothing.

use anyhow::Result;
use larder_sqlite::store::{Entries, Select};
use serde_json::json;

use crate::{
    cli::{AtStore, Rm},
    exit::Exit,
    say,
};

use super::{super::shown, here};

pub(super) async fn rm(at: &AtStore, arguments: &Rm) -> Result<Exit> {
    let store = at.open().await?;
    let region = shown::text(&arguments.place.region);
    let entries = store.entries(&*arguments.place.region).durable();
    let which = Which::new(arguments);
    let is_silent = arguments.yes && !arguments.dry_run;
    if !is_silent {
        let count = which.count(&entries).await?;
        if arguments.dry_run {
            match at.json {
                true => say!("{}", json!({ "would_remove": count })),
                false => say!("{} would be removed", shown::entries(count)),
            }
            return Ok(Exit::Done);
        }
        let question = format!("remove {} of region `{region}`?", shown::entries(count));
        if 1 < count && !here::is_wanted(&question)? {
            eprintln!("nothing was removed");
            return Ok(Exit::Failed);
        }
    }
    let count = which.remove(&entries).await?;
    match at.json {
        true => say!("{}", json!({ "removed": count })),
        false => say!("{} removed", shown::entries(count)),
    }
    Ok(Exit::Done)
}

enum Which {
    Keys(Vec<String>),
    Selected(Select),
}

impl Which {
    fn new(arguments: &Rm) -> Self {
        match arguments.keys.is_empty() {
            true => Self::Selected(arguments.which.select()),
            false => {
                let mut keys = arguments.keys.clone();
                keys.sort_unstable();
                keys.dedup();
                Self::Keys(keys)
            }
        }
    }

    async fn count(&self, entries: &Entries) -> Result<u64> {
        match self {
            Self::Selected(select) => Ok(entries.count(select).await?),
            Self::Keys(keys) => {
                let mut count = 0;
                for key in keys {
                    count += u64::from(entries.contains(key).await?);
                }
                Ok(count)
            }
        }
    }

    async fn remove(self, entries: &Entries) -> Result<u64> {
        match self {
            Self::Selected(select) => Ok(entries.remove_matching(&select).await?),
            Self::Keys(keys) => {
                let removed = entries.remove_many(keys).await?;
                Ok(removed.into_iter().filter(|was_there| *was_there).count() as u64)
            }
        }
    }
}
