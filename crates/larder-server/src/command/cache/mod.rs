//! `larder cache`: looking into a store and changing what is in it, as a file or behind a server.
//!
//! Reading order: `here`, how a file is opened; `place`, a file or a server, `remote`, how the
//! server is asked, and `answer`, what is read out of what either says; `entry`, `listing` and
//! `removal`, what is done with entries; `batch`, many of them; `transfer`, lines of JSON, and
//! `outlet`, where they go; `whole`, what is done with the file. **Invariant**: the file may be in
//! use by servers, and nothing here evicts or replaces what is theirs unasked.

use anyhow::{Context as _, Result};

use crate::{
    cli::{Cache, CacheCommand},
    exit::Exit,
};

mod here;

mod place;

mod remote;

mod answer;

mod entry;

mod listing;

mod removal;

mod batch;

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
        CacheCommand::Incr(incr) => entry::incr(at, incr).await,
        CacheCommand::Touch(touch) => entry::touch(at, touch).await,
        CacheCommand::Rm(rm) => removal::rm(at, rm).await,
        CacheCommand::Tags(tags) => listing::tags(at, tags).await,
        CacheCommand::Stats => listing::stats(at).await,
        CacheCommand::Top(top) => listing::top(at, top).await,
        CacheCommand::Begin(begin) => entry::begin(at, begin).await,
        CacheCommand::Batch(operations) => batch::batch(at, operations).await,
        CacheCommand::Export(export) => transfer::export(at, export).await,
        CacheCommand::Import(import) => transfer::import(at, import).await,
        CacheCommand::Backup(backup) => whole::backup(at, backup).await,
        CacheCommand::Backups(backups) => whole::backups(at, backups).await,
        CacheCommand::Restore(restore) => whole::restore(at, restore).await,
        CacheCommand::Check(check) => whole::check(at, check).await,
        CacheCommand::Reshard(reshard) => whole::reshard(at, reshard).await,
        CacheCommand::Vacuum => whole::vacuum(at).await,
    }
}
