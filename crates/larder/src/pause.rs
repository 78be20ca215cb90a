//! Pauses: how long a key rests after its load failed.
//!
//! **Invariant**: a failing origin sees one load for each key and pause, however many ask; memory
//! for pauses is bounded, and forgetting one only costs a load.

use std::{collections::HashMap, time::Duration};

use larder_core::{KeyBytes, Moment};

use crate::{error::LoadError, flight::SHARDS};

/// The first pause after a failure with nothing to serve.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause: later readers find an origin that came back within this.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause after a failure for which an older value was served: nobody waits for this one.
pub(crate) const AFTER_STALE: Duration = Duration::from_secs(30);

/// Pauses remembered for one part of a region; over it the ended ones are dropped, then all.
const MOST: usize = 10_000 / SHARDS;

#[derive(Debug)]
pub(crate) struct Pauses<E>(HashMap<KeyBytes, Pause<E>>);

#[derive(Debug)]
struct Pause<E> {
    until: Moment,
    /// As long as there is an older value to serve.
    until_with_older: Moment,
    length: Duration,
    error: LoadError<E>,
}

impl<E> Default for Pauses<E> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<E> Pauses<E> {
    /// The error of the last load, while its pause lasts.
    ///
    /// The longer pause of a key with an older value ends with that value: an origin that is back
    /// must not seem down because of a value that fell meanwhile.
    pub(crate) fn error(
        &self,
        key: &[u8],
        now: Moment,
        has_older: impl FnOnce(&LoadError<E>) -> bool,
    ) -> Option<LoadError<E>> {
        let pause = self.0.get(key)?;
        let rests = now < pause.until || now < pause.until_with_older && has_older(&pause.error);
        rests.then(|| pause.error.clone())
    }

    /// Begins a pause after a failure: twice the last one, and `with_older` if that is longer and
    /// as long as an older value can be served.
    pub(crate) fn begin(
        &mut self,
        key: KeyBytes,
        now: Moment,
        with_older: Duration,
        error: LoadError<E>,
    ) {
        if MOST <= self.0.len() {
            self.0.retain(|_, pause| now < pause.until.max(pause.until_with_older));
        }
        if MOST <= self.0.len() {
            self.0.clear();
        }
        let last = self.0.get(key.as_slice()).map(|pause| pause.length * 2);
        let length = last.unwrap_or(FIRST).min(LONGEST);
        let (until, until_with_older) = (now.plus(length), now.plus(with_older));
        self.0.insert(key, Pause { until, until_with_older, length, error });
    }

    /// Ends the pauses of a key that loaded.
    pub(crate) fn end(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}
