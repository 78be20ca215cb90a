//! What can be asked of a table, and what it costs the origin.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_table::{Aggregate, Definition, Float, Outside, Ranges, Record};

use super::origin::{Ground, of_device, reading};

fn times(range: std::ops::Range<i64>) -> Ranges<i64> {
    Ranges::of(range).unwrap()
}

/// Ten readings of each of three devices, at the times 0 to 29.
async fn thirty() -> Ground {
    let rows: Vec<_> = (0..30).map(|at| reading(100 + at, at % 3, at, at * at)).collect();
    Ground::loaded(&rows, 10..20).await
}

/// T3.
#[tokio::test]
async fn read_within_the_window_asks_nobody_and_one_partly_outside_asks_for_what_is_missing() {
    let ground = thirty().await;
    let loads = ground.origin.loads();
    assert_eq!(ground.shown(12..15).await, [(112, 144), (113, 169), (114, 196)]);
    assert_eq!(ground.origin.loads(), loads);
    let shown = ground.shown(8..22).await;
    assert_eq!(shown.len(), 14);
    assert!(shown.is_sorted());
    assert_eq!(ground.origin.loads(), loads + 1);
    assert_eq!(ground.table.stats().records, 10, "the window is as it was");
    let refused = ground.table.select(&ground.by_time, times(8..12)).outside(Outside::Refuse);
    assert_eq!(refused.read().await.unwrap_err().kind(), ErrorKind::NotFound);
    let stats = ground.table.stats();
    assert_eq!((stats.hits, stats.misses), (1, 1));
}

/// T4, T5.
#[tokio::test]
async fn answers_are_in_order_from_both_ends_and_by_two_indexes() {
    let ground = thirty().await;
    let all = ground.table.range(&ground.by_time, 10..20).await.unwrap();
    let back: Vec<i64> = all.iter().rev().skip(1).take(3).map(|one| one.time).collect();
    assert_eq!(back, [18, 17, 16]);
    let device = Ranges::of(of_device(1)).unwrap();
    let both =
        ground.table.select(&ground.by_device, device.clone()).and(&ground.by_time, times(10..15));
    let both = both.filter(|one| one.time != 13).read().await.unwrap();
    assert_eq!(both.iter().map(|one| one.time).collect::<Vec<_>>(), [10]);
    assert_eq!(both.count(), 1);
    let alone = ground.table.select(&ground.by_device, device).read().await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Unsupported, "the window is on another index");
    let several = Ranges::of_each([10..12, 18..20]).unwrap();
    assert_eq!(ground.table.select(&ground.by_time, several).read().await.unwrap().count(), 4);
    let first = ground.table.first(&ground.by_time, 15..).await.unwrap().unwrap();
    assert_eq!(first.time, 15);
}

#[tokio::test]
async fn groups_know_count_sum_and_extremes_and_follow_changes() {
    let ground = thirty().await;
    let group = |device| ground.table.aggregate(&ground.values, device);
    // Device 1 measured at 10, 13, 16 and 19.
    let expected =
        Aggregate { count: 4, sum: 100 + 169 + 256 + 361, min: Some(100), max: Some(361) };
    assert_eq!(group(&1).await.unwrap(), expected);
    ground.origin.put(reading(113, 1, 13, -5));
    ground.table.invalidation().keys([113]).commit().unwrap();
    assert_eq!(group(&1).await.unwrap().min, Some(-5));
    let none = Aggregate { count: 0, sum: 0, min: None, max: None };
    assert_eq!(group(&7).await.unwrap(), none);
}

/// T14.
#[tokio::test]
async fn stale_records_are_served_on_by_name_until_somebody_refreshes() {
    let ground = thirty().await;
    ground.origin.put(reading(112, 0, 12, 7));
    ground.table.invalidation().keys([112]).serve_stale().commit().unwrap();
    assert_eq!(ground.shown(12..13).await, [(112, 144)]);
    assert_eq!(ground.table.refresh_invalid().await.unwrap(), 1);
    assert_eq!(ground.shown(12..13).await, [(112, 7)]);
    let loads = ground.origin.loads();
    assert_eq!(ground.table.refresh_invalid().await.unwrap(), 0);
    assert_eq!(ground.origin.loads(), loads, "there was nothing to do");
}

