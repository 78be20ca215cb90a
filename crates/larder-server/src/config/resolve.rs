//! From the settings as written to the settings as used: defaults, required ones, checks.
//!
//! **Invariant**: this is the only place where a default is written, and taking a setting records
//! it with its source, so that no setting can be effective without being shown.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use crate::secret::Secret;

use super::{
    Cache, Config, ConfigError, Lifetime, Origin, Resource, Server, Setting, Size, Span, Switch,
    Token, Tracking, file, provenance::Sources,
};

/// Takes settings and remembers what was taken.
pub(super) struct Taker {
    sources: Sources,
    settings: Vec<Setting>,
}

pub(super) fn resolve(
    file: file::File,
    base: &Path,
    sources: Sources,
) -> Result<Config, ConfigError> {
    let file::File { server, cache, store, token, origin, resource, table } = file;
    let mut taker = Taker { sources, settings: Vec::new() };
    let server = taker.server(server, base)?;
    let cache = taker.cache(&cache)?;
    let store = super::store::resolve(store, base, &mut taker)?;
    let mut config = Config {
        server,
        cache,
        store,
        tokens: Vec::new(),
        origins: Default::default(),
        resources: Default::default(),
        tables: Default::default(),
        replicas: Default::default(),
        settings: Vec::new(),
    };
    for (name, written) in token {
        config.tokens.push(taker.token(name, written, base)?);
    }
    for (name, written) in origin {
        check_name("origin", &name)?;
        let origin = taker.origin(&name, written, base)?;
        config.origins.insert(name, origin);
    }
    for (name, written) in resource {
        check_name("resource", &name)?;
        let resource = taker.resource(&name, written)?;
        check_origin(&name, &resource, &config)?;
        config.resources.insert(name, resource);
    }
    for (name, written) in table {
        check_name("table", &name)?;
        if let Some(owner) = &written.replica_of {
            let owner = owner.clone();
            let replica = super::replica::resolve(&name, &owner, written, base, &mut taker)?;
            config.replicas.insert(name, replica);
            continue;
        }
        super::replica::expect_none(&name, &written)?;
        let table = super::table::resolve(&name, written, base, &mut taker)?;
        let origin = known_origin(&format!("table.{name}.origin"), &table.origin, &config)?;
        check_kept(&name, &table, origin, &config)?;
        config.tables.insert(name, table);
    }
    config.settings = taker.settings;
    Ok(config)
}

/// The shortest limit on time that lets anything be done.
pub(super) const MOMENT: Span = Span(std::time::Duration::from_millis(1));
/// The longest: whoever wants more has forgotten a unit.
pub(super) const DAY: Span = Span::seconds(86_400);

/// The origin of a resource must be there, and something must end the life of its values.
fn check_origin(name: &str, resource: &Resource, config: &Config) -> Result<(), ConfigError> {
    let origin = known_origin(&format!("resource.{name}.origin"), &resource.origin, config)?;
    if origin.track == Tracking::None && resource.ttl == Lifetime::Never {
        let problem = format!(
            "would never be loaded again: [origin.{}] has `track = \"none\"`. Set a ttl, or track",
            resource.origin
        );
        return Err(ConfigError::new(format!("resource.{name}.ttl"), problem));
    }
    Ok(())
}

/// What is kept must be provable, and the file of nobody else.
fn check_kept(
    name: &str,
    table: &super::Table,
    origin: &Origin,
    config: &Config,
) -> Result<(), ConfigError> {
    let Some(keep) = &table.keep else { return Ok(()) };
    let refuse = |problem: String| Err(ConfigError::new(format!("table.{name}.keep"), problem));
    if origin.track != Tracking::Rows {
        return refuse(format!(
            "nobody could tell whether the file is still right, because [origin.{}] does not have \
             `track = \"rows\"`. Track rows, or leave `keep` out",
            table.origin
        ));
    }
    let is_same = |other: &super::Table| other.keep.as_ref().is_some_and(|o| o.path == keep.path);
    match config.tables.iter().find(|(_, other)| is_same(other)) {
        None => Ok(()),
        Some((other, _)) => refuse(format!("is the file of [table.{other}]. Name another one")),
    }
}

