//! A table that follows the one of the same name of another server, its owner.
//!
//! Apart from [`life`](super::life), whose tables have an origin. What the table is, its columns
//! and its orders, only the owner knows; so there is none until that was reached once, and another
//! one where the owner's has changed. **Invariant**: as long as the server runs a table that is not
//! connected is being connected; what went wrong last is told.

use std::{fmt, sync::Arc, time::Duration};

use larder::{Clock, Error, ErrorKind};
use larder_table::{
    Hello, Incoming, ReplicaStats,
    sql::{Row, RowKey, RowShape},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    config::{replica::Replica as Settings, table::PRIMARY},
    owner::Owner,
};

use super::{
    Index, Table,
    key::{Column, Holds},
    life::{State, with_causes},
    window::Window,
};

/// The pause before an owner that was lost is tried again, and the longest it grows to: reads fail
/// meanwhile, so it is a tenth of that of a load.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A table that follows its owner's.
pub struct Follower {
    /// The name in the URL, here and at the owner.
    pub name: String,
    /// Where the owner listens.
    pub owner: String,
    settings: Settings,
    client: Arc<Owner>,
    clock: Clock,
    /// The table, once it is known what it is.
    current: watch::Sender<Option<Arc<Following>>>,
    state: Mutex<State>,
    task: Mutex<Option<AbortHandle>>,
}

/// A table that is known, and the other end of it.
struct Following {
    table: Arc<Table>,
    replica: larder_table::Replica<Row, RowKey>,
    about: Vec<u8>,
}

/// What an owner says of its table before anything else.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    origin: String,
    columns: Vec<(String, Holds)>,
    key: Vec<String>,
    /// Besides that by the primary key.
    indexes: Vec<(String, Vec<String>)>,
    /// The index of the window.
    window: String,
    reads: Vec<String>,
    /// A stream is never silent for longer than that, in milliseconds.
    heartbeat_ms: u64,
}

impl About {
    /// What is to be said of `table`, whose streams are never silent for longer than `heartbeat`.
    pub fn of(table: &Table, heartbeat: Duration) -> Self {
        let names = |index: &Index| index.columns.iter().map(|own| own.name.clone()).collect();
        let (primary, others) = table
            .indexes
            .split_first()
            .map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        let columns = table.known.iter().map(|own| (own.name.clone(), own.holds));
        Self {
            origin: table.origin.clone(),
            columns: columns.collect(),
            key: primary.map(names).unwrap_or_default(),
            indexes: others.iter().map(|index| (index.name.clone(), names(index))).collect(),
            window: table.window.by.clone(),
            reads: table.reads.clone(),
            heartbeat_ms: u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names can be written to memory")
    }

    /// The shape of the rows.
    ///
    /// # Errors
    /// `Config` when the key is not of the columns.
    pub fn shape(&self) -> Result<RowShape, Error> {
        RowShape::new(self.columns.iter().map(|(name, _)| name), &names(&self.key))
    }
}

fn names(columns: &[String]) -> Vec<&str> {
    columns.iter().map(String::as_str).collect()
}

impl Follower {
    /// The table of that name; nothing is connected yet.
    pub fn new(name: &str, settings: &Settings, clock: &Clock) -> Self {
        let client = Arc::new(Owner::new(name, settings));
        Self {
            name: name.to_owned(),
            owner: client.address(),
            settings: settings.clone(),
            client,
            clock: clock.clone(),
            current: watch::Sender::default(),
            state: Mutex::default(),
            task: Mutex::default(),
        }
    }

    /// Begins to follow, in the background.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn begin(self: &Arc<Self>) {
        let follower = self.clone();
        let task = tokio::spawn(async move { follower.live().await });
        *self.task.lock() = Some(task.abort_handle());
    }

    /// Ends what goes on in the background.
    pub fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// The table, as far as it is known what it is.
    pub fn table(&self) -> Option<Arc<Table>> {
        self.current.borrow().as_ref().map(|current| current.table.clone())
    }

    /// The same, and waits for it as long as a read may.
    pub async fn known(&self) -> Option<Arc<Table>> {
        let mut current = self.current.subscribe();
        let known = current.wait_for(Option::is_some);
        let known = tokio::time::timeout(self.settings.load_wait, known).await.ok()?.ok()?;
        known.as_ref().map(|current| current.table.clone())
    }

    /// What has come; `None` before anything has.
    pub fn stats(&self) -> Option<ReplicaStats> {
        self.current.borrow().as_ref().map(|current| current.replica.stats())
    }

