//! The writers of this process: those who tell the table by hand, and who changes labels.
//!
//! **Invariant**: a change that is told of counts as acknowledged when the table knows it, not when
//! it is committed.

use std::{collections::BTreeSet, thread, time::Duration};

use larder_core::Clock;
use larder_table::Ranges;
use tokio::runtime::Handle;

use super::{
    super::{
        Trouble,
        database::{BUCKETS, connect},
        writer::Writer,
    },
    Deed,
    ground::{Ground, RESIDUES},
};
use crate::{
    history::{Micros, Outcome, Written},
    moments::LABELS,
    random::Random,
};

/// The longest pause between two transactions.
const PAUSE_MICROS: u64 = 1_500;

/// The number of who changes labels, below 16 and that of no other writer.
const LABELLER: u64 = 15;

/// Writes until `until`, and tells of each transaction.
pub(super) fn tell(
    ground: &Ground,
    runtime: &Handle,
    mut writer: Writer,
    mut random: Random,
    until: Micros,
) -> Result<(Vec<Written>, Vec<Deed>), Trouble> {
    let clock = Clock::system();
    let (mut written, mut deeds) = (Vec::new(), Vec::new());
    while clock.now().as_micros() < until {
        let mut notes = writer.any()?;
        let committed = notes.iter().filter(|note| note.outcome == Outcome::Committed);
        let ids: BTreeSet<i64> = committed.map(|note| note.row).collect();
        if !ids.is_empty() {
            deeds.push(tell_of(ground, runtime, &ids, &mut random)?);
        }
        let ended = clock.now().as_micros();
        notes.iter_mut().for_each(|note| note.ended = ended);
        written.extend(notes);
        // A pace, not a wait for something: what is tested does not depend on it.
        thread::park_timeout(Duration::from_micros(random.below(PAUSE_MICROS)));
    }
    Ok((written, deeds))
}

fn tell_of(
    ground: &Ground,
    runtime: &Handle,
    ids: &BTreeSet<i64>,
    random: &mut Random,
) -> Result<Deed, Trouble> {
    let Ground { table, by_residue, .. } = ground;
    let keys = || ids.iter().copied();
    let residues = Ranges::only(keys().map(|id| id % RESIDUES));
    let invalidation = table.invalidation();
    match random.below(8) {
        0..4 => invalidation.keys(keys()).commit()?,
        4 | 5 => {
            invalidation.by(by_residue, &residues, &Ranges::none()).commit()?;
            return Ok(Deed::ToldByIndex);
        }
        6 => {
            invalidation.keys(keys()).by(by_residue, &residues, &Ranges::none()).commit()?;
            return Ok(Deed::ToldByBoth);
        }
        _ => {
            invalidation.keys(keys()).serve_stale().commit()?;
            // Reads know it once somebody has refreshed.
            runtime.block_on(table.refresh_invalid())?;
            return Ok(Deed::Served);
        }
    }
    Ok(Deed::ToldByKey)
}

/// Changes labels until `until`.
pub(super) fn label(
    path: &std::path::Path,
    mut random: Random,
    until: Micros,
) -> Result<Vec<Written>, Trouble> {
    let (clock, connection) = (Clock::system(), connect(path)?);
    let now = || clock.now().as_micros();
    let mut written = Vec::new();
    while now() < until {
        let began = now();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let version = (now() << 4) | LABELLER;
        let bucket = random.below(BUCKETS.cast_unsigned()).cast_signed();
        let sql = "UPDATE label SET version = ?1 WHERE bucket = ?2";
        connection.prepare_cached(sql)?.execute([version.cast_signed(), bucket])?;
        connection.execute_batch("COMMIT")?;
        let (row, ended, outcome) = (LABELS + bucket, now(), Outcome::Committed);
        written.push(Written { row, version, bucket: Some(bucket), began, ended, outcome });
        thread::park_timeout(Duration::from_micros(random.below(4 * PAUSE_MICROS)));
    }
    Ok(written)
}
