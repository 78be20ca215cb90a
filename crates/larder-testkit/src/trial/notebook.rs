//! The notebook: what is noted of a read before it begins and after it has ended.
//!
//! Apart from the readers, because there are several kinds of them and each must note the same.
//! **Invariant**: what a fresh answer must include is noted before the read, from what is asked
//! for, never from what came back.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use larder::{Fetched, Region, Source};
use larder_core::Clock;

use super::{node::LAX, question::Question};
use crate::history::{Answer, Label, Micros, Part, Read, Way};

/// See the module.
pub(super) struct Notebook {
    clock: Clock,
    /// What has just befallen the file: the way to note, and until when.
    fate: AtomicU64,
    fate_until: AtomicU64,
}

/// A read that is under way.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) question: Question,
    pub(super) began: Micros,
    /// Commits to the origin until here must be included.
    includes_origin: Micros,
    /// Changes of which a cache was told until here must be included.
    includes_told: Micros,
    /// How the answer came about, where it does not say so itself.
    pub(super) way: Option<Way>,
}

impl Begun {
    /// The origin may be known as late as a lax region allows.
    pub(super) fn lax(self) -> Self {
        Self { includes_origin: self.began.saturating_sub(lax()), ..self }
    }

    /// The same for changes of which another cache on the same file was told.
    pub(super) fn lax_told(self) -> Self {
        Self { includes_told: self.began.saturating_sub(lax()), ..self }
    }

    /// Whether it is asked of a region that may know the origin late.
    pub(super) fn is_lax(&self) -> bool {
        self.includes_origin < self.began
    }

    pub(super) fn by(self, way: Way) -> Self {
        Self { way: Some(way), ..self }
    }
}

fn lax() -> Micros {
    u64::try_from(LAX.as_micros()).unwrap_or(0)
}

impl Notebook {
    pub(super) fn new() -> Self {
        let (fate, fate_until) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { clock: Clock::system(), fate, fate_until }
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.now().as_micros()
    }

    /// From now and for `lasting`, answers count as given right after this.
    pub(super) fn befell(&self, way: Way, lasting: Duration) {
        let place = Way::ALL.iter().position(|own| *own == way).unwrap_or(0);
        self.fate.store(place as u64, Ordering::SeqCst);
        let until = self.clock.now().plus(lasting).as_micros();
        self.fate_until.store(until, Ordering::SeqCst);
    }

    /// What had just befallen the file when a read began.
    fn fate(&self, began: Micros) -> Option<Way> {
        let place = usize::try_from(self.fate.load(Ordering::SeqCst)).ok()?;
        let is_near = began < self.fate_until.load(Ordering::SeqCst);
        Way::ALL.get(place).copied().filter(|_| is_near)
    }

    pub(super) fn begin(&self, question: Question) -> Begun {
        let began = self.now();
        Begun { question, began, includes_origin: began, includes_told: began, way: None }
    }

    /// Asks `region`, and notes the answer. What ends in an error has none to be judged.
    pub(super) async fn fetch(
        &self,
        region: &Region<Question, Vec<Part>>,
        begun: Begun,
        reads: &mut Vec<Read>,
    ) {
        if let Ok(Fetched { value, source, .. }) = region.fetch(&begun.question).await {
            reads.push(self.note(begun, value, source));
        }
    }

    pub(super) fn note(&self, begun: Begun, parts: Answer, source: Source) -> Read {
        let Begun { question, began, includes_origin, includes_told, way } = begun;
        assert!(
            question.asks().eq(parts.iter().map(|part| part.ask)),
            "{question:?} was answered with {parts:?}"
        );
        let kind = question.kind();
        let (of_source, label) = meaning(source);
        let is_softened = way == Some(Way::Softened) && of_source == Way::StaleWhileRevalidate;
        let own = match (way, label) {
            (Some(Way::Softened), _) if is_softened => Way::Softened,
            (Some(Way::Softened) | None, _) => of_source,
            (Some(way), Label::Fresh) => way,
            (Some(_), _) => of_source,
        };
        // What comes from a store does so whatever has just befallen the origin.
        let is_kept = matches!(own, Way::Promoted | Way::RestartedOverStore | Way::Neighbour);
        let way = self.fate(began).filter(|_| !is_kept).unwrap_or(own);
        let ended = self.now();
        Read { kind, parts, began, ended, includes_origin, includes_told, way, label }
    }
}

/// The way and the label of an answer from this source. Each source that there will be needs its
/// arm: see [`Way`].
fn meaning(source: Source) -> (Way, Label) {
    match source {
        Source::Hit => (Way::Hit, Label::Fresh),
        Source::Loaded => (Way::Led, Label::Fresh),
        Source::Joined => (Way::Joined, Label::Fresh),
        Source::SecondFlight => (Way::SecondFlight, Label::Fresh),
        Source::Store => (Way::Promoted, Label::Fresh),
        Source::StaleWhileRevalidate => (Way::StaleWhileRevalidate, Label::Stale),
        Source::StaleOnError => (Way::StaleWhileRevalidate, Label::Stale),
        // What it was built from may be unproven itself.
        Source::BuiltOnStale => (Way::BuiltOnStale, Label::Unproven),
        Source::Unproven => (Way::SecondFlight, Label::Unproven),
        other => panic!("the history test does not know the source {other:?}; give it a way"),
    }
}
