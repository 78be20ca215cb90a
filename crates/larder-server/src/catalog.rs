//! The catalog: every origin, opened, every resource with its region of the cache, every table.
//!
//! Built once at start from the configuration. **Invariant**: a resource in the catalog can be
//! asked, and so can a table; whatever is wrong with its statement was refused when the catalog was
//! built. Each origin is watched once, whoever follows it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use larder::{Cache, Clock, Error, Feed, MemoryLimit, Region, RegionBuilder};
use larder_core::fork::Fork;

use crate::{
    body::Body,
    config::{Config, ConfigError, Lifetime, Resource as Settings},
    declared::Declared,
    empties::Empties,
    histogram::Histogram,
    origin::{Origin, Question},
    parameters::{Key, Parameter},
    table::{Table, replica::Follower},
};

/// One resource.
#[derive(Debug)]
pub struct Resource {
    /// The name in the URL.
    pub name: String,
    /// Its place in the catalog.
    pub place: usize,
    /// What the query of a URL must hold.
    pub params: Arc<[Parameter]>,
    /// What it asks its origin.
    pub question: Question,
    /// Its entries.
    pub region: Region<Key, Body, Error>,
    /// The value of `Cache-Control`.
    pub cache_control: HeaderValue,
    /// How long a value is fresh.
    pub ttl: Option<Duration>,
    /// The tables its statement reads.
    pub reads: Vec<String>,
    /// How long hits take.
    pub hit_seconds: Histogram,
    /// How long all other answers take.
    pub miss_seconds: Histogram,
    /// The second of the server's life after the one in which a failure was last logged.
    logged: AtomicU64,
}

impl Resource {
    /// Whether a failure may be logged now: the first of every second may.
    pub fn may_log(&self, uptime: Duration) -> bool {
        let second = uptime.as_secs() + 1;
        self.logged.swap(second, Ordering::Relaxed) != second
    }
}

/// Origins, resources and tables.
#[derive(Debug)]
pub struct Catalog {
    /// The origins, by name.
    pub origins: Vec<Origin>,
    /// The resources, by place.
    pub resources: Vec<Resource>,
    /// The tables with an origin here, by name.
    pub tables: Vec<Arc<Table>>,
    /// The tables of other servers, by name.
    pub followers: Vec<Arc<Follower>>,
    by_name: HashMap<String, usize>,
}

impl Catalog {
    /// Opens the origins, prepares the statements, and builds the cache over them.
    pub fn build(
        config: &Config,
        clock: &Clock,
        empties: &Arc<Empties>,
    ) -> Result<(Cache, Self), ConfigError> {
        let mut origins = Vec::new();
        for (name, settings) in &config.origins {
            let at = |error| failed(&format!("origin.{name}"), &error);
            origins.push(Origin::open(name, settings, clock).map_err(at)?);
        }
        let questions = questions(config, &origins)?;
        let read = questions.iter().flat_map(|(_, settings, question)| {
            let of = |table| (settings.origin.clone(), table);
            question.reads().into_iter().map(of)
        });
        let read = read.collect();
        let mut builder = Cache::builder()
            .memory(MemoryLimit::bytes(config.cache.memory_bytes as u64))
            .clock(clock.clone())
            .max_loads(config.cache.loads, config.cache.loads_waiting);
        // The cache first: it is the branch that may go on where it was left.
        let forks: HashMap<String, Fork> = origins
            .iter()
            .filter_map(|origin| Some((origin.name.clone(), Fork::new(origin.feed()?))))
            .collect();
        for fork in forks.values() {
            builder = builder.feed(fork.branch());
        }
        let cache = builder.build().map_err(|error| failed("cache", &error))?;
        let branch = |origin: &str| forks.get(origin).map(Fork::branch);
        let tables = tables(config, &origins, clock, branch)?;
        let (resources, by_name) = (Vec::new(), HashMap::new());
        let followers = config.replicas.iter();
        let followers =
            followers.map(|(name, settings)| Arc::new(Follower::new(name, settings, clock)));
        let followers = followers.collect();
        let mut catalog = Self { origins, resources, tables, followers, by_name };
        for (place, (name, settings, question)) in questions.into_iter().enumerate() {
            let declared = Declared::of(name, settings, &catalog.origins, &read)?;
            let asked = (question, declared);
            let resource = resource(&cache, place, name, settings, asked, empties)
                .map_err(|error| failed(&format!("resource.{name}"), &error))?;
            catalog.by_name.insert(name.to_owned(), place);
            catalog.resources.push(resource);
        }
        Ok((cache, catalog))
    }

