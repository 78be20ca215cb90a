//! The ground of the model test: an origin that stops after each record, the table over it, and
//! what reads may show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_core::{Error, ErrorKind};
use larder_table::{Definition, Fill, Group, Index, Meanwhile, Outside, Ranges, Table};
use parking_lot::Mutex;
use tokio::task::yield_now;

use super::{
    super::origin::{Orders, Reading, Wanted, of_device, reading},
    steps::{Change, Named},
};

/// The rows, and after how many records a load fails.
#[derive(Default)]
struct Origin {
    rows: Mutex<BTreeMap<i64, Reading>>,
    fails_after: Mutex<Option<usize>>,
}

/// What was shown, and which rows belong there.
pub(super) struct Shown {
    rows: Vec<Reading>,
    belongs: Box<dyn Fn(&Reading) -> bool>,
    parts: Parts,
}

/// Of how many moments an answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    One,
    /// What was kept and what was loaded for it: a row that moved from the one to the other, and is
    /// served on where it was, may be in neither.
    Two,
}

#[derive(Clone)]
pub(super) struct Ground {
    origin: Arc<Origin>,
    pub(super) table: Table<Reading, i64>,
    by_time: Index<Reading, i64>,
    by_device: Index<Reading, (i64, i64)>,
    by_digit: Index<Reading, i64>,
    values: Group<Reading, i64, i64>,
    pub(super) window: (i64, i64),
    /// States that are served on by name.
    served: BTreeMap<i64, Vec<Option<Reading>>>,
    writes: i64,
}

pub(super) fn times(low: i64, high: i64) -> Ranges<i64> {
    Ranges::of(low..high).unwrap()
}

impl Origin {
    /// It reads at once, and stops after each record that it gives.
    async fn load(self: Arc<Self>, is_wanted: Wanted, fill: Fill<Reading>) -> Result<(), Error> {
        yield_now().await;
        let read: Vec<Reading> = self.rows.lock().values().cloned().collect();
        let fails_after = *self.fails_after.lock();
        let failed = || Error::new(ErrorKind::Unavailable, "read the origin");
        for (place, row) in read.into_iter().filter(is_wanted).enumerate() {
            if fails_after == Some(place) {
                return Err(failed());
            }
            fill.put(row)?;
            yield_now().await;
        }
        if fails_after.is_some() { Err(failed()) } else { Ok(()) }
    }
}

impl Ground {
    pub(super) async fn loaded() -> Self {
        let origin = Arc::<Origin>::default();
        let mut definition = Definition::new("readings");
        let own = origin.clone();
        let load = move |is_wanted: Wanted, fill| own.clone().load(is_wanted, fill);
        let Orders { by_time, by_device, by_digit, values, .. } =
            Orders::of(&mut definition, load.clone());
        definition.loads_by(&by_device, move |ranges: Ranges<(i64, i64)>, fill| {
            load(Box::new(move |one| ranges.contains(&(one.device, one.time))), fill)
        });
        let table = definition.build(&by_time).unwrap();
        origin.rows.lock().extend((0..16).map(|id| (id, reading(id, id % 3, id, id))));
        table.load(times(5, 15)).await.unwrap();
        let (window, served, writes) = ((5, 15), BTreeMap::new(), 1000);
        Self { origin, table, by_time, by_device, by_digit, values, window, served, writes }
    }

    pub(super) fn fail_after(&self, records: Option<usize>) {
        *self.origin.fails_after.lock() = records;
    }

    pub(super) fn covers(&self, low: i64, high: i64) -> bool {
        high <= low || (self.window.0 <= low && high <= self.window.1)
    }

    /// What an operation that changed nothing has left: records, invalidations, and how often both
    /// were loaded.
    pub(super) fn stats(&self) -> [u64; 4] {
        let stats = self.table.stats();
        [stats.records, stats.invalid, stats.refreshes, stats.adjustments]
    }

    /// Writes a row and tells of it; which one, if there was something to tell.
    pub(super) fn change(&mut self, change: &Change) -> Option<i64> {
        let Change { id, to, named, meanwhile } = *change;
        self.writes += 1;
        let new = to.map(|(device, time)| reading(id, device, time, self.writes));
        let old = match &new {
            Some(new) => self.origin.rows.lock().insert(id, new.clone()),
            None => self.origin.rows.lock().remove(&id),
        };
        if old.is_none() && new.is_none() {
            return None;
        }
        let invalidation = self.table.invalidation();
        let invalidation = match named {
            Named::Key | Named::KeyAndTime => invalidation.keys([id]),
            Named::Time | Named::Device | Named::TimeAndDevice => invalidation,
        };
        let only = |row: &Option<Reading>| Ranges::only(row.iter().map(|row| row.time));
        let invalidation = match named {
            Named::Time | Named::KeyAndTime | Named::TimeAndDevice => {
                invalidation.by(&self.by_time, &only(&old), &only(&new))
            }
            Named::Key | Named::Device => invalidation,
        };
        let all = |row: &Option<Reading>| {
            let of = |row: &Reading| Ranges::of(of_device(row.device)).unwrap();
            row.as_ref().map_or_else(Ranges::none, of)
        };
        let invalidation = match named {
            Named::Device | Named::TimeAndDevice => {
                invalidation.by(&self.by_device, &all(&old), &all(&new))
            }
            Named::Key | Named::Time | Named::KeyAndTime => invalidation,
        };
        match meanwhile {
            Meanwhile::Refresh => invalidation.commit().unwrap(),
            Meanwhile::ServeStale => invalidation.serve_stale().commit().unwrap(),
        }
        // Who was served on before may still be: the newer state was not loaded by what is named.
        if meanwhile == Meanwhile::ServeStale || self.served.contains_key(&id) {
            self.served.entry(id).or_default().push(old);
        }
        Some(id)
    }

