//! The watcher: one connection that is asked "has anybody committed?", and what follows from it.
//!
//! It decides; `feed` gives it a thread and a lock. **Invariant**: a moment is confirmed only when
//! the database answered after it; whatever cannot be asked is not confirmed, and a connection that
//! was opened anew begins a new life of the timeline, because its numbers mean nothing to the old.
//!
//! How it is asked depends on the journal:
//!
//! - **WAL**: `PRAGMA data_version`, 2-5 us, takes no lock that stops a writer. A commit is visible
//!   to every later load exactly when it moves the number.
//! - **Rollback journal**: asking SQLite takes the shared lock from the application each time, so
//!   only the header is looked at until it moves. What a moved header means is uncertain:
//!   1. A writer has written page 1 with its new counter and not yet deleted its journal. The
//!      header has moved, the commit is not visible, and a load of the old rows can not begin (the
//!      writer holds the file), but one that began before may still end.
//!   2. The watcher sees the counter move: everything counts as touched, nothing is confirmed.
//!   3. The writer dies. The next connection that may write finds the journal and rolls back: the
//!      counter is what it was before 1.
//!   4. Another writer commits: the counter is what it was in 2, with other rows. Whoever had taken
//!      2 for a commit would see no difference now.
//!
//!   So after 2 the watcher is *unsettled* until it has read under a lock of its own, which no
//!   writer's exclusive lock and no hot journal allows; only that header is compared with later.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use larder_core::{
    Change, Clock, Dependency, Epoch, Error, ErrorKind, Moment, Position,
    feed::{Doubt, FeedSink},
    safeguard::Safeguard,
};
use rusqlite::Connection;

use crate::{
    connection::{self, Opened, data_version, in_snapshot, schema_version},
    error::is_busy,
    header::Header,
    identity::Identity,
    knowledge::{Coverage, Knowledge, UNWATCHED},
    log::{self, Cursor},
    origin::Track,
    track::tracked::{Absent, Tracked},
    watcher::{
        followed::{Followed, Passed},
        resume::{Left, Place},
    },
};

pub(crate) mod followed;
mod resume;

/// Rows of the log read at once. A load beside the changes is measured against the end of a batch,
/// so a larger one costs precision, a smaller one more calls.
const BATCH: usize = 512;

/// Batches delivered one by one; a larger backlog is answered by forgetting everything, which takes
/// no longer however long it is.
const BATCHES_MAX: usize = 64;

/// How long the watcher itself waits for a lock. It is asked again soon, so: hardly.
const BUSY: Duration = Duration::from_millis(1);

/// How long nothing is asked after a panic. What panics is likely to do so again, and each time
/// everything is a miss: at a tenth that would be most of what the origin does, at ten times as
/// much nothing would be known for longer than `max_staleness` usually is.
const PAUSE_AFTER_PANIC: Duration = Duration::from_millis(250);

/// Watches one database.
#[derive(Debug)]
pub(crate) struct Watcher {
    path: PathBuf,
    clock: Clock,
    track: Track,
    knowledge: Arc<Knowledge>,
    sink: Option<Arc<dyn FeedSink>>,
    connected: Option<Connected>,
    /// The file that was watched last, to tell a replaced one from one that could not be asked.
    last_file: Option<Identity>,
    followed: Followed,
    /// Where an earlier watcher left, until this one has connected.
    left: Option<Left>,
    /// What the next mark is made of, besides how far the outbox was followed.
    place: Option<Place>,
    position: Position,
    /// Everything that was visible before this is known.
    confirmed: Moment,
    /// When it panicked, until it has begun a new life of the timeline.
    panicked: Option<Moment>,
}

#[derive(Debug)]
struct Connected {
    opened: Opened,
    /// The header under a lock of ours, and nothing has moved since.
    settled: Option<Header>,
    /// The header as it was seen last, under a lock or not.
    seen: Option<Header>,
    data_version: i64,
    schema_version: i64,
    cursor: Option<Cursor>,
}

/// Where a new life of the timeline begins.
struct Start {
    look: Look,
    coverage: Coverage,
    cursor: Option<Cursor>,
    left: Option<Left>,
    passed: Passed,
    followed: Followed,
}

/// What one read transaction of the watcher found.
struct Look {
    header: Option<Header>,
    data_version: i64,
    schema_version: i64,
}

/// Why a probe ended early.
enum Stop {
    Driver(rusqlite::Error),
    Error(Error),
    /// Continuity is lost: connect again and say why.
    Doubt(Doubt),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Driver(error)
    }
}

impl Watcher {
    pub(crate) fn new(
        path: PathBuf,
        clock: Clock,
        track: Track,
        knowledge: Arc<Knowledge>,
    ) -> Self {
        Self {
            path,
            clock,
            track,
            knowledge,
            sink: None,
            connected: None,
            last_file: None,
            followed: Followed::Fresh,
            left: None,
            place: None,
            position: Position::START,
            confirmed: Moment::EARLIEST,
            panicked: None,
        }
    }

