//! Programs that are not crates: is one there, and how to get it on Debian and its relatives.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::command;

/// Makes sure that `program` can be started, installing the Debian package `package` when missing.
///
/// # Errors
/// When the program is missing and cannot be installed; the message says what to type.
pub(crate) fn ensure_debian(package: &str, program: &str) -> Result<()> {
    ensure(package, program, || is_installed(program))
}

/// Makes sure that Python 3 is there and can make environments of its own, which Debian keeps apart
/// from it.
///
/// # Errors
/// As [`ensure_debian`].
pub(crate) fn ensure_python() -> Result<()> {
    ensure("python3-venv", "python3 -m venv", || {
        let mut python = Command::new("python3");
        python.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null());
        python.status().is_ok_and(|status| status.success())
    })
}

fn ensure(package: &str, what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    if !is_installed("apt-get") || !is_root()? {
        bail!(
            "`{what}` is missing; install it, on Debian and Ubuntu with \
             `sudo apt-get install {package}`"
        );
    }
    println!("`{what}` is missing: installing the package {package}");
    if install(package).is_err() {
        // The usual cause on a new machine is an empty or old package list.
        command::run(Command::new("apt-get").args(["-qq", "update"]))?;
        install(package)?;
    }
    match is_there() {
        true => Ok(()),
        false => bail!("the package {package} was installed and brought no `{what}`"),
    }
}

/// Whether `program` is found in the search path.
///
/// `/usr/sbin` is searched too: Debian keeps servers there and leaves it out of a user's path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.iter().any(|folder| folder.join(program).is_file())
}

fn install(package: &str) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "install", "--yes", "--no-install-recommends", package]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // Keeps a package that brings a service from starting it: we start our own, with our settings.
    apt.env("RUNLEVEL", "1");
    command::run(&mut apt)
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = Path::new("/proc/self");
    let owner = own.metadata().context("failed to find out which user this is")?.uid();
    Ok(owner == 0)
}
