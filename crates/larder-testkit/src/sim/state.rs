//! The data of the simulated origin and the moves it can make.
//!
//! Apart from the traits, so that they stay as thin as those of a real backend. **Invariant**: what
//! the feed has delivered is always a prefix of the log as it was when it was delivered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_core::{
    Change, Dependency, Error, ErrorKind, Moment, Name, Position, RowChange, Stamp, Value,
    feed::{Doubt, FeedSink, Mark},
    store::Standing,
    timeline::Epoch,
};

use super::Flaw;
use crate::{
    conformance::{Ask, Row, Write},
    random::Random,
};

/// The one table.
const TABLE: &str = "item";

/// Where the stamp of an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampFrom {
    /// It is the confirmed position from before the load, as for any user's closure.
    Before,
    /// It is read in the load's own snapshot: the last position up to which all is visible.
    Snapshot,
}

/// A copy of the database.
#[derive(Clone, Debug)]
pub struct Saved {
    log: Vec<Commit>,
    trimmed: usize,
}

#[derive(Clone, Debug)]
struct Commit {
    nonce: u64,
    /// Each touched row, after the commit; `None` when it is removed.
    rows: BTreeMap<i64, Option<Row>>,
    is_visible: bool,
}

/// Where the feed stands, and how it would notice that it stands on something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    epoch: Epoch,
    server: u64,
    schema: u64,
    delivered: usize,
    nonce: Option<u64>,
}

impl Cursor {
    /// Without the epoch, which whoever keeps it keeps beside it.
    fn mark(&self) -> Mark {
        let numbers = [self.server, self.schema, self.delivered as u64];
        let bytes = numbers.into_iter().chain(self.nonce).flat_map(u64::to_le_bytes).collect();
        Mark { bytes, place: Some(Position(self.delivered as u64)) }
    }

    fn decode(epoch: Epoch, bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (&[server, schema, delivered], nonce) = numbers.split_first_chunk::<3>()?;
        let delivered = usize::try_from(delivered).ok()?;
        Some(Self { epoch, server, schema, delivered, nonce: nonce.first().copied() })
    }
}

/// See [`super::SimOrigin`].
#[derive(Debug)]
pub(super) struct State {
    random: Random,
    stamp: StampFrom,
    server: u64,
    schema: u64,
    /// Every commit; the one at index `i` has position `i + 1`.
    log: Vec<Commit>,
    /// Commits whose log rows are gone.
    trimmed: usize,
    pub(super) is_cut: bool,
    pub(super) flaw: Option<Flaw>,
    sink: Option<Arc<dyn FeedSink>>,
    cursor: Option<Cursor>,
}

impl State {
    pub(super) fn new(mut random: Random, stamp: StampFrom) -> Self {
        let server = random.next();
        Self {
            random,
            stamp,
            server,
            schema: 0,
            log: Vec::new(),
            trimmed: 0,
            is_cut: false,
            flaw: None,
            sink: None,
            cursor: None,
        }
    }

    pub(super) fn emit(&mut self, writes: &[Write]) -> u64 {
        let mut rows = BTreeMap::new();
        for write in writes {
            match write {
                Write::Put(row) => rows.insert(row.id, Some(*row)),
                Write::Remove(id) => rows.insert(*id, None),
            };
        }
        self.log.push(Commit { nonce: self.random.next(), rows, is_visible: false });
        self.log.len() as u64
    }

    pub(super) fn show(&mut self, commit: u64) {
        let Some(last) = usize::try_from(commit).ok().and_then(|place| place.checked_sub(1)) else {
            return;
        };
        let mut waits_for: BTreeSet<i64> = BTreeSet::new();
        for (place, commit) in self.log.iter_mut().enumerate().take(last + 1).rev() {
            if place == last || commit.rows.keys().any(|id| waits_for.contains(id)) {
                commit.is_visible = true;
                waits_for.extend(commit.rows.keys());
            }
        }
    }

    pub(super) fn hidden(&self) -> Vec<u64> {
        let numbered = self.log.iter().zip(1u64..);
        numbered.filter(|(commit, _)| !commit.is_visible).map(|(_, number)| number).collect()
    }

    /// What a snapshot taken now shows.
    fn visible(&self) -> BTreeMap<i64, Row> {
        let shown = self.log.iter().filter(|commit| commit.is_visible);
        let mut rows = BTreeMap::new();
        for (id, row) in shown.flat_map(|commit| &commit.rows) {
            match row {
                Some(row) => rows.insert(*id, *row),
                None => rows.remove(id),
            };
        }
        rows
    }