    /// Delivers to `sink` from now on, or to nobody.
    pub(crate) fn deliver_to(&mut self, sink: Option<Arc<dyn FeedSink>>) {
        self.sink = sink;
        self.connected = None;
        self.last_file = None;
        self.followed = Followed::Fresh;
        (self.left, self.place) = (None, None);
        self.confirmed = Moment::EARLIEST;
        self.panicked = None;
    }

    pub(crate) fn is_started(&self) -> bool {
        self.sink.is_some()
    }

    /// How changes are noticed, if the database is as it has to be for that.
    pub(crate) fn track(&self) -> Track {
        self.track
    }

    /// Everything that was visible before this is known.
    pub(crate) fn confirmed(&self) -> Moment {
        self.confirmed
    }

    /// Asks the database once.
    ///
    /// # Errors
    /// Whatever keeps the database from answering; then nothing was confirmed. `Unavailable` where
    /// it panicked, here or in the sink, and for a quarter of a second after that; then a new life
    /// of the timeline begins.
    ///
    /// # Cost
    /// Nothing changed: a `stat`, a `pread` and, in WAL mode, `data_version`: 3-6 us.
    pub(crate) fn probe(&mut self) -> Result<(), Error> {
        let Some(sink) = self.sink.clone() else {
            return Err(Error::new(ErrorKind::Closed, "watch").subject(self.subject()));
        };
        // Before anything is read: what was visible before this is seen by what follows.
        let moment = self.clock.now();
        let unknown = || Error::new(ErrorKind::Unavailable, "watch").detail("the watcher panicked");
        if self.panicked.is_some_and(|at| moment < at.plus(PAUSE_AFTER_PANIC)) {
            return Err(unknown().subject(self.subject()));
        }
        let asked = catch_unwind(AssertUnwindSafe(|| self.ask(&*sink, moment)));
        asked.unwrap_or_else(|_| {
            let origin = self.knowledge.timeline();
            tracing::error!(%origin, "the watcher panicked; it goes on, and everything is a miss");
            self.knowledge.count_panic();
            // It may have been in the middle of anything, and so may the sink: what was told of
            // this life is not to be trusted.
            self.connected = None;
            self.followed.missed();
            self.panicked = Some(moment);
            Err(unknown().subject(self.subject()))
        })
    }

    fn ask(&mut self, sink: &dyn FeedSink, moment: Moment) -> Result<(), Error> {
        let anew = self.panicked.map_or(Doubt::Started, |_| Doubt::Panicked);
        let result = match self.connected.take() {
            None => self.connect(sink, anew),
            Some(connected) => self.look_on(connected, sink),
        };
        if result.is_err() {
            self.followed.missed();
        }
        result?;
        self.panicked = None;
        self.confirmed = moment;
        sink.confirmed(self.knowledge.timeline(), self.position, moment);
        Ok(())
    }

    fn subject(&self) -> String {
        self.path.display().to_string()
    }

    /// Looks over a connection, and keeps it unless it cannot be believed any more.
    fn look_on(&mut self, mut connected: Connected, sink: &dyn FeedSink) -> Result<(), Error> {
        match self.look(&mut connected, sink) {
            Ok(()) => {
                self.connected = Some(connected);
                Ok(())
            }
            Err(Stop::Doubt(doubt)) => self.connect(sink, doubt),
            Err(Stop::Driver(error)) => {
                if is_busy(&error) {
                    self.connected = Some(connected);
                }
                Err(connection::failed(&self.path, &error))
            }
            Err(Stop::Error(error)) => Err(error),
        }
    }

