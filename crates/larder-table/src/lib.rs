//! Cached tables: ranges of a big query at memory speed, always one consistent view.
//!
//! A [`Table`] holds the records of a query that no database has an index for, in any number of
//! orders, as far as its *window* goes. Reads take one immutable snapshot and wait for nobody; what
//! changes in the origin is told to the table by a feed ([`Table::follow`]) or by the application
//! ([`Table::invalidation`]), and loaded again before a read touches it.
//!
//! ```
//! use larder_table::{Definition, Ranges, Record};
//!
//! struct Reading { id: u64, device: u32, time: i64, value: f64 }
//!
//! impl Record for Reading {
//!     type Key = u64;
//!     fn key(&self) -> u64 { self.id }
//! }
//!
//! # fn query(_times: &Ranges<i64>) -> Vec<Reading> {
//! #     (0..10).map(|at| Reading { id: at, device: 7, time: at as i64, value: 0.5 }).collect()
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), larder_core::Error> {
//! let mut definition = Definition::new("readings");
//! let by_time = definition.index("time", |one: &Reading| one.time);
//! let by_device = definition.index("device", |one: &Reading| (one.device, one.time));
//! definition.loads_by(&by_time, |times, fill| async move { fill.put_all(query(&times)) });
//! let table = definition.build(&by_time)?;
//!
//! table.load(Ranges::of(0..8)?).await?;
//! let last = table.range(&by_time, 5..8).await?;
//! assert_eq!(last.iter().rev().map(|one| one.time).collect::<Vec<_>>(), [7, 6, 5]);
//!
//! // Two indexes in one read: of device 7, what the window covers of these times.
//! let device = table.select(&by_device, Ranges::prefix(7));
//! let both = device.and(&by_time, Ranges::of(2..4)?).read().await?;
//! assert_eq!(both.count(), 2);
//!
//! table.adjust(Ranges::of(4..10)?).await?;
//! table.invalidation().by(&by_time, &Ranges::only([5]), &Ranges::none()).commit()?;
//! assert_eq!(table.first(&by_time, 5..).await?.map(|one| one.value), Some(0.5));
//! # Ok(()) }
//! ```
//!
//! Reading order: `record.rs` and `definition.rs` (what a table is), `ranges.rs`, `prefix.rs`
//! and `slack.rs` (what is asked, covered and touched), `table.rs` (the handle, with the
//! interleavings), then one file for each thing that is done: `select.rs`, `view.rs`, `page.rs`,
//! `adjust.rs`, `slide.rs`, `invalidation.rs`, `refresh.rs`, `follow.rs`, `asked.rs`, `save.rs` and
//! `restore.rs` (a warm restart; `codec.rs`, `kept.rs` and `blocks.rs` are its file),
//! `published.rs` and `outgoing.rs` (an owner), `incoming.rs` and `replica` (one that follows
//! it; `message.rs` and `frames.rs` are what goes between them). Below: `snapshot.rs` (what reads
//! decide by), `retired.rs` (what they did by), `content.rs`, `index.rs`, `lane.rs` (an index
//! whatever its keys are), `tree.rs` (the order itself), `recent.rs` (a feed beside a load),
//! `place.rs` (where that feed is), `flight.rs` (loads that reads share), `origin.rs`, `runs.rs` (a
//! load that is ordered while it comes), `group.rs` and `measure.rs` (sums). Beside: `sync.rs`
//! (what threads and tasks meet at) and `sql`, an origin that is a query (feature `sqlite`).
//!
//! **Invariant**: a read shows each record as the origin had it at some moment after the last
//! change that the table was told of before the read began; where a feed tells of changes, what it
//! shows of the window is of one moment; nothing that it shows is changed after. `view.rs` says
//! what is left out: an index without a loader, and sums, where all changes as fast as it is
//! loaded.

mod record;

mod definition;

mod ranges;

mod prefix;

mod slack;

mod table;

mod select;

mod view;

mod selection;

mod page;

mod adjust;

mod slide;

mod invalidation;

mod refresh;

mod flight;

mod follow;

mod asked;

mod codec;

mod save;

mod restore;

mod kept;

mod blocks;

mod published;

mod outgoing;

mod incoming;

mod replica;

mod message;

mod frames;

mod snapshot;

mod retired;

mod content;

mod index;

mod lane;

mod tree;

mod recent;

mod place;

mod origin;

mod runs;

mod group;

mod measure;

mod float;

mod stats;

mod sync;

#[cfg(shuttle)]
#[cfg(test)]
mod schedules;

#[cfg(feature = "sqlite")]
pub mod sql;

/// What everything here fails with.
pub use larder_core::Error;
#[cfg(feature = "derive")]
pub use larder_macros::Record;

pub use adjust::Adjusted;
pub use asked::Asked;
pub use codec::Codec;
pub use definition::Definition;
pub use float::Float;
pub use follow::{Image, Rules};
pub use group::{Aggregate, Group};
pub use incoming::Incoming;
pub use index::{Index, IndexKey};
pub use invalidation::Invalidation;
pub use measure::Number;
pub use message::Hello;
pub use origin::Fill;
pub use outgoing::Outgoing;
pub use page::{Cursor, Page, Paged};
pub use prefix::{Prefixed, Successor};
pub use published::Version;
pub use ranges::Ranges;
pub use record::Record;
pub use replica::{Connection, Owner, Replica, ReplicaStats};
pub use restore::{Lost, Restored};
pub use select::{Outside, Select};
pub use selection::Selection;
pub use slack::Slack;
pub use slide::Slide;
pub use snapshot::Meanwhile;
pub use stats::TableStats;
pub use table::Table;
