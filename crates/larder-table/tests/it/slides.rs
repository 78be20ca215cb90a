//! Windows that move with the time, by a clock and a timer in the hands of the test.

use std::time::Duration;

use larder_core::{Clock, ErrorKind, clock::WallMillis};
use larder_table::{Outside, Ranges, Slide};

use super::origin::{Ground, reading};

const MINUTE: Duration = Duration::from_secs(60);

/// Minutes since the clock was made.
fn minutes(start: WallMillis, now: WallMillis) -> i64 {
    i64::try_from(now.since(start).as_secs() / 60).unwrap()
}

/// A reading each minute, and a table of the last three of them.
struct Sliding {
    ground: Ground,
    clock: Clock,
    slide: Option<Slide>,
}

impl Sliding {
    async fn new() -> Self {
        let rows: Vec<_> = (-3..60).map(|at| reading(at, 1, at, at)).collect();
        let ground = Ground::loaded(&rows, -3..0).await;
        let (clock, start) = (Clock::manual(), Clock::manual().wall());
        let window = move |now| {
            let now = minutes(start, now);
            assert_ne!(now, 13, "a window with a fault");
            Ranges::of(now - 3..now).unwrap()
        };
        let slide = ground.table.slide(clock.clone(), MINUTE, window).unwrap();
        settle().await;
        Self { ground, clock, slide: Some(slide) }
    }

    fn failure(&self) -> Option<ErrorKind> {
        let slide = self.slide.as_ref().unwrap();
        slide.failure().map(|error| error.kind())
    }

    async fn after(&self, minutes: u32) {
        for _ in 0..minutes {
            self.clock.advance(MINUTE);
            tokio::time::advance(MINUTE).await;
            settle().await;
        }
    }

    /// Whether the window is this one.
    async fn covers(&self, times: std::ops::Range<i64>) -> bool {
        let whole = Ranges::of(times.clone()).unwrap();
        let select = self.ground.table.select(&self.ground.by_time, whole);
        let found = select.outside(Outside::Refuse).read().await;
        let held = usize::try_from(self.ground.table.stats().records).unwrap();
        found.is_ok_and(|found| found.count() == times.count() && found.count() == held)
    }
}

/// Lets the task of the slide go as far as it can: it runs on this thread.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn window_moves_with_the_time_and_stands_when_the_handle_is_dropped() {
    let mut sliding = Sliding::new().await;
    assert!(sliding.covers(-3..0).await);
    sliding.after(1).await;
    assert!(sliding.covers(-2..1).await);
    sliding.after(4).await;
    assert!(sliding.covers(2..5).await);
    let loads = sliding.ground.origin.loads();
    assert_eq!(loads, 6, "one for the first load and one for each step");
    drop(sliding.slide.take());
    sliding.after(2).await;
    assert!(sliding.covers(2..5).await);
    assert_eq!(sliding.ground.origin.loads(), loads);
}

#[tokio::test(start_paused = true)]
async fn step_that_fails_keeps_the_window_and_the_next_one_goes_where_it_is_due() {
    let sliding = Sliding::new().await;
    sliding.after(1).await;
    sliding.ground.origin.fail(true);
    sliding.after(2).await;
    assert!(sliding.covers(-2..1).await);
    assert_eq!(sliding.failure(), Some(ErrorKind::Unavailable));
    assert_eq!(sliding.ground.table.stats().slides_failed, 2);
    sliding.ground.origin.fail(false);
    sliding.after(1).await;
    assert!(sliding.covers(1..4).await);
    assert_eq!(sliding.failure(), None);
    sliding.after(8).await;
    assert_eq!(sliding.ground.table.stats().slides_failed, 2);
    sliding.after(1).await;
    assert_eq!(sliding.failure(), Some(ErrorKind::Panicked));
    assert!(sliding.covers(9..12).await);
    sliding.after(1).await;
    assert!(sliding.covers(11..14).await, "a panic does not end it");
}

#[tokio::test(start_paused = true)]
async fn readers_see_the_old_window_until_a_slow_step_ends_and_steps_do_not_queue() {
    let sliding = Sliding::new().await;
    sliding.ground.origin.stop();
    sliding.after(4).await;
    assert!(sliding.covers(-3..0).await);
    let loads = sliding.ground.origin.loads();
    sliding.ground.origin.end_one();
    settle().await;
    assert!(sliding.covers(-2..1).await, "where it was due when the step began");
    settle().await;
    assert_eq!(sliding.ground.origin.loads(), loads + 1, "one for all that were left out");
    sliding.ground.origin.end_one();
    settle().await;
    assert!(sliding.covers(1..4).await);
    let adjustments = sliding.ground.table.stats().adjustments;
    assert_eq!(adjustments, 4, "the load, the first step, the slow one, and that one");
}

#[tokio::test(start_paused = true)]
async fn slide_does_not_keep_its_table_alive_nor_go_without_a_step() {
    let Sliding { ground, clock, slide: _slide } = Sliding::new().await;
    let origin = ground.origin.clone();
    let zero = ground.table.slide(clock.clone(), Duration::ZERO, |_| Ranges::none());
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::Config);
    drop(ground);
    let loads = origin.loads();
    for _ in 0..3 {
        clock.advance(MINUTE);
        tokio::time::advance(MINUTE).await;
        settle().await;
    }
    assert_eq!(origin.loads(), loads);
}
