//! Origins: what this node and others apply, each for itself, to what one store keeps of them.
//!
//! Apart from `shared`, where one announces and the others listen: a feed tells every node. What
//! they have in common are the places of the origin's log ([`crate::places`]). **Invariant**: this
//! node neither moves nor believes a standing of the store unless it is known to be on the log
//! that this node follows; and it brings all that was touched since, or the store's floor rises.
//!
//! # Implementation notes
//!
//! A and B are nodes in two processes, S is where the store stands, E its life.
//!
//! *Starting.* B finds S with a mark, and its feed goes on there: B is in the life E, whether A is
//! alive or not. Where the feed cannot go on, or there is no S, B begins a life in place of the one
//! that it found; of two that do so at once the second is refused, asks its feed about the mark of
//! the first, and goes on in that life. Nothing falls in its memory: its own life of the timeline
//! is another one.
//!
//! *A slower one.* B has been stopped at 15 while A went on to 20.
//!
//! 1. B reads an entry in a snapshot that stands at 20: B does not know this place. It asks its
//!    feed, which reads on to the end of the log first; only then the place may be known, and B's
//!    history is asked about what came after it.
//! 2. B writes an entry that it loaded before it was stopped: inside the transaction, the place 20
//!    is not known. Not written; it asks its feed, and may try once more.
//! 3. B brings a step from 15 to 18: the store is there already. From 15 to 25: the place 20 must
//!    be known.
//!
//! *A log that goes back.* See `standing` of the store: a place has the same number and another
//! mark. B asks its feed; that is not the log, and B begins a new life.
//!
//! *One that dies.* What A had not noted, B notes: it has applied all of it since S. What A had
//! noted, was committed as a whole.
//!
//! *One that forgets.* B had more waiting than it reads, panicked, or lost its connection. It
//! begins a life of its own at 20, where the log ends, and stays in E as one that has just come:
//! it has been at 20 and nowhere else, and asks its feed about any other place.
//!
//! 1. A has followed the log to 20 or beyond, and the store stands there. B goes on from there, and
//!    serves what A and itself have kept.
//! 2. The store stands at 15, by A or by B itself, and nobody is alive who heard of 16. B finds no
//!    position of its own that early: it reads nothing. Its value is not written at 15, its step
//!    begins after 20, and over that gap the floor rises: as if it had begun a life.
//! 3. As 2, but A is only a moment later than B. The floor rises over what A kept up to 15; what A
//!    brings from 15 to 20 is done already.
//! 4. B had noted some of what it knew. What is in the store of that, or on its way, is whole: it
//!    was noted after its history had taken up all of a batch. The rest is left out, and 2 holds.
//! 5. While B was away the log went back, or the schema changed. No doubt of B's says so, but 15 is
//!    not on its log then: its next write or step is refused, and it begins a life.
//!
//! Where the doubt is about the log or what fills it, all who follow it come to the same, and what
//! E says may be wrong whether its mark is found or not: B begins a life in place of it.
//!
//! *A new schema.* A and B notice it one after the other, and both begin a life in place of E.
//!
//! 1. B has begun one in its memory; the step is on its way into the store, which is in E still.
//! 2. B reads an entry. The mark of E is not of its log any more: a miss. Nothing is to be done
//!    about E, which the step of 1 ends; whoever took it as a dispute would end the life of A.
//!
//! *One that never agrees.* Two origins under one name would take the life from each other without
//! end. So one node begins a life in place of another's only once in [`PAUSE`], and keeps nothing
//! of that origin meanwhile.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Change, Digest, Epoch, Moment, Name, Stamp, Stamps,
    feed::{Doubt, Feed, Mark},
    history::Touched,
    store::{Begins, Origins, SchemesKnown, Standing, Step},
    timeline::APP,
};

use crate::{
    node::{Knowledge, Node},
    places::{Places, Reach},
    shared,
};

/// How long a node leaves the timeline to others after it has taken a life from them. At a tenth
/// two that do not agree would write a life with each change; at ten times as much, one that is
/// right would go without a store for most of a minute.
const PAUSE: Duration = Duration::from_secs(5);

/// What the store has of a timeline of an origin, as far as this node knows.
#[derive(Debug, Default)]
pub(crate) struct InStore {
    /// Where it stood when this node began, until the feed has said whether it goes on there.
    offered: Option<Standing>,
    /// The life in which it was when this node last heard, in place of which a new one would begin.
    epoch: Option<Epoch>,
    /// Where this node stands in it, if it keeps it.
    places: Option<Places>,
    /// When this node has taken a life from others.
    taken: Option<Moment>,
}

