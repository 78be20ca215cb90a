//! Places: from where a later feed can go on after what this table shows.
//!
//! Apart from `recent`, which keeps rows: a place is what the feed said before it told of
//! something, and it counts when that is shown, not when it is told. **Invariant**: the place that
//! is given is not behind anything that the table does not show.
//!
//! # Implementation notes
//!
//! 1. The feed says that mark 8 leads behind what is told next, and tells of position 8.
//! 2. Loads do not show position 8 yet, so the table does not either. Saved now, it goes with mark
//!    7: with mark 8 the change of position 8 would be in neither the file nor what is told after.
//! 3. The feed confirms position 8, and its rows are shown. Saved now, it goes with mark 8.

use std::collections::VecDeque;

use larder_core::{Position, feed::Mark};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Leads behind what is told next.
    next: Option<Mark>,
    /// Told and not yet shown, in their order.
    ahead: VecDeque<(Position, Option<Mark>)>,
    /// Behind what is shown.
    shown: Option<(Position, Mark)>,
}

impl Places {
    /// What is told next leads to `mark`; `None` where no feed could go on there.
    pub(crate) fn marking(&mut self, mark: Option<Mark>) {
        self.next = mark;
    }

    /// Something was told, up to `position`.
    pub(crate) fn told(&mut self, position: Position) {
        self.ahead.push_back((position, self.next.take()));
    }

    /// What was told up to `position` is shown.
    pub(crate) fn confirm(&mut self, position: Position) {
        while self.ahead.front().is_some_and(|(at, _)| *at <= position) {
            let first = self.ahead.pop_front();
            self.shown = first.and_then(|(at, mark)| Some((at, mark?)));
        }
    }

    /// A life begins, or goes on, at `start`.
    pub(crate) fn begin(&mut self, start: Position) {
        self.ahead.clear();
        self.shown = self.next.take().map(|mark| (start, mark));
    }

    /// From where a later feed can go on after what is shown.
    pub(crate) fn shown(&self) -> Option<&(Position, Mark)> {
        self.shown.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u8) -> Option<Mark> {
        Some(Mark { bytes: vec![number], place: Some(Position(number.into())) })
    }

    #[test]
    fn place_counts_when_what_it_stands_behind_is_shown() {
        let mut places = Places::default();
        places.marking(mark(7));
        places.begin(Position(7));
        places.marking(mark(8));
        places.told(Position(8));
        places.marking(mark(9));
        places.told(Position(9));
        let shown = |places: &Places| places.shown().map(|(at, mark)| (at.0, mark.bytes.clone()));
        assert_eq!(shown(&places), Some((7, vec![7])), "8 was told and is not shown");
        places.confirm(Position(8));
        assert_eq!(shown(&places), Some((8, vec![8])));
        places.marking(mark(10));
        places.confirm(Position(9));
        assert_eq!(shown(&places), Some((9, vec![9])), "nothing was told after mark 10");
        places.told(Position(10));
        // Told without a mark of its own: there is no way to go on from there.
        places.told(Position(11));
        places.confirm(Position(11));
        assert_eq!(shown(&places), None);
        places.begin(Position(3));
        assert_eq!(shown(&places), None, "a life whose beginning has no mark");
    }
}
