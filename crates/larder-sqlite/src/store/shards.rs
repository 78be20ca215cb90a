//! The store as its users hold it: one file, or several that share the work.
//!
//! A file has one writer, so writers scale with files. Everything above sees one store, and the
//! modules of one file (`handle` and what is under it) know nothing of others. Reading order:
//! `layout`, which files there are and what each says; `entries`, `records` and `whole`, the same
//! faces as those of one file; `line` and `tracked`, what they have in common of timelines;
//! `together`, asking them; `reshard`, from one number to another.
//! **Invariant**: with one file there is nothing of this in it, and nothing between a call and it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{Epoch, Error, ErrorKind};
use parking_lot::Mutex;

use self::{
    layout::path_of,
    schedule::Scheduled,
    together::{summed, try_all},
};
use super::{
    counters::StoreStats,
    handle::SqliteStore as Shard,
    headway::Told,
    journal::Operation,
    life,
    operation::on_a_thread,
    options::{Durability, Files, StoreOptions},
    queues::Queues,
    writer::{Effort, Writing},
};

mod entries;

mod layout;

mod line;

mod records;

mod reshard;

mod schedule;

mod together;

mod tracked;

mod whole;

pub(crate) use self::layout::{Label, SHARDS_MAX, expect_alone, read as label_in};
pub use self::{
    entries::Entries,
    reshard::{Resharded, reshard},
};

/// Times that files are opened of which others make a store meanwhile.
const OPENS: u32 = 3;

/// A SQLite file that keeps entries, or several of them. Cloning shares it.
#[derive(Clone)]
pub struct SqliteStore(Kept);

#[derive(Clone)]
enum Kept {
    One(Shard),
    Many(Arc<Family>),
}

/// The files of one store.
pub(crate) struct Family {
    #[expect(dead_code, reason = "it takes backups until it is dropped")]
    scheduled: Option<Scheduled>,
    shards: Vec<Shard>,
    first: PathBuf,
    options: StoreOptions,
}

impl SqliteStore {
    /// Opens the store at `path` with the default settings, and makes it if there is none.
    ///
    /// # Errors
    /// As [`SqliteStore::open_with`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, StoreOptions::default()).await
    }

    /// Opens the store at `path`, and makes it if there is none. With [`StoreOptions::shards`]
    /// others lie beside it.
    ///
    /// # Errors
    /// `Unsupported` for a database of something else or of a later larder, `Corrupt` for what is
    /// no database, `ReadOnly` and `Full` where nothing can be written, `Unavailable` where the
    /// file cannot be opened, `Config` for settings that cannot be, or when the store is kept in
    /// another number of files, `Conflict` for files that do not belong together; what is there is
    /// then as it was.
    ///
    /// # Cost
    /// For each file a thread for the writer, one for the keeper and one for each reader. Reads a
    /// few pages, whatever the size of the file.
    pub async fn open_with(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Error> {
        options.check()?;
        let first = path.as_ref().to_owned();
        let count = match options.files {
            Files::Count(count) => count,
            Files::AsFound => {
                let (first, options) = (first.clone(), options.clone());
                on_a_thread("open the store", move |_| layout::count_at(&first, &options)).await?
            }
        };
        if 1 < count {
            return Family::open(first, options, count).await.map(|own| Self(Kept::Many(own)));
        }
        Shard::open_with(&first, options).await.map(|shard| Self(Kept::One(shard)))
    }

    /// The entries of the region `name`. It begins to exist with its first entry.
    pub fn entries(&self, name: impl Into<Arc<str>>) -> Entries {
        let name = name.into();
        match &self.0 {
            Kept::One(shard) => Entries::one(shard.entries(name)),
            Kept::Many(family) => {
                Entries::many(family.shards.iter().map(|shard| shard.entries(name.clone())))
            }
        }
    }

    /// The names of all regions that ever had an entry, sorted.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn regions(&self) -> Result<Vec<String>, Error> {
        let mut names = try_all(self.shards().iter().map(Shard::regions)).await?.concat();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// How the store is doing, all of its files together.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stats(&self) -> Result<StoreStats, Error> {
        let stats = try_all(self.shards().iter().map(Shard::stats)).await?;
        Ok(stats.into_iter().fold(StoreStats::default(), StoreStats::with))
    }

    /// How many wait for a connection or for the writer, and how many waited in vain; in all files.
    pub fn queues(&self) -> Queues {
        self.shards().iter().map(Shard::queues).fold(Queues::default(), Queues::with)
    }

    /// The last thousand operations of this process on each file, the newest last: all changes by
    /// key and by selection, and of the reads those that were slow or failed. What was done to many
    /// entries is there once for each file.
    pub fn operations(&self) -> Vec<Operation> {
        let operations = self.shards().iter().flat_map(Shard::operations);
        let mut operations: Vec<_> = operations.collect();
        operations.sort_by_key(|operation| operation.at);
        operations
    }

    /// Does now what the keeper does behind: writes what reads left, removes what is gone, gives
    /// room back, copies the log into the file.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keep(&self) -> Result<(), Error> {
        self.kept(None).await
    }

    /// As [`SqliteStore::keep`], and tells `progress` now and then how far it is: how much is done,
    /// and of how much. A round that has little to do is over before there is anything to tell.
    ///
    /// # Errors
    /// As [`SqliteStore::keep`].
    pub async fn keep_with(
        &self,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<(), Error> {
        self.kept(Some(Arc::new(Mutex::new(progress)))).await
    }

    async fn kept(&self, told: Option<Told>) -> Result<(), Error> {
        let parts = told.as_ref().map(|told| summed(self.shards().len(), told));
        let rounds = self.shards().iter().enumerate().map(|(at, shard)| {
            let told = parts.as_ref().and_then(|parts| parts.get(at).cloned());
            shard.keep(told)
        });
        try_all(rounds).await.map(drop)
    }

    /// Which unbroken life of its timeline the store is in. Another one begins when a file of it
    /// was copied back, restored, or lost changes that were acknowledged: everything that was built
    /// on the earlier one is a miss.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn epoch(&self) -> Result<Epoch, Error> {
        let family = match &self.0 {
            Kept::One(shard) => return shard.epoch().await,
            Kept::Many(family) => family,
        };
        // One for all: a part of them in another life is another life of the whole.
        let epochs = try_all(family.shards.iter().map(Shard::epoch)).await?;
        if let [first, others @ ..] = &*epochs
            && others.iter().all(|other| other == first)
        {
            return Ok(*first);
        }
        let mut hasher = blake3::Hasher::new();
        for epoch in epochs {
            hasher.update(&epoch.0.to_le_bytes());
        }
        let bits = hasher.finalize().as_bytes().first_chunk().map(|bits| u64::from_le_bytes(*bits));
        Ok(Epoch(bits.unwrap_or(0)))
    }

    /// Where the file is, or the first of them.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kept::One(shard) => shard.path(),
            Kept::Many(family) => &family.first,
        }
    }

    /// Where all files of it are, the first one first.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.shards().iter().map(|shard| shard.path().to_owned()).collect()
    }

    fn shards(&self) -> &[Shard] {
        match &self.0 {
            Kept::One(shard) => std::slice::from_ref(shard),
            Kept::Many(family) => &family.shards,
        }
    }
}