#[cfg(test)]
impl InStore {
    pub(crate) fn in_life(places: Places) -> Self {
        Self { epoch: Some(places.epoch()), places: Some(places), ..Self::default() }
    }
}

/// What a node does that finds the store on a log which is not the one that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispute {
    /// Nothing: it has read a snapshot, and the store may have moved on, by what it has noted
    /// itself and not yet written.
    Leave,
    /// It begins a life in place of the one that both are in: the store stood there inside a
    /// transaction. A step tells whether another life still is the store's.
    TakeOwn,
    /// It begins a life in place of whatever it is: a step was refused because of that.
    Take,
}

/// What touched something, for the store.
pub(crate) struct Brought<'a> {
    pub(crate) touched: &'a Touched,
    pub(crate) tables: Vec<Digest>,
    pub(crate) schemes: SchemesKnown,
}

impl Node {
    /// Where the store stands on an origin, before its feed starts there: what the feed is given,
    /// in a life of this node.
    pub(crate) fn offer(&self, standing: &Standing) -> Standing {
        if let Some(timeline) = self.timeline(&standing.timeline) {
            let in_store = &mut timeline.knowledge.lock().in_store;
            in_store.epoch = Some(standing.epoch);
            in_store.offered = Some(standing.clone());
        }
        Standing { epoch: Epoch::random(), ..standing.clone() }
    }

    /// What a batch of changes touches in a store, to be gathered before the history takes it up.
    pub(crate) fn brings(
        &self,
        timeline: &Name,
        changes: &[Change],
    ) -> (Vec<Digest>, SchemesKnown) {
        match self.journal() {
            None => (Vec::new(), SchemesKnown::NONE),
            Some(_) => {
                let named = changes.iter().map(|change| (timeline, change));
                (shared::tables_of(named), *self.schemes.lock())
            }
        }
    }

    /// Notes for the store what the history of an origin has taken up.
    ///
    /// # Callers must
    /// hold the lock of the timeline, as for all that takes a [`Knowledge`].
    pub(crate) fn note_received(&self, knowledge: &mut Knowledge, brought: Brought<'_>) {
        let Some(journal) = self.journal() else { return };
        let (mark, at) = (knowledge.mark.take(), knowledge.history.applied());
        let reach = Reach::of(mark.as_ref());
        let Some(places) = knowledge.in_store.places.as_mut().filter(|own| own.reach() == reach)
        else {
            // The feed has found, or lost, a way to say where it is.
            return self.begin_life(knowledge, mark);
        };
        let Some(before) = places.advance(at, mark) else { return };
        let everything = knowledge.history.everything() == at;
        let Brought { touched, tables, schemes } = brought;
        let begins = Begins::After(before);
        let step = Step {
            tables,
            schemes,
            everything,
            ..step_to(knowledge, places_of(knowledge), begins)
        };
        journal.note(Step { digests: touched.digests.clone(), ..step });
    }

    /// Goes on in the life that the store is in where a new one has begun here for no reason of the
    /// log's, or begins one there as well.
    pub(crate) fn restart_in_store(&self, knowledge: &mut Knowledge, doubt: Doubt) {
        let (mark, at) = (knowledge.mark.take(), knowledge.history.applied());
        let is_of_log = match doubt {
            Doubt::Started | Doubt::Overflow | Doubt::Panicked => false,
            // Also what is not known here.
            _ => true,
        };
        let places = knowledge.in_store.places.as_ref();
        let is_common = |own: &&Places| own.reach() == Reach::Common;
        match places.filter(is_common).filter(|_| Reach::of(mark.as_ref()) == Reach::Common) {
            Some(places) if !is_of_log => {
                knowledge.in_store.places = Some(Places::begin(places.epoch(), at, mark));
            }
            Some(_) | None => self.begin_life(knowledge, mark),
        }
    }

    /// Begins a life of the timeline in the store where this node stands, if it may keep it.
    pub(crate) fn begin_life(&self, knowledge: &mut Knowledge, mark: Option<Mark>) {
        let Some(journal) = self.journal() else { return };
        let (reach, at) = (Reach::of(mark.as_ref()), knowledge.history.applied());
        knowledge.in_store.offered = None;
        if reach == Reach::Own && self.origins == Origins::NotKept {
            knowledge.in_store.places = None;
            return;
        }
        let epoch = Epoch::random();
        let places = Places::begin(epoch, at, mark);
        // In place of which life is said when it is written: what was noted before may begin one.
        let step = step_to(knowledge, &places, Begins::Anew(None));
        knowledge.in_store.places = Some(places);
        journal.note(Step { epoch, ..step });
    }

