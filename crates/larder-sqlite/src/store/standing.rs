//! Standings: how far each timeline was applied to the store, and the step from there to the next.
//!
//! What is invalidated by name moves `app` in its own way: see `announce`.
//!
//! **Invariant**: every live entry whose stamp on a timeline is of the epoch of that timeline's
//! standing, and not below its floor, reflects the timeline up to the position of the standing.
//! Entries therefore do not grow old: what moves is the standing, and what it passes is buried.
//!
//! # Implementation notes
//!
//! *A write against a step.* Both are done by the writer, one after the other. The node (N) writes
//! a change into its history before it hands the step over; a write (W) asks that history inside
//! its transaction.
//!
//! 1. N has the change in its history, W asks: touched. Nothing is written.
//! 2. W asks: untouched. N has the change in its history, and hands the step over. W's transaction
//!    holds the entry and its links; the step comes after it and buries the entry.
//! 3. A step that was handed over before W asked may come before W or after it: it is of a change
//!    that W asked about.
//!
//! *A read against a step.* The entry and the standings are read from one snapshot, so the entry
//! reflects what the standings say. What was touched after that is known to the history of whoever
//! reads, which is asked next; where it does not reach back so far, it says so.
//!
//! *A gap.* A step says where it begins. A store that stands before that does not know what it
//! missed, so its floor is moved to where the step ends.
//!
//! *Several caches on one timeline.* A and B follow one log and note what it says, each for itself.
//!
//! 1. Both note the lines up to 9. The second finds the store there and changes nothing.
//! 2. A has noted up to 9; B, which was slower, brings 6 to 12. What it touches between 6 and 9 is
//!    buried a second time, at most too much: an entry that was written at 9 and touched at 7.
//! 3. A has noted up to 9 of a log that then goes back to 5 and grows otherwise. B was stopped at
//!    5, finds its own place still there, and brings 5 to 12. The entries that A has brought to 9
//!    show what never was in this log. So whoever moves a standing must know its mark to be on the
//!    log that he follows; else he is refused.
//! 4. A begins a new life: the log is another one. B, which has not seen that, brings a step of the
//!    old life: it is refused, or it would revive it. Both begin one: the second names a life that
//!    is not there any more, and is refused.
//! 5. The store is restored from a backup, which ends all standings. The lives that its entries are
//!    stamped with are over: of one, a process that slept may know less than the entries show. So
//!    nobody goes on in any of them, and the next step begins a new one.
//! 6. B writes an entry that chooses rows by a column. A has never heard of this and brings a
//!    change of such a row, which may have been made before B wrote. A's step says how many schemes
//!    A knew, and buries by the whole table.

use larder_core::{
    Epoch, Error, Position,
    safeguard::Safeguard,
    store::{Begins, Standing, Step},
    timeline::APP,
};
use rusqlite::{Connection, Row};

use super::{link, writer::Writing};

/// All standings, in the snapshot of `connection`.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Vec<Standing>> {
    connection
        .prepare_cached("SELECT timeline, epoch, position, floor, mark FROM standing")?
        .query_map([], standing)?
        .collect()
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let number = |index| row.get(index).map(i64::cast_unsigned);
    Ok(Standing {
        timeline: row.get::<_, String>(0)?.into(),
        epoch: Epoch(number(1)?),
        position: Position(number(2)?),
        floor: Position(number(3)?),
        mark: row.get(4)?,
    })
}

/// Writes a standing in place of what was there.
pub(crate) fn write(connection: &Connection, standing: &Standing) -> rusqlite::Result<()> {
    let signed = u64::cast_signed;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO standing(timeline, epoch, position, floor, mark) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            &*standing.timeline,
            signed(standing.epoch.0),
            signed(standing.position.0),
            signed(standing.floor.0),
            &standing.mark,
        ))
        .map(drop)
}

/// Carries out one step of an origin: buries what it touched and moves the standing. Where it is
/// refused: the standing as it is.
pub(crate) fn step(
    connection: &Connection,
    step: Step,
    knows: &dyn Fn(&Standing) -> bool,
) -> Result<Option<Standing>, Error> {
    let failed = Writing::failed("apply a change to the store");
    let standings = read(connection).map_err(failed)?;
    let own = standings.iter().find(|own| own.timeline == step.timeline);
    let floor = match (step.begins, own) {
        (Begins::Anew(_), None) => step.position,
        (Begins::After(_), None) => return Ok(Some(nowhere(&step))),
        // Its answer was lost, and others have gone on since.
        (Begins::Anew(_), Some(own))
            if own.epoch == step.epoch && step.position <= own.position =>
        {
            return Ok(None);
        }
        (Begins::Anew(instead), Some(own)) => {
            if own.epoch != step.epoch && Some(own.epoch) != instead {
                return Ok(Some(own.clone()));
            }
            step.position
        }
        (Begins::After(_), Some(own)) if own.epoch != step.epoch => return Ok(Some(own.clone())),
        (Begins::After(_), Some(own)) if step.position <= own.position => return Ok(None),
        (Begins::After(_), Some(own)) if !knows(own) => return Ok(Some(own.clone())),
        (Begins::After(from), Some(own)) if own.position < from => step.position,
        (Begins::After(_), Some(own)) => {
            let is_behind = is_behind(connection, &step, &standings).map_err(failed)?;
            let tables = step.tables.iter().filter(|_| is_behind);
            for digest in step.digests.iter().chain(tables) {
                link::bury(connection, *digest).map_err(failed)?;
            }
            if step.everything { step.position } else { own.floor }
        }
    };
    let Step { timeline, epoch, position, mark, .. } = step;
    let moved = Standing { timeline, epoch, position, floor, mark };
    write(connection, &moved).map_err(failed)?;
    Ok(None)
}

/// The standing of a store that has none.
pub(crate) fn nowhere(step: &Step) -> Standing {
    let (timeline, position) = (step.timeline.clone(), Position::START);
    Standing { timeline, epoch: Epoch::VOID, position, floor: position, mark: None }
}

/// Whether entries may choose rows by columns that the author of `step` did not know of.
fn is_behind(
    connection: &Connection,
    step: &Step,
    standings: &[Standing],
) -> rusqlite::Result<bool> {
    let line = standings.iter().find(|own| *own.timeline == *APP);
    let is_same = line.is_some_and(|line| line.epoch == step.schemes.epoch);
    let is_behind = !is_same || step.schemes.count < link::count_schemes(connection)?;
    Ok(is_behind && !Safeguard::SchemesCompared.is_off())
}
