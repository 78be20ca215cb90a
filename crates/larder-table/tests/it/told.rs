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
use tokio::task::JoinHandle;

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

fn by_key(ground: &Ground) -> Rules<Reading> {
    Rules::new().touches("reading", &ground.table.primary(), |row: &Image<'_>| row.integer("id"))
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

/// A read of these times, which has gone as far as it can.
async fn reader(ground: &Ground, times: std::ops::Range<i64>) -> JoinHandle<Vec<(i64, i64)>> {
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move {
        let found = table.range(&by_time, times).await.unwrap();
        found.iter().map(|one| (one.id, one.value)).collect()
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    read
}

/// Of rows outside the window nothing is kept, and yet a load that missed their change is not for
/// those who come after it.
#[tokio::test]
async fn reader_after_a_row_was_told_of_does_not_join_the_load_before_it() {
    let [stays, goes, comes, other] = [
        reading(1, 1, 15, 10),
        reading(2, 1, 16, 20),
        reading(3, 1, 50, 30),
        reading(4, 1, 60, 40),
    ];
    let rows = [stays.clone(), goes.clone(), comes.clone(), other.clone()];
    let changes = [
        (stays, reading(1, 1, 15, 11), vec![(1, 11), (2, 20)]),
        (goes, reading(2, 1, 70, 21), vec![(1, 11)]),
        (comes, reading(3, 1, 17, 31), vec![(1, 11), (3, 31)]),
    ];
    let (ground, hand) = followed(are_records, &rows).await;
    for (position, (old, new, shown)) in (1..).zip(changes) {
        ground.origin.stop();
        let early = reader(&ground, 10..20).await;
        ground.origin.put(new.clone());
        hand.tell(position, Some(&old), Some(&new));
        hand.confirm(position);
        let late = reader(&ground, 10..20).await;
        ground.origin.permits.add_permits(100);
        assert_ne!(early.await.unwrap(), shown, "the change came after it");
        assert_eq!(late.await.unwrap(), shown);
    }
    ground.origin.stop();
    let loads = ground.origin.loads();
    let early = reader(&ground, 10..20).await;
    hand.tell(9, Some(&other), None);
    hand.confirm(9);
    let late = reader(&ground, 12..20).await;
    assert_eq!(ground.origin.loads(), loads + 1, "that was somewhere else");
    ground.origin.permits.add_permits(100);
    assert_eq!(early.await.unwrap(), late.await.unwrap());
}

/// The second interleaving of `flight.rs`: a load that began after the feed told of a change, and
/// before the origin showed it, is not for those who waited until it did.
#[tokio::test]
async fn reader_that_waited_for_a_change_does_not_join_a_load_that_could_not_see_it() {
    let by_time = |ground: &Ground| {
        Rules::new().touches("reading", &ground.by_time, |row: &Image<'_>| row.integer("time"))
    };
    let old = reading(1, 1, 15, 10);
    let (ground, hand) = followed(by_time, std::slice::from_ref(&old)).await;
    ground.origin.stop();
    // What A must refresh first, so that the change is told between its coming and its load.
    let invalidation = ground.table.invalidation();
    invalidation.by(&ground.by_time, &Ranges::only([5]), &Ranges::none()).commit().unwrap();
    let a = reader(&ground, 0..20).await;
    let new = reading(1, 1, 15, 11);
    hand.tell(1, Some(&old), Some(&new));
    let loads = ground.origin.loads();
    ground.origin.end_one();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ground.origin.loads(), loads + 1, "A has begun its load");
    let b = reader(&ground, 10..20).await;
    ground.origin.put(new);
    hand.confirm(1);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    ground.origin.permits.add_permits(100);
    assert_eq!(a.await.unwrap(), [(1, 10)], "the change came after it");
    assert_eq!(b.await.unwrap(), [(1, 11)]);
}

/// When everything is in doubt, so is what a load under way reads.
#[tokio::test]
async fn reader_after_a_doubt_does_not_join_the_load_before_it() {
    let (ground, hand) = follow(Ground::new(), are_records);
    ground.origin.put(reading(1, 1, 15, 10));
    // An empty window is loaded again without a load.
    ground.table.load(Ranges::none()).await.unwrap();
    type Doubts = fn(&Hand);
    let doubts: [Doubts; 2] = [
        |hand| hand.sink().records_lost("hand", Doubt::LogBroken),
        |hand| {
            hand.sink().restarted("hand", Epoch(2), Position(0), Doubt::Replaced);
            hand.confirm(0);
        },
    ];
    for (value, doubt) in (11..).zip(doubts) {
        ground.origin.stop();
        let early = reader(&ground, 10..20).await;
        ground.origin.put(reading(1, 1, 15, value));
        doubt(&hand);
        let late = reader(&ground, 10..20).await;
        ground.origin.permits.add_permits(100);
        assert_eq!(early.await.unwrap(), [(1, value - 1)], "the change came after it");
        assert_eq!(late.await.unwrap(), [(1, value)]);
    }
}

/// A change may be told of at a position that is confirmed already: what is shown is shown.
#[tokio::test]
async fn reader_after_a_late_change_does_not_join_the_load_before_it() {
    let by_time = |ground: &Ground| {
        Rules::new().touches("reading", &ground.by_time, |row: &Image<'_>| row.integer("time"))
    };
    let (old, new) = (reading(1, 1, 15, 10), reading(1, 1, 15, 11));
    let (ground, hand) = followed(by_time, std::slice::from_ref(&old)).await;
    hand.confirm(1);
    ground.origin.stop();
    let early = reader(&ground, 10..20).await;
    ground.origin.put(new.clone());
    hand.tell(1, Some(&old), Some(&new));
    let late = reader(&ground, 10..20).await;
    ground.origin.permits.add_permits(100);
    assert_eq!(early.await.unwrap(), [(1, 10)], "the change came after it");
    assert_eq!(late.await.unwrap(), [(1, 11)]);
}

/// Both rows at once, which are to be loaded again.
fn commit(ground: &Ground, hand: &Hand, position: u64) {
    let value = i64::try_from(position).unwrap();
    for (id, ten) in [(1, 10), (2, 20)] {
        let row = reading(id, 1, id, ten + value);
        ground.origin.put(row.clone());
        hand.tell(position, Some(&row), Some(&row));
    }
    hand.confirm(position);
}

/// A commit changes the row that is being loaded again and another one, and is told of when the
/// load has read it.
#[tokio::test]
async fn read_that_loads_half_of_a_commit_loads_the_rest_of_it() {
    let [one, two] = [reading(1, 1, 1, 10), reading(2, 1, 2, 20)];
    let (ground, hand) = followed(by_key, &[one.clone(), two]).await;
    hand.tell(1, Some(&one), Some(&one));
    hand.confirm(1);
    ground.origin.put(reading(1, 1, 1, 12));
    ground.origin.stop();
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().to_vec() });
    ground.origin.has_read().await;
    commit(&ground, &hand, 2);
    ground.origin.permits.add_permits(100);
    let values: Vec<i64> = read.await.unwrap().iter().map(|one| one.value).collect();
    assert_eq!(values, [12, 22]);
}

/// While something else changes, one load of what is in doubt is enough.
#[tokio::test]
async fn commit_of_other_rows_does_not_hold_a_read_up() {
    let [one, two] = [reading(1, 1, 1, 10), reading(2, 1, 2, 20)];
    let (ground, hand) = followed(by_key, &[one.clone(), two.clone()]).await;
    let newer = reading(1, 1, 1, 11);
    ground.origin.put(newer.clone());
    hand.tell(1, Some(&one), Some(&newer));
    hand.confirm(1);
    ground.origin.stop();
    let (loads, table, by_time) =
        (ground.origin.loads(), ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().to_vec() });
    ground.origin.has_read().await;
    hand.tell(2, Some(&two), Some(&reading(2, 1, 2, 21)));
    hand.confirm(2);
    ground.origin.permits.add_permits(100);
    let values: Vec<i64> = read.await.unwrap().iter().map(|one| one.value).collect();
    assert_eq!(values, [11, 20]);
    assert_eq!(ground.origin.loads(), loads + 1);
}

/// What changes as fast as it is loaded is loaded as a whole in the end, by whichever of the
/// indexes that are named has a loader.
#[tokio::test]
async fn read_that_is_overtaken_again_and_again_loads_all_it_asks_at_once() {
    for is_by_device in [false, true] {
        let rows = [reading(1, 1, 1, 10), reading(2, 1, 2, 20)];
        let (ground, hand) = followed(by_key, &rows).await;
        commit(&ground, &hand, 1);
        ground.origin.stop();
        let (loads, table) = (ground.origin.loads(), ground.table.clone());
        let (by_time, by_device) = (ground.by_time.clone(), ground.by_device.clone());
        let read = tokio::spawn(async move {
            let values = |rows: Vec<Arc<Reading>>| rows.iter().map(|one| one.value).collect();
            if is_by_device {
                let device = table.select(&by_device, Ranges::prefix(1)).and(&by_time, times(0..9));
                return values(device.read().await.unwrap().to_vec());
            }
            values(table.range(&by_time, 0..9).await.unwrap().to_vec())
        });
        for position in 2..6 {
            ground.origin.has_read().await;
            commit(&ground, &hand, position);
            ground.origin.end_one();
        }
        let values: Vec<i64> = read.await.unwrap();
        assert_eq!(values, [14, 24], "as the fourth load read them");
        assert_eq!(ground.origin.loads(), loads + 4);
    }
}
