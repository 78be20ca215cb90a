//! Restore: a table that begins with what an earlier one saved, if that can be proven.
//!
//! Apart from `save`, which writes it, and from `follow`, which knows of feeds that begin anew.
//! **Invariant**: records of a file are shown only together with everything that the feed has told
//! since the position at which they were whole, without a gap.
//!
//! # Implementation notes
//!
//! What was read from the file is an answer like any other: of a load that began where the file
//! stands. So what is told meanwhile is laid over it as over any load:
//!
//! 1. The file is read, whole and checked, before the feed is started.
//! 2. The feed is started at the mark of the file. Its first word decides: `resumed` says that all
//!    since is told, and in the same lock a load begins at that position (`Resuming`). Anything
//!    else is a new life, for which the file says nothing.
//! 3. It tells what changed since. Rows are kept for the load that began in 2, what is touched is
//!    marked; nobody reads, for the table is being loaded.
//! 4. It is asked once more, and then the records are published with what is told of them.
//!
//! Were the load begun after 2, what is told between the two would be shown to a table that has no
//! window yet, and forgotten: the records would be published as they were before it.
//!
//! *A feed that somebody else started* (a branch of a [`larder_core::fork::Fork`]) goes on with no
//! life of ours. Then the load begins where it stands, and *after that* it is asked what it has
//! told others since the mark ([`Feed::told_since`]): what it names is done to the records before
//! they are published, what is told from the beginning of the load on is laid over them. Asked
//! before, what is told between the two would be in neither.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{
    Clock, Epoch, Error, ErrorKind, Key, Position,
    feed::{Doubt, Feed},
    store::Standing,
};

use crate::{
    adjust::Adjusted,
    blocks::READ,
    codec::Codec,
    follow::{Meaning, Rules, Starting, Told},
    index::IndexKey,
    kept::{self, Described, Head},
    lane::{AnyRanges, typed},
    origin::Fill,
    ranges::Ranges,
    recent::Began,
    record::Record,
    snapshot::{Meanwhile, Snapshot},
    sync::Mutex,
    table::{Inner, Progress, Table, UnderWay},
};

/// What became of a file.
#[derive(Clone, Debug)]
pub enum Restored {
    /// The table is loaded with so many records, and what changed since they were saved.
    Whole(usize),
    /// The table follows its feed and is empty: it is to be loaded.
    Lost(Lost),
}

/// Why a file was of no use.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Lost {
    /// It cannot be used by itself: `NotFound` when there is none, `Corrupt` when it is not as it
    /// was written, `Unsupported` when another version wrote it, `Config` when a table of another
    /// definition did, `Limit` or `Conflict` when its records are refused.
    File(Error),
    /// The feed does not go on from there.
    Anew(Doubt),
    /// It does, and what it has told since puts everything in doubt.
    InDoubt,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Anew(doubt) => write!(f, "the feed begins anew: {doubt}"),
            Self::InDoubt => f.write_str("what happened since puts everything in doubt"),
        }
    }
}

/// What the feed has said of the life that is to go on.
#[derive(Debug, Default)]
pub(crate) struct Resuming(Mutex<Said>);

/// LOCKS: above that under which a table publishes.
#[derive(Debug, Default)]
struct Said {
    began: Option<Began>,
    doubt: Option<Doubt>,
    /// Nobody waits for it any more.
    is_over: bool,
}

impl Resuming {
    /// The life goes on; `begin` begins the load whose answer is the file. Whether somebody still
    /// waits for it.
    pub(crate) fn resumed(&self, begin: impl FnOnce() -> Began) -> bool {
        let mut said = self.0.lock();
        if !said.is_over {
            said.began = Some(begin());
        }
        !said.is_over
    }

    pub(crate) fn doubted(&self, doubt: Doubt) {
        self.0.lock().doubt = Some(doubt);
    }
}

/// However a restore ends, the load that began with it does, too.
struct Awaited<'a, R: Record, W: IndexKey> {
    table: &'a Table<R, W>,
    resuming: Arc<Resuming>,
}

impl<R: Record, W: IndexKey> Drop for Awaited<'_, R, W> {
    fn drop(&mut self) {
        let mut said = self.resuming.0.lock();
        said.is_over = true;
        let Inner { publishing, state, .. } = &*self.table.0;
        let mut recent = publishing.lock();
        if let Some(began) = said.began.take() {
            recent.end(began);
        }
        let now = state.load_full();
        if now.window.is_none() {
            // Nothing is there that they could be of, and the load to come begins after them.
            state.store(Arc::new(Snapshot { marks: Vec::new(), ..Snapshot::clone(&now) }));
        }
    }
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// The life `epoch` goes on, and the load begins whose answer the file is.
    ///
    /// In one step: nothing can be told between the two.
    pub(crate) fn resume(&self, epoch: Epoch, position: Position) -> Began {
        let mut recent = self.0.publishing.lock();
        recent.restart(epoch, position);
        let began = recent.begin();
        drop(recent);
        self.0.confirmed.send_replace((epoch, position));
        began
    }
}

