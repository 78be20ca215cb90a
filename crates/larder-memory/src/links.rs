//! Links: from each digest to the entries that depend on it.
//!
//! Eight bytes a link, without a back pointer: a link whose mark has ended is recognisable by
//! itself and is dropped when more than half of a node's links are such. **Invariant**: a node
//! exists exactly while some entry that was linked to it has not been unlinked, so when the last
//! entry is gone no link is left (MD6).

use std::{collections::hash_map, mem};

use larder_core::{Digest, by_digest::DigestMap};

use crate::{
    marks::{Mark, Marks},
    pending::Ticket,
    sync::{Mutex, sized},
};

/// Locks over the nodes. Fills of different digests rarely meet at 64; ten times more would only
/// cost a small cache memory.
const SHARDS: usize = sized(64, 2);

type Nodes = DigestMap<Node>;

/// One digest's dependents.
#[derive(Debug)]
struct Node {
    dependents: Dependents,
    /// Entries linked and not yet unlinked, those of detached links included.
    holders: u32,
    /// Entries linked since the last detachment and not yet unlinked.
    attached: u32,
    /// When the links were detached last.
    detached: Ticket,
}

/// Most digests have one dependent, which then needs no allocation.
#[derive(Debug)]
enum Dependents {
    One(Mark),
    Many(Vec<Mark>),
}

impl Dependents {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(marks) => marks.capacity() * size_of::<Mark>(),
        }
    }

    fn as_slice(&self) -> &[Mark] {
        match self {
            Self::One(mark) => std::slice::from_ref(mark),
            Self::Many(marks) => marks,
        }
    }

    fn push(&mut self, mark: Mark) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, mark]),
            Self::Many(marks) => marks.push(mark),
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    nodes: Nodes,
    /// Bytes of the lists of all nodes.
    heap: usize,
    /// Links of entries that are not yet unlinked. Counted here, under the lock that is held
    /// anyway: one count beside the fields that every hit reads would take their cache line away
    /// from the readers with each entry that is swept.
    count: u64,
}

impl Shard {
    fn bytes(&self) -> usize {
        // One control byte an item; the table keeps an eighth of its slots free.
        self.heap + self.nodes.capacity() * (size_of::<(Digest, Node)>() + 1) * 8 / 7
    }

    /// Gives memory back when the table has become much too large.
    fn shrink(&mut self) {
        if self.nodes.is_empty() {
            self.nodes = Nodes::default();
        } else if self.nodes.len() * 8 < self.nodes.capacity() {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
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
        // Any bits will do: the map of a shard folds the digest again.
        let place = (digest.0 >> 40) as usize % SHARDS;
        self.shards.get(place).expect("the place is a remainder of their number")
    }

    /// Links an entry that took its ticket `linked` before its first link.
    ///
    /// Refuses when the digest was detached since: the entry would be neither in the detached list
    /// nor clearly after it.
    pub(crate) fn link(&self, digest: Digest, mark: Mark, linked: Ticket) -> Result<(), Detached> {
        let mut shard = self.shard(digest).lock();
        let Shard { nodes, heap, count } = &mut *shard;
        match nodes.entry(digest) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Node {
                    dependents: Dependents::One(mark),
                    holders: 1,
                    attached: 1,
                    detached: Ticket::default(),
                });
            }
            hash_map::Entry::Occupied(mut occupied) => {
                let node = occupied.get_mut();
                if linked < node.detached {
                    return Err(Detached);
                }
                let before = node.dependents.heap_bytes();
                node.dependents.push(mark);
                *heap = *heap + node.dependents.heap_bytes() - before;
                node.holders += 1;
                node.attached += 1;
            }
        }
        *count += 1;
        Ok(())
    }

    /// Unlinks an entry whose mark has ended. Must be called exactly once for each link made.
    ///
    /// # Cost
    /// Amortised constant: the walk over a list is paid for by the half of it that is dropped.
    pub(crate) fn unlink(&self, digest: Digest, linked: Ticket, marks: &Marks) {
        let mut shard = self.shard(digest).lock();
        let Shard { nodes, heap, count } = &mut *shard;
        let hash_map::Entry::Occupied(mut occupied) = nodes.entry(digest) else { return };
        *count = count.saturating_sub(1);
        let node = occupied.get_mut();
        node.holders = node.holders.saturating_sub(1);
        if node.detached <= linked {
            node.attached = node.attached.saturating_sub(1);
        }
        if node.holders == 0 {
            *heap -= node.dependents.heap_bytes();
            occupied.remove();
            shard.shrink();
        } else if let Dependents::Many(list) = &mut node.dependents
            && 8 < list.len()
            && (node.attached as usize) * 2 < list.len()
        {
            let before = list.capacity();
            list.retain(|mark| marks.is_alive(*mark));
            list.shrink_to(list.len() * 2);
            *heap -= (before - list.capacity()) * size_of::<Mark>();
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
        let Shard { nodes, heap, .. } = &mut *shard;
        let node = nodes.get_mut(&digest)?;
        *heap -= node.dependents.heap_bytes();
        let list = match mem::replace(&mut node.dependents, Dependents::Many(Vec::new())) {
            Dependents::One(mark) => vec![mark],
            Dependents::Many(marks) => marks,
        };
        let attached = mem::take(&mut node.attached);
        let (ticket, result) = act(list, attached as usize);
        node.detached = ticket;
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
        let Some(node) = shard.nodes.get(&digest) else { return 0 };
        let list = node.dependents.as_slice();
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
        let Some(node) = shard.nodes.get(&digest) else { return 0 };
        let list = node.dependents.as_slice();
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
        let node = shard.nodes.get(&digest)?;
        Some(look(node.dependents.as_slice(), node.attached as usize))
    }

    /// Entries that depend on `digest` and are not yet unlinked or invalidated through it.
    pub(crate) fn dependents(&self, digest: Digest) -> usize {
        let shard = self.shard(digest).lock();
        shard.nodes.get(&digest).map_or(0, |node| node.attached as usize)
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

/// The digest was invalidated between an entry's ticket and its link.
#[derive(Debug)]
pub(crate) struct Detached;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_walked_from_its_end_is_met_as_a_whole_although_it_is_packed_meanwhile() {
        let (links, marks, digest) = (Links::new(), Marks::default(), Digest(7));
        let all: Vec<Mark> = (0..100).map(|index| marks.at(index).unwrap()).collect();
        for mark in &all {
            links.link(digest, *mark, Ticket::default()).unwrap();
        }
        let (mut met, mut piece, mut end) = (Vec::new(), Vec::new(), usize::MAX);
        while end != 0 {
            end = links.copy_back(digest, end, 10, &mut piece);
            met.extend_from_slice(&piece);
            if end == 80 {
                // Most of the first half goes, and the list is packed.
                for mark in all.iter().take(60) {
                    assert!(marks.kill(*mark));
                    links.unlink(digest, Ticket::default(), &marks);
                }
            }
        }
        assert!(met.len() < 100, "it was packed");
        assert!(all.iter().skip(60).all(|mark| met.contains(mark)));
    }
}
