//! The ledger: what a hit never needs to know about an entry, under the index of its mark.
//!
//! It stands apart from the engine so that hits touch few cache lines, and so that an entry can be
//! unlinked by whoever knows its mark only. **Invariant**: a record is taken exactly once, not
//! before its entry is linked everywhere, and an index is given out again only after its last entry
//! was unlinked everywhere.

use larder_core::{DependencySet, Digest, Stamps, freshness::Deadlines, safeguard::Safeguard};

use crate::{
    engine::EngineKey,
    gates::Pass,
    marks::{Mark, Marks},
    pending::Ticket,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        sized,
    },
};

/// Locks over the records; a power of two.
pub(crate) const SHARDS: usize = sized(64, 2);

/// One entry's cold side.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: EngineKey,
    pub(crate) dependencies: Option<Box<DependencySet>>,
    pub(crate) stamps: Stamps,
    pub(crate) deadlines: Deadlines,
    pub(crate) pass: Pass,
    pub(crate) linked: Ticket,
    pub(crate) weight: u64,
    pub(crate) stage: Stage,
}

/// Who may take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Only the filler, who is linking it:
    ///
    /// 1. The filler links the entry under the first of its digests.
    /// 2. That digest is invalidated; the entry's mark ends and it is handed to the sweeper.
    /// 3. The sweeper takes the record and unlinks the entry under all digests, the second as well.
    /// 4. The filler links it under the second.
    ///
    /// Step 3 would take off a link that was never made, which among many counts as somebody
    /// else's, and step 4 make one that nobody takes off.
    Linking,
    /// Whoever ends the entry.
    Linked,
}

impl Record {
    /// The digests it is linked under.
    pub(crate) fn digests(&self) -> &[Digest] {
        self.dependencies.as_ref().map_or(&[], |set| set.digests())
    }
}

#[derive(Debug, Default)]
struct Shard {
    records: Vec<(u32, Option<Box<Record>>)>,
    free: Vec<u32>,
}

/// The records of a tier.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Box<[Mutex<Shard>]>,
    turn: AtomicUsize,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), turn: AtomicUsize::new(0) }
    }

    fn shard(&self, place: usize) -> &Mutex<Shard> {
        self.shards.get(place % SHARDS).expect("the place is a remainder of their number")
    }

    /// Enters a record under a mark of its own.
    pub(crate) fn open(&self, record: Box<Record>, marks: &Marks) -> Mark {
        let place = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shard(place).lock();
        loop {
            let local = shard.free.pop().map_or(shard.records.len(), |local| local as usize);
            let index = u32::try_from(local * SHARDS + place).expect("2^32 entries do not fit");
            if local == shard.records.len() {
                shard.records.push((0, None));
            }
            // A retired index is not given out again; its eight bytes stay.
            let Some(mark) = marks.at(index) else { continue };
            if let Some(slot) = shard.records.get_mut(local) {
                *slot = (mark.generation, Some(record));
            }
            return mark;
        }
    }

    /// Reads the record of `mark`, if it is still there.
    pub(crate) fn with<R>(&self, mark: Mark, read: impl FnOnce(&Record) -> R) -> Option<R> {
        let index = mark.index as usize;
        let shard = self.shard(index).lock();
        match shard.records.get(index / SHARDS)? {
            (generation, Some(record)) if *generation == mark.generation => Some(read(record)),
            _ => None,
        }
    }

    /// Changes the record of `mark`, if it is still there.
    pub(crate) fn change<R>(&self, mark: Mark, change: impl FnOnce(&mut Record) -> R) -> Option<R> {
        let index = mark.index as usize;
        let mut shard = self.shard(index).lock();
        match shard.records.get_mut(index / SHARDS)? {
            (generation, Some(record)) if *generation == mark.generation => Some(change(record)),
            _ => None,
        }
    }

    /// Takes the record of `mark` out: who gets it unlinks the entry and then releases the index.
    /// `None` also while it is being linked: then the filler, who finds the mark ended, does it.
    pub(crate) fn take(&self, mark: Mark) -> Option<Box<Record>> {
        self.take_if(mark, |record| {
            record.stage == Stage::Linked || Safeguard::RecordLeftToFiller.is_off()
        })
    }

    /// Takes out a record that its filler could not link everywhere.
    pub(crate) fn take_back(&self, mark: Mark) -> Option<Box<Record>> {
        self.take_if(mark, |_| true)
    }

    fn take_if(&self, mark: Mark, may: impl FnOnce(&Record) -> bool) -> Option<Box<Record>> {
        let index = mark.index as usize;
        let mut shard = self.shard(index).lock();
        match shard.records.get_mut(index / SHARDS)? {
            (generation, record) if *generation == mark.generation => {
                record.take_if(|record| may(record))
            }
            _ => None,
        }
    }

    /// Lets others take the record from now on.
    pub(crate) fn finish_linking(&self, mark: Mark) {
        self.change(mark, |record| record.stage = Stage::Linked);
    }

    /// Lets the index be used again.
    pub(crate) fn release(&self, mark: Mark) {
        let index = mark.index as usize;
        let local = mark.index / u32::try_from(SHARDS).expect("a small number");
        self.shard(index).lock().free.push(local);
    }

    /// The marks of those records of one shard that `choose` picks.
    ///
    /// # Cost
    /// Holds the shard's lock for a walk over its records.
    pub(crate) fn pick(&self, place: usize, choose: impl Fn(&Record) -> bool) -> Vec<Mark> {
        let place = place % SHARDS;
        let shard = self.shard(place).lock();
        let records = shard.records.iter().enumerate();
        let marks = records.filter_map(|(local, (generation, record))| {
            let picked = record.as_ref().is_some_and(|record| choose(record));
            let index = u32::try_from(local * SHARDS + place).ok()?;
            picked.then_some(Mark { index, generation: *generation })
        });
        marks.collect()
    }
}

