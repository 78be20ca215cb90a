//! `larder check-config`: everything that `serve` would find out, without serving.
//!
//! **Invariant**: it finds all that is wrong, not only the first, and changes nothing; what it
//! prints for people and for programs is the same.

use std::collections::HashMap;

use anyhow::Result;
use larder::Clock;
use serde_json::{Value, json};

use crate::{
    auth::Auth,
    catalog::failed,
    cli::CheckConfig,
    config::{Config, Origin as Settings, Setting},
    declared::Declared,
    exit::Exit,
    origin::{Notice, Origin},
    say,
    table::Plan,
};

use super::serve::settings_table;

/// What was found out about an origin that can be opened.
struct Found<'a> {
    name: &'a str,
    settings: &'a Settings,
    origin: Origin,
    /// The tables that their statements read.
    read: Vec<String>,
    /// The resources over it, each with what its answers depend on.
    resources: Vec<(&'a str, Vec<String>)>,
    /// The tables over it, each with the tables of the origin that it reads.
    tables: Vec<(&'a str, Vec<String>)>,
    notices: Vec<Notice>,
}

pub(super) fn run(arguments: &CheckConfig) -> Result<Exit> {
    let config = super::load(&arguments.file, None)?;
    let mut faults = Vec::new();
    if let Err(error) = Auth::new(&config) {
        faults.push(error.to_string());
    }
    let mut found = Vec::new();
    for (name, settings) in &config.origins {
        found.extend(check_origin(&config, name, settings, &mut faults));
    }
    declared(&config, &mut found, &mut faults);
    match arguments.json {
        true => say!("{:#}", as_json(&config, &found, &faults)),
        false => print(&config, &found, &faults),
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Config })
}

fn check_origin<'a>(
    config: &'a Config,
    name: &'a str,
    settings: &'a Settings,
    faults: &mut Vec<String>,
) -> Option<Found<'a>> {
    let origin = match Origin::open(name, settings, &Clock::system()) {
        Ok(origin) => origin,
        Err(error) => {
            faults.push(failed(&format!("origin.{name}"), &error).to_string());
            return None;
        }
    };
    let (mut resources, mut read) = (Vec::new(), Vec::new());
    for (resource, settings) in config.resources.iter().filter(|(_, r)| r.origin == name) {
        match origin.prepare(settings) {
            Ok(question) => {
                read.extend(question.reads());
                resources.push((&**resource, question.described()));
            }
            Err(error) => {
                faults.push(failed(&format!("resource.{resource}.sql"), &error).to_string());
            }
        }
    }
    let mut tables = Vec::new();
    for (table, settings) in config.tables.iter().filter(|(_, table)| table.origin == name) {
        match Plan::new(table, settings, &origin) {
            Ok(plan) => tables.push((&**table, plan.reads().to_vec())),
            Err(error) => faults.push(failed(&format!("table.{table}"), &error).to_string()),
        }
    }
    // After the statements: whether tracking is complete depends on what they read.
    let notices = origin.notices();
    Some(Found { name, settings, origin, read, resources, tables, notices })
}

/// Adds what resources declare. It may name any origin, so all of them are open by now.
fn declared(config: &Config, found: &mut [Found<'_>], faults: &mut Vec<String>) {
    let read = found.iter().flat_map(|Found { name, read, .. }| {
        read.iter().map(|table| ((*name).to_owned(), table.clone()))
    });
    let read = read.collect();
    let mut lines = HashMap::new();
    for (name, settings) in &config.resources {
        match Declared::of(name, settings, found.iter().map(|found| &found.origin), &read) {
            Ok(declared) => {
                lines.insert(name.as_str(), declared.described());
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    for (name, own) in found.iter_mut().flat_map(|found| &mut found.resources) {
        own.extend(lines.remove(name).unwrap_or_default());
    }
}

fn print(config: &Config, found: &[Found<'_>], faults: &[String]) {
    say!("{}\n", settings_table(&config.settings));
    for Found { name, settings, resources, tables, notices, .. } in found {
        say!("origin {name}: {}", settings.path.display());
        for (resource, lines) in resources {
            say!("  resource {resource} depends on");
            for line in lines {
                say!("    {line}");
            }
        }
        for (table, reads) in tables {
            say!("  table {table} reads {}", reads.join(", "));
        }
        for notice in notices {
            let word = if notice.matters { "warning" } else { "note" };
            say!("  {word}: {}", notice.text);
        }
    }
    for fault in faults {
        eprintln!("error: {fault}");
    }
    if faults.is_empty() {
        let tables = match config.tables.len() {
            0 => String::new(),
            count => format!(" and {count} tables"),
        };
        say!("{} resources{tables} can be served", config.resources.len());
    }
}

fn as_json(config: &Config, found: &[Found<'_>], faults: &[String]) -> Value {
    let settings: Vec<Value> = config.settings.iter().map(Setting::as_json).collect();
    let origin = |Found { name, settings, resources, tables, notices, .. }: &Found<'_>| {
        let table = |(name, reads): &(&str, Vec<String>)| json!({ "name": name, "reads": reads });
        let resource =
            |(name, lines): &(&str, Vec<String>)| json!({ "name": name, "depends_on": lines });
        let notice = |notice: &Notice| json!({ "matters": notice.matters, "text": notice.text });
        json!({
            "name": name,
            "path": settings.path.display().to_string(),
            "resources": resources.iter().map(resource).collect::<Vec<_>>(),
            "tables": tables.iter().map(table).collect::<Vec<_>>(),
            "notices": notices.iter().map(notice).collect::<Vec<_>>(),
        })
    };
    let origins: Vec<Value> = found.iter().map(origin).collect();
    json!({ "settings": settings, "origins": origins, "faults": faults })
}
