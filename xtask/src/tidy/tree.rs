//! Checks on the tree as a whole: documents that must keep up with the code, and sizes.

use std::collections::HashSet;

use toml::{Table, Value};

use super::{Trouble, manifest};
use crate::workspace::{FILE_BYTES_MAX, File};

/// May be as large as it becomes: no person writes it.
const LARGE_ALLOWED: &[&str] = &["Cargo.lock"];

/// Every crate has its part in the codemap.
pub(super) fn architecture(files: &[File]) -> Vec<Trouble> {
    let map = text_of(files, "ARCHITECTURE.md");
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let Ok(manifest) = file.text.parse::<Table>() else { continue };
        let name = manifest.get("package").and_then(|package| package.get("name"));
        let Some(name) = name.and_then(Value::as_str) else { continue };
        if !map.contains(&format!("`{name}`")) {
            let message = format!("describe `{name}` in the codemap of ARCHITECTURE.md");
            found.push((file.path.clone(), 1, message));
        }
    }
    found
}

/// Every dependency of the workspace has its line in the decisions.
pub(super) fn decisions(files: &[File]) -> Vec<Trouble> {
    let decisions = text_of(files, "docs/decisions.md");
    let Ok(manifest) = text_of(files, "Cargo.toml").parse::<Table>() else { return Vec::new() };
    let workspace = manifest.get("workspace").and_then(|table| table.get("dependencies"));
    let mut found = Vec::new();
    for (name, entry) in workspace.and_then(Value::as_table).into_iter().flatten() {
        if entry.get("path").is_none() && !decisions.contains(&format!("`{name}`")) {
            let message = format!(
                "say in docs/decisions.md why `{name}` is here and what else was considered"
            );
            found.push(("Cargo.toml".to_owned(), 1, message));
        }
    }
    found
}

/// Nothing is declared that no crate asks for.
pub(super) fn unused_dependencies(files: &[File]) -> Vec<Trouble> {
    let Ok(root) = text_of(files, "Cargo.toml").parse::<Table>() else { return Vec::new() };
    let mut used = HashSet::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let Ok(manifest) = file.text.parse::<Table>() else { continue };
        used.extend(manifest::dependencies(&manifest).into_iter().map(|(_, n)| n.to_owned()));
    }
    let declared = root.get("workspace").and_then(|table| table.get("dependencies"));
    let declared = declared.and_then(Value::as_table).into_iter().flatten();
    declared
        .filter(|(name, entry)| entry.get("path").is_none() && !used.contains(*name))
        .map(|(name, _)| {
            let message = format!("no crate uses `{name}`: take the line out");
            ("Cargo.toml".to_owned(), 1, message)
        })
        .collect()
}

/// What is large is made, not committed.
pub(super) fn large_files(files: &[File]) -> Vec<Trouble> {
    let large = files.iter().filter(|file| FILE_BYTES_MAX < file.bytes);
    let large = large.filter(|file| !LARGE_ALLOWED.contains(&file.path.as_str()));
    large
        .map(|file| {
            let message = format!(
                "{} KiB, at most {}: let a test or `cargo xtask` make it",
                file.bytes / 1024,
                FILE_BYTES_MAX / 1024
            );
            (file.path.clone(), 1, message)
        })
        .collect()
}

fn text_of<'a>(files: &'a [File], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
}
