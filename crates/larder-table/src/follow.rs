//! Following: a table that hears of changes from a feed, and carries them out by itself.
//!
//! The feed speaks of rows of the origin's tables; rules say what they mean for the records here: a
//! row that *is* a record is put or removed as it was told, without asking the origin; a row from
//! which records are joined together names them by a key of some index, before and after.
//! **Invariant**: what no rule can say precisely puts everything in doubt, never nothing.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Clock, Error, ErrorKind, Invalidation as Recorded, Moment, Name, Position, Value,
    change::{Change, RowChange},
    dependency::{Atom, Dependency},
    feed::{Doubt, Feed, FeedSink, Mark},
    safeguard::Safeguard,
    store::Standing,
    timeline::{Epoch, Stamp},
};

use crate::{
    index::{Index, IndexKey},
    lane::AnyRanges,
    ranges::Ranges,
    record::Record,
    restore::Resuming,
    snapshot::Touched,
    table::{Inner, Table},
};

/// A row of the origin, as it was or as it is.
#[derive(Debug)]
pub struct Image<'a> {
    change: &'a RowChange,
    values: &'a [Value],
}

impl Image<'_> {
    /// The value of a column; `None` when the feed does not report it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        let columns = &self.change.columns;
        let place = columns.binary_search_by(|own| (**own).cmp(column)).ok()?;
        self.values.get(place)
    }

    /// The value of a column of whole numbers.
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.get(column)? {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The value of a column of numbers.
    pub fn real(&self, column: &str) -> Option<f64> {
        match self.get(column)? {
            Value::Real(real) => Some(*real),
            #[expect(clippy::cast_precision_loss, reason = "a number of a column of reals")]
            Value::Integer(integer) => Some(*integer as f64),
            _ => None,
        }
    }

    /// The value of a column of text.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

type Touches = Box<dyn Fn(&Image<'_>) -> Option<Arc<dyn AnyRanges>> + Send + Sync>;
type MakesRecord<R> = Box<dyn Fn(&Image<'_>) -> Option<R> + Send + Sync>;

/// An index, whatever its keys are.
#[derive(Clone, Copy)]
struct Place {
    place: usize,
    /// Which definition it belongs to.
    of: u64,
}

/// What rows of one table of the origin mean.
enum Rule<R> {
    /// They are the records.
    Are(MakesRecord<R>),
    /// They touch records by an index.
    Touch(Place, Touches),
    /// Nobody can say which records they go into.
    Doubt,
}

/// Who sees to it that every change of the tables that rules speak of is told.
#[derive(Clone, Debug)]
enum Hearing {
    /// The feed: it watches each of them wholly, or the table is not loaded.
    Expected,
    /// The origin, which knows what was read of them, and has the feed tell what is not watched.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only that origin does"))]
    OfOrigin {
        /// By this name the feed tells of everything that is not watched.
        unwatched: Arc<str>,
        /// Whether a load has read some of that.
        is_read: Arc<AtomicBool>,
    },
}

/// What the changes that a feed tells of mean for a table.
pub struct Rules<R: Record> {
    rules: Vec<(Arc<str>, Rule<R>)>,
    max_staleness: Duration,
    hearing: Hearing,
    reads_unwatched: Option<ReadsUnwatched>,
    /// Each rule in words, by which a file is known to have followed the same ones.
    said: Vec<Arc<str>>,
}

/// Finds out, once the feed has started, whether the records are of something that it does not
/// watch: what became of that while nobody followed it is told by nobody.
pub(crate) type ReadsUnwatched = Arc<dyn Fn() -> bool + Send + Sync>;

/// How a feed is started.
pub(crate) enum Starting<'a> {
    /// For a table that knows nothing.
    Anew,
    /// For one that may go on from there.
    From(&'a Standing, Arc<Resuming>),
}

/// How old a table's knowledge of its origin may be, unless said otherwise.
const MAX_STALENESS: Duration = Duration::from_secs(1);

impl<R: Record> Default for Rules<R> {
    fn default() -> Self {
        let hearing = Hearing::Expected;
        let (rules, said, max_staleness) = (Vec::new(), Vec::new(), MAX_STALENESS);
        Self { rules, max_staleness, hearing, reads_unwatched: None, said }
    }
}

impl<R: Record> Rules<R> {
    /// No rules: nothing that a feed tells means anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Each row of `table` is a record, and what `record` makes of it is put in its place without
    /// asking the origin. `None` says that it cannot be told from the row: then everything is in
    /// doubt.
    ///
    /// The feed must tell of each row what it was and is, in that order. That of SQLite does not
    /// where somebody writes with `OR IGNORE`, `ON CONFLICT .. DO NOTHING` or `DO UPDATE .. WHERE`
    /// (the row that was in the way and stays is told as one that went), or where a trigger or a
    /// foreign key changes the row that is being written once more (the changes may come in
    /// reverse). There say [`Rules::touches`] with the primary key, which asks the origin.
    #[must_use]
    pub fn records(
        self,
        table: impl Into<Arc<str>>,
        record: impl Fn(&Image<'_>) -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        self.with(table.into(), Rule::Are(Box::new(record)), "are the records")
    }

    fn with(mut self, table: Arc<str>, rule: Rule<R>, said: &str) -> Self {
        self.said.push(format!("{table}: {said}").into());
        self.rules.push((table, rule));
        self
    }

    /// A row of `table` goes into the records with this key of `index`: of its parent by its own
    /// foreign key, of its children by the primary key they refer to. Records are touched under the
    /// key of the row as it was and as it is. `None` says that it cannot be told.
    #[must_use]
    pub fn touches<K: IndexKey>(
        self,
        table: impl Into<Arc<str>>,
        index: &Index<R, K>,
        key: impl Fn(&Image<'_>) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        let ranges = move |image: &Image<'_>| -> Option<Arc<dyn AnyRanges>> {
            Some(Arc::new(Ranges::only([key(image)?])))
        };
        let place = Place { place: index.place, of: index.of };
        let said = format!("touch `{}`", index.name());
        self.with(table.into(), Rule::Touch(place, Box::new(ranges)), &said)
    }

    /// A row of `table` goes into records, and nobody can say which: every change of it puts
    /// everything in doubt.
    #[must_use]
    pub fn doubts(self, table: impl Into<Arc<str>>) -> Self {
        self.with(table.into(), Rule::Doubt, "are in doubt")
    }

    /// As [`Rules::touches`] with the keys in some ranges, which `by` tells of.
    #[cfg(feature = "sqlite")]
    pub(crate) fn touches_within<K: IndexKey>(
        self,
        table: Arc<str>,
        index: &Index<R, K>,
        by: &str,
        ranges: impl Fn(&Image<'_>) -> Option<Ranges<K>> + Send + Sync + 'static,
    ) -> Self {
        let ranges = move |image: &Image<'_>| -> Option<Arc<dyn AnyRanges>> {
            Some(Arc::new(ranges(image)?))
        };
        let place = Place { place: index.place, of: index.of };
        let said = format!("touch `{}` by {by}", index.name());
        self.with(table, Rule::Touch(place, Box::new(ranges)), &said)
    }

    /// Says that loads see to it that the feed tells of every change of what they read: of what is
    /// not watched by the name `unwatched`, which means something once `is_read` is set.
    #[cfg(feature = "sqlite")]
    pub(crate) fn heard_by_origin(mut self, unwatched: Arc<str>, is_read: Arc<AtomicBool>) -> Self {
        self.hearing = Hearing::OfOrigin { unwatched, is_read };
        self
    }

    /// Says how to find out whether the records are of something that the feed does not watch.
    #[cfg(feature = "sqlite")]
    pub(crate) fn finding_out(mut self, reads_unwatched: ReadsUnwatched) -> Self {
        self.reads_unwatched = Some(reads_unwatched);
        self
    }

    pub(crate) fn reads_unwatched(&self) -> Option<ReadsUnwatched> {
        self.reads_unwatched.clone()
    }

    /// Each rule in words.
    pub(crate) fn said(&self) -> &[Arc<str>] {
        &self.said
    }

    /// Whether a rule speaks of this table.
    #[cfg(feature = "sqlite")]
    pub(crate) fn speak_of(&self, table: &str) -> bool {
        self.rules.iter().any(|(own, _)| **own == *table)
    }

    /// How old the knowledge of the origin may be for a read; beyond it the feed is asked first.
    /// One second without this.
    #[must_use]
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }
}

impl<R: Record> fmt::Debug for Rules<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&str> = self.rules.iter().map(|(table, _)| &**table).collect();
        f.debug_struct("Rules").field("tables", &tables).finish_non_exhaustive()
    }
}

/// The feed that a table follows.
pub(crate) struct Followed {
    feed: Arc<dyn Feed>,
    /// Those that the rules speak of.
    tables: Vec<Arc<str>>,
    said: Vec<Arc<str>>,
    hearing: Hearing,
    proven: Arc<AtomicU64>,
    clock: Clock,
    max_staleness: Duration,
}

impl Followed {
    pub(crate) fn timeline(&self) -> &Name {
        self.feed.timeline()
    }

    /// Each of the rules in words.
    pub(crate) fn said(&self) -> &[Arc<str>] {
        &self.said
    }

    /// Every row that the rules speak of.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = Dependency> {
        let all = |table: &Arc<str>| Dependency::table(self.timeline().clone(), table.clone());
        self.tables.iter().map(all)
    }

    /// What the feed touches when something changed that it does not watch, where the origin sees
    /// to that.
    pub(crate) fn unwatched(&self) -> Option<Dependency> {
        match &self.hearing {
            Hearing::Expected => None,
            Hearing::OfOrigin { unwatched, .. } => {
                Some(Dependency::table(self.timeline().clone(), unwatched.clone()))
            }
        }
    }

    /// Asks the feed, unless what is known of the origin is young enough.
    pub(crate) async fn prove(&self) -> Result<(), Error> {
        let proven = Moment::from_micros(self.proven.load(Ordering::Acquire));
        match self.clock.reached(proven.plus(self.max_staleness), self.clock.coarse()) {
            true => self.catch_up().await,
            false => Ok(()),
        }
    }

    /// Asks the feed.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        self.feed.catch_up().await
    }
}

