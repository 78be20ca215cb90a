//! The view: the snapshot by which a read may decide, so that it shows one moment of the origin.
//!
//! Apart from `select.rs`, which makes an answer of it, and from `refresh.rs`, which loads without
//! knowing for whom. **Invariant**: a read goes on by a snapshot in which nothing that touches what
//! is asked is due: told of before the read began, or overtaken.
//!
//! # Implementation notes
//!
//! A snapshot in which no mark touches what is asked shows that as it was at the last change that
//! was told of: what a load gave was not changed since, or there would be a mark, because the feed
//! is asked before it is published. So a read that finds nothing due goes on at once, and whatever
//! is told of later is in no part of its snapshot. One that has to refresh first may not go on by
//! the marks that were there when it came:
//!
//! 1. Row 1 is in doubt. Read A comes for rows 1 and 2 and begins a refresh.
//! 2. A commit changes both rows. The load of row 1 shows it, the feed tells of it: mark 2.
//! 3. The refresh is published. Row 1 is as after the commit, row 2 as before it, and mark 2 came
//!    after A. Read B, which comes now, finds mark 2 due, and A would not.
//!
//! Nor need it wait until nothing is left, which under many changes is never. What may be newer
//! than a mark that stays when it is put into the table *overtakes* it:
//!
//! - what a load gave, if the mark may be of that (above), or if it was told of before the load
//!   began and is not carried out with it: reads of row 2 alone leave mark 1 of row 1, load row 2
//!   as of mark 2, and rows 1 and 2 are of one moment no more;
//! - what came with a change of the window;
//! - rows that a feed told of, as they are shown.
//!
//! With no mark overtaken in it, what is asked is as it was before the first change that the marks
//! are of. What was put in after that was told of is of none of them, and has not changed since:
//! the load would have shown that, and the mark of it be there and overtaken.
//!
//! *A bound.* A read in whose ranges all changes as fast as it is loaded makes one load of all that
//! it asks, which is one moment by itself. By an index that has no loader, and for sums, which are
//! of all that the table has, it goes on by what is newer than the marks that were there when it
//! came: then each record is of one moment.
//!
//! *By hand.* A table that follows no feed is told of a commit after a load can have shown it, so
//! nobody can say what is half: there nothing overtakes, and a read shows each record of one
//! moment.

use std::sync::Arc;

use larder_core::{Error, safeguard::Safeguard};

use crate::{
    index::IndexKey,
    lane::AnyRanges,
    record::Record,
    snapshot::{Mark, Meanwhile, Overtaken, Snapshot},
    stats::Counts,
    table::Table,
};

/// What a read asks: ranges of indexes of one key a record, all of which a record must be in.
pub(crate) type Asked<'a> = [(usize, &'a dyn AnyRanges)];

/// So often a read loads again what is in doubt before it loads all that it asks. One is enough
/// unless the same records change again meanwhile; reasoned, not measured.
const REFRESHES_MAX: usize = 3;

/// What a read finds.
pub(crate) enum View<R> {
    /// What is asked is of one moment in this snapshot.
    Whole(Arc<Snapshot<R>>),
    /// It changes as fast as it is loaded.
    Restless(Restless),
}

/// What is asked changes as fast as it is loaded; nothing that was told of before the read began
/// is behind `last`.
pub(crate) struct Restless {
    last: u64,
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// The snapshot, once the table is loaded.
    pub(crate) async fn ready(&self) -> Result<Arc<Snapshot<R>>, Error> {
        let snapshot = loop {
            let followed = self.0.followed.get();
            if let Some(followed) = followed {
                followed.prove().await?;
            }
            let snapshot = self.snapshot();
            // The connection to the owner may have ended between the two (`replica.rs`).
            if followed.is_none_or(|followed| !followed.is_unproven()) {
                break snapshot;
            }
        };
        if snapshot.window.is_some() {
            return Ok(snapshot);
        }
        self.loaded().await?;
        Ok(self.snapshot())
    }

    /// Looks for a snapshot by which a read that begins now may decide.
    pub(crate) async fn view(&self, asked: &Asked<'_>) -> Result<View<R>, Error> {
        let snapshot = self.ready().await?;
        let last = snapshot.last;
        if !is_doubted(&snapshot, last, asked) {
            return Ok(View::Whole(snapshot));
        }
        Counts::add(&self.0.counts.hits_with_refresh, 1);
        for _ in 0..REFRESHES_MAX {
            // Also what came later: what is left out would be overtaken.
            self.refresh(|mark| concerns(mark, asked)).await?;
            let snapshot = self.snapshot();
            if !is_doubted(&snapshot, last, asked) {
                return Ok(View::Whole(snapshot));
            }
        }
        Ok(View::Restless(Restless { last }))
    }

    /// Waits until a load that begins then shows what was told of before the read began.
    pub(crate) async fn visible(
        &self,
        Restless { last }: &Restless,
        asked: &Asked<'_>,
    ) -> Result<Arc<Snapshot<R>>, Error> {
        let snapshot = self.snapshot();
        let is_left = |mark: &&Arc<Mark>| mark.first <= *last && concerns(mark, asked);
        let left: Vec<_> = snapshot.marks.iter().filter(is_left).cloned().collect();
        self.until_visible(&left).await?;
        Ok(snapshot)
    }

    /// A snapshot with nothing in doubt that was told of before the read began; of what came later
    /// it may show half.
    pub(crate) async fn each(
        &self,
        Restless { last }: Restless,
        asked: &Asked<'_>,
    ) -> Result<Arc<Snapshot<R>>, Error> {
        let is_left = |mark: &Mark| mark.first <= last && concerns(mark, asked);
        loop {
            let snapshot = self.snapshot();
            if !snapshot.marks.iter().any(|mark| is_left(mark)) {
                return Ok(snapshot);
            }
            self.refresh(is_left).await?;
        }
    }
}

/// Whether something is due for a read that began when `last` was the last invalidation.
pub(crate) fn is_doubted<R>(snapshot: &Snapshot<R>, last: u64, asked: &Asked<'_>) -> bool {
    let is_due = |mark: &Mark| mark.first <= last || is_overtaken(mark);
    snapshot.marks.iter().any(|mark| is_due(mark) && concerns(mark, asked))
}

fn is_overtaken(mark: &Mark) -> bool {
    mark.overtaken == Overtaken::Perhaps && !Safeguard::HalvesRefused.is_off()
}

/// Whether reads of this wait for `mark`.
fn concerns(mark: &Mark, asked: &Asked<'_>) -> bool {
    mark.meanwhile == Meanwhile::Refresh
        && asked.iter().all(|(place, ranges)| mark.touches(*place, *ranges))
}