    async fn live(&self) {
        let mut pause = PAUSES.0;
        loop {
            let began = self.clock.now();
            let Err(error) = self.follow().await;
            let (table, why) = (&*self.name, with_causes(&error));
            let failed = State::Failed(why.clone());
            // Once, and not at each try.
            if std::mem::replace(&mut *self.state.lock(), failed.clone()) != failed {
                let owner = &*self.owner;
                tracing::warn!(target: "larder::table", %table, owner, %why, "does not follow");
            }
            self.tell(State::Failed(why));
            if PAUSES.1 < self.clock.now().since(began) {
                pause = PAUSES.0;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Follows over one connection, until that ends.
    async fn follow(&self) -> Result<std::convert::Infallible, Error> {
        let (mut stream, mut incoming) = (self.client.stream().await?, Incoming::new());
        let silence = |heartbeat: Duration| heartbeat * 3 + Duration::from_secs(1);
        let mut patience = silence(Duration::from_secs(5));
        let (about, hello) = loop {
            incoming.take(&stream.next(patience).await?);
            if let Some(hello) = incoming.hello()? {
                break (read_about(hello)?, hello.clone());
            }
        };
        patience = silence(Duration::from_millis(about.heartbeat_ms));
        let current = self.current_for(&about, &hello)?;
        let mut connection = current.replica.connect(incoming)?;
        connection.take(&[]).await?;
        loop {
            self.note(&current);
            let bytes = stream.next(patience).await?;
            connection.take(&bytes).await?;
        }
    }

    /// Says that the table answers, once it does.
    fn note(&self, current: &Following) {
        let is_loaded = *self.state.lock() == State::Loaded;
        if is_loaded || !current.replica.stats().is_connected {
            return;
        }
        *self.state.lock() = State::Loaded;
        self.tell(State::Loaded);
        let (table, records) = (&*self.name, current.table.held.stats().records);
        tracing::info!(target: "larder::table", %table, owner = %self.owner, records, "follows");
    }

    /// Tells the table how it is, for what it says in answers.
    fn tell(&self, state: State) {
        if let Some(table) = self.table() {
            table.life.set(state);
        }
    }

    /// The table that the owner speaks of: the one that is known, unless that has changed.
    fn current_for(&self, about: &About, hello: &Hello) -> Result<Arc<Following>, Error> {
        let current = self.current.borrow().clone();
        if let Some(current) = current.filter(|current| current.about == hello.about) {
            return Ok(current);
        }
        let built = Arc::new(self.build(about, hello)?);
        self.current.send_replace(Some(built.clone()));
        Ok(built)
    }

    fn build(&self, about: &About, hello: &Hello) -> Result<Following, Error> {
        let known: Vec<Column> = about
            .columns
            .iter()
            .map(|(name, holds)| Column { name: name.clone(), holds: *holds })
            .collect();
        let own = |wanted: &[String]| -> Vec<Column> {
            let find = |name: &String| known.iter().find(|own| own.name == *name).cloned();
            wanted.iter().filter_map(find).collect()
        };
        let shape = about.shape()?;
        let mut definition = shape.definition(&*self.name);
        definition
            .limit(self.settings.memory_bytes, Row::bytes)
            .wait_for_load(self.settings.load_wait);
        let order = definition.primary();
        let primary = Index { name: PRIMARY.to_owned(), columns: own(&about.key), order };
        let mut indexes = vec![primary];
        for (name, wanted) in &about.indexes {
            let order = shape.index(&mut definition, name, &names(wanted))?;
            indexes.push(Index { name: name.clone(), columns: own(wanted), order });
        }
        let window = Window::of_owner(&about.window);
        let order = window.index(&indexes)?.order.clone();
        let replica = definition.replica(
            &order,
            &self.owner,
            self.client.clone(),
            shape.codec(),
            self.clock.clone(),
            self.settings.max_staleness,
        )?;
        let held = replica.table().clone();
        let columns: Arc<[Arc<str>]> = known.iter().map(|own| Arc::from(&*own.name)).collect();
        let table = Table::of_owner(
            (&*self.name, &*self.owner, &*about.origin),
            (columns, known),
            (indexes, window),
            about.reads.clone(),
            (held, self.settings.load_wait),
        );
        Ok(Following { table: Arc::new(table), replica, about: hello.about.clone() })
    }
}

fn read_about(hello: &Hello) -> Result<About, Error> {
    serde_json::from_slice(&hello.about).map_err(|error| {
        Error::new(ErrorKind::Unsupported, "follow the owner of table").detail(format!(
            "what it says of the table cannot be read; are both of one version? {error}"
        ))
    })
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("name", &self.name).finish_non_exhaustive()
    }
}
