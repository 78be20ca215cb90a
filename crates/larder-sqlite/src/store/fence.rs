//! Fences: what was removed while a value was computed outside larder.
//!
//! Tags and keys of an untracked region are labels: they find and remove what is there, and there
//! may be nothing yet. So whoever computes takes a fence first and shows it when it writes (MD2):
//!
//! 1. reader: takes the fence, at position 7, and reads version 1 from its source;
//! 2. writer: commits version 2 to the source and removes the key, or a tag: position 8;
//! 3. reader: writes version 1 under the fence of 7: position 8 names its key, so it is refused.
//!
//! The position is in the file and moves in the transaction of each removal, so that no other
//! process is overlooked; what was removed is remembered in memory, by the writer, for the last
//! positions. **Invariant**: what is not known exactly counts as removed. A position means
//! something together with its nonce only, and within one epoch: a file that was restored has
//! forgotten removals and says so.

use std::{collections::VecDeque, sync::Arc};

use larder_core::Error;
use rusqlite::{Connection, OptionalExtension};

use super::{
    life::{self, Life},
    select::Select,
    writer::Writing,
};

/// Removals that are remembered. With ten times less a computation that takes a second is refused
/// where others remove a thousand times in it; with ten times more they are megabytes.
const KNOWN_MAX: usize = 4096;

/// Bytes of keys, patterns and tags that are remembered.
const KNOWN_BYTES_MAX: usize = 1 << 20;

/// Bytes of one removal above which only its region is remembered.
const ONE_BYTES_MAX: usize = 64 << 10;

/// Where the removals of a store stood. To be shown when the value is written that was computed
/// since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    store: u64,
    epoch: u64,
    place: Place,
}

/// A position and the random number that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: i64,
    nonce: i64,
}

impl Fence {
    /// Bytes of a fence.
    pub const BYTES: usize = 32;

    /// The fence as bytes, for whoever carries it. They are neither signed nor secret: who hands
    /// them to others has to sign them.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let Place { position, nonce } = self.place;
        let words = [self.store, self.epoch, position.cast_unsigned(), nonce.cast_unsigned()];
        let mut bytes = [0; Self::BYTES];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// Reads what [`Fence::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        let (store, epoch) = (next(), next());
        let (position, nonce) = (next().cast_signed(), next().cast_signed());
        Self { store, epoch, place: Place { position, nonce } }
    }

    /// Where the removals stand in what `connection` shows.
    pub(crate) fn read(connection: &Connection, path: &str) -> Result<Self, Error> {
        let life = Life::read(connection, path)?;
        let place = Place::read(connection).map_err(Writing::failed("read from the store"))?;
        Ok(Self { store: life.id, epoch: life.epoch.0, place })
    }
}

impl Place {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let found = connection
            .prepare_cached("SELECT position, nonce FROM removal")?
            .query_row([], |row| Ok(Self { position: row.get(0)?, nonce: row.get(1)? }))
            .optional()?;
        Ok(found.unwrap_or(Self { position: 0, nonce: 0 }))
    }
}

/// What became of a value that was computed under a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Nothing that concerns it was removed.
    Untouched,
    /// It was removed: by its key, or by a selection that names it.
    Removed,
    /// More was removed than is remembered, or by another process, or before a restore.
    Unknown,
}

/// What was removed.
#[derive(Debug)]
pub(crate) enum What {
    Keys(Vec<String>),
    Selected(Select),
    /// More than can be remembered.
    Anything,
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.iter().map(|key| key.len() + size_of::<String>()).sum(),
            Self::Selected(select) => select.bytes(),
            Self::Anything => 0,
        }
    }

    fn names(&self, connection: &Connection, key: &str, tags: &[String]) -> rusqlite::Result<bool> {
        match self {
            Self::Keys(keys) => Ok(keys.iter().any(|own| own == key)),
            Self::Selected(select) => select.names(connection, key, tags),
            Self::Anything => Ok(true),
        }
    }
}

#[derive(Debug)]
struct Removed {
    place: Place,
    region: Arc<str>,
    what: What,
    bytes: usize,
}

/// The last removals of this process, in the hands of the writer.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    /// The place before the first one that is known. Each follows the one before it without a gap.
    floor: Option<Place>,
    known: VecDeque<Removed>,
    bytes: usize,
    /// Those from here on belong to the transaction that is open.
    committed: usize,
}

impl Removals {
    /// Moves the position in the file and remembers what moved it.
    pub(crate) fn note(
        &mut self,
        connection: &Connection,
        region: Arc<str>,
        what: What,
    ) -> Result<(), Error> {
        let nonce = life::random()?.cast_signed();
        let (place, before) = connection
            .prepare_cached(
                "UPDATE removal SET position = position + 1, before = nonce, nonce = ?1 \
                 RETURNING position, before",
            )
            .and_then(|mut step| {
                step.query_row([nonce], |row| {
                    let position = row.get(0)?;
                    let before = Place { position: position - 1, nonce: row.get(1)? };
                    Ok((Place { position, nonce }, before))
                })
            })
            .map_err(Writing::failed("note a removal"))?;
        if self.last() != Some(before) {
            // Another process removed something, or the file is another one.
            self.forget();
            self.floor = Some(before);
        }
        let bytes = what.bytes();
        let (what, bytes) = match bytes {
            0..=ONE_BYTES_MAX => (what, bytes),
            _ => (What::Anything, 0),
        };
        self.bytes += bytes;
        self.known.push_back(Removed { place, region, what, bytes });
        Ok(())
    }

    fn last(&self) -> Option<Place> {
        self.known.back().map(|removed| removed.place).or(self.floor)
    }

    fn forget(&mut self) {
        (self.floor, self.bytes, self.committed) = (None, 0, 0);
        self.known.clear();
    }

    /// Where one write of a group begins.
    pub(crate) fn mark(&self) -> usize {
        self.known.len()
    }

    /// Takes back what was noted since `mark`.
    pub(crate) fn back_to(&mut self, mark: usize) {
        while mark < self.known.len() {
            self.bytes -= self.known.pop_back().map_or(0, |removed| removed.bytes);
        }
    }

    /// The transaction is over, with everything that was noted.
    pub(crate) fn commit(&mut self) {
        while KNOWN_MAX < self.known.len() || KNOWN_BYTES_MAX < self.bytes {
            let Some(oldest) = self.known.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.floor = Some(oldest.place);
        }
        self.committed = self.known.len();
    }

    /// The transaction is over, and nothing that was noted happened.
    pub(crate) fn roll_back(&mut self) {
        self.back_to(self.committed);
    }

    /// Whether an entry with this key and these tags was removed since `fence` was taken.
    pub(crate) fn passed(
        &self,
        writing: &Writing<'_>,
        fence: &Fence,
        (region, key, tags): (&str, &str, &[String]),
    ) -> Result<Passed, Error> {
        let now = Fence::read(writing.connection, "the store")?;
        if *fence == now {
            return Ok(Passed::Untouched);
        }
        if (fence.store, fence.epoch) != (now.store, now.epoch) || self.last() != Some(now.place) {
            return Ok(Passed::Unknown);
        }
        let since = match self.floor == Some(fence.place) {
            true => 0,
            false => match self.known.iter().position(|removed| removed.place == fence.place) {
                Some(own) => own + 1,
                None => return Ok(Passed::Unknown),
            },
        };
        for removed in self.known.iter().skip(since).filter(|removed| *removed.region == *region) {
            let names = removed.what.names(writing.connection, key, tags);
            if names.map_err(Writing::failed("compare removals"))? {
                return Ok(Passed::Removed);
            }
        }
        Ok(Passed::Untouched)
    }
}
