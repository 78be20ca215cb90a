//! The database that watching and tracking are measured on, and a cache over it.
//!
//! **Invariant**: the file is in WAL mode, and nothing of this process has it open before it is
//! asked to: SQLite's locks belong to the process, so a second opener here would skew the run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use larder::{
    Cache, Error, Region, Value,
    sqlite::{OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track, track::plan},
};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE item (
        id INTEGER PRIMARY KEY, shelf INTEGER NOT NULL, price INTEGER NOT NULL,
        name TEXT NOT NULL, note TEXT
    );
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
    INSERT INTO item SELECT n, n % 100, 0, printf('item number %d', n), 'nobody reads this'
        FROM number;";

/// Items in a new shop; their ids are 1 and up.
pub(crate) const ITEMS: i64 = 10_000;

const BY_ID: &str = "SELECT price FROM item WHERE id = :key";
const BY_SHELF: &str = "SELECT id, name, price FROM item WHERE shelf = :key";

/// A database of its own in a directory of its own, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Shop(TempDir);

impl Shop {
    /// A new shop, with triggers if its rows are to be tracked.
    pub(crate) fn new(track: Track) -> Result<Self> {
        let shop = Self(TempDir::new("bench")?);
        shop.connect()?.execute_batch(SCHEMA)?;
        if track == Track::Rows {
            let origin = SqliteOrigin::open(OriginOptions::new("shop", shop.path()))?;
            let statements = [prepare(&origin, BY_ID)?, prepare(&origin, BY_SHELF)?];
            drop(origin);
            plan(&shop.path(), &"shop".into(), &statements)?.apply(&shop.path())?;
        }
        Ok(shop)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("shop.sqlite")
    }

    /// A connection as an application has it.
    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(&self.path())
    }

    /// A cache over the shop with everything at its default, and a region of the items' prices.
    ///
    /// Call it inside a runtime.
    pub(crate) fn prices(&self, track: Track) -> Result<(Cache, Region<i64, i64>)> {
        let options = OriginOptions { track, ..OriginOptions::new("shop", self.path()) };
        let origin = SqliteOrigin::open(options)?;
        let statement = prepare(&origin, BY_ID)?;
        let feed = origin.feed().context("an origin that is tracked has a feed")?;
        let cache = Cache::builder().feed(feed).build()?;
        let region = cache.region::<i64, i64>("prices").never_expires();
        let region = region.loader(move |id, load| {
            let (origin, statement) = (origin.clone(), statement.clone());
            async move {
                let query = Query {
                    statement,
                    params: vec![id.into()],
                    deadline: Duration::from_secs(10),
                    max_rows: 10,
                    max_bytes: 1000,
                };
                let rows = load.ask(&*origin, &query).await?;
                Ok::<_, Error>(match rows.rows.first().and_then(|row| row.first()) {
                    Some(Value::Integer(price)) => *price,
                    _ => -1,
                })
            }
        });
        Ok((cache, region.build()?))
    }
}

/// A connection to the database at `path` as an application has it, with SQLite's usual
/// `synchronous` for WAL.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

fn prepare(origin: &SqliteOrigin, sql: &str) -> Result<Arc<Statement>> {
    let key = Param { name: "key".into(), kind: ParamKind::Integer };
    Ok(origin.prepare(sql, &[key])?)
}
