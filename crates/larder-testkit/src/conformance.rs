//! The conformance suite: what every origin with a feed must do, whatever it is made of.
//!
//! A backend implements [`World`] over a private server or file and calls [`crate::conformance!`]
//! in one of its test modules; each check becomes a test of its own there. **Invariant**: a check
//! uses nothing but the traits of `larder-core` and the world's own writes and faults, so that it
//! means the same for every backend.

mod checks;
mod ledger;
mod left;
mod schedule;

use std::sync::Arc;

use larder_core::{
    Clock, Error, Stamp,
    feed::{Feed, FeedSink},
    origin::Answer,
    store::Standing,
};

pub use self::{
    checks::{
        a_commit_before_catch_up_is_received, a_feed_restarts_before_anything_else,
        a_gap_in_the_log_is_not_passed_over,
        a_load_beside_a_commit_claims_no_more_than_it_reflects,
        a_rolled_back_commit_changes_nothing, an_older_state_starts_a_new_epoch,
        another_schema_starts_a_new_epoch, another_server_starts_a_new_epoch,
        positions_grow_and_confirmations_follow, rows_are_told_apart,
        silence_while_the_origin_cannot_be_asked,
    },
    left::{
        a_feed_does_not_go_on_elsewhere, start_where_it_was_left,
        what_nobody_listened_to_is_told_later,
    },
    schedule::no_random_schedule_shows_an_old_value_as_fresh,
};

/// One row of the table that every world has: `item(id primary key, bucket, version)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The primary key.
    pub id: i64,
    /// The group it belongs to; a commit can move it.
    pub bucket: i64,
    /// Grows with every write, over all rows.
    pub version: u64,
}

/// A change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Inserts the row or replaces the one with its id.
    Put(Row),
    /// Removes the row with this id, if it is there.
    Remove(i64),
}

/// A question to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The row with this id.
    Row(i64),
    /// All rows of this bucket, sorted by id.
    Bucket(i64),
}

impl Ask {
    /// Whether `row` belongs to the answer.
    pub fn matches(self, row: &Row) -> bool {
        match self {
            Self::Row(id) => row.id == id,
            Self::Bucket(bucket) => row.bucket == bucket,
        }
    }
}

/// What can befall an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Keeps a copy of the database, log included, for [`Fault::Restore`].
    Save,
    /// Puts the copy of the last [`Fault::Save`] in place of the database.
    Restore,
    /// Puts another file or server with the same content behind the name.
    Replace,
    /// Removes the whole change log, delivered or not.
    LoseLog,
    /// Changes the schema in a way that leaves the table's rows and columns as they are.
    ChangeSchema,
    /// From now on the origin cannot be asked.
    Cut,
    /// The origin can be asked again.
    Mend,
}

/// Whether a world can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It did it.
    Done,
    /// It cannot, because of this; the check says so and passes.
    Unsupported(&'static str),
}

/// How finely the feed tells changes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// A change of one row leaves answers without that row alone.
    Row,
    /// Any change touches everything.
    Database,
}

/// What happens to a transaction in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It commits.
    Commit,
    /// It rolls back.
    Rollback,
}

/// An origin, its feed, and somebody who writes to it.
///
/// # Implementations must
/// begin with the table empty and the feed not started.
pub trait World: Sized {
    /// A load that was begun.
    type Load;

    /// The feed.
    fn feed(&self) -> &dyn Feed;

    /// The clock that the feed proves by.
    fn clock(&self) -> &Clock;

    /// How finely it tells changes apart.
    fn precision(&self) -> Precision;

    /// Runs one transaction of somebody else with `writes` to its `end`.
    ///
    /// Calls `during` once, where a load may run beside it: after the writes were made (or, for an
    /// origin that streams a commit before it shows it, after it was streamed) and before they are
    /// visible. When this returns they are visible, or rolled back.
    fn transact(&mut self, writes: &[Write], end: End, during: &mut dyn FnMut(&mut Self));

    /// Begins to answer `ask`; `before` is the confirmed stamp taken before this call. The snapshot
    /// of the load may be taken now or at the end.
    fn begin_load(&mut self, ask: Ask, before: Stamp) -> Self::Load;

    /// Ends a load: what the origin answered.
    ///
    /// # Errors
    /// What the origin says.
    fn finish_load(&mut self, load: Self::Load) -> Result<Answer<Vec<Row>>, Error>;

    /// Does `fault`, or says why it cannot.
    fn fault(&mut self, fault: Fault) -> Support;

    /// Lets the feed make one step of its own, for worlds that are not driven by a thread.
    fn pump(&mut self, choice: u64) {
        let _ = choice;
    }

    /// Starts the feed.
    ///
    /// # Panics
    /// When it does not start.
    fn start(&mut self, sink: Arc<dyn FeedSink>) {
        self.feed().start(sink).expect("the feed of a new world starts");
    }

    /// Starts the feed in a second life, for a sink that kept `left` of the first.
    ///
    /// # Panics
    /// When it does not start.
    fn start_from(&mut self, sink: Arc<dyn FeedSink>, left: &Standing) {
        self.feed().start_from(sink, left).expect("a feed that was stopped starts again");
    }

    /// Whether its feed can go on where it was left.
    fn goes_on(&self) -> Support {
        Support::Unsupported("this feed begins a new life at each start")
    }

    /// Waits for [`Feed::catch_up`]. A world whose feed needs a runtime overrides this.
    ///
    /// # Errors
    /// What the feed says.
    fn catch_up(&mut self) -> Result<(), Error> {
        crate::wait::block_on(self.feed().catch_up())
    }
}

/// Makes one test of every check, over the worlds that `$make` makes from a seed.
///
/// ```text
/// larder_testkit::conformance!(|seed| SqliteWorld::new(seed));
/// ```
///
/// `@one_life` before `$make` leaves out the checks that start a feed again after it was stopped,
/// for a world whose feed does not begin with the world.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance!(@one_life $make);
        $crate::conformance!(@each $make;
            what_nobody_listened_to_is_told_later
            a_feed_does_not_go_on_elsewhere
        );
    };
    (@one_life $make:expr) => {
        $crate::conformance!(@each $make;
            a_feed_restarts_before_anything_else
            positions_grow_and_confirmations_follow
            a_commit_before_catch_up_is_received
            a_rolled_back_commit_changes_nothing
            rows_are_told_apart
            a_load_beside_a_commit_claims_no_more_than_it_reflects
            another_server_starts_a_new_epoch
            an_older_state_starts_a_new_epoch
            another_schema_starts_a_new_epoch
            a_gap_in_the_log_is_not_passed_over
            silence_while_the_origin_cannot_be_asked
            no_random_schedule_shows_an_old_value_as_fresh
        );
    };
    (@each $make:expr; $($check:ident)*) => {$(
        #[test]
        fn $check() {
            for seed in $crate::random::seeds() {
                $crate::conformance::$check(&$make, seed);
            }
        }
    )*};
}
