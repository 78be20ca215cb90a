//! `larder cache`: looking into a store and changing what is in it, without a server.
//!
//! Reading order: `here`, how the store is opened; `entry`, `listing` and `removal`, what is done
//! with entries; `transfer`, lines of JSON, and `outlet`, where they go; `whole`, what is done with
//! the file. **Invariant**: the file may be in use by servers, and nothing here evicts or replaces
//! what is theirs unasked.

use anyhow::{Context as _, Result};

use crate::{
    cli::{Cache, CacheCommand},
    exit::Exit,
};

mod here;

mod entry;

mod listing;

mod removal;

mod transfer;

mod outlet;

mod whole;

pub(super) fn run(arguments: &Cache) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(does(arguments))
}

async fn does(arguments: &Cache) -> Result<Exit> {
    let at = &arguments.at;
    match &arguments.what {
        CacheCommand::Ls(ls) => listing::ls(at, ls).await,
        CacheCommand::Get(get) => entry::get(at, get).await,
        CacheCommand::Set(set) => entry::set(at, set).await,
        CacheCommand::Rm(rm) => removal::rm(at, rm).await,
        CacheCommand::Tags(tags) => listing::tags(at, tags).await,
        CacheCommand::Stats => listing::stats(at).await,
        CacheCommand::Top(top) => listing::top(at, top).await,
        CacheCommand::Export(export) => transfer::export(at, export).await,
        CacheCommand::Import(import) => transfer::import(at, import).await,
        CacheCommand::Backup(backup) => whole::backup(at, backup).await,
        CacheCommand::Restore(restore) => whole::restore(at, restore).await,
        CacheCommand::Check(check) => whole::check(at, check).await,
        CacheCommand::Vacuum => whole::vacuum(at).await,
    }
}
