//! The checks of the feed's contract, one function each.
//!
//! Each is a short story with a known end; what random orders find is left to the schedule.

use larder_core::{history::Verdict, timeline::Position};

use super::{
    Ask, End, Fault, Precision, Support, World, Write,
    ledger::{Call, Ledger, Record, record},
};

/// `restarted` comes before anything else.
pub fn a_feed_restarts_before_anything_else<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::fresh(make(seed));
    assert!(ledger.node.calls().is_empty(), "the feed speaks before it is started");
    ledger.start();
    ledger.catch_up();
    let calls = ledger.node.calls();
    let is_first = matches!(calls.first(), Some(Call::Restarted(..) | Call::Resumed(..)));
    assert!(is_first, "{calls:?}");
    ledger.world.feed().stop();
    let before = ledger.node.calls().len();
    let row = ledger.row(1, 1);
    ledger.commit(&[Write::Put(row)]);
    assert_eq!(ledger.node.calls().len(), before, "the feed speaks after it was stopped");
}

/// Positions grow within an epoch, and nothing is confirmed that was not received.
pub fn positions_grow_and_confirmations_follow<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    for id in 0..20 {
        let row = ledger.row(id % 5, id % 2);
        ledger.commit(&[Write::Put(row)]);
        ledger.world.pump(seed ^ id.cast_unsigned());
        if id % 3 == 0 {
            ledger.catch_up();
        }
    }
    ledger.catch_up();
    let mut received = Position::START;
    for call in ledger.node.calls() {
        match call {
            Call::Restarted(_, start, _) | Call::Resumed(_, start) => received = start,
            Call::Received(position) => {
                assert!(received < position, "{position:?} after {received:?}");
                received = position;
            }
            Call::Confirmed(position, _) => {
                assert!(position <= received, "{position:?} was never received");
            }
        }
    }
    let is_confirmed = |call: &Call| matches!(call, Call::Confirmed(..));
    assert!(ledger.node.calls().iter().any(is_confirmed), "nothing was ever confirmed");
}

/// Every commit that was visible before `catch_up` is received when it returns.
pub fn a_commit_before_catch_up_is_received<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    for round in 0..10 {
        let id = round % 4;
        let (row, bucket) = (ledger.load(Ask::Row(id)), ledger.load(Ask::Bucket(round % 2)));
        ledger.catch_up();
        assert_eq!(ledger.node.ask(&row).0, Verdict::Untouched, "nothing happened: {row:?}");
        let new = ledger.row(id, round % 2);
        ledger.commit(&[Write::Put(new)]);
        ledger.catch_up();
        for record in [row, bucket] {
            assert_ne!(ledger.node.ask(&record).0, Verdict::Untouched, "{new:?}: {record:?}");
        }
        let proven = ledger.node.calls().iter().any(|call| matches!(call, Call::Confirmed(..)));
        assert!(proven, "a feed that caught up says how far it is visible");
        let again = ledger.load(Ask::Row(id));
        assert_eq!(again.rows, [new]);
    }
    let mover = ledger.load(Ask::Bucket(1));
    let moved = ledger.row(0, 1);
    ledger.commit(&[Write::Put(moved), Write::Remove(1)]);
    ledger.catch_up();
    assert_ne!(ledger.node.ask(&mover).0, Verdict::Untouched, "a row moved into {mover:?}");
    let left = ledger.load(Ask::Bucket(1));
    let leaver = ledger.row(0, 0);
    ledger.commit(&[Write::Put(leaver)]);
    ledger.catch_up();
    assert_ne!(ledger.node.ask(&left).0, Verdict::Untouched, "a row left {left:?}");
}

/// What was rolled back is in no answer, and answers loaded beside it stay right.
pub fn a_rolled_back_commit_changes_nothing<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    let row = ledger.row(2, 0);
    let mut beside: Option<Record> = None;
    ledger.transact(&[Write::Put(row)], End::Rollback, &mut |world, node| {
        let load = world.begin_load(Ask::Row(2), node.stamp());
        beside = world.finish_load(load).ok().map(|answer| record(node, Ask::Row(2), answer));
    });
    ledger.catch_up();
    assert_eq!(ledger.load(Ask::Row(2)).rows, ledger.answer(Ask::Row(2)));
    if let Some(beside) = beside {
        ledger.check_caught_up(&beside, "after a rollback");
    }
}

/// A change of one row leaves answers that it cannot concern alone, where rows are told apart.
pub fn rows_are_told_apart<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    // The first load of a kind makes its columns known to the feed.
    let asked = [Ask::Row(1), Ask::Bucket(1)];
    asked.iter().for_each(|ask| drop(ledger.load(*ask)));
    ledger.catch_up();
    let records = asked.map(|ask| ledger.load(ask));
    let row = ledger.row(2, 0);
    ledger.commit(&[Write::Put(row)]);
    ledger.catch_up();
    for record in records {
        let (verdict, _) = ledger.node.ask(&record);
        match ledger.world.precision() {
            Precision::Row => assert_eq!(verdict, Verdict::Untouched, "{record:?}"),
            Precision::Database => assert_ne!(verdict, Verdict::Untouched, "{record:?}"),
        }
    }
}

