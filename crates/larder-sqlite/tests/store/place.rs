//! A store in a directory of its own, in as many files as the binary says, with a clock that stands
//! still.

use std::{future::Future, path::PathBuf, time::Duration};

use larder_core::Clock;
use larder_sqlite::store::{Lifetime, NewEntry, SqliteStore, StoreOptions, Stored};
use larder_testkit::temp::TempDir;

/// Where a store is.
pub struct Place {
    directory: TempDir,
    pub clock: Clock,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: TempDir::new("store").unwrap(), clock: Clock::manual() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("cache.db")
    }

    /// The path of `name` in the directory of the store.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The settings of these tests: their clock, a keeper that comes only when called, and values
    /// that take the room that they have.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new()
            .clock(self.clock.clone())
            .keep_every(Duration::from_secs(3600))
            .shards(crate::FILES)
            .compress_above(u64::MAX)
    }

    pub async fn open(&self) -> SqliteStore {
        self.open_with(self.options()).await
    }

    pub async fn open_with(&self, options: StoreOptions) -> SqliteStore {
        SqliteStore::open_with(self.path(), options).await.unwrap()
    }
}

/// Runs `test` on a runtime with two threads.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

/// An entry that lives for ever.
pub fn forever(text: &str) -> NewEntry {
    NewEntry::new(Stored::text(text), Lifetime::Forever)
}

/// An entry that lives for `millis` milliseconds.
pub fn living(text: &str, millis: u64) -> NewEntry {
    NewEntry::new(Stored::text(text), Lifetime::For(Duration::from_millis(millis)))
}
