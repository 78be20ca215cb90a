//! What reads leave behind: when an entry was read last, and how often.
//!
//! Writing it with each read would make every read a write (SD17), so it is kept in memory and
//! written in batches. **Invariant**: it is bounded; what does not fit is forgotten, which makes an
//! eviction a little less well chosen and nothing else.

use std::collections::HashMap;

use larder_core::{Error, clock::WallMillis};
use parking_lot::Mutex;

use super::{lane::Lanes, put::millis, writer::Writing};

/// Entries whose reads are remembered in each lane between two writes: half a megabyte.
const NOTED_MAX: usize = 16_384;

/// Reads that are not written yet. What was read on several lanes is in each of them.
#[derive(Debug, Default)]
pub(crate) struct Access(Lanes<Mutex<HashMap<i64, Noted>>>);

#[derive(Clone, Copy, Debug)]
struct Noted {
    at: WallMillis,
    count: u32,
}

impl Access {
    /// Notes that the entry in row `id` was read at `at`.
    pub(crate) fn note(&self, id: i64, at: WallMillis) {
        let mut noted = self.0.own().lock();
        if NOTED_MAX <= noted.len() && !noted.contains_key(&id) {
            return;
        }
        let one = noted.entry(id).or_insert(Noted { at, count: 0 });
        one.at = one.at.max(at);
        one.count = one.count.saturating_add(1);
    }

    /// Writes at most `count` of what was noted; whether that was all.
    ///
    /// What is taken out here is lost if the transaction fails, as if it had not fitted.
    pub(crate) fn flush(&self, writing: &Writing<'_>, count: usize) -> Result<bool, Error> {
        let mut batch = Vec::new();
        let mut is_all = true;
        for lane in self.0.iter() {
            let mut noted = lane.lock();
            let left = count - batch.len();
            if noted.len() <= left {
                batch.extend(std::mem::take(&mut *noted));
            } else {
                let ids: Vec<i64> = noted.keys().copied().take(left).collect();
                batch.extend(ids.into_iter().filter_map(|id| noted.remove_entry(&id)));
                is_all = false;
            }
        }
        write(writing, batch)?;
        Ok(is_all)
    }

    /// Writes what was noted of the entries in rows `ids`; whether there was anything.
    pub(crate) fn flush_of(
        &self,
        writing: &Writing<'_>,
        ids: impl Iterator<Item = i64>,
    ) -> Result<bool, Error> {
        let ids: Vec<i64> = ids.collect();
        let mut batch = Vec::new();
        for lane in self.0.iter() {
            let mut noted = lane.lock();
            batch.extend(ids.iter().filter_map(|id| noted.remove_entry(id)));
        }
        let was_noted = !batch.is_empty();
        write(writing, batch)?;
        Ok(was_noted)
    }

    /// Forgets what was noted, because the rows are other ones now.
    pub(crate) fn forget(&self) {
        self.0.iter().for_each(|lane| lane.lock().clear());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|lane| lane.lock().is_empty())
    }
}

fn write(writing: &Writing<'_>, batch: Vec<(i64, Noted)>) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let failed = Writing::failed("write what was read");
    let mut update = writing
        .connection
        .prepare_cached(
            "UPDATE entry SET accessed = max(accessed, ?2), reads = reads + ?3 WHERE id = ?1",
        )
        .map_err(failed)?;
    for (id, Noted { at, count }) in batch {
        update.execute((id, millis(at), count)).map_err(failed)?;
    }
    Ok(())
}
