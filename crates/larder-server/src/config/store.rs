//! `[store]`: the file that keeps entries, and its limits.
//!
//! Apart from the other sections because all of it is optional together: without a path there is no
//! store. **Invariant**: every setting of the store has a name here, and its default is shown.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use larder_sqlite::store::{Durability, Eviction, OnCorruption, StoreOptions};
use serde::Deserialize;

use super::{ConfigError, Size, Span};

/// `[store]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// The file.
    pub path: Option<String>,
    /// Files that share the work.
    pub shards: Option<u16>,
    /// Entries of all regions together.
    pub entries: Option<u64>,
    /// Bytes of keys and values of all regions together.
    pub size: Option<Size>,
    /// The largest value that a request may write, with its key.
    pub value_size: Option<Size>,
    /// Values with more bytes are kept compressed.
    pub compress_above: Option<Size>,
    /// Values with more bytes than this, compressed, are kept in files of their own.
    pub file_above: Option<Size>,
    /// What goes first when there is no room.
    pub eviction: Option<Order>,
    /// When a write outlives a failure of power.
    pub durability: Option<Lasting>,
    /// Connections that read at the same time.
    pub readers: Option<u16>,
    /// Requests that may write at a time; each may hold a value in memory.
    pub writes: Option<u16>,
    /// How long a write may wait for another process, and for its turn.
    pub busy_timeout: Option<Span>,
    /// Memory for pages of the file, for each connection.
    pub page_cache: Option<Size>,
    /// How much of the file is mapped into memory.
    pub mmap: Option<Size>,
    /// How large the write-ahead log may grow before it is copied.
    pub wal_size: Option<Size>,
    /// How often what has expired is removed and free room is given back.
    pub keep_every: Option<Span>,
    /// The directory of the backups; without one none is taken.
    pub backups: Option<String>,
    /// How old the newest backup may be.
    pub backup_every: Option<Span>,
    /// How many backups are kept.
    pub backups_kept: Option<u16>,
    /// What is done about a file that is corrupt.
    pub on_corruption: Option<Cure>,
}

/// What goes first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The one read or written longest ago.
    LeastRecent,
    /// The one read least often.
    LeastFrequent,
    /// The one written first.
    Oldest,
    /// Nothing: a write is refused.
    Refuse,
}

/// When a write outlives a failure of power.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Lasting {
    /// With the next checkpoint.
    Relaxed,
    /// Before it is answered.
    Durable,
}

/// What is done about a file that is corrupt.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Cure {
    /// It is put aside; the newest sound backup takes its place, or nothing.
    Replace,
    /// The server does not start.
    Refuse,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeastRecent => "least-recent",
            Self::LeastFrequent => "least-frequent",
            Self::Oldest => "oldest",
            Self::Refuse => "refuse",
        })
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relaxed => "relaxed",
            Self::Durable => "durable",
        })
    }
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replace => "replace",
            Self::Refuse => "refuse",
        })
    }
}

/// The store as the server opens it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The file.
    pub path: PathBuf,
    /// The largest value of a request.
    pub value_bytes: usize,
    /// Requests that may write at a time.
    pub writes: usize,
    /// The directory of the backups, if any are kept.
    pub backups: Option<PathBuf>,
    /// How it is opened.
    pub options: StoreOptions,
}

/// Settles each setting: what was written or its default, shown with its source.
pub(super) trait Settle {
    /// The value of `store.{name}`.
    fn settle<T: fmt::Display>(&mut self, name: &str, written: Option<T>, default: T) -> T;
}

