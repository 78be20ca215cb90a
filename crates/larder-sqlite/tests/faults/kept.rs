//! What was acknowledged, and what is there: the two are compared after each fault.

use std::{collections::BTreeMap, path::Path, time::Duration};

use larder_core::{Epoch, Error};
use larder_sqlite::store::{
    Condition, Depth, Lifetime, NewEntry, Select, SqliteStore, StoreOptions, Stored,
};

use crate::disk::Fault;

/// Nothing of the file stays in memory, so that every read is one of the disk, and the keeper comes
/// only when called.
pub fn options() -> StoreOptions {
    StoreOptions::new()
        .keep_every(Duration::from_secs(3600))
        .mmap(0)
        .page_cache(0)
        .readers(1)
        .compress_above(u64::MAX)
}

pub async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open_with(path, options()).await.unwrap()
}

/// An entry of some size that lives for ever.
pub fn entry(text: &str) -> NewEntry {
    NewEntry::new(Stored::text(text), Lifetime::Forever).tags(["t"])
}

/// What has been acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub values: BTreeMap<String, String>,
    pub epoch: Option<Epoch>,
}

impl Kept {
    /// Takes over what was acknowledged; what was not must be explained by the fault.
    pub fn told<T>(
        &mut self,
        fault: Fault,
        result: Result<T, Error>,
        effect: impl FnOnce(&mut Self, T),
    ) {
        match result {
            Ok(answer) => effect(self, answer),
            Err(error) => fault.explains(&error),
        }
    }

    /// That what is there is what was acknowledged, no more and no less, and the file is sound.
    pub async fn is_in(&mut self, store: &SqliteStore) {
        let entries = store.entries("r");
        for (key, value) in &self.values {
            let read = entries.get(key).await.unwrap();
            let is_there = read.is_some_and(|read| read.bytes == value.as_bytes());
            assert!(is_there, "{key} is not what was acknowledged");
        }
        let count = entries.count(&Select::everything()).await.unwrap();
        assert_eq!(count, self.values.len() as u64);
        let report = store.check(Depth::Full).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(store.condition(), Condition::Sound);
        let epoch = store.epoch().await.unwrap();
        assert_eq!(*self.epoch.get_or_insert(epoch), epoch, "it forgot nothing");
    }

    /// The same after it was closed and opened again.
    pub async fn is_at(&mut self, path: &Path) {
        self.is_in(&open(path).await).await;
        let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().flatten();
        let names = beside.map(|file| file.file_name().into_string().unwrap());
        let left: Vec<String> =
            names.filter(|name| name.contains("corrupt") || name.contains(".part")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
