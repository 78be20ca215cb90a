//! Refresh: loading again what was invalidated.
//!
//! It knows marks and loads and nothing of who waits for them. **Invariant**: a mark is taken away
//! together with the publication of what a load gave that began after the mark was seen; one that
//! stays, and that this may have overtaken, says so (`view.rs`).

use std::sync::Arc;

use larder_core::{Error, ErrorKind};

use crate::{
    content::Content,
    follow::Followed,
    index::IndexKey,
    lane::{AnyLane, AnyRanges},
    origin::Fill,
    record::Record,
    snapshot::{Mark, Snapshot},
    stats::Counts,
    sync::timeout,
    table::Table,
};

/// What was loaded of the records whose key of one index lies in some ranges.
pub(crate) struct Answer<R> {
    place: usize,
    ranges: Arc<dyn AnyRanges>,
    pub(crate) records: Vec<Arc<R>>,
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Loads again all that was invalidated until now, also what reads go on with meanwhile; how
    /// many invalidations that were. Does nothing when there are none.
    ///
    /// # Errors
    /// Those of the loader. Nothing was changed then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it has changed nothing.
    pub async fn refresh_invalid(&self) -> Result<usize, Error> {
        let last = self.snapshot().last;
        self.refresh(|mark| mark.first <= last).await
    }

    /// Carries out the marks for which `is_due` holds; how many there were.
    ///
    /// A unique key that went from one record to another, each invalidated by itself, is there
    /// twice while only one of them is loaded again: then all marks are carried out.
    pub(crate) async fn refresh(&self, is_due: impl Fn(&Mark) -> bool) -> Result<usize, Error> {
        let _turn = self.0.turn.lock().await;
        // Whoever had the turn before may have done it.
        let waiting = self.snapshot().marks.clone();
        let due: Vec<Arc<Mark>> = waiting.iter().filter(|mark| is_due(mark)).cloned().collect();
        let are_all = due.len() == waiting.len();
        match self.carry_out(due).await {
            Err(error) if error.kind() == ErrorKind::Conflict && !are_all => {
                self.carry_out(waiting).await
            }
            ended => ended,
        }
    }

    async fn carry_out(&self, marks: Vec<Arc<Mark>>) -> Result<usize, Error> {
        // Before the first load there is nothing that could be loaded again.
        let Some(window) = self.snapshot().window.clone().filter(|_| !marks.is_empty()) else {
            return Ok(0);
        };
        self.until_visible(&marks).await?;
        let under_way = self.begin();
        let last = self.snapshot().last;
        let answers = self.load_marked(&marks, &*window).await?;
        self.catch_up_with_load().await?;
        let (count, done) = (answers.iter().map(|answer| answer.records.len()).sum(), marks.len());
        let make = move |table: &Self, now: &Snapshot<R>| {
            // The window as it was: whoever moves it has the turn.
            let (old, new) = table.replaced(&now.content, &*window, &answers);
            let content = now.content.changed(old, new, &table.0.limits)?;
            // Those told of before the load, which it has seen, and those of what it has loaded.
            let is_newer = |mark: &Mark| mark.first <= last || table.may_be_in(mark, &answers);
            let left = now.without(&marks);
            let left = left.overtaken(|mark| table.is_told_by_feed() && is_newer(mark));
            Ok((Snapshot { content, ..left }, ()))
        };
        self.publish(under_way.began, count, make).await?;
        Counts::add(&self.0.counts.refreshes, 1);
        Ok(done)
    }

