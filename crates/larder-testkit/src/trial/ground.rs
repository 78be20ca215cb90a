//! The ground under the entries: the origin with its statements, and the rows that are told of.
//!
//! Where a question becomes rows and dependencies. **Invariant**: rows that the loader names are
//! read by other means than those that would name them, so that the loader's names are all there
//! is.

use std::{ops::Bound::Included, path::Path, sync::Arc, time::Duration};

use larder::{
    Condition, Dependency, Epoch, Error, Load, Nulls, Order as Sort, Origin, Position, Scope, Span,
    Stamp,
};
use larder_core::{Clock, Value, timeline::APP};
use larder_sqlite::{
    OriginOptions, Param, ParamKind, Query, Rows, SqliteOrigin, Statement, Track, track,
};
use parking_lot::Mutex;
use tokio::task::yield_now;

use super::{
    Tracking, Trouble,
    question::{How, Leaf},
    told::{self, Told},
};
use crate::history::{Ask, Loaded, Order, Part};

const NAME: &str = "origin";

const TABLE: &str = "item";

const ROW: &str = "SELECT id, version FROM item WHERE id = :id";

const BUCKET: &str = "SELECT id, version FROM item WHERE bucket = :bucket ORDER BY id";

/// The same row, with half a millisecond of work in the statement.
const SLOW_ROW: &str = "SELECT id, version, \
    (SELECT count(*) FROM slow AS a, slow AS b WHERE a.n + b.n > 3) AS weight \
    FROM item WHERE id = :id";

const RANGE: &str = "SELECT id, version FROM item WHERE bucket BETWEEN :low AND :high ORDER BY id";

const PAGE: &str = "SELECT id, version FROM item WHERE bucket = :bucket ORDER BY id LIMIT :limit";

const NEWEST: &str = "SELECT id, version FROM item WHERE bucket = :bucket \
    ORDER BY version DESC, id LIMIT :limit";

/// The statements, as one node has prepared them.
struct Statements {
    row: Arc<Statement>,
    bucket: Arc<Statement>,
    slow_row: Arc<Statement>,
    range: Arc<Statement>,
    page: Arc<Statement>,
    newest: Arc<Statement>,
}

impl Statements {
    fn prepare(origin: &SqliteOrigin) -> Result<Self, Error> {
        let prepare = |sql, names: &[&str]| {
            let param = |name: &&str| Param { name: (*name).into(), kind: ParamKind::Integer };
            origin.prepare(sql, &names.iter().map(param).collect::<Vec<_>>())
        };
        Ok(Self {
            row: prepare(ROW, &["id"])?,
            bucket: prepare(BUCKET, &["bucket"])?,
            slow_row: prepare(SLOW_ROW, &["id"])?,
            range: prepare(RANGE, &["low", "high"])?,
            page: prepare(PAGE, &["bucket", "limit"])?,
            newest: prepare(NEWEST, &["bucket", "limit"])?,
        })
    }

    fn query(&self, leaf: Leaf) -> Query {
        let (statement, params) = match leaf.ask {
            Ask::Row(id) if leaf.how == How::Slow => (&self.slow_row, vec![id]),
            Ask::Row(id) => (&self.row, vec![id]),
            Ask::Bucket(bucket) => (&self.bucket, vec![bucket]),
            Ask::Range { low, high } => (&self.range, vec![low, high]),
            Ask::Page { bucket, order, limit } => {
                let by = if order == Order::ById { &self.page } else { &self.newest };
                (by, vec![bucket, i64::try_from(limit).unwrap_or(i64::MAX)])
            }
        };
        Query {
            statement: statement.clone(),
            params: params.into_iter().map(Value::Integer).collect(),
            deadline: Duration::from_secs(10),
            max_rows: 1_000,
            max_bytes: 1 << 20,
        }
    }
}

/// Installs the triggers, or installs them again where they are missing.
pub(super) fn track_rows(path: &Path) -> Result<(), Trouble> {
    let origin = SqliteOrigin::open(OriginOptions::new(NAME, path))?;
    let Statements { row, bucket, slow_row, .. } = Statements::prepare(&origin)?;
    Ok(track::plan(path, &NAME.into(), &[row, bucket, slow_row])?.apply(path)?)
}

