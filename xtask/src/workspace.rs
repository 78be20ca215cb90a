//! The tree that all verbs work on: its root, its files, and the targets cargo sees in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// Files above this are not read: none is allowed in the tree, and the size alone tells.
pub(crate) const FILE_BYTES_MAX: u64 = 200 * 1024;

/// A file of the tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    /// Contents; empty when larger than [`FILE_BYTES_MAX`] or not text.
    pub(crate) text: String,
    /// Length in bytes.
    pub(crate) bytes: u64,
}

/// Something that cargo can build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The package it belongs to.
    pub(crate) package: String,
    /// `bin`, `test`, `example`, ...
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

/// The root of the workspace.
///
/// Cargo says where this crate is each time it starts it; what was true at build time may not be,
/// because a checkout can be moved together with what was built in it.
pub(crate) fn root() -> PathBuf {
    let now = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = now.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    own.parent().expect("xtask lies inside the workspace").to_owned()
}

/// New files with these endings are looked at before they are committed; others may be anything.
const SOURCE: &[&str] = &[".rs", ".toml", ".md"];

/// All committed files, and new source files that are not ignored, sorted by path.
pub(crate) fn files() -> Result<Vec<File>> {
    let mut paths = match listed_by_git() {
        Some(paths) => paths,
        // An unpacked archive has no git; then there is nothing in it that was not committed.
        None => walked(&root(), "")?,
    };
    paths.sort();
    paths.dedup();
    paths.into_iter().filter_map(|path| read(path).transpose()).collect()
}

fn listed_by_git() -> Option<Vec<String>> {
    let mut paths = git_files(&["--cached"])?;
    let new = git_files(&["--others", "--exclude-standard"])?.into_iter();
    paths.extend(new.filter(|path| SOURCE.iter().any(|ending| path.ends_with(ending))));
    (!paths.is_empty()).then_some(paths)
}

fn git_files(which: &[&str]) -> Option<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z"]).args(which).current_dir(root());
    let output = git.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.split_terminator('\0').map(str::to_owned).collect())
}

fn walked(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("failed to list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type()?.is_dir() {
            true if name == "target" || name == ".git" => {}
            true => paths.extend(walked(&entry.path(), &format!("{path}/"))?),
            false => paths.push(path),
        }
    }
    Ok(paths)
}

/// Reads one file; `None` when it was listed but is gone from the disk.
fn read(path: String) -> Result<Option<File>> {
    let full = root().join(&path);
    let Ok(metadata) = fs::metadata(&full) else { return Ok(None) };
    if !metadata.is_file() {
        return Ok(None);
    }
    let bytes = metadata.len();
    let text = match FILE_BYTES_MAX < bytes {
        true => String::new(),
        false => {
            let contents = fs::read(&full).with_context(|| format!("failed to read {path}"))?;
            String::from_utf8(contents).unwrap_or_default()
        }
    };
    Ok(Some(File { path, text, bytes }))
}

/// What cargo knows of the workspace itself, without its dependencies.
pub(crate) fn metadata() -> Result<Value> {
    let mut cargo = command::cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    serde_json::from_slice(&command::output(&mut cargo)?)
        .context("failed to read what `cargo metadata` wrote")
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(metadata: &Value) -> Result<PathBuf> {
    let folder = metadata.get("target_directory").and_then(Value::as_str);
    folder.map(PathBuf::from).context("`cargo metadata` named no target directory")
}

/// Every target of every package of the workspace.
pub(crate) fn targets_in(metadata: &Value) -> Vec<Target> {
    let mut found = Vec::new();
    for package in items(metadata, "packages") {
        for target in items(package, "targets") {
            for kind in items(target, "kind") {
                found.push(Target {
                    package: text(package, "name"),
                    kind: kind.as_str().unwrap_or_default().to_owned(),
                    name: text(target, "name"),
                });
            }
        }
    }
    found
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_the_metadata_of_cargo() {
        let metadata = serde_json::json!({"packages": [{"name": "pantry", "targets": [
            {"name": "shelf", "kind": ["bin"]},
        ]}]});
        let target = Target { package: "pantry".into(), kind: "bin".into(), name: "shelf".into() };
        assert_eq!(targets_in(&metadata), [target]);
    }

    #[test]
    fn the_own_source_is_among_the_files() {
        let files = files().unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/workspace.rs"));
    }
}
