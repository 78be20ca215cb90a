//! What a feed tells while a load is under way: a feed in the hands of the test.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use larder_core::{
    BoxFuture, Clock, Dependency, Epoch, Error, ErrorKind, Invalidation, Name, Position, Value,
    change::{Change, RowChange},
    feed::{Doubt, Feed, FeedSink},
};
use larder_table::{Image, Ranges, Rules};

use super::origin::{Ground, Reading, reading};

/// A feed that tells what it is given to tell.
struct Hand {
    name: Name,
    sink: OnceLock<Arc<dyn FeedSink>>,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hand")
    }
}

impl Feed for Hand {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        sink.restarted("hand", Epoch(1), Position(0), Doubt::Started);
        self.sink.set(sink).map_err(|_| Error::new(ErrorKind::Conflict, "start twice"))
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) {}
}

impl Hand {
    fn sink(&self) -> &dyn FeedSink {
        &**self.sink.get().expect("it is followed")
    }

    fn tell(&self, position: u64, old: Option<&Reading>, new: Option<&Reading>) {
        let image =
            |one: &Reading| [one.device, one.id, one.time, one.value].map(Value::Integer).to_vec();
        let row = RowChange {
            table: "reading".into(),
            columns: ["device", "id", "time", "value"].map(Into::into).into(),
            key: [1].into(),
            old: old.map(image),
            new: new.map(image),
        };
        self.sink().received("hand", Position(position), &[Change::Row(row)]);
    }

    fn confirm(&self, position: u64) {
        self.sink().confirmed("hand", Position(position), Clock::system().now());
    }
}

fn record(row: &Image<'_>) -> Option<Reading> {
    let [id, device, time, value] = ["id", "device", "time", "value"].map(|name| row.integer(name));
    Some(reading(id?, device?, time?, value?))
}

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

fn follow(ground: Ground, rules: impl FnOnce(&Ground) -> Rules<Reading>) -> (Ground, Arc<Hand>) {
    let hand = Arc::new(Hand { name: "hand".into(), sink: OnceLock::new() });
    let rules = rules(&ground).max_staleness(Duration::from_secs(3600));
    ground.table.follow(hand.clone(), rules, Clock::system()).unwrap();
    hand.confirm(0);
    (ground, hand)
}

async fn followed(
    rules: impl FnOnce(&Ground) -> Rules<Reading>,
    rows: &[Reading],
) -> (Ground, Arc<Hand>) {
    let (ground, hand) = follow(Ground::new(), rules);
    rows.iter().for_each(|row| ground.origin.put(row.clone()));
    ground.table.load(times(0..9)).await.unwrap();
    (ground, hand)
}

fn are_records(_: &Ground) -> Rules<Reading> {
    Rules::new().records("reading", record)
}

/// What a load read before the feed told of it does not take its place, whether the row changed,
/// went, or came.
#[tokio::test]
async fn row_told_of_during_a_load_is_not_replaced_by_what_the_load_read() {
    let [one, two, gone] = [reading(1, 1, 1, 10), reading(2, 1, 11, 20), reading(3, 1, 12, 30)];
    let (ground, hand) = followed(are_records, &[one.clone(), two.clone(), gone.clone()]).await;
    ground.origin.stop();
    let table = ground.table.clone();
    let adjust = tokio::spawn(async move { table.reload(times(0..20)).await.unwrap() });
    ground.origin.has_read().await;
    let (newer, moved, came) = (reading(1, 1, 1, 11), reading(2, 1, 13, 21), reading(4, 1, 14, 40));
    hand.tell(1, Some(&one), Some(&newer));
    hand.tell(2, Some(&two), Some(&moved));
    hand.tell(3, Some(&gone), None);
    hand.tell(4, None, Some(&came));
    hand.confirm(4);
    ground.origin.permits.add_permits(100);
    adjust.await.unwrap();
    let loads = ground.origin.loads();
    assert_eq!(ground.shown(0..20).await, [(1, 11), (2, 21), (4, 40)]);
    assert_eq!(ground.origin.loads(), loads);
    hand.tell(5, Some(&newer), Some(&reading(1, 1, 30, 12)));
    hand.confirm(5);
    assert_eq!(ground.shown(0..20).await, [(2, 21), (4, 40)], "it moved out of the window");
}

/// A load that begins before the origin shows what it told of would read the old row: it waits.
#[tokio::test]
async fn refresh_waits_until_the_origin_shows_what_it_told_of() {
    let one = reading(1, 1, 1, 10);
    let by_key = |ground: &Ground| {
        Rules::new()
            .touches("reading", &ground.table.primary(), |row: &Image<'_>| row.integer("id"))
    };
    let (ground, hand) = followed(by_key, std::slice::from_ref(&one)).await;
    let newer = reading(1, 1, 1, 11);
    hand.tell(1, Some(&one), Some(&newer));
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().to_vec() });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!read.is_finished(), "the origin does not show it yet");
    ground.origin.put(newer);
    hand.confirm(1);
    assert_eq!(read.await.unwrap()[0].value, 11);
}

