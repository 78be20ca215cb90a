//! A million readings, in SQLite and in a cached table that loads them from there.
//!
//! Apart from what is measured, because all of it is. **Invariant**: SQLite has the same rows under
//! a covering index, so that no read of a range by time touches anything else.

use std::{
    ops::Bound::{self, Excluded, Included, Unbounded},
    sync::Arc,
};

use anyhow::Result;
use larder_table::{Definition, Index, Ranges, Record, Table};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};

/// Records of the table; their times are `0..RECORDS`.
pub(super) const RECORDS: i64 = 1_000_000;

/// Devices that they are of.
const DEVICES: i64 = 1_000;

/// Above all times, and prime.
const IDS: i64 = 1_000_003;

/// From one time to the next, ids go so far.
const STEP: i64 = 7_919;

/// How many steps lead to the next id: [`STEP`] times this is one more than a multiple of [`IDS`].
const STEPS_TO_NEXT: i64 = 658_671;

/// What a record has that was changed and loaded again.
pub(super) const CHANGED: f64 = 1.0;

pub(super) const SELECT: &str =
    "SELECT id, device, time, value FROM reading WHERE time >= ?1 AND time < ?2 ORDER BY time";

const SCHEMA: &str =
    "CREATE TABLE reading (id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, value REAL);";

#[derive(Clone, Debug)]
pub(super) struct Reading {
    id: i64,
    device: i64,
    time: i64,
    pub(super) value: f64,
}

impl Record for Reading {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

impl Reading {
    /// Ids do not follow time, so that neighbours in the one order are none in the other.
    pub(super) fn at(time: i64) -> Self {
        Self { id: id(time), device: time % DEVICES, time, value: time as f64 / 8.0 }
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, device: row.get(1)?, time: row.get(2)?, value: row.get(3)? })
    }
}

/// The id of the reading at `time`.
pub(super) fn id(time: i64) -> i64 {
    time * STEP % IDS
}

/// The inverse of [`id`].
fn time_of(id: i64) -> i64 {
    id * STEPS_TO_NEXT % IDS
}

/// Both, and what the table's futures run on.
pub(super) struct Ground {
    pub(super) table: Table<Reading, i64>,
    pub(super) by_time: Index<Reading, i64>,
    pub(super) sqlite: Arc<Mutex<Connection>>,
    pub(super) runtime: Runtime,
}

impl Ground {
    /// With everything in SQLite and nothing in the table.
    pub(super) fn new() -> Result<Self> {
        let sqlite = Arc::new(Mutex::new(database()?));
        let mut definition = Definition::new("readings");
        let by_time = definition.index("time", |one: &Reading| one.time);
        definition.index("device_time", |one: &Reading| (one.device, one.time));
        let own = sqlite.clone();
        definition.loads_by(&by_time, move |ranges: Ranges<i64>, fill| {
            let own = own.clone();
            async move {
                let sqlite = own.lock();
                let mut select = sqlite.prepare_cached(SELECT).expect("the statement");
                for range in ranges.iter() {
                    let rows = select.query_map(half_open(range), Reading::read).expect("rows");
                    fill.put_all(rows.map(|row| row.expect("a row")))?;
                }
                Ok(())
            }
        });
        // What is read by key here was changed a moment ago. It costs no more than making it, so
        // that what is measured is what the table does with it.
        let by_id = definition.primary();
        definition.loads_by(&by_id, |ids: Ranges<i64>, fill| async move {
            let changed = |id| Reading { value: CHANGED, ..Reading::at(time_of(id)) };
            fill.put_all(ids.iter().map(|range| changed(half_open(range).0)))
        });
        let table = definition.build(&by_time)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { table, by_time, sqlite, runtime })
    }
}

fn database() -> Result<Connection> {
    let mut sqlite = Connection::open_in_memory()?;
    sqlite.execute_batch(SCHEMA)?;
    let transaction = sqlite.transaction()?;
    let mut insert = transaction.prepare("INSERT INTO reading VALUES (?1, ?2, ?3, ?4)")?;
    for time in 0..RECORDS {
        let Reading { id, device, time, value } = Reading::at(time);
        insert.execute((id, device, time, value))?;
    }
    drop(insert);
    transaction.commit()?;
    sqlite.execute_batch("CREATE INDEX by_time ON reading (time, id, device, value);")?;
    Ok(sqlite)
}

/// A range as [`SELECT`] wants it. All numbers are whole and below [`IDS`].
fn half_open((low, high): (Bound<&i64>, Bound<&i64>)) -> (i64, i64) {
    let low = match low {
        Included(low) => *low,
        Excluded(low) => low + 1,
        Unbounded => 0,
    };
    let high = match high {
        Included(high) => high + 1,
        Excluded(high) => *high,
        Unbounded => IDS,
    };
    (low, high)
}
