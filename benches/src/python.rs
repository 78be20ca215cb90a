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
use serde::de::DeserializeOwned;

/// The Python of the peer `name`; `packages` are installed if `import` cannot be imported.
pub(crate) fn interpreter(name: &str, packages: &[&str], import: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.parent().and_then(Path::parent).context("this is in no target directory")?;
    let home = target.join("peers").join(name);
    let python = home.join("bin").join("python");
    if !has(&python, import) {
        eprintln!("  making a Python for {name}: {}", packages.join(" and "));
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        made.context("Python 3 with its module `venv` is missing (Debian: python3-venv)")?;
        if packages.is_empty() {
            return Ok(python);
        }
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        let installed = run(install.args(packages));
        installed.with_context(|| format!("pip cannot install {}", packages.join(" and ")))?;
        ensure!(has(&python, import), "`{import}` was installed and cannot be imported");
    }
    Ok(python)
}

/// Seconds after which `timeout` ends a script.
const LIFE: &str = "300";

/// What `script` prints, which is one JSON object, when it is given `dir`.
pub(crate) fn answer<T: DeserializeOwned>(python: &Path, script: &str, dir: &Path) -> Result<T> {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIFE]).arg(python).args(["-c", script]).arg(dir);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the peer said something else")
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
