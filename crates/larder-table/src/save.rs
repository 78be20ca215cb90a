//! Save: what a table holds as a file, from which a later process begins.
//!
//! Apart from `restore`, which believes it. **Invariant**: a file has everything that was told up
//! to the position that stands in it, and there is never half of one under its name.
//!
//! # Implementation notes
//!
//! What is written is one snapshot, and where the feed stood *in the lock under which it was
//! published*. Were they read one after the other:
//!
//! 1. The snapshot is read: it shows what was told up to position 7.
//! 2. The feed tells of position 8, which is shown.
//! 3. The feed's place is read: the mark behind 8. A feed that goes on there tells of 9 and later.
//!    The change of position 8 is in neither the file nor what is told after, for ever.
//!
//! A place before the content would do no harm: what is told again is put in place of itself, or
//! loaded again. What is in doubt is in the content as it was before, so nothing may be in doubt:
//! it is loaded first. What was told and is not shown yet is not in the content, and the place
//! that goes with it is before that (`place`).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{Error, ErrorKind, Key, KeyEncoder, Position, feed::Mark};
use parking_lot::{Condvar, Mutex};

use crate::{
    codec::Codec,
    index::IndexKey,
    kept::{self, Described, Head},
    lane::typed,
    ranges::Ranges,
    record::Record,
    snapshot::Snapshot,
    table::Table,
};

/// How often what is in doubt is loaded before it is said that changes come too fast. Each time
/// only those are loaded that came during the last one, so a few are enough where it can end.
const TRIES: usize = 16;

/// The paths that are written to, so that two saves to one path do not write through each other.
static WRITING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Rung when one of them is written.
static WRITTEN: Condvar = Condvar::new();

/// The turn of a save at a path, until it is dropped.
struct Turn(PathBuf);

impl Turn {
    /// Waits for those that came before, on a thread where that may wait.
    fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default();
        // However the directory is spelled.
        let path = directory(path).canonicalize()?.join(name);
        let mut writing = WRITING.lock();
        while !writing.insert(path.clone()) {
            WRITTEN.wait(&mut writing);
        }
        Ok(Self(path))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        WRITING.lock().remove(&self.0);
        WRITTEN.notify_all();
    }
}

/// A snapshot of which nothing is in doubt, and where it stands.
struct Whole<R> {
    snapshot: Arc<Snapshot<R>>,
    position: Position,
    mark: Mark,
}

