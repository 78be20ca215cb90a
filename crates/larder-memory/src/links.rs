//! Links: from each digest to the entries that depend on it.
//!
//! Eight bytes a link, without a back pointer: a link whose mark has ended is recognisable by
//! itself and is dropped when more than half of a list are such. Digests with one dependent or two
//! stand in a table of their own, whose places are a third as large; see `dependents`.
//! **Invariant**: a digest is in one table exactly while some entry that was linked to it has not
//! been unlinked, so when the last entry is gone no link is left (MD6).

use larder_core::{Digest, by_digest::DigestMap};

use crate::{
    marks::{Mark, Marks},
    pending::Ticket,
    sync::{Mutex, sized},
};

mod dependents;

use dependents::{Few, Left, Many};

/// Locks over the tables. Fills of different digests rarely meet at 64; ten times more would only
/// cost a small cache memory. A power of two.
const SHARDS: usize = sized(64, 2);

#[derive(Debug, Default)]
struct Shard {
    few: DigestMap<Few>,
    many: DigestMap<Many>,
    /// Bytes of the lists of all nodes.
    heap: usize,
    /// Links of entries that are not yet unlinked. Counted here, under the lock that is held
    /// anyway: one count beside the fields that every hit reads would take their cache line away
    /// from the readers with each entry that is swept.
    count: u64,
}

impl Shard {
    /// Whether the digest was not detached since `linked`.
    fn link(&mut self, digest: Digest, mark: Mark, linked: Ticket) -> bool {
        if let Some(few) = self.few.get_mut(&digest) {
            if !few.push(mark) {
                let many = Many::of(*few, mark);
                self.few.remove(&digest);
                shrink(&mut self.few);
                self.heap += many.heap_bytes();
                self.many.insert(digest, many);
            }
        } else if let Some(many) = self.many.get_mut(&digest) {
            let before = many.heap_bytes();
            if !many.push(mark, linked) {
                return false;
            }
            self.heap = self.heap + many.heap_bytes() - before;
        } else {
            self.few.insert(digest, Few::one(mark));
        }
        self.count += 1;
        true
    }

    fn unlink(&mut self, digest: Digest, mark: Mark, linked: Ticket, marks: &Marks) {
        if let Some(few) = self.few.get_mut(&digest) {
            match few.without(mark) {
                None => return,
                Some(Left::Few(left)) => *few = left,
                Some(Left::Nobody | Left::Many) => {
                    self.few.remove(&digest);
                    shrink(&mut self.few);
                }
            }
        } else if let Some(many) = self.many.get_mut(&digest) {
            let before = many.heap_bytes();
            let left = many.remove(mark, linked, marks);
            self.heap = self.heap + many.heap_bytes() - before;
            if !matches!(left, Left::Many) {
                self.heap -= many.heap_bytes();
                self.many.remove(&digest);
                shrink(&mut self.many);
            }
            if let Left::Few(few) = left {
                self.few.insert(digest, few);
            }
        } else {
            return;
        }
        self.count = self.count.saturating_sub(1);
    }

    /// Takes all links off `digest`, with the number of entries not yet unlinked among them; what
    /// stays remembers when that was.
    fn detach(&mut self, digest: Digest) -> Option<(Vec<Mark>, usize, &mut Many)> {
        if let Some(few) = self.few.remove(&digest) {
            shrink(&mut self.few);
            let list = few.as_slice().to_vec();
            let attached = list.len();
            return Some((list, attached, self.many.entry(digest).or_insert(few.detached())));
        }
        let many = self.many.get_mut(&digest)?;
        self.heap -= many.heap_bytes();
        let (list, attached) = many.take();
        Some((list, attached, many))
    }

    /// The links of `digest`, with the number of entries not yet unlinked among them.
    fn links(&self, digest: Digest) -> Option<(&[Mark], usize)> {
        match self.few.get(&digest) {
            Some(few) => Some((few.as_slice(), few.as_slice().len())),
            None => self.many.get(&digest).map(|many| (many.as_slice(), many.attached())),
        }
    }

    fn bytes(&self) -> usize {
        self.heap + table_bytes(&self.few) + table_bytes(&self.many)
    }
}

/// The shard of a digest. In their order, so that the digests of an entry that share a lock stand
/// side by side.
fn place(digest: Digest) -> usize {
    const BITS: u32 = SHARDS.ilog2();
    usize::try_from(digest.0 >> (u64::BITS - BITS)).expect("a few bits")
}

/// Links made or taken off under one lock at most: a microsecond or two. Taking a lock costs about
/// as much as one link, and nothing after it is fetched before it is taken.
const RUN: usize = 32;

/// Sorted digests in runs that share a lock.
fn runs(digests: &[Digest]) -> impl Iterator<Item = &[Digest]> {
    digests.chunk_by(|a, b| place(*a) == place(*b)).flat_map(|run| run.chunks(RUN))
}

/// One control byte an item; the table keeps an eighth of its slots free.
fn table_bytes<N>(table: &DigestMap<N>) -> usize {
    table.capacity() * (size_of::<(Digest, N)>() + 1) * 8 / 7
}

/// Gives memory back when a table has become much too large: four times, where doubling as it
/// grows leaves it twice.
fn shrink<N>(table: &mut DigestMap<N>) {
    if table.is_empty() {
        *table = DigestMap::default();
    } else if table.len() * 4 < table.capacity() {
        table.shrink_to(table.len() * 2);
    }
}