fn known_origin<'a>(path: &str, name: &str, config: &'a Config) -> Result<&'a Origin, ConfigError> {
    config.origins.get(name).ok_or_else(|| {
        let known: Vec<&str> = config.origins.keys().map(String::as_str).collect();
        let known = known.join(", ");
        ConfigError::new(path, format!("there is no [origin.{name}]; there are: {known}"))
    })
}

/// Names stand in URLs, in labels of metrics and in variables of the environment.
pub(super) fn check_name(section: &str, name: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let problem = match name {
        "app" if section == "origin" => "`app` is the timeline of explicit invalidations",
        _ if name.is_empty() || 64 < name.len() => "a name has 1 to 64 characters",
        _ if !name.chars().all(plain) => "a name holds only a-z, 0-9, `-` and `_`",
        _ => return Ok(()),
    };
    Err(ConfigError::new(format!("[{section}.{name}]"), problem))
}

impl super::store::Settle for Taker {
    fn settle<T: Display>(&mut self, name: &str, written: Option<T>, default: T) -> T {
        self.take(format!("store.{name}"), written, default)
    }
}

impl Taker {
    pub(super) fn take<T: Display>(
        &mut self,
        path: impl Into<String>,
        written: Option<T>,
        default: T,
    ) -> T {
        let value = written.unwrap_or(default);
        self.show(path, value.to_string());
        value
    }

    pub(super) fn require<T: Display>(
        &mut self,
        path: String,
        written: Option<T>,
        advice: &str,
    ) -> Result<T, ConfigError> {
        let value = written
            .ok_or_else(|| ConfigError::new(path.clone(), format!("is not set. {advice}")))?;
        self.show(path, value.to_string());
        Ok(value)
    }

    pub(super) fn show(&mut self, path: impl Into<String>, value: String) {
        let path = path.into();
        let source = self.sources.of(&path);
        self.settings.push(Setting { path, value, source });
    }