/// See the module.
pub(super) struct Ground {
    pub(super) origin: Arc<SqliteOrigin>,
    statements: Statements,
    clock: Clock,
    common: Common,
}

/// What the grounds of a node that is built anew have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) told: Arc<Told>,
    /// The rows of which another node on the same store is told.
    pub(super) told_elsewhere: Option<Arc<Told>>,
    pub(super) loads: Arc<Mutex<Vec<Loaded>>>,
}

impl Ground {
    pub(super) fn open(path: &Path, tracking: Tracking, common: Common) -> Result<Self, Trouble> {
        let track = match tracking {
            Tracking::Rows => Track::Rows,
            Tracking::Database => Track::Database,
        };
        let origin = SqliteOrigin::open(OriginOptions { track, ..OriginOptions::new(NAME, path) })?;
        let statements = Statements::prepare(&origin)?;
        Ok(Self { origin, statements, clock: Clock::system(), common })
    }

    /// The epoch of the origin's timeline in `cache`.
    pub(super) fn epoch(cache: &larder::Cache) -> Option<Epoch> {
        let status = cache.status();
        status.timelines.iter().find(|known| *known.name == *NAME).map(|known| known.epoch)
    }

    /// Answers `leaf`, and tells `load` what the answer depends on.
    pub(super) async fn load(&self, leaf: Leaf, load: &Load) -> Result<Part, Error> {
        let began = self.clock.now().as_micros();
        let ask = leaf.ask;
        let seen = if ask.is_told() {
            self.load_told(ask, load).await
        } else if leaf.how == How::Named {
            self.load_named(leaf, load).await?
        } else {
            rows(&load.ask(&*self.origin, &self.statements.query(leaf)).await?)
        };
        self.common.loads.lock().push(Loaded { began, ended: self.clock.now().as_micros() });
        Ok(Part { ask, seen })
    }

    async fn load_told(&self, ask: Ask, load: &Load) -> Vec<(i64, u64)> {
        yield_now().await;
        let Common { told, told_elsewhere, .. } = &self.common;
        let seen = told_elsewhere.as_ref().filter(|told| told.has(ask)).unwrap_or(told).read(ask);
        yield_now().await;
        name(ask, &seen, (APP, told::KIND), load);
        yield_now().await;
        seen
    }

    async fn load_named(&self, leaf: Leaf, load: &Load) -> Result<Vec<(i64, u64)>, Error> {
        let nothing = Stamp { timeline: NAME.into(), epoch: Epoch::VOID, as_of: Position(0) };
        let answer = self.origin.load(&self.statements.query(leaf), nothing).await?;
        let seen = rows(&answer.rows);
        name(leaf.ask, &seen, (NAME, TABLE), load);
        Ok(seen)
    }
}

fn rows(rows: &Rows) -> Vec<(i64, u64)> {
    let seen = rows.rows.iter().filter_map(|row| match &row[..] {
        [Value::Integer(id), Value::Integer(version), ..] => Some((*id, version.cast_unsigned())),
        _ => None,
    });
    seen.collect()
}

/// Names what an answer with the rows `seen` depends on.
fn name(ask: Ask, seen: &[(i64, u64)], (timeline, table): (&str, &str), load: &Load) {
    let scope = || Scope::of(timeline, table);
    match ask {
        Ask::Row(id) => load.depends_on(Dependency::id(timeline, table, [id])),
        Ask::Bucket(bucket) => {
            load.depends_on(Dependency::scope(timeline, table, [("bucket", bucket)]))
        }
        Ask::Range { low, high } => {
            let (low, high) = (Included(Value::Integer(low)), Included(Value::Integer(high)));
            let span = Span { low, high, nulls: Nulls::Outside };
            load.depends_on(scope().with("bucket", Condition::Within(span)))
        }
        Ask::Page { bucket, order, limit } => {
            let scope = scope().with("bucket", Condition::AnyOf(vec![Value::Integer(bucket)]));
            let (column, sort, last) = match order {
                Order::ById => ("id", Sort::Ascending, seen.last().map(|(row, _)| *row)),
                Order::Newest => {
                    let last = seen.last().map(|(_, version)| version.cast_signed());
                    ("version", Sort::Descending, last)
                }
            };
            load.depends_on(scope.page(column, sort, limit, seen.len(), last.map(Value::Integer)))
        }
    };
}
