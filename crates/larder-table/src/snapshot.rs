//! The snapshot: everything that a read decides by, as it is at one moment.
//!
//! Content, what of it is covered and what of it is in doubt are published together, so that no
//! read sees a window and the content of another one (TD4). **Invariant**: a snapshot is never
//! changed, and the number of its last invalidation never falls from one to the next.

use std::sync::Arc;

use larder_core::{Epoch, Position, safeguard::Safeguard};

use crate::{content::Content, lane::AnyRanges};

/// See the module.
pub(crate) struct Snapshot<R> {
    pub(crate) content: Content<R>,
    /// The window; `None` until the table is loaded.
    pub(crate) window: Option<Arc<dyn AnyRanges>>,
    /// Invalidations that are not yet carried out, the oldest first.
    pub(crate) marks: Vec<Arc<Mark>>,
    /// The number of the last invalidation.
    pub(crate) last: u64,
}

impl<R> Clone for Snapshot<R> {
    fn clone(&self) -> Self {
        Self {
            content: self.content.clone(),
            window: self.window.clone(),
            marks: self.marks.clone(),
            last: self.last,
        }
    }
}

/// One invalidation.
#[derive(Debug)]
pub(crate) struct Mark {
    /// They are numbered in the order in which they came; of several that were joined, the newest.
    pub(crate) number: u64,
    /// Of several that were joined, the oldest: whoever waits for that one waits for this.
    pub(crate) first: u64,
    /// What it touches, by each index that it names.
    pub(crate) touched: Vec<Touched>,
    pub(crate) meanwhile: Meanwhile,
    /// Where a feed told of it: a load must have seen that.
    pub(crate) position: Option<(Epoch, Position)>,
    pub(crate) overtaken: Overtaken,
}

/// Whether records may be shown as they are after what a mark is of, while those that it touches
/// are not: then what it is of, or the order in which things happened, is seen by half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overtaken {
    No,
    Perhaps,
}

/// What an invalidation touches by one index.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) place: usize,
    /// Where the records were and where they are: both must be asked for again, for what left the
    /// one may be in the other.
    pub(crate) ranges: Arc<dyn AnyRanges>,
}

/// What reads do until an invalidation is carried out (ruling X11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meanwhile {
    /// The next read that touches what it names loads that again first.
    #[default]
    Refresh,
    /// Reads go on with what is there, until [`crate::Table::refresh_invalid`] or the next adjust.
    ServeStale,
}

/// Invalidations that wait at once; one more joins the last one that is loaded by the same index.
/// Each read looks at all of them, some nanoseconds each; a tenth would join what different reads
/// wait for, and let one read load what another one needs.
const MARKS_MAX: usize = 64;

impl<R> Snapshot<R> {
    /// The same without marks that were carried out.
    pub(crate) fn without(&self, done: &[Arc<Mark>]) -> Self {
        let by_number = !Safeguard::MarksTakenByNumber.is_off();
        let is_left =
            |mark: &&Arc<Mark>| by_number && done.iter().all(|done| done.number != mark.number);
        let marks = self.marks.iter().filter(is_left).cloned().collect();
        Self { marks, ..self.clone() }
    }

    /// The same when something was put into the content that may be newer than the marks of which
    /// `is_newer` holds.
    pub(crate) fn overtaken(mut self, is_newer: impl Fn(&Mark) -> bool) -> Self {
        for mark in &mut self.marks {
            if mark.overtaken == Overtaken::No && is_newer(mark) {
                *mark = Arc::new(Mark { overtaken: Overtaken::Perhaps, ..mark.copy() });
            }
        }
        self
    }

    /// Adds an invalidation.
    pub(crate) fn mark(
        &mut self,
        touched: Vec<Touched>,
        meanwhile: Meanwhile,
        position: Option<(Epoch, Position)>,
    ) {
        self.last += 1;
        let number = self.last;
        let (first, overtaken) = (number, Overtaken::No);
        let mut mark = Mark { number, first, touched, meanwhile, position, overtaken };
        if MARKS_MAX <= self.marks.len()
            && let Some(place) = self.marks.iter().rposition(|other| other.is_like(&mark))
        {
            // Under the new number: a refresh that has seen the old one has not seen this.
            mark.join(&self.marks.remove(place));
        }
        self.marks.push(Arc::new(mark));
    }
}

impl Mark {
    /// Whether both can be loaded again by the same index, which is the first that they name, and
    /// are to be dealt with alike.
    fn is_like(&self, other: &Self) -> bool {
        let place = |mark: &Self| mark.touched.first().map(|touched| touched.place);
        self.meanwhile == other.meanwhile && place(self) == place(other)
    }

    /// Takes in what another one touches. What either names by other indexes is left out, which is
    /// wider: by those any record may be touched.
    fn join(&mut self, other: &Self) {
        self.touched.truncate(1);
        if let (Some(own), Some(other)) = (self.touched.first_mut(), other.touched.first()) {
            own.ranges = own.ranges.union(&*other.ranges);
        }
        self.first = self.first.min(other.first);
        if other.overtaken == Overtaken::Perhaps {
            self.overtaken = Overtaken::Perhaps;
        }
        // Of two lives the newer one counts: where it began, all of the older one is visible.
        self.position = match (self.position, other.position) {
            (Some((epoch, own)), Some((other, position))) if epoch == other => {
                Some((epoch, own.max(position)))
            }
            (own, other) => own.or(other),
        };
    }

    /// The same, visible to every load.
    pub(crate) fn without_position(&self) -> Self {
        Self { position: None, ..self.copy() }
    }

    fn copy(&self) -> Self {
        let Self { number, first, meanwhile, position, overtaken, .. } = *self;
        Self { number, first, touched: self.touched.clone(), meanwhile, position, overtaken }
    }

    /// Whether a read of `ranges` by the index at `place` may touch it. By an index that it does
    /// not name any record may be one of those touched (T11).
    ///
    /// # Callers must
    /// ask for indexes of one key a record only: of several keys a mark names some, and the record
    /// is read by the others as well.
    pub(crate) fn touches(&self, place: usize, ranges: &dyn AnyRanges) -> bool {
        let mut named = self.touched.iter().filter(|touched| touched.place == place);
        named.next().is_none_or(|touched| touched.ranges.touches(ranges))
    }
}
