//! The table against the origin's truth, under random changes, invalidations, windows, failures
//! half-way and cancellations at every await.
//!
//! An operation is polled so often, then something changes beside it or it is dropped. What a read
//! may show is a set of states for each row: the state that it has, and those that are served on
//! by name. **Invariant**: whatever failed or was dropped has changed nothing.

mod ground;

mod steps;

use std::{future::poll_fn, task::Poll};

use larder_core::ErrorKind;
use proptest::prelude::*;
use tokio::task::yield_now;

use self::{
    ground::{Ground, Shown},
    steps::{Change, End, Op, Step, step},
};

/// What an operation that ended has done.
enum Done {
    /// The window is this now, and everything in it was loaded or told of.
    Moved((i64, i64)),
    Refreshed,
    Shown(Shown),
}

async fn act(ground: &Ground, op: &Op) -> Result<Done, larder_core::Error> {
    let table = &ground.table;
    match *op {
        Op::Adjust(low, high) => {
            table.adjust(ground::times(low, high)).await?;
            Ok(Done::Moved((low, high)))
        }
        Op::Reload(low, high) => {
            table.reload(ground::times(low, high)).await?;
            Ok(Done::Moved((low, high)))
        }
        Op::Refresh => table.refresh_invalid().await.map(|_| Done::Refreshed),
        Op::Get(id) => ground.get(id).await.map(Done::Shown),
        Op::Read(low, high, outside) => ground.read(low, high, outside).await.map(Done::Shown),
        Op::ByDevice(device, low, high) => {
            ground.by_device(device, (low, high)).await.map(Done::Shown)
        }
        Op::ByDigit(digit) => ground.by_digit(digit).await.map(Done::Shown),
    }
}

/// Carries out what follows from the end of an operation; `beside` changed while it ran.
fn settle(ground: &mut Ground, op: &Op, done: Result<Done, larder_core::Error>, beside: &[i64]) {
    match done {
        Ok(Done::Moved(window)) => {
            ground.window = window;
            ground.settle_served(beside);
        }
        Ok(Done::Refreshed) => ground.settle_served(beside),
        Ok(Done::Shown(shown)) => ground.check(&shown, beside),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{op:?}: {error}");
            let Op::Read(low, high, _) = *op else { panic!("{op:?}: {error}") };
            assert!(!ground.covers(low, high), "{op:?}: {error}");
        }
    }
}

/// Polls `op` at most so often, then carries out `change` beside it, and ends or drops it.
async fn beside(ground: &mut Ground, op: &Op, polls: usize, change: Option<Change>, end: End) {
    let (shared, before) = (ground.clone(), ground.stats());
    let mut running = Box::pin(act(&shared, op));
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
        if let Poll::Ready(done) = polled {
            settle(ground, op, done, &[]);
            let _ = change.and_then(|change| ground.change(&change));
            return;
        }
        yield_now().await;
    }
    let changed = change.and_then(|change| ground.change(&change));
    match end {
        End::Finish => settle(ground, op, running.await, changed.as_slice()),
        End::Drop => {
            drop(running);
            yield_now().await;
            if op.is_one_step() && changed.is_none() {
                assert_eq!(ground.stats(), before, "{op:?}");
            }
        }
    }
}

async fn carry_out(ground: &mut Ground, step: Step) {
    match step {
        Step::Change(change) => {
            let _ = ground.change(&change);
        }
        Step::Do(op) => {
            let done = act(ground, &op).await;
            settle(ground, &op, done, &[]);
        }
        Step::Fail(op, after) => {
            let before = ground.stats();
            ground.fail_after(Some(after));
            let done = act(ground, &op).await;
            ground.fail_after(None);
            match done {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    assert!(!op.is_one_step() || ground.stats() == before, "{op:?} failed");
                }
                done => settle(ground, &op, done, &[]),
            }
        }
        Step::Beside(op, polls, change, end) => beside(ground, &op, polls, change, end).await,
        Step::Group(device) => ground.check_group(device).await,
    }
}

proptest! {
    /// T13.
    #[test]
    fn table_shows_what_the_origin_has(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut ground = Ground::loaded().await;
            for step in steps {
                carry_out(&mut ground, step).await;
            }
            // Whatever has happened: in the end everything is there.
            carry_out(&mut ground, Step::Do(Op::Refresh)).await;
            carry_out(&mut ground, Step::Do(Op::Adjust(0, 40))).await;
            let all = Op::Read(0, 40, larder_table::Outside::Refuse);
            carry_out(&mut ground, Step::Do(all)).await;
        });
    }
}
