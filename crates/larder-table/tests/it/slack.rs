//! Slack: reads that reach beyond the window, and what they say of it.

use larder_core::{Dependency, Epoch, ErrorKind, Position, Stamp, origin::Origin};
use larder_table::{Definition, Outside, Ranges, Slack};

use super::origin::{Ground, Reading, reading};

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

/// Readings at the times 0 to 29, of which the window covers 10 to 19, and as good as 8 to 24.
async fn thirty() -> Ground {
    let ground = Ground::with_times(|definition, by_time| {
        definition.slack(by_time, Slack::behind(|end| end + 5).and_before(|start| start - 2));
    });
    (0..30).for_each(|at| ground.origin.put(reading(at, at % 2, at, at)));
    ground.table.load(times(10..20)).await.unwrap();
    ground
}

/// T20, X20: what reaches into the slack is answered from the window, and says how far it did.
#[tokio::test]
async fn read_within_the_slack_asks_nobody_and_says_so() {
    let ground = thirty().await;
    let loads = ground.origin.loads();
    let within = ground.table.range(&ground.by_time, 15..20).await.unwrap();
    assert!(!within.is_within_slack() && within.beyond_window(&ground.by_time).is_empty());
    let select = |range| ground.table.select(&ground.by_time, range);
    let slack = select(times(15..24)).outside(Outside::Refuse).read().await.unwrap();
    assert_eq!((slack.count(), slack.is_within_slack()), (5, true));
    assert_eq!(slack.beyond_window(&ground.by_time), times(20..24));
    let both = select(times(8..25)).read().await.unwrap();
    let expected = times(8..10).union(&times(20..25));
    assert_eq!((both.count(), both.beyond_window(&ground.by_time)), (10, expected));
    let device = ground.table.select(&ground.by_device, Ranges::prefix(1));
    let device = device.and(&ground.by_time, times(18..22)).read().await.unwrap();
    assert_eq!((device.count(), device.beyond_window(&ground.by_time)), (1, times(20..22)));
    assert!(device.beyond_window(&ground.by_device).is_empty(), "the window is not on that");
    let neither = select(times(5..12)).and(&ground.by_time, times(15..25)).read().await.unwrap();
    assert!(!neither.is_within_slack(), "what is in both is within the window");
    let page = select(times(18..22)).page(5).read().await.unwrap();
    assert_eq!((page.len(), page.next(), page.is_within_slack()), (2, None, true));
    assert_eq!(ground.origin.loads(), loads);
    assert_eq!(ground.table.stats().hits_within_slack, 4);
}

#[tokio::test]
async fn read_beyond_the_slack_asks_for_all_that_is_missing() {
    let ground = thirty().await;
    let read = ground.table.range(&ground.by_time, 15..26).await.unwrap();
    assert_eq!((read.count(), read.is_within_slack()), (11, false));
    let before = ground.table.range(&ground.by_time, 7..12).await.unwrap();
    assert_eq!((before.count(), before.is_within_slack()), (5, false));
}

/// Whoever cannot be told that something is missing is told all.
#[tokio::test]
async fn answers_that_cannot_say_so_do_not_use_the_slack() {
    let ground = thirty().await;
    let exact = ground.table.select(&ground.by_time, times(18..22)).exact().read().await.unwrap();
    assert_eq!((exact.count(), exact.is_within_slack()), (4, false));
    let first = ground.table.first(&ground.by_time, 20..22).await.unwrap();
    assert_eq!(first.map(|one| one.id), Some(20));
    let asked = ground.table.asked_by(&ground.by_time);
    assert!(asked.shape(&times(18..22)).contains(&Dependency::table("app", "readings")));
    let before = Stamp { timeline: "app".into(), epoch: Epoch(1), as_of: Position(1) };
    let answer = asked.load(&times(18..22), before).await.unwrap();
    assert_eq!(answer.rows.count(), 4);
    let by_key = Ground::by_key_with(|definition, by_id| {
        definition.slack(by_id, Slack::behind(|end| end + 5));
    });
    (0..9).for_each(|id| by_key.origin.put(reading(id, 1, id, id)));
    by_key.table.load(times(0..5)).await.unwrap();
    assert!(by_key.table.get(&6).await.unwrap().is_some());
    let by_id = by_key.table.primary();
    assert!(by_key.table.range(&by_id, 6..7).await.unwrap().is_within_slack());
}

#[tokio::test]
async fn slack_reaches_into_gaps_and_never_makes_a_window_smaller() {
    let ground = Ground::with_times(|definition, by_time| {
        definition.slack(by_time, Slack::behind(|end| if *end < 15 { end + 5 } else { end - 5 }));
    });
    (0..30).for_each(|at| ground.origin.put(reading(at, 1, at, at)));
    let window = Ranges::of_each([0..10, 20..30]).unwrap();
    ground.table.load(window).await.unwrap();
    let gap = ground.table.range(&ground.by_time, 5..14).await.unwrap();
    assert_eq!((gap.count(), gap.beyond_window(&ground.by_time)), (5, times(10..14)));
    let both = Ranges::of_each([5..14, 22..28]).unwrap();
    let both = ground.table.select(&ground.by_time, both).outside(Outside::Refuse).read().await;
    assert_eq!(both.unwrap().count(), 11);
}

#[test]
fn slack_of_another_index_than_the_windows_is_refused() {
    let mut definition = Definition::<Reading>::new("readings");
    let by_time = definition.index("time", |one| one.time);
    let by_id = definition.primary();
    definition.loads_by(&by_time, |_, _| async { Ok(()) });
    definition.slack(&by_id, Slack::before(|start| start - 1));
    let refused = definition.build(&by_time).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("`time`"), "{refused}");
}
