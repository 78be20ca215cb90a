//! Feeds that were left and are started again: the checks, and a start in a second life.
//!
//! Apart from `checks`, which know one life of a feed. **Invariant**: between the lives only what a
//! store keeps is carried over: where the timeline stood, and the feed's own mark.

use std::sync::Arc;

use larder_core::{feed::FeedSink, history::Verdict, store::Standing};

use super::{
    Ask, End, Fault, Precision, Row, Support, World, Write,
    ledger::{Ledger, Node, Passed, Record},
};

/// A row that no check asks for.
const APART: i64 = 1000;

/// Starts the feed of a new world where an earlier sink left it; what is committed in between is
/// undone before a check can ask for it. For worlds that run the whole suite in a second life.
pub fn start_where_it_was_left<W: World>(world: &mut W, sink: Arc<dyn FeedSink>) {
    let earlier = Arc::new(Node::new(world.feed().timeline()));
    world.feed().start(earlier.clone()).expect("the feed of a new world starts");
    let row = Row { id: APART, bucket: APART, version: 0 };
    world.transact(&[Write::Put(row)], End::Commit, &mut |_| {});
    world.catch_up().expect("an origin that can be asked catches up");
    world.feed().stop();
    world.transact(&[Write::Remove(APART)], End::Commit, &mut |_| {});
    world.start_from(sink, &earlier.standing());
}

/// What was committed while nobody listened is told, and nothing else falls; or everything does.
pub fn what_nobody_listened_to_is_told_later<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    // So that the log has a line that nobody else's has.
    let row = ledger.row(3, 1);
    ledger.commit(&[Write::Put(row)]);
    let asked = [Ask::Row(1), Ask::Row(2), Ask::Bucket(0), Ask::Bucket(1)];
    asked.iter().for_each(|ask| drop(ledger.load(*ask)));
    for round in 0..4 {
        ledger.catch_up();
        let records = asked.map(|ask| ledger.load(ask));
        let left = ledger.leave();
        let records = records.map(|record| record.kept(&left));
        // In the first round nothing happens at all.
        if round != 0 {
            let row = ledger.row(1, 1);
            ledger.commit(&[Write::Put(row)]);
        }
        let goes_on = ledger.go_on(&left);
        match ledger.world.goes_on() {
            Support::Done => assert!(goes_on, "nothing was in doubt: {left:?}"),
            Support::Unsupported(why) => println!("unsupported: {why}"),
        }
        let is_touched = |record: &Record| round != 0 && record.rows.iter().any(|row| row.id == 1);
        for record in &records {
            let (verdict, _) = ledger.node.ask(record);
            match (goes_on, ledger.world.precision()) {
                (true, Precision::Row) if !is_touched(record) => {
                    assert_eq!(verdict, Verdict::Untouched, "round {round}: {record:?}");
                }
                (true, Precision::Database) if round == 0 => {}
                (true, _) => assert_ne!(verdict, Verdict::Untouched, "{record:?}"),
                (false, _) => assert_eq!(verdict, Verdict::OtherEpoch, "{record:?}"),
            }
        }
        ledger.check_passed(&left, Passed::Before, "it was passed before, and told of later");
        let again = ledger.load(Ask::Row(1));
        ledger.catch_up();
        ledger.check_caught_up(&again, "in the second life");
        let row = ledger.row(1, 1);
        ledger.commit(&[Write::Put(row)]);
        ledger.catch_up();
        assert_ne!(ledger.node.ask(&again).0, Verdict::Untouched, "the second life is watched");
    }
}

/// A feed goes on nowhere but where it was left.
pub fn a_feed_does_not_go_on_elsewhere<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    for fault in [Fault::Replace, Fault::ChangeSchema, Fault::LoseLog, Fault::Restore] {
        for regrow in 0..4 {
            expect_new_epoch(&mut Ledger::started(make(seed)), fault, regrow);
        }
    }
}

/// What is left before `fault`, and `regrow` commits after it, is of another epoch.
fn expect_new_epoch<W: World>(ledger: &mut Ledger<W>, fault: Fault, regrow: i64) {
    if let Support::Unsupported(why) = ledger.world.fault(Fault::Save) {
        return println!("unsupported: {why}");
    }
    ledger.remember();
    for id in 0..2 {
        let row = ledger.row(id, 0);
        ledger.commit(&[Write::Put(row)]);
    }
    ledger.catch_up();
    let record = ledger.load(Ask::Row(1));
    let left: Standing = ledger.leave();
    let record = record.kept(&left);
    // What is lost with the log must have been something.
    let row = ledger.row(2, 0);
    ledger.commit(&[Write::Put(row)]);
    if let Support::Unsupported(why) = ledger.world.fault(fault) {
        return println!("unsupported: {why}");
    }
    if fault == Fault::Restore {
        ledger.return_to_saved();
    }
    for id in 0..regrow {
        let row = ledger.row(id + 2, 1);
        ledger.commit(&[Write::Put(row)]);
    }
    let goes_on = ledger.go_on(&left);
    ledger.check_passed(&left, Passed::Never, "it is of another log");
    let (verdict, _) = ledger.node.ask(&record);
    assert_eq!(verdict, Verdict::OtherEpoch, "{fault:?}, then {regrow} commits: {record:?}");
    assert!(!goes_on || ledger.node.standing().epoch != left.epoch, "{fault:?}");
}
