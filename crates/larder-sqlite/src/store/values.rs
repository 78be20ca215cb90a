//! The value files of a store that is open: new ones, and whose they are until a row names them.
//!
//! A process that is killed between a file and its row leaves the file. So each store that is open
//! is a *session* with a locked file of its own in the directory, and every name begins with the
//! number of its session: what belongs to a session that is over, and has no row, is garbage.
//! **Invariant**: a file is whole when it gets its name, and it is *flying* until its row was
//! written or given up; what is flying is nobody's garbage.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;

use super::{
    life,
    options::Durability,
    value_file::{Directory, Listed, Name, PART, Reference, lock_or_go_on},
};
use crate::{error::from_io, identity::Identity};

/// How often somebody may take the mark of a session away while it is made.
const ATTEMPTS: usize = 5;

/// Names that are remembered for the keeper: 64 KiB. What is not remembered is found by looking
/// through the directory.
const SETTLED_MAX: usize = 4096;

/// The value files of one store that is open.
#[derive(Debug)]
pub(crate) struct Values {
    directory: Directory,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    next: u64,
    flying: HashSet<Name>,
    settled: Vec<Name>,
    /// Whether the last flush of those that had not been flushed failed.
    flush_failed: bool,
}

/// A file that has its name, and waits for its row.
#[derive(Debug)]
pub(crate) struct Published {
    values: Arc<Values>,
    pub(crate) name: Name,
    pub(crate) reference: Reference,
    /// Whether it outlives a failure of power.
    pub(crate) flushed: Durability,
}

impl Published {
    /// Whether the file is where it was put.
    pub(crate) fn is_there(&self) -> bool {
        self.values.directory.path_of(self.name).exists()
    }
}

/// From here on the store says whether a row names it.
impl Drop for Published {
    fn drop(&mut self) {
        let mut state = self.values.state.lock();
        state.flying.remove(&self.name);
        if state.settled.len() < SETTLED_MAX {
            state.settled.push(self.name);
        }
    }
}

impl Values {
    /// Whether a flush failed, and no pass over all files has succeeded since.
    pub(crate) fn flush_failed(&self) -> bool {
        self.state.lock().flush_failed
    }

    /// Notes how a pass over all files ended that had not been flushed.
    pub(crate) fn note_flush(&self, flushed: &Result<(), Error>) {
        self.state.lock().flush_failed = flushed.is_err();
    }

