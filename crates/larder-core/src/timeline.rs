//! Timelines: names, epochs, positions, and the stamps that tie a value to them.
//!
//! A timeline is the ordered history of changes of one source of truth. **Invariant**: positions of
//! different timelines, or of different epochs of one timeline, are never compared; the types make
//! such a comparison need two explicit steps.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

/// The name of a timeline: `app`, or the name of an origin.
pub type Name = Arc<str>;

/// The timeline of explicit invalidations, present in every cache.
pub const APP: &str = "app";

/// One unbroken life of a timeline. Random, so that two lives never share a number by accident.
///
/// Any doubt about continuity starts a new epoch, and everything of the old one is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The life that never is: a stamp in it is never current, whatever its position.
    pub const VOID: Self = Self(u64::MAX);

    /// A life that nobody had before: the keys of the standard hasher come from the system.
    pub fn random() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

/// A place in a timeline. It only grows within an epoch and means nothing outside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before every change of the epoch.
    pub const START: Self = Self(0);

    /// The next position.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// Up to where an entry reflects one timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Which timeline.
    pub timeline: Name,
    /// Which life of it.
    pub epoch: Epoch,
    /// The entry reflects every change up to and including this position.
    pub as_of: Position,
}

/// The stamps of an entry: one for each timeline it reflects, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamps(Vec<Stamp>);

impl Stamps {
    /// No stamp yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stamp; where the timeline has one already, keeps what holds for both.
    ///
    /// Two loads of one origin at different positions reflect only the earlier one in common. Two
    /// epochs have nothing in common: the stamp becomes one in [`Epoch::VOID`]. No position of
    /// either epoch would do, for at the start of the later one nothing was touched yet, while the
    /// value read in the earlier one may miss everything that made the epochs differ.
    pub fn add(&mut self, stamp: Stamp) {
        match self.0.binary_search_by(|own| own.timeline.cmp(&stamp.timeline)) {
            Err(place) => self.0.insert(place, stamp),
            Ok(place) => {
                if let Some(own) = self.0.get_mut(place) {
                    if own.epoch != stamp.epoch {
                        own.epoch = Epoch::VOID;
                    }
                    own.as_of = own.as_of.min(stamp.as_of);
                }
            }
        }
    }

    /// This set with `stamp` added, if there is one.
    #[must_use]
    pub fn with(mut self, stamp: Option<Stamp>) -> Self {
        stamp.into_iter().for_each(|stamp| self.add(stamp));
        self
    }

    /// Replaces the stamp of its timeline: the load found out exactly where it stands.
    pub fn set(&mut self, stamp: Stamp) {
        self.0.retain(|own| own.timeline != stamp.timeline);
        self.add(stamp);
    }

    /// The stamp on `timeline`.
    pub fn get(&self, timeline: &str) -> Option<&Stamp> {
        self.0.iter().find(|stamp| &*stamp.timeline == timeline)
    }

    /// All stamps, sorted by the name of their timeline.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Stamp> {
        self.0.iter()
    }

    /// Whether there is no stamp at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Stamp> for Stamps {
    fn from_iter<I: IntoIterator<Item = Stamp>>(stamps: I) -> Self {
        let mut set = Self::new();
        for stamp in stamps {
            set.add(stamp);
        }
        set
    }
}
