//! What is done after a flush failed: the write-ahead log is written again.
//!
//! After `fsync` has failed once, Linux may call the pages clean that never reached the disk, and
//! the next `fsync` succeeds. SQLite replays a log up to the first frame that is not there, so what
//! was acknowledged behind such a hole would be gone after a failure of power, and a log that was
//! half copied into the file would leave a mixture. So until every byte of the log was written
//! once more, and flushed, nothing is. Pages that are in the file already may not be on the disk
//! either, and SQLite copies none of them twice: those that the log has are written again from
//! there. **Invariant**: no write is acknowledged, and no page copied into the file, by this
//! process between a flush that failed and one that took the whole log; and it does not let the
//! log be begun anew before one that took the file.
//!
//! The log is read and written beside SQLite here, and closed again: its locks are on the file and
//! on the index of the log, and nobody locks the log itself. The file is written from a descriptor
//! that stays open, while nobody else writes it: the lock keeps them from the log, and with all of
//! that copied there is nothing to be copied.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{
    file,
    keeper::{self, Checkpoint},
    options::StoreOptions,
    witness::beside,
    writer::Writing,
};
use crate::{
    error::{from_io, is_of_flush},
    header::HeaderFile,
    identity::Identity,
};

const HEADER: usize = 32;

const FRAME_HEADER: usize = 24;

/// The first number of a log; with one more, its sums are of numbers with the high byte first.
const MAGIC: u32 = 0x377f_0682;

/// Whether the disk has what was written into the log of a store.
#[derive(Debug)]
pub(crate) struct Doubt {
    path: PathBuf,
    log: PathBuf,
    /// The file that was opened.
    identity: Option<Identity>,
    /// About the log.
    is_there: AtomicBool,
    /// About what was copied from the log.
    is_of_file: AtomicBool,
}

/// Whether what was copied from the log is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    /// Somebody reads an earlier state, which keeps the rest of the log from being copied.
    NotYet,
}

impl Doubt {
    /// About the log of the store at `path`; there is none yet.
    pub(crate) fn of(path: &std::path::Path) -> Self {
        Self {
            path: path.to_owned(),
            log: beside(path, "-wal"),
            identity: Identity::of(path).ok(),
            is_there: AtomicBool::new(false),
            is_of_file: AtomicBool::new(false),
        }
    }

    /// Notes an error, which may be that of a flush.
    pub(crate) fn note(&self, error: &Error) {
        if !is_of_flush(error) {
            return;
        }
        // Which of the two it was does not show.
        self.is_of_file.store(true, Ordering::SeqCst);
        if !self.is_there.swap(true, Ordering::SeqCst) {
            tracing::error!(
                %error,
                "a flush of the store failed; nothing is written until its log was written again",
            );
        }
    }

    /// Whether there is any about the log.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }

    /// Whether there is any about what was copied from it, so that nothing more is to be copied.
    pub(crate) fn is_of_file(&self) -> bool {
        self.is_of_file.load(Ordering::SeqCst)
    }

