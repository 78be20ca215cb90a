//! Going on where an earlier watcher left, and telling from where a later one can.
//!
//! Apart from the watcher, which follows a database for as long as it lives: this is what reaches
//! over the end of a process, and over to others. **Invariant**: a life of the timeline goes on
//! only over the same file under the same schema, with the log tracked as it was and the line at
//! the mark still there with its nonce; then everything since is told. Whatever does not fit begins
//! a new life.
//!
//! # Implementation notes
//!
//! *Positions.* The earlier watcher may have told of positions after the last mark that was kept:
//!
//! 1. It tells of a position, in whose token a client comes to trust.
//! 2. The process ends before the mark of that position is kept.
//! 3. This watcher goes on at the mark before, counts touches without a row of the log otherwise
//!    than the first did, and comes to the same number with another meaning.
//!
//! So the first thing it tells is a leap ahead of everything that can have been told.
//!
//! *What no line tells.* A commit to a table that is not watched leaves nothing behind, so going on
//! touches all of these tables once: what was read from them before falls, and whoever reads them
//! from now on says so. Until somebody does, a commit is told of as one step, not two.

use larder_core::{
    Change, Epoch, Error, ErrorKind, Invalidation, Position,
    feed::{self, FeedSink},
    store::Standing,
    timeline::Name,
};
use rusqlite::Connection;

use super::{BATCH, BATCHES_MAX, Look, Watcher, followed::Followed};
use crate::{
    connection::{self, in_snapshot, schema_version},
    identity::Identity,
    knowledge::Coverage,
    log::{self, Cursor},
    mark::Mark,
    track::tracked::{Outbox, Tracked},
};

/// By how much positions leap where a watcher goes on: more than touches without a row can have
/// been told after the mark. At a thousandth, a store that could not be written for some hours
/// would have been outrun; a thousand times more would leave room for a million starts only.
const LEAP: u64 = 1 << 32;

/// Where an earlier watcher left the timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    epoch: Epoch,
    position: Position,
    pub(super) mark: Mark,
}

/// Where the log was read up to, and under what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file: Identity,
    pub(super) schema_version: i64,
    pub(super) cursor: Option<Cursor>,
}

impl Watcher {
    /// Goes on, with the first connection, where an earlier watcher left; or says what it cannot
    /// know.
    pub(crate) fn go_on_from(&mut self, left: &Standing) {
        let (epoch, position) = (left.epoch, left.position);
        let mark = left.mark.as_deref().and_then(Mark::decode);
        self.left = mark.map(|mark| Left { epoch, position, mark });
        self.followed = Followed::Unknown;
    }

    /// How far the outbox was followed before this connection to `file`.
    pub(super) fn followed_before(&self, file: Identity, look: &Look) -> Followed {
        match self.left {
            Some(left) => left.mark.followed(file, look.schema_version),
            None => self.followed,
        }
    }

    /// Where an earlier watcher left, if the log goes on from there and tells of everything since.
    pub(super) fn resumable(
        &self,
        connection: &Connection,
        file: Identity,
        look: &Look,
        coverage: &Coverage,
    ) -> rusqlite::Result<Option<Left>> {
        let (Some(left), Coverage::Rows(tracked)) = (self.left, coverage) else { return Ok(None) };
        let Some(rows) = left.mark.rows else { return Ok(None) };
        let is_same = left.mark.file == file
            && left.mark.schema_version == look.schema_version
            && tracked.broken.is_empty()
            && left.mark.records.is_some() == (tracked.outbox == Outbox::Installed)
            && log::position(rows.seq) <= left.position.0
            && left.epoch != Epoch::VOID;
        Ok((is_same && log::continues(connection, rows)?).then_some(left))
    }

    /// Goes on with the life that an earlier watcher left; what the log has since is read next.
    pub(super) fn resume(&mut self, sink: &dyn FeedSink, coverage: Coverage, left: Left) {
        let origin = self.knowledge.timeline().clone();
        tracing::debug!(%origin, position = left.position.0, "goes on where it was left");
        self.knowledge.begin(left.epoch, coverage, left.extra());
        // Of where it was left: what this watcher reads next is told after it.
        sink.marking(&origin, left.mark.encode());
        sink.resumed(&origin, left.epoch, left.position);
        self.knowledge.change(|view| view.extra = view.extra.saturating_add(LEAP));
        self.position = Position(left.position.0.saturating_add(LEAP));
        self.touch_unwatched_once(sink);
    }

    /// Tells from where a later watcher could go on after what is told next, or that none could.
    pub(super) fn mark(&self, sink: &dyn FeedSink) {
        let mark = self.place.and_then(|place| self.mark_at(place));
        sink.marking(self.knowledge.timeline(), mark);
    }

