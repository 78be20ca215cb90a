//! The entries of one region, in however many files they are kept.
//!
//! Apart from `store::entries`, which is about one file and says what each of these does there.
//! **Invariant**: what is about one key is asked of the file that has it, and of no other; what is
//! about many is each file's answer, merged so that nobody can tell how many there were.

use std::{collections::BTreeMap, fmt, sync::Arc};

use larder_core::Error;

use super::{
    layout,
    together::{Parts, all, try_all},
};
use crate::store::{
    begun::Begun,
    counters::{RegionStats, TagStats},
    entries::Entries as ShardEntries,
    entry::{Entry, Lifetime, Meta, NewEntry, Placed, Stored},
    fence::Fence,
    row_key::RowKey,
    select::Select,
};

/// The entries of one region. Cloning is cheap.
///
/// Where the store is kept in several files, what is done to many entries in one call is done as a
/// whole in each file, one after the other or at once. What can be seen to be wrong with any of
/// them is told before the first is written; an error of one file beyond that (no room, a disk that
/// fails) leaves what was done in the others.
#[derive(Clone)]
pub struct Entries(Kept);

#[derive(Clone)]
enum Kept {
    One(ShardEntries),
    Many(Arc<[ShardEntries]>),
}

impl Entries {
    pub(crate) fn one(entries: ShardEntries) -> Self {
        Self(Kept::One(entries))
    }

    pub(crate) fn many(entries: impl Iterator<Item = ShardEntries>) -> Self {
        Self(Kept::Many(entries.collect()))
    }

    /// The same entries, written durably: each write is acknowledged after it reached the disk.
    #[must_use]
    pub fn durable(self) -> Self {
        self.each(ShardEntries::durable)
    }

    /// The same entries, where values with more bytes than this are written compressed, if that
    /// makes them an eighth smaller. How a value was written makes no difference to reading it.
    #[must_use]
    pub fn compress_above(self, bytes: u64) -> Self {
        self.each(|entries| entries.compress_above(bytes))
    }

    /// The name of the region.
    pub fn region(&self) -> &str {
        match &self.0 {
            Kept::One(entries) => entries.region(),
            Kept::Many(files) => files.first().map_or("", ShardEntries::region),
        }
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
        self.of(key).get(key).await
    }

    /// The values under `keys`, in their order, from one snapshot of each file. Any number of keys
    /// (SD19).
    ///
    /// # Errors
    /// As [`Entries::get`]; one error is the answer to all.
    pub async fn get_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Stored>>, Error> {
        match &self.0 {
            Kept::One(entries) => entries.get_many(keys).await,
            Kept::Many(files) => {
                let ask =
                    |file, part| async move { at(files, file).get_many::<String>(part).await };
                self.by_key(keys.into_iter().map(Into::into).collect(), key_of).ask(ask).await
            }
        }
    }

