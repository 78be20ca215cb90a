//! Shared: what this node and others that have the same store tell each other.
//!
//! Apart from `node`, which is about what this process knows: here it takes up what others have
//! announced, and judges records of the store by where the line of announcements stands.
//! **Invariant**: this node calls a value fresh only if it has looked at the line within the
//! `max_staleness` of the reader; and a record of the store is never believed beyond what both its
//! snapshot and this node know.

use std::{sync::Arc, time::Duration};

use larder_core::{Change, Mode, Name};
use larder_core::{
    Dependency, DependencySet, Digest, Error, ErrorKind, Moment, Position, Stamp, Stamps,
    announcement::{Announced, Announcement, Cursor, Look, News},
    change::touched_by_name,
    feed::Doubt,
    history::Reach,
    safeguard::Safeguard,
    store::{Judgement, SchemesKnown, Standing},
    timeline::APP,
};
use larder_memory::Cause;
use tokio::time::timeout;

use crate::{
    events::{Event, What},
    l2::within,
    node::{Knowledge, Node},
};

/// How long this node goes without looking at the line. A commit wakes it; a tenth of the default
/// `max_staleness`, so that a value stays proven while nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Characters of what is said of an announcement.
const WORDS_MAX: usize = 200;

impl Node {
    /// Looks at the line of announcements now, if there is one. When it returns, everything that
    /// was announced before the call is known.
    ///
    /// # Errors
    /// What keeps the store from answering: then nothing is known. `Closed`.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let Some(journal) = self.journal() else { return Ok(()) };
        loop {
            let Some((since, schemes)) = self.stands() else { return Ok(()) };
            let store = journal.store().ok_or_else(closed)?;
            let moment = self.clock.now();
            let look = within(store.look(since, schemes)).await?;
            if self.take_up(look, moment) == TakenUp::All {
                return Ok(());
            }
        }
    }

    /// Looks at the line whenever somebody commits, until the cache is closed.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut is_said = false;
        while let Some(store) = self.journal().and_then(|journal| journal.store()) {
            let commit = store.next_commit();
            drop(store);
            match self.look().await {
                Ok(()) => is_said = false,
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) if is_said => drop(error),
                Err(error) => {
                    is_said = true;
                    tracing::warn!(
                        %error,
                        "the store cannot be asked what others have invalidated: nothing is \
                         called fresh until it can"
                    );
                }
            }
            let _ = timeout(LOOK_EVERY, commit).await;
        }
    }

    fn stands(&self) -> Option<(Cursor, usize)> {
        let knowledge = self.app().knowledge.lock();
        knowledge.line.as_ref().map(|line| (line.cursor, line.schemes))
    }

    /// Takes up what a look has found, which was begun at `moment`.
    fn take_up(&self, look: Look, moment: Moment) -> TakenUp {
        let Look { since, cursor, news, schemes } = look;
        // Before anything that was announced by who may not have known them.
        for scheme in schemes.iter().flatten() {
            self.each_noticing(scheme, |history| history.register(scheme));
        }
        let mut knowledge = self.app().knowledge.lock();
        let Some(line) = &mut knowledge.line else { return TakenUp::All };
        if line.cursor.epoch != since.epoch {
            return TakenUp::Again;
        }
        if let Some(schemes) = &schemes {
            line.schemes = schemes.len();
        }
        let (own, before) = (line.cursor, knowledge.history.applied());
        match news {
            News::Lost if own != since => return TakenUp::Again,
            News::Lost => self.lose(&mut knowledge, cursor),
            News::All(all) => {
                let is_new = |one: &&Announcement| own.position < one.cursor.position;
                for one in all.iter().filter(is_new) {
                    self.take_up_one(&mut knowledge, one);
                }
                if own.position < cursor.position
                    && let Some(line) = &mut knowledge.line
                {
                    line.advance(cursor);
                }
            }
        }
        if let Some(line) = &knowledge.line {
            let (epoch, count) = (line.cursor.epoch, line.schemes);
            *self.schemes.lock() = SchemesKnown { epoch, count };
        }
        knowledge.proven = knowledge.proven.max(moment);
        self.tier.prove(APP, knowledge.proven);
        let has_moved = before != knowledge.history.applied();
        drop(knowledge);
        if has_moved {
            self.events.wake();
            self.made_progress();
        }
        TakenUp::All
    }

    /// Takes up one announcement. Called under the lock of `app`.
    fn take_up_one(&self, knowledge: &mut Knowledge, one: &Announcement) {
        let Some(line) = &mut knowledge.line else { return };
        if one.author == line.author {
            line.note_place(one.upto, one.cursor.position);
            return;
        }
        if Safeguard::AnnouncementsTakenUp.is_off() {
            return;
        }
        let position = knowledge.history.applied().next();
        line.note_foreign(position, one.cursor.position);
        let mut digests = [&*one.digests, &*one.tables].concat();
        digests.sort_unstable();
        digests.dedup();
        let reach = if one.everything { Reach::Everything } else { Reach::Named };
        knowledge.history.apply_digests(position, &digests, reach);
        knowledge.history.confirm(position);
        let cause = Cause { timeline: APP.into(), position, what: one.what.clone() };
        let entries = match (reach, one.mode) {
            (Reach::Everything, _) => self.shut(APP, &cause),
            (Reach::Named, Mode::Hard) => self.tier.invalidate(&digests, &cause),
            (Reach::Named, Mode::Soft) => self.tier.soften(&digests, &cause),
        };
        self.events.tell(|| Event {
            timeline: APP.into(),
            position,
            what: What::Reported { changes: 1, words: one.what.clone() },
            mode: one.mode,
            entries: entries as u64,
            at: self.clock.now(),
        });
    }

    /// Lets everything fall: what was announced up to `cursor` is not known any more. Called under
    /// the lock of `app`.
    fn lose(&self, knowledge: &mut Knowledge, cursor: Cursor) {
        if let Some(line) = &mut knowledge.line {
            line.restart(cursor);
        }
        let position = knowledge.history.applied().next();
        knowledge.history.apply_digests(position, &[], Reach::Everything);
        knowledge.history.confirm(position);
        let what = "what other processes invalidated is not known any more";
        tracing::warn!("{what}: everything fell");
        let cause = Cause { timeline: APP.into(), position, what: what.into() };
        let entries = self.shut(APP, &cause);
        self.tell_of(cause, What::Restarted(Doubt::LogBroken), entries);
        self.counters.restarts.add(1);
    }

    /// What this node invalidated up to `upto` has its place at `cursor`. Where others announced
    /// something before it, that is found by the next look.
    pub(crate) fn placed(&self, cursor: Cursor, upto: Position) {
        let mut knowledge = self.app().knowledge.lock();
        if let Some(line) = &mut knowledge.line
            && line.cursor.epoch == cursor.epoch
            && line.cursor.position.next() == cursor.position
        {
            line.note_place(upto, cursor.position);
            line.advance(cursor);
        }
    }

    /// The stamp on `app` of a record that is about to be written, in the words of the line.
    pub(crate) fn announced_stamp(&self) -> Option<Stamp> {
        let (Cursor { epoch, position, .. }, _) = self.stands()?;
        Some(Stamp { timeline: APP.into(), epoch, as_of: position })
    }

    /// Whether a record may be written, with the stamps `kept` in the words of the store, into one
    /// that stands at `standings`. In the words of this node its stamps are `stamps`.
    pub(crate) fn judge(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        kept: &Stamps,
        standings: &[Standing],
    ) -> Judgement {
        self.note_if_behind(stamps, standings);
        let Some(app) = kept.get(APP) else { return Judgement::Wrong };
        // First: what is taken up after it is in the history when that is asked.
        let known = match self.stands() {
            Some((cursor, _)) if cursor.epoch == app.epoch => cursor.position,
            Some(_) | None => return Judgement::Wrong,
        };
        // A store that is ahead of this node knows what this node does not; and of one that is
        // behind the value, the origin may go back to before what that shows.
        let is_shared = |shown: &Stamp, own| self.knows(own) && self.shows_no_more(shown, own);
        let is_known = |stamp: &Stamp| {
            raised_to(stamp, standings).is_some_and(|(_, own)| {
                let shown = stamps.get(&stamp.timeline);
                *stamp.timeline == *APP || shown.is_some_and(|shown| is_shared(shown, own))
            })
        };
        match kept.iter().all(is_known) && self.may_store(stamps, dependencies) {
            true => Judgement::Right(known),
            false => Judgement::Wrong,
        }
    }

    /// The stamps, in this node's words, of a record that was found in a store which stands at
    /// `standings`: the record is right up to there, if the store is in the same life. `None` when
    /// that cannot be said.
    pub(crate) fn raised(
        &self,
        stamps: &Stamps,
        dependencies: &DependencySet,
        standings: &[Standing],
    ) -> Option<Stamps> {
        let is_stamped = |one: &Dependency| stamps.get(one.timeline()).is_some();
        if stamps.get(APP).is_none() || !dependencies.iter().all(is_stamped) {
            return None;
        }
        let raise = |stamp: &Stamp| {
            let (raised, own) = raised_to(stamp, standings)?;
            if Safeguard::CountedAsOfStanding.is_off() {
                let timeline = self.timeline(&stamp.timeline)?;
                return Some(timeline.knowledge.lock().history.stamp());
            }
            if *stamp.timeline != *APP {
                return self.as_of_place(stamp, own);
            }
            let knowledge = self.app().knowledge.lock();
            let line = knowledge.line.as_ref().filter(|line| line.cursor.epoch == raised.epoch)?;
            let as_of = line.position_of(raised.as_of, knowledge.history.applied())?;
            Some(Stamp { as_of, ..knowledge.history.stamp() })
        };
        stamps.iter().map(raise).collect()
    }
}