    fn mark_at(&self, Place { file, schema_version, cursor }: Place) -> Option<feed::Mark> {
        let view = self.knowledge.view();
        let rows = cursor.filter(|_| matches!(view.coverage, Coverage::Rows(_)));
        let records = match self.followed {
            // Where rows are read, the records among them are told of before the position is.
            Followed::Upto(_, cursor) => Some(rows.unwrap_or(cursor)),
            Followed::NoOutbox => None,
            Followed::Fresh | Followed::Unknown | Followed::Unread => return None,
        };
        Mark { file, schema_version, rows, records }.encode()
    }

    /// Whether another watcher, which gave `mark`, follows the log that this one does, and was not
    /// ahead of it: the line at its cursor is there, below ours, with its nonce.
    ///
    /// Asked in the state of the database in which our own cursor holds: lines are only added, so
    /// what stands below it is what was read on the way there.
    ///
    /// # Errors
    /// `Unavailable` where this watcher itself has not caught up.
    pub(crate) fn has_passed(&self, mark: &[u8]) -> Result<bool, Error> {
        let unknown = || Error::new(ErrorKind::Unavailable, "watch").subject(self.subject());
        let Some((mark, rows)) = Mark::decode(mark).and_then(|mark| Some((mark, mark.rows?)))
        else {
            return Ok(false);
        };
        let (Some(connected), Some(place)) = (&self.connected, self.place) else {
            return Err(unknown().detail("it is not known what it reads"));
        };
        let is_same = (mark.file, mark.schema_version) == (place.file, place.schema_version)
            && mark.records.is_some() == matches!(self.followed, Followed::Upto(..));
        let (Some(own), Coverage::Rows(_)) = (connected.cursor, self.knowledge.view().coverage)
        else {
            return Ok(false);
        };
        if !is_same {
            return Ok(false);
        }
        let asked = in_snapshot(&connected.opened.connection, |connection| {
            let holds = schema_version(connection)? == place.schema_version
                && log::continues(connection, own)?;
            let has_passed = rows.seq <= own.seq && log::continues(connection, rows)?;
            Ok::<_, rusqlite::Error>(holds.then_some(has_passed))
        });
        let asked = asked.map_err(|error| connection::failed(&self.path, &error))?;
        asked.ok_or_else(|| unknown().detail("something was committed just now"))
    }
}

impl Watcher {
    /// What the log tells between the mark of another watcher and our own cursor, up to which all
    /// was told; `None` where it does not tell all of that.
    ///
    /// # Errors
    /// As [`Watcher::has_passed`].
    pub(crate) fn told_since(&self, mark: &[u8]) -> Result<Option<Vec<Change>>, Error> {
        if !self.has_passed(mark)? {
            return Ok(None);
        }
        let view = self.knowledge.view();
        let rows = Mark::decode(mark).and_then(|mark| mark.rows);
        let (Some(from), Some(connected), Some(place), Coverage::Rows(tracked)) =
            (rows, &self.connected, self.place, &view.coverage)
        else {
            return Ok(None);
        };
        let Some(own) = connected.cursor.filter(|_| tracked.broken.is_empty()) else {
            return Ok(None);
        };
        let read = in_snapshot(&connected.opened.connection, |connection| {
            let is_same = schema_version(connection)? == place.schema_version
                && log::continues(connection, own)?
                && log::continues(connection, from)?;
            match is_same {
                true => between(connection, self.knowledge.timeline(), tracked, from, own),
                false => Ok(None),
            }
        });
        read.map_err(|error: rusqlite::Error| connection::failed(&self.path, &error))
    }
}

/// What stands in the log behind the one cursor and up to the other.
fn between(
    connection: &Connection,
    timeline: &Name,
    tracked: &Tracked,
    from: Cursor,
    to: Cursor,
) -> rusqlite::Result<Option<Vec<Change>>> {
    let (mut cursor, mut told) = (from, Vec::new());
    for _ in 0..BATCHES_MAX {
        let left = usize::try_from(to.seq.saturating_sub(cursor.seq)).unwrap_or(0);
        if left == 0 {
            return Ok(Some(told));
        }
        let read = log::read(connection, timeline, tracked, cursor, left.min(BATCH))?;
        let log::Read::Lines(lines) = read else { return Ok(None) };
        if lines.end == cursor {
            return Ok(None);
        }
        cursor = lines.end;
        told.extend(lines.changes);
        let named = lines.records.iter().flat_map(Invalidation::dependencies);
        let own = named.filter(|one| *one.timeline() == *timeline);
        told.extend(own.cloned().map(Change::Touch));
    }
    Ok((to.seq <= cursor.seq).then_some(told))
}

impl Left {
    /// By how much positions are ahead of the numbers of the log.
    fn extra(&self) -> u64 {
        let rows = self.mark.rows.map_or(0, |rows| log::position(rows.seq));
        self.position.0.saturating_sub(rows)
    }
}