/// Not on this thread: it may be the feed's own, if that had the last handle on the table.
impl Drop for Followed {
    fn drop(&mut self) {
        let feed = self.feed.clone();
        std::thread::spawn(move || feed.stop());
    }
}

/// What changes of the origin mean here.
pub(crate) struct Meaning<R: Record> {
    rules: Vec<(Arc<str>, Rule<R>)>,
    hearing: Hearing,
}

/// Where the feed delivers.
struct Sink<R: Record, W: IndexKey> {
    table: Weak<Inner<R, W>>,
    meaning: Arc<Meaning<R>>,
    proven: Arc<AtomicU64>,
    /// While the table may go on with what an earlier one saved.
    resuming: Option<Arc<Resuming>>,
}

/// What a batch of changes comes to.
pub(crate) struct Told<R: Record> {
    /// The last state of each record that was told of.
    pub(crate) rows: Vec<(R::Key, Option<Arc<R>>)>,
    /// Each record as it was before.
    pub(crate) left: Vec<Arc<R>>,
    pub(crate) touched: Vec<Touched>,
    /// Everything is in doubt.
    pub(crate) everything: bool,
}

impl<R: Record> Default for Told<R> {
    fn default() -> Self {
        let (rows, left, touched) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, left, touched, everything: false }
    }
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Follows `feed`, by `rules`, for as long as there is a handle on this table. To be called
    /// before [`Table::load`], so that nothing that happens meanwhile is missed. `clock` is the one
    /// that the feed has: how old its knowledge is cannot be said by another.
    ///
    /// # Errors
    /// `Conflict` when the table follows a feed or is loaded; those of the feed.
    pub fn follow(&self, feed: Arc<dyn Feed>, rules: Rules<R>, clock: Clock) -> Result<(), Error> {
        self.expect_unfollowed()?;
        self.check_rules(&rules)?;
        self.start(feed, rules, clock, Starting::Anew).map(drop)
    }

    /// Fails unless the rules are of this table.
    pub(crate) fn check_rules(&self, rules: &Rules<R>) -> Result<(), Error> {
        rules.rules.iter().try_for_each(|(_, rule)| self.check(rule))
    }

    pub(crate) fn start(
        &self,
        feed: Arc<dyn Feed>,
        rules: Rules<R>,
        clock: Clock,
        starting: Starting<'_>,
    ) -> Result<Arc<Meaning<R>>, Error> {
        let Rules { rules, max_staleness, hearing, said, .. } = rules;
        let tables: Vec<Arc<str>> = rules.iter().map(|(table, _)| table.clone()).collect();
        let proven = Arc::new(AtomicU64::new(Moment::EARLIEST.as_micros()));
        let (left, resuming) = match starting {
            Starting::Anew => (None, None),
            Starting::From(left, resuming) => (Some(left), Some(resuming)),
        };
        let meaning = Arc::new(Meaning { rules, hearing: hearing.clone() });
        let (table, own, heard) = (Arc::downgrade(&self.0), meaning.clone(), proven.clone());
        let sink = Arc::new(Sink { table, meaning: own, proven: heard, resuming });
        match left {
            None => feed.start(sink)?,
            Some(left) => feed.start_from(sink, left)?,
        }
        self.set_followed(Followed { feed, tables, said, hearing, proven, clock, max_staleness })?;
        Ok(meaning)
    }

    /// Fails when there are changes that a rule speaks of and the feed does not tell.
    pub(crate) fn expect_heard(&self) -> Result<(), Error> {
        let Some(Followed { feed, tables, hearing: Hearing::Expected, .. }) = self.0.followed.get()
        else {
            return Ok(());
        };
        let timeline = feed.timeline();
        let whole = |table: &&Arc<str>| {
            let whole = Dependency::table(timeline.clone(), (*table).clone());
            self.companion(&whole).is_some()
        };
        match tables.iter().find(whole) {
            None => Ok(()),
            Some(table) => Err(self.refuse_rule(format!(
                "the feed of `{timeline}` does not tell of every change of the table `{table}`; \
                 track it, or mend its name"
            ))),
        }
    }

    /// What has to be depended on besides `dependency` for the feed to tell of every change of it.
    /// Nothing where the origin sees to that: the feed would touch what is not watched at every
    /// commit from then on.
    pub(crate) fn companion(&self, dependency: &Dependency) -> Option<Dependency> {
        let Followed { feed, hearing: Hearing::Expected, .. } = self.0.followed.get()? else {
            return None;
        };
        let timeline = feed.timeline().clone();
        if timeline != *dependency.timeline() {
            return None;
        }
        let (epoch, as_of) = self.heard();
        feed.companion(dependency, &Stamp { timeline, epoch, as_of })
    }

    fn check(&self, rule: &Rule<R>) -> Result<(), Error> {
        let Rule::Touch(place, _) = rule else { return Ok(()) };
        if place.of != self.0.window.of {
            return Err(self.refuse_rule("a rule names an index of another table".into()));
        }
        let lane = self.lane(place.place);
        if lane.can_load() {
            return Ok(());
        }
        Err(self.refuse_rule(format!(
            "a rule touches records by the index `{}`, by which they cannot be loaded again; say \
             how with `loads_by`",
            lane.name()
        )))
    }

    #[cold]
    fn refuse_rule(&self, detail: String) -> Error {
        Error::new(ErrorKind::Config, "follow a feed with table")
            .subject(format!("`{}`", self.name()))
            .detail(detail)
    }
}

