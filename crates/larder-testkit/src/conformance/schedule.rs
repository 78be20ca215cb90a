//! Random schedules of writes, loads, faults and steps of the feed against the read rule.
//!
//! What [`super::checks`] tells as stories, this finds by chance. **Invariant** checked: a record
//! that the read rule calls untouched shows the truth of now right after the feed caught up, and at
//! any time every write from before the moment that the feed has proven.

use std::collections::VecDeque;

use super::{
    Ask, End, Fault, Support, World, Write,
    ledger::{Ledger, Record, record},
};
use crate::random::Random;

/// Steps of one schedule. A step of SQLite with a file takes under a millisecond.
const STEPS: u64 = 400;

/// Records kept to be asked again; the oldest leaves first.
const RECORDS: usize = 12;

struct Run<W: World> {
    ledger: Ledger<W>,
    random: Random,
    records: VecDeque<Record>,
    /// Loads that began and have not ended.
    open: VecDeque<(Ask, W::Load)>,
    is_saved: bool,
}

/// No schedule shows an old value as fresh.
pub fn no_random_schedule_shows_an_old_value_as_fresh<W: World>(
    make: &impl Fn(u64) -> W,
    seed: u64,
) {
    let (records, open) = (VecDeque::new(), VecDeque::new());
    let (ledger, random) = (Ledger::started(make(seed)), Random::new(seed));
    let mut run = Run { ledger, random, records, open, is_saved: false };
    for step in 0..STEPS {
        run.step();
        let when = format!("seed {seed}, step {step}");
        for record in &run.records {
            run.ledger.check_proven(record, &when);
        }
        if run.random.once_in(4) {
            run.ledger.catch_up();
            for record in &run.records {
                run.ledger.check_caught_up(record, &when);
            }
        }
    }
}

impl<W: World> Run<W> {
    fn step(&mut self) {
        match self.random.below(24) {
            0..6 => self.transact(),
            6..12 => self.begin(),
            12..17 => self.finish(),
            17..23 => {
                let choice = self.random.next();
                self.ledger.world.pump(choice);
            }
            _ => self.fault(),
        }
    }

    fn ask(&mut self) -> Ask {
        if self.random.once_in(2) {
            Ask::Row(self.random.below(4).cast_signed())
        } else {
            Ask::Bucket(self.random.below(2).cast_signed())
        }
    }

    fn transact(&mut self) {
        let count = if self.random.once_in(4) { 3 } else { 1 };
        let mut writes = Vec::new();
        for _ in 0..count {
            let id = self.random.below(4).cast_signed();
            writes.push(if self.random.once_in(6) {
                Write::Remove(id)
            } else {
                let bucket = self.random.below(2).cast_signed();
                Write::Put(self.ledger.row(id, bucket))
            });
        }
        let end = if self.random.once_in(5) { End::Rollback } else { End::Commit };
        let asks = [self.ask(), self.ask()];
        let (steps, choice) = (self.random.below(3), self.random.next());
        let mut beside = Vec::new();
        self.ledger.transact(&writes, end, &mut |world, node| {
            for step in 0..steps {
                world.pump(choice.rotate_left(u32::try_from(step * 7).unwrap_or(0)));
            }
            for ask in asks {
                let load = world.begin_load(ask, node.stamp());
                let answer = world.finish_load(load);
                beside.extend(answer.ok().map(|answer| record(node, ask, answer)));
            }
        });
        self.records.extend(beside);
        self.trim();
    }

    fn begin(&mut self) {
        let ask = self.ask();
        let before = self.ledger.node.stamp();
        let load = self.ledger.world.begin_load(ask, before);
        self.open.push_back((ask, load));
        if 3 < self.open.len() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Some((ask, load)) = self.open.pop_front() else { return };
        if let Ok(answer) = self.ledger.world.finish_load(load) {
            self.records.push_back(record(&self.ledger.node, ask, answer));
            self.trim();
        }
    }

    fn trim(&mut self) {
        while RECORDS < self.records.len() {
            self.records.pop_front();
        }
    }

    fn fault(&mut self) {
        let fault = *self.random.pick(&[
            Fault::Save,
            Fault::Restore,
            Fault::Replace,
            Fault::LoseLog,
            Fault::ChangeSchema,
        ]);
        if fault == Fault::Restore && !self.is_saved {
            return;
        }
        // A load that spans the exchange of the whole database is begun again by its reader.
        self.open.clear();
        if fault == Fault::Restore {
            // A load can show a commit that the feed has not read yet. If the log goes back to
            // before that commit at this very moment, no cursor can tell that it ever was; a cache
            // narrows the moment by letting the feed catch up before it stores.
            self.ledger.catch_up();
        }
        let done = self.ledger.world.fault(fault) == Support::Done;
        match fault {
            Fault::Save if done => {
                self.ledger.remember();
                self.is_saved = true;
            }
            Fault::Restore if done => self.ledger.return_to_saved(),
            _ => {}
        }
    }
}
