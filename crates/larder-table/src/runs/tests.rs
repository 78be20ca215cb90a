//! Loads in many small pieces.

use std::{
    future::pending,
    ops::Bound,
    sync::{Arc, mpsc},
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

use super::RUN;
use crate::{Definition, Fill, Index, Ranges, Record, Table};

/// [`RUN`].
const PIECE: u16 = 8;

#[derive(Clone, Debug)]
struct Row {
    id: u16,
    group: u8,
    /// Of each record that is there the test sees one more.
    _token: Arc<()>,
}

impl Record for Row {
    type Key = u16;

    fn key(&self) -> u16 {
        self.id
    }
}

fn row(id: u16, group: u8) -> Row {
    Row { id, group, _token: Arc::default() }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Everything, by group.
type Groups = (Definition<Row>, Index<Row, u8>);

fn groups() -> Groups {
    let mut definition = Definition::new("rows");
    let by_group = definition.index("group", |one: &Row| one.group);
    (definition, by_group)
}

/// A table of these rows, which come in this order.
fn of_rows((mut definition, by_group): Groups, rows: Vec<Row>) -> Table<Row, u8> {
    let load = move |_, fill: Fill<Row>| std::future::ready(fill.put_all(rows.clone()));
    definition.loads_by(&by_group, load);
    definition.build(&by_group).unwrap()
}

fn refused(groups: Groups, rows: Vec<Row>, window: Ranges<u8>) -> Error {
    let table = of_rows(groups, rows);
    let error = runtime().block_on(table.load(window)).unwrap_err();
    assert!(table.window().is_none() && table.stats().records == 0, "nothing was changed");
    error
}

proptest! {
    #[test]
    fn load_is_in_order_in_whatever_pieces_it_comes(
        ids in proptest::collection::hash_set(0_u16..500, 0..100),
        groups_count in 1_u8..9,
        end in 0_u8..9,
    ) {
        let rows: Vec<Row> =
            ids.iter().map(|id| row(*id, id.to_le_bytes()[0] % groups_count)).collect();
        let (mut definition, by_group) = groups();
        let digits = |one: &Row| vec![one.id % 10, one.id / 10 % 10];
        let by_digit = definition.multi("digits", digits);
        let by_pair = definition.unique("pair", |one: &Row| (one.group, one.id));
        let table = of_rows((definition, by_group.clone()), rows.clone());
        let mut wanted: Vec<(u8, u16)> = rows.iter().map(|one| (one.group, one.id)).collect();
        wanted.retain(|(group, _)| *group < end);
        wanted.sort_unstable();
        let within = |digit: u16| {
            let mut ids: Vec<u16> = wanted.iter().map(|(_, id)| *id).collect();
            ids.retain(|id| digits(&row(*id, 0)).contains(&digit));
            ids.sort_unstable();
            ids
        };
        runtime().block_on(async {
            let count = table.load(Ranges::of(..end).unwrap()).await.unwrap();
            prop_assert_eq!(count, wanted.len());
            let found = table.range(&by_group, ..end).await.unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.group, one.id)).collect();
            prop_assert_eq!(&found, &wanted);
            let low_high = (Bound::Included((0, 0)), Bound::Excluded((end, 0)));
            let group = Ranges::of(..end).unwrap();
            let pairs = table.select(&by_pair, Ranges::of(low_high).unwrap());
            let pairs = pairs.and(&by_group, group.clone()).read().await.unwrap();
            let pairs: Vec<_> = pairs.iter().map(|one| (one.group, one.id)).collect();
            prop_assert_eq!(&pairs, &wanted);
            for digit in 0..10 {
                let with = table.select(&by_digit, Ranges::only([digit]));
                let with = with.and(&by_group, group.clone()).read().await.unwrap();
                let with: Vec<u16> = with.iter().map(|one| one.id).collect();
                prop_assert_eq!(with, within(digit));
            }
            let bytes = wanted.len() * size_of::<Row>();
            prop_assert_eq!(table.stats().bytes, bytes as u64);
            Ok(())
        })?;
    }
}

