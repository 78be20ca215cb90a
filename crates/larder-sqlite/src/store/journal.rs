//! What was done last: a ring of operations in memory, and a line in the log for slow ones.
//!
//! **Invariant**: bounded, never on disk, and it holds no value and no key: a key is a number that
//! tells whether two operations were about the same one. Reads that are quick and do not fail are
//! counted only, because noting them would cost them a lock.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use larder_core::{Clock, Error, ErrorKind, Moment, clock::WallMillis};
use parking_lot::Mutex;

/// Operations that are remembered: some hundred kilobytes.
const REMEMBERED: usize = 1000;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// When it ended.
    pub at: WallMillis,
    /// Its name, as that of the method.
    pub name: &'static str,
    /// The region.
    pub region: Arc<str>,
    /// A number for the key, another one in each process; `None` for what is about many.
    pub key: Option<u64>,
    /// How long it took, with the waiting.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failed: Option<ErrorKind>,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: Clock,
    slow_above: Duration,
    hashing: RandomState,
    ring: Mutex<VecDeque<Operation>>,
}

/// An operation that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    name: &'static str,
    key: Option<u64>,
    at: Moment,
}

impl Journal {
    pub(crate) fn new(clock: Clock, slow_above: Duration) -> Self {
        Self { clock, slow_above, hashing: RandomState::new(), ring: Mutex::default() }
    }

    /// Something that is about many keys begins.
    pub(crate) fn begin(&self, name: &'static str) -> Begun {
        Begun { name, key: None, at: self.clock.now() }
    }

    /// Something that is about one key begins.
    pub(crate) fn begin_with(&self, name: &'static str, key: &[u8]) -> Begun {
        Begun { key: Some(self.hashing.hash_one(key)), ..self.begin(name) }
    }

    /// A read ends.
    pub(crate) fn read<T>(
        &self,
        mut begun: Begun,
        region: &Arc<str>,
        key: Option<&[u8]>,
        result: &Result<T, Error>,
    ) {
        let took = self.clock.now().since(begun.at);
        if result.is_err() || self.slow_above <= took {
            begun.key = key.map(|key| self.hashing.hash_one(key));
            self.note(begun, region, took, result.as_ref().err());
        }
    }

    /// A change ends.
    pub(crate) fn change<T>(&self, begun: Begun, region: &Arc<str>, result: &Result<T, Error>) {
        let took = self.clock.now().since(begun.at);
        self.note(begun, region, took, result.as_ref().err());
    }

    fn note(&self, begun: Begun, region: &Arc<str>, took: Duration, error: Option<&Error>) {
        let Begun { name, key, .. } = begun;
        if self.slow_above <= took {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            tracing::warn!(operation = name, %region, micros, "an operation of the store was slow");
        }
        let (region, failed) = (region.clone(), error.map(Error::kind));
        let operation = Operation { at: self.clock.wall(), name, region, key, took, failed };
        let mut ring = self.ring.lock();
        if REMEMBERED <= ring.len() {
            ring.pop_front();
        }
        ring.push_back(operation);
    }

    /// What is remembered, the newest last.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.ring.lock().iter().cloned().collect()
    }
}
