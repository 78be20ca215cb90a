//! Waiting for others before a commit that waits for the disk.
//!
//! Those who were answered by the last commit come again a moment later. A thread that began the
//! next one at once would have one or two of them in it and all others in the one after, so that
//! each waits for the disk twice. **Invariant**: nobody is waited for who was not there with the
//! last commit, and not longer than a part of what that took.

use std::time::Duration;

/// The longest wait, whatever the disk takes.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// How many will come, and how long they are waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathering {
    pub(super) expected: usize,
    pub(super) patience: Duration,
}

impl Gathering {
    /// After a commit that took so long, with so many writes in it, and others that came meanwhile.
    pub(super) fn after(took: Duration, writes: usize, came: usize) -> Self {
        Self { expected: writes + came, patience: (took / 2).min(PATIENCE_MAX) }
    }
}
