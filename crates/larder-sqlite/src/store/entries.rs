//! The entries of one region: what a caller asks of a store, by key.
//!
//! Each method is one transaction or one snapshot. **Invariant**: a miss, a value that is empty and
//! an error are three different answers (SD12, SD18); what has expired is a miss everywhere.

mod selected;

mod running;

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{
    counters::{Counted, Tally},
    entry::{Entry, Lifetime, NewEntry, Placed, Stored},
    fence::What,
    find::{self, Looked, Reading},
    handle::Inner,
    number,
    options::Durability,
    put::{self, IfPresent},
    region::Named,
    remove,
    row_key::{OwnKey, RowKey},
    writer::Effort,
};

/// Values up to this size are read where the caller stands: SQLite takes some microseconds for
/// them. Larger ones take long enough that a thread of ours is cheaper than a runtime that waits.
pub(crate) const INLINE_BYTES: u64 = 32 << 10;

/// Keys are kept in indexes, where a long one is dear.
const KEY_BYTES_MAX: usize = 4096;

/// The entries of one region. Cloning is cheap.
#[derive(Clone)]
pub struct Entries {
    pub(crate) inner: Arc<Inner>,
    region: Named,
    tally: Arc<Tally>,
    pub(super) durability: Durability,
    pub(super) compress_above: u64,
}

impl Entries {
    pub(crate) fn new(inner: Arc<Inner>, region: Arc<str>) -> Self {
        let compress_above = inner.options.compress_above;
        let tally = inner.counters.tally(&region);
        let region = Named::new(inner.regions.clone(), region);
        Self { inner, region, tally, durability: Durability::Relaxed, compress_above }
    }

