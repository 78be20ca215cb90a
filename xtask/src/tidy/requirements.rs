//! The list of requirements against the tests: nothing is promised that no test names.
//!
//! `docs/requirements.md` has a line for each id with the names of its tests. **Invariant**: an id
//! counts as tested only by a function that is marked as a test and has the id in its comment or at
//! its beginning, so that neither a renamed test nor a lost comment goes unnoticed.

use super::{Trouble, rust};
use crate::workspace::File;

/// The lists: how their ids begin, and how many there are. A new one needs its line here and a
/// table in the document.
const LISTS: &[(&str, usize)] =
    &[("M", 14), ("MD", 13), ("S", 23), ("SD", 20), ("SC", 11), ("T", 25), ("TD", 15)];

/// Ids that came between two others.
const BETWEEN: &[&str] = &["S16b"];

const DOCUMENT: &str = "docs/requirements.md";

/// Lines around the name of a test in which its ids stand: its comment, and its first lines.
const AROUND: usize = 4;

/// Every id has its line, and every test named there exists and names the id.
pub(super) fn requirements(files: &[File]) -> Vec<Trouble> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        return vec![(DOCUMENT.to_owned(), 1, "the list of requirements is gone".to_owned())];
    };
    let mut found = Vec::new();
    let tell = |line, message| (DOCUMENT.to_owned(), line, message);
    for id in ids() {
        let rows = document.text.lines().enumerate().filter_map(|(index, line)| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            (cells.next() == Some(&*id)).then(|| (index + 1, cells.nth(1).unwrap_or_default()))
        });
        let rows: Vec<(usize, &str)> = rows.collect();
        let [(line, tests)] = rows[..] else {
            let message = format!("{id} has {} lines; give it one", rows.len());
            found.push(tell(1, message));
            continue;
        };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            found.push(tell(line, format!("{id} names no test")));
        }
        for test in named {
            match lines_around(files, test) {
                None => found.push(tell(line, format!("no test is called `{test}`"))),
                Some(around) if !holds_word(&around, &id) => {
                    found.push(tell(line, format!("the test `{test}` does not name {id}")));
                }
                Some(_) => {}
            }
        }
    }
    found
}

/// All ids.
pub(super) fn ids() -> impl Iterator<Item = String> {
    let numbered = |(list, count): &(&'static str, usize)| {
        let list = *list;
        (1..=*count).map(move |number| format!("{list}{number}"))
    };
    LISTS.iter().flat_map(numbered).chain(BETWEEN.iter().map(|id| (*id).to_owned()))
}

/// The comment, attributes and first lines of the test with this name; where two crates have one,
/// of both.
fn lines_around(files: &[File], test: &str) -> Option<String> {
    let opening = format!("fn {test}(");
    let found = rust(files).filter_map(|file| {
        let lines: Vec<&str> = file.text.lines().collect();
        let place = lines.iter().position(|line| line.contains(&opening))?;
        let before = lines.get(..place)?.iter().rev();
        let before: Vec<&str> =
            before.take_while(|line| is_before_a_function(line)).copied().collect();
        let is_test = before.iter().any(|line| line.contains("#[") && line.contains("test"));
        let behind = lines.iter().skip(place).take(AROUND).copied();
        is_test.then(|| before.into_iter().chain(behind).collect::<Vec<_>>().join("\n"))
    });
    found.reduce(|one, other| one + "\n" + &other)
}

fn is_before_a_function(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("//") || line.starts_with("#[")
}

fn holds_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric()).any(|own| own == word)
}
