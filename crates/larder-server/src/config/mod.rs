//! The configuration: from the file, the environment and the flags to what the server works with.
//!
//! Reading order: [`mod@file`] is how it is written, [`environment`] what overrides it, `resolve`
//! where the defaults live, [`provenance`] how each setting says where it came from. **Invariant**:
//! a [`Config`] is complete and checked as far as it can be without opening an origin.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub mod file;

pub mod duration;

pub mod size;

pub mod environment;

pub mod provenance;

pub mod store;

pub mod table;

pub mod replica;

mod resolve;

pub use duration::{Lifetime, Span};
pub use file::{Kind, Scope, Switch, Tracking};
pub use provenance::{Setting, Source};
pub use replica::Replica;
pub use size::Size;
pub use store::Store;
pub use table::Table;

use crate::secret::Secret;

use provenance::Sources;

/// What the server works with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The HTTP side.
    pub server: Server,
    /// What all resources share.
    pub cache: Cache,
    /// Where entries outlive the process, if anywhere.
    pub store: Option<Store>,
    /// Who may do what.
    pub tokens: Vec<Token>,
    /// Where the truth lives, by name.
    pub origins: BTreeMap<String, Origin>,
    /// What is served, by name.
    pub resources: BTreeMap<String, Resource>,
    /// What is held as tables, by name.
    pub tables: BTreeMap<String, Table>,
    /// What follows the tables of other servers, by name.
    pub replicas: BTreeMap<String, Replica>,
    /// Every effective setting, in the order of the file's documentation.
    pub settings: Vec<Setting>,
}

/// The HTTP side. [`file::Server`] says what each setting means.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are documented where they are written")]
pub struct Server {
    pub listen: SocketAddr,
    pub hosts: Vec<String>,
    pub connections: usize,
    pub subscribers: usize,
    pub heartbeat: Duration,
    pub events_bytes: usize,
    pub header_bytes: usize,
    pub body_bytes: usize,
    pub parameter_bytes: usize,
    pub request_timeout: Duration,
    pub idle_timeout: Duration,
    pub at_least_wait: Duration,
    pub drain: Duration,
    pub threads: usize,
    pub position_key: Option<Secret<[u8; 32]>>,
    pub tablecache_metrics: Switch,
}

/// What all resources share. [`file::Cache`] says what each setting means.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are documented where they are written")]
pub struct Cache {
    pub memory_bytes: usize,
    pub empty_results_bytes: usize,
    pub loads: usize,
    pub loads_waiting: usize,
}

/// A bearer token, by the hash of its secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// The name in the configuration, which may appear in logs.
    pub name: String,
    /// What the bearer may do.
    pub scopes: Vec<Scope>,
    /// The BLAKE3 hash of the 32 secret bytes.
    pub hash: Secret<[u8; 32]>,
}

/// Where the truth lives.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file of the database.
    pub path: PathBuf,
    /// How changes are noticed.
    pub track: Tracking,
    /// Connections that load at the same time.
    pub readers: usize,
    /// How often the watcher looks for changes.
    pub poll_interval: Duration,
}

/// What is served. [`file::Resource`] says what each setting means.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are documented where they are written")]
pub struct Resource {
    pub origin: String,
    pub sql: String,
    pub params: Vec<(String, Kind)>,
    pub tags: Vec<crate::tag::Tag>,
    pub scopes: Vec<(String, serde_json::Map<String, serde_json::Value>)>,
    pub tables: Vec<String>,
    pub ttl: Lifetime,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
    pub max_staleness: Duration,
    pub time_dependent: Option<Duration>,
    pub load_timeout: Duration,
    pub result_rows: usize,
    pub result_bytes: usize,
    pub downstream: String,
    pub sample: u32,
}

/// What the configuration is read from.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The variables of the environment.
    pub variables: Vec<(String, String)>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment holds secrets, and not only ours.
        let names = self.variables.iter().map(|(name, _)| name);
        f.debug_struct("Inputs")
            .field("file", &self.file)
            .field("variables", &names.collect::<Vec<_>>())
            .field("listen", &self.listen)
            .finish()
    }
}

/// What is wrong with the configuration, where, and what to do.
#[derive(Debug)]
pub struct ConfigError {
    place: String,
    problem: String,
}

impl ConfigError {
    /// A problem at a place: a file and line, a setting, a variable.
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem.trim_end())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file, lays the environment and the flags over it, and checks the whole.
    pub fn load(inputs: Inputs) -> Result<Self, ConfigError> {
        let (text, base) = match &inputs.file {
            None => (String::new(), PathBuf::new()),
            Some(path) => (read(path)?, directory_of(path)),
        };
        let shown = inputs.file.as_ref().map(|path| path.display().to_string());
        Self::assemble(&text, &shown.unwrap_or_default(), &base, inputs)
    }

    /// The same for a text that is not in a file; paths in it are relative to `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        Self::assemble(text, "larder.toml", base, Inputs::default())
    }

    fn assemble(text: &str, shown: &str, base: &Path, inputs: Inputs) -> Result<Self, ConfigError> {
        // Once into the types for the sake of line numbers, once as a table to lay others over.
        let at_line = |error: toml::de::Error| {
            ConfigError::new(located(shown, text, &error), error.message())
        };
        toml::from_str::<file::File>(text).map_err(at_line)?;
        let mut table: toml::Table = toml::from_str(text).map_err(at_line)?;
        let mut sources = Sources::default();
        sources.record_table(&table, &Source::File);
        refuse_secrets_in_file(&table, shown)?;
        for (source, setting) in environment::read(inputs.variables, &table)? {
            sources.record_table(&setting, &source);
            overlay(&mut table, setting);
        }
        let mut file: file::File = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::new(shown, error.message()))?;
        if let Some(listen) = inputs.listen {
            file.server.listen = Some(listen);
            sources.record("server.listen", Source::Flag("--listen"));
        }
        resolve::resolve(file, base, sources)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let problem = format!("{error}. Name another file with --config, or run `larder demo`");
        ConfigError::new(path.display().to_string(), problem)
    })
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).into()
}

fn located(shown: &str, text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return shown.to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("{shown}:{line}:{column}")
}

/// A file that is copied, committed or shown must not give a secret away.
fn refuse_secrets_in_file(table: &toml::Table, shown: &str) -> Result<(), ConfigError> {
    let tokens = table.get("token").and_then(toml::Value::as_table);
    for (name, token) in tokens.into_iter().flatten() {
        if token.get("secret").is_some() {
            let problem = format!(
                "token.{name}.secret: a secret does not belong into this file. Put it into a file \
                 of its own (`file = \"...\"`), into the environment, or give its `hash`"
            );
            return Err(ConfigError::new(shown, problem));
        }
    }
    let key = table.get("server").and_then(|server| server.get("position_key"));
    match key {
        Some(_) => Err(ConfigError::new(
            shown,
            "server.position_key: a secret does not belong into this file. Use \
             `position_key_file`, or LARDER_POSITION_KEY in the environment",
        )),
        None => Ok(()),
    }
}

fn overlay(table: &mut toml::Table, over: toml::Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(toml::Value::Table(own)), toml::Value::Table(inner)) => overlay(own, inner),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
