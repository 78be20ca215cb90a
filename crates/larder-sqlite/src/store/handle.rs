//! The store as its users hold it: opened once, shared by cloning, closed with the last clone.
//!
//! **Invariant**: dropping the last clone finishes the writes that wait, writes what reads left and
//! copies the log; nothing that was acknowledged is lost by it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use larder_core::{BoxFuture, Epoch, Error, ErrorKind};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    access::Access,
    collect,
    counters::{Counters, StoreStats},
    entries::Entries,
    file, filed,
    headway::Told,
    health::{self, Health, OnCorruption},
    journal::{Journal, Operation},
    keeper::Keeper,
    life::Life,
    options::StoreOptions,
    pool::Pool,
    queues::Queues,
    readable,
    region::{Named, Regions},
    shards,
    total::Totals,
    turn::Turn,
    values::Values,
    wake::{Wake, Waker},
    writer::{Queue, Writer, Writing},
};

/// A SQLite file that keeps entries. Cloning shares it.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

/// Fields are dropped in this order: the keeper's last round needs the writer.
pub(crate) struct Inner {
    keeper: Keeper,
    pub(crate) writer: Writer,
    pub(crate) pool: Pool,
    pub(crate) values: Arc<Values>,
    pub(crate) regions: Arc<Regions>,
    pub(crate) access: Arc<Access>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Journal,
    pub(crate) options: StoreOptions,
    health: Arc<Health>,
    waker: Mutex<Waker>,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it if there is none.
    ///
    /// # Errors
    /// `Unsupported` for a database of something else or of a later larder, `Corrupt` for what is
    /// no database, `ReadOnly` and `Full` where nothing can be written, `Unavailable` where the
    /// file cannot be opened, `Config` for settings that cannot be; the file is then as it was.
    ///
    /// # Cost
    /// Starts a thread for the writer, one for the keeper and one for each reader. Reads a few
    /// pages, whatever the size of the file.
    pub async fn open_with(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Error> {
        options.check()?;
        let path = path.as_ref().to_owned();
        let (reply, opened) = oneshot::channel();
        let open = move || drop(reply.send(Inner::open(path, options)));
        std::thread::Builder::new()
            .name("larder-open".into())
            .spawn(open)
            .map_err(|error| Error::new(ErrorKind::Unavailable, "open the store").source(error))?;
        let ended = || Error::new(ErrorKind::Panicked, "open the store");
        opened.await.unwrap_or_else(|_| Err(ended())).map(|inner| Self(Arc::new(inner)))
    }

    /// The entries of the region `name`. It begins to exist with its first entry.
    pub fn entries(&self, name: impl Into<Arc<str>>) -> Entries {
        Entries::new(self.0.clone(), name.into())
    }

    /// The names of all regions that ever had an entry, sorted.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn regions(&self) -> Result<Vec<String>, Error> {
        let failed = Writing::failed("list regions");
        self.0.pool.read(move |connection| Regions::names(connection).map_err(failed)).await
    }