impl<R: Record> Meaning<R> {
    /// What the rules make of `changes`.
    pub(crate) fn told(&self, changes: &[Change]) -> Told<R> {
        let mut told = Told::default();
        for change in changes {
            told.everything |= match change {
                Change::Row(row) => {
                    let rules = self.rules.iter().filter(|(table, _)| *table == row.table);
                    // All of them, and not only up to the first that cannot tell.
                    rules
                        .fold(false, |lost, (_, rule)| tell(rule, row, &mut told).is_none() || lost)
                }
                // Whoever does not know how a row was cannot say which records it was in.
                Change::After(after) => self.speaks_of(&after.row.table),
                Change::Touch(named) => self.names_rows(named),
            };
        }
        told.everything &= !Safeguard::UnsaidWidened.is_off();
        told
    }

    /// Whether a rule speaks of this table.
    fn speaks_of(&self, table: &str) -> bool {
        self.rules.iter().any(|(own, _)| **own == *table)
    }

    /// Whether this is the name of what is not watched, and some of that was read.
    fn has_read_unwatched(&self, table: &str) -> bool {
        match &self.hearing {
            Hearing::Expected => false,
            Hearing::OfOrigin { unwatched, is_read } => {
                **unwatched == *table && is_read.load(Ordering::SeqCst)
            }
        }
    }

