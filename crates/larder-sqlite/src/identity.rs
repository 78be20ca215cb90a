//! The identity of the file behind a path: what a rename over it changes and nothing else does.
//!
//! A connection goes on reading the file it opened, even when the path has led elsewhere for hours:
//! then neither `data_version` nor the header ever moves. **Invariant**: the path is only looked
//! up, never opened, because closing a second descriptor would drop SQLite's locks on the file.

use std::{io, path::Path};

use larder_core::safeguard::Safeguard;

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of the file that `path` leads to now.
    ///
    /// # Cost
    /// One `stat`, about 1 us.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from_metadata(&metadata))
    }

    #[cfg(unix)]
    pub(crate) fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Elsewhere the time of creation has to do: a copy that keeps it is not noticed.
    #[cfg(not(unix))]
    pub(crate) fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        let created = metadata.created().ok();
        let since = created.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let nanos = since.map_or(0, |since| since.as_nanos());
        Self { device: 0, inode: u64::try_from(nanos).unwrap_or(u64::MAX) }
    }

    /// This identity as numbers, to be kept.
    pub(crate) fn numbers(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The identity that has these numbers.
    pub(crate) fn of_numbers(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    /// Whether `path` still leads to this file.
    pub(crate) fn is_at(self, path: &Path) -> io::Result<bool> {
        if Safeguard::InodeCompared.is_off() {
            return Ok(true);
        }
        Ok(Self::of(path)? == self)
    }
}
