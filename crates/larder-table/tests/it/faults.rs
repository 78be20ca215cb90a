//! The faults of the table that larder's tables follow, each as the interleaving that showed it.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
    time::Duration,
};

use larder_core::ErrorKind;
use larder_table::{Definition, Ranges, Record};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::origin::{Ground, of_device, reading};

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

/// T10, TD1: what is invalidated while a refresh waits for the origin is not forgotten with it.
/// TD2: who reads after that gets what the origin has then.
#[tokio::test]
async fn invalidation_during_a_refresh_is_carried_out_by_the_next_read() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10), reading(2, 1, 2, 20)], 0..9).await;
    ground.origin.stop();
    ground.origin.put(reading(1, 1, 1, 11));
    ground.table.invalidation().keys([1]).commit().unwrap();
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let first = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().to_vec() });
    ground.origin.has_read().await;
    ground.origin.put(reading(2, 1, 2, 21));
    ground.table.invalidation().keys([2]).commit().unwrap();
    ground.origin.put(reading(1, 1, 1, 12));
    ground.table.invalidation().keys([1]).commit().unwrap();
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let second = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().to_vec() });
    tokio::task::yield_now().await;
    ground.origin.end_one();
    let first = first.await.unwrap();
    assert_eq!(first[0].value, 11, "the first read began before the second change");
    ground.origin.has_read().await;
    ground.origin.end_one();
    let second: Vec<i64> = second.await.unwrap().iter().map(|one| one.value).collect();
    assert_eq!(second, [12, 21]);
}

/// T19, TD3: an adjust that failed has not changed what a later refresh publishes.
#[tokio::test]
async fn failed_or_abandoned_adjust_leaves_no_trace() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10), reading(2, 1, 2, 20)], 0..3).await;
    ground.origin.put(reading(5, 1, 5, 50));
    ground.origin.fail(true);
    let failed = ground.table.adjust(times(2..9)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    ground.origin.fail(false);
    ground.origin.stop();
    {
        let adjust = ground.table.adjust(times(2..9));
        tokio::pin!(adjust);
        tokio::select! {
            biased;
            _ = &mut adjust => panic!("it waits for the origin"),
            () = ground.origin.has_read() => {}
        }
    }
    ground.origin.permits.add_permits(100);
    ground.table.invalidation().keys([2]).commit().unwrap();
    assert_eq!(ground.shown(0..3).await, [(1, 10), (2, 20)]);
    assert_eq!(ground.table.stats().records, 2);
}

/// T6, T12, TD4: a read that waited decides again by what is there when it goes on.
/// TD11: what moved out of the window can be invalidated, and is gone.
#[tokio::test]
async fn read_beside_an_adjust_is_of_one_window() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10), reading(5, 1, 5, 50)], 0..3).await;
    ground.origin.stop();
    let table = ground.table.clone();
    let adjust = tokio::spawn(async move { table.adjust(times(4..9)).await.unwrap() });
    ground.origin.has_read().await;
    ground.table.invalidation().keys([1]).commit().unwrap();
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move { table.range(&by_time, 0..3).await.unwrap().to_vec() });
    tokio::task::yield_now().await;
    ground.origin.permits.add_permits(100);
    let adjusted = adjust.await.unwrap();
    assert_eq!(adjusted.expired.len(), 1);
    assert_eq!(read.await.unwrap()[0].value, 10, "outside the window the origin is asked");
    assert_eq!(ground.shown(4..9).await, [(5, 50)]);

    ground.origin.put(reading(5, 1, 100, 50));
    let old = Ranges::only([5]);
    ground.table.invalidation().by(&ground.by_time, &old, &Ranges::only([100])).commit().unwrap();
    assert_eq!(ground.shown(4..9).await, []);
    assert_eq!(ground.table.stats().records, 0);
}

/// TD5: a reader that never ends holds nobody up.
#[tokio::test]
async fn readers_hold_nothing_that_an_adjust_waits_for() {
    let rows: Vec<_> = (0..100).map(|at| reading(at, 1, at, at)).collect();
    let ground = Ground::loaded(&rows, 0..50).await;
    let held = ground.table.range(&ground.by_time, 0..50).await.unwrap();
    for one in held.iter() {
        ground.table.adjust(times(one.time..one.time + 50)).await.unwrap();
        ground.table.range(&ground.by_time, 90..100).await.unwrap();
    }
    assert_eq!(held.count(), 50, "it is as it was");
}

