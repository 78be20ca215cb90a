//! Pauses: how long a key rests after its load failed.
//!
//! **Invariant**: a failing origin sees one load for each key and pause, however many ask; memory
//! for pauses is bounded, and forgetting one only costs a load. All of it happens under the lock of
//! a shard of flights, so nothing here calls an error or drops one: it is handed out instead.

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

/// A pause. One that ended is given to the caller, who drops it, and its error, after the lock.
#[derive(Debug)]
pub(crate) struct Pause<E> {
    until: Moment,
    /// As long as there is an older value to serve; past if none may stand in for this error.
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
        has_older: impl FnOnce() -> bool,
    ) -> Option<LoadError<E>> {
        let pause = self.0.get(key)?;
        let rests = now < pause.until || now < pause.until_with_older && has_older();
        rests.then(|| pause.error.clone())
    }

    /// Begins a pause after a failure: twice the last one, and `with_older` if that is longer and
    /// as long as an older value can be served. The pauses that ended by this.
    #[must_use = "dropped under the lock it would drop errors, which are user code"]
    pub(crate) fn begin(
        &mut self,
        key: KeyBytes,
        now: Moment,
        with_older: Duration,
        error: LoadError<E>,
    ) -> Vec<Pause<E>> {
        let mut ended = Vec::new();
        if MOST <= self.0.len() {
            let is_over = |pause: &Pause<E>| pause.until.max(pause.until_with_older) <= now;
            ended.extend(self.0.extract_if(|_, pause| is_over(pause)).map(|(_, pause)| pause));
        }
        if MOST <= self.0.len() {
            ended.extend(self.0.drain().map(|(_, pause)| pause));
        }
        let last = self.0.get(key.as_slice()).map(|pause| pause.length * 2);
        let length = last.unwrap_or(FIRST).min(LONGEST);
        let (until, until_with_older) = (now.plus(length), now.plus(with_older));
        ended.extend(self.0.insert(key, Pause { until, until_with_older, length, error }));
        ended
    }

    /// Ends the pause of a key that loaded.
    #[must_use = "dropped under the lock it would drop an error, which is user code"]
    pub(crate) fn end(&mut self, key: &[u8]) -> Vec<Pause<E>> {
        self.0.remove(key).into_iter().collect()
    }
}