    /// Goes on in the life that the store was offered to be in.
    pub(crate) fn go_on(&self, knowledge: &mut Knowledge) {
        let (mark, at) = (knowledge.mark.take(), knowledge.history.applied());
        let is_ours = Reach::of(mark.as_ref()) == Reach::Common || self.origins == Origins::Kept;
        let offered = knowledge.in_store.offered.take().filter(|_| is_ours);
        knowledge.in_store.places = offered.map(|own| Places::begin(own.epoch, at, mark));
    }

    /// Notes where this node stands on its origins for a store that stands elsewhere, although all
    /// was written: it went back, or is in another life, and would refuse every value until the
    /// next change.
    pub(crate) fn note_if_behind(&self, stamps: &Stamps, standings: &[Standing]) {
        let Some(journal) = self.journal() else { return };
        for stamp in stamps.iter().filter(|stamp| *stamp.timeline != *APP) {
            let Some(timeline) = self.timeline(&stamp.timeline) else { continue };
            let knowledge = timeline.knowledge.lock();
            let Some(places) = &knowledge.in_store.places else { continue };
            let shown_at = places.shown_at(stamp.as_of, knowledge.history.applied());
            let Some(place) = shown_at else { continue };
            let is_there = |own: &Standing| {
                own.timeline == stamp.timeline
                    && own.epoch == places.epoch()
                    && place <= own.position
            };
            if !standings.iter().any(is_there) {
                let begins = Begins::After(places.last().place);
                journal.note(step_to(&knowledge, places, begins));
            }
        }
    }

    /// The steps as the store is to have them: of the life that it is in. Those of a life that is
    /// over here are left out.
    pub(crate) fn in_words_of_store(&self, steps: &[Step]) -> Vec<Step> {
        let translated = |step: &Step| {
            if step.announced.is_some() {
                return Some(step.clone());
            }
            let knowledge = self.timeline(&step.timeline)?.knowledge.lock();
            let places = knowledge.in_store.places.as_ref()?;
            let (own, begins) = match step.begins {
                after @ Begins::After(_) => (knowledge.history.epoch(), after),
                Begins::Anew(_) => (places.epoch(), Begins::Anew(knowledge.in_store.epoch)),
            };
            (step.epoch == own).then(|| Step { epoch: places.epoch(), begins, ..step.clone() })
        };
        steps.iter().filter_map(translated).collect()
    }

    /// Notes in which lives the store is now that `steps` were written, but for what it refused.
    pub(crate) fn were_written(&self, steps: &[Step], refused: &[Standing]) {
        for step in steps.iter().filter(|step| matches!(step.begins, Begins::Anew(_))) {
            let is_refused = refused.iter().any(|own| own.timeline == step.timeline);
            if let Some(timeline) = self.timeline(&step.timeline)
                && !is_refused
            {
                timeline.knowledge.lock().in_store.epoch = Some(step.epoch);
            }
        }
    }

    /// Whether a store stands where this node has been, in the life that both are in.
    pub(crate) fn knows(&self, standing: &Standing) -> bool {
        self.timeline(&standing.timeline).is_some_and(|timeline| {
            let knowledge = timeline.knowledge.lock();
            knowledge.in_store.places.as_ref().is_some_and(|places| places.knows(standing))
        })
    }

    /// Whether a store stands where all is that a value with `stamp` shows, in this node's words.
    pub(crate) fn shows_no_more(&self, stamp: &Stamp, standing: &Standing) -> bool {
        self.timeline(&stamp.timeline).is_some_and(|timeline| {
            let knowledge = timeline.knowledge.lock();
            let places = knowledge.in_store.places.as_ref();
            let applied = knowledge.history.applied();
            let place = places.and_then(|places| places.shown_at(stamp.as_of, applied));
            place.is_some_and(|place| place <= standing.position)
        })
    }