/// The store that was written; `None` without a path.
pub(super) fn resolve(
    written: Written,
    base: &Path,
    to: &mut impl Settle,
) -> Result<Option<Store>, ConfigError> {
    let Some(path) = written.path.clone() else {
        // What would be the use of limits without a file: the path was forgotten.
        let shown = format!("{written:?}");
        return match shown == format!("{:?}", Written::default()) {
            true => Ok(None),
            false => Err(ConfigError::new("store.path", "is not set. Name the file of the store")),
        };
    };
    let shown = to.settle("path", Some(path), String::new());
    let shards = to.settle("shards", written.shards, 1);
    let entries = to.settle("entries", written.entries, 1_000_000);
    let size = to.settle("size", written.size, Size::mib(1024));
    let value = to.settle("value_size", written.value_size, Size::mib(8));
    let compress = to.settle("compress_above", written.compress_above, Size::kib(8));
    let file = to.settle("file_above", written.file_above, Size::kib(256));
    let eviction = to.settle("eviction", written.eviction, Order::LeastRecent);
    let durability = to.settle("durability", written.durability, Lasting::Relaxed);
    let readers = to.settle("readers", written.readers, 4);
    let writes = to.settle("writes", written.writes, 64);
    let busy = to.settle("busy_timeout", written.busy_timeout, Span::seconds(30));
    let page_cache = to.settle("page_cache", written.page_cache, Size::mib(64));
    let mmap = to.settle("mmap", written.mmap, Size::mib(256));
    let wal = to.settle("wal_size", written.wal_size, Size::mib(16));
    let keep_every = to.settle("keep_every", written.keep_every, Span::seconds(1));
    let on_corruption = to.settle("on_corruption", written.on_corruption, Cure::Replace);
    check_shards(shards)?;
    check(value, readers, writes)?;
    let mut options = StoreOptions::new()
        .shards(shards.into())
        .max_entries(entries)
        .max_bytes(size.0)
        .max_value_bytes(value.0)
        .compress_above(compress.0)
        .file_above(file.0)
        .eviction(match eviction {
            Order::LeastRecent => Eviction::LeastRecent,
            Order::LeastFrequent => Eviction::LeastFrequent,
            Order::Oldest => Eviction::Oldest,
            Order::Refuse => Eviction::Refuse,
        })
        .durability(match durability {
            Lasting::Relaxed => Durability::Relaxed,
            Lasting::Durable => Durability::Durable,
        })
        .readers(readers.into())
        .busy_timeout(busy.0)
        .page_cache(page_cache.0)
        .mmap(mmap.0)
        .wal_limit(wal.0)
        .keep_every(keep_every.0)
        .on_corruption(match on_corruption {
            Cure::Replace => OnCorruption::Replace,
            Cure::Refuse => OnCorruption::Refuse,
        });
    let directory = to.settle("backups", written.backups, String::new());
    let every = to.settle("backup_every", written.backup_every, Span::seconds(86_400));
    let kept = to.settle("backups_kept", written.backups_kept, 7);
    let backups = (!directory.is_empty()).then(|| base.join(directory));
    if let Some(directory) = &backups {
        options = options.backups(directory.clone(), every.0, kept.into());
    }
    let (value_bytes, writes) = (value.bytes(), writes.into());
    Ok(Some(Store { path: base.join(shown), value_bytes, writes, backups, options }))
}

fn check_shards(shards: u16) -> Result<(), ConfigError> {
    match shards {
        1..=64 => Ok(()),
        _ => Err(ConfigError::new("store.shards", "is out of range: write 1 to 64")),
    }
}

fn check(value: Size, readers: u16, writes: u16) -> Result<(), ConfigError> {
    let refuse = |name: &str, problem: &str| {
        Err(ConfigError::new(format!("store.{name}"), problem.to_owned()))
    };
    match (value.0, readers, writes) {
        (1..=0x0400_0000, 1..=256, 1..=4096) => Ok(()),
        (1..=0x0400_0000, 1..=256, _) => refuse("writes", "is out of range: write 1 to 4096"),
        (1..=0x0400_0000, ..) => refuse("readers", "is out of range: write 1 to 256"),
        _ => refuse("value_size", "is out of range: write 1B to 64MiB"),
    }
}
