//! What reads leave behind: when an entry was read last, and how often.
//!
//! Writing it with each read would make every read a write (SD17), so it is kept in memory and
//! written in batches. **Invariant**: it is bounded; what does not fit is forgotten, which makes an
//! eviction a little less well chosen and nothing else.

use std::collections::HashMap;

use larder_core::{Error, clock::WallMillis};
use parking_lot::Mutex;

use super::{put::millis, writer::Writing};

/// Entries whose reads are remembered between two writes: about two megabytes.
const NOTED_MAX: usize = 65_536;

/// Reads that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Access(Mutex<HashMap<i64, Noted>>);

#[derive(Clone, Copy, Debug)]
struct Noted {
    at: WallMillis,
    count: u32,
}

impl Access {
    /// Notes that the entry in row `id` was read at `at`.
    pub(crate) fn note(&self, id: i64, at: WallMillis) {
        let mut noted = self.0.lock();
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
        let (batch, is_all): (Vec<(i64, Noted)>, bool) = {
            let mut noted = self.0.lock();
            if noted.len() <= count {
                (std::mem::take(&mut *noted).into_iter().collect(), true)
            } else {
                let ids: Vec<i64> = noted.keys().copied().take(count).collect();
                let batch = ids.into_iter().filter_map(|id| noted.remove_entry(&id)).collect();
                (batch, false)
            }
        };
        write(writing, batch)?;
        Ok(is_all)
    }

    /// Writes what was noted of the entries in rows `ids`; whether there was anything.
    pub(crate) fn flush_of(
        &self,
        writing: &Writing<'_>,
        ids: impl Iterator<Item = i64>,
    ) -> Result<bool, Error> {
        let batch: Vec<(i64, Noted)> = {
            let mut noted = self.0.lock();
            ids.filter_map(|id| noted.remove_entry(&id)).collect()
        };
        let was_noted = !batch.is_empty();
        write(writing, batch)?;
        Ok(was_noted)
    }

    /// Forgets what was noted, because the rows are other ones now.
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
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
