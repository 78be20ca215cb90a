//! Pages: reads that go on where the last one stopped, while records come, go and move.

use larder_core::ErrorKind;
use larder_table::{Cursor, Outside, Page, Ranges};
use proptest::prelude::*;

use super::origin::{Ground, Reading, of_device, reading};

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

fn ids(page: &Page<Reading, i64>) -> Vec<i64> {
    page.iter().map(|one| one.id).collect()
}

/// Three readings at each of the times 0 to 9: 0, 1, 2 at 0 and so on.
async fn threes(window: std::ops::Range<i64>) -> Ground {
    let rows: Vec<_> = (0..30).map(|id| reading(id, id % 3, id / 3, id)).collect();
    Ground::loaded(&rows, window).await
}

#[tokio::test]
async fn page_goes_on_within_records_of_one_key_in_either_direction() {
    let ground = threes(0..10).await;
    let select = || ground.table.select(&ground.by_time, times(2..5));
    let first = select().page(4).read().await.unwrap();
    assert_eq!(ids(&first), [6, 7, 8, 9]);
    let cursor = first.next().unwrap();
    assert_eq!(cursor, Cursor { key: 3, primary: 9 });
    let rest = select().page(5).after(cursor).read().await.unwrap();
    assert_eq!((ids(&rest), rest.next()), (vec![10, 11, 12, 13, 14], None));
    assert_eq!(rest.end(), Some(Cursor { key: 4, primary: 14 }));
    let last = select().page(4).descending().read().await.unwrap();
    assert_eq!(ids(&last), [14, 13, 12, 11]);
    let rest = select().page(9).descending().after(last.next().unwrap()).read().await.unwrap();
    assert_eq!(ids(&rest), [10, 9, 8, 7, 6]);
    let none = select().page(9).after(Cursor { key: 9, primary: 0 }).read().await.unwrap();
    assert!(none.is_empty() && none.next().is_none());
    assert_eq!(none.end(), Some(Cursor { key: 9, primary: 0 }), "there may come more behind it");
    let nothing = select().page(0).read().await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn page_goes_on_where_the_last_record_was_also_when_that_is_gone_or_elsewhere() {
    let ground = threes(0..10).await;
    let page = |after| ground.table.select(&ground.by_time, times(0..10)).page(4).after(after);
    let put = |row: Reading| {
        let key = row.id;
        ground.origin.put(row);
        ground.table.invalidation().keys([key]).commit().unwrap();
    };
    // The record at which it stopped goes, one comes before it, one right behind, one moves on.
    ground.origin.remove(4);
    ground.table.invalidation().keys([4]).commit().unwrap();
    put(reading(100, 0, 0, 0));
    put(reading(101, 0, 1, 0));
    put(reading(1, 0, 2, 0));
    let next = page(Cursor { key: 1, primary: 4 }).read().await.unwrap();
    assert_eq!(ids(&next), [5, 101, 1, 6]);
}

#[tokio::test]
async fn page_that_the_window_can_fill_asks_nobody_and_the_next_one_asks_for_what_is_left() {
    let ground = threes(2..6).await;
    let loads = ground.origin.loads();
    let select = || ground.table.select(&ground.by_time, times(2..9)).outside(Outside::Refuse);
    let page = select().page(11).read().await.unwrap();
    assert_eq!((page.len(), page.next().is_some()), (11, true));
    let beyond = select().page(12).read().await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::NotFound, "whether it is the last one is not known");
    assert_eq!(ground.origin.loads(), loads);
    let select = || ground.table.select(&ground.by_time, times(0..9));
    let page = select().page(3).descending().after(Cursor { key: 5, primary: 17 });
    assert_eq!(ids(&page.read().await.unwrap()), [16, 15, 14]);
    assert_eq!(ground.origin.loads(), loads);
    let page = select().page(3).after(Cursor { key: 5, primary: 16 }).read().await.unwrap();
    assert_eq!(ids(&page), [17, 18, 19]);
    assert_eq!(ground.origin.loads(), loads + 1);
}

#[tokio::test]
async fn pages_by_two_indexes_are_the_same_whichever_of_them_is_walked() {
    let rows: Vec<_> = (0..300).map(|id| reading(id, i64::from(id == 7), id, id)).collect();
    let ground = Ground::loaded(&rows, 0..300).await;
    let device = |device| Ranges::of(of_device(device)).unwrap();
    let few = ground.table.select(&ground.by_time, times(0..300)).and(&ground.by_device, device(1));
    let few = few.page(5).read().await.unwrap();
    assert_eq!((ids(&few), few.next()), (vec![7], None));
    let many = ground.table.select(&ground.by_time, times(0..9)).and(&ground.by_device, device(0));
    let many = many.filter(|one| one.id != 3).page(6).descending().read().await.unwrap();
    assert_eq!(ids(&many), [8, 6, 5, 4, 2, 1]);
}

#[tokio::test]
async fn record_with_several_keys_is_in_one_page() {
    let ground = Ground::loaded(&[reading(1, 1, 1, 37), reading(2, 1, 2, 55)], 0..9).await;
    let select = || ground.table.select(&ground.by_digit, Ranges::all());
    let select = || select().and(&ground.by_time, times(0..9));
    let first = select().page(1).read().await.unwrap();
    assert_eq!(first.iter().next().unwrap().id, 1);
    let second = select().page(9).after(first.next().unwrap()).read().await.unwrap();
    assert_eq!(second.iter().map(|one| one.id).collect::<Vec<_>>(), [2], "7 is another key of 1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Between two pages anything may happen; each page is what the origin has behind the cursor.
    #[test]
    fn pages_are_what_is_behind_the_cursor(
        rows in proptest::collection::vec((0..40i64, 0..8i64), 0..60),
        changes in proptest::collection::vec((0..40i64, 0..8i64), 0..30),
        (low, high) in (0..8i64, 0..9i64),
        limit in 1..7usize,
        descends in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let rows: Vec<_> = rows.iter().map(|(id, time)| reading(*id, 0, *time, 0)).collect();
            let ground = Ground::loaded(&rows, low.min(high)..high).await;
            let (mut changes, mut cursor) = (changes.into_iter(), None::<Cursor<i64, i64>>);
            for _ in 0..100 {
                let mut paged = ground.table.select(&ground.by_time, times(0..7)).page(limit);
                paged = if descends { paged.descending() } else { paged };
                paged = if let Some(cursor) = cursor { paged.after(cursor) } else { paged };
                let page = paged.read().await.unwrap();
                let mut truth: Vec<_> = ground.origin.rows().iter().map(|one| (one.time, one.id))
                    .filter(|place| place.0 < 7 && cursor.is_none_or(|cursor| {
                        let cursor = (cursor.key, cursor.primary);
                        if descends { *place < cursor } else { cursor < *place }
                    })).collect();
                truth.sort_unstable();
                if descends { truth.reverse(); }
                let is_last = truth.len() <= limit;
                truth.truncate(limit);
                let found: Vec<_> = page.entries().map(|(key, one)| (*key, one.id)).collect();
                assert_eq!(found, truth);
                assert_eq!(page.next().is_none(), is_last);
                let Some(next) = page.next() else { break };
                cursor = Some(next);
                if let Some((id, time)) = changes.next() {
                    ground.origin.put(reading(id, 0, time, 1));
                    ground.table.invalidation().keys([id]).commit().unwrap();
                }
            }
        });
    }
}
