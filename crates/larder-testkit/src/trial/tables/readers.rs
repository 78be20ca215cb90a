//! The readers: they read a table in every way, and note what they were shown.
//!
//! **Invariant**: what an answer must include is noted before the read, from what is asked for.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use larder_core::{Clock, Error, ErrorKind};
use larder_table::{Outside, Ranges};
use tokio::task::yield_now;

use super::{
    super::{
        Trouble,
        database::{BUCKETS, ITEMS},
    },
    Case, Deed, Way,
    ground::{Ground, RESIDUES},
    view::Row,
};
use crate::{
    history::Micros,
    moments::{Answer, Asked, Grain, Shown},
    random::Random,
};

/// The most buckets that are read at once.
const WIDTH: u64 = 3;

/// What a reader noted.
pub(super) type Noted = (Vec<Answer<(Case, Way)>>, Vec<Deed>);

/// What all tasks share.
pub(super) struct Shared {
    pub(super) ground: Ground,
    pub(super) clock: Clock,
    is_over: AtomicBool,
}

/// What was read, and with which grain.
type Found = (Vec<Arc<Row>>, Grain);

impl Shared {
    pub(super) fn new(ground: Ground) -> Self {
        Self { ground, clock: Clock::system(), is_over: AtomicBool::new(false) }
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.now().as_micros()
    }

    /// Tells all tasks to come to an end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Reads until it is over.
    pub(super) async fn read(self: Arc<Self>, mut random: Random) -> Result<Noted, Trouble> {
        let (mut answers, mut deeds) = (Vec::new(), Vec::new());
        while !self.is_over() {
            for _ in 0..16 {
                match self.one(&mut random).await? {
                    Some(answer) => answers.push(answer),
                    None => deeds.push(Deed::Refused),
                }
            }
            yield_now().await;
        }
        Ok((answers, deeds))
    }

    /// One read; `None` when it was refused.
    async fn one(&self, random: &mut Random) -> Result<Option<Answer<(Case, Way)>>, Trouble> {
        let (all_ids, all_buckets) = (0..ITEMS, 0..BUCKETS);
        let low = random.below(BUCKETS.cast_unsigned()).cast_signed();
        let high = low + 1 + random.below(WIDTH).cast_signed();
        let buckets = low..high.min(BUCKETS);
        let id = random.below(ITEMS.cast_unsigned()).cast_signed();
        let residue = id % RESIDUES;
        let case = self.ground.case;
        let began = self.now();
        let max_staleness = u64::try_from(case.max_staleness().as_micros())?;
        let (way, ids, buckets, found) = match random.below(12) {
            0..6 => (Way::Within, all_ids, buckets.clone(), self.within(&buckets).await),
            6..8 => {
                let found = self.by_two(residue, &buckets).await;
                (Way::TwoIndexes, all_ids, buckets, found)
            }
            8 | 9 => (Way::Key, id..id + 1, all_buckets, self.by_key(id).await),
            10 => {
                let found = self.beyond(&buckets, Outside::LoadMissing).await;
                (Way::Missing, all_ids, buckets, found)
            }
            _ => {
                let found = self.beyond(&buckets, Outside::LoadAll).await;
                (Way::All, all_ids, buckets, found)
            }
        };
        let ended = self.now();
        let (rows, grain) = match found {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if way == Way::TwoIndexes && rows.iter().any(|row| row.id % RESIDUES != residue) {
            return Err("a read by an index gave a record that has another key".into());
        }
        let shown = rows.iter().map(|row| Shown {
            id: row.id,
            version: row.version,
            bucket: row.bucket,
            label: row.label,
        });
        let residue = (way == Way::TwoIndexes).then_some((RESIDUES, residue));
        let asked = Asked { ids, buckets, residue };
        let includes = began.saturating_sub(max_staleness);
        let way = (case, way);
        Ok(Some(Answer { asked, shown: shown.collect(), ended, includes, grain, way }))
    }

    fn grain(&self) -> Grain {
        if self.ground.case.is_whole() { Grain::Whole } else { Grain::Each }
    }

    async fn within(&self, buckets: &Range<i64>) -> Result<Found, Error> {
        let Ground { table, by_bucket, .. } = &self.ground;
        let select = table.select(by_bucket, Ranges::of(buckets.clone())?);
        let selection = select.outside(Outside::Refuse).read().await?;
        Ok((selection.iter().cloned().collect(), self.grain()))
    }

    async fn by_two(&self, residue: i64, buckets: &Range<i64>) -> Result<Found, Error> {
        let Ground { table, by_bucket, by_residue, .. } = &self.ground;
        let select = table.select(by_residue, Ranges::only([residue]));
        let select = select.and(by_bucket, Ranges::of(buckets.clone())?);
        let selection = select.outside(Outside::Refuse).read().await?;
        Ok((selection.iter().cloned().collect(), self.grain()))
    }

    async fn by_key(&self, id: i64) -> Result<Found, Error> {
        let row = self.ground.table.get(&id).await?;
        Ok((row.into_iter().collect(), self.grain()))
    }

    async fn beyond(&self, buckets: &Range<i64>, outside: Outside) -> Result<Found, Error> {
        let Ground { table, by_bucket, .. } = &self.ground;
        let select = table.select(by_bucket, Ranges::of(buckets.clone())?);
        let selection = select.outside(outside).read().await?;
        // The part that is kept and the part that is loaded are of two moments.
        let grain = if outside == Outside::LoadAll { self.grain() } else { Grain::Each };
        Ok((selection.iter().cloned().collect(), grain))
    }
}
