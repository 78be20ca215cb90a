//! Begun: a value of the store that is computed outside larder.
//!
//! The same words as for a tracked region of a cache, where dependencies decide; here it is keys
//! and tags. **Invariant**: what was removed since the beginning, by whomever, is not stored.

use std::fmt;

use larder_core::{Error, safeguard::Safeguard};

use super::{
    counters::Counted,
    entries::{Entries, check_key},
    entry::{NewEntry, Placed},
    fence::{Fence, Passed},
    put::{self, IfPresent},
};
use crate::{
    connection::in_snapshot,
    store::writer::{Effort, Writing},
};

/// A computation that has begun. Dropping it stores nothing.
#[must_use = "it does nothing until it is finished"]
pub struct Begun {
    entries: Entries,
    key: String,
    fence: Fence,
}

/// What became of a computed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finished {
    /// It was stored, or an entry was there and was left alone.
    Placed(Placed),
    /// It was not stored: the key, or a selection that names the key and the tags, was removed
    /// since the beginning. Begin again and compute again.
    Removed,
    /// It was not stored, because it is not known any more what was removed since the beginning:
    /// too much, or by another process, or the store was restored. Begin again and compute again.
    Unknown,
}

impl Entries {
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
        check_key(&key)?;
        let failed = Writing::failed("read from the store");
        let fence = self.inner.pool.read(move |connection| {
            let read = |connection: &_| Ok(Fence::read(connection, "the store"));
            in_snapshot(connection, read).map_err(failed).flatten()
        });
        Ok(Begun { entries: self.clone(), key, fence: fence.await? })
    }

    /// A computation that began elsewhere: what [`Begun::fence`] said there.
    pub fn begun(&self, key: impl Into<String>, fence: Fence) -> Begun {
        Begun { entries: self.clone(), key: key.into(), fence }
    }

    async fn finish(
        &self,
        key: String,
        entry: NewEntry,
        fence: Fence,
        if_present: IfPresent,
    ) -> Result<Finished, Error> {
        check_key(&key)?;
        let begun = self.inner.journal.begin_with("finish", key.as_bytes());
        let entry = self.pack(entry).await?;
        let region_name = self.region().to_owned();
        // It may have to look at thousands of removals.
        let effort = Effort::Much { bytes: entry.value.bytes.len() as u64 };
        let finished = self
            .write(effort, move |writing, region| {
                let own = (&*region_name, &*key, &*entry.tags);
                match writing.removals.passed(writing, &fence, own)? {
                    _ if Safeguard::FenceCompared.is_off() => {}
                    Passed::Removed => return Ok(Finished::Removed),
                    Passed::Unknown => return Ok(Finished::Unknown),
                    Passed::Untouched => {}
                }
                put::put(writing, region, key.as_str().into(), &entry, if_present)
                    .map(Finished::Placed)
            })
            .await;
        let finished = self.noted(begun, finished)?;
        if matches!(finished, Finished::Placed(Placed::Inserted | Placed::Replaced)) {
            self.count_up(Counted::Written, 1);
        }
        Ok(finished)
    }
}

impl Begun {
    /// Where the removals stood at the beginning, to be carried to wherever it is finished.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Writes the value in place of what is there, unless it was removed since the beginning.
    ///
    /// # Errors
    /// As [`Entries::insert`](super::Entries::insert).
    ///
    /// # Cancel safety
    /// Dropped before it ends, it stores nothing or everything.
    pub async fn finish(self, entry: NewEntry) -> Result<Finished, Error> {
        let Self { entries, key, fence } = self;
        entries.finish(key, entry, fence, IfPresent::Replace).await
    }

    /// The same, if there is nothing; [`Placed::Present`] if there is.
    ///
    /// # Errors
    /// As [`Entries::insert`](super::Entries::insert).
    pub async fn finish_if_absent(self, entry: NewEntry) -> Result<Finished, Error> {
        let Self { entries, key, fence } = self;
        entries.finish(key, entry, fence, IfPresent::Leave).await
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("fence", &self.fence).finish_non_exhaustive()
    }
}