#[cfg(test)]
mod tests {
    use larder_core::{KeyBytes, Moment, freshness::Policy};

    use super::*;

    fn record(stage: Stage) -> Box<Record> {
        let policy = Policy::new(None).unwrap();
        Box::new(Record {
            key: EngineKey::from(KeyBytes::from(&b"key"[..])),
            dependencies: None,
            stamps: Stamps::new(),
            deadlines: policy.deadlines(Moment::EARLIEST, Moment::NEVER),
            pass: crate::gates::Gates::new().pass([]),
            linked: Ticket::default(),
            weight: 1,
            stage,
        })
    }

    #[test]
    fn a_record_that_is_being_linked_is_left_to_its_filler() {
        let (ledger, marks) = (Ledger::new(), Marks::default());
        let mark = ledger.open(record(Stage::Linking), &marks);
        assert!(marks.kill(mark));
        assert!(ledger.take(mark).is_none());
        ledger.finish_linking(mark);
        assert!(ledger.take(mark).is_some());
        assert!(ledger.take(mark).is_none());
        ledger.release(mark);
        let other = ledger.open(record(Stage::Linking), &marks);
        assert!(ledger.take_back(other).is_some());
    }

    /// Opens a record, ends its entry and gives the index back, as often as there are shards: the
    /// marks in the order of their shards.
    fn open_and_end(ledger: &Ledger, marks: &Marks) -> Vec<Mark> {
        let one = |_| {
            let mark = ledger.open(record(Stage::Linked), marks);
            assert_eq!(ledger.with(mark, |record| record.weight), Some(1));
            assert!(marks.kill(mark));
            assert!(ledger.take(mark).is_some());
            ledger.release(mark);
            mark
        };
        (0..SHARDS).map(one).collect()
    }

    #[test]
    fn an_index_whose_word_has_ended_is_not_given_out_again() {
        let (ledger, marks) = (Ledger::new(), Marks::default());
        let first = open_and_end(&ledger, &marks);
        let worn = first.first().unwrap().index;
        marks.wear_out(worn);
        let last = open_and_end(&ledger, &marks);
        assert_eq!(last.first().unwrap().index, worn, "one more entry fits its word");
        for round in 0..3 {
            let later = open_and_end(&ledger, &marks);
            let place = later.first().unwrap();
            assert_eq!(place.index as usize, worn as usize + SHARDS, "round {round}: the next one");
            assert!(later.iter().all(|mark| !first.contains(mark) && !last.contains(mark)));
            assert!(ledger.with(*last.first().unwrap(), |_| ()).is_none());
        }
    }
}
