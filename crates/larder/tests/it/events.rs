//! Subscriptions: every step in order, or how many are missing.
//!
//! **Invariant** under test: nobody who invalidates waits for a subscriber.

use std::{sync::Arc, time::Duration};

use by_hand::{now_or_never, pending_then};
use larder::{Cache, Clock, Dependency, Event, Feed, Mode, Notice, Subscription, What};
use larder_testkit::{
    conformance::{Row, Write},
    sim::{SimOrigin, StampFrom},
};

use crate::gate::cache;

const MINUTE: Duration = Duration::from_secs(60);

/// Polling by hand: what is there now, without waiting.
mod by_hand {
    use std::{future::poll_fn, pin::pin, task::Poll};

    pub(super) async fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Polls `future`, which must not be ready; does `act`; then waits for the future.
    pub(super) async fn pending_then<T>(
        future: impl Future<Output = T>,
        act: impl Future<Output = ()>,
    ) -> T {
        let mut future = pin!(future);
        assert!(now_or_never(future.as_mut()).await.is_none(), "it should wait");
        act.await;
        future.await
    }
}

async fn event(subscription: &mut Subscription) -> Event {
    match now_or_never(subscription.next()).await {
        Some(Some(Notice::Invalidated(event))) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_step_by_name_is_told_with_what_it_did() {
    let (cache, clock) = cache();
    let region = cache.region::<u32, u32>("numbers").ttl(MINUTE).build().unwrap();
    for key in 0..3 {
        let begun = region.begin(&key);
        begun.load().tag("all");
        begun.finish(key).await.unwrap();
    }
    cache.invalidate([Dependency::tag("before")]).await.unwrap();
    let mut subscription = cache.subscribe();
    let named = [Dependency::tag("all"), Dependency::id("app", "Row", [7])];
    let done = cache.invalidate(named.clone()).await.unwrap();
    let told = event(&mut subscription).await;
    let (name, _, position) = done.token.iter().next().unwrap();
    assert_eq!((&told.timeline, told.position), (name, *position));
    assert_eq!((told.entries, told.mode, told.at), (3, Mode::Hard, clock.now()));
    assert_eq!(told.what, What::Named(Arc::new(named)));
    assert_eq!(told.what.to_string(), "app/Tag(all), app/Id(Row, 7)");
    assert!(now_or_never(subscription.next()).await.is_none(), "nothing else, and it waits");
}

#[tokio::test]
async fn a_subscriber_that_waits_is_woken() {
    let (cache, _) = cache();
    let mut subscription = cache.subscribe();
    let act = async {
        cache.invalidate([Dependency::tag("now")]).await.unwrap();
    };
    let notice = pending_then(subscription.next(), act).await;
    assert!(matches!(notice, Some(Notice::Invalidated(_))), "{notice:?}");
}

#[tokio::test]
async fn a_slow_subscriber_is_told_how_many_it_missed_and_where() {
    let (cache, _) = cache();
    let (mut slow, mut other) = (cache.subscribe(), cache.subscribe());
    let mut heard = 0;
    for number in 0..1030i64 {
        cache.invalidate([Dependency::id("app", "Row", [number])]).await.unwrap();
        while now_or_never(other.next()).await.is_some() {
            heard += 1;
        }
    }
    assert_eq!(heard, 1030, "one who keeps up misses nothing");
    for number in 0..1024 {
        let what = event(&mut slow).await.what.to_string();
        assert_eq!(what, format!("app/Id(Row, {number})"));
    }
    cache.invalidate([Dependency::tag("after")]).await.unwrap();
    assert_eq!(slow.next().await, Some(Notice::Missed(6)));
    assert_eq!(event(&mut slow).await.what.to_string(), "app/Tag(after)");
}

#[tokio::test]
async fn feeds_are_told_of_with_their_positions_and_doubts() {
    let clock = Clock::manual();
    let origin = SimOrigin::new("shop", 1, clock.clone(), StampFrom::Before);
    let feed = Arc::new(origin.clone());
    let cache = Cache::builder().clock(clock).feed(feed).build().unwrap();
    let mut subscription = cache.subscribe();
    let row = Row { id: 1, bucket: 1, version: 1 };
    let commit = origin.emit(&[Write::Put(row)]);
    origin.show(commit);
    while origin.deliver() {}
    origin.confirm();
    let told = event(&mut subscription).await;
    assert_eq!((&*told.timeline, told.entries), ("shop", 0));
    let What::Reported { changes, words } = &told.what else { panic!("{told:?}") };
    assert_eq!((*changes, &**words), (1, "insert into item"));
    origin.change_schema();
    origin.catch_up().await.unwrap();
    let told = event(&mut subscription).await;
    assert!(matches!(told.what, What::Restarted(_)), "{told:?}");
}

#[tokio::test]
async fn the_end_of_the_cache_is_the_end_of_the_stream() {
    let (cache, _) = cache();
    let mut subscription = cache.subscribe();
    cache.invalidate([Dependency::tag("last")]).await.unwrap();
    drop(cache);
    assert!(matches!(subscription.next().await, Some(Notice::Invalidated(_))));
    assert_eq!(subscription.next().await, None);
    assert_eq!(subscription.next().await, None);
}

#[tokio::test]
async fn names_that_wait_for_a_slow_subscriber_are_bounded() {
    let (cache, _) = cache();
    let mut slow = cache.subscribe();
    let many = |step: i64| (0..10_000).map(move |id| Dependency::id("app", "Row", [step, id]));
    for step in 0..20 {
        cache.invalidate(many(step)).await.unwrap();
    }
    let (mut names, mut missed) = (0, 0);
    while let Some(Some(notice)) = now_or_never(slow.next()).await {
        match notice {
            Notice::Invalidated(Event { what: What::Named(named), .. }) => names += named.len(),
            Notice::Missed(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert!((10_000..=20_000).contains(&names), "{names} names were kept");
    assert_eq!(names as u64 / 10_000 + missed, 20, "what is not told is counted");
    // There is room again, also for one that is larger than all of it.
    cache.invalidate((0..50).flat_map(many)).await.unwrap();
    assert_eq!(event(&mut slow).await.entries, 0);
}

#[tokio::test]
async fn who_subscribes_after_the_end_is_told_of_it() {
    let (cache, _) = cache();
    cache.close().await;
    let mut late = cache.subscribe();
    assert_eq!(now_or_never(late.next()).await, Some(None));
}

#[tokio::test]
async fn a_waker_that_panics_disturbs_nobody_who_invalidates() {
    struct Bad;
    impl std::task::Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("the waker was told to panic");
        }
    }
    let (cache, _) = cache();
    let (mut bad, mut good) = (cache.subscribe(), cache.subscribe());
    let waker = std::task::Waker::from(Arc::new(Bad));
    let mut waits = Box::pin(bad.next());
    let mut context = std::task::Context::from_waker(&waker);
    assert!(waits.as_mut().poll(&mut context).is_pending());
    let act = async {
        cache.invalidate([Dependency::tag("now")]).await.unwrap();
    };
    let notice = pending_then(good.next(), act).await;
    assert!(matches!(notice, Some(Notice::Invalidated(_))), "{notice:?}");
}
