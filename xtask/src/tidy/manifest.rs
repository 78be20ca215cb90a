//! Checks on the manifests of the crates: who may depend on whom, and what each must say.

use toml::{Table, Value};

use super::Trouble;
use crate::workspace::File;

/// Which crates of this workspace each crate may use: the drawing of `ARCHITECTURE.md` as data.
const ARROWS: &[(&str, &[&str])] = &[
    ("larder-core", &[]),
    ("larder-memory", &["larder-core"]),
    ("larder-sqlite", &["larder-core"]),
    ("larder-macros", &[]),
    ("larder", &["larder-core", "larder-macros", "larder-memory", "larder-sqlite", "larder-table"]),
    ("larder-table", &["larder-core", "larder-macros", "larder-sqlite"]),
    ("larder-server", &["larder", "larder-core", "larder-sqlite", "larder-table"]),
    (
        "larder-testkit",
        &["larder", "larder-core", "larder-memory", "larder-sqlite", "larder-table"],
    ),
    ("xtask", &[]),
];

/// They stand beside the building and may look into every window.
const FREE: &[&str] = &["larder-allocations", "larder-bench", "larder-examples"];

/// What every crate may use in its tests.
const FOR_TESTS: &str = "larder-testkit";

/// Dependencies that only some crates may name, and the reason.
const DRIVERS: &[(&[&str], &[&str], &str)] = &[
    (
        &["axum", "hyper", "hyper-util", "http", "http-body-util", "tower", "tower-http", "clap"],
        &["larder-server"],
        "only the server knows HTTP and the command line",
    ),
    (
        &["rusqlite", "libsqlite3-sys"],
        &["larder-sqlite", "larder-server", "larder-testkit"],
        "only a backend names its driver",
    ),
    (
        &["tokio"],
        &["larder", "larder-sqlite", "larder-table", "larder-server", "larder-testkit"],
        "decisions and data structures have no runtime",
    ),
];

/// What a crate is reached through by its users, and so by its tests.
const TESTED_THROUGH: &[(&str, &str)] = &[("larder-macros", "larder")];

/// A crate of the workspace: its name, its manifest, and where that is.
struct Crate<'a> {
    name: String,
    path: &'a str,
    manifest: Table,
}

/// Crates depend only on crates below them.
pub(super) fn arrows(files: &[File]) -> Vec<Trouble> {
    let crates = crates(files);
    let own: Vec<&str> = crates.iter().map(|member| member.name.as_str()).collect();
    let mut found = Vec::new();
    for member in &crates {
        if FREE.contains(&member.name.as_str()) {
            continue;
        }
        let arrow = ARROWS.iter().find(|(name, _)| *name == member.name);
        let Some((_, allowed)) = arrow else {
            let message = format!("give `{}` its line in ARROWS of tidy/manifest.rs", member.name);
            found.push((member.path.to_owned(), 1, message));
            continue;
        };
        for (section, dependency) in dependencies(&member.manifest) {
            let is_own = own.contains(&dependency) || ARROWS.iter().any(|(n, _)| *n == dependency);
            let is_face = TESTED_THROUGH.contains(&(member.name.as_str(), dependency));
            let is_for_tests =
                section == "dev-dependencies" && (dependency == FOR_TESTS || is_face);
            if is_own && !is_for_tests && !allowed.contains(&dependency) {
                let name = &member.name;
                let message = format!(
                    "`{name}` must not use `{dependency}`: move what it needs further down"
                );
                found.push((member.path.to_owned(), 1, message));
            }
        }
    }
    found
}

/// A driver is named only by the crates that are there for it.
pub(super) fn drivers(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for Crate { name, path, manifest } in crates(files) {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        for (section, dependency) in dependencies(&manifest) {
            if section == "dev-dependencies" && name != "larder-core" {
                continue;
            }
            for (drivers, users, reason) in DRIVERS {
                if drivers.contains(&dependency) && !users.contains(&name.as_str()) {
                    let message = format!("`{name}` must not use `{dependency}`: {reason}");
                    found.push((path.to_owned(), 1, message));
                }
            }
        }
    }
    found
}

/// Every crate says in one line what it is.
pub(super) fn description(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for Crate { name, path, manifest } in crates(files) {
        let package = manifest.get("package");
        let text = package.and_then(|package| package.get("description")).and_then(Value::as_str);
        if text.is_none_or(|text| text.trim().is_empty()) {
            let message = format!("give `{name}` a `description` of one line");
            found.push((path.to_owned(), 1, message));
        }
    }
    found
}

/// Every crate takes the lints of the workspace.
pub(super) fn lints(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for Crate { name, path, manifest } in crates(files) {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints != Some(&Value::Boolean(true)) {
            let message = format!("add `[lints]` with `workspace = true` to `{name}`");
            found.push((path.to_owned(), 1, message));
        }
    }
    found
}

fn crates(files: &[File]) -> Vec<Crate<'_>> {
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let named = manifests.filter_map(|file| {
        let manifest: Table = file.text.parse().ok()?;
        let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
        Some(Crate { name, path: &file.path, manifest })
    });
    named.collect()
}

/// Each dependency with the section it stands in, those of single platforms included.
pub(super) fn dependencies(manifest: &Table) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flatten().filter_map(|(_, value)| value.as_table());
    for table in platforms.chain([manifest]) {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, entry)| {
                let real = entry.get("package").and_then(Value::as_str);
                (section, real.unwrap_or(name))
            }));
        }
    }
    found
}