    /// Opens the file and begins a new life of the timeline where it stands, or goes on with the
    /// one that an earlier watcher left.
    fn connect(&mut self, sink: &dyn FeedSink, doubt: Doubt) -> Result<(), Error> {
        let opened = connection::reopen(&self.path, BUSY)?;
        let begun = in_snapshot(&opened.connection, |connection| {
            let look = Look::take(connection, &opened)?;
            let (coverage, end) = self.coverage(connection, doubt, look.schema_version)?;
            let followed = self.followed_before(opened.identity, &look);
            let left = self.resumable(connection, opened.identity, &look, &coverage)?;
            let is_read_on = !Safeguard::ReadOnFromMark.is_off();
            let cursor = left.filter(|_| is_read_on).map_or(end, |left| left.mark.rows);
            let origin = self.knowledge.timeline();
            let next = Followed::next(connection, origin, opened.identity, &coverage, cursor)?;
            let passed = followed.passed(connection, next)?;
            Ok(Start { look, coverage, cursor, left, passed, followed: next })
        });
        let Start { look, coverage, cursor, left, passed, followed } = match begun {
            Ok(begun) => begun,
            Err(Stop::Driver(error)) => return Err(connection::failed(&self.path, &error)),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Doubt(doubt)) => {
                return Err(Error::new(ErrorKind::Unavailable, "watch")
                    .subject(self.subject())
                    .detail(doubt.to_string()));
            }
        };
        let lost = match &coverage {
            Coverage::Rows(tracked) => !tracked.broken.is_empty(),
            Coverage::Database | Coverage::Nothing => self.track == Track::Rows,
        };
        let doubt = match self.last_file {
            Some(file) if file != opened.identity => Doubt::Replaced,
            _ if lost && doubt == Doubt::SchemaChanged => Doubt::TrackingLost,
            _ => doubt,
        };
        self.last_file = Some(opened.identity);
        self.left = None;
        let (file, schema_version) = (opened.identity, look.schema_version);
        self.place = Some(Place { file, schema_version, cursor });
        let connected = Connected {
            opened,
            settled: look.header,
            seen: look.header,
            data_version: look.data_version,
            schema_version: look.schema_version,
            cursor,
        };
        // First: whoever knows the position of the new start then knows what was recorded below it.
        passed.tell(sink, self.knowledge.timeline(), doubt);
        self.followed = followed;
        if let Some(left) = left {
            self.resume(sink, coverage, left);
            // Nothing that came after the mark was read yet: a header that is not known has moved.
            return self.look_on(Connected { settled: None, ..connected }, sink);
        }
        self.restart(sink, coverage, cursor, doubt)?;
        self.connected = Some(connected);
        Ok(())
    }

    fn restart(
        &mut self,
        sink: &dyn FeedSink,
        coverage: Coverage,
        cursor: Option<Cursor>,
        doubt: Doubt,
    ) -> Result<(), Error> {
        let epoch = Epoch(getrandom::u64().map_err(|error| {
            Error::new(ErrorKind::Unavailable, "draw a random number").detail(error.to_string())
        })?);
        if doubt != Doubt::Started {
            tracing::info!(origin = %self.knowledge.timeline(), %doubt, "everything is a miss");
        }
        self.position = Position(cursor.map_or(0, |cursor| log::position(cursor.seq)));
        self.knowledge.begin(epoch, coverage, 0);
        self.mark(sink);
        sink.restarted(self.knowledge.timeline(), epoch, self.position, doubt);
        Ok(())
    }

    /// What can be watched under the schema as it stands, and where the log ends.
    fn coverage(
        &self,
        connection: &Connection,
        doubt: Doubt,
        schema_version: i64,
    ) -> Result<(Coverage, Option<Cursor>), Stop> {
        if self.track != Track::Rows {
            return Ok((Coverage::Database, None));
        }
        if doubt == Doubt::SchemaChanged
            && Safeguard::TriggersVerified.is_off()
            && let Coverage::Rows(tracked) = self.knowledge.view().coverage
        {
            let mut unverified = (*tracked).clone();
            unverified.schema_version = schema_version;
            return Ok((Coverage::Rows(Arc::new(unverified)), Some(log::end(connection)?)));
        }
        let origin = self.knowledge.timeline();
        match Tracked::read(connection) {
            Ok(tracked) => {
                for why in &tracked.broken {
                    tracing::error!(%origin, %why, "a table is not tracked any more; any change \
                        drops what was read from it until `larder track` is run again");
                }
                let cursor = log::end(connection)?;
                Ok((Coverage::Rows(Arc::new(tracked)), Some(cursor)))
            }
            Err(Absent::Unknown(error)) => Err(Stop::Driver(error)),
            Err(Absent::NotInstalled) => {
                tracing::error!(%origin, "rows are to be tracked and no triggers are installed; \
                    any change drops everything until `larder track` is run");
                Ok((Coverage::Database, None))
            }
            Err(Absent::Broken(why)) => {
                tracing::error!(%origin, %why, "the change log cannot be trusted; any change \
                    drops everything until `larder track` is run again");
                Ok((Coverage::Database, None))
            }
        }
    }

    /// Looks whether anything moved, and delivers what did.
    fn look(&mut self, connected: &mut Connected, sink: &dyn FeedSink) -> Result<(), Stop> {
        let unreadable = |error: std::io::Error| {
            let error = Error::new(ErrorKind::Unavailable, "watch").detail(error.to_string());
            Stop::Error(error.subject(self.path.display().to_string()))
        };
        if !connected.opened.identity.is_at(&self.path).map_err(unreadable)? {
            return Err(Stop::Doubt(Doubt::Replaced));
        }
        let header = connected.opened.header.read().map_err(unreadable)?;
        let was_wal = connected.settled.is_some_and(|settled| settled.is_wal());
        let moved = if was_wal && header.is_some_and(|header| header.is_wal()) {
            data_version(&connected.opened.connection)? != connected.data_version
        } else {
            connected.settled.is_none() || connected.settled != header
        };
        let rows = matches!(self.knowledge.view().coverage, Coverage::Rows(_));
        if rows && self.knowledge.takes_due_touch() {
            self.touch_unwatched(sink);
        }
        if !moved || Safeguard::DataVersionRead.is_off() {
            return Ok(());
        }
        if !rows && !was_wal && connected.seen != header {
            // What is in the header may not be committed yet, and may never be. Once it can be read
            // under a lock nothing more has to be touched: nobody was confirmed up to here before.
            self.touch(sink, Dependency::everything(self.knowledge.timeline().clone()));
        }
        connected.seen = header;
        connected.settled = None;
        in_snapshot(&connected.opened.connection, |connection| {
            let look = Look::take(connection, &connected.opened)?;
            if look.schema_version != connected.schema_version {
                return Err(Stop::Doubt(Doubt::SchemaChanged));
            }
            let is_wal = look.header.is_some_and(|header| header.is_wal());
            if !rows || self.followed == Followed::Unread {
                self.followed.read_on(connection, self.knowledge.timeline(), sink)?;
            }
            if rows {
                connected.cursor = self.read_log(connection, connected.cursor, sink)?;
                self.followed.advance(connected.cursor);
            } else if was_wal || (is_wal && look.data_version != connected.data_version) {
                // The second is a look that got no lock, tried again: it has forgotten what it was.
                self.touch(sink, Dependency::everything(self.knowledge.timeline().clone()));
            }
            connected.settled = look.header;
            connected.seen = look.header;
            connected.data_version = look.data_version;
            Ok(())
        })
    }

    /// Delivers the rows after `cursor`. Call it inside a read transaction.
    fn read_log(
        &mut self,
        connection: &Connection,
        cursor: Option<Cursor>,
        sink: &dyn FeedSink,
    ) -> Result<Option<Cursor>, Stop> {
        let view = self.knowledge.view();
        let (Some(mut cursor), Coverage::Rows(tracked)) = (cursor, &view.coverage) else {
            return Err(Stop::Doubt(Doubt::TrackingLost));
        };
        if !log::continues(connection, cursor)? {
            return Err(Stop::Doubt(Doubt::LogBroken));
        }
        let timeline = self.knowledge.timeline().clone();
        for number in 0.. {
            let read = log::read(connection, &timeline, tracked, cursor, BATCH)?;
            let lines = match read {
                log::Read::Lines(lines) => lines,
                log::Read::Hole => return Err(Stop::Doubt(Doubt::LogBroken)),
                log::Read::Undecodable => return Err(Stop::Doubt(Doubt::Undecodable)),
            };
            if lines.end == cursor {
                break;
            }
            if number == BATCHES_MAX {
                return Err(Stop::Doubt(Doubt::Overflow));
            }
            cursor = lines.end;
            self.position = Position(log::position(cursor.seq).saturating_add(view.extra));
            lines.records.iter().for_each(|record| sink.recorded(&timeline, record));
            self.place = self.place.map(|place| Place { cursor: Some(cursor), ..place });
            self.mark(sink);
            sink.received(&timeline, self.position, &lines.changes);
        }
        if self.knowledge.reads_unwatched() {
            self.touch_unwatched(sink);
        }
        Ok(Some(cursor))
    }

    /// Tells that anything may have changed of which the log does not tell, and does at every
    /// commit from now on.
    fn touch_unwatched(&mut self, sink: &dyn FeedSink) {
        self.touch_unwatched_once(sink);
        self.knowledge.touched_unwatched(self.position);
    }

    fn touch_unwatched_once(&mut self, sink: &dyn FeedSink) {
        self.knowledge.change(|view| view.extra += 1);
        self.touch(sink, Dependency::table(self.knowledge.timeline().clone(), UNWATCHED));
    }

    fn touch(&mut self, sink: &dyn FeedSink, dependency: Dependency) {
        self.position = self.position.next();
        self.mark(sink);
        sink.received(self.knowledge.timeline(), self.position, &[Change::Touch(dependency)]);
    }
}

impl Look {
    /// Reads what later looks are compared with; the first read begins the snapshot, and in
    /// rollback-journal mode takes the lock under which the header is read.
    fn take(connection: &Connection, opened: &Opened) -> Result<Self, Stop> {
        let schema_version = schema_version(connection)?;
        let data_version = data_version(connection)?;
        let header = opened.header.read().map_err(|error| {
            Stop::Error(Error::new(ErrorKind::Unavailable, "watch").detail(error.to_string()))
        })?;
        Ok(Self { header, data_version, schema_version })
    }
}

#[cfg(test)]
mod tests;
