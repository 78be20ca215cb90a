//! How far the outbox was followed, and what becomes of the records that a new start passes over.
//!
//! It stands apart from the watcher because it outlives the watcher's connection: a record may name
//! what is on other timelines, which a new epoch of this one does not end. **Invariant**: whoever
//! begins anew has told of every record below the new start, or that some were lost; the first
//! start of all is the exception, because the sink has nothing then.

use larder_core::{
    Invalidation,
    feed::{Doubt, FeedSink},
    safeguard::Safeguard,
};
use rusqlite::Connection;

use crate::{
    identity::Identity,
    knowledge::Coverage,
    log::{self, Cursor},
    outbox,
    track::tracked::{Absent, Outbox, Tracked},
};

/// How far the records of the outbox were told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The sink is new: there is nothing yet that a record could reach.
    Fresh,
    /// It is not known, and the sink may hold something.
    Unknown,
    /// The database has no outbox.
    NoOutbox,
    /// It has one, and it or its log is not as it was installed.
    Unread,
    /// Up to there in the log of that file.
    Upto(Identity, Cursor),
}

/// What a new life of the timeline passes over.
pub(super) enum Passed {
    Records(Vec<Invalidation>),
    /// It cannot be said.
    Lost,
}

impl Followed {
    /// How the outbox of `file` can be followed from `cursor` on.
    pub(super) fn next(
        connection: &Connection,
        origin: &str,
        file: Identity,
        coverage: &Coverage,
        cursor: Option<Cursor>,
    ) -> rusqlite::Result<Self> {
        if let (Coverage::Rows(tracked), Some(cursor)) = (coverage, cursor)
            && tracked.outbox == Outbox::Installed
        {
            return Ok(Self::Upto(file, cursor));
        }
        if !outbox::is_there(connection)? {
            return Ok(Self::NoOutbox);
        }
        // In `database` mode nothing else of the log is read, and it must be as good.
        match Tracked::read(connection) {
            Ok(tracked) if tracked.outbox == Outbox::Installed => {
                Ok(Self::Upto(file, log::end(connection)?))
            }
            Err(Absent::Unknown(error)) => Err(error),
            Ok(_) | Err(Absent::Broken(_) | Absent::NotInstalled) => {
                tracing::error!(%origin, "the outbox or its log cannot be trusted, so any change \
                    may carry a record: it drops everything, also what was not read from this \
                    origin, until `larder track` is run again");
                Ok(Self::Unread)
            }
        }
    }

    /// Something was committed, and the log's rows are not read: tells of the records alone. Call
    /// it inside a read transaction: only then can loads that begin see what it tells of.
    pub(super) fn read_on(
        &mut self,
        connection: &Connection,
        origin: &str,
        sink: &dyn FeedSink,
    ) -> rusqlite::Result<()> {
        match *self {
            Self::Unread => sink.records_lost(origin, Doubt::TrackingLost),
            Self::Upto(file, _) => {
                let next = Self::Upto(file, log::end(connection)?);
                self.passed(connection, next)?.tell(sink, origin, Doubt::LogBroken);
                *self = next;
            }
            Self::Fresh | Self::Unknown | Self::NoOutbox => {}
        }
        Ok(())
    }

    /// The records after this, and before the place where `next` begins.
    pub(super) fn passed(self, connection: &Connection, next: Self) -> rusqlite::Result<Passed> {
        if Safeguard::RecordsReadOnRestart.is_off() {
            return Ok(Passed::Records(Vec::new()));
        }
        match (self, next) {
            (Self::Fresh, _) | (Self::NoOutbox, Self::NoOutbox) => Ok(Passed::Records(Vec::new())),
            (Self::Upto(file, from), Self::Upto(same, upto)) if file == same => {
                let records = log::records_between(connection, from, upto)?;
                Ok(records.map_or(Passed::Lost, Passed::Records))
            }
            _ => Ok(Passed::Lost),
        }
    }

    /// The log was read up to `cursor`, and its records were told of.
    pub(super) fn advance(&mut self, cursor: Option<Cursor>) {
        if let (Self::Upto(_, upto), Some(cursor)) = (self, cursor) {
            *upto = cursor;
        }
    }

    /// The database could not be asked, and the sink lives on meanwhile.
    pub(super) fn missed(&mut self) {
        if *self == Self::Fresh {
            *self = Self::Unknown;
        }
    }
}

impl Passed {
    pub(super) fn tell(self, sink: &dyn FeedSink, origin: &str, doubt: Doubt) {
        match self {
            Self::Records(records) => {
                records.iter().for_each(|record| sink.recorded(origin, record));
            }
            Self::Lost => {
                tracing::warn!(%origin, %doubt, "recorded invalidations may be missing: all \
                    entries fall, also what was not read from this origin");
                sink.records_lost(origin, doubt);
            }
        }
    }
}