/// Whether a look has been taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TakenUp {
    All,
    /// The line has begun a new life meanwhile.
    Again,
}

/// A stamp of a record, raised to where the store stands, and that; `None` in another life.
fn raised_to<'a>(stamp: &Stamp, standings: &'a [Standing]) -> Option<(Stamp, &'a Standing)> {
    let own = standings.iter().find(|own| own.timeline == stamp.timeline)?;
    // Beyond the standing it may speak of what an origin has taken back since.
    let is_right =
        own.epoch == stamp.epoch && own.floor <= stamp.as_of && stamp.as_of <= own.position;
    (is_right || Safeguard::StandingCompared.is_off())
        .then(|| (Stamp { epoch: own.epoch, as_of: own.position, ..stamp.clone() }, own))
}

impl Knowledge {
    /// How something is announced that was invalidated by name, if there is a line. Called under
    /// the lock, with the schemes by which its digests were worked out.
    pub(crate) fn announced(
        &self,
        mode: Mode,
        tables: Vec<Digest>,
        what: impl FnOnce() -> Arc<str>,
    ) -> Option<Announced> {
        let line = self.line.as_ref()?;
        let (schemes, epoch) = (line.schemes, line.cursor.epoch);
        Some(Announced { mode, tables, schemes, epoch, what: what() })
    }
}