    /// How many pages the log must have, if there is doubt; to be asked before the lock is taken.
    pub(crate) fn look(&self, connection: &Connection) -> Result<Option<u64>, Error> {
        match self.is_there() {
            true => keeper::wal(connection, Checkpoint::Noop).map(|log| Some(log.pages)),
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

    /// Writes the pages of the log into the file once more and flushes it, if there is doubt. On a
    /// connection that is in no transaction.
    ///
    /// # Errors
    /// As [`Doubt::settle`]; the doubt is there as before.
    ///
    /// # Cost
    /// Reads the log and writes as much.
    pub(crate) fn settle_file(
        &self,
        connection: &Connection,
        options: &StoreOptions,
    ) -> Result<Settled, Error> {
        if !self.is_of_file() {
            return Ok(Settled::Yes);
        }
        let failed = Writing::failed("write the store again");
        connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let settled = self.copy_again(options);
        connection.execute_batch("ROLLBACK").map_err(failed)?;
        if settled? == Settled::NotYet {
            return Ok(Settled::NotYet);
        }
        self.is_of_file.store(false, Ordering::SeqCst);
        tracing::warn!(store = %self.path.display(), "the store is on the disk again");
        Ok(Settled::Yes)
    }

    /// Under the write lock: nobody adds to the log or begins it anew.
    fn copy_again(&self, options: &StoreOptions) -> Result<Settled, Error> {
        let other = file::open_for_keeping(&self.path, options)?;
        let log = keeper::wal(&other, Checkpoint::Passive)?;
        if 0 < log.left() {
            return Ok(Settled::NotYet);
        }
        if log.pages == 0 {
            // Somebody else began it anew, after he had flushed the file.
            return Ok(Settled::Yes);
        }
        let failed = |error: io::Error| from_io("write the store again", &self.path, &error);
        let file = HeaderFile::open_to_write(&self.path).map_err(failed)?;
        if self.identity != Some(file.identity()) {
            return Err(Error::new(ErrorKind::Unavailable, "write the store again")
                .subject(self.path.display().to_string())
                .detail("the file was moved or replaced while it is open; open it again"));
        }
        let bytes = fs::read(&self.log)
            .map_err(|error| from_io("write the store again", &self.log, &error))?;
        let frames = self.all_of(&bytes, log.pages)?;
        let size = frames.iter().rev().map(|frame| frame.size).find(|size| 0 < *size);
        let newest: BTreeMap<u32, &[u8]> =
            frames.iter().map(|frame| (frame.page, frame.content)).collect();
        for (page, content) in newest {
            if (1..=size.unwrap_or(0)).contains(&page) {
                let place = u64::from(page - 1) * content.len() as u64;
                file.write(content, place).map_err(failed)?;
            }
        }
        file.flush().map_err(failed)?;
        Ok(Settled::Yes)
    }

    /// The first `pages` frames of a log.
    fn all_of<'a>(&self, bytes: &'a [u8], pages: u64) -> Result<Vec<Frame<'a>>, Error> {
        let mut sound = frames(bytes);
        if (sound.len() as u64) < pages {
            return Err(Error::new(ErrorKind::Corrupt, "write the log again")
                .subject(self.log.display().to_string())
                .detail(format!(
                    "of {pages} pages in it only {} are what was written",
                    sound.len()
                )));
        }
        sound.truncate(usize::try_from(pages).unwrap_or(usize::MAX));
        Ok(sound)
    }

    fn write_again(&self, pages: u64) -> Result<(), Error> {
        let failed = |error: io::Error| from_io("write the log again", &self.log, &error);
        let mut file = match OpenOptions::new().read(true).write(true).open(&self.log) {
            // Nothing was left in it, so nothing was lost.
            Err(error) if pages == 0 && error.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        self.all_of(&bytes, pages)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)
    }
}

/// One page in a log.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    page: u32,
    /// Pages of the file with it, where it is the last of a commit; else 0.
    size: u32,
    content: &'a [u8],
}

