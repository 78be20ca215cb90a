//! Where the demo keeps its files.
//!
//! The system's temporary directory is shared by all users. **Invariant**: the demo only uses a
//! directory that belongs to whoever runs it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The directory, whether or not it is there.
pub(super) fn directory(wanted: Option<&Path>) -> Result<PathBuf> {
    let dir = match wanted {
        Some(dir) => dir.to_owned(),
        None => std::env::temp_dir().join(own_name()),
    };
    check_owner(&dir)?;
    Ok(dir)
}

/// The directory, made if need be.
pub(super) fn prepare(wanted: Option<&Path>) -> Result<PathBuf> {
    let dir = directory(wanted)?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    check_owner(&dir)?;
    Ok(dir)
}

#[cfg(unix)]
fn own_name() -> String {
    format!("larder-demo-{}", rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn own_name() -> String {
    "larder-demo".to_owned()
}

#[cfg(unix)]
fn check_owner(dir: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let Ok(found) = std::fs::symlink_metadata(dir) else { return Ok(()) };
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own || !found.is_dir() {
        bail!("{} is not a directory of yours; choose another with --dir", dir.display());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_: &Path) -> Result<()> {
    Ok(())
}

/// Whether the program `sqlite3` can be called.
pub(super) fn has_sqlite3() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("sqlite3").is_file())
}
