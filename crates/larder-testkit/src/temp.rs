//! A directory that is gone when the test is.
//!
//! Over std only, because nothing else here needs a crate for it. **Invariant**: two directories
//! never have the same path, in this process or another.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A temporary directory, removed when dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

static COUNT: AtomicU64 = AtomicU64::new(0);

impl TempDir {
    /// A new empty directory whose name begins with `larder-` and `purpose`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(purpose: &str) -> io::Result<Self> {
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("larder-{purpose}-{}-{count}", process::id());
            let path = env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Left behind by a process that had our id before us.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is the system's to clean up, not the test's to fail.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::TempDir;

    #[test]
    fn a_directory_is_there_until_it_is_dropped() {
        let (one, two) = (TempDir::new("test").unwrap(), TempDir::new("test").unwrap());
        assert_ne!(one.path(), two.path());
        std::fs::write(one.join("file"), "content").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().exists());
    }
}
