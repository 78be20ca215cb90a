//! Taking care of value files behind: flushing what may be lost, removing what nobody needs.
//!
//! Apart from `keeper`, which says when. **Invariant**: a file is removed only while nobody holds
//! the directory, and only after the commit that made it loose reached the disk: else a failure of
//! power could bring back a row whose file is gone. Every step can be interrupted, and the next one
//! who comes goes on.

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension};

use super::{
    check::Depth,
    evict::Condemned,
    filed::{self, Holder},
    keeper::{self, Checkpoint},
    value_file::Name,
    values::Values,
    writer::{Queue, Writing},
};

/// Names in one piece of work on the writer: some hundred microseconds.
const PIECE: usize = 256;

/// Whether the directory is looked through for what killed processes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    Yes,
    No,
}

/// Does what there is to do. `connection` reads.
pub(crate) fn collect(
    connection: &Connection,
    queue: &Queue,
    values: &Values,
    scan: Scan,
) -> Result<(), Error> {
    let flushed = flush(connection, queue, values);
    note_strays(connection, queue, values, scan)?;
    remove_loose(connection, queue, values)?;
    flushed
}

/// Makes those files reach the disk that nobody flushed. After a flush that failed they are written
/// again first, all of them: see `doubt`.
fn flush(connection: &Connection, queue: &Queue, values: &Values) -> Result<(), Error> {
    let flushed = flush_files(connection, queue, values);
    values.note_flush(&flushed);
    flushed
}

fn flush_files(connection: &Connection, queue: &Queue, values: &Values) -> Result<(), Error> {
    let is_doubted = values.flush_failed();
    let names = names(connection, "SELECT name FROM unflushed")?;
    for piece in names.chunks(PIECE) {
        for name in piece {
            // If it is gone it was replaced, and is not in the table any more.
            if is_doubted {
                values.directory().write_again(*name)?;
            }
            values.directory().flush(*name)?;
        }
        values.directory().flush_names()?;
        forget(queue, piece, "DELETE FROM unflushed WHERE name = ?1")?;
    }
    Ok(())
}

/// Calls those files loose that have no row and are waiting for none.
fn note_strays(
    connection: &Connection,
    queue: &Queue,
    values: &Values,
    scan: Scan,
) -> Result<(), Error> {
    let failed = Writing::failed("look for value files");
    let mut strays = values.take_settled();
    if scan == Scan::Yes {
        strays.extend(values.strays()?);
    }
    let mut unknown = Vec::new();
    for name in strays {
        if !filed::is_known(connection, name).map_err(failed)? {
            unknown.push(name);
        }
    }
    for piece in unknown.chunks(PIECE) {
        let piece = piece.to_vec();
        // Again, now that what waited for its row was written.
        queue.write_blocking(move |writing| {
            for name in piece {
                if !filed::is_known(writing.connection, name).map_err(failed)? {
                    filed::note_loose(writing.connection, name).map_err(failed)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Removes the files that are loose, unless somebody counts on them now.
fn remove_loose(connection: &Connection, queue: &Queue, values: &Values) -> Result<(), Error> {
    let names = names(connection, "SELECT name FROM loose")?;
    if names.is_empty() {
        return Ok(());
    }
    flush_commits(connection, queue)?;
    for piece in names.chunks(PIECE) {
        {
            let is_there = values.directory().path().exists();
            let claimed = values.directory().claim()?;
            if is_there && claimed.is_none() {
                return Ok(());
            }
            piece.iter().try_for_each(|name| values.directory().remove(*name))?;
        }
        forget(queue, piece, "DELETE FROM loose WHERE name = ?1")?;
    }
    Ok(())
}

/// Makes everything reach the disk that was committed.
fn flush_commits(connection: &Connection, queue: &Queue) -> Result<(), Error> {
    // Whatever is in this commit, what came before is flushed with it.
    let full = match queue.write_durably_blocking(|_| Ok(())) {
        Err(error) if error.kind() == ErrorKind::Full && !queue.doubt.is_of_file() => error,
        committed => return committed,
    };
    // The files that are to go may be all that could give room. Copying the log begins with
    // flushing it; only what comes after that can fail for room.
    match keeper::wal(connection, Checkpoint::Passive) {
        Err(error) if error.kind() == ErrorKind::Full => Ok(()),
        Ok(log) if log.copied == log.pages => Ok(()),
        Ok(_) => Err(full),
        Err(error) => Err(error),
    }
}

fn names(connection: &Connection, sql: &str) -> Result<Vec<Name>, Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut read| read.query_map([], |row| row.get(0))?.collect())
        .map_err(Writing::failed("look for value files"))
}

/// Takes names out of a table.
fn forget(queue: &Queue, names: &[Name], sql: &'static str) -> Result<(), Error> {
    let names = names.to_vec();
    let failed = Writing::failed("take care of value files");
    queue.write_blocking(move |writing| {
        let mut forget = writing.connection.prepare_cached(sql).map_err(failed)?;
        names.iter().try_for_each(|name| forget.execute([name]).map(drop).map_err(failed))
    })
}

/// Removes the entries whose file a failure of power took: they were written shortly before, and
/// nobody was told that they would outlive it. Any other fault is left to be found.
pub(crate) fn mend(queue: &Queue, values: &Values, unflushed: &[Holder]) -> Result<(), Error> {
    let is_broken = |holder: &&Holder| holder.verify(values.directory(), Depth::Full).is_err();
    let broken: Vec<Holder> = unflushed.iter().filter(is_broken).copied().collect();
    if broken.is_empty() {
        return Ok(());
    }
    let count = broken.len();
    tracing::warn!(count, "values that were not on the disk yet are lost");
    remove_holders(queue, &broken)
}

/// Removes entries whose files are broken, as far as they still are in those files.
pub(crate) fn remove_holders(queue: &Queue, holders: &[Holder]) -> Result<(), Error> {
    let failed = Writing::failed("remove entries whose values are broken");
    for piece in holders.chunks(PIECE) {
        let piece = piece.to_vec();
        queue.write_blocking(move |writing| {
            piece.iter().try_for_each(|holder| remove_holder(writing, holder)).map_err(failed)
        })?;
    }
    Ok(())
}

fn remove_holder(writing: &mut Writing<'_>, holder: &Holder) -> rusqlite::Result<()> {
    let is_in_it = writing
        .connection
        .prepare_cached("SELECT 1 FROM filed WHERE entry = ?1 AND name = ?2")?
        .exists((holder.entry, holder.name))?;
    if !is_in_it {
        return Ok(());
    }
    let row = writing
        .connection
        .prepare_cached("SELECT id, region, size, tags, form FROM entry WHERE id = ?1")?
        .query_row([holder.entry], Condemned::read)
        .optional()?;
    match row {
        Some(row) => row.remove(writing),
        None => filed::loosen(writing.connection, holder.entry),
    }
}
