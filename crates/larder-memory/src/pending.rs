//! Invalidations that are known but not yet carried out on every dependent.
//!
//! A digest with many dependents is invalidated in one step by putting it here; hits consult the
//! list until the sweeper has ended every dependent's mark. **Invariant**: from the moment an item
//! is announced until every mark it stands for is ended, every hit finds either the item or the
//! ended mark.

use larder_core::{Digest, Mode, Moment, dependency::signature};

use crate::{
    entry::Invalidation,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
        sized,
    },
};

/// Items waiting at once; whoever finds the list full carries his invalidation out himself. A hit
/// whose signature meets that of the list walks it, so ten times more would slow those hits down.
const ITEMS_MAX: usize = sized(128, 2);

/// A moment in the order of invalidations: later tickets are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Ticket(pub(crate) u64);

#[derive(Debug)]
struct Item {
    digest: Digest,
    ticket: Ticket,
    mode: Mode,
    invalidation: Invalidation,
}

/// What a pending invalidation makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// Its end.
    Ended,
    /// The end of its freshness, at this moment.
    Softened(Moment),
}

impl Item {
    fn means(&self, linked: Ticket, digests: &[Digest]) -> bool {
        linked < self.ticket && digests.binary_search(&self.digest).is_ok()
    }
}

/// The list, with a word that lets almost every hit pass without looking at it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    signature: AtomicU64,
    last: AtomicU64,
    items: RwLock<Vec<Item>>,
}

impl Pending {
    /// Whether an entry with this signature may be among those meant. Never a false "no".
    #[inline]
    pub(crate) fn may_mean(&self, entry: u64) -> bool {
        self.signature.load(Ordering::Acquire) & entry != 0
    }

    /// The last ticket given out. A fill takes it before it links its first digest.
    pub(crate) fn now(&self) -> Ticket {
        Ticket(self.last.load(Ordering::Acquire))
    }

    /// The next ticket. Taken under the lock of the digest's links, so that a link is either there
    /// when the ticket is drawn, or made by whoever sees that ticket.
    pub(crate) fn next(&self) -> Ticket {
        Ticket(self.last.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Announces that whatever depends on `digest` and was linked before `ticket` has ended or is
    /// softened; whether there was room.
    pub(crate) fn announce(
        &self,
        digest: Digest,
        ticket: Ticket,
        mode: Mode,
        invalidation: &Invalidation,
    ) -> bool {
        let mut items = self.items.write();
        if ITEMS_MAX <= items.len() {
            return false;
        }
        items.push(Item { digest, ticket, mode, invalidation: invalidation.clone() });
        self.signature.fetch_or(signature(&[digest]), Ordering::AcqRel);
        true
    }

    /// Takes an item back, once every mark it stands for is ended.
    pub(crate) fn retire(&self, ticket: Ticket) {
        let mut items = self.items.write();
        items.retain(|item| item.ticket != ticket);
        let left = items.iter().fold(0, |bits, item| bits | signature(&[item.digest]));
        self.signature.store(left, Ordering::Release);
    }

    /// Whether an item means an entry that was linked at `linked` under `digests`, sorted.
    pub(crate) fn means(&self, linked: Ticket, digests: &[Digest]) -> bool {
        self.items.read().iter().any(|item| item.means(linked, digests))
    }

    /// What the items make of an entry that was linked at `linked` under `digests`, sorted: its end
    /// if any says so, else the first moment at which it was softened.
    pub(crate) fn meant(&self, linked: Ticket, digests: &[Digest]) -> Option<Meant> {
        let items = self.items.read();
        let mut meant = None;
        for item in items.iter().filter(|item| item.means(linked, digests)) {
            meant = match (item.mode, meant) {
                (Mode::Hard, _) => return Some(Meant::Ended),
                (Mode::Soft, Some(Meant::Softened(at))) if at <= item.invalidation.at => meant,
                (Mode::Soft, _) => Some(Meant::Softened(item.invalidation.at)),
            };
        }
        meant
    }

    /// What invalidated an entry that was linked at `linked` under `digests`, which are sorted.
    pub(crate) fn meaning(&self, linked: Ticket, digests: &[Digest]) -> Option<Invalidation> {
        let items = self.items.read();
        items.iter().find(|item| item.means(linked, digests)).map(|item| item.invalidation.clone())
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.read().len()
    }
}
