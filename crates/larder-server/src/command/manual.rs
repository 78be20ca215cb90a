//! `larder completions` and `larder man`: what a shell and a manual know of the command line.
//!
//! **Invariant**: both are made from what the help is made from, so that they cannot differ.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Completions, Man},
    exit::Exit,
    say,
};

pub(super) fn run_completions(arguments: &Completions) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "larder", &mut script);
    print(&script)
}

pub(super) fn run_man(arguments: &Man) -> Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = &arguments.dir else { return print(&page(&command)?) };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let count = write_pages(&command, "larder", dir)?;
    say!("{count} pages in {}", dir.display());
    Ok(Exit::Done)
}

/// Writes the page of `command`, and of all below it; how many.
fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> Result<usize> {
    let path = dir.join(format!("{name}.1"));
    let named = command.clone().display_name(name.to_owned());
    std::fs::write(&path, page(&named)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut count = 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        count += write_pages(below, &format!("{name}-{}", below.get_name()), dir)?;
    }
    Ok(count)
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command.clone());
    manual.render(&mut page).context("cannot make the page")?;
    Ok(page)
}

fn print(text: &[u8]) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).context("cannot write it")?;
    Ok(Exit::Done)
}