    /// The resource of that name.
    #[inline]
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.by_name.get(name).and_then(|place| self.resources.get(*place))
    }

    /// The table of that name, if there is one that is known.
    pub fn table(&self, name: &str) -> Option<Arc<Table>> {
        let own = self.tables.iter().find(|table| table.name == name);
        own.cloned().or_else(|| self.follower(name)?.table())
    }

    /// The table of that name whose owner is another server.
    pub fn follower(&self, name: &str) -> Option<&Arc<Follower>> {
        self.followers.iter().find(|follower| follower.name == name)
    }

    /// All tables that are known.
    pub fn all_tables(&self) -> Vec<Arc<Table>> {
        let followed = self.followers.iter().filter_map(|follower| follower.table());
        self.tables.iter().cloned().chain(followed).collect()
    }

    /// The origin of that name.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.iter().find(|origin| origin.name == name)
    }
}

/// The prepared statement of every resource, in the order of their names.
pub(crate) fn questions<'a>(
    config: &'a Config,
    origins: &[Origin],
) -> Result<Vec<(&'a str, &'a Settings, Question)>, ConfigError> {
    let mut questions = Vec::new();
    for (name, settings) in &config.resources {
        let place = format!("resource.{name}.sql");
        let origin = origins.iter().find(|origin| origin.name == settings.origin);
        let origin = origin.ok_or_else(|| ConfigError::new(&*place, "its origin is missing"))?;
        let question = origin.prepare(settings).map_err(|error| failed(&place, &error))?;
        questions.push((&**name, settings, question));
    }
    Ok(questions)
}

fn tables(
    config: &Config,
    origins: &[Origin],
    clock: &Clock,
    branch: impl Fn(&str) -> Option<Arc<dyn Feed>>,
) -> Result<Vec<Arc<Table>>, ConfigError> {
    let mut tables = Vec::new();
    for (name, settings) in &config.tables {
        let place = format!("table.{name}");
        let origin = origins.iter().find(|origin| origin.name == settings.origin);
        let origin = origin.ok_or_else(|| ConfigError::new(&*place, "its origin is missing"))?;
        let built = Table::build(name, settings, origin, branch(&origin.name), clock);
        tables.push(Arc::new(built.map_err(|error| failed(&place, &error))?));
    }
    Ok(tables)
}

fn resource(
    cache: &Cache,
    place: usize,
    name: &str,
    settings: &Settings,
    (question, declared): (Question, Declared),
    empties: &Arc<Empties>,
) -> Result<Resource, Error> {
    let params = question.params().clone();
    let reads = question.reads();
    let is_tracked = question.is_tracked();
    let builder = cache.region_weighed::<Key, Body>(name, Body::heap_bytes);
    let builder = match settings.ttl {
        Lifetime::For(span) => builder.ttl(span.0),
        Lifetime::Never => builder.never_expires(),
    };
    let own = is_tracked.then_some(&*settings.origin);
    let reads_from: BTreeSet<&str> = declared.origins().into_iter().chain(own).collect();
    let builder = reads_from.into_iter().fold(builder, RegionBuilder::reads);
    let builder = builder
        .stale_while_revalidate(settings.stale_while_revalidate)
        .stale_if_error(settings.stale_if_error)
        .max_staleness(settings.max_staleness)
        .load_timeout(settings.load_timeout)
        .sample(settings.sample.into(), |a: &Body, b: &Body| a.etag == b.etag)
        .loader({
            let shared = Arc::new((question.clone(), declared, empties.clone()));
            move |key: Key, load| {
                let shared = shared.clone();
                async move {
                    let (question, declared, empties) = &*shared;
                    load.depends_on_all(declared.dependencies(&key));
                    let body = question.ask(&key, &load).await?;
                    // Here, because whoever asked may have left.
                    if body.rows == 0 {
                        empties.note(place, &key);
                    }
                    Ok(body)
                }
            }
        });
    let region = match is_tracked {
        true => builder.build()?,
        false => (*builder.build_untracked()?).clone(),
    };
    let invalid = |_| Error::new(larder::ErrorKind::Config, "build the resource");
    Ok(Resource {
        name: name.to_owned(),
        place,
        params,
        question,
        region,
        cache_control: HeaderValue::from_str(&settings.downstream).map_err(invalid)?,
        ttl: match settings.ttl {
            Lifetime::For(span) => Some(span.0),
            Lifetime::Never => None,
        },
        reads,
        hit_seconds: Histogram::default(),
        miss_seconds: Histogram::default(),
        logged: AtomicU64::new(0),
    })
}

/// The error with all its causes: whoever starts the server may read them.
pub(crate) fn failed(place: &str, error: &Error) -> ConfigError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    ConfigError::new(place, text)
}