    fn server(&mut self, written: file::Server, base: &Path) -> Result<Server, ConfigError> {
        let loopback = ([127, 0, 0, 1], 7077).into();
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(64));
        let threads_default = u16::try_from(threads).unwrap_or(1);
        let hosts = written.hosts.unwrap_or_default();
        let listen = self.take("server.listen", written.listen, loopback);
        self.show("server.hosts", format!("[{}]", hosts.join(", ")));
        let connections = self.take("server.connections", written.connections, 1024);
        let subscribers = self.take("server.subscribers", written.subscribers, 64);
        let heartbeat = self.take("server.heartbeat", written.heartbeat, Span::seconds(15));
        let events = self.take("server.events_size", written.events_size, Size::mib(4));
        let header = self.take("server.header_size", written.header_size, Size::kib(16));
        let body = self.take("server.body_size", written.body_size, Size::kib(64));
        let parameter = self.take("server.parameter_size", written.parameter_size, Size::kib(1));
        let request =
            self.take("server.request_timeout", written.request_timeout, Span::seconds(30));
        let idle = self.take("server.idle_timeout", written.idle_timeout, Span::seconds(60));
        let wait = self.take("server.at_least_wait", written.at_least_wait, Span::seconds(2));
        let drain = self.take("server.drain", written.drain, Span::seconds(10));
        let threads = self.take("server.threads", written.threads, threads_default);
        let tablecache = written.tablecache_metrics;
        let tablecache = self.take("server.tablecache_metrics", tablecache, Switch::Off);
        // hyper needs room for a whole head and refuses to work with less.
        within("server.header_size", header, Size::kib(8), Size::mib(1))?;
        within("server.body_size", body, Size::kib(1), Size::mib(16))?;
        within("server.parameter_size", parameter, Size(16), Size::kib(64))?;
        within("server.connections", connections, 1, 1_000_000)?;
        within("server.subscribers", subscribers, 0, 100_000)?;
        within("server.heartbeat", heartbeat, MOMENT, DAY)?;
        within("server.events_size", events, Size::kib(1), Size::mib(1024))?;
        within("server.threads", threads, 1, 1024)?;
        within("server.request_timeout", request, MOMENT, DAY)?;
        within("server.idle_timeout", idle, MOMENT, DAY)?;
        let key = match (written.position_key, written.position_key_file) {
            (None, None) => None,
            (Some(text), _) => Some(hex32("server.position_key", text.reveal())?),
            (None, Some(path)) => {
                Some(hex32("server.position_key_file", &secret_file(base, &path)?)?)
            }
        };
        let shown = key.map_or("(random at each start)", |_| "(set)");
        self.show("server.position_key", shown.to_owned());
        Ok(Server {
            listen,
            hosts,
            connections: connections as usize,
            subscribers: subscribers as usize,
            heartbeat: heartbeat.0,
            events_bytes: events.bytes(),
            header_bytes: header.bytes(),
            body_bytes: body.bytes(),
            parameter_bytes: parameter.bytes(),
            request_timeout: request.0,
            idle_timeout: idle.0,
            at_least_wait: wait.0,
            drain: drain.0,
            threads: threads.into(),
            position_key: key.map(Secret::new),
            tablecache_metrics: tablecache,
        })
    }

    fn cache(&mut self, written: &file::Cache) -> Result<Cache, ConfigError> {
        let memory = self.take("cache.memory", written.memory, Size::mib(256));
        within("cache.memory", memory, Size::mib(1), Size(1 << 50))?;
        let share = Size(memory.0 / 16);
        let empty = self.take("cache.empty_results", written.empty_results, share);
        within("cache.empty_results", empty, Size(0), memory)?;
        let loads = self.take("cache.loads", written.loads, 64);
        let waiting = self.take("cache.loads_waiting", written.loads_waiting, 1024);
        within("cache.loads", loads, 1, 100_000)?;
        Ok(Cache {
            memory_bytes: memory.bytes(),
            empty_results_bytes: empty.bytes(),
            loads: loads as usize,
            loads_waiting: waiting as usize,
        })
    }

    fn token(
        &mut self,
        name: String,
        written: file::Token,
        base: &Path,
    ) -> Result<Token, ConfigError> {
        let path = format!("token.{name}");
        let hash = match (written.secret, written.file, written.hash) {
            (Some(secret), None, None) => hash_of(&hex32(&path, secret.reveal())?),
            (None, Some(file), None) => hash_of(&hex32(&path, &secret_file(base, &file)?)?),
            (None, None, Some(hash)) => hex32(&path, &hash)?,
            _ => {
                let variable = name.to_ascii_uppercase().replace('-', "_");
                let problem = format!(
                    "give exactly one of `file`, `hash`, or LARDER_TOKEN__{variable}__SECRET in \
                     the environment; `larder token` makes one"
                );
                return Err(ConfigError::new(path, problem));
            }
        };
        let scopes = written.scopes.unwrap_or_default();
        if scopes.is_empty() {
            let problem = "is not set. Choose from \"read\", \"invalidate\", \"admin\"";
            return Err(ConfigError::new(format!("{path}.scopes"), problem));
        }
        let shown: Vec<_> =
            scopes.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect();
        self.show(format!("{path}.scopes"), format!("[{}]", shown.join(", ")));
        let source = self.sources.of(&path);
        let secret = Setting { path: format!("{path}.secret"), value: "(set)".into(), source };
        self.settings.push(secret);
        Ok(Token { name, scopes, hash: Secret::new(hash) })
    }

    fn origin(
        &mut self,
        name: &str,
        written: file::Origin,
        base: &Path,
    ) -> Result<Origin, ConfigError> {
        let at = |setting: &str| format!("origin.{name}.{setting}");
        let advice = "Write the path of the database, such as \"sqlite:shop.sqlite\"";
        let url = self.require(at("url"), written.url, advice)?;
        let track = written.track.unwrap_or(Tracking::Database);
        self.show(at("track"), format!("{track:?}").to_lowercase());
        let readers = self.take(at("readers"), written.readers, 4);
        let poll = self.take(at("poll_interval"), written.poll_interval, POLL);
        within(&at("readers"), readers, 1, 256)?;
        Ok(Origin {
            path: sqlite_path(&at("url"), &url, base)?,
            track,
            readers: readers.into(),
            poll_interval: poll.0,
        })
    }

    fn resource(&mut self, name: &str, written: file::Resource) -> Result<Resource, ConfigError> {
        let at = |setting: &str| format!("resource.{name}.{setting}");
        let zero = Span::seconds(0);
        let advice = "Name one of the [origin.NAME] sections";
        let origin = self.require(at("origin"), written.origin, advice)?;
        let sql = self.require(at("sql"), written.sql, "Write one SELECT statement")?;
        for (param, kind) in &written.params.0 {
            self.show(at(&format!("params.{param}")), kind.name().to_owned());
        }
        let (tags, tables) = (written.tags.unwrap_or_default(), written.tables.unwrap_or_default());
        let scopes = written.scopes.unwrap_or_default();
        self.show(at("tags"), serde_json::json!(tags).to_string());
        self.show(at("scopes"), serde_json::json!(scopes).to_string());
        self.show(at("tables"), format!("[{}]", tables.join(", ")));
        let advice = "Write how long a value may live, such as \"1h\", or \"never\" (it expires)";
        let ttl: Lifetime = self.require(at("ttl"), written.ttl, advice)?;
        let revalidate =
            self.take(at("stale_while_revalidate"), written.stale_while_revalidate, zero);
        let if_error = self.take(at("stale_if_error"), written.stale_if_error, zero);
        let staleness = self.take(at("max_staleness"), written.max_staleness, Span::seconds(1));
        let time_dependent = written.time_dependent;
        let shown = time_dependent.map_or_else(|| "no".to_owned(), |span| span.to_string());
        self.show(at("time_dependent"), shown);
        let timeout = self.take(at("load_timeout"), written.load_timeout, Span::seconds(10));
        within(&at("load_timeout"), timeout, MOMENT, DAY)?;
        let rows = self.take(at("result_rows"), written.result_rows, 10_000);
        let size = self.take(at("result_size"), written.result_size, Size::mib(8));
        let no_cache = "no-cache".to_owned();
        let downstream = self.take(at("downstream"), written.downstream, no_cache);
        let sample = self.take(at("sample"), written.sample, 0);
        if sample != 0 && time_dependent.is_some() {
            let problem = "two loads of a time_dependent resource may differ although nothing \
                           changed, so they cannot be compared. Leave one of the two out";
            return Err(ConfigError::new(at("sample"), problem));
        }
        if http::HeaderValue::from_str(&downstream).is_err() {
            return Err(ConfigError::new(at("downstream"), "is no value for Cache-Control"));
        }
        Ok(Resource {
            origin,
            sql,
            params: written.params.0,
            tags,
            scopes,
            tables,
            ttl,
            stale_while_revalidate: revalidate.0,
            stale_if_error: if_error.0,
            max_staleness: staleness.0,
            time_dependent: time_dependent.map(|span| span.0),
            load_timeout: timeout.0,
            result_rows: usize::try_from(rows).unwrap_or(usize::MAX),
            result_bytes: size.bytes(),
            downstream,
            sample,
        })
    }
}

/// What a watcher of an idle origin can afford at under 0.5 % of a core.
const POLL: Span = Span(std::time::Duration::from_millis(4));

pub(super) fn within<T: PartialOrd + Display + Copy>(
    path: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ConfigError> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(ConfigError::new(path, format!("{value} is out of range: write {least} to {most}")))
}

fn sqlite_path(setting: &str, url: &str, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some("" | ":memory:") | None => Err(ConfigError::new(
            setting,
            format!("\"{url}\" names no database file: write \"sqlite:PATH\""),
        )),
        Some(path) => Ok(base.join(path)),
    }
}

pub(super) fn secret_file(base: &Path, path: &str) -> Result<String, ConfigError> {
    let path = base.join(path);
    std::fs::read_to_string(&path)
        .map_err(|error| ConfigError::new(path.display().to_string(), error.to_string()))
}

fn hash_of(secret: &[u8; 32]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}

/// 256 bits as 64 hexadecimal digits.
fn hex32(setting: &str, text: &str) -> Result<[u8; 32], ConfigError> {
    let wanted =
        || ConfigError::new(setting, "holds no 64 hexadecimal digits; `larder token` makes them");
    crate::auth::from_hex(text.trim()).ok_or_else(wanted)
}
