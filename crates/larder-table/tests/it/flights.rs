//! Loads that reads share: who may take what, and who ends them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::SeqCst},
};

use larder_core::ErrorKind;
use larder_table::{Definition, Ranges, Table};
use tokio::task::{JoinHandle, JoinSet};

use super::origin::{Ground, Reading, reading};

/// Readings at the times 0 to 29, of which the window covers 0 to 9.
async fn thirty() -> Ground {
    let rows: Vec<_> = (0..30).map(|at| reading(at, 1, at, at)).collect();
    let ground = Ground::loaded(&rows, 0..10).await;
    ground.origin.stop();
    ground
}

type Shown = Result<Vec<(i64, i64)>, ErrorKind>;

/// A read of these times, which has gone as far as it can.
async fn reader(ground: &Ground, times: std::ops::Range<i64>) -> JoinHandle<Shown> {
    let (table, by_time) = (ground.table.clone(), ground.by_time.clone());
    let read = tokio::spawn(async move {
        let found = table.range(&by_time, times).await.map_err(|error| error.kind())?;
        Ok(found.iter().map(|one| (one.id, one.value)).collect())
    });
    settle().await;
    read
}

/// Lets every other task go as far as it can: they all run on this thread.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reads_that_miss_what_a_load_under_way_covers_share_it() {
    let ground = thirty().await;
    let loads = ground.origin.loads();
    let wide = reader(&ground, 5..20).await;
    let within = reader(&ground, 12..14).await;
    let same = reader(&ground, 0..20).await;
    assert_eq!(ground.origin.loads(), loads + 1);
    let beyond = reader(&ground, 12..25).await;
    assert_eq!(ground.origin.loads(), loads + 2, "the first one does not give 20 to 24");
    ground.origin.permits.add_permits(2);
    assert_eq!(wide.await.unwrap().unwrap().len(), 15);
    assert_eq!(within.await.unwrap().unwrap(), [(12, 12), (13, 13)]);
    assert_eq!(same.await.unwrap().unwrap().len(), 20);
    assert_eq!(beyond.await.unwrap().unwrap().len(), 13);
    let stats = ground.table.stats();
    assert_eq!((stats.misses, stats.misses_shared), (4, 2));
    ground.origin.permits.add_permits(1);
    assert_eq!(ground.shown(12..14).await.len(), 2);
    assert_eq!(ground.origin.loads(), loads + 3, "a load that has ended is not joined");
}

/// The interleaving of `flight.rs`: who comes after an invalidation does not take what a load that
/// began before it read.
#[tokio::test]
async fn reader_after_an_invalidation_does_not_join_the_load_before_it() {
    let ground = thirty().await;
    let early = reader(&ground, 10..20).await;
    ground.origin.put(reading(15, 1, 15, -15));
    let invalidation = ground.table.invalidation();
    invalidation.by(&ground.by_time, &Ranges::only([15]), &Ranges::none()).commit().unwrap();
    let late = reader(&ground, 15..16).await;
    ground.origin.permits.add_permits(100);
    assert!(early.await.unwrap().unwrap().contains(&(15, 15)), "the change came after it");
    assert_eq!(late.await.unwrap().unwrap(), [(15, -15)]);
}

#[tokio::test]
async fn invalidation_of_something_else_lets_a_load_be_joined() {
    let ground = thirty().await;
    let loads = ground.origin.loads();
    let early = reader(&ground, 10..20).await;
    let invalidation = ground.table.invalidation();
    invalidation.by(&ground.by_time, &Ranges::only([25]), &Ranges::none()).commit().unwrap();
    let late = reader(&ground, 15..16).await;
    assert_eq!(ground.origin.loads(), loads + 1);
    // By an index of which the loads are not, it may be anything.
    ground.table.invalidation().keys([27]).commit().unwrap();
    let later = reader(&ground, 15..16).await;
    assert!(loads + 1 < ground.origin.loads());
    ground.origin.permits.add_permits(100);
    for read in [early, late, later] {
        assert!(read.await.unwrap().unwrap().contains(&(15, 15)));
    }
}

