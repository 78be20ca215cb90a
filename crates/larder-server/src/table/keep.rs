//! Keeping: records of a table that outlive the process, in a file of their own.
//!
//! Apart from [`life`](super::life), which loads what cannot be restored. **Invariant**: what is in
//! the file is shown only where the origin's log proves what happened since; a file that is of no
//! use, or cannot be written, costs a load and a line in the log.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use larder::{Error, Stamp};
use larder_table::{
    Codec, Ranges, Restored,
    sql::{Restoring, Row, RowKey},
};
use parking_lot::Mutex;

use crate::config::table::Keep;

use super::Table;

/// Where the records of a table outlive the process.
#[derive(Debug)]
pub struct Kept {
    keep: Keep,
    codec: Codec<Row>,
    /// Until it was tried.
    restoring: Mutex<Option<Restoring<Row, RowKey>>>,
    /// What the file has.
    written: Mutex<Option<Written>>,
    /// Files that were written.
    pub saves: AtomicU64,
    /// Files that could not be.
    pub saves_failed: AtomicU64,
}

/// What makes one file as good as another: what it reflects, its window, and the loads of what was
/// invalid, also by hand.
type Written = (Option<Stamp>, Option<Ranges<RowKey>>, u64, u64);

impl Kept {
    pub(super) fn new(keep: Keep, codec: Codec<Row>, restoring: Restoring<Row, RowKey>) -> Self {
        let (saves, saves_failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let (restoring, written) = (Mutex::new(Some(restoring)), Mutex::new(None));
        Self { keep, codec, restoring, written, saves, saves_failed }
    }

    /// How often the file is written.
    fn every(&self) -> Duration {
        self.keep.every
    }
}

impl Table {
    /// Begins with what an earlier process left; how many records that are, and `None` where they
    /// are to be loaded.
    ///
    /// # Errors
    /// Those of the feed. Unless the table follows it then, it must not be loaded.
    pub(super) async fn restore(&self) -> Result<Option<usize>, Error> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let Some(restoring) = kept.restoring.lock().take() else { return Ok(None) };
        match restoring.restore(&kept.keep.path, &kept.codec).await? {
            Restored::Whole(records) => Ok(Some(records)),
            Restored::Lost(why) => {
                let table = &*self.name;
                tracing::info!(target: "larder::table", %table, %why, "cannot be restored");
                Ok(None)
            }
        }
    }

    /// Writes the file, unless it has all of this already or the table is not loaded.
    pub async fn save(&self) {
        let Some(kept) = &self.kept else { return };
        let stats = self.held.stats();
        let now = (self.held.reflects(), self.held.window(), stats.refreshes, stats.invalid);
        if now.1.is_none() || kept.written.lock().as_ref() == Some(&now) {
            return;
        }
        let table = &*self.name;
        match self.held.save(&kept.keep.path, &kept.codec).await {
            Ok(records) => {
                tracing::info!(target: "larder::table", %table, records, "saved");
                kept.saves.fetch_add(1, Ordering::Relaxed);
                *kept.written.lock() = Some(now);
            }
            Err(error) => {
                let why = super::life::with_causes(&error);
                tracing::warn!(target: "larder::table", %table, %why, "cannot save");
                kept.saves_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes the file again and again, until the server stops.
    pub(super) async fn keep_saving(&self) {
        let Some(kept) = &self.kept else { return };
        loop {
            tokio::time::sleep(kept.every()).await;
            self.save().await;
        }
    }
}
