//! The readers: two caches over one file, and tasks that read through them in every way.
//!
//! **Invariant**: a reader notes what a fresh answer must include before it reads, from what it has
//! asked for, never from what it got.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Error, Fetched, Key, KeyEncoder, Load, LoadError, Region, Source};
use larder_core::{Clock, Value};
use larder_sqlite::{
    OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track, track,
};
use parking_lot::Mutex;

use super::{
    Tracking, Trouble,
    database::{BUCKETS, ITEMS},
    writer::{CROWDED, HOT},
};
use crate::{
    conformance::Ask,
    history::{Label, Loaded, Micros, Read, Way},
    random::Random,
};

const NAME: &str = "origin";

const ROW: &str = "SELECT id, version FROM item WHERE id = :id";

const BUCKET: &str = "SELECT id, version FROM item WHERE bucket = :bucket ORDER BY id";

/// The same row, with half a millisecond of work in the statement.
const SLOW_ROW: &str = "SELECT id, version, \
    (SELECT count(*) FROM slow AS a, slow AS b WHERE a.n + b.n > 3) AS weight \
    FROM item WHERE id = :id";

/// How old knowledge may be where it need not be of this moment.
const LAX: Duration = Duration::from_millis(100);

/// Entries that depend on the crowded row.
const CROWD: u64 = 400;

/// A key: what is asked, by which statement, and a number that makes many entries of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    ask: Ask,
    is_slow: bool,
    salt: u64,
}

impl Key for Question {
    fn encode(&self, out: &mut KeyEncoder) {
        let (kind, number) = match self.ask {
            Ask::Row(id) => (0u8, id),
            Ask::Bucket(bucket) => (1, bucket),
        };
        (kind, number, self.is_slow, self.salt).encode(out);
    }
}

/// Rows with their versions, as an answer holds them.
type Seen = Vec<(i64, u64)>;

/// One node: a cache and its regions.
struct Node {
    cache: Cache,
    /// Asks the origin before every read.
    strict: Region<Question, Seen>,
    lax: Region<Question, Seen>,
    /// Values live for a moment and are then served as stale while they are loaded again.
    brief: Region<Question, Seen>,
}

/// What all tasks share.
pub(super) struct Shared {
    nodes: [Node; 2],
    clock: Clock,
    loads: Arc<Mutex<Vec<Loaded>>>,
    is_over: AtomicBool,
    /// What has just befallen the file: the way to note, and until when.
    fate: AtomicU64,
    fate_until: AtomicU64,
}

/// The statements, as one node has prepared them.
struct Statements {
    row: Arc<Statement>,
    bucket: Arc<Statement>,
    slow_row: Arc<Statement>,
}

impl Statements {
    fn prepare(origin: &SqliteOrigin) -> Result<Self, Error> {
        let prepare = |sql, name: &str| {
            origin.prepare(sql, &[Param { name: name.into(), kind: ParamKind::Integer }])
        };
        Ok(Self {
            row: prepare(ROW, "id")?,
            bucket: prepare(BUCKET, "bucket")?,
            slow_row: prepare(SLOW_ROW, "id")?,
        })
    }

    fn query(&self, question: Question) -> Query {
        let (statement, number) = match question.ask {
            Ask::Row(id) if question.is_slow => (&self.slow_row, id),
            Ask::Row(id) => (&self.row, id),
            Ask::Bucket(bucket) => (&self.bucket, bucket),
        };
        Query {
            statement: statement.clone(),
            params: vec![Value::Integer(number)],
            deadline: Duration::from_secs(10),
            max_rows: 1_000,
            max_bytes: 1 << 20,
        }
    }
}

/// Installs the triggers, or installs them again where they are missing.
pub(super) fn track_rows(path: &Path) -> Result<(), Trouble> {
    let origin = SqliteOrigin::open(OriginOptions::new(NAME, path))?;
    let Statements { row, bucket, slow_row } = Statements::prepare(&origin)?;
    Ok(track::plan(path, &NAME.into(), &[row, bucket, slow_row])?.apply(path)?)
}

impl Node {
    fn open(
        path: &Path,
        tracking: Tracking,
        loads: &Arc<Mutex<Vec<Loaded>>>,
    ) -> Result<Self, Trouble> {
        let track = match tracking {
            Tracking::Rows => Track::Rows,
            Tracking::Database => Track::Database,
        };
        let options = OriginOptions { track, ..OriginOptions::new(NAME, path) };
        let origin = SqliteOrigin::open(options)?;
        let feed = origin.feed().ok_or("the origin is tracked and has no feed")?;
        let statements = Arc::new(Statements::prepare(&origin)?);
        let cache = Cache::builder().feed(feed).build()?;
        let builder = |name: &str| {
            let (origin, statements) = (origin.clone(), statements.clone());
            let (loads, clock) = (loads.clone(), Clock::system());
            cache.region::<Question, Seen>(name).never_expires().loader(move |question, load| {
                let (origin, query) = (origin.clone(), statements.query(question));
                let (loads, clock) = (loads.clone(), clock.clone());
                async move {
                    let began = clock.now().as_micros();
                    let seen = answer(&origin, &query, &load).await?;
                    loads.lock().push(Loaded { began, ended: clock.now().as_micros() });
                    Ok::<_, Error>(seen)
                }
            })
        };
        let brief = builder("brief").ttl(Duration::from_millis(2));
        Ok(Self {
            strict: builder("strict").max_staleness(Duration::ZERO).build()?,
            lax: builder("lax").max_staleness(LAX).build()?,
            brief: brief.stale_while_revalidate(Duration::from_secs(5)).build()?,
            cache,
        })
    }
}