    /// Those of the store at `path`. Makes nothing.
    pub(crate) fn of(path: &Path) -> Arc<Self> {
        Arc::new(Self { directory: Directory::of(path), state: Mutex::default() })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Writes `content` into a file of its own. Blocks.
    pub(crate) fn publish(
        self: &Arc<Self>,
        content: &[u8],
        durability: Durability,
    ) -> Result<Arc<Published>, Error> {
        let reference = Reference::of(content);
        self.publish_by(reference, durability, |name| {
            let path = self.directory.path_of(name);
            let aside = path.with_extension(PART);
            let written = File::create_new(&aside).and_then(|mut file| {
                file.write_all(content)?;
                if durability == Durability::Durable { file.sync_all() } else { Ok(()) }
            });
            written
                .and_then(|()| fs::rename(&aside, &path))
                .inspect_err(|_| drop(fs::remove_file(&aside)))
                .map_err(|error| from_io("write a value file", &path, &error))?;
            match durability {
                Durability::Durable => self.directory.flush_names(),
                Durability::Relaxed => Ok(()),
            }
        })
    }

    /// Takes over the file `from` of `source`, for a row that says `reference`. It is not flushed.
    pub(crate) fn take_over(
        self: &Arc<Self>,
        source: &Directory,
        from: Name,
        reference: Reference,
    ) -> Result<Arc<Published>, Error> {
        let take_over = |name| self.directory.take_over(source, from, name).map(drop);
        self.publish_by(reference, Durability::Relaxed, take_over)
    }

    fn publish_by(
        self: &Arc<Self>,
        reference: Reference,
        flushed: Durability,
        write: impl FnOnce(Name) -> Result<(), Error>,
    ) -> Result<Arc<Published>, Error> {
        let name = self.new_name()?;
        if let Err(error) = write(name) {
            self.directory.remove(name).ok();
            self.state.lock().flying.remove(&name);
            return Err(error);
        }
        Ok(Arc::new(Published { values: self.clone(), name, reference, flushed }))
    }

    /// A name that nobody has, for a file that begins to fly.
    fn new_name(&self) -> Result<Name, Error> {
        let mut state = self.state.lock();
        // The directory may have been moved away together with a corrupt store.
        if !state.session.as_ref().is_some_and(|session| session.path.exists()) {
            self.directory.make()?;
            (state.session, state.next) = (Some(Session::begin(&self.directory)?), 0);
        }
        let session = state.session.as_ref().map_or(0, |session| session.id);
        let name = Name { session, number: state.next };
        state.next += 1;
        state.flying.insert(name);
        Ok(name)
    }

    /// What a row was to be written for since this was asked last, and either was or was not.
    pub(crate) fn take_settled(&self) -> Vec<Name> {
        std::mem::take(&mut self.state.lock().settled)
    }

    /// Files that may have no row: those of sessions that are over, and of this one those that do
    /// not fly. What was only begun by sessions that are over is removed.
    pub(crate) fn strays(&self) -> Result<Vec<Name>, Error> {
        let listed = self.directory.list()?;
        // After the directory was read: what began to fly since was not seen.
        let (own, flying) = {
            let state = self.state.lock();
            (state.session.as_ref().map(|session| session.id), state.flying.clone())
        };
        let mut over = Over { directory: &self.directory, own, known: Vec::new() };
        let mut strays = Vec::new();
        for file in &listed {
            match *file {
                Listed::Whole(name) if Some(name.session) == own => {
                    strays.extend((!flying.contains(&name)).then_some(name));
                }
                Listed::Whole(name) if over.is(name.session) => strays.push(name),
                Listed::Part(name) if over.is(name.session) => {
                    let part = self.directory.path_of(name).with_extension(PART);
                    fs::remove_file(part).ok();
                }
                Listed::Session(id) => drop(over.is(id)),
                Listed::Whole(_) | Listed::Part(_) => {}
            }
        }
        Ok(strays)
    }
}

/// Which sessions are over.
struct Over<'a> {
    directory: &'a Directory,
    own: Option<u64>,
    known: Vec<(u64, bool)>,
}

impl Over<'_> {
    /// Whether the session `id` is; then its mark is taken away.
    fn is(&mut self, id: u64) -> bool {
        if let Some((_, is_over)) = self.known.iter().find(|(known, _)| *known == id) {
            return *is_over;
        }
        let is_over = self.own != Some(id) && Session::is_over(self.directory, id);
        self.known.push((id, is_over));
        is_over
    }
}

/// The mark of a store that is open: a file that is locked as long as its process lives.
#[derive(Debug)]
struct Session {
    id: u64,
    path: PathBuf,
    #[expect(dead_code, reason = "it holds the lock")]
    file: File,
}

impl Session {
    fn path_of(directory: &Directory, id: u64) -> PathBuf {
        directory.path().join(format!("{id:016x}.open"))
    }

    fn begin(directory: &Directory) -> Result<Self, Error> {
        for _ in 0..ATTEMPTS {
            let id = life::random()?;
            let path = Self::path_of(directory, id);
            let failed = |error| from_io("write a value file", &path, &error);
            let file = File::create_new(&path).map_err(failed)?;
            lock_or_go_on(file.lock()).map_err(failed)?;
            // Before it was locked, somebody may have taken it for the mark of one that is over.
            let own = file.metadata().map(|metadata| Identity::from_metadata(&metadata));
            if own.and_then(|own| own.is_at(&path)).unwrap_or(false) {
                return Ok(Self { id, path, file });
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "write a value file")
            .subject(directory.path().display().to_string())
            .detail("somebody else removes what is written there"))
    }

    fn is_over(directory: &Directory, id: u64) -> bool {
        let path = Self::path_of(directory, id);
        match File::open(&path) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(file) => match file.try_lock() {
                Ok(()) => fs::remove_file(&path).is_ok(),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            },
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