    /// Asks the origin for everything that the marks name within `window`, once for each index.
    pub(crate) async fn load_marked(
        &self,
        marks: &[Arc<Mark>],
        window: &dyn AnyRanges,
    ) -> Result<Vec<Answer<R>>, Error> {
        let mut asked: Vec<(usize, Arc<dyn AnyRanges>)> = Vec::new();
        for mark in marks {
            let can_load = |place: usize| self.lane(place).can_load();
            let touched = mark.touched.iter().find(|touched| can_load(touched.place));
            let touched = touched.expect("a mark names an index by which can be loaded");
            match asked.iter_mut().find(|(place, _)| *place == touched.place) {
                Some((_, ranges)) => *ranges = ranges.union(&*touched.ranges),
                None => asked.push((touched.place, touched.ranges.clone())),
            }
        }
        let mut answers = Vec::with_capacity(asked.len());
        for (place, mut ranges) in asked {
            if place == self.0.window.place {
                ranges = ranges.intersection(window);
            }
            let records = self.ask(place, &*ranges).await?;
            answers.push(Answer { place, ranges, records });
        }
        Ok(answers)
    }

    /// Loads the records whose key of the index at `place` is in `ranges`; sorted by primary key.
    pub(crate) async fn ask(
        &self,
        place: usize,
        ranges: &dyn AnyRanges,
    ) -> Result<Vec<Arc<R>>, Error> {
        let fill = Fill::new(self.0.limits.clone());
        self.fill(place, ranges, &fill).await?;
        let (lane, mut records) = (self.lane(place), fill.finish()?);
        records.retain(|record| lane.holds(ranges, record));
        Ok(records)
    }

    /// Has the origin put them into `fill`, and perhaps others.
    pub(crate) async fn fill(
        &self,
        place: usize,
        ranges: &dyn AnyRanges,
        fill: &Fill<R>,
    ) -> Result<(), Error> {
        if ranges.is_empty() {
            return Ok(());
        }
        self.expect_within()?;
        let lane = self.lane(place);
        let Some(loading) = lane.load(ranges, fill.clone()) else {
            return Err(Error::new(ErrorKind::Unsupported, "load records of table")
                .subject(format!("`{}`", self.name()))
                .detail(format!(
                    "it was not said how records are loaded by the index `{}`; say it with \
                     `loads_by`",
                    lane.name()
                )));
        };
        let ended = timeout(self.0.load_timeout, loading).await;
        ended.unwrap_or_else(|_| Err(self.took_too_long(lane.name())))
    }

    /// Fails for a replica: what its window does not cover nobody can load here.
    fn expect_within(&self) -> Result<(), Error> {
        let Some(owner) = self.0.followed.get().and_then(Followed::as_owner) else { return Ok(()) };
        Err(Error::new(ErrorKind::NotFound, "load records of table")
            .subject(format!("`{}`", self.name()))
            .detail(format!(
                "it is a replica, and the window of its owner, {owner}, does not cover what is \
                 asked; ask there, or for less"
            )))
    }

    #[cold]
    fn took_too_long(&self, index: &str) -> Error {
        Error::new(ErrorKind::Timeout, "load records of table")
            .subject(format!("`{}`", self.name()))
            .detail(format!(
                "the loader of the index `{index}` did not end within {:?}; nothing was changed; \
                 let it take longer with `load_timeout`, or make the window smaller",
                self.0.load_timeout
            ))
    }

    /// The records that go and those that come when the answers take the place of what they were
    /// asked for; of two answers with one record the later one counts.
    pub(crate) fn replaced(
        &self,
        content: &Content<R>,
        window: &dyn AnyRanges,
        answers: &[Answer<R>],
    ) -> (Vec<Arc<R>>, Vec<Arc<R>>) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let own = self.lane(self.0.window.place);
        for Answer { place, ranges, records } in answers {
            old.extend(self.lane(*place).within(content, &**ranges));
            new.extend(records.iter().filter(|record| own.holds(window, record)).cloned());
        }
        (old, new)
    }

    /// Whether a mark may be of what was loaded.
    fn may_be_in(&self, mark: &Mark, answers: &[Answer<R>]) -> bool {
        let mut answers = answers.iter();
        answers.any(|Answer { place, ranges, .. }| {
            self.lane(*place).has_many() || mark.touches(*place, &**ranges)
        })
    }

    pub(crate) fn lane(&self, place: usize) -> &dyn AnyLane<R> {
        &**self.0.lanes.get(place).expect("the place of an index of this table")
    }
}