impl<R: Record, W: IndexKey + Key> Table<R, W> {
    /// Writes what the table holds to a file at `path`, for [`Table::restore`]; what is in doubt is
    /// loaded again first. Returns how many records those are. Reads and changes go on meanwhile,
    /// and what comes after the beginning of the write is not in it: a later process is told of
    /// that by its feed.
    ///
    /// It is written aside, at `path` with `-aside` behind it, flushed, and put in place in one
    /// step: whatever happens, `path` has this content or what it had before. No other process may
    /// write there.
    ///
    /// # Freshness
    /// What is invalidated by hand, with [`Table::invalidation`], is known to this process only:
    /// what is invalidated after a save is in the file as it was. Save after it, or do not restore.
    ///
    /// # Errors
    /// `Config` when the table follows no feed: nobody could ever prove that the file is right.
    /// `Unsupported` when the feed has no places from which it can go on (SQLite in `database`
    /// mode; a branch of a [`larder_core::fork::Fork`] may have one only after the next change), or
    /// keys of the window cannot be read back. `Timeout` when the table is not loaded in time.
    /// `Conflict` when changes come faster than they can be loaded. Those of the loaders and the
    /// feed; `Unavailable` when the file cannot be written. Nothing was written then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it may still write the file, whole.
    pub async fn save(&self, path: impl AsRef<Path>, codec: &Codec<R>) -> Result<usize, Error> {
        self.expect_own("write the file of table")?;
        self.loaded().await?;
        let Some(followed) = self.0.followed.get() else {
            return Err(self.not_saved(
                ErrorKind::Config,
                "it follows no feed, so that nobody could \
                tell whether a file of it is still right; let it follow one, or load it each time",
            ));
        };
        let described = self.described(followed.timeline(), followed.said(), codec);
        let whole = self.whole().await?;
        let window = whole.snapshot.window.as_deref().expect("a loaded table has a window");
        let window: Ranges<W> = typed::<W>(window).clone();
        let count = whole.snapshot.content.len();
        let (position, mark) = (whole.position, whole.mark.bytes);
        let head = Head { window, position, mark, count: count as u64 };
        head.check(&described)?;
        let (path, codec) = (path.as_ref().to_owned(), codec.clone());
        let about = format!("`{}` at {}", self.name(), path.display());
        let write = move || {
            let _turn = Turn::at(&path)?;
            let tree = &whole.snapshot.content.primary().tree;
            let records = tree.rows(0, tree.len()).map(|(_, record)| &**record);
            write_aside(&path, |out| kept::write(out, &described, &head, records, &codec))?;
            put_in_place(&path)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, WRITE).subject(about).source(error)
        };
        match written.map_err(io::Error::other) {
            Ok(Ok(())) => Ok(count),
            Ok(Err(error)) | Err(error) => Err(failed(error)),
        }
    }

    async fn whole(&self) -> Result<Whole<R>, Error> {
        for _ in 0..TRIES {
            self.catch_up().await?;
            self.refresh_invalid().await?;
            if let Some(whole) = self.whole_now()? {
                return Ok(whole);
            }
        }
        Err(self.not_saved(
            ErrorKind::Conflict,
            "changes come faster than what they put in doubt can be loaded; nothing was written; \
             try again when there are fewer",
        ))
    }

    /// The snapshot and its place, unless something is in doubt.
    fn whole_now(&self) -> Result<Option<Whole<R>>, Error> {
        // LOCKS: under the one that both are changed under.
        let recent = self.0.publishing.lock();
        let snapshot = self.snapshot();
        if !snapshot.marks.is_empty() {
            return Ok(None);
        }
        let shown = recent.places.shown().filter(|(_, mark)| mark.place.is_some()).cloned();
        let (position, mark) = shown.ok_or_else(|| {
            self.not_saved(
                ErrorKind::Unsupported,
                "its feed has no place from which a later one could go on; with SQLite, track rows \
                 with `larder track`",
            )
        })?;
        Ok(Some(Whole { snapshot, position, mark }))
    }

    /// All by which a file is known to be of this table.
    pub(crate) fn described(
        &self,
        timeline: &str,
        rules: &[Arc<str>],
        codec: &Codec<R>,
    ) -> Described {
        Described::new([
            // What another one shows of the same may have been mended since.
            ("the versions of larder", bytes(env!("CARGO_PKG_VERSION"))),
            ("the names of the tables", bytes(self.name())),
            ("their indexes", names(&self.lane_names())),
            ("the indexes of their windows", bytes(self.0.window.name())),
            ("the timelines that they follow", bytes(timeline)),
            ("the rules by which they do", names(rules)),
            ("the codecs of their records", codec.called().into()),
        ])
    }

    /// All by which the table of another process is known to have the same records and orders.
    pub(crate) fn described_to_others(&self, codec: &Codec<R>) -> Described {
        Described::new([
            ("their indexes", names(&self.lane_names())),
            ("the indexes of their windows", bytes(self.0.window.name())),
            ("the codecs of their records", codec.called().into()),
        ])
    }

    fn lane_names(&self) -> Vec<Arc<str>> {
        self.0.lanes.iter().map(|lane| lane.name().into()).collect()
    }

    #[cold]
    fn not_saved(&self, kind: ErrorKind, detail: &'static str) -> Error {
        Error::new(kind, WRITE).subject(format!("`{}`", self.name())).detail(detail)
    }
}

fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn names(names: &[Arc<str>]) -> Arc<[u8]> {
    let mut encoder = KeyEncoder::new(0);
    names.to_vec().encode(&mut encoder);
    encoder.finish().as_slice().into()
}

const WRITE: &str = "write the file of table";

/// Where a file is written before it takes the place of the one at `path`.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-aside");
    name.into()
}

fn write_aside(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
) -> io::Result<()> {
    let mut out = write(BufWriter::new(File::create(aside(path))?))?;
    out.flush()?;
    out.get_ref().sync_all()
}

fn put_in_place(path: &Path) -> io::Result<()> {
    fs::rename(aside(path), path)?;
    // The name is in the directory, which is flushed by itself.
    if cfg!(unix) { File::open(directory(path))?.sync_all() } else { Ok(()) }
}

/// The directory of the file at `path`.
fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever was killed between the two steps has left the old file as it was.
    #[test]
    fn what_was_written_aside_is_not_there_until_it_is_put_in_place() {
        let directory = larder_testkit::temp::TempDir::new("table-save").unwrap();
        let path = directory.join("table.kept");
        let write = |bytes: &'static [u8]| {
            write_aside(&path, move |mut out| out.write_all(bytes).map(|()| out)).unwrap();
        };
        write(b"one");
        assert!(!path.exists());
        put_in_place(&path).unwrap();
        write(b"a longer one");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(b"two");
        put_in_place(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two", "what an earlier write left aside is gone");
    }
}
