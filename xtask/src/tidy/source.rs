//! Checks on the text of one Rust file at a time.

use super::{Trouble, is_test, rust, syntax};
use crate::workspace::File;

const COLUMNS_MAX: usize = 100;

/// Not counting tests inside the file. Aim for 80 to 250, split at 400.
const LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "helpers", "common", "misc", "types", "base", "manager"];

/// Reminders in comments, spelled so that this file holds none.
const REMINDERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Every file opens with inner documentation.
pub(super) fn module_docs(files: &[File]) -> Vec<Trouble> {
    let bare = rust(files).filter(|file| !file.text.starts_with("//!"));
    let message = "open the file with `//!`: what it is, why it exists, the invariant it keeps";
    bare.map(|file| (file.path.clone(), 1, message.to_owned())).collect()
}

/// No file is longer than one can hold in mind.
pub(super) fn file_length(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files).filter(|file| !is_test(&file.path)) {
        let lines = file.text.lines().count().saturating_sub(syntax::test_lines(file));
        if LINES_MAX < lines {
            let message = format!("{lines} lines, at most {LINES_MAX}: split it by noun");
            found.push((file.path.clone(), 1, message));
        }
    }
    found
}

/// No line is wider than the page.
pub(super) fn line_length(files: &[File]) -> Vec<Trouble> {
    each_line(files, |line| {
        let columns = line.chars().count();
        let message = format!("{columns} columns, at most {COLUMNS_MAX}: break the line");
        (COLUMNS_MAX < columns).then_some(message)
    })
}

/// Source holds no character that looks like another one.
pub(super) fn ascii(files: &[File]) -> Vec<Trouble> {
    each_line(files, |line| {
        let strange = line.chars().find(|character| !character.is_ascii())?;
        Some(format!("write {} as an escape or in plain words", strange.escape_unicode()))
    })
}

/// A reminder carries the number of the issue that will settle it.
pub(super) fn reminders(files: &[File]) -> Vec<Trouble> {
    each_line(files, |line| {
        let word = REMINDERS.iter().find(|word| holds_bare(line, word))?;
        Some(format!("do it now, or open an issue and write `{word}(#123)`"))
    })
}

fn holds_bare(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).unwrap_or_default();
        let after = line.get(start + word.len()..).unwrap_or_default();
        !before.ends_with(is_part) && !after.starts_with(is_part) && !after.starts_with("(#")
    })
}

/// A module is named after what it holds.
pub(super) fn module_names(files: &[File]) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files) {
        let path = file.path.trim_end_matches(".rs");
        let named = path.split('/').find(|part| EMPTY_NAMES.contains(part));
        let inline = file.text.lines().enumerate().filter_map(|(index, line)| {
            let name = line.trim().rsplit_once("mod ")?.1.trim_end_matches([' ', ';', '{']);
            EMPTY_NAMES.contains(&name).then_some((index + 1, name))
        });
        for (line, name) in named.map(|name| (1, name)).into_iter().chain(inline) {
            let message = format!("`{name}` says nothing: name the module after its noun");
            found.push((file.path.clone(), line, message));
        }
    }
    found
}

fn each_line(files: &[File], judge: impl Fn(&str) -> Option<String>) -> Vec<Trouble> {
    let mut found = Vec::new();
    for file in rust(files) {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(message) = judge(line) {
                found.push((file.path.clone(), index + 1, message));
            }
        }
    }
    found
}
