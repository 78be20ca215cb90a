//! The table: records of an origin in this process, in several orders, as far as its window goes.
//!
//! What it promises is told in `docs/concept/tables.md`; how its parts keep it is told here, where
//! they meet. Reads are in `select.rs`, changes of the window in `adjust.rs`, loads of what is in
//! doubt in `refresh.rs`. **Invariant**: whoever has seen a snapshot may decide by it; what is
//! published later takes nothing from him.
//!
//! # Implementation notes
//!
//! *One turn, one publisher.* Loads take time, so those who change content by loading (adjust and
//! refresh) take turns; what they loaded is published under a lock that is held for no load, and
//! that invalidations take as well.
//!
//! *Invalidation against refresh* (TD1, TD2). A refresh carries out the marks that it saw before
//! its load, by their numbers, and no others:
//!
//! 1. Row 1 is invalidated: mark 1. A read begins a refresh, which asks the origin.
//! 2. Row 1 changes again and is invalidated: mark 2. Another read waits for its turn.
//! 3. The refresh ends and takes mark 1 away. The other read finds mark 2 and asks again.
//!
//! *Commits that a refresh sees by half* are told in `view.rs`.
//!
//! *A failed or abandoned load* (TD3) has changed nothing: what it loaded was in no snapshot.

use std::{
    fmt,
    marker::PhantomData,
    panic,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use larder_core::{Epoch, Error, ErrorKind, Position, safeguard::Safeguard, timeline::Stamp};
use tokio::{sync::watch, task::JoinError};

use crate::{
    adjust::Observer,
    content::{Content, Limits, MANY, PRIMARY},
    flight::Flights,
    follow::{Followed, Told},
    index::{Index, IndexKey},
    invalidation::{Invalidation, unnamed},
    lane::{AnyLane, AnyRanges, typed},
    published::Publications,
    ranges::Ranges,
    recent::{Began, Recent},
    record::Record,
    retired::retire,
    slack::Widened,
    snapshot::{Mark, Meanwhile, Snapshot, Touched},
    stats::{Counts, TableStats},
    sync::{ArcSwap, Mutex, timeout},
};

/// A table whose window is on an index over `W`. Cloning shares it.
pub struct Table<R: Record, W: IndexKey>(pub(crate) Arc<Inner<R, W>>);

pub(crate) struct Inner<R: Record, W: IndexKey> {
    pub(crate) window: Index<R, W>,
    pub(crate) lanes: Vec<Arc<dyn AnyLane<R>>>,
    pub(crate) limits: Arc<Limits<R>>,
    pub(crate) counts: Counts,
    pub(crate) state: ArcSwap<Snapshot<R>>,
    pub(crate) publishing: Mutex<Recent<R>>,
    pub(crate) flights: Flights<R>,
    pub(crate) followed: OnceLock<Followed>,
    pub(crate) confirmed: watch::Sender<(Epoch, Position)>,
    pub(crate) publications: Publications<R>,
    /// Held by whoever loads.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) loaded: watch::Sender<Progress>,
    wait: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) observers: Vec<Observer<R>>,
    pub(crate) slack: Option<Widened>,
}

/// What a definition says of a table, for all of its life.
pub(crate) struct Defined<R: Record, W> {
    pub(crate) window: Index<R, W>,
    pub(crate) lanes: Vec<Arc<dyn AnyLane<R>>>,
    pub(crate) limits: Limits<R>,
    pub(crate) wait: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) observers: Vec<Observer<R>>,
    pub(crate) slack: Option<Widened>,
}

/// What is to be published, and what is to be said of it.
pub(crate) type Made<R, T> = Result<(Snapshot<R>, T), Error>;

/// How far the first load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    NotYet,
    Loading,
    Done,
}