/// What has happened since a file was written.
struct Since<'a, R: Record, W: IndexKey> {
    /// Where the load began whose answer the file is, with what was told before that done to it.
    began: Began,
    under_way: Option<UnderWay<'a, R, W>>,
    /// The last invalidation that this answers.
    last: u64,
    told: Told<R>,
}

/// What was read from a file.
struct Read<R, W> {
    head: Head<W>,
    records: Vec<Arc<R>>,
}

impl<R: Record, W: IndexKey + Key> Table<R, W> {
    /// Follows `feed`, by `rules`, as [`Table::follow`] does, and begins with what
    /// [`Table::save`] wrote to `path`, if that can be proven: the feed must go on from where it
    /// stood. Then nothing is loaded, and what changed since is applied as it is told.
    ///
    /// The window is the one that was saved. Observers are told of its records as loaded ones.
    ///
    /// # Freshness
    /// As after a load that ended when this does. What was invalidated by hand after the save is as
    /// it was: see [`Table::save`].
    ///
    /// # Errors
    /// None because of the file: [`Restored::Lost`] says what is wrong with it. `Conflict` when
    /// the table follows a feed or is loaded; `Config` when the rules are not of this table, or the
    /// feed does not tell of a table that they speak of; those of the feed. If the feed was started
    /// the table follows it and is to be loaded.
    ///
    /// # Panics
    /// If an observer panics; the table is loaded then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the table is empty; it may follow the feed, and can be loaded then.
    ///
    /// # Cost
    /// Reads the file once, on a thread where it may wait, and orders the records by each index.
    pub async fn restore(
        &self,
        path: impl AsRef<Path>,
        codec: &Codec<R>,
        feed: Arc<dyn Feed>,
        rules: Rules<R>,
        clock: Clock,
    ) -> Result<Restored, Error> {
        self.expect_unfollowed()?;
        self.check_rules(&rules)?;
        let mut loading = self.begin_loading()?;
        let _turn = self.0.turn.lock().await;
        let described = self.described(feed.timeline(), rules.said(), codec);
        let awaited = Awaited { table: self, resuming: Arc::default() };
        let read = self.read_kept(path.as_ref().to_owned(), described, codec.clone()).await;
        let Read { head, records } = match read {
            Ok(read) => read,
            Err(error) => {
                self.start(feed, rules, clock, Starting::Anew)?;
                return Ok(Restored::Lost(Lost::File(error)));
            }
        };
        let (position, mark) = (head.position, Some(head.mark.clone()));
        let timeline = feed.timeline().clone();
        // A life of this table: another may have begun from the same file and gone another way.
        let left = Standing { timeline, epoch: Epoch::random(), position, floor: position, mark };
        let reads_unwatched = rules.reads_unwatched();
        let starting = Starting::From(&left, awaited.resuming.clone());
        let meaning = self.start(feed.clone(), rules, clock, starting)?;
        self.catch_up().await?;
        self.expect_heard()?;
        let since = match self.resumed(&awaited.resuming) {
            Ok(began) => Ok(Since { began, under_way: None, last: 0, told: Told::default() }),
            Err(Lost::Anew(doubt)) => self.missed(&*feed, &head.mark, &meaning, doubt).await?,
            Err(lost) => Err(lost),
        };
        let since = match since {
            Ok(_) if reads_unwatched.is_some_and(|reads| reads()) => Err(Lost::InDoubt),
            since => since,
        };
        let records = match since {
            Ok(since) => self.publish_read(since, head.window, records).await.map_err(Lost::File),
            Err(lost) => Err(lost),
        };
        let records = match records {
            Ok(records) => records,
            Err(lost) => return Ok(Restored::Lost(lost)),
        };
        loading.ended = Progress::Done;
        drop((awaited, loading));
        let count = records.len();
        self.tell_observers(&Adjusted { loaded: records, expired: Vec::new(), refreshed: 0 });
        Ok(Restored::Whole(count))
    }

