//! An origin of readings in this process, whose loads a test can stop between their reading and
//! their end.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use larder_table::{Definition, Fill, Group, Index, Ranges, Record, Table};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A value that a device measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) id: i64,
    pub(crate) device: i64,
    pub(crate) time: i64,
    pub(crate) value: i64,
}

impl Record for Reading {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

pub(crate) fn reading(id: i64, device: i64, time: i64, value: i64) -> Reading {
    Reading { id, device, time, value }
}

/// The orders that readings are kept in here.
pub(crate) struct Orders {
    pub(crate) by_time: Index<Reading, i64>,
    pub(crate) by_device: Index<Reading, (i64, i64)>,
    /// Of two keys a record.
    pub(crate) by_digit: Index<Reading, i64>,
    pub(crate) by_id: Index<Reading, i64>,
    pub(crate) values: Group<Reading, i64, i64>,
}

/// Which readings a load is to give.
pub(crate) type Wanted = Box<dyn Fn(&Reading) -> bool + Send>;

impl Orders {
    /// Adds them; by time and by primary key records are loaded with `load`.
    pub(crate) fn of<F: Future<Output = Result<(), Error>> + Send + 'static>(
        definition: &mut Definition<Reading>,
        load: impl Fn(Wanted, Fill<Reading>) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let by_time = definition.index("time", |one: &Reading| one.time);
        let by_device = definition.index("device_time", |one: &Reading| (one.device, one.time));
        let values = definition.group("values", |one: &Reading| one.device, |one| one.value);
        let digits = |one: &Reading| vec![one.value % 10, one.value / 10 % 10];
        let by_digit = definition.multi("digits", digits);
        let by_id = definition.primary();
        let own = load.clone();
        definition.loads_by(&by_time, move |ranges: Ranges<i64>, fill| {
            own(Box::new(move |one| ranges.contains(&one.time)), fill)
        });
        definition.loads_by(&by_id, move |ranges: Ranges<i64>, fill| {
            load(Box::new(move |one| ranges.contains(&one.id)), fill)
        });
        Self { by_time, by_device, by_digit, by_id, values }
    }
}

/// The origin. Loads read at once, and end when they have a permit.
pub(crate) struct Origin {
    rows: Mutex<BTreeMap<i64, Reading>>,
    pub(crate) permits: Semaphore,
    pub(crate) began: Semaphore,
    loads: AtomicUsize,
    fails: Mutex<bool>,
}

/// A table of readings by time, with its origin.
pub(crate) struct Ground {
    pub(crate) origin: Arc<Origin>,
    pub(crate) table: Table<Reading, i64>,
    pub(crate) by_time: Index<Reading, i64>,
    pub(crate) by_device: Index<Reading, (i64, i64)>,
    pub(crate) values: Group<Reading, i64, i64>,
    pub(crate) by_digit: Index<Reading, i64>,
}

impl Origin {
    pub(crate) fn put(&self, reading: Reading) {
        self.rows.lock().insert(reading.id, reading);
    }

    pub(crate) fn remove(&self, id: i64) -> Option<Reading> {
        self.rows.lock().remove(&id)
    }

    pub(crate) fn rows(&self) -> Vec<Reading> {
        self.rows.lock().values().cloned().collect()
    }

    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// Lets loads end at once from now on, or not.
    pub(crate) fn stop(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
        self.began.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn fail(&self, fails: bool) {
        *self.fails.lock() = fails;
    }

    /// Waits until one more load has read.
    pub(crate) async fn has_read(&self) {
        let read = tokio::time::timeout(Duration::from_secs(30), self.began.acquire());
        read.await.expect("a load begins").expect("it is never closed").forget();
    }

    /// Lets one load end.
    pub(crate) fn end_one(&self) {
        self.permits.add_permits(1);
    }

    async fn load(self: Arc<Self>, is_wanted: Wanted, fill: Fill<Reading>) -> Result<(), Error> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let read: Vec<Reading> = self.rows().into_iter().filter(is_wanted).collect();
        self.began.add_permits(1);
        self.permits.acquire().await.expect("it is never closed").forget();
        let fails = *self.fails.lock();
        for (place, reading) in read.into_iter().enumerate() {
            if fails && place == 1 {
                return Err(Error::new(ErrorKind::Unavailable, "read half of it"));
            }
            fill.put(reading)?;
        }
        if fails { Err(Error::new(ErrorKind::Unavailable, "read the origin")) } else { Ok(()) }
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Definition<Reading>)) -> Self {
        Self::with_times(|definition, _| change(definition))
    }

    /// The same for whoever needs the index by time.
    pub(crate) fn with_times(
        change: impl FnOnce(&mut Definition<Reading>, &Index<Reading, i64>),
    ) -> Self {
        Self::define(change, |by_time, _| by_time)
    }

    /// The window is on the primary key.
    pub(crate) fn by_key() -> Self {
        Self::by_key_with(|_, _| {})
    }

    pub(crate) fn by_key_with(
        change: impl FnOnce(&mut Definition<Reading>, &Index<Reading, i64>),
    ) -> Self {
        Self::define(|definition, _| change(definition, &definition.primary()), |_, by_id| by_id)
    }

    fn define(
        change: impl FnOnce(&mut Definition<Reading>, &Index<Reading, i64>),
        window: impl Fn(Index<Reading, i64>, Index<Reading, i64>) -> Index<Reading, i64>,
    ) -> Self {
        let origin = Arc::new(Origin {
            rows: Mutex::default(),
            permits: Semaphore::new(1_000_000),
            began: Semaphore::new(0),
            loads: AtomicUsize::new(0),
            fails: Mutex::new(false),
        });
        let mut definition = Definition::new("readings");
        let own = origin.clone();
        let load = move |is_wanted: Wanted, fill| own.clone().load(is_wanted, fill);
        let Orders { by_time, by_device, by_digit, by_id, values } =
            Orders::of(&mut definition, load);
        change(&mut definition, &by_time);
        let table = definition.build(&window(by_time.clone(), by_id)).unwrap();
        Self { origin, table, by_time, by_device, values, by_digit }
    }

    /// Loads the window `times` of what `rows` are then in the origin.
    pub(crate) async fn loaded(rows: &[Reading], times: std::ops::Range<i64>) -> Self {
        let ground = Self::new();
        rows.iter().for_each(|row| ground.origin.put(row.clone()));
        ground.table.load(Ranges::of(times).unwrap()).await.unwrap();
        ground
    }

    /// What a read of these times shows: ids and values.
    pub(crate) async fn shown(&self, times: std::ops::Range<i64>) -> Vec<(i64, i64)> {
        let found = self.table.range(&self.by_time, times).await.unwrap();
        found.iter().map(|one| (one.id, one.value)).collect()
    }
}

type Times = (Bound<(i64, i64)>, Bound<(i64, i64)>);

/// All of one device.
pub(crate) fn of_device(device: i64) -> Times {
    (Bound::Included((device, i64::MIN)), Bound::Included((device, i64::MAX)))
}
