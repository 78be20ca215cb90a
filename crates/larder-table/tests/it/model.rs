//! The table against the origin's truth, under random changes of both.

use larder_table::Ranges;
use proptest::prelude::*;

use super::origin::{Ground, Reading, of_device, reading};

#[derive(Clone, Debug)]
enum Step {
    /// A row is written and named by key.
    Put(i64, i64, i64),
    /// A row goes, and is named by the time at which it was.
    Remove(i64),
    Adjust(i64, i64),
    Fail,
    Read(i64, i64),
    ReadDevice(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30i64, 0..3i64, 0..20i64).prop_map(|(id, own, time)| Step::Put(id, own, time)),
        2 => (0..30i64).prop_map(Step::Remove),
        2 => (0..20i64, 0..12i64).prop_map(|(low, len)| Step::Adjust(low, low + len)),
        1 => Just(Step::Fail),
        4 => (0..20i64, 0..12i64).prop_map(|(low, len)| Step::Read(low, low + len)),
        2 => (0..3i64).prop_map(Step::ReadDevice),
    ]
}

fn by_time(mut rows: Vec<Reading>) -> Vec<Reading> {
    rows.sort_by_key(|row| (row.time, row.id));
    rows
}

async fn carry_out(ground: &Ground, window: &mut (i64, i64), step: Step, value: i64) {
    let origin = &ground.origin;
    let truth = |low: i64, high: i64| {
        let rows = origin.rows().into_iter().filter(|row| (low..high).contains(&row.time));
        by_time(rows.collect())
    };
    match step {
        Step::Put(id, device, time) => {
            origin.put(reading(id, device, time, value));
            ground.table.invalidation().keys([id]).commit().unwrap();
        }
        Step::Remove(id) => {
            if let Some(old) = origin.remove(id) {
                let old = Ranges::only([old.time]);
                let invalidation = ground.table.invalidation();
                invalidation.by(&ground.by_time, &old, &Ranges::none()).commit().unwrap();
            }
        }
        Step::Adjust(low, high) => {
            ground.table.adjust(Ranges::of(low..high).unwrap()).await.unwrap();
            *window = (low, high);
        }
        Step::Fail => {
            origin.fail(true);
            ground.table.adjust(Ranges::all()).await.unwrap_err();
            origin.fail(false);
        }
        Step::Read(low, high) => {
            let found = ground.table.range(&ground.by_time, low..high).await.unwrap();
            let found: Vec<Reading> = found.iter().map(|row| (**row).clone()).collect();
            assert_eq!(found, truth(low, high));
        }
        Step::ReadDevice(device) => {
            let (low, high) = *window;
            let own = Ranges::of(of_device(device)).unwrap();
            let within = Ranges::of(low..high).unwrap();
            let found = ground.table.select(&ground.by_device, own).and(&ground.by_time, within);
            let found = found.read().await.unwrap();
            let found: Vec<Reading> = found.iter().map(|row| (**row).clone()).collect();
            let expected = truth(low, high).into_iter().filter(|row| row.device == device);
            assert_eq!(found, expected.collect::<Vec<_>>());
            let group = ground.table.aggregate(&ground.values, &device).await.unwrap();
            assert_eq!(group.count, found.len());
            assert_eq!(group.sum, found.iter().map(|row| i128::from(row.value)).sum::<i128>());
            assert_eq!(group.max, found.iter().map(|row| row.value).max());
        }
    }
}

proptest! {
    /// T13.
    #[test]
    fn table_shows_what_the_origin_has(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let rows: Vec<_> = (0..20).map(|id| reading(id, id % 3, id, id)).collect();
            let ground = Ground::loaded(&rows, 5..15).await;
            let mut window = (5, 15);
            for (value, step) in steps.into_iter().enumerate() {
                carry_out(&ground, &mut window, step, 1000 + i64::try_from(value).unwrap()).await;
            }
        });
    }
}