/// On which threads records were freed.
#[derive(Default)]
struct Freed {
    by: Mutex<Vec<ThreadId>>,
    one_more: Notify,
}

/// A record that tells of its end.
struct Traced {
    id: i64,
    freed: Arc<Freed>,
}

impl Record for Traced {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.freed.by.lock().push(thread::current().id());
        self.freed.one_more.notify_one();
    }
}

/// TD5: nor does a reader pay for what an adjust replaced while he read.
#[tokio::test]
async fn reader_does_not_free_what_an_adjust_replaced() {
    let freed = Arc::<Freed>::default();
    let mut definition = Definition::new("traced");
    let (by_id, own) = (definition.primary(), freed.clone());
    definition.loads_by(&by_id, move |ids: Ranges<i64>, fill| {
        let row = |id| Traced { id, freed: own.clone() };
        std::future::ready(fill.put_all((0..2_000).filter(|id| ids.contains(id)).map(row)))
    });
    let table = definition.build(&by_id).unwrap();
    table.load(times(0..1_000)).await.unwrap();
    let held = table.range(&by_id, 0..10).await.unwrap();
    drop(table.adjust(times(1_000..2_000)).await.unwrap());
    freed.by.lock().clear();
    let reader = thread::spawn(move || drop(held));
    let reader_id = reader.thread().id();
    reader.join().unwrap();
    assert!(!freed.by.lock().contains(&reader_id), "the reader frees nothing");
    let all_are_freed = async {
        while freed.by.lock().len() < 1_000 {
            freed.one_more.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_are_freed).await.expect("soon after");
}

/// T1, T2, TD6: everything that can fail comes before anything is published.
/// TD9: of two loads one wins.
#[tokio::test]
async fn second_load_is_refused_and_a_failed_one_can_be_repeated() {
    let ground = Ground::new();
    let early = ground.table.invalidation().keys([1]).commit().unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable);
    ground.origin.put(reading(1, 1, 1, 10));
    ground.origin.fail(true);
    ground.table.load(times(0..9)).await.unwrap_err();
    ground.origin.fail(false);
    ground.origin.stop();
    let table = ground.table.clone();
    let first = tokio::spawn(async move { table.load(times(0..9)).await });
    ground.origin.has_read().await;
    let second = ground.table.load(times(0..2)).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    ground.origin.permits.add_permits(100);
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(ground.table.load(times(0..9)).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(ground.shown(0..9).await, [(1, 10)]);
}

/// T23, TD7: keys are compared, never hashed or rounded. TD14: infinity is a key like others.
#[tokio::test]
async fn neighbours_among_keys_are_told_apart() {
    let big = 1_i64 << 53;
    let rows = [
        reading(-1, 1, 1, 1),
        reading(-2, 1, 2, 2),
        reading(big, 1, 3, 3),
        reading(big + 1, 1, 4, 4),
    ];
    let ground = Ground::loaded(&rows, 0..9).await;
    for row in &rows {
        assert_eq!(ground.table.get(&row.id).await.unwrap().as_deref(), Some(row));
    }
    let both = Ranges::only([-1, -2]);
    let both = ground.table.select(&ground.table.primary(), both).and(&ground.by_time, times(0..9));
    assert_eq!(both.read().await.unwrap().count(), 2);
    ground.table.invalidation().keys([big]).commit().unwrap();
    ground.origin.remove(big);
    assert_eq!(ground.shown(0..9).await, [(-1, 1), (-2, 2), (big + 1, 4)]);
}

/// T13, TD8: two overlapping invalidations of a row that goes between their loads.
#[tokio::test]
async fn row_that_goes_between_two_refreshes_does_not_come_back() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10)], 0..9).await;
    ground.table.invalidation().keys([1]).commit().unwrap();
    ground.origin.stop();
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move { table.range(&by_time, 0..9).await.unwrap().count() });
    ground.origin.has_read().await;
    ground.origin.remove(1);
    ground
        .table
        .invalidation()
        .by(&ground.by_time, &times(0..9), &Ranges::none())
        .commit()
        .unwrap();
    ground.origin.permits.add_permits(100);
    read.await.unwrap();
    for _ in 0..3 {
        assert_eq!(ground.shown(0..9).await, []);
    }
}