    /// How the store is doing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stats(&self) -> Result<StoreStats, Error> {
        let failed = Writing::failed("ask for statistics");
        let (totals, files) = self
            .0
            .pool
            .read(move |connection| {
                let totals = Totals::read(connection).map_err(failed)?;
                let files = filed::totals(connection).map_err(failed)?;
                Ok(((totals.entries(), totals.bytes()), files))
            })
            .await?;
        let commits = self.0.writer.queue().commits.load(Ordering::Relaxed);
        let now = self.0.options.clock.wall();
        Ok(StoreStats::of(&self.0.counters, totals, files, commits, now))
    }

    /// How many wait for a connection or for the writer, and how many waited in vain.
    pub fn queues(&self) -> Queues {
        let mut queues = Queues::default();
        self.0.pool.tell(&mut queues);
        self.0.writer.queue().tell(&mut queues);
        queues
    }

    /// The last thousand operations of this process on the store, the newest last: all changes by
    /// key and by selection, and of the reads those that were slow or failed.
    pub fn operations(&self) -> Vec<Operation> {
        self.0.journal.operations()
    }

    /// Does now what the keeper does behind: writes what reads left, removes what is gone, gives
    /// room back, copies the log into the file.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keep(&self, told: Option<Told>) -> Result<(), Error> {
        self.0.keeper.round(told).await
    }

    /// Which unbroken life of its timeline the store is in. Another one begins when the file was
    /// copied back, restored, or lost changes that were acknowledged: everything that was built on
    /// the earlier one is a miss.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn epoch(&self) -> Result<Epoch, Error> {
        let path = self.0.path.display().to_string();
        let life = self.0.pool.read(move |connection| Life::read(connection, &path)).await?;
        Ok(life.epoch)
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.0.access
    }

    pub(crate) fn values(&self) -> &Arc<Values> {
        &self.0.values
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn named(&self, region: &str) -> Named {
        Named::new(self.0.regions.clone(), region.into())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.0.health
    }

    pub(crate) fn writer_queue(&self) -> &Arc<Queue> {
        self.0.writer.queue()
    }

    /// Ends after the next commit by anybody; a hint, which may be late or never come.
    pub(crate) fn next_commit(&self) -> BoxFuture<'static, ()> {
        let start = || Wake::start(self.0.path.clone(), self.0.options.clone());
        self.0.waker.lock().next_commit(&self.0.options.clock, start)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Inner {
    fn open(path: PathBuf, options: StoreOptions) -> Result<Self, Error> {
        let health = Arc::<Health>::default();
        let values = Values::of(&path);
        let connection = open_or_replace(&path, &options, &values, &health)?;
        if options.label.is_none() {
            shards::expect_alone(&connection, &path)?;
        }
        let unflushed =
            match filed::unflushed(&connection).map_err(Writing::failed("open the store")) {
                // The check behind will find it.
                Err(error) if error.kind() == ErrorKind::Corrupt => Vec::new(),
                read => read?,
            };
        let (access, regions) = (Arc::<Access>::default(), Arc::<Regions>::default());
        let counters = Arc::<Counters>::default();
        let writer = Writer::start(
            connection,
            path.clone(),
            options.clone(),
            access.clone(),
            counters.clone(),
        )?;
        collect::mend(writer.queue(), &values, &unflushed)?;
        let pool = Pool::start(path.clone(), options.clone(), health.clone())?;
        let keeper = Keeper::start(
            path.clone(),
            options.clone(),
            writer.queue().clone(),
            (access.clone(), regions.clone()),
            values.clone(),
            health.clone(),
        )?;
        let journal = Journal::new(options.clock.clone(), options.slow_above);
        Ok(Self {
            keeper,
            writer,
            pool,
            values,
            regions,
            access,
            counters,
            journal,
            options,
            health,
            waker: Mutex::default(),
            path,
        })
    }
}

/// Opens the file, or puts it aside and opens what takes its place.
fn open_or_replace(
    path: &Path,
    options: &StoreOptions,
    values: &Arc<Values>,
    health: &Health,
) -> Result<Connection, Error> {
    let is_to_be_replaced = |error: &Error| {
        error.kind() == ErrorKind::Corrupt
            && options.on_corruption == OnCorruption::Replace
            && health::was_a_store(path)
    };
    let turn = Turn::to_open(path, options)?;
    match open(path, options) {
        Err(error) if is_to_be_replaced(&error) => {}
        opened => return opened,
    }
    drop(turn);
    let _turn = Turn::to_replace(path, options)?;
    // Whoever had the turn before may have replaced it.
    match open(path, options) {
        Err(error) if is_to_be_replaced(&error) => {
            tracing::error!(%error, "the store is corrupt and is replaced");
            health.set(health::replace_closed(path, options, values)?);
            file::open_for_writing(path, options)
        }
        opened => opened,
    }
}

/// Opens a file that nobody has called corrupt.
fn open(path: &Path, options: &StoreOptions) -> Result<Connection, Error> {
    match health::is_marked(path) {
        true => Err(Error::new(ErrorKind::Corrupt, "open the store")
            .subject(path.display().to_string())
            .detail("a check found faults in it; restore a backup, or let it be replaced")),
        false => readable::look_twice(path, || file::open_for_writing(path, options)),
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.0.path).finish_non_exhaustive()
    }
}