impl<R: Record, W: IndexKey> Clone for Table<R, W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Record, W: IndexKey> Table<R, W> {
    pub(crate) fn new(defined: Defined<R, W>, content: Content<R>) -> Self {
        let Defined { window, lanes, limits, wait, load_timeout, observers, slack } = defined;
        let snapshot = Snapshot { content, window: None, marks: Vec::new(), last: 0 };
        Self(Arc::new(Inner {
            window,
            lanes,
            limits: Arc::new(limits),
            counts: Counts::default(),
            state: ArcSwap::from_pointee(snapshot),
            publishing: Mutex::default(),
            flights: Flights::default(),
            followed: OnceLock::new(),
            confirmed: watch::Sender::new((Epoch::VOID, Position(0))),
            publications: Publications::default(),
            turn: tokio::sync::Mutex::new(()),
            loaded: watch::Sender::new(Progress::NotYet),
            wait,
            load_timeout,
            observers,
            slack,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.limits.table
    }

    /// The index by primary key.
    pub fn primary(&self) -> Index<R, R::Key> {
        Index { place: PRIMARY, name: "primary".into(), of: self.0.window.of, types: PhantomData }
    }

    /// Begins an invalidation.
    pub fn invalidation(&self) -> Invalidation<'_, R, W> {
        Invalidation::new(self)
    }

    /// Waits until the table is loaded, at most as long as its definition says.
    ///
    /// # Errors
    /// `Timeout` when it is not loaded by then.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn loaded(&self) -> Result<(), Error> {
        let mut loaded = self.0.loaded.subscribe();
        let wait = loaded.wait_for(|state| *state == Progress::Done);
        match timeout(self.0.wait, wait).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.unloaded(ErrorKind::Timeout)),
        }
    }

    pub(crate) fn unloaded(&self, kind: ErrorKind) -> Error {
        Error::new(kind, "use table").subject(format!("`{}`", self.name())).detail(format!(
            "it is not loaded, and was not within {:?}; call `load` first, or let it wait longer \
             with `wait_for_load`",
            self.0.wait
        ))
    }

    /// Numbers for metrics, and what it holds.
    pub fn stats(&self) -> TableStats {
        let snapshot = self.snapshot();
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.0.counts;
        TableStats {
            records: snapshot.content.len() as u64,
            bytes: snapshot.content.bytes(),
            bytes_max: self.0.limits.bytes_max,
            invalid: snapshot.marks.len() as u64,
            hits: count(&counts.hits),
            hits_with_refresh: count(&counts.hits_with_refresh),
            hits_within_slack: count(&counts.hits_within_slack),
            misses: count(&counts.misses),
            misses_shared: count(&counts.misses_shared),
            refreshes: count(&counts.refreshes),
            adjustments: count(&counts.adjustments),
            expired: count(&counts.expired),
            loaded: count(&counts.loaded),
            slides_failed: count(&counts.slides_failed),
        }
    }

    /// The ranges that it covers; `None` until it is loaded.
    pub fn window(&self) -> Option<Ranges<W>> {
        self.snapshot().window.as_deref().map(|window| typed::<W>(window).clone())
    }

    /// How far a read that begins now reflects the origin at least; `None` when it follows no feed,
    /// and of a replica, whose owner knows.
    ///
    /// # Freshness
    /// What this node knows, without asking; a question to the feed
    /// ([`catch_up`](larder_core::feed::Feed::catch_up)) moves it.
    pub fn reflects(&self) -> Option<Stamp> {
        let followed = self.0.followed.get().filter(|followed| followed.as_owner().is_none())?;
        let timeline = followed.timeline().clone();
        let (epoch, as_of) = self.heard();
        Some(Stamp { timeline, epoch, as_of })
    }

    /// Fails for a replica: `task` is for its owner.
    pub(crate) fn expect_own(&self, task: &'static str) -> Result<(), Error> {
        let Some(owner) = self.0.followed.get().and_then(Followed::as_owner) else { return Ok(()) };
        Err(Error::new(ErrorKind::Unsupported, task)
            .subject(format!("`{}`", self.name()))
            .detail(format!("it is a replica; do it at its owner, {owner}")))
    }

    /// How long reads wait for the first load.
    pub(crate) fn wait(&self) -> Duration {
        self.0.wait
    }

    /// Fails unless `index` is one of this table.
    pub(crate) fn own<K>(&self, index: &Index<R, K>) -> Result<(), Error> {
        if index.of == self.0.window.of {
            return Ok(());
        }
        let known: Vec<&str> = self.0.lanes.iter().map(|lane| lane.name()).collect();
        Err(Error::new(ErrorKind::NotFound, "find the index")
            .subject(format!("`{}`", index.name))
            .detail(format!("it is of another table; `{}` has {}", self.name(), known.join(", "))))
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot<R>> {
        self.0.state.load_full()
    }

    pub(crate) fn mark(
        &self,
        mut touched: Vec<Touched>,
        meanwhile: Meanwhile,
    ) -> Result<(), Error> {
        self.expect_own("invalidate records of table")?;
        touched.retain(|touched| !touched.ranges.is_empty());
        if touched.is_empty() {
            return Err(unnamed(self.name(), "it names nothing; name ranges by an index, or keys"));
        }
        let can_load =
            |touched: &Touched| self.0.lanes.get(touched.place).is_some_and(|lane| lane.can_load());
        if !touched.iter().any(can_load) {
            return Err(unnamed(
                self.name(),
                "it names only indexes by which records cannot be loaded; name one with a loader, \
                 or give it one with `loads_by`",
            ));
        }
        // First that by which it is loaded again.
        touched.sort_by_key(|touched| !can_load(touched));
        let _publishing = self.0.publishing.lock();
        let now = self.snapshot();
        if now.window.is_none() && !self.is_loading() {
            return Err(self.unloaded(ErrorKind::Unavailable));
        }
        let mut next = Snapshot::clone(&now);
        next.mark(touched, meanwhile, None);
        self.leave_marked(&next, now.last);
        self.0.state.store(Arc::new(next));
        Ok(())
    }

    /// Publishes what `make` makes of what is there and `count` records that were loaded, with what
    /// a feed told of since `began` laid over it: made at first beside the lock, and under it only
    /// if something else was published meanwhile. What takes long is made where nobody else's task
    /// waits behind it.
    pub(crate) async fn publish<T: Send + 'static>(
        &self,
        began: Began,
        count: usize,
        make: impl Fn(&Self, &Snapshot<R>) -> Made<R, T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let before = self.snapshot();
        let make = Arc::new(make);
        let made = if count < MANY {
            make(self, &before)?
        } else {
            let (table, before, make) = (self.clone(), before.clone(), make.clone());
            let made = tokio::task::spawn_blocking(move || make(&table, &before)).await;
            made.map_err(|error| self.not_made(error))??
        };
        let recent = self.0.publishing.lock();
        let now = self.snapshot();
        let (mut next, result) = if Arc::ptr_eq(&now, &before) { made } else { make(self, &now)? };
        next.content = self.laid_over(&next, &recent.since(began))?;
        self.0.state.store(Arc::new(next));
        drop((recent, before));
        retire(now, count);
        self.0.publications.shown.send_replace(());
        Ok(result)
    }

    pub(crate) fn not_made(&self, error: JoinError) -> Error {
        not_made(self.name(), error)
    }

    /// The content with rows put in and taken out as a feed told of them, within the window.
    fn laid_over(
        &self,
        now: &Snapshot<R>,
        told: &[(R::Key, Option<Arc<R>>)],
    ) -> Result<Content<R>, Error> {
        let Some(window) = now.window.as_deref().filter(|_| !told.is_empty()) else {
            return Ok(now.content.clone());
        };
        let lane = self.lane(self.0.window.place);
        let old = told.iter().filter_map(|(key, _)| now.content.get(key).cloned());
        let old: Vec<Arc<R>> = old.collect();
        let new = told.iter().filter_map(|(_, row)| row.clone());
        let new = new.filter(|row| lane.holds(window, row));
        now.content.changed(old, new, &self.0.limits)
    }

    /// A load begins; it counts as under way until what is returned is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_, R, W> {
        UnderWay { table: self, began: self.0.publishing.lock().begin() }
    }

    /// A load begins, and the number of the last invalidation before it.
    pub(crate) fn begin_behind(&self) -> (UnderWay<'_, R, W>, u64) {
        let mut recent = self.0.publishing.lock();
        (UnderWay { table: self, began: recent.begin() }, self.snapshot().last)
    }

    /// Waits until this was told of everything that its origin shows now, by the feed or, where it
    /// is a replica, by its owner. Nothing where it follows neither.
    ///
    /// # Errors
    /// Those of the feed or the owner.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn catch_up(&self) -> Result<(), Error> {
        match self.0.followed.get() {
            Some(followed) => followed.catch_up().await,
            None => Ok(()),
        }
    }

    /// The same for whoever has loaded and is about to publish what that read.
    pub(crate) async fn catch_up_with_load(&self) -> Result<(), Error> {
        match Safeguard::CaughtUpBeforePublish.is_off() {
            true => Ok(()),
            false => self.catch_up().await,
        }
    }

    /// The life of the timeline that is followed, and how far it is confirmed.
    pub(crate) fn heard(&self) -> (Epoch, Position) {
        self.0.publishing.lock().confirmed()
    }

    /// Whether a feed tells of everything that a load can have seen, before that is published.
    pub(crate) fn is_told_by_feed(&self) -> bool {
        self.0.followed.get().is_some()
    }

    fn is_loading(&self) -> bool {
        *self.0.loaded.borrow() == Progress::Loading
    }

    /// Keeps the rows that a feed told of until they are visible, and marks what it named.
    pub(crate) fn apply(&self, position: Position, told: Told<R>) {
        let Told { rows, left, touched, everything, .. } = told;
        let mut recent = self.0.publishing.lock();
        recent.places.told(position);
        recent.left(position, left);
        for (key, row) in rows {
            recent.told(position, key, row);
        }
        if !everything && touched.is_empty() {
            return;
        }
        let mut next = Snapshot::clone(&self.snapshot());
        let (before, position) = (next.last, Some((recent.confirmed().0, position)));
        if everything {
            self.mark_all(&mut next, position);
        }
        for touched in touched {
            next.mark(vec![touched], Meanwhile::Refresh, position);
        }
        self.leave_marked(&next, before);
        self.0.state.store(Arc::new(next));
    }

    /// Marks everything, if anything was loaded.
    pub(crate) fn doubt_all(&self) {
        let _publishing = self.0.publishing.lock();
        let mut next = Snapshot::clone(&self.snapshot());
        if next.window.is_some() || self.is_loading() {
            self.mark_all(&mut next, None);
            self.0.flights.leave(|_, _| true);
            self.0.state.store(Arc::new(next));
        }
    }

    fn mark_all(&self, next: &mut Snapshot<R>, position: Option<(Epoch, Position)>) {
        let ranges: Arc<dyn AnyRanges> = Arc::new(Ranges::<W>::all());
        let touched = vec![Touched { place: self.0.window.place, ranges }];
        next.mark(touched, Meanwhile::Refresh, position);
    }

    /// What was told up to `position` is visible to loads that begin now: it is put into the table,
    /// whole commits at once.
    pub(crate) fn confirm(&self, position: Position) {
        let mut recent = self.0.publishing.lock();
        let before = recent.confirmed().1;
        let (told, left) = recent.confirm(position);
        self.leave_shown(before, recent.confirmed(), &told, &left);
        if !told.is_empty() {
            let mut next = Snapshot::clone(&self.snapshot());
            match self.laid_over(&next, &told) {
                Ok(content) => next.content = content,
                // There is no room for it, or a unique key stands twice, as long as the other
                // record that has it is in doubt: the next read says so.
                Err(_) if self.lane(PRIMARY).can_load() => {
                    let keys = told.into_iter().map(|(key, _)| key);
                    next.mark(vec![by_key(keys)], Meanwhile::Refresh, None);
                }
                Err(_) => self.mark_all(&mut next, None),
            }
            self.0.state.store(Arc::new(next.overtaken(|_| true)));
        }
        let confirmed = recent.confirmed();
        // Given back first: whoever waits for this looks at it under the lock of the watch.
        drop(recent);
        self.0.confirmed.send_replace(confirmed);
        self.0.publications.shown.send_replace(());
    }

    /// Nothing that was told before means anything: all is loaded again.
    pub(crate) fn restart(&self, epoch: Epoch, start: Position) {
        let mut recent = self.0.publishing.lock();
        recent.restart(epoch, start);
        let mut next = Snapshot::clone(&self.snapshot());
        // Positions of marks are of the old life, all of which is visible where a new one starts.
        next.marks = next.marks.iter().map(|mark| Arc::new(mark.without_position())).collect();
        if next.window.is_some() || self.is_loading() {
            self.mark_all(&mut next, None);
        }
        self.0.flights.leave(|_, _| true);
        self.0.state.store(Arc::new(next));
        drop(recent);
        self.0.confirmed.send_replace((epoch, start));
    }

    /// Nobody joins a load any more that may miss what was marked behind the number `before`.
    /// Called before the marks are published: whoever sees them finds no such load.
    fn leave_marked(&self, next: &Snapshot<R>, before: u64) {
        self.leave_touched(|mark| before < mark.number, &next.marks);
    }

    /// The same for what was told of and is shown now, and was not before.
    fn leave_shown(
        &self,
        before: Position,
        (epoch, confirmed): (Epoch, Position),
        told: &[(R::Key, Option<Arc<R>>)],
        left: &[Arc<R>],
    ) {
        if self.0.flights.is_empty() {
            return;
        }
        let is_shown = |mark: &Mark| {
            let shown = mark.position.filter(|(own, _)| *own == epoch);
            shown.is_some_and(|(_, position)| before < position && position <= confirmed)
        };
        self.leave_touched(is_shown, &self.snapshot().marks);
        let came = told.iter().filter_map(|(_, row)| row.as_ref());
        let rows: Vec<&Arc<R>> = came.chain(left).collect();
        self.0.flights.leave(|place, ranges| {
            let lane = self.lane(place);
            rows.iter().any(|row| lane.holds(ranges, row))
        });
    }

    fn leave_touched(&self, is_new: impl Fn(&Mark) -> bool, marks: &[Arc<Mark>]) {
        let new: Vec<&Arc<Mark>> = marks.iter().filter(|mark| is_new(mark)).collect();
        self.0.flights.leave(|place, ranges| {
            let is_many = self.lane(place).has_many();
            new.iter().any(|mark| is_many || mark.touches(place, ranges))
        });
    }

    /// Waits until loads that begin now see what the marks are of.
    ///
    /// # Errors
    /// `Timeout` when the origin does not show it in time; those of the feed.
    pub(crate) async fn until_visible(&self, marks: &[Arc<Mark>]) -> Result<(), Error> {
        let is_there = |(epoch, confirmed): &(Epoch, Position)| {
            let mut positions = marks.iter().filter_map(|mark| mark.position);
            // Of a life that has ended everything is visible.
            positions.all(|(own, position)| own != *epoch || position <= *confirmed)
        };
        let mut confirmed = self.0.confirmed.subscribe();
        if is_there(&confirmed.borrow()) || Safeguard::VisibleBeforeLoad.is_off() {
            return Ok(());
        }
        self.catch_up().await?;
        let waited = timeout(self.0.wait, confirmed.wait_for(is_there)).await;
        waited.map(drop).map_err(|_| {
            Error::new(ErrorKind::Timeout, "load records of table again")
                .subject(format!("`{}`", self.name()))
                .detail("the origin told of a change and did not show it to a load in time")
        })
    }

    pub(crate) fn expect_unfollowed(&self) -> Result<(), Error> {
        if self.0.followed.get().is_none() && *self.0.loaded.borrow() == Progress::NotYet {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "follow a feed with table")
            .subject(format!("`{}`", self.name()))
            .detail("it follows one already, or was loaded before; follow first, then load"))
    }

    pub(crate) fn set_followed(&self, followed: Followed) -> Result<(), Error> {
        // Who comes second stops his feed by dropping it.
        self.0.followed.set(followed).or_else(|_| self.expect_unfollowed())
    }
}

/// The records with these primary keys.
fn by_key<K: IndexKey>(keys: impl IntoIterator<Item = K>) -> Touched {
    Touched { place: PRIMARY, ranges: Arc::new(Ranges::only(keys)) }
}

/// A closure of the user's panicked, which goes on here; or the runtime is shut down.
#[cold]
pub(crate) fn not_made(table: &str, error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => Error::new(ErrorKind::Closed, "put records into table")
            .subject(format!("`{table}`"))
            .detail("the tokio runtime is shut down; nothing was changed"),
    }
}

/// A load that is under way.
pub(crate) struct UnderWay<'a, R: Record, W: IndexKey> {
    table: &'a Table<R, W>,
    pub(crate) began: Began,
}

impl<R: Record, W: IndexKey> Drop for UnderWay<'_, R, W> {
    fn drop(&mut self) {
        self.table.0.publishing.lock().end(self.began);
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Table<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).finish_non_exhaustive()
    }
}
