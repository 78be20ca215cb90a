//! Bulk forms: many entries in one commit or one snapshot, with a result for each key.
//!
//! Apart from `entries` because there are as many of them as single ones. **Invariant**: a change
//! of many is done for all or for none (SD16); one that cannot be done says which it was.

use larder_core::{Error, ErrorKind};

use super::{
    counters::Counted,
    entries::{Entries, check_key},
    entry::{Lifetime, NewEntry, Placed, Stored},
    find::{self, Looked, Reading},
    number,
    put::{self, IfPresent},
    remove,
    writer::Effort,
};

impl Entries {
    /// The value under each of `keys`, in their order, from one snapshot, as far as all of them
    /// together have at most `bytes_max` bytes.
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
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let (access, now) = (self.inner.access.clone(), self.inner.options.clock.wall());
        let (options, count) = (self.inner.options.clone(), keys.len());
        let read = self.read_values(move |connection, region, files| {
            let mut left = bytes_max;
            let mut one = |key: &String| {
                let reading = Reading::at_most(&options, left);
                let key = key.as_str().into();
                match find::value(connection, region, key, now, reading, Some(files))? {
                    Looked::Found(id, stored) => {
                        left = left.saturating_sub(stored.bytes.len() as u64);
                        access.note(id, now);
                        Ok(Some(stored))
                    }
                    Looked::Absent => Ok(None),
                    Looked::Larger => Err(does_not_fit(bytes_max)),
                }
            };
            Ok(keys.iter().map(&mut one).collect::<Vec<_>>())
        });
        let values = read.await?.unwrap_or_else(|| vec![Ok(None); count]);
        let count = |is: fn(&Result<Option<Stored>, Error>) -> bool| {
            values.iter().filter(|value| is(value)).count() as u64
        };
        self.count_up(Counted::Hit, count(|value| matches!(value, Ok(Some(_)))));
        self.count_up(Counted::Miss, count(|value| matches!(value, Ok(None))));
        self.count_up(Counted::Error, count(Result::is_err));
        Ok(values)
    }

    /// Writes those of `entries` under whose keys there is nothing; what each found, in their
    /// order. All in one step, or none.
    ///
    /// # Errors
    /// As [`Entries::insert`], for the first that fails.
    pub async fn add_many<K: Into<String>>(
        &self,
        entries: impl IntoIterator<Item = (K, NewEntry)>,
    ) -> Result<Vec<Placed>, Error> {
        self.put_many("add_many", entries, IfPresent::Leave).await
    }

    /// Writes all of `entries`, or none of them; what each found, in their order (SD16).
    ///
    /// # Errors
    /// As [`Entries::insert`], for the first that fails.
    ///
    /// # Cost
    /// One commit. Other writes wait until it is done: some microseconds for each entry.
    pub async fn insert_many<K: Into<String>>(
        &self,
        entries: impl IntoIterator<Item = (K, NewEntry)>,
    ) -> Result<Vec<Placed>, Error> {
        self.put_many("insert_many", entries, IfPresent::Replace).await
    }

    /// Looks at what can be seen of `entries` before any of them is written: so that of several
    /// files none is written if one of them would be refused for what it got.
    ///
    /// # Errors
    /// As [`Entries::insert`], for the first that is.
    pub(crate) fn check_many(&self, entries: &[(String, NewEntry)]) -> Result<(), Error> {
        let (now, limit) = (self.inner.options.clock.wall(), self.inner.options.item_bytes_max());
        each(entries, |(key, entry)| {
            check_key(key)?;
            put::check_size(limit, key.len() as u64 + entry.whole_bytes)?;
            entry.lifetime.deadline(now).map(drop)
        })
        .map(drop)
    }

    async fn put_many<K: Into<String>>(
        &self,
        name: &'static str,
        entries: impl IntoIterator<Item = (K, NewEntry)>,
        if_present: IfPresent,
    ) -> Result<Vec<Placed>, Error> {
        let entries: Vec<(String, NewEntry)> =
            entries.into_iter().map(|(key, entry)| (key.into(), entry)).collect();
        each(&entries, |(key, _)| check_key(key))?;
        let begun = self.inner.journal.begin(name);
        let entries = self.pack_many(entries).await?;
        let bytes = entries.iter().map(|(_, entry)| entry.value.bytes.len() as u64).sum();
        let placed = self
            .write(Effort::Much { bytes }, move |writing, region| {
                each(&entries, |(key, entry)| {
                    put::put(writing, region, key.as_str().into(), entry, if_present)
                })
            })
            .await;
        let placed = self.noted(begun, placed)?;
        let written = placed.iter().filter(|placed| **placed != Placed::Present).count();
        self.count_up(Counted::Written, written as u64);
        Ok(placed)
    }

    /// Lets each entry live so long from now, all in one step; whether there was one, in their
    /// order.
    ///
    /// # Errors
    /// `Config` for a lifetime of zero; those of the store.
    pub async fn touch_many<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = (K, Lifetime)>,
    ) -> Result<Vec<bool>, Error> {
        let keys: Vec<(String, Lifetime)> =
            keys.into_iter().map(|(key, lifetime)| (key.into(), lifetime)).collect();
        let now = self.inner.options.clock.wall();
        each(&keys, |(_, lifetime)| lifetime.deadline(now))?;
        let nothing = vec![false; keys.len()];
        self.change(Effort::MUCH, nothing, move |writing, region| {
            each(&keys, |(key, lifetime)| {
                let expires = lifetime.deadline(writing.now)?;
                remove::touch(writing, region, key.as_str().into(), expires)
            })
        })
        .await
    }

    /// Adds to many whole numbers, as [`Entries::incr`] does to one: all of them, or none. The
    /// sums, in the order of the keys; a key that is there twice is added to twice.
    ///
    /// # Errors
    /// As [`Entries::incr`], for the first that fails.
    pub async fn incr_many<K: Into<String>>(
        &self,
        numbers: impl IntoIterator<Item = (K, i64, Lifetime)>,
    ) -> Result<Vec<i64>, Error> {
        let numbers: Vec<(String, i64, Lifetime)> =
            numbers.into_iter().map(|(key, by, lifetime)| (key.into(), by, lifetime)).collect();
        each(&numbers, |(key, ..)| check_key(key))?;
        self.write(Effort::MUCH, move |writing, region| {
            each(&numbers, |(key, by, lifetime)| {
                number::incr(writing, region, key.as_str().into(), *by, *lifetime)
            })
        })
        .await
    }
}

/// Does `one` with each of `items`; an error says with which it was.
fn each<T, R>(items: &[T], mut one: impl FnMut(&T) -> Result<R, Error>) -> Result<Vec<R>, Error> {
    let numbered = items.iter().enumerate();
    numbered.map(|(at, item)| one(item).map_err(|error| of_item(error, at))).collect()
}

/// Which item of a bulk form an error is about, counted from zero, if it is about one.
pub fn item_of(error: &Error) -> Option<usize> {
    let about = error.about()?;
    about.strip_prefix(ITEM)?.strip_suffix(')')?.parse().ok()
}

const ITEM: &str = "(item ";

/// An error of the item `at`, counted from zero; what is wrong with the store is not one of it.
fn of_item(error: Error, at: usize) -> Error {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Conflict | ErrorKind::Limit | ErrorKind::Full => {
            error.subject(format!("{ITEM}{at})"))
        }
        _ => error,
    }
}

fn does_not_fit(bytes_max: u64) -> Error {
    Error::new(ErrorKind::Limit, "read an entry").detail(format!(
        "with those before it it has more than the {bytes_max} bytes that were asked for at most; \
         ask for it in another call"
    ))
}
