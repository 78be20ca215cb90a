//! The simulated origin runs the conformance suite, with both kinds of stamps.

use std::{panic::AssertUnwindSafe, sync::Arc};

use larder_core::{
    Change, Clock, Epoch, Error, ErrorKind, Invalidation, Moment, Position, Stamp,
    feed::{Doubt, Feed, FeedSink},
    fork::Fork,
    origin::{Answer, Origin},
};

use super::{Flaw, Saved, SimOrigin, StampFrom};
use crate::{
    conformance::{self, Ask, End, Fault, Precision, Row, Support, World, Write},
    random::Random,
    wait::block_on,
};

type Rows = Result<Answer<Vec<Row>>, Error>;

/// A simulated origin with somebody else's commits in the background, on rows nobody asks for.
struct SimWorld {
    origin: SimOrigin,
    random: Random,
    saved: Option<Saved>,
    background: i64,
    starts: Starts,
    /// The feed that the suite follows, where another one came first.
    branch: Option<Forked>,
}

/// Two branches of a feed.
struct Forked {
    first: Arc<dyn Feed>,
    second: Arc<dyn Feed>,
}

/// The sink of the first.
#[derive(Debug)]
struct Nobody;

impl FeedSink for Nobody {
    fn received(&self, _: &str, _: Position, _: &[Change]) {}
    fn confirmed(&self, _: &str, _: Position, _: Moment) {}
    fn restarted(&self, _: &str, _: Epoch, _: Position, _: Doubt) {}
    fn recorded(&self, _: &str, _: &Invalidation) {}
    fn records_lost(&self, _: &str, _: Doubt) {}
}

/// In which life of its feed a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starts {
    First,
    Second,
}

enum Loading {
    Done(Rows),
    AtTheEnd(Ask, Stamp),
}

impl SimWorld {
    fn new(seed: u64, stamp: StampFrom) -> Self {
        let origin = SimOrigin::new("sim", seed, Clock::manual(), stamp);
        let random = Random::new(seed).split(1);
        Self { origin, random, saved: None, background: 100, starts: Starts::First, branch: None }
    }

    /// One whose feed another sink follows already, in the midst of what it tells.
    fn joined(seed: u64, stamp: StampFrom) -> Self {
        let world = Self::new(seed, stamp);
        let fork = Fork::new(Arc::new(world.origin.clone()));
        let branch = Forked { first: fork.branch(), second: fork.branch() };
        Self { branch: Some(branch), ..world }
    }

    fn join(&mut self, sink: Arc<dyn FeedSink>) {
        let Some(Forked { first, second }) = &self.branch else { return };
        first.start(Arc::new(Nobody)).unwrap();
        let second = second.clone();
        for _ in 0..self.random.below(12) {
            let choice = self.random.next();
            self.pump(choice);
        }
        second.start(sink).unwrap();
        // What stays hidden would hold back what the suite confirms, in whatever feed.
        self.origin.hidden().into_iter().for_each(|commit| self.origin.show(commit));
    }

    fn left(seed: u64, stamp: StampFrom) -> Self {
        Self { starts: Starts::Second, ..Self::new(seed, stamp) }
    }

    fn load(&self, ask: Ask, before: Stamp) -> Rows {
        block_on(self.origin.load(&ask, before))
    }

    fn tick(&self) {
        self.origin.clock().advance(std::time::Duration::from_micros(1));
    }
}

impl World for SimWorld {
    type Load = Loading;

    fn feed(&self) -> &dyn Feed {
        match &self.branch {
            None => &self.origin,
            Some(forked) => &*forked.second,
        }
    }

    fn clock(&self) -> &Clock {
        self.origin.clock()
    }

    fn precision(&self) -> Precision {
        Precision::Row
    }

    fn transact(&mut self, writes: &[Write], end: End, during: &mut dyn FnMut(&mut Self)) {
        self.tick();
        if end == End::Rollback {
            return during(self);
        }
        let commit = self.origin.emit(writes);
        during(self);
        self.origin.show(commit);
        self.tick();
    }

    fn begin_load(&mut self, ask: Ask, before: Stamp) -> Loading {
        if self.random.once_in(2) {
            Loading::Done(self.load(ask, before))
        } else {
            Loading::AtTheEnd(ask, before)
        }
    }

    fn finish_load(&mut self, load: Loading) -> Rows {
        match load {
            Loading::Done(rows) => rows,
            Loading::AtTheEnd(ask, before) => self.load(ask, before),
        }
    }

    fn fault(&mut self, fault: Fault) -> Support {
        self.tick();
        match fault {
            Fault::Save => self.saved = Some(self.origin.save()),
            Fault::Restore => {
                let saved = self.saved.as_ref().expect("the suite saves before it restores");
                self.origin.restore(saved);
            }
            Fault::Replace => self.origin.replace(),
            Fault::LoseLog => self.origin.lose_log(),
            Fault::ChangeSchema => self.origin.change_schema(),
            Fault::Cut => self.origin.cut(),
            Fault::Mend => self.origin.mend(),
        }
        Support::Done
    }

    fn start(&mut self, sink: Arc<dyn FeedSink>) {
        match self.starts {
            Starts::First if self.branch.is_some() => self.join(sink),
            Starts::First => self.feed().start(sink).unwrap(),
            Starts::Second => conformance::start_where_it_was_left(self, sink),
        }
    }

    fn goes_on(&self) -> Support {
        Support::Done
    }

