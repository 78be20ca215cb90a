//! SQLite as a store: entries with deadlines and tags in one file that outlives the process.
//!
//! Reading order:
//!
//! 1. [`entry`]: what is kept, and what is known of it. [`pattern`] and [`select`]: which ones.
//! 2. [`options`]: limits and settings; `schema`: the tables; `row_key`: keys in them; `file`:
//!    opening it.
//! 3. `writer`: the one thread that writes, many writes to a commit; `pace`: how long the log gets
//!    by that. `pool`: connections that read.
//! 4. `region`: the names of regions and the numbers they have in the file. `packing`: values,
//!    smaller. `put`, `find`, `number`, `remove`, `listing`: what is done inside a transaction, as
//!    functions of a connection.
//! 5. `total` and `evict`: limits that hold. `access`: what reads leave behind, written in batches;
//!    `counters` and `recent`: how often what happened; [`queues`]: who
//!    waits; [`journal`]: what was done last. `keeper`: what is done behind.
//! 6. `value_file`, `values`, `filed`, `collect`: values that are too large for a row, in files.
//! 7. `life` and `witness`: which life of the store a file is, compared with what lies beside it;
//!    `turn`: who replaces one that is corrupt; `doubt`: what follows on a flush that failed.
//! 8. `check`, `headway`, `readable`, `backup`, `kept`, `restore`, `health`: what is done with a
//!    file as a whole, and `operation` the face of it.
//! 9. `entries`: the face of one file, with `bulk`, many at once; `begun` and [`fence`], what is
//!    computed outside while others remove; `records`: the face for a cache that keeps its values
//!    here.
//! 10. `standing`: how far timelines were applied; `link`: what they reach; `announce`: what is
//!     invalidated by name, for all caches; `follow`: the same in the other files of several;
//!     `keeping`: which one keeps the timelines of origins; `tracked`: the face for values that can
//!     be invalidated.
//! 11. `claims`: which key is being loaded by whom, in whatever process; `wake`: hearing of what
//!     others commit.
//! 12. `shards`: all of this for one file or for several, as users see it.
//!
//! **Invariant**: one connection writes, and whatever one call changes is committed with it or not
//! at all. What has expired or was deleted is in no answer, whether its row is still there or not.

pub mod entry;

pub mod pattern;

pub mod select;

pub mod options;

mod schema;

mod row_key;

mod life;

mod witness;

mod turn;

mod value_file;

mod values;

mod filed;

mod collect;

mod file;

mod writer;

mod pool;

mod region;

mod pace;

mod packer;

mod packing;

mod put;

mod find;

mod number;

mod remove;

mod listing;

mod total;

mod evict;

mod access;

mod counters;

pub mod queues;

mod recent;

pub mod journal;

mod readable;

mod check;

mod headway;

mod doubt;

mod backup;

mod kept;
mod lane;

mod restore;

mod health;

mod keeper;

#[expect(unreachable_pub, reason = "the face of one file; users see that of `shards`")]
mod operation;

#[expect(unreachable_pub, reason = "the face of one file; users see that of `shards`")]
mod entries;

#[expect(unreachable_pub, reason = "the face of one file; users see that of `shards`")]
mod bulk;

#[expect(unreachable_pub, reason = "the face of one file; users see that of `shards`")]
mod begun;

pub mod fence;

mod records;

mod keeping;

mod announce;

mod follow;

mod claims;

mod wake;

mod standing;

mod link;

mod tracked;

#[expect(unreachable_pub, reason = "the face of one file; users see that of `shards`")]
mod handle;

mod shards;

pub use backup::{Backup, Progress};
pub use begun::{Begun, Finished};
pub use bulk::item_of;
pub use check::{Depth, Report};
pub use counters::{RegionStats, StoreStats, TagStats};
pub use entry::{Entry, Lifetime, Meta, NewEntry, Placed, Stored, ValueKind};
pub use fence::Fence;
pub use health::{Condition, OnCorruption, Refill};
pub use journal::Operation;
pub use operation::{backup_as_of, backup_in, backups_in};
pub use options::{Durability, Eviction, StoreOptions};
pub use pattern::Pattern;
pub use queues::Queues;
pub use select::Select;
pub use shards::{Entries, Resharded, SqliteStore, reshard};