    /// Those of `standings` of which this node does not know whether they are on the log that it
    /// follows, and could ask.
    pub(crate) fn unknown<'a>(&self, standings: &'a [Standing]) -> Vec<&'a Standing> {
        let is_unknown = |one: &&Standing| {
            *one.timeline != *APP
                && self.timeline(&one.timeline).is_some_and(|timeline| {
                    let in_store = &timeline.knowledge.lock().in_store;
                    in_store.places.as_ref().is_some_and(|places| !places.knows(one))
                })
        };
        standings.iter().filter(is_unknown).collect()
    }

    /// Asks the feed about a standing that is not known; whether it is now. If it is of another
    /// log, a new life begins in the store, as far as `dispute` goes.
    pub(crate) async fn ask_about(
        &self,
        feeds: &[Arc<dyn Feed>],
        standing: &Standing,
        dispute: Dispute,
    ) -> bool {
        let feed = feeds.iter().find(|feed| *feed.timeline() == standing.timeline);
        let (Some(timeline), Some(feed)) = (self.timeline(&standing.timeline), feed) else {
            return false;
        };
        // Once more where the question itself has made the feed begin anew.
        for _ in 0..2 {
            let life = {
                let knowledge = timeline.knowledge.lock();
                match &knowledge.in_store.places {
                    Some(places) if places.knows(standing) => return true,
                    Some(_) => knowledge.history.epoch(),
                    None => return false,
                }
            };
            let asked = match &standing.mark {
                Some(mark) => feed.has_passed(mark).await,
                None => Ok(false),
            };
            let mut knowledge = timeline.knowledge.lock();
            match asked {
                // The store was restored, and is in no life at all: nobody can be at odds with it.
                Ok(_) if standing.epoch == Epoch::VOID => {
                    let places = knowledge.in_store.places.as_ref();
                    let mark = places.and_then(Places::mark);
                    self.begin_life(&mut knowledge, mark);
                    return false;
                }
                Err(_) => return false,
                Ok(_) if knowledge.history.epoch() != life => {}
                Ok(true) => return adopt(&mut knowledge.in_store, standing),
                Ok(false) => {
                    let own = knowledge.in_store.places.as_ref().map(Places::epoch);
                    let is_own = own == Some(standing.epoch);
                    if dispute == Dispute::Take || (dispute == Dispute::TakeOwn && is_own) {
                        self.take_life(&mut knowledge, standing);
                    }
                    return false;
                }
            }
        }
        false
    }

    /// Begins a life in place of one that is of another log, unless it did just now.
    fn take_life(&self, knowledge: &mut Knowledge, standing: &Standing) {
        let now = self.clock.now();
        let in_store = &mut knowledge.in_store;
        let Some(places) = &in_store.places else { return };
        let mark = places.mark();
        if in_store.taken.is_some_and(|taken| now < taken.plus(PAUSE)) {
            return;
        }
        tracing::warn!(
            timeline = %standing.timeline,
            "the store stands on another log of this origin than is followed here: a new life \
             begins in it"
        );
        (in_store.taken, in_store.epoch) = (Some(now), Some(standing.epoch));
        self.begin_life(knowledge, mark);
    }

    /// The stamps on origins of a record that is about to be written, in the words of the store;
    /// `None` where it keeps one of them without this node, or nobody can say what it reflects.
    pub(crate) fn in_places(&self, stamps: &Stamps) -> Option<Stamps> {
        let translated = |stamp: &Stamp| {
            if *stamp.timeline == *APP {
                return Some(stamp.clone());
            }
            let knowledge = self.timeline(&stamp.timeline)?.knowledge.lock();
            let places = knowledge.in_store.places.as_ref()?;
            let as_of = places.place_of(stamp.as_of)?;
            let is_current = knowledge.history.epoch() == stamp.epoch;
            let timeline = stamp.timeline.clone();
            is_current.then(|| Stamp { timeline, epoch: places.epoch(), as_of })
        };
        stamps.iter().map(translated).collect()
    }

    /// A stamp on an origin of a record that was found in a store which stands at `standing`, in
    /// the words of this node.
    pub(crate) fn as_of_place(&self, stamp: &Stamp, standing: &Standing) -> Option<Stamp> {
        let knowledge = self.timeline(&stamp.timeline)?.knowledge.lock();
        let places = knowledge.in_store.places.as_ref().filter(|own| own.knows(standing))?;
        let as_of = places.position_of(standing.position)?;
        Some(Stamp { as_of, ..knowledge.history.stamp() })
    }
}

/// Goes on in the life of a store that stands on the log which is followed here; whether this node
/// has come by that place.
fn adopt(in_store: &mut InStore, standing: &Standing) -> bool {
    let is_known = in_store.places.as_mut().is_some_and(|places| places.adopt(standing));
    if is_known {
        in_store.epoch = Some(standing.epoch);
    }
    is_known
}

fn places_of(knowledge: &Knowledge) -> &Places {
    knowledge.in_store.places.as_ref().expect("the caller has just advanced it")
}

/// A step to where this node stands in the store, which touches nothing yet.
fn step_to(knowledge: &Knowledge, places: &Places, begins: Begins) -> Step {
    let last = places.last();
    Step {
        timeline: knowledge.history.timeline().clone(),
        epoch: knowledge.history.epoch(),
        begins,
        position: last.place,
        digests: Vec::new(),
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: last.mark.clone(),
        announced: None,
    }
}
