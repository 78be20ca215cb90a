//! `larder serve`: runs until it is told to stop.
//!
//! **Invariant**: what is effective, and who set it, is printed before the first request.

use anyhow::{Context as _, Result};

use crate::{
    cli::Serve,
    config::{Config, Setting},
    exit::Exit,
    say,
    serve::{self, Drained, Running},
    server::Timing,
    shutdown,
};

pub(super) fn run(arguments: &Serve) -> Result<Exit> {
    let config = super::load(&arguments.file, arguments.listen)?;
    say!("{}", settings_table(&config.settings));
    runtime(&config)?.block_on(async {
        let running = serve::start(config, Timing::Sampled).await?;
        announce(&running);
        say!("ready on http://{}", running.address);
        let signal = shutdown::signal().await;
        say!("{signal}: stopping");
        Ok(match running.stop().await {
            Drained::Whole => Exit::Done,
            Drained::Cut => Exit::Cut,
        })
    })
}

/// The runtime that answers requests.
pub(crate) fn runtime(config: &Config) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.server.threads)
        .enable_all()
        .build()
        .context("cannot start the threads that answer requests")
}

/// Says what an operator should know before it matters.
fn announce(running: &Running) {
    let catalog = &running.server.catalog;
    let is_tableless = catalog.tables.is_empty() && catalog.followers.is_empty();
    if catalog.resources.is_empty() && is_tableless {
        tracing::warn!(
            "there is no [resource.NAME] and no [table.NAME] section, so there is nothing to serve"
        );
    }
}

/// Settings in aligned columns: name, value, source.
pub(crate) fn settings_table(settings: &[Setting]) -> String {
    let width = |of: fn(&Setting) -> usize, most: usize| {
        settings.iter().map(of).filter(|width| *width <= most).max().unwrap_or(0)
    };
    let names = width(|setting| setting.path.len(), 60);
    let values = width(|setting| setting.value.len(), 40);
    let line = |Setting { path, value, source }: &Setting| {
        let value = one_line(value);
        format!("{path:names$}  {value:values$}  {source}")
    };
    settings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// SQL may span lines in the file; here it stays on one.
fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}
