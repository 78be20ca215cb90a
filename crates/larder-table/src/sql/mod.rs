//! Tables of a SELECT on SQLite: records are read while they come, by ranges of any index that is
//! made of columns of the result.
//!
//! Apart from the rest of the crate, which knows no database. Reading order: [`SqlSource`] (what is
//! asked) and [`SqlDefinition`] (the table in the making); `follow`: what a changed row means, and
//! `whole`: where it is the record;
//! `key` and `condition`: how ranges of keys become conditions; `row`: records of a query that is
//! only known while a program runs; `from_row`: types that say their columns.
//!
//! ```
//! use larder_sqlite::{OriginOptions, SqliteOrigin};
//! use larder_table::{Ranges, Record, sql::SqlSource};
//!
//! struct Reading { id: i64, device: i64, time: i64, value: f64 }
//!
//! impl Record for Reading {
//!     type Key = i64;
//!     fn key(&self) -> i64 { self.id }
//! }
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 1)]
//! # async fn main() -> Result<(), larder_core::Error> {
//! # let dir = larder_testkit::temp::TempDir::new("sql").unwrap();
//! # let path = dir.path().join("plant.sqlite");
//! # rusqlite::Connection::open(&path).unwrap().execute_batch(
//! #     "CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, value REAL);
//! #      INSERT INTO reading VALUES (1, 7, 10, 0.5), (2, 7, 11, 1.5), (3, 8, 12, 2.5);").unwrap();
//! let origin = SqliteOrigin::open(OriginOptions::new("plant", &path))?;
//! let source = SqlSource::new(&origin, "SELECT id, device, time, value FROM reading")?;
//! let mut readings = source.table("readings", |row| {
//!     let (id, device) = (row.get("id")?, row.get("device")?);
//!     Ok(Reading { id, device, time: row.get("time")?, value: row.get("value")? })
//! });
//! readings.key(&["id"])?;
//! let by_time = readings.index("time", &["time"], |one: &Reading| one.time)?;
//! let by_device =
//!     readings.index("device", &["device", "time"], |one: &Reading| (one.device, one.time))?;
//! let table = readings.build(&by_time)?;
//!
//! table.load(Ranges::of(10..12)?).await?;
//! let found = table.select(&by_device, Ranges::of((7, 0)..(8, 0))?).read().await?;
//! assert_eq!(found.iter().map(|one| one.value).sum::<f64>(), 2.0);
//! # Ok(()) }
//! ```
//!
//! # Order
//!
//! Keys are compared here as SQLite compares the columns they are made of: NULL, numbers by value,
//! text byte by byte, blobs. A column that compares text in another way (`COLLATE NOCASE`) cannot
//! be part of an index; `name COLLATE BINARY AS name` can. No column of a database in UTF-16 can.
//!
//! **Invariant**: a load by ranges asks for at least the rows whose keys lie in them, in one
//! snapshot, and gives each row once.

mod source;

mod definition;

mod follow;

mod whole;

mod kept;

mod key;

mod condition;

mod row;

mod rows;

mod from_row;

pub use definition::SqlDefinition;
pub use from_row::{Cells, FromRow};
pub use kept::Restoring;
pub use key::{SqlColumn, SqlKey};
#[cfg(feature = "derive")]
pub use larder_macros::FromRow;
pub use larder_sqlite::{Cell, FromCell, SqlRow};
pub use row::{Row, RowKey};
pub use rows::RowShape;
pub use source::SqlSource;
