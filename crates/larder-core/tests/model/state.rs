//! The data of the model: the truth, the node, and the readers.

use larder_core::{Epoch, Position, Stamp, Stamps};

use crate::knowledge::{APP_EPOCH, ShopKnown, app, shop};

/// What a load has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// One bit for each commit of the shop.
    pub(crate) commits: u8,
    /// The number of changes that only `app` tells of.
    pub(crate) hidden: u8,
}

impl Seen {
    pub(crate) fn includes(self, other: Self) -> bool {
        other.commits & !self.commits == 0 && other.hidden <= self.hidden
    }
}

/// The stamps of a value, small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    pub(crate) life: u8,
    pub(crate) shop: u8,
    pub(crate) app: u8,
}

impl Marks {
    pub(crate) fn stamps(self) -> Stamps {
        let shop_stamp = Stamp {
            timeline: shop(),
            epoch: Epoch(self.life.into()),
            as_of: Position(self.shop.into()),
        };
        let app_stamp =
            Stamp { timeline: app(), epoch: APP_EPOCH, as_of: Position(self.app.into()) };
        [app_stamp, shop_stamp].into_iter().collect()
    }
}

/// A value with what it reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) seen: Seen,
    pub(crate) marks: Marks,
}

/// One commit in the log of the shop. Its position is its place in the log, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Logged {
    /// The number of the commit, never used again: also the nonce of its log row.
    pub(crate) number: u8,
    pub(crate) is_visible: bool,
}

/// How far the one running load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flight {
    /// It has its stamps and has not read yet; without them where that safeguard is removed.
    Begun(Option<Marks>),
    /// It has read.
    Loaded(Seen, Option<Marks>),
    /// It was linked, or where the order is turned around: it was checked, with this result.
    Linked(Record, Option<bool>),
}

/// The state of the entry in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// Linked, not yet published.
    Linked,
    /// Served.
    Valid,
    /// Swept.
    Dead,
}

/// An announced change that is not yet swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Announced {
    /// A batch of the shop's current life.
    Shop(u8),
    /// An explicit invalidation.
    App(u8),
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Hit,
    Stored,
    Led,
    Joined,
    SecondFlight,
}

/// A read that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    /// What the node knew when it arrived.
    pub(crate) life: u8,
    pub(crate) shop: u8,
    pub(crate) app: u8,
    /// What a fresh answer must include.
    pub(crate) must: Seen,
    /// Flights that ended too old for it.
    pub(crate) declined: u8,
    /// Whether it waits for the running flight.
    pub(crate) is_aboard: bool,
    pub(crate) is_leader: bool,
}

/// One reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// Reads begun.
    pub(crate) begun: u8,
    pub(crate) waiting: Option<Waiting>,
    /// How the last read was answered.
    pub(crate) last: Option<How>,
}

/// One state of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    // The truth.
    pub(crate) log: Vec<Logged>,
    pub(crate) committed: u8,
    pub(crate) restored: u8,
    pub(crate) hidden: u8,
    // The node.
    pub(crate) known: ShopKnown,
    /// The log row at the cursor; 0 at the very start.
    pub(crate) nonce: u8,
    /// What the node knows, in the words of the promise.
    pub(crate) knows: Seen,
    pub(crate) invalidations: u8,
    pub(crate) announced: Vec<Announced>,
    pub(crate) flight: Option<Flight>,
    pub(crate) entry: Option<(Record, Mark)>,
    pub(crate) stored: Option<Record>,
    // The readers.
    pub(crate) readers: [Reader; 2],
    // What was violated.
    pub(crate) is_stale_shown: bool,
    pub(crate) is_third_load: bool,
}

impl State {
    /// What a snapshot of the shop taken now shows.
    pub(crate) fn visible(&self) -> Seen {
        let shown = self.log.iter().filter(|logged| logged.is_visible);
        let commits = shown.fold(0, |bits, logged| bits | bit(logged.number));
        Seen { commits, hidden: self.hidden }
    }

    /// Positions from the start of the log of which each is visible.
    pub(crate) fn visible_prefix(&self) -> u8 {
        let prefix = self.log.iter().take_while(|logged| logged.is_visible).count();
        u8::try_from(prefix).unwrap()
    }

    pub(crate) fn log_end(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap()
    }

    /// The number of the commit at `position`; 0 before the first.
    pub(crate) fn number_at(&self, position: u8) -> Option<u8> {
        match position.checked_sub(1) {
            None => Some(0),
            Some(place) => self.log.get(usize::from(place)).map(|logged| logged.number),
        }
    }
}

/// The bit of a commit.
pub(crate) fn bit(number: u8) -> u8 {
    1 << (number - 1)
}
