//! Where each setting came from, so that the server can say it at start.
//!
//! **Invariant**: a secret is recorded as `(set)` and can therefore not be printed.

use std::{collections::BTreeMap, fmt};

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// The named variable of the environment.
    Environment(String),
    /// The named flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(variable) => write!(f, "env {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One effective setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The path of the setting, as in `server.listen`.
    pub path: String,
    /// The value as it would be written, or `(set)`.
    pub value: String,
    /// Who set it.
    pub source: Source,
}

impl Setting {
    /// As a program reads it, in `/v1/status` and on the command line.
    pub fn as_json(&self) -> serde_json::Value {
        let Self { path, value, source } = self;
        serde_json::json!({ "setting": path, "value": value, "source": source.to_string() })
    }
}

/// Who set which path.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, Source>);

impl Sources {
    /// Records that `source` set `path`; a later call wins.
    pub fn record(&mut self, path: impl Into<String>, source: Source) {
        self.0.insert(path.into(), source);
    }

    /// Records `source` for every leaf of `table`.
    pub fn record_table(&mut self, table: &toml::Table, source: &Source) {
        self.record_below("", table, source);
    }

    fn record_below(&mut self, prefix: &str, table: &toml::Table, source: &Source) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(inner) => self.record_below(&path, inner, source),
                _ => self.record(path, source.clone()),
            }
        }
    }

    /// Who set `path`, or anything below it.
    pub fn of(&self, path: &str) -> Source {
        if let Some(source) = self.0.get(path) {
            return source.clone();
        }
        let below = format!("{path}.");
        let found = self.0.range(below.clone()..).next();
        let found = found.filter(|(own, _)| own.starts_with(&below));
        found.map_or(Source::Default, |(_, source)| source.clone())
    }
}