/// What reaches all that hangs on the tables of `told`.
pub(crate) fn tables_of<'a>(told: impl Iterator<Item = (&'a Name, &'a Change)>) -> Vec<Digest> {
    let mut digests = Vec::new();
    let mut last = None;
    for (timeline, change) in told {
        let row = match change {
            Change::Row(row) | Change::Perhaps(row) => row,
            Change::After(after) => &after.row,
            Change::Touch(_) => continue,
        };
        if last.replace((timeline, &row.table)) == Some((timeline, &row.table)) {
            continue;
        }
        let table = Dependency::table(timeline.clone(), row.table.clone());
        touched_by_name(&table, &mut |digest| digests.push(digest));
    }
    digests.sort_unstable();
    digests.dedup();
    digests
}

/// Dependencies for people: the first few, and how many more.
pub(crate) fn named_in_words(dependencies: &[Dependency]) -> Arc<str> {
    const SHOWN: usize = 3;
    let names = dependencies.iter().take(SHOWN).map(ToString::to_string);
    let mut words = names.collect::<Vec<_>>().join(", ");
    if SHOWN < dependencies.len() {
        words.push_str(&format!(" and {} more", dependencies.len() - SHOWN));
    }
    words.into()
}

/// Two announcements as one.
pub(crate) fn together(own: Announced, next: Announced) -> Announced {
    let mode = if own.mode == next.mode { own.mode } else { Mode::Hard };
    let mut tables = own.tables;
    tables.extend(next.tables);
    tables.sort_unstable();
    tables.dedup();
    let is_short = own.what.len() < WORDS_MAX;
    let what = if is_short { format!("{}, {}", own.what, next.what).into() } else { own.what };
    // Of two lives nothing is known in common.
    let is_same = own.epoch == next.epoch;
    let schemes = if is_same { own.schemes.min(next.schemes) } else { 0 };
    Announced { mode, tables, schemes, epoch: next.epoch, what }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "ask the store").detail("the cache is closed")
}
