//! One load with several reads that end and begin while its turn is asked for.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::*;

const SOON: Duration = Duration::from_secs(1);

/// Polls once: whether it has ended.
async fn has_ended(future: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[tokio::test]
async fn a_turn_that_comes_while_another_read_waits_is_given_on() {
    let capacity = Capacity::new(1, 10);
    let turn = capacity.turn(AskedBy::Reader, SOON).await.unwrap();
    let lending = turn.lending();
    let first = lending.give_back();
    let other = capacity.turn(AskedBy::Load, SOON).await.unwrap();
    let mut end = pin!(first.end());
    assert!(!has_ended(&mut end).await);
    let second = lending.give_back();
    drop(other);
    assert!(has_ended(&mut end).await);
    // The load that the second read waits for needs it.
    drop(capacity.turn(AskedBy::Load, SOON).await.unwrap());
    second.end().await;
    assert!(capacity.permits.try_acquire().is_err(), "the load has its turn again");
    drop(turn);
    assert_eq!((capacity.running(), capacity.permits.available_permits()), (0, 1));
    assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn two_reads_that_end_while_the_turn_is_asked_for_want_only_one() {
    let capacity = Capacity::new(1, 10);
    let turn = capacity.turn(AskedBy::Reader, SOON).await.unwrap();
    let lending = turn.lending();
    let first = lending.give_back();
    let other = capacity.turn(AskedBy::Load, SOON).await.unwrap();
    let mut end = pin!(first.end());
    assert!(!has_ended(&mut end).await);
    let mut second = pin!(lending.give_back().end());
    assert!(!has_ended(&mut second).await);
    drop(other);
    assert!(has_ended(&mut end).await && has_ended(&mut second).await);
}

#[tokio::test]
async fn a_read_that_is_given_up_takes_a_free_turn_and_waits_for_none() {
    let capacity = Capacity::new(1, 10);
    let turn = capacity.turn(AskedBy::Reader, SOON).await.unwrap();
    let lending = turn.lending();
    drop(lending.give_back());
    assert!(capacity.permits.try_acquire().is_err());
    let waiting = lending.give_back();
    // The load ends while a task that it left behind still waits.
    drop(turn);
    assert_eq!((capacity.running(), capacity.waiting.load(Ordering::Relaxed)), (0, 0));
    waiting.end().await;
    assert_eq!(capacity.permits.available_permits(), 1);
    assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0);
}