    /// Whether what is touched by name may be rows that a rule speaks of.
    fn names_rows(&self, named: &Dependency) -> bool {
        match named.atom() {
            Atom::Everything => true,
            Atom::Table(table) | Atom::Id { table, .. } | Atom::Scope { table, .. } => {
                self.speaks_of(table) || self.has_read_unwatched(table)
            }
            Atom::Tag { .. } => false,
        }
    }
}

impl<R: Record, W: IndexKey> Sink<R, W> {
    fn table(&self) -> Option<Table<R, W>> {
        self.table.upgrade().map(Table)
    }
}

/// Adds what a change means by one rule; `None` when that cannot be told.
fn tell<R: Record>(rule: &Rule<R>, change: &RowChange, told: &mut Told<R>) -> Option<()> {
    let images = [&change.old, &change.new];
    if images.iter().all(|values| values.is_none()) {
        return None;
    }
    match rule {
        Rule::Doubt => return None,
        Rule::Are(record) => {
            // Both before either is told: half of a change is worse than none.
            let [old, new] = images.map(|values| match values {
                Some(values) => record(&Image { change, values }).map(Some),
                None => Some(None),
            });
            let (old, new) = (old?, new?);
            told.rows.extend(old.iter().map(|old| (old.key(), None)));
            told.left.extend(old.map(Arc::new));
            told.rows.extend(new.map(|new| (new.key(), Some(Arc::new(new)))));
        }
        Rule::Touch(Place { place, .. }, ranges) => {
            for values in images.into_iter().flatten() {
                let ranges = ranges(&Image { change, values })?;
                if ranges.is_empty() {
                    continue;
                }
                match told.touched.iter_mut().find(|touched| touched.place == *place) {
                    Some(touched) => touched.ranges = touched.ranges.union(&*ranges),
                    None => told.touched.push(Touched { place: *place, ranges }),
                }
            }
        }
    }
    Some(())
}

