//! Reach: who depends on a digest, counted or shown in pages, without ending anybody.
//!
//! It stands apart from `shared.rs` because nothing here changes an entry. A list of links is
//! copied out piece by piece, so that no lock is held over a long walk. **Invariant**: an entry
//! that is there from the beginning of a walk to its end is met; what comes or goes meanwhile may
//! be.

use std::{collections::BTreeMap, ops::ControlFlow};

use larder_core::{Digest, KeyBytes, by_digest::DigestMap};

use crate::{
    ledger::{Record, Stage},
    links::Place,
    marks::Mark,
    shared::Shared,
};

/// What an invalidation would reach: for each dependency, in order, the digests it touches.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Each digest once, in the order in which it was first named.
    digests: Vec<Digest>,
    /// For each digest its index above, and the dependencies that touch it.
    of: DigestMap<(usize, Vec<usize>)>,
    dependencies: usize,
}

impl Reach {
    /// What is reached by dependencies that touch these digests each.
    pub fn of(dependencies: impl IntoIterator<Item = Vec<Digest>>) -> Self {
        let mut reach = Self::default();
        for digests in dependencies {
            for digest in digests {
                let index = reach.digests.len();
                let (_, touching) = reach.of.entry(digest).or_insert_with(|| {
                    reach.digests.push(digest);
                    (index, Vec::new())
                });
                if touching.last() != Some(&reach.dependencies) {
                    touching.push(reach.dependencies);
                }
            }
            reach.dependencies += 1;
        }
        reach
    }

    /// Whether the walk along the digest at `index` is the first that meets `record`.
    fn meets_first(&self, index: usize, record: &Record) -> bool {
        let indices = record.digests().iter().filter_map(|digest| self.of.get(digest));
        indices.map(|(index, _)| *index).min() == Some(index)
    }
}

/// Where a page ended. Stays good while entries come and go: an entry that is there throughout is
/// shown; and it is shown once, unless the last one shown and half of all dependents ended between
/// two pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Which digest of the reach is being walked along.
    digest: u32,
    /// How far its list of links was walked.
    place: Place,
}

impl Cursor {
    /// The cursor as four numbers, for whoever sends it away.
    pub fn to_parts(self) -> [u32; 4] {
        let Place { offset, last } = self.place;
        [self.digest, offset, last.index, last.generation]
    }

    /// The cursor that had these parts. Any four numbers are a cursor; foreign ones begin anew.
    pub fn from_parts([digest, offset, index, generation]: [u32; 4]) -> Self {
        Self { digest, place: Place { offset, last: Mark { index, generation } } }
    }
}

/// One entry that a walk meets. Lent under a lock: whoever gets it copies and returns.
#[derive(Debug)]
pub struct Dependent<'a>(&'a Record);

impl Dependent<'_> {
    /// Its key, region included.
    pub fn key(&self) -> KeyBytes {
        self.0.key.to_bytes()
    }

    /// The region in its key.
    pub fn region(&self) -> u32 {
        self.0.key.region()
    }

    /// Bytes it is counted with.
    pub fn weight(&self) -> u64 {
        self.0.weight
    }
}

/// Entries and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many entries.
    pub entries: u64,
    /// How many bytes they are counted with.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, weight: u64) {
        self.entries += 1;
        self.bytes += weight;
    }
}

/// What a reach comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All entries, each once.
    pub total: Amount,
    /// Those of each dependency, in order; an entry that several reach counts for each.
    pub by_dependency: Vec<Amount>,
    /// Those of each region.
    pub by_region: BTreeMap<u32, Amount>,
}

/// Links copied out at a time: half a megabyte, some tens of microseconds under the lock. Ten times
/// more would make writers wait, a tenth would make long walks meet more changes on their way.
pub(crate) const PIECE: usize = 1 << 16;
/// Links that a page looks at for each entry it may show. A page of a digest whose dependents were
/// nearly all met under an earlier digest ends short, not late.
const LOOKS: usize = 16;
/// And at least so many.
const LOOKS_AT_LEAST: usize = 4096;

impl Shared {
    /// Calls `meet` for the entries of `reach` after `cursor`, each once, until it breaks or
    /// `looks` links were looked at. `None` when there are no more.
    fn walk(
        &self,
        reach: &Reach,
        mut cursor: Cursor,
        mut looks: usize,
        meet: &mut dyn FnMut(Dependent<'_>) -> ControlFlow<()>,
    ) -> Option<Cursor> {
        let mut piece = Vec::new();
        while let Some(digest) = reach.digests.get(cursor.digest as usize) {
            if looks == 0 {
                return Some(cursor);
            }
            let start = self.links.copy(*digest, cursor.place, PIECE.min(looks), &mut piece);
            if piece.is_empty() {
                cursor = Cursor { digest: cursor.digest + 1, place: Place::default() };
                continue;
            }
            looks -= piece.len();
            for (mark, offset) in piece.iter().zip(start + 1..) {
                cursor.place = Place { offset, last: *mark };
                let meets = |record: &Record| {
                    let meets = self.stands(*mark, record)
                        && reach.meets_first(cursor.digest as usize, record);
                    meets.then(|| meet(Dependent(record)))
                };
                if self.ledger.with(*mark, meets).flatten() == Some(ControlFlow::Break(())) {
                    return Some(cursor);
                }
            }
        }
        None
    }

    /// Whether the entry of `mark` could still be served in some way.
    fn stands(&self, mark: Mark, record: &Record) -> bool {
        self.marks.is_alive(mark)
            && record.stage == Stage::Linked
            && self.gates.admits(record.pass)
            && self.deadlines(record).is_some_and(|own| self.clock.coarse() < own.gone_at())
    }

    pub(crate) fn page(
        &self,
        reach: &Reach,
        cursor: Cursor,
        size: usize,
        show: &mut dyn FnMut(Dependent<'_>),
    ) -> Option<Cursor> {
        let looks = LOOKS_AT_LEAST.max(size.saturating_mul(LOOKS));
        let mut left = size.max(1);
        self.walk(reach, cursor, looks, &mut |dependent| {
            show(dependent);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    pub(crate) fn tally(&self, reach: &Reach) -> Tally {
        let by_dependency = vec![Amount::default(); reach.dependencies];
        let mut tally = Tally { by_dependency, ..Tally::default() };
        // An entry is met once and may be touched by several digests of one dependency.
        let mut counted_at = vec![0; reach.dependencies];
        self.walk(reach, Cursor::default(), usize::MAX, &mut |dependent| {
            let weight = dependent.weight();
            tally.total.add(weight);
            tally.by_region.entry(dependent.region()).or_default().add(weight);
            let digests = dependent.0.digests().iter().filter_map(|digest| reach.of.get(digest));
            for &dependency in digests.flat_map(|(_, touching)| touching) {
                if let Some(at) = counted_at.get_mut(dependency)
                    && let Some(amount) = tally.by_dependency.get_mut(dependency)
                    && *at != tally.total.entries
                {
                    *at = tally.total.entries;
                    amount.add(weight);
                }
            }
            ControlFlow::Continue(())
        });
        tally
    }

    /// Whether `reach` comes to more than `limit` entries.
    pub(crate) fn exceeds(&self, reach: &Reach, limit: u64) -> bool {
        let linked = |digest: &Digest| self.links.dependents(*digest) as u64;
        // More links than entries at most: within the limit, nobody needs to be counted.
        if reach.digests.iter().map(linked).sum::<u64>() <= limit {
            return false;
        }
        let mut met = 0;
        self.walk(reach, Cursor::default(), usize::MAX, &mut |_| {
            met += 1;
            if limit < met { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        limit < met
    }
}
