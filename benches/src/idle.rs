//! What watching a database costs in which nothing happens.
//!
//! The processor time of this whole process while its main thread sleeps: the watcher's looks, and
//! whatever else a cache does in the background. **Invariant**: nothing else runs here meanwhile,
//! and the value that was loaded before is still proven after.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use larder::sqlite::Track;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

use crate::{report::Row, shop::Shop, visible::name, writer};

const WATCHED: Duration = Duration::from_secs(10);
/// For the threads of what ran before to end.
const SETTLE: Duration = Duration::from_millis(500);

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    [Track::Rows, Track::Database].map(case).into_iter().collect()
}

fn case(track: Track) -> Result<Row> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let shop = Shop::new(track)?;
    let (cache, region) = {
        let _inside = runtime.enter();
        shop.prices(track)?
    };
    runtime.block_on(region.get_or_load(&1))?;
    thread::sleep(SETTLE);
    let (start, before) = (writer::now(), used());
    thread::sleep(WATCHED);
    let (taken, used) = (writer::now() - start, used() - before);
    ensure!(runtime.block_on(region.get(&1))?.is_some(), "the value was lost meanwhile");
    runtime.block_on(cache.close());
    let percent = used as f64 * 100.0 / taken as f64;
    Ok(Row::alone(format!("idle/{}", name(track)), percent, "% of a core", 1))
}

/// Nanoseconds of processor time that this process has used.
fn used() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