    fn pump(&mut self, choice: u64) {
        self.tick();
        match choice % 6 {
            0 | 1 => {
                self.origin.deliver();
            }
            2 | 3 => self.origin.confirm(),
            4 => {
                let row = Row { id: self.background, bucket: 9, version: 0 };
                self.background += 1;
                self.origin.emit(&[Write::Put(row)]);
            }
            _ => {
                let hidden = self.origin.hidden();
                // Not the one that a transaction of the suite is about to show itself.
                let others = hidden.split_last().map_or(&[][..], |(_, others)| others);
                if !others.is_empty() {
                    self.origin.show(*Random::new(choice).pick(others));
                }
            }
        }
    }

    fn catch_up(&mut self) -> Result<(), Error> {
        self.tick();
        match block_on(self.feed().catch_up()) {
            // The feed waits behind its start barrier until every commit in the log is shown.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.origin.hidden().into_iter().for_each(|commit| self.origin.show(commit));
                block_on(self.feed().catch_up())
            }
            result => result,
        }
    }
}

mod stamped_before_the_load {
    use super::{SimWorld, StampFrom};

    crate::conformance!(|seed| SimWorld::new(seed, StampFrom::Before));
}

mod stamped_in_the_snapshot {
    use super::{SimWorld, StampFrom};

    crate::conformance!(|seed| SimWorld::new(seed, StampFrom::Snapshot));
}

mod joined_and_stamped_before_the_load {
    use super::{SimWorld, StampFrom};

    crate::conformance!(@one_life |seed| SimWorld::joined(seed, StampFrom::Before));
}

mod joined_and_stamped_in_the_snapshot {
    use super::{SimWorld, StampFrom};

    crate::conformance!(@one_life |seed| SimWorld::joined(seed, StampFrom::Snapshot));
}

mod stamped_before_the_load_in_a_second_life {
    use super::{SimWorld, StampFrom};

    crate::conformance!(|seed| SimWorld::left(seed, StampFrom::Before));
}

mod stamped_in_the_snapshot_in_a_second_life {
    use super::{SimWorld, StampFrom};

    crate::conformance!(|seed| SimWorld::left(seed, StampFrom::Snapshot));
}

fn put(id: i64, version: u64) -> Write {
    Write::Put(Row { id, bucket: 0, version })
}

#[test]
fn commits_become_visible_in_any_order_but_for_the_same_row() {
    let origin = SimOrigin::new("sim", 1, Clock::manual(), StampFrom::Before);
    let first = origin.emit(&[put(1, 1)]);
    let other = origin.emit(&[put(2, 2)]);
    let second = origin.emit(&[put(1, 3)]);
    origin.show(other);
    assert_eq!(origin.hidden(), [first, second]);
    origin.show(second);
    assert_eq!(origin.hidden(), [] as [u64; 0]);
}

#[test]
fn many_random_schedules_show_no_old_value_as_fresh() {
    let [_, fresh] = crate::random::seeds();
    for seed in (0..40).chain(fresh..fresh.saturating_add(40)) {
        for stamp in [StampFrom::Before, StampFrom::Snapshot] {
            let make = |seed| SimWorld::new(seed, stamp);
            conformance::no_random_schedule_shows_an_old_value_as_fresh(&make, seed);
        }
    }
}

/// One check of the suite, over the worlds that the first argument makes from a seed.
type Check = fn(&dyn Fn(u64) -> SimWorld, u64);

/// Whether any check of the suite fails for an origin with `flaw`.
fn is_noticed(flaw: Flaw, stamp: StampFrom) -> bool {
    let make = |seed| {
        let world = SimWorld::new(seed, stamp);
        world.origin.err(flaw);
        world
    };
    let checks: [Check; 10] = [
        |make, seed| conformance::a_commit_before_catch_up_is_received(&make, seed),
        |make, seed| {
            conformance::a_load_beside_a_commit_claims_no_more_than_it_reflects(&make, seed);
        },
        |make, seed| conformance::another_server_starts_a_new_epoch(&make, seed),
        |make, seed| conformance::an_older_state_starts_a_new_epoch(&make, seed),
        |make, seed| conformance::another_schema_starts_a_new_epoch(&make, seed),
        |make, seed| conformance::a_gap_in_the_log_is_not_passed_over(&make, seed),
        |make, seed| conformance::silence_while_the_origin_cannot_be_asked(&make, seed),
        |make, seed| conformance::what_nobody_listened_to_is_told_later(&make, seed),
        |make, seed| conformance::a_feed_does_not_go_on_elsewhere(&make, seed),
        |make, seed| conformance::no_random_schedule_shows_an_old_value_as_fresh(&make, seed),
    ];
    (0..10).any(|seed| {
        checks
            .iter()
            .any(|check| std::panic::catch_unwind(AssertUnwindSafe(|| check(&make, seed))).is_err())
    })
}

#[test]
fn the_suite_notices_every_mistake_that_a_feed_could_make() {
    for flaw in [
        Flaw::ConfirmsWhatItReceived,
        Flaw::IgnoresNonce,
        Flaw::IgnoresGap,
        Flaw::IgnoresIdentity,
        Flaw::IgnoresSchema,
        Flaw::ProvesBlindly,
        Flaw::CatchesUpByWord,
        Flaw::ForgetsOldRow,
        Flaw::StampsWithEndOfLog,
        Flaw::GoesOnBlindly,
    ] {
        assert!(is_noticed(flaw, StampFrom::Before), "{flaw:?}");
    }
}
