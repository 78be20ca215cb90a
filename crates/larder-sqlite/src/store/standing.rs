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
//! *A gap.* A step says where it begins. A store that stands before that (it was restored, or steps
//! were lost) does not know what it missed, so its floor is moved to where the step ends.

use larder_core::{
    Epoch, Error, Position,
    store::{Begins, Standing, Step},
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

/// Carries out one step of an origin: buries what it touched and moves the standing.
pub(crate) fn step(connection: &Connection, step: Step) -> Result<(), Error> {
    let failed = Writing::failed("apply a change to the store");
    let standings = read(connection).map_err(failed)?;
    let own = standings.into_iter().find(|own| own.timeline == step.timeline);
    let floor = match (step.begins, own) {
        (Begins::After(from), Some(own)) if own.epoch == step.epoch && from <= own.position => {
            if step.position <= own.position {
                return Ok(());
            }
            for digest in &step.digests {
                link::bury(connection, *digest).map_err(failed)?;
            }
            if step.everything { step.position } else { own.floor }
        }
        (Begins::After(_) | Begins::Anew, _) => step.position,
    };
    let Step { timeline, epoch, position, mark, .. } = step;
    let moved = Standing { timeline, epoch, position, floor, mark };
    write(connection, &moved).map_err(failed)
}
