//! A Python of a peer's own, with the packages that it needs.
//!
//! They are installed into the target directory, once, so that nothing of the machine changes.
//! **Invariant**: an interpreter that is returned can import what was asked for.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The Python of the peer `name`; `packages` are installed if `import` cannot be imported.
pub(crate) fn interpreter(name: &str, packages: &[&str], import: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.parent().and_then(Path::parent).context("this is in no target directory")?;
    let home = target.join("peers").join(name);
    let python = home.join("bin").join("python");
    if !has(&python, import) {
        eprintln!("  installing {} for Python", packages.join(" and "));
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        made.context("Python 3 with its module `venv` is missing (Debian: python3-venv)")?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        let installed = run(install.args(packages));
        installed.with_context(|| format!("pip cannot install {}", packages.join(" and ")))?;
        ensure!(has(&python, import), "`{import}` was installed and cannot be imported");
    }
    Ok(python)
}

fn has(python: &Path, import: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {import}")]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}