/// T10.
#[tokio::test]
async fn one_invalid_record_costs_one_load_of_one_record() {
    let ground = thirty().await;
    ground.origin.remove(115);
    let loads = ground.origin.loads();
    ground.table.invalidation().keys([115]).commit().unwrap();
    assert_eq!(ground.table.get(&115).await.unwrap(), None);
    assert!(ground.table.get(&114).await.unwrap().is_some());
    // The second load is that of a key which the window cannot be known to lack.
    assert_eq!(ground.origin.loads(), loads + 2);
}

/// T2.
#[tokio::test(start_paused = true)]
async fn reads_wait_for_the_load_up_to_their_bound() {
    let ground = Ground::with(|definition| {
        definition.wait_for_load(Duration::from_secs(2));
    });
    let late = ground.table.get(&1).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert!(late.to_string().contains("2s"), "{late}");
    ground.origin.put(reading(1, 1, 1, 1));
    let (read, load) = tokio::join!(ground.shown(0..9), ground.table.load(times(0..9)));
    assert_eq!((read.len(), load.unwrap()), (1, 1));
}

#[derive(Debug, PartialEq)]
struct Book {
    title: &'static str,
    price: f64,
    tags: Vec<&'static str>,
}

impl Record for Book {
    type Key = &'static str;

    fn key(&self) -> &'static str {
        self.title
    }
}

/// T16, T18.
#[tokio::test]
async fn keys_may_be_many_and_computed_and_not_numbers() {
    let mut definition = Definition::new("books");
    let by_price = definition.index("price", |book: &Book| Float(book.price));
    let by_tag = definition.multi("tag", |book: &Book| book.tags.clone());
    let by_length = definition.index("length", |book: &Book| book.title.len());
    definition.loads_by(&by_price, |prices: Ranges<Float>, fill| async move {
        let books = [
            ("Nothing", f64::NAN, vec!["sea"]),
            ("Moby-Dick", 12.0, vec!["sea", "whale", "sea"]),
            ("Emma", f64::NEG_INFINITY, vec!["village"]),
            ("Middlemarch", f64::INFINITY, vec!["village", "whale"]),
        ];
        let books = books.into_iter().map(|(title, price, tags)| Book { title, price, tags });
        fill.put_all(books.filter(|book| prices.contains(&Float(book.price))))
    });
    let table = definition.build(&by_price).unwrap();
    table.load(Ranges::all()).await.unwrap();
    let titles =
        |found: Vec<std::sync::Arc<Book>>| found.iter().map(|book| book.title).collect::<Vec<_>>();
    let by_prices = table.range(&by_price, ..).await.unwrap();
    assert_eq!(titles(by_prices.to_vec()), ["Emma", "Moby-Dick", "Middlemarch", "Nothing"]);
    let tagged = table.range(&by_tag, "sea"..="whale").await.unwrap();
    assert_eq!(tagged.count(), 4, "each once");
    assert_eq!(titles(tagged.to_vec()), ["Moby-Dick", "Nothing", "Emma", "Middlemarch"]);
    assert_eq!(table.first(&by_length, 8..).await.unwrap().unwrap().title, "Moby-Dick");
}

/// T9.
#[tokio::test]
async fn index_of_another_table_is_refused() {
    let (ground, other) = (thirty().await, thirty().await);
    let wrong = ground.table.range(&other.by_time, 0..1).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::NotFound);
    assert!(wrong.to_string().contains("device_time"), "{wrong}");
    let wrong =
        ground.table.select(&ground.by_device, Ranges::all()).and(&other.by_time, times(0..1));
    assert_eq!(wrong.read().await.unwrap_err().kind(), ErrorKind::NotFound);
    let wrong = ground.table.invalidation().by(&other.by_time, &times(0..1), &Ranges::none());
    assert_eq!(wrong.commit().unwrap_err().kind(), ErrorKind::NotFound);
    for nothing in [ground.table.invalidation(), ground.table.invalidation().keys([])] {
        assert_eq!(nothing.commit().unwrap_err().kind(), ErrorKind::Config);
    }
}
