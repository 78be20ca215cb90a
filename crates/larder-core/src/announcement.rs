//! Announcements: what one cache invalidated by name, on its way to all that share its store.
//!
//! Apart from [`crate::store`], which is about records. The line of announcements has positions of
//! its own, which the store gives: no cache knows what another is about to say. Each cache finds
//! its own place for them in its timeline `app`. **Invariant**: whoever has taken up the line up to
//! a position has taken up everything that was announced up to there, or has let everything fall.

use std::sync::Arc;

use crate::{
    dependency::Digest,
    invalidation::Mode,
    timeline::{Epoch, Position},
};

/// A place in the line of announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which life of the line.
    pub epoch: Epoch,
    /// Everything up to here.
    pub position: Position,
    /// A random number that came with it, so that a line which went back is noticed.
    pub nonce: u64,
}

/// What is to be announced, besides what it touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What becomes of the entries that it reaches.
    pub mode: Mode,
    /// What reaches all that hangs on tables of which rows changed: for those who notice changes
    /// by columns that the author does not know of.
    pub tables: Vec<Digest>,
    /// How many schemes of the store the author knew: see [`crate::Dependency::scheme`].
    pub schemes: usize,
    /// In which life of the line.
    pub epoch: Epoch,
    /// The same in words, for people.
    pub what: Arc<str>,
}

/// What was announced, as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its place in the line.
    pub cursor: Cursor,
    /// Which cache announced it.
    pub author: u64,
    /// In the author's own timeline `app`: it is everything up to there.
    pub upto: Position,
    /// What was touched; sorted, each once.
    pub digests: Vec<Digest>,
    /// Whether everything was touched.
    pub everything: bool,
    /// See [`Announced::mode`].
    pub mode: Mode,
    /// See [`Announced::tables`].
    pub tables: Vec<Digest>,
    /// See [`Announced::what`].
    pub what: Arc<str>,
}

impl Announcement {
    /// Whether an entry that is linked under `digests`, sorted, may be wrong since.
    pub fn reaches(&self, digests: &[Digest]) -> bool {
        let mut touched = self.digests.iter().chain(&self.tables);
        self.everything || touched.any(|digest| digests.binary_search(digest).is_ok())
    }
}

/// What has been announced since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it was asked with.
    pub since: Cursor,
    /// Where the line stands.
    pub cursor: Cursor,
    /// What is between the two.
    pub news: News,
    /// All schemes of the store, if they are others than were known.
    pub schemes: Option<Vec<crate::Dependency>>,
}

/// What is between two places of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These, the oldest first.
    All(Vec<Announcement>),
    /// It is not known any more: too much, or the line is in another life.
    Lost,
}