impl<R: Record, W: IndexKey> FeedSink for Sink<R, W> {
    fn received(&self, _timeline: &str, position: Position, changes: &[Change]) {
        let Some(table) = self.table() else { return };
        table.apply(position, self.meaning.told(changes));
    }

    fn confirmed(&self, _timeline: &str, position: Position, moment: Moment) {
        let Some(table) = self.table() else { return };
        table.confirm(position);
        self.proven.fetch_max(moment.as_micros(), Ordering::AcqRel);
    }

    fn restarted(&self, _timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        if let Some(resuming) = &self.resuming {
            resuming.doubted(doubt);
        }
        if let Some(table) = self.table() {
            table.restart(epoch, start);
        }
    }

    fn marking(&self, _timeline: &str, mark: Option<Mark>) {
        if let Some(table) = self.table() {
            table.0.publishing.lock().places.marking(mark);
        }
    }

    fn resumed(&self, _timeline: &str, epoch: Epoch, position: Position) {
        let Some(table) = self.table() else { return };
        let goes_on = |own: &Arc<Resuming>| own.resumed(|| table.resume(epoch, position));
        if !self.resuming.as_ref().is_some_and(goes_on) {
            table.restart(epoch, position);
        }
    }

    fn recorded(&self, timeline: &str, recorded: &Recorded) {
        let mut own = recorded.dependencies().iter().filter(|one| **one.timeline() == *timeline);
        if let Some(table) = self.table().filter(|_| own.any(|one| self.meaning.names_rows(one))) {
            table.doubt_all();
        }
    }

    fn records_lost(&self, _timeline: &str, _doubt: Doubt) {
        if let Some(table) = self.table() {
            table.doubt_all();
        }
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Sink<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