/// A new life of the timeline begins while a load is under way: what it read may be of the old one.
#[tokio::test]
async fn load_that_a_restart_falls_into_is_loaded_again() {
    let one = reading(1, 1, 1, 10);
    let (ground, hand) = followed(are_records, std::slice::from_ref(&one)).await;
    ground.origin.stop();
    let table = ground.table.clone();
    let adjust = tokio::spawn(async move { table.adjust(times(0..20)).await.unwrap() });
    ground.origin.has_read().await;
    ground.origin.put(reading(15, 1, 15, 50));
    hand.sink().restarted("hand", Epoch(2), Position(0), Doubt::Replaced);
    hand.confirm(0);
    ground.origin.permits.add_permits(100);
    adjust.await.unwrap();
    assert_eq!(ground.shown(0..20).await, [(1, 10), (15, 50)]);
}

#[tokio::test]
async fn feed_is_followed_once_and_before_the_load() {
    let (ground, hand) = followed(are_records, &[]).await;
    let late = ground.table.follow(hand, are_records(&ground), Clock::system()).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let ground = Ground::new();
    let hand = Arc::new(Hand { name: "hand".into(), sink: OnceLock::new() });
    let rules = Rules::new().touches("reading", &ground.by_device, |row: &Image<'_>| {
        Some((row.integer("device")?, row.integer("time")?))
    });
    let unloadable = ground.table.follow(hand, rules, Clock::system()).unwrap_err();
    assert!(unloadable.to_string().contains("loads_by"), "{unloadable}");
}

/// A commit that a feed tells in two parts is seen as a whole, when the origin shows it.
#[tokio::test]
async fn commit_told_in_parts_is_seen_at_once() {
    let [one, two] = [reading(1, 1, 1, 10), reading(2, 1, 2, 20)];
    let (ground, hand) = followed(are_records, &[one.clone(), two.clone()]).await;
    hand.tell(1, Some(&one), Some(&reading(1, 1, 1, 11)));
    assert_eq!(ground.shown(0..9).await, [(1, 10), (2, 20)]);
    hand.tell(1, Some(&two), Some(&reading(2, 1, 2, 21)));
    hand.confirm(1);
    assert_eq!(ground.shown(0..9).await, [(1, 11), (2, 21)]);
}

/// A transaction that names rows which no trigger saw is heard; one that names a label is not.
#[tokio::test]
async fn recorded_invalidation_of_rows_puts_them_in_doubt() {
    let one = reading(1, 1, 1, 10);
    let (ground, hand) = followed(are_records, std::slice::from_ref(&one)).await;
    ground.origin.put(reading(1, 1, 1, 11));
    let record = |dependency: Dependency| {
        let mut told = Invalidation::default();
        told.extend([dependency]);
        hand.sink().recorded("hand", &told);
    };
    record(Dependency::tag("reading"));
    record(Dependency::table("hand", "other"));
    assert_eq!(ground.shown(0..9).await, [(1, 10)]);
    record(Dependency::table("hand", "reading"));
    assert_eq!(ground.shown(0..9).await, [(1, 11)]);
    ground.origin.put(reading(1, 1, 1, 12));
    hand.sink().records_lost("hand", Doubt::LogBroken);
    assert_eq!(ground.shown(0..9).await, [(1, 12)]);
}

/// What is told while a load is under way is kept for it, so no load is under way for ever.
#[tokio::test(start_paused = true)]
async fn load_that_does_not_end_is_given_up_and_holds_nothing_up() {
    let one = reading(1, 1, 1, 10);
    let ground = Ground::with(|definition| {
        definition.load_timeout(Duration::from_secs(60));
    });
    ground.origin.put(one.clone());
    let (ground, hand) = follow(ground, are_records);
    ground.origin.stop();
    let late = ground.table.load(times(0..9)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert!(late.to_string().contains("60s") && late.to_string().contains("`time`"), "{late}");
    ground.origin.permits.add_permits(1);
    ground.table.load(times(0..9)).await.unwrap();
    assert_eq!(ground.table.adjust(times(0..20)).await.unwrap_err().kind(), ErrorKind::Timeout);
    let newer = reading(1, 1, 1, 11);
    hand.tell(1, Some(&one), Some(&newer));
    hand.confirm(1);
    ground.origin.put(newer);
    assert_eq!(ground.shown(0..9).await, [(1, 11)], "the window is as it was, and goes on");
    let outside = ground.table.range(&ground.by_time, 0..10).await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Timeout);
}
