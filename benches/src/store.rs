//! The SQLite store beside the statements it is made of, and beside diskcache.
//!
//! The bare side is a prepared statement on a file of the same schema, opened with the same
//! settings, in the same run and in turns. Keys have some twenty bytes and values two hundred that
//! no compression makes smaller. **Invariant**: both sides find what they look for and keep what
//! they write, and the machine's processors are nobody else's only if the caller saw to it.

mod bare;

mod reads;

mod writes;

mod full;

mod million;

mod diskcache;

pub(crate) mod large;

use anyhow::Result;
use larder_sqlite::store::{Lifetime, NewEntry, SqliteStore, Stored};
use larder_testkit::temp::TempDir;

use crate::{measure::Random, report::Row};

/// The region that everything is in.
const REGION: &str = "bench";

/// Bytes of a value.
const VALUE_BYTES: usize = 200;

/// Entries in the files that single operations are measured on.
const KEYS: u64 = 100_000;

/// Entries in one bulk write while a file is filled.
const FILLED: usize = 10_000;

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let dir = TempDir::new("bench-store")?;
    let mut rows = reads::run(&dir.path().join("reads"))?;
    rows.extend(writes::run(&dir.path().join("writes"))?);
    rows.extend(full::run(&dir.path().join("full"))?);
    rows.extend(million::run(&dir.path().join("million"))?);
    rows.extend(diskcache::run(&dir.path().join("diskcache"))?);
    Ok(rows)
}

fn key(number: u64) -> String {
    format!("user:{number:010}:cart")
}

/// What is written under the key `number`.
fn value(number: u64) -> Vec<u8> {
    let mut random = Random::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
    (0..VALUE_BYTES.div_ceil(8)).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect()
}

fn entry(number: u64) -> NewEntry {
    NewEntry::new(Stored::bytes(value(number)), Lifetime::Forever)
}

/// Writes the entries below `count`.
async fn fill(store: &SqliteStore, count: u64) -> Result<()> {
    let entries = store.entries(REGION);
    for first in (0..count).step_by(FILLED) {
        let numbers = first..(first + FILLED as u64).min(count);
        entries.insert_many(numbers.map(|number| (key(number), entry(number)))).await?;
    }
    store.keep().await?;
    Ok(())
}

/// The middle and the slowest hundredth of single operations, in microseconds, against a peer's.
fn quantiles(name: &str, peer: &str, own: &[f64], other: &[f64]) -> [Row; 2] {
    [("p50", 50), ("p99", 99)].map(|(word, percent)| {
        let of = |samples: &[f64]| crate::measure::percentile(samples.to_vec(), percent) / 1e3;
        Row::alone(format!("store/{name} {word}"), of(own), "us", own.len())
            .against(peer, of(other))
    })
}
