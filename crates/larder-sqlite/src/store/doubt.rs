//! What is done after a flush failed: the write-ahead log is written again.
//!
//! After `fsync` has failed once, Linux may call the pages clean that never reached the disk, and
//! the next `fsync` succeeds. SQLite replays a log up to the first frame that is not there, so what
//! was acknowledged behind such a hole would be gone after a failure of power, and a log that was
//! half copied into the file would leave a mixture. So until every byte of the log was written
//! once more, and flushed, nothing is. **Invariant**: no write is acknowledged, and no page copied
//! into the file, by this process between a flush that failed and one that took the whole log.
//!
//! The log is read and written beside SQLite here, and closed again: its locks are on the file and
//! on the index of the log, and nobody locks the log itself.

use std::{
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{keeper, witness::beside, writer::Writing};
use crate::error::{from_io, is_of_flush};

const HEADER: usize = 32;

const FRAME_HEADER: usize = 24;

/// The first number of a log; with one more, its sums are of numbers with the high byte first.
const MAGIC: u32 = 0x377f_0682;

/// Whether the disk has what was written into the log of a store.
#[derive(Debug)]
pub(crate) struct Doubt {
    log: PathBuf,
    is_there: AtomicBool,
}

impl Doubt {
    /// About the log of the store at `path`; there is none yet.
    pub(crate) fn of(path: &std::path::Path) -> Self {
        Self { log: beside(path, "-wal"), is_there: AtomicBool::new(false) }
    }

    /// Notes an error, which may be that of a flush.
    pub(crate) fn note(&self, error: &Error) {
        if is_of_flush(error) && !self.is_there.swap(true, Ordering::SeqCst) {
            tracing::error!(
                %error,
                "a flush of the store failed; nothing is written until its log was written again",
            );
        }
    }

    /// Whether there is any.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }

    /// How many pages the log must have, if there is doubt; to be asked before the lock is taken.
    pub(crate) fn look(&self, connection: &Connection) -> Result<Option<u64>, Error> {
        match self.is_there() {
            true => keeper::wal(connection, "NOOP").map(|log| Some(log.pages)),
            false => Ok(None),
        }
    }

    /// Writes the log again and flushes it, if there is doubt. The caller has the write lock, so
    /// that nobody adds to it or begins it anew.
    ///
    /// # Errors
    /// `Unavailable` and others of writing; `Corrupt` when the log is not what SQLite wrote. The
    /// doubt is there as before.
    ///
    /// # Cost
    /// Reads and writes as much as is in the log.
    pub(crate) fn settle(&self, pages: Option<u64>) -> Result<(), Error> {
        let Some(pages) = pages else { return Ok(()) };
        self.write_again(pages)?;
        self.is_there.store(false, Ordering::SeqCst);
        tracing::warn!(log = %self.log.display(), "the log was written again and is on the disk");
        Ok(())
    }

    /// The same on a connection that is in no transaction.
    pub(crate) fn settle_alone(&self, connection: &Connection) -> Result<(), Error> {
        let Some(pages) = self.look(connection)? else { return Ok(()) };
        let failed = Writing::failed("write the log again");
        connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let settled = self.settle(Some(pages));
        connection.execute_batch("ROLLBACK").map_err(failed)?;
        settled
    }

    fn write_again(&self, pages: u64) -> Result<(), Error> {
        let failed = |error: std::io::Error| from_io("write the log again", &self.log, &error);
        let mut file = match OpenOptions::new().read(true).write(true).open(&self.log) {
            // Nothing was left in it, so nothing was lost.
            Err(error) if pages == 0 && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let sound = frames(&bytes);
        if sound < pages {
            return Err(Error::new(ErrorKind::Corrupt, "write the log again")
                .subject(self.log.display().to_string())
                .detail(format!("of {pages} pages in it only {sound} are what was written")));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)
    }
}

/// How many frames of a log are as SQLite wrote them, from its beginning.
fn frames(log: &[u8]) -> u64 {
    let Some((header, mut rest)) = log.split_at_checked(HEADER) else { return 0 };
    let number = |bytes: &[u8], at: usize| -> u32 {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map_or(0, u32::from_be_bytes)
    };
    let order = match number(header, 0) {
        MAGIC => u32::from_le_bytes,
        magic if magic == MAGIC + 1 => u32::from_be_bytes,
        _ => return 0,
    };
    let page = number(header, 8) as usize;
    let (summed, _) = header.split_at(24);
    let mut sum = add([0, 0], summed, order);
    if page == 0 || sum != [number(header, 24), number(header, 28)] {
        return 0;
    }
    let mut count = 0;
    while let Some((frame, left)) = rest.split_at_checked(FRAME_HEADER + page) {
        let (head, content) = frame.split_at(FRAME_HEADER);
        let (place, _) = head.split_at(8);
        sum = add(add(sum, place, order), content, order);
        let is_of_this_log = head.get(8..16) == header.get(16..24);
        if !is_of_this_log || sum != [number(head, 16), number(head, 20)] {
            break;
        }
        (count, rest) = (count + 1, left);
    }
    count
}

/// SQLite's sum over a log, gone on with.
fn add([mut one, mut two]: [u32; 2], bytes: &[u8], order: fn([u8; 4]) -> u32) -> [u32; 2] {
    for [a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        one = one.wrapping_add(order([*a, *b, *c, *d])).wrapping_add(two);
        two = two.wrapping_add(order([*e, *f, *g, *h])).wrapping_add(one);
    }
    [one, two]
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_testkit::temp::TempDir;

    #[test]
    fn a_log_is_read_as_sqlite_wrote_it() {
        let place = TempDir::new("doubt").unwrap();
        let path = place.join("x.db");
        let connection = Connection::open(&path).unwrap();
        let sql = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x);";
        connection.execute_batch(sql).unwrap();
        for number in 0..20 {
            let blob = vec![number; 3000];
            connection.execute("INSERT INTO t VALUES (?1)", [blob]).unwrap();
        }
        let pages = keeper::wal(&connection, "NOOP").unwrap().pages;
        let doubt = Doubt::of(&path);
        let log = std::fs::read(&doubt.log).unwrap();
        assert!(20 < pages);
        assert_eq!(frames(&log), pages);
        for (at, sound) in [(0, 0), (30, 0), (HEADER + 5, 0), (HEADER + 4120 * 7 + 100, 7)] {
            let mut torn = log.clone();
            torn[at] ^= 1;
            assert_eq!(frames(&torn), sound, "{at}");
        }
        assert_eq!(frames(&log[..log.len() - 1]), pages - 1);
        assert_eq!(frames(b""), 0);
        doubt.settle(Some(pages)).unwrap();
        assert_eq!(std::fs::read(&doubt.log).unwrap(), log);
        let more = doubt.settle(Some(pages + 1)).unwrap_err();
        assert_eq!(more.kind(), ErrorKind::Corrupt, "{more}");
    }
}
