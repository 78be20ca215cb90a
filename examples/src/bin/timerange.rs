//! A window of time over readings: what lies in it is read from memory, what lies partly outside
//! loads only what is missing, and moving the window loads only what is new.
//!
//! Nothing is installed in the database. The price: any commit puts the window in doubt, and the
//! next read loads it again (see `devices` for a log of rows).

use std::{
    error::Error as StdError,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    Clock,
    sqlite::{OriginOptions, SqliteOrigin},
    table::{Index, Outside, Ranges, Record, Table, sql::SqlSource},
};
use rusqlite::Connection;

/// What was measured at a time.
#[derive(Debug, Record)]
struct Reading {
    #[record(key)]
    id: i64,
    time: i64,
    value: f64,
}

/// The readings, and how many rows the database was asked for.
struct Readings {
    table: Table<Reading, i64>,
    by_time: Index<Reading, i64>,
    asked: Arc<AtomicUsize>,
}

impl Readings {
    fn open(origin: &Arc<SqliteOrigin>) -> Result<Self, Box<dyn StdError>> {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let source = SqlSource::new(origin, "SELECT id, time, value FROM reading")?;
        let mut readings = source.table("readings", move |row| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Reading { id: row.get("id")?, time: row.get("time")?, value: row.get("value")? })
        });
        let by_time = readings.index("time", &["time"], |reading: &Reading| reading.time)?;
        // Every read sees what was committed before it began.
        readings.max_staleness(Duration::ZERO);
        let feed = origin.feed().ok_or("an origin that is tracked has a feed")?;
        let table = readings.follow(&by_time, feed, Clock::system())?;
        Ok(Self { table, by_time, asked })
    }

    /// Rows read from the database since this was asked for last.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    /// How many readings there are in `times`, and how many rows were read to know that.
    async fn read(&self, times: Range<i64>) -> Result<(usize, usize), larder::Error> {
        let found = self.table.range(&self.by_time, times.clone()).await?;
        assert!(found.iter().all(|reading| times.contains(&reading.time)));
        assert!(found.iter().is_sorted_by_key(|reading| reading.time));
        let (found, asked) = (found.count(), self.asked());
        println!("times {times:?}: {found} readings, {asked} of them from the database");
        Ok((found, asked))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let dir = std::env::temp_dir().join(format!("larder-timerange-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("plant.sqlite");
    let application = Connection::open(&path)?;
    application.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE reading (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, value REAL NOT NULL);
         CREATE INDEX reading_time ON reading (time);
         WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
         INSERT INTO reading SELECT n, n, n / 10.0 FROM n;",
    )?;
    let origin = SqliteOrigin::open(OriginOptions::new("plant", &path))?;
    let readings = Readings::open(&origin)?;

    let loaded = readings.table.load(Ranges::of(400..600)?).await?;
    println!("loaded {loaded} readings");
    assert_eq!((loaded, readings.asked()), (200, 200));

    assert_eq!(readings.read(450..500).await?, (50, 0));
    // Half of it is there: only the other half is loaded, and it does not stay.
    assert_eq!(readings.read(390..410).await?, (20, 10));
    assert_eq!(readings.read(390..410).await?, (20, 10));
    // Or nobody is asked at all.
    let times = Ranges::of(390..410)?;
    let outside = readings.table.select(&readings.by_time, times).outside(Outside::Refuse);
    let refused = outside.read().await.expect_err("half of it lies outside of the window");
    println!("refused: {refused}");

    // The window moves on: what both windows cover is not loaded again.
    let moved = readings.table.adjust(Ranges::of(450..650)?).await?;
    println!("moved: {} loaded, {} expired", moved.loaded.len(), moved.expired.len());
    assert_eq!((moved.loaded.len(), moved.expired.len(), readings.asked()), (50, 50, 50));
    // It may have holes.
    let two = Ranges::of_each([450..500, 600..700])?;
    let moved = readings.table.adjust(two).await?;
    assert_eq!((moved.loaded.len(), moved.expired.len(), readings.asked()), (50, 100, 50));
    assert_eq!(readings.read(480..620).await?, (140, 100));

    // Somebody commits; nobody tells the cache.
    application.execute("INSERT INTO reading VALUES (1000, 480, 7.5)", [])?;
    assert_eq!(readings.read(480..481).await?.0, 2);
    let newest = readings.table.get(&1000).await?.ok_or("it was committed")?;
    println!("a reading came: {newest:?}");
    assert_eq!((newest.time, newest.value), (480, 7.5));

    drop(application);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