    /// What was served on was loaded again, but for rows that changed meanwhile.
    pub(super) fn settle_served(&mut self, beside: &[i64]) {
        self.served.retain(|id, _| beside.contains(id));
    }

    pub(super) async fn get(&self, id: i64) -> Result<Shown, Error> {
        let row = self.table.get(&id).await?;
        let rows = row.iter().map(|row| (**row).clone()).collect();
        Ok(Shown { rows, belongs: Box::new(move |row| row.id == id), parts: Parts::One })
    }

    pub(super) async fn read(&self, low: i64, high: i64, outside: Outside) -> Result<Shown, Error> {
        let select = self.table.select(&self.by_time, times(low, high)).outside(outside);
        let rows: Vec<Reading> = select.read().await?.iter().map(|row| (**row).clone()).collect();
        assert!(rows.is_sorted_by_key(|row| (row.time, row.id)), "{rows:?}");
        let belongs = Box::new(move |row: &Reading| (low..high).contains(&row.time));
        let parts = if outside == Outside::LoadMissing { Parts::Two } else { Parts::One };
        Ok(Shown { rows, belongs, parts })
    }

    pub(super) async fn by_device(
        &self,
        device: i64,
        (low, high): (i64, i64),
    ) -> Result<Shown, Error> {
        let own = Ranges::of(of_device(device)).unwrap();
        let select = self.table.select(&self.by_device, own).and(&self.by_time, times(low, high));
        let rows: Vec<Reading> = select.read().await?.iter().map(|row| (**row).clone()).collect();
        assert!(rows.is_sorted_by_key(|row| (row.time, row.id)), "{rows:?}");
        let belongs = move |row: &Reading| row.device == device && (low..high).contains(&row.time);
        Ok(Shown { rows, belongs: Box::new(belongs), parts: Parts::One })
    }

    /// By an index of several keys a record, within the window.
    pub(super) async fn by_digit(&self, digit: i64) -> Result<Shown, Error> {
        let (low, high) = self.window;
        let select = self.table.select(&self.by_digit, Ranges::only([digit]));
        let select = select.and(&self.by_time, times(low, high));
        let rows = select.read().await?.iter().map(|row| (**row).clone()).collect();
        let belongs = move |row: &Reading| {
            let is_in = (low..high).contains(&row.time);
            is_in && [row.value % 10, row.value / 10 % 10].contains(&digit)
        };
        Ok(Shown { rows, belongs: Box::new(belongs), parts: Parts::One })
    }

    /// Fails unless each row is shown in a state that it may be shown in, or rightly not shown.
    /// Those that changed `beside` may be missed: what is kept and what is loaded for a read are of
    /// two moments.
    pub(super) fn check(&self, shown: &Shown, beside: &[i64]) {
        let Shown { rows, belongs, parts } = shown;
        let found: BTreeMap<i64, &Reading> = rows.iter().map(|row| (row.id, row)).collect();
        assert_eq!(found.len(), rows.len(), "one comes twice: {rows:?}");
        let truth = self.origin.rows.lock().clone();
        let ids: BTreeSet<i64> = truth.keys().chain(found.keys()).copied().collect();
        let ids = ids.into_iter().chain(self.served.keys().copied());
        for id in ids.filter(|id| !beside.contains(id)) {
            let current = truth.get(&id).cloned();
            let mut states = self.served.get(&id).into_iter().flatten().chain([&current]);
            let own = found.get(&id).copied();
            let is_shown =
                |state: &Option<Reading>| state.as_ref().filter(|row| belongs(row)) == own;
            let may_lack = *parts == Parts::Two && self.served.contains_key(&id) && own.is_none();
            assert!(
                may_lack || states.any(is_shown),
                "row {id} is {current:?} and shown as {own:?}"
            );
        }
        assert!(rows.iter().all(belongs), "what does not belong there: {rows:?}");
    }

    /// Sums, where nothing is served on.
    pub(super) async fn check_group(&self, device: i64) {
        let group = self.table.aggregate(&self.values, &device).await.unwrap();
        if !self.served.is_empty() {
            return;
        }
        let (low, high) = self.window;
        let is_in = |row: &&Reading| row.device == device && (low..high).contains(&row.time);
        let rows = self.origin.rows.lock();
        let values: Vec<i64> = rows.values().filter(is_in).map(|row| row.value).collect();
        assert_eq!(group.count, values.len());
        assert_eq!(group.sum, values.iter().map(|value| i128::from(*value)).sum::<i128>());
        let ends = (values.iter().min().copied(), values.iter().max().copied());
        assert_eq!((group.min, group.max), ends);
    }
}
