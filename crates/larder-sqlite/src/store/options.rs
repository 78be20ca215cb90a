//! The settings of a store, with their defaults (S11).
//!
//! The only place where the defaults stand. **Invariant**: a store is bounded in entries and in
//! bytes, whatever it was told.

use std::{path::PathBuf, time::Duration};

use larder_core::{Clock, Error, ErrorKind};

use super::{
    health::OnCorruption,
    kept::Schedule,
    shards::{Label, SHARDS_MAX},
};

/// When a write that was acknowledged outlives a failure of power.
///
/// A killed process loses nothing in any of them: what was committed is with the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// With the next checkpoint. Whole commits may be lost, never half of one.
    #[default]
    Relaxed,
    /// Before the write is acknowledged.
    Durable,
}

/// What goes first when there is no room. What is deleted or has expired goes before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The one read or written longest ago.
    #[default]
    LeastRecent,
    /// The one read least often, and of these the one read longest ago.
    LeastFrequent,
    /// The one written first.
    Oldest,
    /// Nothing: a write for which there is no room is refused with `Full`.
    Refuse,
    /// Nothing, as with `Refuse`; and what the file keeps for the policy of whoever else has it
    /// open stays, so that a tool may come and go.
    OfOthers,
}

/// In how many files a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Count(u32),
    AsFound,
}

/// How a store is opened.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a store is opened with them"]
pub struct StoreOptions {
    pub(crate) clock: Clock,
    pub(crate) entries_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) value_bytes_max: u64,
    pub(crate) compress_above: u64,
    pub(crate) file_above: u64,
    pub(crate) eviction: Eviction,
    pub(crate) durability: Durability,
    pub(crate) readers: usize,
    pub(crate) busy: Duration,
    pub(crate) page_cache_bytes: u64,
    pub(crate) mmap_bytes: u64,
    pub(crate) wal_bytes: u64,
    pub(crate) keep_every: Duration,
    pub(crate) slow_above: Duration,
    pub(crate) backups: Option<Schedule>,
    pub(crate) on_corruption: OnCorruption,
    pub(crate) files: Files,
    /// What a file says that takes the place of a corrupt one; `None` in a store of one file.
    pub(crate) label: Option<Label>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            entries_max: 1_000_000,
            bytes_max: 1 << 30,
            value_bytes_max: 64 << 20,
            compress_above: 8 << 10,
            file_above: 256 << 10,
            eviction: Eviction::default(),
            durability: Durability::default(),
            readers: 4,
            busy: Duration::from_secs(30),
            page_cache_bytes: 64 << 20,
            mmap_bytes: 256 << 20,
            wal_bytes: 16 << 20,
            keep_every: Duration::from_secs(1),
            slow_above: Duration::from_millis(100),
            backups: None,
            on_corruption: OnCorruption::default(),
            files: Files::Count(1),
            label: None,
        }
    }
}

