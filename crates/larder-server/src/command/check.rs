//! `larder check-config`: everything that `serve` would find out, without serving.
//!
//! **Invariant**: it finds all that is wrong, not only the first, and changes nothing.

use anyhow::Result;
use larder::Clock;

use crate::{
    auth::Auth,
    catalog::failed,
    cli::CheckConfig,
    config::{Config, Origin as Settings},
    exit::Exit,
    origin::Origin,
    say,
};

use super::serve::settings_table;

pub(super) fn run(arguments: &CheckConfig) -> Result<Exit> {
    let config = super::load(&arguments.file, None)?;
    say!("{}\n", settings_table(&config.settings));
    let mut faults = Vec::new();
    if let Err(error) = Auth::new(&config) {
        faults.push(error.to_string());
    }
    for (name, settings) in &config.origins {
        check_origin(&config, name, settings, &mut faults);
    }
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    if faults.is_empty() {
        say!("{} resources can be served", config.resources.len());
        return Ok(Exit::Done);
    }
    Ok(Exit::Config)
}

fn check_origin(config: &Config, name: &str, settings: &Settings, faults: &mut Vec<String>) {
    let origin = match Origin::open(name, settings, &Clock::system()) {
        Ok(origin) => origin,
        Err(error) => {
            faults.push(failed(&format!("origin.{name}"), &error).to_string());
            return;
        }
    };
    say!("origin {name}: {}", settings.path.display());
    for (resource, settings) in config.resources.iter().filter(|(_, r)| r.origin == name) {
        match origin.prepare(settings) {
            Ok(question) => {
                say!("  resource {resource} depends on");
                for line in question.described() {
                    say!("    {line}");
                }
            }
            Err(error) => {
                faults.push(failed(&format!("resource.{resource}.sql"), &error).to_string());
            }
        }
    }
    // After the statements: whether tracking is complete depends on what they read.
    for notice in origin.notices() {
        let word = if notice.matters { "warning" } else { "note" };
        say!("  {word}: {}", notice.text);
    }
}
