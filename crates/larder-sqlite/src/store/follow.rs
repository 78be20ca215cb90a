//! Following: how one file of several goes along with the line of announcements that another has.
//!
//! Apart from `announce`, which gives places: here they are taken as they were given. A file that
//! follows has the life of the line for its own, and the same places and nonces. **Invariant**:
//! a follower that stands at a place of the line has buried everything that was announced up to
//! there, or its floor is above all that it had before.
//!
//! Which files follow which, and when they are brought along, is said in `shards::line`.

use larder_core::{
    Error, Position,
    announcement::{Announcement, Cursor},
    store::{Standing, Step},
    timeline::APP,
};
use rusqlite::Connection;

use super::{
    announce::{self, Said},
    life::Life,
    link, standing,
    writer::Writing,
};

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    life: Life,
    /// Where it stands in a line; `None` in a life that is in none.
    pub(crate) cursor: Option<Cursor>,
}

/// How a file that stands somewhere gets to where the line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is there.
    There(Cursor),
    /// These lie in between.
    Along(Vec<Announcement>, Cursor),
    /// So much that the line does not keep it.
    Forgotten(Cursor),
    /// The file is in another life, or in none.
    Elsewhere,
    /// The file has heard of what the line does not say: the line went back, and nobody noticed.
    Contradicted,
}

/// Whether a follower is where it was to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Yes,
    /// It stands elsewhere than was thought.
    No,
}

/// What the file of `connection` says of itself.
pub(crate) fn stands(connection: &Connection, path: &str) -> Result<Found, Error> {
    let life = Life::read(connection, path)?;
    Ok(Found { life, cursor: announce::cursor(connection, path)? })
}

/// How whoever stands at `from` gets to where the line of `connection` stands, which was adopted.
///
/// # Callers must
/// have read `from` before: else whatever is announced in between looks like a line that went back.
pub(crate) fn way(connection: &Connection, path: &str, from: Option<Cursor>) -> Result<Way, Error> {
    let failed = Writing::failed("look at announcements");
    let now = announce::cursor(connection, path)?;
    let (Some(now), Some(from)) = (now, from.filter(|from| is_same(now, *from))) else {
        return Ok(Way::Elsewhere);
    };
    if from == now {
        return Ok(Way::There(now));
    }
    let is_beyond = now.position <= from.position;
    if is_beyond || announce::is_contradicted(connection, from).map_err(failed)? {
        return Ok(Way::Contradicted);
    }
    let between = announce::between(connection, from.position, now.position).map_err(failed)?;
    Ok(between.map_or(Way::Forgotten(now), |all| Way::Along(all, now)))
}

fn is_same(now: Option<Cursor>, from: Cursor) -> bool {
    now.is_some_and(|now| now.epoch == from.epoch)
}

/// Takes up a step that was just announced, whose content is known exactly.
pub(crate) fn take_step(
    writing: &mut Writing<'_>,
    path: &str,
    step: &Step,
    said: &Said,
) -> Result<Reached, Error> {
    let (connection, to) = (writing.connection, said.one.cursor);
    match announce::cursor(connection, path)? {
        Some(own) if own.epoch == to.epoch && to.position <= own.position => {
            return Ok(Reached::Yes);
        }
        Some(own) if own == said.before => {}
        Some(_) | None => return Ok(Reached::No),
    }
    let failed = Writing::failed("take up an invalidation");
    if let Some(announced) = &step.announced {
        announce::bury(connection, to.epoch, step, announced).map_err(failed)?;
    }
    announce::write(connection, &said.one).map_err(failed)?;
    let floor = step.everything.then_some(to.position);
    move_to(writing, path, to, floor)?;
    Ok(Reached::Yes)
}

/// Takes up what was announced between `from` and `to`, by whomever; if the file still is at
/// `from`.
///
/// The line does not say what its authors knew of columns, so whole tables fall; and of an
/// announcement of too much it says that everything fell.
pub(crate) fn take_up(
    writing: &mut Writing<'_>,
    path: &str,
    from: Cursor,
    all: &[Announcement],
    to: Cursor,
) -> Result<Reached, Error> {
    let connection = writing.connection;
    if announce::cursor(connection, path)? != Some(from) {
        return Ok(Reached::No);
    }
    let failed = Writing::failed("take up an invalidation");
    for one in all {
        for digest in one.digests.iter().chain(&one.tables) {
            link::bury(connection, *digest).map_err(failed)?;
        }
        announce::write(connection, one).map_err(failed)?;
    }
    let floor = all.iter().rev().find(|one| one.everything).map(|one| one.cursor.position);
    move_to(writing, path, to, floor)?;
    Ok(Reached::Yes)
}

/// Goes from `from` to `to` over what nobody knows: nothing that the file has counts any more.
pub(crate) fn skip(
    writing: &mut Writing<'_>,
    path: &str,
    from: Cursor,
    to: Cursor,
) -> Result<Reached, Error> {
    if announce::cursor(writing.connection, path)? != Some(from) {
        return Ok(Reached::No);
    }
    let failed = Writing::failed("take up an invalidation");
    writing.connection.execute_batch("DELETE FROM announced").map_err(failed)?;
    // What the file has was stamped before its own place, which is below this floor.
    move_to(writing, path, to, Some(to.position))?;
    Ok(Reached::Yes)
}

/// Puts a file that was `found` elsewhere into the line, at a place `to` that was taken for it.
///
/// No record of the file can be stamped at that place yet, so the floor there is above all that it
/// has, whatever life that is stamped with: also what a restore has brought back from this line.
pub(crate) fn join(
    writing: &mut Writing<'_>,
    path: &str,
    found: Found,
    to: Cursor,
) -> Result<Reached, Error> {
    let connection = writing.connection;
    if stands(connection, path)? != found {
        return Ok(Reached::No);
    }
    let failed = Writing::failed("join the line of announcements");
    connection
        .execute_batch("DELETE FROM standing; DELETE FROM announced; DELETE FROM scheme")
        .map_err(failed)?;
    let (timeline, mark) = (APP.into(), None);
    let Cursor { epoch, position, .. } = to;
    let begun = Standing { timeline, epoch, position, floor: position, mark };
    standing::write(connection, &begun).map_err(failed)?;
    set(writing, path, to)?;
    Ok(Reached::Yes)
}

/// Moves the standing of `app` to `to`, in the life that it is in, and the floor if there is one.
fn move_to(
    writing: &mut Writing<'_>,
    path: &str,
    to: Cursor,
    floor: Option<Position>,
) -> Result<(), Error> {
    let failed = Writing::failed("take up an invalidation");
    let standings = standing::read(writing.connection).map_err(failed)?;
    for own in standings.into_iter().filter(|own| *own.timeline == *APP) {
        let floor = floor.map_or(own.floor, |floor| floor.max(own.floor));
        let moved = Standing { position: to.position, floor, ..own };
        standing::write(writing.connection, &moved).map_err(failed)?;
    }
    set(writing, path, to)
}

/// Writes down where the file stands. The witness is written with the commit.
fn set(writing: &mut Writing<'_>, path: &str, to: Cursor) -> Result<(), Error> {
    let Cursor { epoch, position, nonce } = to;
    let life = Life { epoch, position, nonce, ..Life::read(writing.connection, path)? };
    life.write(writing.connection).map_err(Writing::failed("take up an invalidation"))?;
    *writing.has_advanced = true;
    Ok(())
}