/// The stamp of a load never claims a change that its rows do not show.
pub fn a_load_beside_a_commit_claims_no_more_than_it_reflects<W: World>(
    make: &impl Fn(u64) -> W,
    seed: u64,
) {
    let mut ledger = Ledger::started(make(seed));
    for round in 0..20 {
        let id = round % 4;
        let row = ledger.row(id, round % 2);
        let mut records = vec![];
        let across = {
            let before = ledger.node.stamp();
            ledger.world.begin_load(Ask::Row(id), before)
        };
        ledger.transact(&[Write::Put(row)], End::Commit, &mut |world, node| {
            for ask in [Ask::Row(id), Ask::Bucket(round % 2)] {
                let load = world.begin_load(ask, node.stamp());
                let answer = world.finish_load(load);
                records.extend(answer.ok().map(|answer| record(node, ask, answer)));
            }
        });
        if let Ok(answer) = ledger.world.finish_load(across) {
            records.push(record(&ledger.node, Ask::Row(id), answer));
        }
        ledger.catch_up();
        for record in &records {
            ledger.check_caught_up(record, "loaded beside a commit");
        }
    }
}

/// Another file or server behind the name starts a new epoch.
pub fn another_server_starts_a_new_epoch<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    expect_new_epoch(&mut Ledger::started(make(seed)), Fault::Replace);
}

/// Going back to an older state starts a new epoch, also where it grew again to the same length.
pub fn an_older_state_starts_a_new_epoch<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    for regrow in 0..4 {
        let mut ledger = Ledger::started(make(seed));
        if let Support::Unsupported(why) = ledger.world.fault(Fault::Save) {
            return println!("unsupported: {why}");
        }
        ledger.remember();
        for id in 0..2 {
            let row = ledger.row(id, 0);
            ledger.commit(&[Write::Put(row)]);
        }
        ledger.catch_up();
        let records = [Ask::Row(0), Ask::Row(1), Ask::Bucket(0)].map(|ask| ledger.load(ask));
        if let Support::Unsupported(why) = ledger.world.fault(Fault::Restore) {
            return println!("unsupported: {why}");
        }
        ledger.return_to_saved();
        for id in 0..regrow {
            let row = ledger.row(id + 2, 1);
            ledger.commit(&[Write::Put(row)]);
        }
        ledger.catch_up();
        for record in records {
            let (verdict, _) = ledger.node.ask(&record);
            assert_eq!(verdict, Verdict::OtherEpoch, "{regrow} commits later: {record:?}");
        }
    }
}

/// A changed schema starts a new epoch.
pub fn another_schema_starts_a_new_epoch<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    expect_new_epoch(&mut Ledger::started(make(seed)), Fault::ChangeSchema);
}

fn expect_new_epoch<W: World>(ledger: &mut Ledger<W>, fault: Fault) {
    ledger.catch_up();
    let record = ledger.load(Ask::Row(1));
    if let Support::Unsupported(why) = ledger.world.fault(fault) {
        return println!("unsupported: {why}");
    }
    ledger.catch_up();
    assert_eq!(ledger.node.ask(&record).0, Verdict::OtherEpoch, "after {fault:?}");
    let again = ledger.load(Ask::Row(1));
    ledger.catch_up();
    ledger.check_caught_up(&again, "in the new life");
    let row = ledger.row(1, 1);
    ledger.commit(&[Write::Put(row)]);
    ledger.catch_up();
    assert_ne!(ledger.node.ask(&again).0, Verdict::Untouched, "the new life is watched");
}

/// Changes that were lost with the log are not passed over.
pub fn a_gap_in_the_log_is_not_passed_over<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    for round in 0..5 {
        let record = ledger.load(Ask::Row(1));
        let row = ledger.row(1, round % 2);
        ledger.commit(&[Write::Put(row)]);
        if let Support::Unsupported(why) = ledger.world.fault(Fault::LoseLog) {
            return println!("unsupported: {why}");
        }
        if round % 2 == 0 {
            let other = ledger.row(2, 0);
            ledger.commit(&[Write::Put(other)]);
        }
        ledger.catch_up();
        assert_ne!(ledger.node.ask(&record).0, Verdict::Untouched, "{row:?} was lost: {record:?}");
    }
}

/// Nothing is confirmed while the origin cannot be asked, and nothing is missed by it.
pub fn silence_while_the_origin_cannot_be_asked<W: World>(make: &impl Fn(u64) -> W, seed: u64) {
    let mut ledger = Ledger::started(make(seed));
    let record = ledger.load(Ask::Row(1));
    let row = ledger.row(1, 1);
    if let Support::Unsupported(why) = ledger.world.fault(Fault::Cut) {
        return println!("unsupported: {why}");
    }
    let error = ledger.world.catch_up().expect_err("the origin cannot be asked");
    assert!(error.is_retryable(), "{error:?}");
    let moment = ledger.world.clock().now();
    assert!(ledger.world.catch_up().is_err());
    let proven_later = |call: &Call| matches!(call, Call::Confirmed(_, proven) if moment < *proven);
    let calls = ledger.node.calls();
    assert!(!calls.iter().any(proven_later), "confirmed without having asked: {calls:?}");
    assert_eq!(ledger.world.fault(Fault::Mend), Support::Done);
    ledger.commit(&[Write::Put(row)]);
    ledger.catch_up();
    assert_ne!(ledger.node.ask(&record).0, Verdict::Untouched, "{row:?}: {record:?}");
}