    /// The value under each of `keys`, in their order, from one snapshot of each file, as far as
    /// all of them together have at most `bytes_max` bytes.
    ///
    /// Other than [`Entries::get_many`], what is wrong with one is the answer to that one only:
    /// `Corrupt` for a value that is not what was written, `Limit` for one that does not fit any
    /// more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get_each<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        bytes_max: u64,
    ) -> Result<Vec<Result<Option<Stored>, Error>>, Error> {
        match &self.0 {
            Kept::One(entries) => entries.get_each(keys, bytes_max).await,
            Kept::Many(files) => {
                let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
                // One after the other: what one file took is not there for the next.
                let left = tokio::sync::Mutex::new(bytes_max);
                let left = &left;
                let ask = |file, part: Vec<String>| async move {
                    let mut left = left.lock().await;
                    let values = at(files, file).get_each(part, *left).await?;
                    let taken = values.iter().flatten().flatten();
                    let taken: u64 = taken.map(|stored| stored.bytes.len() as u64).sum();
                    *left = left.saturating_sub(taken);
                    Ok(values)
                };
                self.by_key(keys, key_of).ask(ask).await
            }
        }
    }

    /// The whole entry under `key`, with what is known of it. Not counted as a read.
    ///
    /// # Errors
    /// As [`Entries::get`].
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.of(key).entry(key).await
    }

    /// Whether there is an entry under `key`. Not counted as a read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contains(&self, key: &str) -> Result<bool, Error> {
        self.of(key).contains(key).await
    }

    /// Writes `entry` under `key`, in place of what was there.
    ///
    /// # Errors
    /// `Limit` for a key or a value that is too long, `Full` when there is no room and nothing may
    /// go, `Config` for a lifetime of zero; those of the store. What was there is then untouched.
    pub async fn insert(&self, key: impl Into<String>, entry: NewEntry) -> Result<Placed, Error> {
        let key = key.into();
        self.of(&key).insert(key, entry).await
    }

    /// Writes `entry` under `key` if there is nothing; [`Placed::Present`] if there is.
    ///
    /// # Errors
    /// As [`Entries::insert`].
    pub async fn add(&self, key: impl Into<String>, entry: NewEntry) -> Result<Placed, Error> {
        let key = key.into();
        self.of(&key).add(key, entry).await
    }

    /// Writes all of `entries`, or none of them, in each file; what each found, in their order
    /// (SD16).
    ///
    /// # Errors
    /// As [`Entries::insert`], for the first that fails.
    ///
    /// # Cost
    /// One commit in each file. Other writes wait until it is done: some microseconds for each
    /// entry.
    pub async fn insert_many<K: Into<String>>(
        &self,
        entries: impl IntoIterator<Item = (K, NewEntry)>,
    ) -> Result<Vec<Placed>, Error> {
        match &self.0 {
            Kept::One(one) => one.insert_many(entries).await,
            Kept::Many(files) => {
                let ask =
                    |file, part: Vec<_>| async move { at(files, file).insert_many(part).await };
                let entries = paired(entries);
                at(files, 0).check_many(&entries)?;
                self.by_key(entries, first_of_two).ask(ask).await
            }
        }
    }

    /// Writes those of `entries` under whose keys there is nothing; what each found, in their
    /// order. All in one step in each file, or none.
    ///
    /// # Errors
    /// As [`Entries::insert`], for the first that fails.
    pub async fn add_many<K: Into<String>>(
        &self,
        entries: impl IntoIterator<Item = (K, NewEntry)>,
    ) -> Result<Vec<Placed>, Error> {
        match &self.0 {
            Kept::One(one) => one.add_many(entries).await,
            Kept::Many(files) => {
                let ask = |file, part: Vec<_>| async move { at(files, file).add_many(part).await };
                let entries = paired(entries);
                at(files, 0).check_many(&entries)?;
                self.by_key(entries, first_of_two).ask(ask).await
            }
        }
    }

    /// Removes the entry under `key`; whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, key: &str) -> Result<bool, Error> {
        self.of(key).remove(key).await
    }

    /// Removes the entries under `keys`, all in one step in each file; whether there was one, in
    /// their order.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<bool>, Error> {
        match &self.0 {
            Kept::One(entries) => entries.remove_many(keys).await,
            Kept::Many(files) => {
                let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
                let ask =
                    |file, part: Vec<_>| async move { at(files, file).remove_many(part).await };
                self.by_key(keys, key_of).ask(ask).await
            }
        }
    }

    /// Removes the entry under `key` and gives it back.
    ///
    /// # Errors
    /// As [`Entries::get`] and [`Entries::remove`].
    pub async fn pop(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.of(key).pop(key).await
    }

    /// Lets the entry under `key` live so long from now; whether there is one. Nothing else
    /// prolongs a life (X3).
    ///
    /// # Errors
    /// `Config` for a lifetime of zero; those of the store.
    pub async fn touch(&self, key: &str, lifetime: Lifetime) -> Result<bool, Error> {
        self.of(key).touch(key, lifetime).await
    }

    /// Lets each entry live so long from now, all in one step in each file; whether there was one,
    /// in their order.
    ///
    /// # Errors
    /// `Config` for a lifetime of zero; those of the store.
    pub async fn touch_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = (K, Lifetime)>,
    ) -> Result<Vec<bool>, Error> {
        match &self.0 {
            Kept::One(one) => one.touch_many(keys).await,
            Kept::Many(files) => {
                let ask =
                    |file, part: Vec<_>| async move { at(files, file).touch_many(part).await };
                self.by_key(paired(keys), first_of_two).ask(ask).await
            }
        }
    }

    /// Adds `by` to the whole number under `key` and gives the sum, in one step. Where there is
    /// nothing it begins at zero and lives as `lifetime` says; else the lifetime stays.
    ///
    /// # Errors
    /// `Conflict` when there is something else than a whole number, `Limit` when the sum is over
    /// 64 bits; those of [`Entries::insert`].
    pub async fn incr(
        &self,
        key: impl Into<String>,
        by: i64,
        lifetime: Lifetime,
    ) -> Result<i64, Error> {
        let key = key.into();
        self.of(&key).incr(key, by, lifetime).await
    }

    /// Adds to many whole numbers, as [`Entries::incr`] does to one: all of them in a file, or
    /// none. The sums, in the order of the keys; a key that is there twice is added to twice.
    ///
    /// # Errors
    /// As [`Entries::incr`], for the first that fails.
    pub async fn incr_many<K: Into<String>>(
        &self,
        numbers: impl IntoIterator<Item = (K, i64, Lifetime)>,
    ) -> Result<Vec<i64>, Error> {
        match &self.0 {
            Kept::One(one) => one.incr_many(numbers).await,
            Kept::Many(files) => {
                let numbers = numbers.into_iter().map(|(key, by, life)| (key.into(), by, life));
                let numbers: Vec<(String, i64, Lifetime)> = numbers.collect();
                let ask = |file, part: Vec<_>| async move { at(files, file).incr_many(part).await };
                self.by_key(numbers, |(key, ..)| key).ask(ask).await
            }
        }
    }

    /// Begins to compute the value under `key`; to be called before the first look at what it is
    /// computed from.
    ///
    /// # Freshness
    /// What is removed after this returned, by key, by pattern or by tags, is not stored by
    /// [`Begun::finish`], whether there was an entry or not. Whoever changes a source removes what
    /// was built from it once the change can be read.
    ///
    /// # Errors
    /// `Limit` for a key that is too long; those of the store.
    ///
    /// # Cost
    /// One read; nothing is written and nothing is held.
    pub async fn begin(&self, key: impl Into<String>) -> Result<Begun, Error> {
        let key = key.into();
        self.of(&key).begin(key).await
    }

    /// A computation that began elsewhere: what [`Begun::fence`] said there.
    pub fn begun(&self, key: impl Into<String>, fence: Fence) -> Begun {
        let key = key.into();
        self.of(&key).begun(key, fence)
    }

    /// At most `limit` of the entries that `select` names, sorted by key, those after the key
    /// `after`. The last key of a page asks for the next one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn page(
        &self,
        select: &Select,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Meta)>, Error> {
        let files = match &self.0 {
            Kept::One(entries) => return entries.page(select, after, limit).await,
            Kept::Many(files) => files,
        };
        // Each file may have all of the first ones.
        let pages = try_all(files.iter().map(|entries| entries.page(select, after, limit))).await?;
        let mut merged: Vec<_> = pages.into_iter().flatten().collect();
        merged.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        merged.truncate(limit);
        Ok(merged)
    }

    /// How many entries `select` names: what [`Entries::remove_matching`] would remove now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count(&self, select: &Select) -> Result<u64, Error> {
        match &self.0 {
            Kept::One(entries) => entries.count(select).await,
            Kept::Many(files) => {
                let counts = try_all(files.iter().map(|entries| entries.count(select))).await?;
                Ok(counts.into_iter().sum())
            }
        }
    }

    /// Removes the entries that `select` names; how many. When it returns no read finds them; their
    /// rows are removed behind.
    ///
    /// # Errors
    /// Those of the store; what was removed from other files is then removed.
    pub async fn remove_matching(&self, select: &Select) -> Result<u64, Error> {
        match &self.0 {
            Kept::One(entries) => entries.remove_matching(select).await,
            Kept::Many(files) => {
                let removed =
                    all(files.iter().map(|entries| entries.remove_matching(select))).await;
                removed.into_iter().sum()
            }
        }
    }

    /// At most `limit` tags with how many entries have each, sorted, those after the tag `after`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tags(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, Error> {
        let stats = self.tag_stats(after, limit).await?;
        Ok(stats.into_iter().map(|tag| (tag.name, tag.entries)).collect())
    }

    /// The same, with what is known of the entries of each tag together.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # Cost
    /// Looks at every entry of the tags that it gives.
    pub async fn tag_stats(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TagStats>, Error> {
        let files = match &self.0 {
            Kept::One(entries) => return entries.tag_stats(after, limit).await,
            Kept::Many(files) => files,
        };
        // What is among the first of all is among the first of every file that has it.
        let lists = try_all(files.iter().map(|entries| entries.tag_stats(after, limit))).await?;
        let mut merged: BTreeMap<String, TagStats> = BTreeMap::new();
        for TagStats { name, entries, bytes, reads } in lists.into_iter().flatten() {
            let own = merged
                .entry(name.clone())
                .or_insert_with(|| TagStats { name, ..TagStats::default() });
            own.entries += entries;
            own.bytes += bytes;
            own.reads += reads;
        }
        Ok(merged.into_values().take(limit).collect())
    }

    /// How the region is doing: what is in it, and what this process did there. Its tags are
    /// counted by [`Entries::tags`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stats(&self) -> Result<RegionStats, Error> {
        match &self.0 {
            Kept::One(entries) => entries.stats().await,
            Kept::Many(files) => {
                let stats = try_all(files.iter().map(ShardEntries::stats)).await?;
                Ok(stats.into_iter().fold(RegionStats::default(), RegionStats::with))
            }
        }
    }

    fn each(self, change: impl Fn(ShardEntries) -> ShardEntries) -> Self {
        Self(match self.0 {
            Kept::One(entries) => Kept::One(change(entries)),
            Kept::Many(files) => Kept::Many(files.iter().cloned().map(change).collect()),
        })
    }

    /// The file that has `key`.
    fn of(&self, key: &str) -> &ShardEntries {
        match &self.0 {
            Kept::One(entries) => entries,
            Kept::Many(files) => at(files, self.place(key, files.len())),
        }
    }

    fn place(&self, key: &str, count: usize) -> usize {
        layout::place_of(self.region(), RowKey::Text(key), count)
    }

    fn by_key<T>(&self, items: Vec<T>, key: impl Fn(&T) -> &String) -> Parts<T> {
        let count = match &self.0 {
            Kept::One(_) => 1,
            Kept::Many(files) => files.len(),
        };
        Parts::new(items, count, |item| self.place(key(item), count))
    }
}

fn at(files: &[ShardEntries], place: usize) -> &ShardEntries {
    files.get(place).expect("a place is below the number of files")
}

fn key_of(key: &String) -> &String {
    key
}

fn first_of_two<T>((key, _): &(String, T)) -> &String {
    key
}

fn paired<K: Into<String>, T>(items: impl IntoIterator<Item = (K, T)>) -> Vec<(String, T)> {
    items.into_iter().map(|(key, item)| (key.into(), item)).collect()
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("region", &self.region()).finish_non_exhaustive()
    }
}