async fn answer(origin: &SqliteOrigin, query: &Query, load: &Load) -> Result<Seen, Error> {
    let rows = load.ask(origin, query).await?;
    let seen = rows.rows.iter().filter_map(|row| match &row[..] {
        [Value::Integer(id), Value::Integer(version), ..] => Some((*id, version.cast_unsigned())),
        _ => None,
    });
    Ok(seen.collect())
}

impl Shared {
    pub(super) fn open(path: &Path, tracking: Tracking) -> Result<Arc<Self>, Trouble> {
        let loads = Arc::default();
        let open = || Node::open(path, tracking, &loads);
        Ok(Arc::new(Self {
            nodes: [open()?, open()?],
            clock: Clock::system(),
            loads: loads.clone(),
            is_over: AtomicBool::new(false),
            fate: AtomicU64::new(0),
            fate_until: AtomicU64::new(0),
        }))
    }

    /// From now and for `lasting`, answers count as given right after this.
    pub(super) fn befell(&self, way: Way, lasting: Duration) {
        let place = Way::ALL.iter().position(|own| *own == way).unwrap_or(0);
        self.fate.store(place as u64, Ordering::SeqCst);
        let until = self.clock.now().plus(lasting).as_micros();
        self.fate_until.store(until, Ordering::SeqCst);
    }

    /// Tells the readers to come to an end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// The loads so far.
    pub(super) fn loads(&self) -> Vec<Loaded> {
        self.loads.lock().clone()
    }

    fn now(&self) -> Micros {
        self.clock.now().as_micros()
    }

    /// The way to note for an answer to a read that began then.
    fn way(&self, source: Source, began: Micros) -> Way {
        if began < self.fate_until.load(Ordering::SeqCst) {
            let place = usize::try_from(self.fate.load(Ordering::SeqCst)).unwrap_or(0);
            return Way::ALL.get(place).copied().unwrap_or(Way::Hit);
        }
        match source {
            Source::Hit => Way::Hit,
            Source::Joined => Way::Joined,
            Source::SecondFlight => Way::SecondFlight,
            Source::StaleWhileRevalidate => Way::StaleWhileRevalidate,
            _ => Way::Led,
        }
    }

    /// Reads until it is over; what was seen.
    pub(super) async fn read(self: Arc<Self>, mut random: Random) -> Vec<Read> {
        let mut reads = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            for _ in 0..16 {
                let question = question(&mut random);
                let read = self.one(question, random.next()).await;
                reads.extend(read.ok());
            }
            tokio::task::yield_now().await;
        }
        reads
    }

    async fn one(&self, question: Question, choice: u64) -> Result<Read, LoadError<Error>> {
        let [first, second] = &self.nodes;
        let (node, other) = if choice & 1 == 0 { (first, second) } else { (second, first) };
        let began = self.now();
        let lax = began.saturating_sub(u64::try_from(LAX.as_micros()).unwrap_or(0));
        let (fetched, includes, asked) = match choice >> 1 & 15 {
            0..9 => (node.strict.fetch(&question).await?, began, None),
            9..12 => (node.lax.fetch(&question).await?, lax, None),
            12..14 => (node.brief.fetch(&question).await?, lax, None),
            _ => {
                // Another node was asked at `began` and hands over its token.
                other.strict.fetch(&question).await?;
                let token = other.cache.token();
                node.cache.reach(&token, Duration::from_secs(2)).await?;
                (node.lax.fetch(&question).await?, began, Some(Way::AtLeast))
            }
        };
        let Fetched { value, source, .. } = fetched;
        let label = if source.is_stale() { Label::Stale } else { Label::Fresh };
        let way = match (self.way(source, began), asked) {
            (Way::FileReplaced | Way::SchemaChange | Way::Reconnect, _) | (_, None) => {
                self.way(source, began)
            }
            (_, Some(asked)) => asked,
        };
        let seen = (*value).clone();
        let ask = question.ask;
        Ok(Read { ask, seen, began, ended: self.now(), includes, way, label })
    }
}

fn question(random: &mut Random) -> Question {
    let fast = |ask| Question { ask, is_slow: false, salt: 0 };
    let any = |random: &mut Random, bound: i64| {
        Ask::Row(random.below(bound.cast_unsigned()).cast_signed())
    };
    match random.below(20) {
        0..8 => fast(any(random, HOT)),
        8..10 => fast(any(random, ITEMS)),
        10..13 => fast(Ask::Bucket(random.below(BUCKETS.cast_unsigned()).cast_signed())),
        13..15 => Question { is_slow: true, ..fast(any(random, HOT)) },
        _ => Question { salt: random.below(CROWD), ..fast(Ask::Row(CROWDED)) },
    }
}