    /// Where the load began whose answer the file is, if it is one.
    fn resumed(&self, resuming: &Resuming) -> Result<Began, Lost> {
        let said = resuming.0.lock();
        let (began, doubt) = (said.began, said.doubt.unwrap_or(Doubt::Started));
        let epoch = self.heard().0;
        let began = began.filter(|began| began.is_in(epoch)).ok_or(Lost::Anew(doubt))?;
        if self.is_all_in_doubt(0) { Err(Lost::InDoubt) } else { Ok(began) }
    }

    /// What a feed that others started has told them since the file was written.
    async fn missed(
        &self,
        feed: &dyn Feed,
        mark: &[u8],
        meaning: &Meaning<R>,
        doubt: Doubt,
    ) -> Result<Result<Since<'_, R, W>, Lost>, Error> {
        let (under_way, last) = self.begin_behind();
        let Some(changes) = feed.told_since(mark).await? else {
            return Ok(Err(Lost::Anew(doubt)));
        };
        let told = meaning.told(self, &changes);
        if told.everything || self.is_all_in_doubt(last) {
            return Ok(Err(Lost::InDoubt));
        }
        Ok(Ok(Since { began: under_way.began, under_way: Some(under_way), last, told }))
    }

    /// Whether everything was put in doubt behind the invalidation of that number.
    fn is_all_in_doubt(&self, last: u64) -> bool {
        let place = self.0.window.place;
        let is_all = |ranges: &dyn AnyRanges| typed::<W>(ranges).is_all();
        let snapshot = self.snapshot();
        let marks = snapshot.marks.iter().filter(|mark| last < mark.number);
        let mut touched = marks.flat_map(|mark| &mark.touched);
        touched.any(|touched| touched.place == place && is_all(&*touched.ranges))
    }

    /// Publishes what was read, with what happened since; the records that those are.
    async fn publish_read(
        &self,
        since: Since<'_, R, W>,
        window: Ranges<W>,
        mut records: Vec<Arc<R>>,
    ) -> Result<Vec<Arc<R>>, Error> {
        let Since { began, under_way: _under_way, last, told } = since;
        if !told.rows.is_empty() {
            let rows: BTreeMap<R::Key, Option<Arc<R>>> = told.rows.into_iter().collect();
            let lane = self.lane(self.0.window.place);
            records.retain(|record| !rows.contains_key(&record.key()));
            let came = rows.into_values().flatten();
            records.extend(came.filter(|record| lane.holds(&window, record)));
            records.sort_by(|a, b| a.order(b));
        }
        let (window, count): (Arc<dyn AnyRanges>, _) = (Arc::new(window), records.len());
        let (own, touched) = (records.clone(), told.touched);
        let make = move |table: &Self, now: &Snapshot<R>| {
            let content = now.content.filled(&own, &table.0.limits)?;
            let mut marked = now.clone();
            // What came before the load began is done to the records, or named anew below.
            marked.marks.retain(|mark| last < mark.number);
            for touched in &touched {
                marked.mark(vec![touched.clone()], Meanwhile::Refresh, None);
            }
            // Rows that were told of are laid over it, and are newer than what is still marked.
            let marked = marked.overtaken(|_| true);
            Ok((Snapshot { content, window: Some(window.clone()), ..marked }, ()))
        };
        self.publish(began, count, make).await?;
        Ok(records)
    }

    /// Reads the file on a thread where that may wait.
    async fn read_kept(
        &self,
        path: PathBuf,
        described: Described,
        codec: Codec<R>,
    ) -> Result<Read<R, W>, Error> {
        let (table, shown) = (self.clone(), path.display().to_string());
        let read = move || {
            let cannot = |error: io::Error| {
                let kind = match error.kind() {
                    io::ErrorKind::NotFound => ErrorKind::NotFound,
                    _ => ErrorKind::Unavailable,
                };
                Error::new(kind, READ).source(error)
            };
            let file = File::open(path).map_err(cannot)?;
            let length = file.metadata().map_err(cannot)?.len();
            let fill = Fill::new(table.0.limits.clone());
            let lane = table.lane(table.0.window.place);
            let put = |head: &Head<W>, record: R| match lane.holds(&head.window, &record) {
                true => fill.put(record),
                false => Err(Error::new(ErrorKind::Config, READ).detail(
                    "a record in it is not in its window: keys are made in another way than when \
                     it was written; give the codec another version",
                )),
            };
            let input = BufReader::with_capacity(BUFFER_BYTES, file);
            let head = kept::read(input, length, &described, &codec, put)?;
            Ok(Read { head, records: fill.finish()? })
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read: Result<_, Error> = read.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(ErrorKind::Closed, READ)),
        });
        read.map_err(|error| error.subject(format!("`{}` at {shown}", self.name())))
    }
}

/// What is asked of the file at once.
const BUFFER_BYTES: usize = 64 << 10;
