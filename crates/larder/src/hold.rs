//! Held: dependencies that changes are compared with only while somebody depends on them.
//!
//! A range is found through an index of all ranges in use, so it must leave the index when the last
//! load and the last entry that depend on it are gone. It leaves by a queue: an entry may end while
//! the lock is held under which the index lives. **Invariant**: what is queued is a registration
//! that nobody needs any more; carrying it out late costs memory, never a missed change.
//!
//! # Implementation notes
//!
//! *Queue against a new registration of the same range.*
//!
//! 1. The last entry ends; its release is queued.
//! 2. A load registers the range: two registrations.
//! 3. The queue is carried out: one is left, that of the load.
//!
//! In the other order of 2 and 3 the range is new when the load registers it, and what happened
//! before is answered by its table.

use std::{fmt, sync::Arc};

use larder_core::{Dependency, dependency::Hold};
use parking_lot::Mutex;

/// Registrations that may wait in the queue: then whoever registers or invalidates next carries it
/// out. Ten times fewer would ask for the lock of a history more often than needed; ten times more
/// would make one call in so many wait for milliseconds.
pub(crate) const QUEUED_MAX: usize = 256;

/// Registrations to give back.
#[derive(Debug, Default)]
pub(crate) struct Releases(Mutex<Vec<Dependency>>);

impl Releases {
    /// How many are queued.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// What was queued since the last call.
    pub(crate) fn take(&self) -> Vec<Dependency> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// One registration of one dependency, given back when dropped.
pub(crate) struct Held {
    dependency: Option<Dependency>,
    releases: Arc<Releases>,
}

impl Held {
    pub(crate) fn keep(dependency: Dependency, releases: &Arc<Releases>) -> Hold {
        Arc::new(Self { dependency: Some(dependency), releases: releases.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(dependency) = self.dependency.take() {
            self.releases.0.lock().push(dependency);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.dependency).finish()
    }
}
