//! Places: where this node stands in the log of an origin, by which a store counts.
//!
//! Each node gives an origin lives and positions of its own: it also notices what no log tells, and
//! no two notice alike. What all of them come by are the places of the log, and in the store a
//! timeline has a life and places only. **Invariant**: what is translated from one to the other
//! never says more than both know. As data and under the lock of the timeline: no I/O.
//!
//! # Implementation notes
//!
//! The feed tells, one after the other: position 15 at place 15; position 16 without a new place (a
//! table that the log does not report); position 23 at place 22, in one batch.
//!
//! 1. A value that was loaded as of 18 reflects the places up to 15, and some of those up to 22. It
//!    is written as one of 15, into a store that stands at 22 at least: of one that stands at 15
//!    the log may go back to there, and what the value shows then never was.
//! 2. A record that is right up to the place 20 is right up to position 15, and history is asked
//!    about 23. What happened at 16 is of nothing that a store keeps.

use std::collections::VecDeque;

use larder_core::{Epoch, Position, feed::Mark, safeguard::Safeguard, store::Standing};

/// Places that are remembered, one for each batch that the feed told. A store is as far as its
/// fastest reader, milliseconds away; a load that takes longer than these is not kept in it.
const RECENT_MAX: usize = 256;

/// Places of others that were asked about. Each is the last one for a short time.
const PROVEN_MAX: usize = 8;

/// Where this node stands on one timeline of a store.
#[derive(Debug)]
pub(crate) struct Places {
    /// The store's life of the timeline.
    epoch: Epoch,
    reach: Reach,
    /// The oldest first; never empty. Where nobody shares them only the last one is kept.
    recent: VecDeque<Place>,
    /// What others came by, and is known to be on the same log.
    proven: VecDeque<(Position, Option<Vec<u8>>)>,
}

/// Who comes by the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every node that follows the origin.
    Common,
    /// This node alone: the places are its own positions.
    Own,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// In the words of the store.
    pub(crate) place: Position,
    /// All that was told up to here stands at this place or before, or is of nothing that is kept.
    at: Position,
    /// In the words of the feed.
    pub(crate) mark: Option<Vec<u8>>,
}

impl Reach {
    /// As far as the mark of a feed says.
    pub(crate) fn of(mark: Option<&Mark>) -> Self {
        if mark.is_some_and(|mark| mark.place.is_some()) { Self::Common } else { Self::Own }
    }
}

impl Places {
    /// The life `epoch` of the store, at position `at` of this node.
    pub(crate) fn begin(epoch: Epoch, at: Position, mark: Option<Mark>) -> Self {
        let reach = Reach::of(mark.as_ref());
        let recent = VecDeque::from([Place::new(at, mark)]);
        Self { epoch, reach, recent, proven: VecDeque::new() }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Where this node stands.
    pub(crate) fn last(&self) -> &Place {
        self.recent.back().expect("a life begins at a place")
    }

    /// The same as the feed gave it.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let Place { place, mark, .. } = self.last();
        let place = (self.reach == Reach::Common).then_some(*place);
        mark.clone().map(|bytes| Mark { bytes, place })
    }

    /// Goes on to where the feed now is; where it was before, if that is another place.
    pub(crate) fn advance(&mut self, at: Position, mark: Option<Mark>) -> Option<Position> {
        let (before, next) = (self.last().place, Place::new(at, mark));
        if next.place <= before {
            return None;
        }
        self.recent.push_back(next);
        let most = if self.reach == Reach::Own { 1 } else { RECENT_MAX };
        while most < self.recent.len() {
            self.recent.pop_front();
        }
        Some(before)
    }

    /// Whether where a store stands is in this life, on the log that this node follows, and not
    /// beyond what it knows.
    pub(crate) fn knows(&self, standing: &Standing) -> bool {
        if standing.epoch != self.epoch {
            return false;
        }
        if self.reach == Reach::Own {
            return standing.position <= self.last().place;
        }
        let is_own = |one: &Place| one.place == standing.position && one.mark == standing.mark;
        let is_proven = |(place, mark): &(Position, Option<Vec<u8>>)| {
            *place == standing.position && *mark == standing.mark
        };
        self.recent.iter().rev().any(is_own)
            || self.proven.iter().any(is_proven)
            || (Safeguard::StandingKnown.is_off() && standing.position <= self.last().place)
    }

    /// Goes on in the life of a store that stands where the log followed here has come by; whether
    /// this node has heard of it by now.
    pub(crate) fn adopt(&mut self, standing: &Standing) -> bool {
        if self.reach == Reach::Own || self.last().place < standing.position {
            return false;
        }
        self.epoch = standing.epoch;
        self.proven.push_back((standing.position, standing.mark.clone()));
        while PROVEN_MAX < self.proven.len() {
            self.proven.pop_front();
        }
        true
    }

