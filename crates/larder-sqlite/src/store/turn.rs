//! Whose turn it is: a corrupt store is replaced by one process, while the others wait to open it.
//!
//! Apart from SQLite's locks, because these end with the file that is moved away. The lock is on
//! the witness, which every store has and which stays where it is. **Invariant**: nobody opens the
//! file of a store while it is replaced, and nobody replaces one without having seen, in its own
//! turn, that it is still corrupt.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use larder_core::{Error, ErrorKind};

use super::{options::StoreOptions, witness};

/// How long one waits before asking again. It is waited for as long as copying a backup takes.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock, given back when it is dropped; nothing where there is no witness, and so no store that
/// could be replaced, or where files cannot be locked.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "it holds the lock")] Option<File>);

impl Turn {
    /// To open the store at `path`, together with others who open it. Blocks.
    ///
    /// # Errors
    /// `Unavailable` when somebody replaces it for too long.
    pub(crate) fn to_open(path: &Path, options: &StoreOptions) -> Result<Self, Error> {
        Self::wait(path, options, File::try_lock_shared)
    }

    /// To replace the store at `path`, while nobody else opens or replaces it. Blocks.
    ///
    /// # Errors
    /// `Unavailable` when somebody else replaces it for too long.
    pub(crate) fn to_replace(path: &Path, options: &StoreOptions) -> Result<Self, Error> {
        Self::wait(path, options, File::try_lock)
    }

    fn wait(
        path: &Path,
        options: &StoreOptions,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, Error> {
        // Where a locked file cannot be written by others, the witness could not be.
        if !cfg!(unix) {
            return Ok(Self(None));
        }
        let opened = OpenOptions::new().read(true).open(witness::path_of(path));
        let Ok(file) = opened else { return Ok(Self(None)) };
        let mut left = options.busy;
        loop {
            match lock(&file) {
                Ok(()) => return Ok(Self(Some(file))),
                Err(TryLockError::Error(_)) => return Ok(Self(None)),
                Err(TryLockError::WouldBlock) if left.is_zero() => {
                    let waited = options.busy;
                    return Err(Error::new(ErrorKind::Unavailable, "open the store")
                        .subject(path.display().to_string())
                        .detail(format!("another process replaces it for more than {waited:?}")));
                }
                Err(TryLockError::WouldBlock) => {
                    let pause = PAUSE.min(left);
                    thread::sleep(pause);
                    left -= pause;
                }
            }
        }
    }
}
