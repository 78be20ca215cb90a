//! What happened in a table, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the table was built.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) hits_with_refresh: AtomicU64,
    pub(crate) hits_within_slack: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) misses_shared: AtomicU64,
    pub(crate) refreshes: AtomicU64,
    pub(crate) adjustments: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) loaded: AtomicU64,
    pub(crate) slides_failed: AtomicU64,
}

impl Counts {
    pub(crate) fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// Numbers of a table (T24).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Records it holds.
    pub records: u64,
    /// Bytes they count.
    pub bytes: u64,
    /// Bytes they may count.
    pub bytes_max: u64,
    /// Invalidations that are not yet carried out.
    pub invalid: u64,
    /// Reads answered from the table, those for which something was loaded again included.
    pub hits: u64,
    /// Reads for which something invalid was loaded again first.
    pub hits_with_refresh: u64,
    /// Reads answered from the table that reached beyond its window, as far as its slack goes.
    pub hits_within_slack: u64,
    /// Reads for which the origin was asked.
    pub misses: u64,
    /// Those of them that took the result of a load which another read had begun.
    pub misses_shared: u64,
    /// Times that invalid records were loaded again.
    pub refreshes: u64,
    /// Changes of the window, the first load included.
    pub adjustments: u64,
    /// Records that fell out of the window.
    pub expired: u64,
    /// Records that came with a change of the window.
    pub loaded: u64,
    /// Steps of sliding windows that failed: the window stayed as it was.
    pub slides_failed: u64,
}