    /// Up to which place a value is right that is right up to `as_of` here.
    pub(crate) fn place_of(&self, as_of: Position) -> Option<Position> {
        match self.reach {
            Reach::Own => Some(as_of),
            Reach::Common => {
                let mut recent = self.recent.iter().rev();
                recent.find(|one| one.at <= as_of).map(|one| one.place)
            }
        }
    }

    /// At which place stands all that a value shows which was loaded as of `as_of`, by a node that
    /// was told everything up to `applied`; `None` where more has to be told first.
    pub(crate) fn shown_at(&self, as_of: Position, applied: Position) -> Option<Position> {
        if applied < as_of {
            return None;
        }
        match self.reach {
            Reach::Own => Some(as_of),
            // What was told after the last place is of nothing that a store keeps.
            Reach::Common => {
                let mut recent = self.recent.iter();
                Some(recent.find(|one| as_of <= one.at).unwrap_or(self.last()).place)
            }
        }
    }

    /// Up to which position of this node a record is right that is right up to `place`.
    pub(crate) fn position_of(&self, place: Position) -> Option<Position> {
        match self.reach {
            Reach::Own => Some(place),
            Reach::Common => {
                let mut recent = self.recent.iter().rev();
                recent.find(|one| one.place <= place).map(|one| one.at)
            }
        }
    }
}

impl Place {
    fn new(at: Position, mark: Option<Mark>) -> Self {
        let place = mark.as_ref().and_then(|mark| mark.place).unwrap_or(at);
        Self { place, at, mark: mark.map(|mark| mark.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(place: u8, log: u8) -> Option<Mark> {
        Some(Mark { bytes: vec![log, place], place: Some(Position(place.into())) })
    }

    fn places() -> Places {
        let mut places = Places::begin(Epoch(1), Position(15), mark(15, 0));
        assert_eq!(places.advance(Position(16), mark(15, 0)), None);
        assert_eq!(places.advance(Position(23), mark(22, 0)), Some(Position(15)));
        places
    }

    fn standing(epoch: u64, place: u8, log: u8) -> Standing {
        Standing {
            timeline: "shop".into(),
            epoch: Epoch(epoch),
            position: Position(place.into()),
            floor: Position::START,
            mark: mark(place, log).map(|mark| mark.bytes),
        }
    }

    #[test]
    fn a_value_is_written_as_of_the_last_place_that_it_reflects_as_a_whole() {
        let places = places();
        let of = |as_of| places.place_of(Position(as_of)).map(|place| place.0);
        assert_eq!(
            [14, 15, 18, 22, 23, 30].map(of),
            [None, Some(15), Some(15), Some(15), Some(22), Some(22)]
        );
    }

    #[test]
    fn what_a_value_shows_stands_at_the_first_place_that_reflects_it_as_a_whole() {
        let places = places();
        let at = |as_of| places.shown_at(Position(as_of), Position(25)).map(|place| place.0);
        assert_eq!(
            [14, 15, 18, 23, 24, 25, 26].map(at),
            [Some(15), Some(15), Some(22), Some(22), Some(22), Some(22), None]
        );
        let own = Places::begin(Epoch(1), Position(5), None);
        let at = |as_of| own.shown_at(Position(as_of), Position(5)).map(|place| place.0);
        assert_eq!([3, 5, 6].map(at), [Some(3), Some(5), None]);
    }

    #[test]
    fn a_record_is_read_as_of_the_last_position_that_it_reflects_as_a_whole() {
        let places = places();
        let of = |place| places.position_of(Position(place)).map(|at| at.0);
        assert_eq!([14, 15, 20, 22, 40].map(of), [None, Some(15), Some(15), Some(23), Some(23)]);
    }

    #[test]
    fn a_place_of_another_log_or_life_or_between_two_of_ours_is_not_known() {
        let mut places = places();
        assert!(places.knows(&standing(1, 22, 0)));
        for unknown in [standing(1, 22, 1), standing(2, 22, 0), standing(1, 20, 0)] {
            assert!(!places.knows(&unknown), "{unknown:?}");
        }
        assert!(places.adopt(&standing(1, 20, 0)));
        assert!(places.knows(&standing(1, 20, 0)));
        // What was proven says nothing of what a value reflects.
        assert_eq!(places.place_of(Position(15)), Some(Position(15)));
        assert!(!places.adopt(&standing(1, 23, 0)), "this node has not come by there");
        assert!(places.adopt(&standing(2, 22, 0)));
        assert!(places.knows(&standing(2, 22, 0)) && !places.knows(&standing(1, 22, 0)));
    }

    #[test]
    fn positions_that_nobody_shares_are_places() {
        let mut places = Places::begin(Epoch(1), Position(5), None);
        assert_eq!(places.advance(Position(6), None), Some(Position(5)));
        assert_eq!(places.place_of(Position(3)), Some(Position(3)));
        assert_eq!(places.position_of(Position(6)), Some(Position(6)));
        assert!(!places.adopt(&standing(1, 6, 0)));
        assert!(!places.knows(&standing(1, 7, 0)));
    }
}
