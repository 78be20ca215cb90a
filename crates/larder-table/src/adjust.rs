//! Adjust: moving the window.
//!
//! The first load is an adjust of an empty window. **Invariant**: what expires, what comes and the
//! new window are published in one step, after everything that can fail (TD3, TD6).

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use larder_core::{Error, ErrorKind};

use crate::{
    content::Content,
    index::IndexKey,
    lane::{AnyRanges, typed},
    ranges::Ranges,
    record::Record,
    refresh::Answer,
    runs::Gathering,
    snapshot::{Mark, Snapshot},
    stats::Counts,
    table::{Made, Progress, Table},
};

/// What a change of the window did.
#[derive(Debug)]
pub struct Adjusted<R> {
    /// Records that were loaded, those that were invalid and loaded again included, by primary key.
    pub loaded: Vec<Arc<R>>,
    /// Records that went, by primary key.
    pub expired: Vec<Arc<R>>,
    /// Invalidations that were carried out with it.
    pub refreshed: usize,
}

/// Who is told of changes of the window.
pub(crate) type Observer<R> = Arc<dyn Fn(&Adjusted<R>) + Send + Sync>;

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Loads the records of `window` for the first time.
    ///
    /// # Errors
    /// `Conflict` when the table is loaded or being loaded; `Config` when the feed it follows does
    /// not tell of a table that a rule speaks of; those of the loader, and `Timeout` when it takes
    /// longer than [`crate::Definition::load_timeout`]; `Limit` when the records are more than the
    /// table may hold; `Conflict` when a key comes twice. After an error the table is as it was,
    /// and may be loaded again.
    ///
    /// # Panics
    /// If an observer panics; the table is loaded then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it has changed nothing.
    pub async fn load(&self, window: Ranges<W>) -> Result<usize, Error> {
        let mut loading = self.begin_loading()?;
        let _turn = self.0.turn.lock().await;
        let under_way = self.begin();
        self.catch_up().await?;
        self.expect_heard()?;
        let window: Arc<dyn AnyRanges> = Arc::new(window);
        let content = self.gather(&window).await?;
        let count = content.len();
        let loaded = match self.0.observers.is_empty() {
            true => Vec::new(),
            false => content.records().cloned().collect(),
        };
        let make = move |_: &Self, now: &Snapshot<R>| {
            let (content, window) = (content.clone(), Some(window.clone()));
            Ok((Snapshot { content, window, ..now.clone() }, ()))
        };
        // What is left to be made is nothing: it was made of records that nobody else has.
        self.publish(under_way.began, 0, make).await?;
        Counts::add(&self.0.counts.adjustments, 1);
        Counts::add(&self.0.counts.loaded, count);
        loading.ended = Progress::Done;
        drop((under_way, loading));
        self.tell_observers(&Adjusted { loaded, expired: Vec::new(), refreshed: 0 });
        Ok(count)
    }

    /// Everything in `window`, loaded and ordered, which goes on while the origin still reads.
    async fn gather(&self, window: &Arc<dyn AnyRanges>) -> Result<Content<R>, Error> {
        let place = self.0.window.place;
        let lane = self.0.lanes.get(place).expect("the place of an index of this table").clone();
        let asked = window.clone();
        let is_asked = Box::new(move |record: &R| lane.holds(&*asked, record));
        let gathering = Gathering::begin(&self.0.limits, &self.snapshot().content, is_asked);
        self.fill(place, &**window, gathering.fill()).await?;
        self.catch_up_with_load().await?;
        gathering.end().await
    }

    /// Readers wait from now on, until what is returned is dropped.
    ///
    /// # Errors
    /// `Conflict` when the table is loaded or being loaded.
    pub(crate) fn begin_loading(&self) -> Result<Loading<'_, R, W>, Error> {
        self.expect_own("load table")?;
        let begins = self.0.loaded.send_if_modified(|state| {
            let begins = *state == Progress::NotYet;
            if begins {
                *state = Progress::Loading;
            }
            begins
        });
        if !begins {
            return Err(Error::new(ErrorKind::Conflict, "load table")
                .subject(format!("`{}`", self.name()))
                .detail("it is loaded, or being loaded; change its window with `adjust`"));
        }
        Ok(Loading { table: self, ended: Progress::NotYet })
    }

    /// Moves the window: what is only in the new one is loaded, what is only in the old one
    /// expires, what was invalidated is loaded again. Reads see the old table until it returns and
    /// the new one after; none waits.
    ///
    /// What both windows cover is not loaded again: what changed there and nobody told of stays as
    /// it was (T15). [`Table::reload`] loads it.
    ///
    /// # Errors
    /// As [`Table::load`], and `Timeout` when the table is not loaded in time. After an error the
    /// table is as it was.
    ///
    /// # Panics
    /// If an observer panics; the window was moved then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it has changed nothing.
    pub async fn adjust(&self, window: Ranges<W>) -> Result<Adjusted<R>, Error> {
        self.move_to(window, Overlap::Keep).await
    }

    /// Loads everything in `window`, and makes it the window. For an origin that tells of no
    /// changes.
    ///
    /// # Errors
    /// As [`Table::adjust`].
    ///
    /// # Panics
    /// As [`Table::adjust`].
    ///
    /// # Cancel safety
    /// As [`Table::adjust`].
    pub async fn reload(&self, window: Ranges<W>) -> Result<Adjusted<R>, Error> {
        self.move_to(window, Overlap::LoadAgain).await
    }

    async fn move_to(&self, window: Ranges<W>, overlap: Overlap) -> Result<Adjusted<R>, Error> {
        self.expect_own("move the window of table")?;
        self.loaded().await?;
        let _turn = self.0.turn.lock().await;
        let before = self.snapshot();
        let old = before.window.clone().expect("a table that is loaded has a window");
        let asked = match overlap {
            Overlap::Keep => window.without(typed(&*old)),
            Overlap::LoadAgain => window.clone(),
        };
        let marks = before.marks.clone();
        self.until_visible(&marks).await?;
        let under_way = self.begin();
        let (place, window): (_, Arc<dyn AnyRanges>) = (self.0.window.place, Arc::new(window));
        let records = self.ask(place, &asked).await?;
        let answers = match overlap {
            // What is only in the new window is asked for anyway.
            Overlap::Keep => self.load_marked(&marks, &*old.intersection(&*window)).await?,
            // Everything that a mark can name is asked for.
            Overlap::LoadAgain => Vec::new(),
        };
        self.catch_up_with_load().await?;
        let moved = Moved { old, window, asked: Arc::new(asked), records, marks, answers };
        let expiring = moved.old.without(&*moved.window);
        let expiring = self.lane(place).count(&before.content, &*expiring);
        let count = moved.records.len() + expiring;
        let make = move |table: &Self, now: &Snapshot<R>| table.adjusted(now, &moved);
        let adjusted = self.publish(under_way.began, count, make).await?;
        Counts::add(&self.0.counts.adjustments, 1);
        Counts::add(&self.0.counts.loaded, adjusted.loaded.len());
        Counts::add(&self.0.counts.expired, adjusted.expired.len());
        drop(under_way);
        self.tell_observers(&adjusted);
        Ok(adjusted)
    }

    /// To be called with the turn, so that observers hear in the order in which windows moved, and
    /// when everything else is done: one that panics ends the call, and nothing that was done.
    pub(crate) fn tell_observers(&self, adjusted: &Adjusted<R>) {
        let tell = |observer: &Observer<R>| {
            panic::catch_unwind(AssertUnwindSafe(|| observer(adjusted))).err()
        };
        // All of them, before the first panic goes on.
        let panics: Vec<_> = self.0.observers.iter().filter_map(tell).collect();
        if let Some(first) = panics.into_iter().next() {
            panic::resume_unwind(first);
        }
    }

    fn adjusted(&self, now: &Snapshot<R>, moved: &Moved<R>) -> Made<R, Adjusted<R>> {
        let Moved { old, window, asked, records, marks, answers } = moved;
        let lane = self.lane(self.0.window.place);
        let (mut gone, mut new) = self.replaced(&now.content, &**window, answers);
        gone.extend(lane.within(&now.content, &**asked));
        let outside = lane.within(&now.content, &*old.without(&**window));
        gone.extend(outside.into_iter().filter(|record| !lane.holds(&**window, record)));
        new.extend(records.iter().cloned());
        let mut loaded = new.clone();
        let content = now.content.changed(gone.iter().cloned(), new, &self.0.limits)?;
        gone.sort_by(|a, b| a.order(b));
        gone.dedup_by(|a, b| a.order(b).is_eq());
        gone.retain(|record| content.get(&record.key()).is_none());
        if !answers.is_empty() {
            // Of what two of them gave, what is there now.
            let is_there =
                |one: &Arc<R>| content.get(&one.key()).is_some_and(|there| Arc::ptr_eq(there, one));
            loaded.retain(is_there);
            loaded.sort_by(|a, b| a.order(b));
        }
        let adjusted = Adjusted { loaded, expired: gone, refreshed: marks.len() };
        let window = Some(window.clone());
        let left = now.without(marks).overtaken(|_| self.is_told_by_feed());
        Ok((Snapshot { content, window, ..left }, adjusted))
    }
}

/// What becomes of what both windows cover.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overlap {
    Keep,
    LoadAgain,
}

/// Everything that was loaded for a new window.
struct Moved<R> {
    old: Arc<dyn AnyRanges>,
    window: Arc<dyn AnyRanges>,
    asked: Arc<dyn AnyRanges>,
    records: Vec<Arc<R>>,
    marks: Vec<Arc<Mark>>,
    answers: Vec<Answer<R>>,
}

/// Says how a first load has ended, also when it was dropped.
pub(crate) struct Loading<'a, R: Record, W: IndexKey> {
    table: &'a Table<R, W>,
    pub(crate) ended: Progress,
}

impl<R: Record, W: IndexKey> Drop for Loading<'_, R, W> {
    fn drop(&mut self) {
        self.table.0.loaded.send_replace(self.ended);
    }
}