    /// Commits from the start of the log of which each is visible.
    fn visible_prefix(&self) -> usize {
        self.log.iter().take_while(|commit| commit.is_visible).count()
    }

    pub(super) fn load(&self, ask: Ask, before: &Stamp) -> Result<(Vec<Row>, Stamp), Error> {
        self.reachable()?;
        let rows = self.visible().into_values().filter(|row| ask.matches(row)).collect();
        let mut stamp = before.clone();
        if self.stamp == StampFrom::Snapshot {
            stamp.as_of = stamp.as_of.max(Position(self.visible_prefix() as u64));
        }
        if self.has(Flaw::StampsWithEndOfLog) {
            stamp.as_of = Position(self.log.len() as u64);
        }
        Ok((rows, stamp))
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn reachable(&self) -> Result<(), Error> {
        if self.is_cut { Err(Error::new(ErrorKind::Unavailable, "ask the origin")) } else { Ok(()) }
    }

    pub(super) fn start(&mut self, name: &Name, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        self.reachable()?;
        self.sink = Some(sink);
        self.restart(name, Doubt::Started)
    }

    /// Goes on where an earlier feed left, if everything is as it was there.
    pub(super) fn start_from(
        &mut self,
        name: &Name,
        sink: Arc<dyn FeedSink>,
        left: &Standing,
    ) -> Result<(), Error> {
        self.reachable()?;
        self.cursor = left.mark.as_deref().and_then(|mark| Cursor::decode(left.epoch, mark));
        let place = self.cursor.map(|cursor| Position(cursor.delivered as u64));
        let is_blind = self.has(Flaw::GoesOnBlindly);
        let is_visible = self.cursor.is_some_and(|own| own.delivered <= self.visible_prefix());
        let doubt = self.doubt().filter(|_| !is_blind);
        if doubt.is_some() || place != Some(left.position) || !is_visible {
            self.sink = Some(sink);
            return self.restart(name, doubt.unwrap_or(Doubt::Started));
        }
        if is_blind && let Some(cursor) = &mut self.cursor {
            (cursor.server, cursor.schema) = (self.server, self.schema);
        }
        sink.resumed(name, left.epoch, left.position);
        self.sink = Some(sink);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.sink = None;
    }

    /// Begins a new life, once everything in the log is visible: the start barrier.
    fn restart(&mut self, name: &Name, doubt: Doubt) -> Result<(), Error> {
        if self.visible_prefix() < self.log.len() {
            return Err(Error::new(ErrorKind::Conflict, "restart the feed")
                .detail("a commit in the log is not visible yet"));
        }
        let cursor = Cursor {
            epoch: Epoch(self.random.next()),
            server: self.server,
            schema: self.schema,
            delivered: self.log.len(),
            nonce: self.log.last().map(|commit| commit.nonce),
        };
        self.cursor = Some(cursor);
        if let Some(sink) = &self.sink {
            sink.marking(name, Some(cursor.mark()));
            sink.restarted(name, cursor.epoch, Position(cursor.delivered as u64), doubt);
        }
        Ok(())
    }

    /// Why the log cannot be read on from the cursor, if so.
    fn doubt(&self) -> Option<Doubt> {
        let cursor = self.cursor.as_ref()?;
        let at_cursor = cursor.delivered.checked_sub(1).and_then(|place| self.log.get(place));
        let is_same = at_cursor.map(|commit| commit.nonce) == cursor.nonce;
        if cursor.server != self.server && !self.has(Flaw::IgnoresIdentity) {
            Some(Doubt::Replaced)
        } else if cursor.schema != self.schema && !self.has(Flaw::IgnoresSchema) {
            Some(Doubt::SchemaChanged)
        } else if (!is_same && !self.has(Flaw::IgnoresNonce))
            || (cursor.delivered < self.trimmed && !self.has(Flaw::IgnoresGap))
        {
            Some(Doubt::LogBroken)
        } else {
            None
        }
    }

    pub(super) fn deliver(&mut self, name: &Name) -> bool {
        if self.is_cut || self.doubt().is_some() {
            return false;
        }
        let (forgets_old, skips_gap) = (self.has(Flaw::ForgetsOldRow), self.has(Flaw::IgnoresGap));
        let (Some(sink), Some(cursor)) = (&self.sink, &mut self.cursor) else { return false };
        let Some(commit) = self.log.get(cursor.delivered) else { return false };
        let before = self.log.iter().take(cursor.delivered);
        let mut old = BTreeMap::new();
        for (id, row) in before.flat_map(|commit| &commit.rows) {
            old.insert(*id, *row);
        }
        let changes: Vec<Change> = commit
            .rows
            .iter()
            .filter(|_| !(skips_gap && cursor.delivered < self.trimmed))
            .map(|(id, new)| {
                let old = old.get(id).copied().flatten();
                if forgets_old && new.is_some() { change(None, *new) } else { change(old, *new) }
            })
            .collect();
        cursor.delivered += 1;
        cursor.nonce = Some(commit.nonce);
        sink.marking(name, Some(cursor.mark()));
        sink.received(name, Position(cursor.delivered as u64), &changes);
        true
    }

    pub(super) fn confirm(&mut self, name: &Name, moment: Moment) {
        let is_blind = self.is_cut || self.doubt().is_some();
        if is_blind && !self.has(Flaw::ProvesBlindly) {
            return;
        }
        let (Some(sink), Some(cursor)) = (&self.sink, &self.cursor) else { return };
        let position = match self.flaw {
            Some(Flaw::ConfirmsWhatItReceived) => cursor.delivered,
            _ => self.visible_prefix().min(cursor.delivered),
        };
        // A commit that is visible and was not delivered would make the moment a lie.
        let is_behind = self.log.iter().skip(cursor.delivered).any(|commit| commit.is_visible);
        let moment = if is_behind { Moment::EARLIEST } else { moment };
        sink.confirmed(name, Position(position as u64), moment);
    }

    /// Everything visible now is delivered when this returns.
    pub(super) fn catch_up(&mut self, name: &Name, moment: Moment) -> Result<(), Error> {
        if self.has(Flaw::CatchesUpByWord) {
            return Ok(());
        }
        if self.has(Flaw::ProvesBlindly) {
            self.confirm(name, moment);
        }
        self.reachable()?;
        if let Some(doubt) = self.doubt() {
            self.restart(name, doubt)?;
        }
        let last = self.log.iter().rposition(|commit| commit.is_visible).map_or(0, |last| last + 1);
        while self.cursor.as_ref().is_some_and(|cursor| cursor.delivered < last) {
            if !self.deliver(name) {
                return Err(Error::new(ErrorKind::Unavailable, "read the log"));
            }
        }
        self.confirm(name, moment);
        Ok(())
    }

    /// Whether the log has come by where another feed gave `mark`, and this one has told of that.
    pub(super) fn has_passed(&self, mark: &[u8]) -> bool {
        let epoch = self.cursor.map_or(Epoch::VOID, |own| own.epoch);
        let (Some(own), Some(other)) = (self.cursor, Cursor::decode(epoch, mark)) else {
            return false;
        };
        let at_other = other.delivered.checked_sub(1).and_then(|place| self.log.get(place));
        let is_same = at_other.map(|commit| commit.nonce) == other.nonce;
        (own.server, own.schema) == (other.server, other.schema)
            && self.trimmed <= other.delivered
            && other.delivered <= own.delivered
            && (is_same || self.has(Flaw::IgnoresNonce))
    }

    pub(super) fn save(&self) -> Saved {
        Saved { log: self.log.clone(), trimmed: self.trimmed }
    }

    pub(super) fn restore(&mut self, saved: &Saved) {
        self.log.clone_from(&saved.log);
        self.trimmed = saved.trimmed;
        // A copy is taken of what is durable; whether it was shown does not matter any more.
        self.log.iter_mut().for_each(|commit| commit.is_visible = true);
    }

    pub(super) fn replace(&mut self) {
        self.server = self.random.next();
    }

    pub(super) fn lose_log(&mut self) {
        self.trimmed = self.log.len();
    }

    pub(super) fn change_schema(&mut self) {
        self.schema += 1;
    }
}

fn change(old: Option<Row>, new: Option<Row>) -> Change {
    let values =
        |row: Row| [row.bucket, row.id, row.version.cast_signed()].map(Value::Integer).to_vec();
    Change::Row(RowChange {
        table: TABLE.into(),
        columns: ["bucket", "id", "version"].map(Arc::from).into(),
        key: [1].into(),
        old: old.map(values),
        new: new.map(values),
    })
}

/// What an answer to `ask` depends on.
pub(super) fn dependency(name: &Name, ask: Ask) -> Dependency {
    match ask {
        Ask::Row(id) => Dependency::id(name.clone(), TABLE, [id]),
        Ask::Bucket(bucket) => Dependency::scope(name.clone(), TABLE, [("bucket", bucket)]),
    }
}