/// A primary key that comes twice is found, in whatever pieces and inside the window or not.
#[test]
fn key_that_comes_twice_is_refused() {
    let rows = |more: [Row; 2]| {
        let mut rows: Vec<Row> = (0..PIECE * 3).map(|id| row(id, 1)).collect();
        let [first, last] = more;
        rows.insert(0, first);
        rows.push(last);
        rows
    };
    for (first, last) in [(1, 1), (1, 7), (7, 7)] {
        let rows = rows([row(1_000, first), row(1_000, last)]);
        let error = refused(groups(), rows, Ranges::of(0..5).unwrap());
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("one primary key"), "{error}");
    }
    let (mut definition, by_group) = groups();
    definition.unique("below", |one: &Row| one.id % 1_000);
    let rows = (0..PIECE * 3).map(|id| row(id * 2, 1)).chain([row(1_000, 1)]).collect();
    let error = refused((definition, by_group), rows, Ranges::all());
    assert!(error.to_string().contains("unique index `below`"), "{error}");
}

/// The origin goes on only when a key was computed of what it gave before.
#[test]
fn records_are_ordered_while_the_origin_reads() {
    let (mut definition, by_group) = groups();
    definition.load_timeout(Duration::from_secs(10));
    let ordered = Arc::new(Notify::new());
    let tell = ordered.clone();
    definition.index("told", move |one: &Row| {
        tell.notify_one();
        one.id
    });
    definition.loads_by(&by_group, move |_, fill| {
        let ordered = ordered.clone();
        async move {
            fill.put_all((0..PIECE).map(|id| row(id, 1)))?;
            ordered.notified().await;
            fill.put(row(1_000, 1))
        }
    });
    let table = definition.build(&by_group).unwrap();
    let count = runtime().block_on(table.load(Ranges::all())).unwrap();
    assert_eq!((count, usize::from(PIECE)), (RUN + 1, RUN));
}

/// TD3: nothing is left of a load that was dropped half-way, though the origin keeps its fill.
#[test]
fn load_dropped_half_way_keeps_no_record() {
    let (mut definition, by_group) = groups();
    let (token, kept) = (Arc::new(()), Arc::new(Mutex::new(None)));
    let (own, keep, has_put) = (token.clone(), kept.clone(), Arc::new(Notify::new()));
    let put = has_put.clone();
    definition.loads_by(&by_group, move |_, fill| {
        let rows = (0..PIECE * 2 + 3).map(|id| Row { _token: own.clone(), ..row(id, 1) });
        let put_all = fill.put_all(rows);
        *keep.lock() = Some(fill);
        put.notify_one();
        async move {
            put_all?;
            pending().await
        }
    });
    let table = definition.build(&by_group).unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        tokio::select! {
            _ = table.load(Ranges::all()) => panic!("the origin never ends"),
            () = has_put.notified() => {}
        }
    });
    // Waits for what runs beside it.
    drop(runtime);
    let of_closure = 2;
    assert_eq!(Arc::strong_count(&token), of_closure, "records were dropped with the load");
    let fill = kept.lock().take().unwrap();
    let late = (0..PIECE * 9).map(|id| Row { _token: token.clone(), ..row(id, 1) });
    fill.put_all(late).unwrap();
    assert!(Arc::strong_count(&token) <= of_closure + RUN, "nor are those that come late kept");
}

/// What a closure panics with comes out of the load, which can be repeated.
#[test]
fn closure_that_panics_beside_a_load_panics_in_it() {
    let (mut definition, by_group) = groups();
    let (tell, told) = mpsc::channel();
    definition.index("panics", move |one: &Row| {
        assert!(tell.send(()).is_ok(), "it was told");
        one.id
    });
    definition.loads_by(&by_group, |_, fill| async move {
        fill.put_all((0..PIECE).map(|id| row(id, 1)))?;
        // Pieces that come later have no worker.
        fill.put_all((1_000..1_000 + PIECE * 3).map(|id| row(id, 1)))
    });
    let table = definition.build(&by_group).unwrap();
    drop(told);
    let own = table.clone();
    let runtime = runtime();
    let ended = runtime
        .block_on(async move { tokio::spawn(async move { own.load(Ranges::all()).await }).await });
    let panic = ended.unwrap_err().into_panic();
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
    assert!(words.contains("it was told"), "{words}");
    assert!(table.window().is_none());
}