/// The links of a tier.
#[derive(Debug)]
pub(crate) struct Links {
    shards: Box<[Mutex<Shard>]>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, digest: Digest) -> &Mutex<Shard> {
        self.shards.get(place(digest)).expect("the place is below their number")
    }

    /// Links an entry that took its ticket `linked` before its first link under each of `digests`,
    /// which are sorted.
    ///
    /// Refuses when one of them was detached since: the entry would be neither in the detached list
    /// nor clearly after it. Then only so many of the first are linked as the refusal says.
    pub(crate) fn link(
        &self,
        digests: &[Digest],
        mark: Mark,
        linked: Ticket,
    ) -> Result<(), Detached> {
        let mut done = 0;
        for run in runs(digests) {
            let Some(first) = run.first() else { continue };
            let mut shard = self.shard(*first).lock();
            for digest in run {
                if !shard.link(*digest, mark, linked) {
                    return Err(Detached { done });
                }
                done += 1;
            }
        }
        Ok(())
    }

    /// Unlinks an entry whose mark has ended. Must be called exactly once for each link made.
    ///
    /// # Cost
    /// Amortised constant for each of `digests`, which are sorted.
    pub(crate) fn unlink(&self, digests: &[Digest], mark: Mark, linked: Ticket, marks: &Marks) {
        for run in runs(digests) {
            let Some(first) = run.first() else { continue };
            let mut shard = self.shard(*first).lock();
            run.iter().for_each(|digest| shard.unlink(*digest, mark, linked, marks));
        }
    }

    /// Takes all links off `digest` and hands them to `act`, with the number of entries not yet
    /// unlinked among them, under the lock: when a second caller finds none, the first has acted.
    pub(crate) fn detach<R>(
        &self,
        digest: Digest,
        act: impl FnOnce(Vec<Mark>, usize) -> (Ticket, R),
    ) -> Option<R> {
        let mut shard = self.shard(digest).lock();
        let (list, attached, many) = shard.detach(digest)?;
        let (ticket, result) = act(list, attached);
        many.detach_at(ticket);
        Some(result)
    }

    /// Copies up to `count` links of `digest` after `place` to `out`, in place of what it held, and
    /// says behind how many of them all they begin.
    ///
    /// Links keep their order. Where the list has become shorter since, the last one seen is looked
    /// for; if it is gone as well, the list begins anew, so that none is left out.
    pub(crate) fn copy(
        &self,
        digest: Digest,
        place: Place,
        count: usize,
        out: &mut Vec<Mark>,
    ) -> u32 {
        out.clear();
        let shard = self.shard(digest).lock();
        let Some((list, _)) = shard.links(digest) else { return 0 };
        let start = place.start_in(list);
        out.extend(list.iter().skip(start).take(count));
        u32::try_from(start).expect("a list holds fewer links than there are marks")
    }

    /// Copies up to `count` links of `digest`, of those before `end`, to `out`, in place of what it
    /// held; how many there are before those. Walking a list from its end to its beginning meets
    /// all of it: links only move towards the front.
    pub(crate) fn copy_back(
        &self,
        digest: Digest,
        end: usize,
        count: usize,
        out: &mut Vec<Mark>,
    ) -> usize {
        out.clear();
        let shard = self.shard(digest).lock();
        let Some((list, _)) = shard.links(digest) else { return 0 };
        let end = end.min(list.len());
        let start = end.saturating_sub(count);
        out.extend(list.get(start..end).unwrap_or_default());
        start
    }

    /// Shows all links of `digest` to `look`, with the number of entries not yet unlinked among
    /// them, under the lock.
    pub(crate) fn look<R>(
        &self,
        digest: Digest,
        look: impl FnOnce(&[Mark], usize) -> R,
    ) -> Option<R> {
        let shard = self.shard(digest).lock();
        let (list, attached) = shard.links(digest)?;
        Some(look(list, attached))
    }

    /// Entries that depend on `digest` and are not yet unlinked or invalidated through it.
    pub(crate) fn dependents(&self, digest: Digest) -> usize {
        let shard = self.shard(digest).lock();
        shard.links(digest).map_or(0, |(_, attached)| attached)
    }

    /// Links of entries that are not yet unlinked.
    pub(crate) fn count(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().count).sum()
    }

    /// Bytes of all nodes and lists.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }
}

/// How far a list was walked: behind so many links, the last of which was this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u32,
    pub(crate) last: Mark,
}

/// Before the first link.
impl Default for Place {
    fn default() -> Self {
        Self { offset: 0, last: Mark { index: 0, generation: 0 } }
    }
}

impl Place {
    /// Behind how many links of `list` this place is now: links only move towards the front.
    fn start_in(self, list: &[Mark]) -> usize {
        let behind = list.get(..list.len().min(self.offset as usize)).unwrap_or_default();
        behind.iter().rposition(|mark| *mark == self.last).map_or(0, |place| place + 1)
    }
}

/// A digest was invalidated between an entry's ticket and its link.
#[derive(Debug)]
pub(crate) struct Detached {
    /// So many links were made before.
    pub(crate) done: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_walked_from_its_end_is_met_as_a_whole_although_it_is_packed_meanwhile() {
        let (links, marks, digest) = (Links::new(), Marks::default(), Digest(7));
        let all: Vec<Mark> = (0..100).map(|index| marks.at(index).unwrap()).collect();
        for mark in &all {
            links.link(&[digest], *mark, Ticket::default()).unwrap();
        }
        let (mut met, mut piece, mut end) = (Vec::new(), Vec::new(), usize::MAX);
        while end != 0 {
            end = links.copy_back(digest, end, 10, &mut piece);
            met.extend_from_slice(&piece);
            if end == 80 {
                // Most of the first half goes, and the list is packed.
                for mark in all.iter().take(60) {
                    assert!(marks.kill(*mark));
                    links.unlink(&[digest], *mark, Ticket::default(), &marks);
                }
            }
        }
        assert!(met.len() < 100, "it was packed");
        assert!(all.iter().skip(60).all(|mark| met.contains(mark)));
    }
}