/// The frames of a log that are as SQLite wrote them, from its beginning.
fn frames(log: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let Some((header, mut rest)) = log.split_at_checked(HEADER) else { return frames };
    let number = |bytes: &[u8], at: usize| -> u32 {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map_or(0, u32::from_be_bytes)
    };
    let order = match number(header, 0) {
        MAGIC => u32::from_le_bytes,
        magic if magic == MAGIC + 1 => u32::from_be_bytes,
        _ => return frames,
    };
    let page = number(header, 8) as usize;
    let (summed, _) = header.split_at(24);
    let mut sum = add([0, 0], summed, order);
    if page == 0 || sum != [number(header, 24), number(header, 28)] {
        return frames;
    }
    while let Some((frame, left)) = rest.split_at_checked(FRAME_HEADER + page) {
        let (head, content) = frame.split_at(FRAME_HEADER);
        let (place, _) = head.split_at(8);
        sum = add(add(sum, place, order), content, order);
        let is_of_this_log = head.get(8..16) == header.get(16..24);
        if !is_of_this_log || sum != [number(head, 16), number(head, 20)] {
            break;
        }
        frames.push(Frame { page: number(head, 0), size: number(head, 4), content });
        rest = left;
    }
    frames
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

    use crate::error::from_driver;

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
        let pages = keeper::wal(&connection, Checkpoint::Noop).unwrap().pages;
        let doubt = Doubt::of(&path);
        let log = fs::read(&doubt.log).unwrap();
        assert!(20 < pages);
        assert_eq!(frames(&log).len() as u64, pages);
        for (at, sound) in [(0, 0), (30, 0), (HEADER + 5, 0), (HEADER + 4120 * 7 + 100, 7)] {
            let mut torn = log.clone();
            torn[at] ^= 1;
            assert_eq!(frames(&torn).len(), sound, "{at}");
        }
        assert_eq!(frames(&log[..log.len() - 1]).len() as u64, pages - 1);
        assert!(frames(b"").is_empty());
        doubt.settle(Some(pages)).unwrap();
        assert_eq!(fs::read(&doubt.log).unwrap(), log);
        let more = doubt.settle(Some(pages + 1)).unwrap_err();
        assert_eq!(more.kind(), ErrorKind::Corrupt, "{more}");
    }

    #[test]
    fn what_was_copied_before_a_flush_failed_is_copied_once_more() {
        let place = TempDir::new("doubt").unwrap();
        let (path, options) = (place.join("x.db"), StoreOptions::new());
        let connection = Connection::open(&path).unwrap();
        let sql = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                   CREATE TABLE t(x); INSERT INTO t VALUES (0);";
        connection.execute_batch(sql).unwrap();
        keeper::wal(&connection, Checkpoint::Truncate).unwrap();
        let doubt = Doubt::of(&path);
        let file = HeaderFile::open_to_write(&path).unwrap();
        for number in 1..20 {
            let old = bytes_of(&place, &path);
            connection.execute("UPDATE t SET x = x + 1", []).unwrap();
            connection.execute("INSERT INTO t VALUES (?1)", [vec![7; 3000]]).unwrap();
            keeper::wal(&connection, Checkpoint::Passive).unwrap();
            let new = bytes_of(&place, &path);
            assert_ne!(old, new);
            // The disk never took it, and what it has is what is read.
            file.write(&old, 0).unwrap();
            doubt.note(&of_flush());
            doubt.settle_alone(&connection).unwrap();
            assert!(doubt.is_of_file() && !doubt.is_there());
            assert_eq!(doubt.settle_file(&connection, &options).unwrap(), Settled::Yes);
            assert!(!doubt.is_of_file());
            assert!(bytes_of(&place, &path) == new, "what is written again is what was copied");
            let read = "SELECT max(x) FROM t WHERE typeof(x) = 'integer'";
            let read: i64 = connection.query_row(read, [], |row| row.get(0)).unwrap();
            assert_eq!(read, number);
        }
    }

    #[test]
    fn what_somebody_reads_is_not_written_over() {
        let place = TempDir::new("doubt").unwrap();
        let (path, options) = (place.join("x.db"), StoreOptions::new());
        let connection = Connection::open(&path).unwrap();
        let sql = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x);";
        connection.execute_batch(sql).unwrap();
        let doubt = Doubt::of(&path);
        let reader = Connection::open(&path).unwrap();
        let count = |of: &Connection| -> i64 {
            of.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
        };
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(count(&reader), 0);
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        doubt.note(&of_flush());
        assert_eq!(doubt.settle_file(&connection, &options).unwrap(), Settled::NotYet);
        assert!(doubt.is_of_file());
        assert_eq!((count(&reader), count(&connection)), (0, 1));
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(doubt.settle_file(&connection, &options).unwrap(), Settled::Yes);
        assert_eq!((count(&reader), count(&connection)), (1, 1));
    }

    fn of_flush() -> Error {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        from_driver("write", "x.db", &rusqlite::Error::SqliteFailure(code, None))
    }

    /// The bytes of the file, read by another process: it has no locks here to lose.
    fn bytes_of(place: &TempDir, path: &std::path::Path) -> Vec<u8> {
        let copy = place.join("copy");
        let status = std::process::Command::new("cp").arg(path).arg(&copy).status().unwrap();
        assert!(status.success());
        fs::read(copy).unwrap()
    }
}
