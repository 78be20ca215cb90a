//! The ground: a table over the file, and what it is told by.
//!
//! **Invariant**: what a case promises, and nothing more, is what its table can know.

use std::{path::Path, sync::Arc, time::Duration};

use larder_core::{Clock, Error, ErrorKind, feed::Feed};
use larder_sqlite::{OriginOptions, Param, ParamKind, SqliteOrigin, Track, track};
use larder_table::{Definition, Fill, Image, Index, Ranges, Rules, Table};

use super::{
    super::{
        Trouble,
        database::{BUCKETS, connect},
    },
    Case,
    lagging::Lagging,
    view::{Row, Sees, View},
};

const NAME: &str = "origin";

/// One change in so many, in the case [`Case::Unsaid`], is one of which no rule can tell.
const UNSAID_ONE_IN: u64 = 24;

/// Shorter than usual: what is told by itself comes before somebody asks for it, so that much is
/// told of which no load can see yet.
const POLL_INTERVAL: Duration = Duration::from_micros(300);

/// How many keys the second index has.
pub(super) const RESIDUES: i64 = 8;

/// See the module.
pub(super) struct Ground {
    pub(super) case: Case,
    pub(super) table: Table<Row, i64>,
    pub(super) by_bucket: Index<Row, i64>,
    pub(super) by_residue: Index<Row, i64>,
    pub(super) feed: Option<Arc<dyn Feed>>,
    /// It keeps the feed's watcher.
    _origin: Option<Arc<SqliteOrigin>>,
}

/// Makes the labels, which no writer process knows.
pub(super) fn prepare(path: &Path) -> Result<(), Trouble> {
    let connection = connect(path)?;
    connection.execute_batch(
        "CREATE TABLE label(bucket INTEGER PRIMARY KEY, version INTEGER NOT NULL)",
    )?;
    for bucket in 0..BUCKETS {
        connection.execute("INSERT INTO label VALUES (?1, 0)", [bucket])?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Arc<SqliteOrigin>, Trouble> {
    let poll_interval = POLL_INTERVAL;
    let options =
        OriginOptions { track: Track::Rows, poll_interval, ..OriginOptions::new(NAME, path) };
    let origin = SqliteOrigin::open(options)?;
    let params = ["one", "two"].map(|name| Param { name: name.into(), kind: ParamKind::Integer });
    // What a condition names is what the log has of a row.
    let statements = [
        "SELECT * FROM item WHERE bucket = :one AND version = :two",
        "SELECT * FROM label WHERE bucket = :one AND version = :two",
    ];
    let statements = statements.map(|sql| origin.prepare(sql, &params));
    let statements: Vec<_> = statements.into_iter().collect::<Result<_, _>>()?;
    track::plan(path, &NAME.into(), &statements)?.apply(path)?;
    Ok(origin)
}

fn record(row: &Image<'_>) -> Option<Row> {
    let version = row.integer("version")?.cast_unsigned();
    Some(Row { id: row.integer("id")?, bucket: row.integer("bucket")?, version, label: None })
}

impl Ground {
    pub(super) fn open(path: &Path, case: Case) -> Result<Self, Trouble> {
        let origin = case.has_feed().then(|| open(path)).transpose()?;
        let sees = match case {
            Case::Joined => Sees::JoinedLate,
            Case::Late => Sees::RowsLate,
            Case::Records | Case::Lax | Case::Unsaid | Case::ByHand => Sees::Rows,
        };
        let view = Arc::new(View::open(path, sees)?);
        let mut definition = Definition::new("rows");
        let by_bucket = definition.index("bucket", |row: &Row| row.bucket);
        let by_residue = definition.index("residue", |row: &Row| row.id % RESIDUES);
        let by_id = definition.primary();
        definition.loads_by(&by_bucket, loader(&view, |row| row.bucket));
        definition.loads_by(&by_residue, loader(&view, |row| row.id % RESIDUES));
        definition.loads_by(&by_id, loader(&view, |row| row.id));
        let table = definition.build(&by_bucket)?;
        let rules = match case {
            Case::Records | Case::Lax | Case::Late => Rules::new().records("item", record),
            Case::Unsaid => Rules::new().records("item", |row: &Image<'_>| {
                // The four lowest bits say who wrote it.
                record(row).filter(|row| !(row.version >> 4).is_multiple_of(UNSAID_ONE_IN))
            }),
            Case::Joined => Rules::new()
                .touches("item", &by_id, |row: &Image<'_>| row.integer("id"))
                .touches("label", &by_bucket, |row| row.integer("bucket")),
            Case::ByHand => Rules::new(),
        };
        let feed = origin.as_ref().and_then(|origin| origin.feed());
        let feed = feed.map(|feed| match case {
            Case::Joined | Case::Late => Arc::new(Lagging::new(feed, view)) as Arc<dyn Feed>,
            _ => feed,
        });
        if let Some(feed) = &feed {
            let rules = rules.max_staleness(case.max_staleness());
            table.follow(feed.clone(), rules, Clock::system())?;
        }
        Ok(Self { case, table, by_bucket, by_residue, feed, _origin: origin })
    }
}

/// Loads the rows of which `key` is in the ranges, where a thread may wait.
fn loader(
    view: &Arc<View>,
    key: fn(&Row) -> i64,
) -> impl Fn(Ranges<i64>, Fill<Row>) -> Loading + Send + Sync + 'static {
    let view = view.clone();
    move |ranges, fill| {
        let view = view.clone();
        Box::pin(async move {
            let load = move || view.load(|row| ranges.contains(&key(row)));
            let loaded = tokio::task::spawn_blocking(load).await;
            let ended = |_| Error::new(ErrorKind::Closed, "load rows");
            fill.put_all(loaded.map_err(ended)??)
        })
    }
}

type Loading = larder_core::BoxFuture<'static, Result<(), Error>>;