/// TD10, TD15: what a whole reload finds is what there is, also where the old window was.
#[tokio::test]
async fn reload_drops_what_the_origin_has_no_more() {
    let rows: Vec<_> = (0..6).map(|at| reading(at, 1, at, at)).collect();
    let ground = Ground::loaded(&rows, 0..6).await;
    ground.origin.remove(3);
    ground.origin.put(reading(4, 1, 4, 44));
    let kept = ground.table.adjust(times(1..6)).await.unwrap();
    assert_eq!((kept.expired.len(), kept.loaded.len()), (1, 0));
    assert_eq!(ground.shown(2..5).await, [(2, 2), (3, 3), (4, 4)], "nobody said that it changed");
    let reloaded = ground.table.reload(times(2..9)).await.unwrap();
    let expired: Vec<i64> = reloaded.expired.iter().map(|one| one.id).collect();
    assert_eq!(expired, [1, 3]);
    assert_eq!(ground.shown(2..9).await, [(2, 2), (4, 44), (5, 5)]);
}

/// TD12: after whatever failed, everything goes on.
#[tokio::test]
async fn load_with_a_repeated_key_or_too_much_changes_nothing_and_blocks_nothing() {
    let ground = Ground::with(|definition| {
        definition.unique("once", |one| (one.device, one.value));
        definition.limit(4 * 100, |_| 100);
    });
    let put = |id, value| ground.origin.put(reading(id, 1, id, value));
    (0..3).for_each(|id| put(id, id));
    ground.table.load(times(0..3)).await.unwrap();
    put(3, 2);
    let twice = ground.table.adjust(times(0..4)).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    put(3, 3);
    put(4, 4);
    let too_much = ground.table.adjust(times(0..5)).await.unwrap_err();
    assert_eq!(too_much.kind(), ErrorKind::Limit);
    assert_eq!(ground.shown(0..3).await, [(0, 0), (1, 1), (2, 2)]);
    assert_eq!(ground.table.adjust(times(0..4)).await.unwrap().loaded.len(), 1);
    assert_eq!(ground.table.stats().bytes, 400);
}

/// T11: by an index that an invalidation does not name, any record may be one of those touched.
#[tokio::test]
async fn read_by_another_index_waits_for_the_refresh() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10), reading(2, 2, 2, 20)], 0..9).await;
    ground.origin.put(reading(1, 1, 1, 11));
    ground.table.invalidation().keys([1]).commit().unwrap();
    let loads = ground.origin.loads();
    let of_two = ground.table.select(&ground.table.primary(), Ranges::only([2]));
    of_two.and(&ground.by_time, times(0..9)).read().await.unwrap();
    assert_eq!(ground.origin.loads(), loads, "by the index it names it is passed by");
    let device = Ranges::of(of_device(1)).unwrap();
    let read = ground.table.select(&ground.by_device, device).and(&ground.by_time, times(0..9));
    assert_eq!(read.read().await.unwrap().to_vec()[0].value, 11);
    assert_eq!(ground.origin.loads(), loads + 1);
}

/// Many invalidations become one; who waits for the oldest of them waits for that one.
#[tokio::test]
async fn joined_invalidations_are_waited_for_by_those_who_came_before_the_last() {
    let rows: Vec<_> = (0..200).map(|at| reading(at, 1, at, at)).collect();
    let ground = Ground::loaded(&rows, 0..200).await;
    (0..100).for_each(|key| ground.table.invalidation().keys([key]).commit().unwrap());
    assert!(ground.table.stats().invalid < 100);
    ground.origin.put(reading(99, 1, 99, -1));
    ground.origin.stop();
    let table = ground.table.clone();
    let adjust = tokio::spawn(async move { table.reload(times(0..190)).await.unwrap() });
    ground.origin.has_read().await;
    ground.origin.put(reading(99, 1, 99, -2));
    ground.table.invalidation().keys([99]).commit().unwrap();
    let table = ground.table.clone();
    let read = tokio::spawn(async move { table.get(&99).await.unwrap().unwrap().value });
    tokio::task::yield_now().await;
    ground.table.invalidation().keys([150]).commit().unwrap();
    ground.origin.permits.add_permits(100);
    adjust.await.unwrap();
    assert_eq!(read.await.unwrap(), -2);
}

/// What is invalidated while the first load reads is not lost with it.
#[tokio::test]
async fn invalidation_during_the_first_load_is_carried_out() {
    let ground = Ground::new();
    ground.origin.put(reading(1, 1, 1, 10));
    ground.origin.stop();
    let table = ground.table.clone();
    let load = tokio::spawn(async move { table.load(times(0..9)).await.unwrap() });
    ground.origin.has_read().await;
    ground.origin.put(reading(1, 1, 1, 11));
    ground.table.invalidation().keys([1]).commit().unwrap();
    ground.origin.permits.add_permits(100);
    load.await.unwrap();
    assert_eq!(ground.shown(0..9).await, [(1, 11)]);
}

