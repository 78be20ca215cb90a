//! `cargo xtask tidy`: the rules of `STYLE.md` that a program can check.
//!
//! The same checks run as a test of this crate, so `cargo test` cannot pass without them.
//! **Invariant**: each check is a pure function of the files, has a test that shows it fail on a
//! bad input, and names a heading of `STYLE.md` that exists.
//!
//! Read next: `tidy/source.rs` for what concerns one Rust file, `tidy/manifest.rs` for the arrows
//! between crates, `tidy/tree.rs` for what concerns the whole tree,
//! `tidy/requirements.rs` for what is promised.

use std::{fmt, process::ExitCode};

use anyhow::{Result, bail};

use crate::workspace::{self, File};

mod manifest;
mod requirements;
mod source;
mod syntax;
mod tree;

#[cfg(test)]
mod tests;

/// A rule that was broken, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    message: String,
    /// A heading of `STYLE.md`.
    rule: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, message, rule } = self;
        write!(f, "{path}:{line}: {message} (STYLE.md, \"{rule}\")")
    }
}

/// A check: the heading of its rule, and what it finds in the files.
struct Check {
    rule: &'static str,
    find: fn(&[File]) -> Vec<Trouble>,
}

/// A finding whose rule the check knows: path, line, message.
type Trouble = (String, usize, String);

const CHECKS: &[Check] = &[
    Check { rule: "A file says what it is", find: source::module_docs },
    Check { rule: "Functions and files have a size", find: source::file_length },
    Check { rule: "Functions and files have a size", find: syntax::function_length },
    Check { rule: "Lines end at 100 columns", find: source::line_length },
    Check { rule: "Rust source is ASCII", find: source::ascii },
    Check { rule: "Modules carry domain names", find: source::module_names },
    Check { rule: "Nothing is left for later in silence", find: syntax::unfinished },
    Check { rule: "Nothing is left for later in silence", find: source::reminders },
    Check { rule: "One word, one thing", find: syntax::glossary },
    Check { rule: "Arrows point downwards", find: manifest::arrows },
    Check { rule: "Arrows point downwards", find: manifest::drivers },
    Check { rule: "A crate introduces itself", find: manifest::description },
    Check { rule: "Lints are chosen and shared", find: manifest::lints },
    Check { rule: "A crate introduces itself", find: tree::architecture },
    Check { rule: "A dependency has a reason", find: tree::decisions },
    Check { rule: "A dependency has a reason", find: tree::unused_dependencies },
    Check { rule: "A promise is named by its tests", find: requirements::requirements },
    Check { rule: "Large files stay outside", find: tree::large_files },
];

/// Checks the tree and prints what it finds.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("tidy takes no arguments, but was given `{argument}`");
    }
    let findings = findings(&workspace::files()?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!("{count} places to mend"),
    }
}

fn findings(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &Check { rule, find } in CHECKS {
        let found = find(files).into_iter();
        findings.extend(found.map(|(path, line, message)| Finding { path, line, message, rule }));
    }
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings
}

/// The Rust files among `files`.
fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// Whether a file holds only tests; those may be long.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests") || path.ends_with("tests.rs")
}
