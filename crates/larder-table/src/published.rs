//! Published: the states of a table that others may be shown, each by a number.
//!
//! Apart from the snapshot, which may be in doubt: what is here is what a read of the whole window
//! would show, and all of one moment. **Invariant**: numbers grow with what is published, and what
//! is known under one is never changed.
//!
//! # Implementation notes
//!
//! A replica of a table asks what it must have been sent to be as new as the question. So the
//! answer is a number that is worked out *after* the origin was asked, and what was in doubt is
//! loaded again first:
//!
//! 1. A replica is asked by a reader, and asks here.
//! 2. The feed is asked: a commit is told of, and puts row 1 in doubt.
//! 3. Row 1 is loaded, and published under number 8. The answer is 8.
//! 4. The replica goes on when it was sent 8. Were 7 answered, which was there when the question
//!    came, the reader would not see a commit from before his read.

use std::sync::Arc;

use larder_core::{Epoch, Error, ErrorKind};
use tokio::sync::watch;

use crate::{
    content::Content,
    index::IndexKey,
    lane::AnyRanges,
    record::Record,
    snapshot::{Mark, Meanwhile},
    sync::Mutex,
    table::Table,
};

/// A state of a table, as others know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// One life of the table in one process. Numbers mean nothing outside of it.
    pub life: u64,
    /// It grows with each state.
    pub number: u64,
}

/// What a version is.
pub(crate) struct Published<R> {
    pub(crate) number: u64,
    pub(crate) content: Content<R>,
    pub(crate) window: Arc<dyn AnyRanges>,
}

/// What was published, as far as somebody wanted to know.
pub(crate) struct Publications<R> {
    pub(crate) life: u64,
    /// Held while the next one is numbered.
    numbering: Mutex<()>,
    pub(crate) last: watch::Sender<Option<Arc<Published<R>>>>,
    /// Rung when something is shown that was not.
    pub(crate) shown: watch::Sender<()>,
}

impl<R> Default for Publications<R> {
    fn default() -> Self {
        let (life, numbering) = (Epoch::random().0, Mutex::default());
        Self { life, numbering, last: watch::Sender::new(None), shown: watch::Sender::new(()) }
    }
}

/// How often what is in doubt is loaded before it is said that changes come too fast.
const TRIES: usize = 16;

impl<R: Record, W: IndexKey> Table<R, W> {
    /// The version by which a read of everything would decide that begins now: what a replica must
    /// have been sent to be as new as this question.
    ///
    /// The origin is asked, and what is in doubt is loaded again, unless reads go on with it.
    ///
    /// # Errors
    /// `Timeout` when the table is not loaded in time; `Conflict` when changes come faster than
    /// what they put in doubt can be loaded; those of the feed and the loaders.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it has changed nothing.
    pub async fn version(&self) -> Result<Version, Error> {
        self.loaded().await?;
        for _ in 0..TRIES {
            self.catch_up().await?;
            self.refresh(is_awaited).await?;
            if let Some(published) = self.published() {
                return Ok(Version { life: self.0.publications.life, number: published.number });
            }
        }
        Err(Error::new(ErrorKind::Conflict, "number the state of table")
            .subject(format!("`{}`", self.name()))
            .detail("changes come faster than what they put in doubt can be loaded; try again"))
    }

    /// What is shown now, under its number; `None` where it is not loaded, or something is in doubt
    /// that reads wait for.
    pub(crate) fn published(&self) -> Option<Arc<Published<R>>> {
        let publications = &self.0.publications;
        // One after the other, and the snapshot taken by who has the turn: numbers grow with it.
        let _numbering = publications.numbering.lock();
        let snapshot = self.snapshot();
        let window = snapshot.window.clone()?;
        if snapshot.marks.iter().any(|mark| is_awaited(mark)) {
            return None;
        }
        let last = publications.last.borrow().clone();
        let is_same = |last: &&Arc<Published<R>>| {
            Arc::ptr_eq(&last.window, &window) && last.content.is(&snapshot.content)
        };
        if let Some(same) = last.as_ref().filter(is_same) {
            return Some(same.clone());
        }
        let number = last.map_or(0, |last| last.number) + 1;
        let content = snapshot.content.clone();
        let next = Arc::new(Published { number, content, window });
        publications.last.send_replace(Some(next.clone()));
        Some(next)
    }
}

/// Whether reads wait for this.
fn is_awaited(mark: &Mark) -> bool {
    mark.meanwhile == Meanwhile::Refresh
}
