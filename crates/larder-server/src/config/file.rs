//! The configuration as it is written: every setting optional, every unknown one refused.
//!
//! It is apart from what the server works with, because a setting may come from the file, the
//! environment or a flag, and only all of them together are complete. **Invariant**: this file
//! holds no default; `config/resolve.rs` does.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use serde::{Deserialize, Deserializer, de};

use crate::secret::Secret;

use super::{
    duration::{Lifetime, Span},
    size::Size,
};

/// `larder.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `[server]`: the HTTP side.
    pub server: Server,
    /// `[cache]`: what all resources share.
    pub cache: Cache,
    /// `[store]`: the file that keeps entries.
    pub store: super::store::Written,
    /// `[token.NAME]`: who may do what.
    pub token: BTreeMap<String, Token>,
    /// `[origin.NAME]`: where the truth lives.
    pub origin: BTreeMap<String, Origin>,
    /// `[resource.NAME]`: what is served.
    pub resource: BTreeMap<String, Resource>,
    /// `[table.NAME]`: what is held as a table.
    pub table: BTreeMap<String, super::table::Written>,
}

/// `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// Names, besides those of loopback, that the `Host` header may carry.
    pub hosts: Option<Vec<String>>,
    /// Connections that may be open at a time.
    pub connections: Option<u32>,
    /// Clients that may listen to events at a time; each holds a connection.
    pub subscribers: Option<u32>,
    /// How long an event stream may be silent: proxies end what is silent for longer.
    pub heartbeat: Option<Span>,
    /// How much of the last events is kept for listeners that are slow or come back.
    pub events_size: Option<Size>,
    /// The largest request head.
    pub header_size: Option<Size>,
    /// The largest request body.
    pub body_size: Option<Size>,
    /// The longest value of one parameter.
    pub parameter_size: Option<Size>,
    /// How long one request may take.
    pub request_timeout: Option<Span>,
    /// How long a connection may be idle, take to send a request's head, or take nothing of an
    /// answer.
    pub idle_timeout: Option<Span>,
    /// How long a read may wait for the position it asked for.
    pub at_least_wait: Option<Span>,
    /// How long running requests may take after the signal to stop.
    pub drain: Option<Span>,
    /// Threads that answer requests.
    pub threads: Option<u16>,
    /// 64 hexadecimal digits; nodes that share them accept each other's position tokens.
    pub position_key: Option<Secret<String>>,
    /// A file that holds the position key.
    pub position_key_file: Option<String>,
    /// Whether the metrics of tables are shown under the names of tablecache as well.
    pub tablecache_metrics: Option<Switch>,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// `[cache]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// The bound on all cached values.
    pub memory: Option<Size>,
    /// The part of it that empty results may take.
    pub empty_results: Option<Size>,
    /// Loads that may run at a time.
    pub loads: Option<u32>,
    /// Loads that may wait for their turn.
    pub loads_waiting: Option<u32>,
}

/// `[token.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// What the bearer may do.
    pub scopes: Option<Vec<Scope>>,
    /// The secret: 64 hexadecimal digits. Only from the environment.
    pub secret: Option<Secret<String>>,
    /// A file that holds the secret.
    pub file: Option<String>,
    /// The BLAKE3 hash of the secret, as `larder token` prints it.
    pub hash: Option<String>,
}

/// What a bearer may do.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read resources and explain them.
    Read,
    /// Invalidate.
    Invalidate,
    /// Write and remove entries of the store.
    Write,
    /// Take backups and list them.
    Backup,
    /// Put a backup in the place of what is in the store.
    Restore,
    /// Everything, the metrics and the page included.
    Admin,
}

/// `[origin.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// `sqlite:PATH`.
    pub url: Option<String>,
    /// How changes are noticed.
    pub track: Option<Tracking>,
    /// Connections that load at the same time.
    pub readers: Option<u16>,
    /// How often the watcher looks for changes.
    pub poll_interval: Option<Span>,
}

/// How changes of an origin are noticed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Tracking {
    /// By a change log that triggers write: single rows.
    Rows,
    /// By the database's own counter: any change drops all that was read from it.
    Database,
    /// Not at all: values live for their TTL.
    None,
}

/// `[resource.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resource {
    /// The name of its origin.
    pub origin: Option<String>,
    /// One statement that reads.
    pub sql: Option<String>,
    /// The parameters of the statement, each with its type, in the order of the key.
    pub params: Parameters,
    /// Labels of its answers: `["front", ["artist", "{artist}"]]`, the second in a namespace.
    pub tags: Option<Vec<crate::tag::Tag>>,
    /// Rows of the application's kinds: `[["app.Banner", { artist = "{artist}" }]]`.
    pub scopes: Option<Vec<(String, serde_json::Map<String, serde_json::Value>)>>,
    /// Tables and kinds that it depends on besides those of the statement.
    pub tables: Option<Vec<String>>,
    /// How long a value may be served without looking again.
    pub ttl: Option<Lifetime>,
    /// How long after its TTL a value may be served while it is loaded anew.
    pub stale_while_revalidate: Option<Span>,
    /// How long after its TTL a value may be served when the origin does not answer.
    pub stale_if_error: Option<Span>,
    /// The most time this node may go without hearing of the origin and still call values fresh.
    pub max_staleness: Option<Span>,
    /// Accepts that the statement reads the clock or randomness: the longest its values may live.
    pub time_dependent: Option<Span>,
    /// How long one load may take.
    pub load_timeout: Option<Span>,
    /// The most rows of one result.
    pub result_rows: Option<u64>,
    /// The most bytes of one result.
    pub result_size: Option<Size>,
    /// What caches on the way to the client are told, in the place of `no-cache`.
    pub downstream: Option<String>,
    /// One in this many hits is loaded again and compared; 0 never. Not with `time_dependent`,
    /// where a difference says nothing.
    pub sample: Option<u32>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A signed 64-bit integer.
    Integer,
    /// A finite number.
    Real,
    /// UTF-8 text.
    Text,
    /// Bytes, as base64 in a URL.
    Blob,
}

impl Kind {
    /// The word for it in the file and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
        }
    }
}

/// Names and types of parameters, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(String, Kind)>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> de::Visitor<'de> for InOrder {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as { artist = \"integer\" }")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    found.push(entry);
                }
                Ok(Parameters(found))
            }
        }

        source.deserialize_map(InOrder)
    }
}
