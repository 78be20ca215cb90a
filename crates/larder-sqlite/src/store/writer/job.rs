//! What waits for the writer: an act, the place for its result, and whom to tell.
//!
//! Apart from the queue, which knows neither what an act does nor what it gives. **Invariant**: who
//! hands in a job is told once, after the commit that holds it; a job that is dropped tells its
//! owner that the store is closed.

use larder_core::{Error, ErrorKind, Moment};
use tokio::sync::oneshot;

use super::{Writing, waiting::By};
use crate::store::options::Durability;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) by: By,
    pub(super) durability: Durability,
    pub(super) deadline: Moment,
    /// Of the values that it holds in memory.
    pub(super) bytes: u64,
    pub(super) task: Box<dyn Task>,
}

/// What was written, or why it was not, for those who wait for it.
pub(super) struct Written {
    pub(super) done: Vec<(Job, Result<(), Error>)>,
    pub(super) committed: Result<(), Error>,
}

impl Written {
    pub(super) const NOTHING: Self = Self { done: Vec::new(), committed: Ok(()) };

    pub(super) fn count(&self) -> usize {
        self.done.len()
    }

    /// Tells them. Not under a lock: it wakes tasks of others.
    pub(super) fn answer(self) {
        for (job, result) in self.done {
            job.task.answer(result.and_then(|()| self.committed.clone()));
        }
    }
}

/// A write with the place for its result and whom to tell.
pub(super) trait Task: Send + std::fmt::Debug {
    fn is_abandoned(&self) -> bool;
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

pub(super) struct Act<T, F> {
    pub(super) act: Option<F>,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> std::fmt::Debug for Act<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act").finish_non_exhaustive()
    }
}

impl<T: Send, F: Send> Task for Act<T, F>
where
    F: FnOnce(&mut Writing<'_>) -> Result<T, Error>,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), Error> {
        if let Some(act) = self.act.take() {
            self.result = Some(act(writing)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let Self { result, reply, .. } = *self;
        let unanswered = || Error::new(ErrorKind::Panicked, "write to the store");
        reply.send(committed.and_then(|()| result.ok_or_else(unanswered))).ok();
    }
}