/// A unique key goes from one row to another, and each row is invalidated by itself.
#[tokio::test]
async fn unique_key_that_moves_between_invalid_rows_is_no_conflict() {
    let ground = Ground::with(|definition| {
        definition.unique("value", |one| one.value);
    });
    ground.origin.put(reading(1, 1, 1, 10));
    ground.table.load(times(0..9)).await.unwrap();
    ground.origin.put(reading(1, 1, 1, 11));
    ground.origin.put(reading(2, 1, 2, 10));
    ground.table.invalidation().keys([1]).commit().unwrap();
    ground.table.invalidation().keys([2]).commit().unwrap();
    assert_eq!(ground.table.get(&2).await.unwrap().unwrap().value, 10);
    assert_eq!(ground.shown(0..9).await, [(1, 11), (2, 10)]);
}

/// A record that is invalidated by one of its keys is read by another one.
#[tokio::test]
async fn record_with_several_keys_is_in_doubt_under_each_of_them() {
    let ground = Ground::new();
    let digits = ground.by_digit.clone();
    ground.origin.put(reading(1, 1, 1, 37));
    ground.table.load(times(0..9)).await.unwrap();
    ground.origin.put(reading(1, 1, 1, 57));
    let three = Ranges::only([3]);
    let invalidation = ground.table.invalidation().by(&digits, &three, &Ranges::none());
    invalidation.by(&ground.by_time, &times(0..9), &Ranges::none()).commit().unwrap();
    let seven = ground.table.select(&digits, Ranges::only([7])).and(&ground.by_time, times(0..9));
    assert_eq!(seven.read().await.unwrap().to_vec()[0].value, 57);
}

/// A row that moves from what is kept into what is loaded is shown once.
#[tokio::test]
async fn row_that_moved_out_of_the_window_is_shown_once_by_a_read_of_both_sides() {
    let ground = Ground::loaded(&[reading(1, 1, 5, 10)], 0..10).await;
    ground.origin.put(reading(1, 1, 15, 11));
    assert_eq!(ground.shown(0..20).await, [(1, 11)]);
}

/// T7: an adjust loads what was invalidated too, and tells of it.
#[tokio::test]
async fn adjust_loads_again_what_was_invalidated() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 10), reading(2, 1, 2, 20)], 0..3).await;
    ground.origin.put(reading(1, 1, 1, 11));
    ground.table.invalidation().keys([1]).commit().unwrap();
    ground.table.adjust(times(0..5)).await.unwrap();
    let loads = ground.origin.loads();
    assert_eq!(ground.shown(0..5).await, [(1, 11), (2, 20)]);
    assert_eq!((ground.origin.loads(), ground.table.stats().invalid), (loads, 0));
}

#[derive(Debug)]
struct Blob(Vec<u8>);

impl Record for Blob {
    type Key = Vec<u8>;

    fn key(&self) -> Vec<u8> {
        self.0.clone()
    }
}

/// TD13: a deleted row stays away, whatever bytes its key is made of.
#[tokio::test]
async fn deleted_row_with_a_key_of_any_bytes_stays_away() {
    let keys = [vec![], vec![0], vec![0, 0], b"a:b".to_vec(), vec![0xff], vec![0xff, 0xff]];
    let rows = Arc::new(Mutex::new(keys.to_vec()));
    let own = rows.clone();
    let mut definition = Definition::new("blobs");
    let by_key = definition.primary();
    definition.loads_by(&by_key, move |keys: Ranges<Vec<u8>>, fill| {
        let found = own.lock().clone().into_iter().filter(|key| keys.contains(key));
        std::future::ready(fill.put_all(found.map(Blob)))
    });
    let table = definition.build(&by_key).unwrap();
    table.load(Ranges::all()).await.unwrap();
    for (gone, key) in keys.iter().enumerate() {
        rows.lock().retain(|own| own != key);
        table.invalidation().keys([key.clone()]).commit().unwrap();
        assert!(table.get(key).await.unwrap().is_none(), "{key:?}");
        assert_eq!(table.range(&by_key, ..).await.unwrap().count(), keys.len() - gone - 1);
        table.reload(Ranges::all()).await.unwrap();
        assert_eq!(table.stats().records, (keys.len() - gone - 1) as u64);
    }
}