impl Family {
    async fn open(first: PathBuf, options: StoreOptions, count: u32) -> Result<Arc<Self>, Error> {
        let mut tries = OPENS;
        loop {
            tries -= 1;
            let agreed = {
                let (first, options) = (first.clone(), options.clone());
                let survey = move |_: &dyn Fn() -> bool| layout::survey(&first, count, &options);
                on_a_thread("open the store", survey).await?
            };
            let label = match agreed {
                Some(label) => label,
                None => Label { place: 0, count, family: life::random()?, moment: 0 },
            };
            match Self::open_as(&first, &options, label).await {
                // Others have made the first file theirs since it was looked at: once they have, it
                // says so.
                Err(error)
                    if agreed.is_none() && error.kind() == ErrorKind::Conflict && tries != 0 => {}
                opened => return opened.map(Arc::new),
            }
        }
    }

    async fn open_as(first: &Path, options: &StoreOptions, label: Label) -> Result<Self, Error> {
        let labels = (0..label.count).map(|place| Label { place, ..label });
        let open = |label: Label| {
            Shard::open_with(path_of(first, label.place, label.count), options.share(label))
        };
        let shards = try_all(labels.clone().map(open)).await?;
        // The first before all others: without it they are not opened.
        for (shard, label) in shards.iter().zip(labels) {
            settle(shard, label).await?;
        }
        let paths = shards.iter().map(|shard| shard.path().to_owned()).collect();
        let scheduled = Scheduled::start(paths, options)?;
        Ok(Self { scheduled, shards, first: first.to_owned(), options: options.clone() })
    }

    fn count(&self) -> usize {
        self.shards.len()
    }

    /// The file at a place that [`layout::place_of`] gave.
    fn at(&self, place: usize) -> &Shard {
        self.shards.get(place).expect("a place is below the number of files")
    }
}

/// Takes the place of `label` in the file of `shard`.
async fn settle(shard: &Shard, label: Label) -> Result<(), Error> {
    let path = shard.path().to_owned();
    let settle = move |writing: &mut Writing<'_>| label.settle(writing.connection, &path);
    shard.writer_queue().write(Durability::Durable, Effort::MUCH, settle).await
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path())
            .field("files", &self.shards().len())
            .finish_non_exhaustive()
    }
}
