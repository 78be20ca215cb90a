//! The line of several files: the first has it, and the others are brought along.
//!
//! What is announced is in the first file, durably, before any other hears of it: whatever becomes
//! of the process then, the line says what the others lack. **Invariant**: a file that was not
//! brought along stands where it stood, and nothing that it has is believed beyond that.
//!
//! # Implementation notes
//!
//! F is the first file, K another one, p the next place in the line.
//!
//! *A crash between the files.* A announces t at p in F, and is killed. K stands at p - 1 and has
//! an entry that hangs on t.
//!
//! 1. B, which lives, reads the entry from K: right up to p - 1. If B has looked, its history knows
//!    of t, and the entry is not right. If B has not, A has told nobody that it announced.
//! 2. C attaches. It brings K along before it reads anything: t is buried in K. If that fails, C
//!    goes on at p, and what K shows is right up to where C does not reach back to: a miss.
//! 3. B writes into K what it stamps with p: beyond where K stands, so K is brought along first.
//!
//! *Two that bring a file along.* Each looks where K stands, reads what the line has since, and
//! writes only if K still stands there. The second finds it gone on.
//!
//! *Two that announce,* at p and p + 1. The one at p + 1 comes to K first, and finds it two places
//! behind: it brings K along, over both, from the line. The other finds it done.
//!
//! *A file from another moment.* K was restored, copied back, replaced, or lost commits that its
//! witness has seen: its life is not the line's. It joins at a place that is taken for it. F itself
//! from another moment is in a new life, so all others join.
//!
//! *A line that went back,* although F seems not to have (a disk that lied, and a witness that was
//! lost with it). K stands at a place of which F says something else, or nothing. Entries in F may
//! have lost what buried them, so a new life of the line begins.
//!
//! *What is read first.* K, then F: else an announcement in between would look like the case above.

use larder_core::{Error, ErrorKind, announcement::Cursor};

use crate::store::{
    announce,
    follow::{self, Found, Reached, Way},
    handle::SqliteStore as Shard,
    writer::Writing,
};

/// Times that a file is looked at which others move meanwhile.
const TRIES: usize = 4;

/// What is said in the line of a file that joins it.
const JOINS: &str = "a file of the store began anew";

/// Brings all of `files` to where the line of `first` stands, as far as others let it stand still.
/// Waits for commits.
pub(super) fn bring_all(first: &Shard, files: &[Shard]) -> Result<(), Error> {
    // Those that join take places in it, which leaves behind those that came before.
    for _ in 0..TRIES {
        // One that fails does not keep the others from being brought.
        let all: Vec<_> = files.iter().map(|file| bring(first, file)).collect();
        let all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
        if all.windows(2).all(|two| matches!(two, [one, other] if one == other)) {
            break;
        }
    }
    Ok(())
}

/// Brings `file` to where the line of `first` stands; where that is. Waits for commits.
pub(super) fn bring(first: &Shard, file: &Shard) -> Result<Cursor, Error> {
    for _ in 0..TRIES {
        let found = found(file)?;
        let path = path_of(first);
        let look = move |writing: &mut Writing<'_>| {
            announce::adopt(writing, &path)?;
            follow::way(writing.connection, &path, found.cursor)
        };
        let (reached, to) = match first.writer_queue().write_blocking(look)? {
            Way::There(cursor) => return Ok(cursor),
            Way::Along(all, to) => (
                along(file, found, move |writing, path, from| {
                    follow::take_up(writing, path, from, &all, to)
                })?,
                to,
            ),
            Way::Forgotten(to) => (
                along(file, found, move |writing, path, from| {
                    follow::skip(writing, path, from, to)
                })?,
                to,
            ),
            Way::Elsewhere => join(first, file, found)?,
            Way::Contradicted => {
                begin_anew(first, found)?;
                continue;
            }
        };
        if reached == Reached::Yes {
            return Ok(to);
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "bring a file of the store along")
        .subject(path_of(file))
        .detail("others move it again and again"))
}

/// Ends all that `file` has of timelines, and puts it into the line at a new place; unless others
/// move it meanwhile. Waits for commits.
pub(super) fn rejoin(first: &Shard, file: &Shard) -> Result<(), Error> {
    join(first, file, found(file)?).map(drop)
}

fn found(file: &Shard) -> Result<Found, Error> {
    let path = path_of(file);
    file.writer_queue().write_blocking(move |writing| follow::stands(writing.connection, &path))
}

fn along(
    file: &Shard,
    found: Found,
    act: impl FnOnce(&mut Writing<'_>, &str, Cursor) -> Result<Reached, Error> + Send + 'static,
) -> Result<Reached, Error> {
    let (path, from) = (path_of(file), found.cursor);
    // On the disk, as the witness beside it says so.
    file.writer_queue().write_durably_blocking(move |writing| match from {
        Some(from) => act(writing, &path, from),
        None => Ok(Reached::No),
    })
}

fn join(first: &Shard, file: &Shard, found: Found) -> Result<(Reached, Cursor), Error> {
    let (line, path) = (path_of(first), path_of(file));
    let take = move |writing: &mut Writing<'_>| announce::take_place(writing, &line, JOINS);
    let to = first.writer_queue().write_durably_blocking(take)?;
    tracing::info!(store = %path, "joins the line of announcements: what it had is a miss");
    let join = move |writing: &mut Writing<'_>| follow::join(writing, &path, found, to);
    Ok((file.writer_queue().write_durably_blocking(join)?, to))
}

/// Begins a life of the line in place of one that `found` contradicts.
fn begin_anew(first: &Shard, found: Found) -> Result<(), Error> {
    let path = path_of(first);
    first.writer_queue().write_durably_blocking(move |writing| {
        // Whoever else has noticed it may have been quicker.
        if follow::way(writing.connection, &path, found.cursor)? == Way::Contradicted {
            tracing::error!(
                store = %path,
                "it has lost invalidations that another of its files knows: all that can be \
                 invalidated is a miss"
            );
            announce::renew(writing, &path)?;
        }
        Ok(())
    })
}

fn path_of(shard: &Shard) -> String {
    shard.path().display().to_string()
}
