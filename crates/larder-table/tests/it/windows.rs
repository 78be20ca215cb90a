//! Windows of every kind: everything, some primary keys, a range of them.

use larder_table::{Adjusted, Ranges};

use super::origin::{Ground, Reading, reading};

/// Six readings; the window is on the primary key.
fn six() -> Ground {
    let ground = Ground::by_key();
    (0..6).for_each(|id| ground.origin.put(reading(id, id % 2, 10 - id, id)));
    ground
}

fn ids(adjusted: &Adjusted<Reading>) -> (Vec<i64>, Vec<i64>) {
    let ids = |records: &[std::sync::Arc<Reading>]| records.iter().map(|one| one.id).collect();
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
