//! larder beside matroska-cache 0.1.3 on Redis, whose promise it took over.
//!
//! Both do the same with the same numbers of keys and rows, round by round in turns. They are not
//! the same kind of thing: larder is in this process, matroska-cache is Python and asks Redis over
//! a Unix socket, once or several times. What one plain question to Redis costs there is a row of
//! its own. Values are strings of 100 bytes on both sides. **Invariant**: what is measured happens:
//! every read is a hit, every store is kept, and after an invalidation nothing of it is left.

mod peer;

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use larder::{Cache, Dependency, MemoryLimit, Name, Region};
use larder_testkit::temp::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{self, median, nanos},
    report::Row,
};

use peer::Peer;

// The same numbers stand in matroska/peer.py.
const KEYS: u64 = 1000;
const ROWS: u64 = 1000;
const VALUE: &str = concat!(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
);

/// Calls in one round here: a call alone is too short for the clock.
const CALLS: u64 = 10_000;
const ROUNDS: usize = 5;
const PEER: &str = "matroska-cache, Redis socket";

/// What is done, and the counts it is done with.
const OPERATIONS: [(Operation, &[u64]); 3] = [
    (Operation::Get, &[1]),
    (Operation::Store, &[1, 10, 100]),
    (Operation::Invalidate, &[1, 100, 10_000]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    Store,
    Invalidate,
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let dir = TempDir::new("bench-matroska")?;
    let mut peer = Peer::start(dir.path())?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let mut rows = Vec::new();
    for (operation, counts) in OPERATIONS {
        for &count in counts {
            rows.extend(case(&runtime, &mut peer, operation, count)?);
        }
    }
    let mut bare = Vec::new();
    for _ in 0..=ROUNDS {
        bare.push(peer.ask("bare", 0)? / 1e3);
    }
    rows.push(Row::alone("matroska/a GET of redis-py, for scale", median(bare), "us", ROUNDS));
    Ok(rows)
}

/// Nanoseconds of one call: here, here until nothing is left to clear away, and there.
#[derive(Default)]
struct Samples {
    own: Vec<f64>,
    swept: Vec<f64>,
    peer: Vec<f64>,
}

fn case(runtime: &Runtime, peer: &mut Peer, operation: Operation, count: u64) -> Result<Vec<Row>> {
    let own = runtime.block_on(async { Own::new() })?;
    let mut samples = Samples::default();
    for round in 0..=ROUNDS {
        let (taken, swept) = runtime.block_on(own.round(operation, count))?;
        let asked = peer.ask(operation.word(), count)?;
        // The first round warms up.
        if round != 0 {
            samples.own.push(taken / 1e3);
            samples.swept.push(swept / 1e3);
            samples.peer.push(asked / 1e3);
        }
    }
    let name = match operation {
        Operation::Get => "matroska/get, in process".to_owned(),
        Operation::Store => format!("matroska/store, {count} deps, in process"),
        Operation::Invalidate => format!("matroska/invalidate, {count} dependents, in process"),
    };
    let Samples { own, swept, peer } = samples;
    let theirs = median(peer);
    let row = |name, own| Row::alone(name, median(own), "us", ROUNDS).against(PEER, theirs);
    let mut rows = vec![row(name.clone(), own)];
    if operation == Operation::Invalidate {
        rows.push(row(format!("{name}, and swept"), swept));
    }
    Ok(rows)
}

impl Operation {
    /// What the peer calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Store => "put",
            Self::Invalidate => "invalidate",
        }
    }
}

/// larder's side.
struct Own {
    cache: Cache,
    region: Region<u64, String>,
    timeline: Name,
    article: Name,
    author: Name,
}

impl Own {
    fn new() -> Result<Self> {
        let cache = Cache::builder().memory(MemoryLimit::bytes(1 << 30)).build()?;
        let region = cache.region::<u64, String>("articles").never_expires().build()?;
        let (article, author) = ("article".into(), "author".into());
        Ok(Self { cache, region, timeline: "app".into(), article, author })
    }

    async fn round(&self, operation: Operation, count: u64) -> Result<(f64, f64)> {
        let taken = match operation {
            Operation::Get => self.get().await?,
            Operation::Store => self.store(count).await?,
            Operation::Invalidate => return self.invalidate(count).await,
        };
        Ok((taken, taken))
    }

    async fn get(&self) -> Result<f64> {
        for key in 0..KEYS {
            self.put(key, self.rows(key, 1)).await?;
        }
        let before = self.region.stats().hits;
        let start = larder::Clock::system().now();
        for key in 0..CALLS {
            black_box(self.region.get(&(key % KEYS)).await?);
        }
        let taken = nanos(measure::since(start));
        let hits = self.region.stats().hits - before;
        ensure!(hits == CALLS, "only {hits} of {CALLS} reads were hits");
        Ok(taken / CALLS as f64)
    }

    async fn store(&self, count: u64) -> Result<f64> {
        let calls = CALLS / count.max(10) * 10;
        let start = larder::Clock::system().now();
        for key in 0..calls {
            self.put(key % KEYS, self.rows(key, count)).await?;
        }
        let taken = nanos(measure::since(start));
        let kept = self.region.get(&0).await?;
        ensure!(kept.is_some(), "an entry was not kept");
        Ok(taken / calls as f64)
    }

    /// What a call takes, and what it takes until everything that fell is cleared away.
    async fn invalidate(&self, count: u64) -> Result<(f64, f64)> {
        let calls = (CALLS / count).clamp(1, 1_000);
        for call in 0..calls {
            for key in call * count..(call + 1) * count {
                self.put(key, [self.row(&self.author, call)]).await?;
            }
        }
        let start = larder::Clock::system().now();
        for call in 0..calls {
            self.cache.invalidate([self.row(&self.author, call)]).await?;
        }
        let taken = nanos(measure::since(start));
        ensure!(self.region.get(&0).await?.is_none(), "a read after an invalidation was a hit");
        while self.cache.status().links != 0 {
            std::thread::yield_now();
        }
        let swept = nanos(measure::since(start));
        Ok((taken / calls as f64, swept / calls as f64))
    }

    async fn put(&self, key: u64, rows: impl IntoIterator<Item = Dependency>) -> Result<()> {
        let begun = self.region.begin(&key);
        begun.load().depends_on_all(rows);
        let value: Arc<String> = begun.finish(VALUE.to_owned()).await?;
        black_box(value);
        Ok(())
    }

    fn rows(&self, key: u64, count: u64) -> impl Iterator<Item = Dependency> {
        (0..count).map(move |n| self.row(&self.article, (key * 37 + n) % ROWS))
    }

    fn row(&self, table: &Name, number: u64) -> Dependency {
        Dependency::id(self.timeline.clone(), table.clone(), [number.cast_signed()])
    }
}
