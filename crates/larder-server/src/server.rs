//! The server's state: what every request sees.
//!
//! It holds no logic beyond putting itself together; the routes decide. **Invariant**: it is built
//! whole before the first connection is accepted, and nothing in it is replaced later.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use larder::{Cache, Clock, Moment};
use larder_sqlite::store::SqliteStore;
use tokio::sync::Semaphore;

use crate::{
    auth::Auth,
    catalog::Catalog,
    config::{Config, ConfigError},
    empties::Empties,
    fence::Fences,
    guard::Hosts,
    origin::Notice,
    phase::Phase,
    position::Positions,
    recent::Recent,
    route::rewarm,
    secret,
    told::Told,
};

/// What every request sees.
#[derive(Debug)]
pub struct Server {
    /// The cache under all resources.
    pub cache: Cache,
    /// Origins and resources.
    pub catalog: Arc<Catalog>,
    /// Where entries outlive the process, if anywhere.
    pub store: Option<SqliteStore>,
    /// Turns of requests that write into it.
    pub writes: Semaphore,
    /// The turn of a request that counts what is in the store: while it does, a reader is busy.
    pub surveys: Arc<Semaphore>,
    /// Who may do what.
    pub auth: Auth,
    /// The names this server goes by.
    pub hosts: Hosts,
    /// Signs and checks positions.
    pub positions: Positions,
    /// Signs and checks fences.
    pub fences: Fences,
    /// The turn of a backup or a restore.
    pub whole: Arc<Semaphore>,
    /// The share of memory for empty results.
    pub empties: Arc<Empties>,
    /// Starting, serving, or about to stop.
    pub phase: Phase,
    /// What was answered.
    pub answers: Answers,
    /// What clients told.
    pub told: Told,
    /// Places for loads of rewarmings.
    pub rewarming: Arc<Semaphore>,
    /// The last events.
    pub recent: Arc<Recent>,
    /// Places for those who listen to events.
    pub places: Arc<Semaphore>,
    /// The configuration, for its limits and for whoever asks.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// When this was built.
    pub started: Moment,
    /// What an operator should know about each origin: its name and the notices. Empty until
    /// [`Server::check_origins`] has run.
    notices: OnceLock<Vec<(String, Vec<Notice>)>>,
    /// Which hits are timed: those whose number has none of these bits.
    timing_mask: u64,
}

/// How many of the hits are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// One in 64, because on some machines taking the time twice costs a tenth of a hit.
    Sampled,
    /// Every one, for the demo.
    All,
}

/// Answers by status, and those under way.
#[derive(Debug)]
pub struct Answers {
    by_status: Vec<AtomicU64>,
    requests: AtomicU64,
}

impl Default for Answers {
    fn default() -> Self {
        let by_status = (0..600).map(|_| AtomicU64::new(0)).collect();
        Self { by_status, requests: AtomicU64::new(0) }
    }
}

impl Answers {
    /// Counts a request; how many came before.
    #[inline]
    pub fn begin(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts an answer.
    #[inline]
    pub fn end(&self, status: StatusCode) {
        if let Some(count) = self.by_status.get(usize::from(status.as_u16())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Status and number of answers with it, for those that occurred.
    pub fn read(&self) -> Vec<(usize, u64)> {
        let counts = self.by_status.iter().map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().filter(|(_, count)| *count != 0).collect()
    }
}

impl Server {
    /// Puts the server together: opens the origins and starts to watch them.
    ///
    /// Must be called inside a tokio runtime.
    pub async fn build(config: Config, timing: Timing) -> Result<Arc<Self>, ConfigError> {
        let clock = Clock::system();
        let auth = Auth::new(&config)?;
        let secret = match &config.server.position_key {
            Some(key) => *key.reveal(),
            None => secret::random().map_err(|error| {
                ConfigError::new("server.position_key", format!("no randomness: {error}"))
            })?,
        };
        let (positions, fences) = (Positions::new(secret), Fences::new(&secret));
        let empties = Arc::new(Empties::new(config.cache.empty_results_bytes));
        let (cache, catalog) = Catalog::build(&config, &clock, &empties)?;
        let store = open(&config).await?;
        let writes = config.store.as_ref().map_or(0, |store| store.writes);
        let recent = Recent::new(config.server.events_bytes).map_err(|error| {
            ConfigError::new("server.events_size", format!("no randomness: {error}"))
        })?;
        let (recent, started) = (Arc::new(recent), clock.now());
        tokio::spawn({
            let (recent, subscription) = (recent.clone(), cache.subscribe());
            async move { recent.record(subscription, started).await }
        });
        Ok(Arc::new(Self {
            notices: OnceLock::new(),
            cache,
            store,
            writes: Semaphore::new(writes),
            surveys: Arc::new(Semaphore::new(1)),
            catalog: Arc::new(catalog),
            auth,
            hosts: Hosts::new(&config.server.hosts, config.server.listen),
            positions,
            fences,
            whole: Arc::new(Semaphore::new(1)),
            empties,
            phase: Phase::default(),
            answers: Answers::default(),
            told: Told::default(),
            rewarming: Arc::new(Semaphore::new(rewarm::loads_max(config.cache.loads))),
            places: Arc::new(Semaphore::new(config.server.subscribers)),
            started,
            recent,
            clock,
            config,
            timing_mask: match timing {
                Timing::Sampled => 63,
                Timing::All => 0,
            },
        }))
    }

    /// Whether the request of this number is timed even if it is a hit.
    #[inline]
    pub fn is_timed(&self, number: u64) -> bool {
        number & self.timing_mask == 0
    }

    /// Asks each origin what an operator should know, and logs what matters.
    ///
    /// It blocks, for long where a writer keeps the database locked; so it is no part of starting.
    pub fn check_origins(&self) {
        let origins = self.catalog.origins.iter();
        let found: Vec<(String, Vec<Notice>)> =
            origins.map(|origin| (origin.name.clone(), origin.notices())).collect();
        for (origin, notices) in &found {
            for notice in notices {
                match notice.matters {
                    true => tracing::warn!(%origin, "{}", notice.text),
                    false => tracing::debug!(%origin, "{}", notice.text),
                }
            }
        }
        self.notices.get_or_init(|| found);
    }

    /// What matters about an origin, as far as it is known yet.
    pub fn notices(&self, origin: &str) -> Vec<&str> {
        let all = self.notices.get().into_iter().flatten();
        let own = all.filter(|(name, _)| name == origin).flat_map(|(_, notices)| notices);
        own.filter(|notice| notice.matters).map(|notice| &*notice.text).collect()
    }

    /// How long the server has been up.
    pub fn uptime(&self) -> Duration {
        self.clock.now().since(self.started)
    }
}

/// Opens the store that the configuration names.
async fn open(config: &Config) -> Result<Option<SqliteStore>, ConfigError> {
    let Some(store) = &config.store else { return Ok(None) };
    let opened = SqliteStore::open_with(&store.path, store.options.clone()).await;
    opened.map(Some).map_err(|error| ConfigError::new("store.path", format!("failed to {error}")))
}
