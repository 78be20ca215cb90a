//! Windows of every kind: everything, some primary keys, a range of them; and who observes them.

use std::sync::Arc;

use larder_core::ErrorKind;
use larder_table::{Adjusted, Ranges};
use parking_lot::Mutex;

use super::origin::{Ground, Reading, reading};

/// Six readings; the window is on the primary key.
fn six() -> Ground {
    let ground = Ground::by_key();
    (0..6).for_each(|id| ground.origin.put(reading(id, id % 2, 10 - id, id)));
    ground
}

fn ids(adjusted: &Adjusted<Reading>) -> (Vec<i64>, Vec<i64>) {
    let ids = |records: &[Arc<Reading>]| records.iter().map(|one| one.id).collect();
    (ids(&adjusted.loaded), ids(&adjusted.expired))
}

/// T21: everything, by one index; each other index then only filters.
#[tokio::test]
async fn window_may_be_everything() {
    let ground = six();
    ground.table.load(Ranges::all()).await.unwrap();
    let loads = ground.origin.loads();
    let device = ground.table.select(&ground.by_device, Ranges::prefix(1)).read().await.unwrap();
    assert_eq!(device.iter().map(|one| one.id).collect::<Vec<_>>(), [5, 3, 1]);
    assert_eq!(ground.table.get(&7).await.unwrap(), None);
    assert_eq!(ground.origin.loads(), loads, "nothing can be outside");
}

/// T21: a set of primary keys, or all of them; what both sets have is kept, and only new ones are
/// loaded. TD7: keys are told apart, and one that stays is not expired with another.
#[tokio::test]
async fn window_may_be_a_set_of_primary_keys() {
    let ground = six();
    ground.origin.put(reading(-1, 0, 0, 0));
    ground.origin.put(reading(-2, 0, 0, 0));
    ground.table.load(Ranges::only([-2, -1, 1])).await.unwrap();
    let adjusted = ground.table.adjust(Ranges::only([-1, 1, 4])).await.unwrap();
    assert_eq!(ids(&adjusted), (vec![4], vec![-2]));
    let loads = ground.origin.loads();
    let read = ground.table.select(&ground.table.primary(), Ranges::only([4, -1]));
    assert_eq!(read.read().await.unwrap().count(), 2);
    assert_eq!(ground.origin.loads(), loads);
    let all = ground.table.adjust(Ranges::all()).await.unwrap();
    assert_eq!(ids(&all), (vec![-2, 0, 2, 3, 5], vec![]));
}

/// T21: a range of primary keys.
#[tokio::test]
async fn window_may_be_a_range_of_primary_keys() {
    let ground = six();
    ground.table.load(Ranges::of(1..4).unwrap()).await.unwrap();
    let adjusted = ground.table.adjust(Ranges::of(2..=4).unwrap()).await.unwrap();
    assert_eq!(ids(&adjusted), (vec![4], vec![1]));
    assert_eq!(ground.table.range(&ground.table.primary(), 2..=4).await.unwrap().count(), 3);
}

type Observed = Arc<Mutex<Vec<(Vec<i64>, Vec<i64>)>>>;

/// A table by time that tells what it observes, and panics when the reading 13 is among it.
fn observed() -> (Ground, Observed) {
    let observed = Observed::default();
    let own = observed.clone();
    let ground = Ground::with(|definition| {
        definition.observe(|adjusted| {
            assert!(adjusted.loaded.iter().all(|one| one.id != 13), "an observer with a fault");
        });
        definition.observe(move |adjusted| own.lock().push(ids(adjusted)));
    });
    (0..20).for_each(|id| ground.origin.put(reading(id, 1, id, id)));
    (ground, observed)
}

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

/// T8: who observes is told of what came and went, once it is so, and of nothing that failed.
/// T7: what was invalid and is loaded again with an adjust is observed with it.
#[tokio::test]
async fn observers_are_told_of_what_was_loaded_and_what_expired() {
    let (ground, observed) = observed();
    ground.table.load(times(0..3)).await.unwrap();
    ground.origin.put(reading(1, 1, 1, -1));
    ground.origin.put(reading(30, 1, 2, -1));
    ground.origin.remove(2);
    ground.table.invalidation().keys([1, 2, 30]).commit().unwrap();
    ground.table.adjust(times(1..4)).await.unwrap();
    let expected = [(vec![0, 1, 2], vec![]), (vec![1, 3, 30], vec![0, 2])];
    assert_eq!(*observed.lock(), expected);
    ground.origin.fail(true);
    let failed = ground.table.adjust(times(2..6)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    ground.table.invalidation().keys([1]).commit().unwrap();
    ground.origin.fail(false);
    ground.table.refresh_invalid().await.unwrap();
    assert_eq!(observed.lock().len(), 2, "T13: what an invalidation brings is not observed");
}

/// T8, TD6: an observer that panics leaves nothing half done, and the others are told.
#[tokio::test]
async fn observer_that_panics_leaves_the_table_whole() {
    let (ground, observed) = observed();
    let table = ground.table.clone();
    let load = tokio::spawn(async move { table.load(times(12..14)).await });
    assert!(load.await.unwrap_err().is_panic());
    assert_eq!(ground.shown(12..14).await, [(12, 12), (13, 13)], "it is loaded");
    let table = ground.table.clone();
    ground.table.adjust(times(14..16)).await.unwrap();
    let adjust = tokio::spawn(async move { table.adjust(times(13..16)).await });
    assert!(adjust.await.unwrap_err().is_panic());
    let loads = ground.origin.loads();
    assert_eq!(ground.shown(13..16).await.len(), 3, "the window was moved");
    assert_eq!(ground.origin.loads(), loads);
    ground.table.adjust(times(14..17)).await.unwrap();
    let expected = [
        (vec![12, 13], vec![]),
        (vec![14, 15], vec![12, 13]),
        (vec![13], vec![]),
        (vec![16], vec![13]),
    ];
    assert_eq!(*observed.lock(), expected);
}
