//! The database file's header, read past SQLite: what says "something may have been written" in
//! rollback-journal mode without taking a lock from the application.
//!
//! Bytes 18-19 tell the journal mode, bytes 24-39 are what SQLite itself compares to find that
//! another process wrote (the change counter first). **Invariant**: a descriptor of a database file
//! is never closed while the file has a name: POSIX drops *all* locks a process holds on a file as
//! soon as it closes *any* descriptor of it, SQLite's among them, and those of the application's
//! own connections in this process too.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;

use crate::identity::Identity;

/// Descriptors with which no other is opened only to flush a file. With ten times more, a process
/// that opens hundreds of stores has none left; with ten times less, some stores of one that is
/// divided are held up for longer.
const FLUSHED_MAX: usize = 64;

/// What the header said at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    version: [u8; 2],
    written: [u8; 16],
}

impl Header {
    /// Whether the file says that its changes go through a write-ahead log.
    pub(crate) fn is_wal(&self) -> bool {
        self.version == [2, 2]
    }
}

/// A database file open for looking at its header.
#[derive(Clone, Debug)]
pub(crate) struct HeaderFile {
    identity: Identity,
    file: Arc<File>,
}

/// Every descriptor this process ever opened on a database file that still has a name.
static OPEN: LazyLock<Mutex<Vec<HeaderFile>>> = LazyLock::new(Mutex::default);

/// Those of them by which a file can be written past SQLite.
static WRITABLE: LazyLock<Mutex<Vec<HeaderFile>>> = LazyLock::new(Mutex::default);

impl HeaderFile {
    /// The one descriptor of the file at `path`: the one that is open already, or a new one.
    ///
    /// Call it before SQLite opens the file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_among(&OPEN, path, OpenOptions::new().read(true))
    }

    /// The one descriptor by which the file at `path` can be written past SQLite; only for who
    /// holds whatever lock keeps SQLite from doing so.
    pub(crate) fn open_to_write(path: &Path) -> io::Result<Self> {
        Self::open_among(&WRITABLE, path, OpenOptions::new().read(true).write(true))
    }

    fn open_among(
        open: &Mutex<Vec<HeaderFile>>,
        path: &Path,
        options: &OpenOptions,
    ) -> io::Result<Self> {
        let mut open = open.lock();
        forget_unlinked(&mut open);
        let identity = Identity::of(path)?;
        if let Some(known) = open.iter().find(|known| known.identity == identity) {
            return Ok(known.clone());
        }
        let file = options.open(path)?;
        // The path may have led elsewhere in between. Then this descriptor is kept although there
        // is another one: two that stay open do no harm, one that is closed does.
        let identity = Identity::from_metadata(&file.metadata()?);
        let opened = Self { identity, file: Arc::new(file) };
        open.push(opened.clone());
        Ok(opened)
    }

    /// The same for flushing the file, while this process has fewer than `FLUSHED_MAX` of them:
    /// each stays open as long as its file has a name.
    pub(crate) fn open_to_flush(path: &Path) -> io::Result<Option<Self>> {
        let is_room = OPEN.lock().len() < FLUSHED_MAX;
        // Elsewhere who only reads may not flush.
        if is_room && cfg!(unix) { Self::open(path).map(Some) } else { Ok(None) }
    }

    /// Makes what was written into the file reach the disk, whoever wrote it.
    ///
    /// # Errors
    /// What was written may be lost, though a later flush of another descriptor succeeds.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes `bytes` at `place`.
    pub(crate) fn write(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(place))?;
        file.write_all(bytes)
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Reads the header; `None` while the file is still empty.
    ///
    /// # Cost
    /// One `pread` from the page cache, about 0.5 us.
    pub(crate) fn read(&self) -> io::Result<Option<Header>> {
        let mut bytes = [0; 40];
        let count = read_start(&self.file, &mut bytes)?;
        let version = bytes.get(18..20).and_then(|part| part.try_into().ok());
        let written = bytes.get(24..40).and_then(|part| part.try_into().ok());
        Ok(match (count, version, written) {
            (40, Some(version), Some(written)) => Some(Header { version, written }),
            _ => None,
        })
    }
}

/// Closes the descriptors that only the registry holds and whose file has no name any more.
///
/// Nobody can open such a file again, so nobody new can rely on a lock that this drops.
fn forget_unlinked(open: &mut Vec<HeaderFile>) {
    open.retain(|known| 1 < Arc::strong_count(&known.file) || has_name(&known.file));
}

#[cfg(unix)]
fn has_name(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    !matches!(file.metadata(), Ok(metadata) if metadata.nlink() == 0)
}

#[cfg(not(unix))]
fn has_name(_: &File) -> bool {
    true
}

#[cfg(unix)]
fn read_start(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, 0)
}

#[cfg(windows)]
fn read_start(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, 0)
}
