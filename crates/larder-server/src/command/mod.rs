//! The commands: one file each, and how their errors become an exit code.
//!
//! **Invariant**: an error is printed once, here, with all its causes, and says what to do.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    cli::{Command, ConfigFile},
    config::{Config, ConfigError, Inputs},
    exit::Exit,
    serve::StartError,
};

pub mod serve;

pub mod check;

pub mod track;

mod plan;

mod client;

pub mod status;

pub mod invalidate;

pub mod explain;

pub mod dependents;

pub mod token;

mod cache;

mod table;

mod manual;

mod shown;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "larder.toml";

/// Does what was asked.
pub fn run(command: Command) -> Exit {
    let done = match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => crate::demo::run(arguments),
        Command::Track(arguments) => track::run(&arguments),
        Command::Untrack(arguments) => track::run_untrack(&arguments),
        Command::CheckConfig(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Invalidate(arguments) => invalidate::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Dependents(arguments) => dependents::run(&arguments),
        Command::Token => token::run(),
        Command::Cache(arguments) => cache::run(&arguments),
        Command::Table(arguments) => table::run(&arguments),
        Command::Completions(arguments) => manual::run_completions(&arguments),
        Command::Man(arguments) => manual::run_man(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {}", with_causes(&error));
        if let Some(refusal) = error.downcast_ref::<client::Refusal>() {
            return refusal.exit();
        }
        match error.downcast_ref::<StartError>() {
            Some(StartError::Config(_)) => Exit::Config,
            Some(StartError::Listen(..)) => Exit::Failed,
            None if error.is::<ConfigError>() => Exit::Config,
            None => Exit::Failed,
        }
    })
}

fn with_causes(error: &anyhow::Error) -> String {
    let mut text = match error.downcast_ref::<larder_core::Error>() {
        Some(error) => format!("failed to {error}"),
        None => error.to_string(),
    };
    for cause in error.chain().skip(1) {
        write!(text, "\n  because: {cause}").expect("writing to a string cannot fail");
    }
    text
}

/// Reads the configuration that the command line and the environment name.
pub(crate) fn load(file: &ConfigFile, listen: Option<SocketAddr>) -> Result<Config, ConfigError> {
    let inputs = inputs(file, listen);
    // Everything can come from the environment, as in a container.
    let is_named = |(name, _): &(String, String)| name.starts_with("LARDER_ORIGIN__");
    if inputs.file.is_none() && !inputs.variables.iter().any(is_named) {
        let problem = "there is no such file here. Name one with --config, or see one at work \
                       with `larder demo`";
        return Err(ConfigError::new(DEFAULT_FILE, problem));
    }
    Config::load(inputs)
}

/// Where a server with that configuration listens; also without one, as the demo does.
fn listen(file: &ConfigFile) -> Result<SocketAddr, ConfigError> {
    Ok(Config::load(inputs(file, None))?.server.listen)
}

/// The file that is named, or else the one that is here, and the environment.
fn inputs(file: &ConfigFile, listen: Option<SocketAddr>) -> Inputs {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let named = file.config.clone().or_else(|| {
        let variable = variables.iter().find(|(name, _)| name == "LARDER_CONFIG");
        variable.map(|(_, path)| PathBuf::from(path))
    });
    let here = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
    Inputs { file: named.or_else(here), variables, listen }
}