#[tokio::test]
async fn reader_that_leaves_does_not_end_the_load_of_others_and_the_last_one_does() {
    let ground = thirty().await;
    let loads = ground.origin.loads();
    let [leader, other] = [reader(&ground, 10..20).await, reader(&ground, 10..20).await];
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    ground.origin.end_one();
    assert_eq!(other.await.unwrap().unwrap().len(), 10);
    assert_eq!(ground.origin.loads(), loads + 1);

    let alone = reader(&ground, 10..20).await;
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    settle().await;
    ground.origin.end_one();
    settle().await;
    assert_eq!(ground.origin.permits.available_permits(), 1, "nobody is there to take it");
    assert_eq!(ground.shown(10..20).await.len(), 10);
    assert_eq!(ground.origin.loads(), loads + 3);
}

#[tokio::test]
async fn load_that_fails_fails_for_all_of_its_readers() {
    let ground = thirty().await;
    let both = [reader(&ground, 10..20).await, reader(&ground, 10..20).await];
    ground.origin.fail(true);
    ground.origin.end_one();
    for read in both {
        assert_eq!(read.await.unwrap().unwrap_err(), ErrorKind::Unavailable);
    }
    ground.origin.fail(false);
    ground.origin.end_one();
    assert_eq!(ground.shown(10..12).await, [(10, 10), (11, 11)]);
}

#[tokio::test]
async fn loader_that_panics_is_an_error_of_its_readers() {
    let mut by_value = None;
    let ground = Ground::with(|definition| {
        let index = definition.index("value", |one| one.value);
        definition.loads_by(&index, |values: Ranges<i64>, _| async move {
            assert!(values.is_empty(), "a loader with a fault");
            Ok(())
        });
        by_value = Some(index);
    });
    ground.table.load(Ranges::none()).await.unwrap();
    let by_value = by_value.unwrap();
    let read = ground.table.select(&by_value, Ranges::only([1])).read().await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Panicked);
}

/// Eight values that only grow, outside the window of a table.
struct Growing {
    table: Table<Reading, i64>,
    values: Arc<[AtomicI64; 8]>,
    /// What a read that begins now must show at least.
    told: [AtomicI64; 8],
}

impl Growing {
    async fn new() -> Self {
        let values: Arc<[AtomicI64; 8]> = Arc::default();
        let mut definition = Definition::<Reading>::new("growing");
        let (by_id, own) = (definition.primary(), values.clone());
        definition.loads_by(&by_id, move |ids: Ranges<i64>, fill| {
            let own = own.clone();
            async move {
                let read: Vec<_> =
                    (0..).zip(&*own).map(|(id, value)| (id, value.load(SeqCst))).collect();
                // Others come and go between what is read and the end of the load.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                let read = read.into_iter().filter(|(id, _)| ids.contains(id));
                fill.put_all(read.map(|(id, value)| reading(id, 1, id, value)))
            }
        });
        let table = definition.build(&by_id).unwrap();
        table.load(Ranges::none()).await.unwrap();
        Self { table, values, told: Default::default() }
    }

    fn write(&self, id: i64) {
        let place = usize::try_from(id).unwrap();
        let value = self.values.get(place).unwrap().fetch_add(1, SeqCst) + 1;
        self.table.invalidation().keys([id]).commit().unwrap();
        self.told.get(place).unwrap().fetch_max(value, SeqCst);
    }

    async fn read(&self, ids: std::ops::Range<i64>) {
        let least = self.told.each_ref().map(|told| told.load(SeqCst));
        let found = self.table.range(&self.table.primary(), ids.clone()).await.unwrap();
        assert_eq!(found.count(), ids.count());
        for one in found.iter() {
            let least = *least.get(usize::try_from(one.id).unwrap()).unwrap();
            assert!(least <= one.value, "row {}: {} after {least}", one.id, one.value);
        }
    }
}

/// T25: t10 on threads that do as they like: what was invalidated before a read began is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_shows_every_invalidation_before_it_however_loads_are_shared() {
    let growing = Arc::new(Growing::new().await);
    let mut tasks = JoinSet::new();
    for own in 0..2 {
        let growing = growing.clone();
        tasks.spawn(async move {
            for round in 0..1000 {
                growing.write(own * 4 + round % 4);
                tokio::task::yield_now().await;
            }
        });
    }
    for own in 0..6 {
        let growing = growing.clone();
        tasks.spawn(async move {
            for round in 0..500 {
                let low = (own + round) % 6;
                growing.read(low..low + 1 + round % 2).await;
            }
        });
    }
    tasks.join_all().await;
    let stats = growing.table.stats();
    assert!(0 < stats.misses_shared && stats.misses_shared < stats.misses, "{stats:?}");
}