    /// The same entries, written durably: each write is acknowledged after it reached the disk.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durability = Durability::Durable;
        self
    }

    /// The same entries, where values with more bytes than this are written compressed, if that
    /// makes them an eighth smaller. How a value was written makes no difference to reading it.
    #[must_use]
    pub fn compress_above(mut self, bytes: u64) -> Self {
        self.compress_above = bytes;
        self
    }

    /// The name of the region.
    pub fn region(&self) -> &str {
        self.region.name()
    }

    /// The value under `key`; `None` is a miss.
    ///
    /// # Errors
    /// `Corrupt` when the value is not what was written; those of the store.
    ///
    /// # Cost
    /// A lookup of some microseconds on the caller's thread where a connection is free and the
    /// value is at most 32 KiB; else one on a thread of the store. Writes nothing.
    pub async fn get(&self, key: &str) -> Result<Option<Stored>, Error> {
        self.read_counted(key.into()).await
    }

    pub(crate) async fn read_counted(&self, key: RowKey<'_>) -> Result<Option<Stored>, Error> {
        let begun = self.inner.journal.begin("get");
        let looked = self.look(key).await;
        let what = match &looked {
            Ok(Some(_)) => Counted::Hit,
            Ok(None) => Counted::Miss,
            Err(_) => Counted::Error,
        };
        self.count_up(what, 1);
        self.inner.journal.read(begun, self.region.name(), Some(key.as_bytes()), &looked);
        looked
    }

    async fn look(&self, key: RowKey<'_>) -> Result<Option<Stored>, Error> {
        let now = self.inner.options.clock.wall();
        let small = Reading::at_most(&self.inner.options, INLINE_BYTES);
        let here = |connection: &Connection| {
            self.region.read(connection, Looked::Absent, |region| {
                find::value(connection, region, key, now, small, None)
            })
        };
        let looked = match self.inner.pool.borrow(here)? {
            Some(looked @ (Looked::Absent | Looked::Found(..))) => looked,
            Some(Looked::Larger) | None => {
                let (key, all) = (OwnKey::from(key), Reading::all(&self.inner.options));
                self.read_values(move |connection, region, files| {
                    find::value(connection, region, key.as_row(), now, all, Some(files))
                })
                .await?
                .unwrap_or_default()
            }
        };
        Ok(match looked {
            Looked::Found(id, stored) => {
                self.inner.access.note(id, now);
                Some(stored)
            }
            Looked::Absent | Looked::Larger => None,
        })
    }

    /// The values under `keys`, in their order, from one snapshot. Any number of keys (SD19).
    ///
    /// # Errors
    /// As [`Entries::get`]; one error is the answer to all.
    pub async fn get_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Stored>>, Error> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let (access, now) = (self.inner.access.clone(), self.inner.options.clock.wall());
        let all = Reading::all(&self.inner.options);
        let counted = keys.len();
        let read = self.read_values(move |connection, region, files| {
            let one = |key: &String| {
                find::value(connection, region, key.as_str().into(), now, all, Some(files))
            };
            let note = |looked| match looked {
                Looked::Found(id, stored) => {
                    access.note(id, now);
                    Some(stored)
                }
                Looked::Absent | Looked::Larger => None,
            };
            keys.iter().map(|key| one(key).map(note)).collect::<Result<Vec<_>, _>>()
        });
        let values = read.await.inspect_err(|_| {
            self.count_up(Counted::Error, counted as u64);
        })?;
        let values = values.unwrap_or_else(|| vec![None; counted]);
        let hits = values.iter().flatten().count() as u64;
        self.count_up(Counted::Hit, hits);
        self.count_up(Counted::Miss, counted as u64 - hits);
        Ok(values)
    }

    /// The whole entry under `key`, with what is known of it. Not counted as a read.
    ///
    /// # Errors
    /// As [`Entries::get`].
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, Error> {
        let (key, now) = (key.to_owned(), self.inner.options.clock.wall());
        let all = Reading::all(&self.inner.options);
        let found = self.read_values(move |connection, region, files| {
            find::entry(connection, region, key.as_str().into(), now, all, files)
        });
        Ok(found.await?.flatten())
    }

    /// Whether there is an entry under `key`. Not counted as a read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contains(&self, key: &str) -> Result<bool, Error> {
        let (key, now) = (key.to_owned(), self.inner.options.clock.wall());
        self.read(false, move |connection, region| {
            find::contains(connection, region, key.as_str().into(), now)
        })
        .await
    }

    /// Writes `entry` under `key`, in place of what was there.
    ///
    /// # Errors
    /// `Limit` for a key or a value that is too long, `Full` when there is no room and nothing may
    /// go, `Config` for a lifetime of zero; those of the store. What was there is then untouched.
    pub async fn insert(&self, key: impl Into<String>, entry: NewEntry) -> Result<Placed, Error> {
        self.put(key.into(), entry, IfPresent::Replace).await
    }

    /// Writes `entry` under `key` if there is nothing; [`Placed::Present`] if there is.
    ///
    /// # Errors
    /// As [`Entries::insert`].
    pub async fn add(&self, key: impl Into<String>, entry: NewEntry) -> Result<Placed, Error> {
        self.put(key.into(), entry, IfPresent::Leave).await
    }

    async fn put(
        &self,
        key: String,
        entry: NewEntry,
        if_present: IfPresent,
    ) -> Result<Placed, Error> {
        check_key(&key)?;
        let name = if if_present == IfPresent::Leave { "add" } else { "insert" };
        let begun = self.inner.journal.begin_with(name, key.as_bytes());
        let entry = self.pack(entry).await?;
        let effort = Effort::Row { bytes: entry.value.bytes.len() as u64 };
        let placed = self
            .write(effort, move |writing, region| {
                put::put(writing, region, key.as_str().into(), &entry, if_present)
            })
            .await;
        let placed = self.noted(begun, placed)?;
        if placed != Placed::Present {
            self.count_up(Counted::Written, 1);
        }
        Ok(placed)
    }

    /// Removes the entry under `key`; whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, key: &str) -> Result<bool, Error> {
        let begun = self.inner.journal.begin_with("remove", key.as_bytes());
        let (key, what) = (key.to_owned(), What::Keys(vec![key.to_owned()]));
        let was_there = self.removing(Effort::ROW, false, what, move |writing, region| {
            remove::remove(writing, region, key.as_str().into())
        });
        let was_there = self.noted(begun, was_there.await)?;
        self.count_up(Counted::Removed, was_there.into());
        Ok(was_there)
    }

    /// Removes the entries under `keys`, all in one step; whether there was one, in their order.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<bool>, Error> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let (nothing, what) = (vec![false; keys.len()], What::Keys(keys.clone()));
        let removed: Vec<bool> = self
            .removing(Effort::MUCH, nothing, what, move |writing, region| {
                keys.iter()
                    .map(|key| remove::remove(writing, region, key.as_str().into()))
                    .collect()
            })
            .await?;
        let count = removed.iter().filter(|was_there| **was_there).count() as u64;
        self.count_up(Counted::Removed, count);
        Ok(removed)
    }

    /// Removes the entry under `key` and gives it back.
    ///
    /// # Errors
    /// As [`Entries::get`] and [`Entries::remove`]. A value in a file of its own is read after it
    /// was removed: if it is not what was written, it is gone all the same.
    pub async fn pop(&self, key: &str) -> Result<Option<Entry>, Error> {
        let begun = self.inner.journal.begin_with("pop", key.as_bytes());
        let (key, what) = (key.to_owned(), What::Keys(vec![key.to_owned()]));
        let directory = self.inner.values.directory().clone();
        let popped = self
            .removing(Effort::MUCH, None, what, move |writing, region| {
                remove::pop(writing, region, key.as_str().into(), &directory)
            })
            .await;
        let popped = self.noted(begun, popped)?;
        self.count_up(Counted::Removed, popped.is_some().into());
        let max = self.inner.options.item_bytes_max();
        match popped {
            Some(popped) if popped.is_filed() => {
                self.inner.pool.read(move |_| popped.read(max)).await.map(Some)
            }
            popped => popped.map(|popped| popped.read(max)).transpose(),
        }
    }

    /// Lets the entry under `key` live so long from now; whether there is one. Nothing else
    /// prolongs a life (X3).
    ///
    /// # Errors
    /// `Config` for a lifetime of zero; those of the store.
    pub async fn touch(&self, key: &str, lifetime: Lifetime) -> Result<bool, Error> {
        let key = key.to_owned();
        lifetime.deadline(self.inner.options.clock.wall())?;
        self.change(Effort::ROW, false, move |writing, region| {
            let expires = lifetime.deadline(writing.now)?;
            remove::touch(writing, region, key.as_str().into(), expires)
        })
        .await
    }

    /// Adds `by` to the whole number under `key` and gives the sum, in one step. Where there is
    /// nothing it begins at zero and lives as `lifetime` says; else the lifetime stays.
    ///
    /// # Errors
    /// `Conflict` when what is there is not a whole number, `Limit` when the sum has more than 64
    /// bits; nothing is changed then. Those of [`Entries::insert`].
    pub async fn incr(
        &self,
        key: impl Into<String>,
        by: i64,
        lifetime: Lifetime,
    ) -> Result<i64, Error> {
        let key = key.into();
        check_key(&key)?;
        self.write(Effort::ROW, move |writing, region| {
            number::incr(writing, region, key.as_str().into(), by, lifetime)
        })
        .await
    }
}

pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, "write an entry").detail(format!(
        "the key has {} bytes, the limit is {KEY_BYTES_MAX}; a digest of it would do",
        key.len()
    )))
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("region", &self.region).finish_non_exhaustive()
    }
}
