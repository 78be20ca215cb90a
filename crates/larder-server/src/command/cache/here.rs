//! The store that a command is about, which entries of it, and who is asked first.
//!
//! **Invariant**: a command that only looks makes no file, and a corrupt file is left as it is.

use std::{
    io::{BufRead, IsTerminal as _, Write},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use larder_sqlite::store::{
    Eviction, Lifetime, OnCorruption, Pattern, Select, SqliteStore, StoreOptions,
};

use crate::{
    cli::{AtStore, ConfigFile, Kept, Living, Selection},
    config::{Config, ConfigError, Store},
};

/// The limits belong to whoever serves the file: a command that had its own would evict entries
/// that were welcome there, and refuse to read what is there.
const NO_LIMIT: u64 = 1 << 62;

impl AtStore {
    /// Where the store is.
    pub(super) fn path(&self) -> Result<PathBuf, ConfigError> {
        if let Some(path) = &self.store {
            return Ok(path.clone());
        }
        let problem = "no store is named: say which file with --store FILE, or in `store.path` of \
                       the configuration";
        let path = configured()?.map(|store| store.path);
        path.ok_or_else(|| ConfigError::new("store", problem))
    }

    /// Where backups are kept: where it was said, or where the configuration says.
    pub(super) fn kept(&self, kept: &Kept) -> Result<PathBuf, ConfigError> {
        if let Some(directory) = &kept.backups {
            return Ok(directory.clone());
        }
        let directory = configured()?.and_then(|store| store.backups);
        let problem = "it is not known where backups are kept: name the file of the backup, or the \
                       directory with --backups DIR or in `store.backups` of the configuration";
        directory.ok_or_else(|| ConfigError::new("store.backups", problem))
    }

    /// Opens the store that is there.
    pub(super) async fn open(&self) -> Result<SqliteStore> {
        let path = self.path()?;
        if !path.exists() {
            bail!(
                "there is no store at {}; `restore` and whatever writes entries make one",
                path.display()
            );
        }
        self.open_or_make().await
    }

    /// Opens the store, and makes it if there is none.
    pub(super) async fn open_or_make(&self) -> Result<SqliteStore> {
        let options = StoreOptions::new()
            .max_entries(NO_LIMIT)
            .max_bytes(NO_LIMIT)
            .max_value_bytes(NO_LIMIT)
            .eviction(Eviction::OfOthers)
            .on_corruption(OnCorruption::Refuse)
            .shards_as_found();
        Ok(SqliteStore::open_with(self.path()?, options).await?)
    }
}

/// The store of the configuration.
fn configured() -> Result<Option<Store>, ConfigError> {
    let inputs = super::super::inputs(&ConfigFile { config: None }, None);
    Ok(Config::load(inputs)?.store)
}

impl Selection {
    /// What it means to a store.
    pub(super) fn select(&self) -> Select {
        let mut select = Select::everything();
        if let Some(pattern) = &self.pattern {
            select = select.matching(Pattern::percent(pattern));
        }
        if let Some(pattern) = &self.glob {
            select = select.matching(Pattern::glob(pattern));
        }
        if !self.tag.is_empty() {
            select = select.any_of(self.tag.clone());
        }
        if !self.all_tags.is_empty() {
            select = select.all_of(self.all_tags.clone());
        }
        select.none_of(self.not_tag.clone())
    }
}

impl Living {
    /// How long an entry lives, if that was said.
    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        match (self.ttl, self.forever) {
            (Some(ttl), _) => Some(Lifetime::For(ttl.0)),
            (None, true) => Some(Lifetime::Forever),
            (None, false) => None,
        }
    }
}

/// Whether somebody sits at the terminal who can be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks whoever sits at the terminal; off one, the command line was the answer.
pub(super) fn is_wanted(question: &str) -> Result<bool> {
    match can_ask() {
        true => ask(question, &mut std::io::stdin().lock(), &mut std::io::stderr()),
        false => Ok(true),
    }
}

fn ask(question: &str, from: &mut impl BufRead, to: &mut impl Write) -> Result<bool> {
    write!(to, "{question} [y/N] ").and_then(|()| to.flush()).context("cannot ask")?;
    let mut answer = String::new();
    from.read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// A sign of life on a terminal, nothing elsewhere, for work whose length nobody knows.
pub(super) fn spinner(doing: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(doing);
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    spinner
}

/// How much of some work is done, on a terminal; nothing elsewhere.
pub(super) fn percent(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent} % {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Shows that so much of it is done.
pub(super) fn at(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all);
    bar.set_position(done);
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn bar(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{human_pos}} of {{human_len}} {unit}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, is_yes) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("no\n", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(ask("remove?", &mut answer.as_bytes(), &mut asked).unwrap(), is_yes);
            assert_eq!(asked, b"remove? [y/N] ");
        }
    }
}
