//! Readings of devices: two orders of the same records, a window of the last minute that slides by
//! itself, pages, and sums for each device, in step with the database row by row.
//!
//! The window slides by a clock that stands still until it is moved, so that the example ends where
//! it should; a program would give it `Clock::system()`.

use std::{error::Error as StdError, path::Path, time::Duration};

use larder::{
    Clock, WallMillis,
    sqlite::{OriginOptions, SqliteOrigin, Track, track},
    table::{
        Group, Index, Ranges, Record, Table,
        sql::{FromRow, SqlSource},
    },
};
use rusqlite::Connection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

#[derive(Debug, Record, FromRow)]
struct Reading {
    #[record(key)]
    id: i64,
    device: String,
    /// Seconds since 1970.
    time: i64,
    watts: i64,
}

const READINGS: &str = "SELECT r.id, d.name AS device, r.time, r.watts
    FROM reading r JOIN device d ON d.id = r.device";

/// Seconds that the window reaches back.
const WINDOW: i64 = 60;

struct Readings {
    table: Table<Reading, i64>,
    by_time: Index<Reading, i64>,
    by_device: Index<Reading, (String, i64)>,
    watts: Group<Reading, String, i64>,
    /// How many readings came and went with each move of the window.
    moves: UnboundedReceiver<(usize, usize)>,
}

/// The last minute, and two seconds ahead for what comes until the next step.
fn last_minute(now: WallMillis) -> Ranges<i64> {
    let now = seconds(now);
    Ranges::of(now - WINDOW..now + 2).expect("it begins before it ends")
}

fn seconds(time: WallMillis) -> i64 {
    i64::try_from(time.0 / 1000).unwrap_or(i64::MAX)
}

impl Readings {
    async fn open(path: &Path, now: WallMillis) -> Result<Self, Box<dyn StdError>> {
        let options = OriginOptions::new("plant", path);
        let origin = SqliteOrigin::open(OriginOptions { track: Track::Rows, ..options })?;
        let mut readings = SqlSource::new(&origin, READINGS)?.typed::<Reading>("readings")?;
        let by_time = readings.index("time", &["time"], |one: &Reading| one.time)?;
        let by_device = readings
            .index("device", &["device", "time"], |one: &Reading| (one.device.clone(), one.time))?;
        let (tell, moves) = unbounded_channel();
        let definition = readings.definition();
        let watts = definition.group("watts", |one| one.device.clone(), |one| one.watts);
        definition.observe(move |moved| {
            // Nobody listens any more at the end.
            let _ = tell.send((moved.loaded.len(), moved.expired.len()));
        });
        readings.max_staleness(Duration::ZERO);

        let (name, asked) = ("plant".into(), [readings.statement().clone()]);
        track::plan_with(path, &name, &asked, &readings.looks_at())?.apply(path)?;
        let feed = origin.feed().ok_or("an origin that is tracked has a feed")?;
        let table = readings.follow(&by_time, feed, Clock::system())?;
        table.load(last_minute(now)).await?;
        Ok(Self { table, by_time, by_device, watts, moves })
    }

    /// Waits until the window has moved so far that something came or went.
    async fn moved(&mut self) -> Result<(usize, usize), Box<dyn StdError>> {
        loop {
            let moved = self.moves.recv().await.ok_or("the table is there")?;
            if moved != (0, 0) {
                return Ok(moved);
            }
        }
    }

    /// How many readings of these times are on each page, the newest first.
    async fn pages(&self, times: &Ranges<i64>, size: usize) -> Result<Vec<usize>, larder::Error> {
        let (mut lengths, mut cursor) = (Vec::new(), None);
        loop {
            let all = self.table.select(&self.by_time, times.clone());
            let all = all.page(size).descending();
            let page = match cursor.take() {
                Some(cursor) => all.after(cursor).read().await?,
                None => all.read().await?,
            };
            lengths.push(page.len());
            match page.next() {
                Some(next) => cursor = Some(next),
                None => return Ok(lengths),
            }
        }
    }
}

/// A plant with three devices, each of which was read every second for two minutes up to `now`.
fn plant(path: &Path, now: i64) -> rusqlite::Result<Connection> {
    let application = Connection::open(path)?;
    application.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE reading (
             id INTEGER PRIMARY KEY, device INTEGER NOT NULL, time INTEGER NOT NULL,
             watts INTEGER NOT NULL
         );
         CREATE INDEX reading_time ON reading (time);
         INSERT INTO device VALUES (1, 'boiler'), (2, 'fan'), (3, 'lamp');",
    )?;
    let sql = "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 359)
        INSERT INTO reading SELECT NULL, n % 3 + 1, ?1 - n / 3, n % 3 * 100 FROM n";
    application.execute(sql, [now])?;
    Ok(application)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let dir = std::env::temp_dir().join(format!("larder-devices-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("plant.sqlite");
    let clock = Clock::manual();
    let now = seconds(clock.wall());
    let application = plant(&path, now)?;
    let mut readings = Readings::open(&path, clock.wall()).await?;
    let (loaded, _) = readings.moved().await?;
    println!("loaded {loaded} of 360 readings");
    assert_eq!(loaded, 183);

    // The last ten seconds of one device: a range of one order, within the window of the other.
    let fan = |time| ("fan".to_owned(), time);
    let found = readings.table.select(&readings.by_device, Ranges::of(fan(now - 9)..=fan(now))?);
    let found = found.and(&readings.by_time, Ranges::of(now - 9..=now)?).read().await?;
    assert_eq!(found.count(), 10);
    assert!(found.iter().all(|one| one.device == "fan"));
    let lengths = readings.pages(&last_minute(clock.wall()), 50).await?;
    println!("in pages: {lengths:?}");
    assert_eq!(lengths, [50, 50, 50, 33]);

    let fans = readings.table.aggregate(&readings.watts, &"fan".to_owned()).await?;
    println!("the fan: {} readings, {} watts in all", fans.count, fans.sum);
    assert_eq!((fans.count, fans.sum, fans.max), (61, 6_100, Some(100)));

    // The application writes; the sums follow.
    application.execute("INSERT INTO reading VALUES (NULL, 2, ?1, 900)", [now + 1])?;
    let fans = readings.table.aggregate(&readings.watts, &"fan".to_owned()).await?;
    println!("a reading came: {} readings, {} watts in all", fans.count, fans.sum);
    assert_eq!((fans.count, fans.sum, fans.max), (62, 7_000, Some(900)));

    // Half a minute goes by: the table moves its window by itself.
    let slide = readings.table.slide(clock.clone(), Duration::from_millis(5), last_minute)?;
    clock.advance(Duration::from_secs(30));
    let (loaded, expired) = readings.moved().await?;
    println!("half a minute later: {loaded} came, {expired} went");
    assert_eq!((loaded, expired), (0, 90));
    let fans = readings.table.aggregate(&readings.watts, &"fan".to_owned()).await?;
    assert_eq!((fans.count, fans.min), (32, Some(100)));
    assert_eq!(readings.table.stats().misses, 0, "all of it from memory");
    assert!(slide.failure().is_none());

    drop((slide, application));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
