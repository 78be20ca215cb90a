//! The file that lines are written to, which appears as a whole or not at all.
//!
//! Apart from the lines, because what is there already must outlive every failure. **Invariant**:
//! under the name that was given there is what was there, or all lines, on the disk; and neither
//! name is ever that of the store or of a file that belongs to it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// What stands beside a store and belongs to it.
const OF_A_STORE: [&str; 6] = ["", "-wal", "-shm", "-journal", "-witness", "-corrupt"];

/// A file that is being written; the unfinished one is gone unless it was published.
pub(super) struct Outlet {
    /// `None` where it is written where it is, because it is no file: a pipe, a terminal.
    part: Option<PathBuf>,
    target: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Outlet {
    /// Begins to write what will be at `path`; `store` are the files that must not be written.
    pub(super) fn at(path: &Path, store: &[PathBuf]) -> Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        // A link goes on leading where it leads.
        let target = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            found => found.with_context(cannot)?,
        };
        let in_place = fs::metadata(&target).is_ok_and(|found| !found.is_file());
        let part = (!in_place).then(|| with(&target, ".part"));
        for own in [Some(&target), part.as_ref()].into_iter().flatten() {
            let is_of = |file: &PathBuf| {
                let values = with(file, "-values");
                own.parent().is_some_and(|place| is_same(place, &values))
                    || OF_A_STORE.iter().any(|suffix| is_same(own, &with(file, suffix)))
            };
            if store.iter().any(is_of) {
                bail!("{} belongs to the store itself; give another path", own.display());
            }
        }
        let file = match &part {
            Some(part) => File::create(part),
            None => fs::OpenOptions::new().write(true).open(&target),
        };
        Ok(Self { file: Some(BufWriter::new(file.with_context(cannot)?)), part, target })
    }

    pub(super) fn writer(&mut self) -> &mut dyn Write {
        self.file.as_mut().expect("it is taken by `publish` alone")
    }

    /// Gives the file its name, once all of it is on the disk.
    pub(super) fn publish(mut self) -> Result<()> {
        let cannot = || format!("cannot write {}", self.target.display());
        let file = self.file.take().expect("it is taken here alone");
        let file = file.into_inner().with_context(cannot)?;
        if let Some(part) = &self.part {
            file.sync_all().with_context(cannot)?;
            fs::rename(part, &self.target).with_context(cannot)?;
            self.part = None;
        }
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            // Whatever cannot be removed is named like what it is.
            let _ = fs::remove_file(part);
        }
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// Whether both lead to one file, by whatever names. Neither is opened: closing it again would drop
/// the locks of the store.
#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    one == other || identity(one).is_some_and(|one| Some(one) == identity(other))
}

#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}
