//! The simulated origin: a small database with a change stream that can do everything wrong.
//!
//! It is driven by explicit calls only: a commit is emitted, shown to loads, delivered and
//! confirmed in whatever order the test says, as far as real databases can do it in that order.
//! **Invariant**: the feed side uses only what a real feed could know: the stream it has read, the
//! identity of the server, the log row at its cursor, and which commits a snapshot shows.

mod feed;
mod origin;
mod state;

use std::sync::Arc;

use larder_core::{Clock, Name};
use parking_lot::Mutex;

use crate::{conformance::Write, random::Random};

use self::state::State;
pub use self::state::{Saved, StampFrom};

#[cfg(test)]
mod tests;

/// An origin and its feed, in memory. Cloning shares it.
#[derive(Clone, Debug)]
pub struct SimOrigin {
    name: Name,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

/// A mistake that a feed could be written with, to show that the conformance suite notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A commit is confirmed when it is received, visible or not.
    ConfirmsWhatItReceived,
    /// The log row at the cursor is not compared.
    IgnoresNonce,
    /// A log without the row at the cursor is taken for one where nothing happened.
    IgnoresGap,
    /// Another server is taken for the same one.
    IgnoresIdentity,
    /// The schema is not looked at.
    IgnoresSchema,
    /// Proves although it did not reach the origin.
    ProvesBlindly,
    /// Says that it caught up without having asked.
    CatchesUpByWord,
    /// Reports a moved row where it is now, and not where it was.
    ForgetsOldRow,
    /// Stamps an answer with the end of the log instead of what the snapshot shows.
    StampsWithEndOfLog,
    /// Goes on at a mark without looking whether anything is as it was there.
    GoesOnBlindly,
}

impl SimOrigin {
    /// An empty database called `name`.
    pub fn new(name: impl Into<Name>, seed: u64, clock: Clock, stamp: StampFrom) -> Self {
        let state = Arc::new(Mutex::new(State::new(Random::new(seed), stamp)));
        Self { name: name.into(), clock, state }
    }

    /// From now on the origin and its feed make this mistake.
    pub fn err(&self, flaw: Flaw) {
        self.state.lock().flaw = Some(flaw);
    }

    /// The clock that the feed proves by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Writes a commit to the log: from now on it can be delivered, and no load sees it yet.
    /// Returns its number, which is also its position.
    pub fn emit(&self, writes: &[Write]) -> u64 {
        self.state.lock().emit(writes)
    }

    /// Shows a commit to loads that begin from now on, and whatever it had to wait for: commits
    /// on the same rows become visible in their order, as row locks make them.
    pub fn show(&self, commit: u64) {
        self.state.lock().show(commit);
    }

    /// Numbers of the commits that no load sees yet.
    pub fn hidden(&self) -> Vec<u64> {
        self.state.lock().hidden()
    }

    /// Delivers the next commit of the log as received; whether there was one and the feed is well.
    pub fn deliver(&self) -> bool {
        self.state.lock().deliver(&self.name)
    }

    /// Confirms as far as everything delivered is visible.
    pub fn confirm(&self) {
        let moment = self.clock.now();
        self.state.lock().confirm(&self.name, moment);
    }

    /// A copy of the database and its log.
    pub fn save(&self) -> Saved {
        self.state.lock().save()
    }

    /// Puts an older copy in place of what is there, log and all.
    pub fn restore(&self, saved: &Saved) {
        self.state.lock().restore(saved);
    }

    /// Puts another server with the same content behind the name.
    pub fn replace(&self) {
        self.state.lock().replace();
    }

    /// Forgets the log up to here, delivered or not, as a log that was trimmed too early.
    pub fn lose_log(&self) {
        self.state.lock().lose_log();
    }

    /// Changes the schema, which the log does not tell.
    pub fn change_schema(&self) {
        self.state.lock().change_schema();
    }

    /// From now on nothing can be asked.
    pub fn cut(&self) {
        self.state.lock().is_cut = true;
    }

    /// The origin can be asked again.
    pub fn mend(&self) {
        self.state.lock().is_cut = false;
    }
}