impl StoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the time comes from, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Entries of all regions together. Default 1 000 000.
    pub fn max_entries(mut self, count: u64) -> Self {
        self.entries_max = count;
        self
    }

    /// Bytes of keys and values of all regions together. Default 1 GiB. The file is larger: by
    /// rows, indexes and tags.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Bytes of one key and its value. Default 64 MiB, and never above half of the bytes of all.
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// Values with more bytes than this are kept compressed, if that makes them an eighth smaller.
    /// Default 8 KiB; `u64::MAX` is never. [`Entries::compress_above`] says it for some of them.
    ///
    /// [`Entries::compress_above`]: super::Entries::compress_above
    pub fn compress_above(mut self, bytes: u64) -> Self {
        self.compress_above = bytes;
        self
    }

    /// Values that still have more bytes than this when they are compressed are kept in files of
    /// their own, in the directory `-values` beside the store. Default 256 KiB; `u64::MAX`
    /// is never.
    pub fn file_above(mut self, bytes: u64) -> Self {
        self.file_above = bytes;
        self
    }

    /// What goes first when there is no room. Default: the least recently used.
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.eviction = eviction;
        self
    }

    /// When a write outlives a failure of power. Default: with the next checkpoint.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Connections that read at the same time. Default 4, at least 1.
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count;
        self
    }

    /// How long a write may wait for another process that writes, and for its turn. Default 30 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy = timeout;
        self
    }

    /// Memory for pages of the file, for each connection. Default 64 MiB.
    pub fn page_cache(mut self, bytes: u64) -> Self {
        self.page_cache_bytes = bytes;
        self
    }

    /// How much of the file those who read it map into memory. Default 256 MiB; 0 turns it off.
    pub fn mmap(mut self, bytes: u64) -> Self {
        self.mmap_bytes = bytes;
        self
    }

    /// How large the write-ahead log may grow before it is copied into the file. Default 16 MiB.
    pub fn wal_limit(mut self, bytes: u64) -> Self {
        self.wal_bytes = bytes;
        self
    }

    /// How often what is done behind is done: writing what reads left, removing what has expired or
    /// was deleted, giving room back. Default 1 s.
    pub fn keep_every(mut self, interval: Duration) -> Self {
        self.keep_every = interval;
        self
    }

    /// What takes as long as this is logged as slow, without its key. Default 100 ms.
    pub fn slow_above(mut self, duration: Duration) -> Self {
        self.slow_above = duration;
        self
    }

    /// Takes a backup into `directory` whenever the newest one there is older than `every`, and
    /// keeps the newest `keep` of them, at least one. Default: none is taken. The directory is made
    /// if there is none; several stores may share it if their files have different names.
    pub fn backups(mut self, directory: impl Into<PathBuf>, every: Duration, keep: usize) -> Self {
        self.backups = Some(Schedule { directory: directory.into(), every, keep });
        self
    }

    /// What is done about a file that is corrupt. Default: it is put aside, and the newest sound
    /// backup takes its place, or nothing.
    pub fn on_corruption(mut self, on_corruption: OnCorruption) -> Self {
        self.on_corruption = on_corruption;
        self
    }

    /// Keeps the store in so many files, each with a writer of its own, so that writes scale with
    /// cores. Default 1, at most 64. A store is opened with the number that it was made with;
    /// [`reshard`] changes it.
    ///
    /// The limits are divided: each file holds its part of `max_entries` and `max_bytes`, so that
    /// together they never hold more, and may begin to evict some percent earlier. So are
    /// `readers`; the other settings are those of each file. An invalidation is written to each
    /// of them, to the first one before the others: two waits for the disk instead of one.
    ///
    /// [`reshard`]: super::reshard
    pub fn shards(mut self, count: u32) -> Self {
        self.files = Files::Count(count);
        self
    }

    /// Opens the store in as many files as it is kept in, for tools; where there is none, in one.
    pub fn shards_as_found(mut self) -> Self {
        self.files = Files::AsFound;
        self
    }

    /// What is left of the settings for the file that says `label`, beside the others.
    pub(crate) fn share(&self, label: Label) -> Self {
        let (place, count) = (u64::from(label.place), u64::from(label.count));
        let part = |whole: u64| whole / count + u64::from(place < whole % count);
        let mut own = self.clone();
        own.files = Files::Count(1);
        own.entries_max = part(self.entries_max).max(1);
        own.bytes_max = part(self.bytes_max).max(1);
        own.readers = self.readers.div_ceil(label.count as usize);
        // Of the store as a whole.
        own.backups = None;
        own.label = Some(label);
        own
    }

    /// # Errors
    /// `Config`, naming the setting.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let positive = [
            ("max_entries", self.entries_max),
            ("max_bytes", self.bytes_max),
            ("max_value_bytes", self.value_bytes_max),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(Error::new(ErrorKind::Config, "open a store")
                    .detail(format!("`{name}` is 0: nothing could ever be kept")));
            }
        }
        if self.backups.as_ref().is_some_and(|backups| backups.every.is_zero()) {
            return Err(Error::new(ErrorKind::Config, "open a store")
                .detail("`backups` every 0: give an interval, such as one day"));
        }
        if let Files::Count(count) = self.files {
            self.check_files(count)?;
        }
        if self.keep_every.is_zero() {
            return Err(Error::new(ErrorKind::Config, "open a store")
                .detail("`keep_every` is 0: give an interval, such as one second"));
        }
        Ok(())
    }

    fn check_files(&self, count: u32) -> Result<(), Error> {
        let refuse = |detail| Err(Error::new(ErrorKind::Config, "open a store").detail(detail));
        if !(1..=SHARDS_MAX).contains(&count) {
            return refuse(format!("`shards` is {count}: say 1 to {SHARDS_MAX}"));
        }
        if self.entries_max < count.into() || self.bytes_max < count.into() {
            let (entries, bytes) = (self.entries_max, self.bytes_max);
            return refuse(format!(
                "{entries} entries and {bytes} bytes cannot be divided among {count} files: raise \
                 `max_entries` and `max_bytes`, or say fewer `shards`"
            ));
        }
        Ok(())
    }

    /// Bytes of one key and its value, as the limits together allow.
    pub(crate) fn item_bytes_max(&self) -> u64 {
        self.value_bytes_max.min((self.bytes_max / 2).max(1))
    }
}
