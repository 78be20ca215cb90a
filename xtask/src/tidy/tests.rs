//! Each check fails on a bad input and accepts a good one; the tree itself passes all.

use super::*;

type Find = fn(&[File]) -> Vec<Trouble>;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned(), bytes: text.len() as u64 }
}

/// The lines that `find` reports in one Rust file.
fn lines(find: Find, text: &str) -> Vec<usize> {
    let found = find(&[file("crates/pantry/src/shelf.rs", text)]);
    found.into_iter().map(|(_, line, _)| line).collect()
}

/// How many findings there are in the manifest of crate `name` with `rest` after its package.
fn in_manifest(find: Find, name: &str, rest: &str) -> usize {
    let text = format!("[package]\nname = \"{name}\"\n{rest}");
    find(&[file("crates/it/Cargo.toml", &text)]).len()
}

#[test]
fn the_workspace_is_tidy() {
    let findings = findings(&workspace::files().unwrap());
    let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "\n{}\n", shown.join("\n"));
}

#[test]
fn every_rule_is_a_heading_of_the_style_guide() {
    let files = workspace::files().unwrap();
    let style = files.iter().find(|file| file.path == "STYLE.md").unwrap();
    for Check { rule, .. } in CHECKS {
        let heading = format!("## {rule}");
        assert!(style.text.lines().any(|line| line == heading), "no heading `{heading}`");
    }
}

#[test]
fn a_finding_names_place_remedy_and_rule() {
    let found = findings(&[file("a.rs", "fn main() {}\n")]);
    let text = found.first().unwrap().to_string();
    assert!(text.starts_with("a.rs:1: open the file with `//!`"), "{text}");
    assert!(text.ends_with("(STYLE.md, \"A file says what it is\")"), "{text}");
}

#[test]
fn a_file_without_module_docs_is_found() {
    assert_eq!(lines(source::module_docs, "use std::fmt;\n//! Late.\n"), [1]);
    assert!(lines(source::module_docs, "//! A shelf.\n").is_empty());
}

#[test]
fn a_long_file_is_found_but_tests_do_not_count() {
    let code = "//! Shelf.\n".to_owned() + &"const A: u8 = 1;\n".repeat(795);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"// x\n".repeat(50) + "}\n";
    assert!(lines(source::file_length, &(code.clone() + &tests)).is_empty());
    assert_eq!(lines(source::file_length, &(code + &"// x\n".repeat(50))), [1]);
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let body = "    drop(1);\n".repeat(70);
    for (open, close) in [("", ""), ("impl A {\n", "}"), ("trait A {\n", "}"), ("mod a {\n", "}")] {
        let line = open.lines().count() + 1;
        let text = format!("{open}fn f() {{\n{body}}}\n{close}\n");
        assert_eq!(lines(syntax::function_length, &text), [line], "{open}");
    }
    let short = format!("fn f() {{\n{}}}\n", "    drop(1);\n".repeat(68));
    assert!(lines(syntax::function_length, &short).is_empty());
}

#[test]
fn a_wide_line_is_found() {
    let text = format!("// {}\n// {}\n", "x".repeat(97), "x".repeat(98));
    assert_eq!(lines(source::line_length, &text), [2]);
}

#[test]
fn a_character_outside_ascii_is_found() {
    assert_eq!(lines(source::ascii, "// plain\n// caf\u{e9}\n"), [2]);
}

#[test]
fn a_module_name_that_says_nothing_is_found() {
    assert_eq!(lines(source::module_names, "mod shelf;\npub mod utils;\nmod misc {\n"), [2, 3]);
    for path in ["crates/a/src/helpers.rs", "crates/a/src/common/shelf.rs"] {
        assert_eq!(source::module_names(&[file(path, "")]).len(), 1, "{path}");
    }
}

#[test]
fn unfinished_code_is_found_even_inside_a_macro() {
    let text = "fn f() {\n    assert!(todo!());\n    dbg!(1);\n}\n#[test]\n#[ignore]\nfn g() {}\n";
    let mut found = lines(syntax::unfinished, text);
    found.sort_unstable();
    assert_eq!(found, [2, 3, 6]);
    assert!(lines(syntax::unfinished, "// todo!()\nfn f() { g(\"dbg!\") }\n").is_empty());
}

#[test]
fn a_reminder_without_an_issue_is_found() {
    let word = concat!("TO", "DO");
    let text = format!("// {word}: later\n// {word}(#12): settled there\n// MY{word}S\n");
    assert_eq!(lines(source::reminders, &text), [1]);
}

#[test]
fn a_synonym_in_a_public_name_is_found() {
    let text = "pub fn purge_all() {}\nfn purge() {}\npub fn robust() {}\n\
                pub enum E {\n    CacheBusted,\n}\npub trait T {\n    fn bust(&self);\n}\n";
    let mut found = lines(syntax::glossary, text);
    found.sort_unstable();
    assert_eq!(found, [1, 5, 8]);
}

#[test]
fn an_arrow_that_points_upwards_is_found() {
    let find = manifest::arrows;
    assert_eq!(in_manifest(find, "larder-core", "[dependencies]\nlarder = {}"), 1);
    assert_eq!(in_manifest(find, "larder-memory", "[dependencies]\nlarder-sqlite = {}"), 1);
    assert_eq!(in_manifest(find, "larder", "[dependencies]\nlarder-testkit = {}"), 1);
    assert_eq!(in_manifest(find, "larder", "[dev-dependencies]\nlarder-testkit = {}"), 0);
    assert_eq!(in_manifest(find, "larder", "[dependencies]\nlarder-memory = {}"), 0);
    assert_eq!(in_manifest(find, "larder-bench", "[dependencies]\nlarder-testkit = {}"), 0);
    assert_eq!(in_manifest(find, "larder-macros", "[dependencies]\nlarder = {}"), 1);
    assert_eq!(in_manifest(find, "larder-macros", "[dev-dependencies]\nlarder = {}"), 0);
    assert_eq!(in_manifest(find, "larder-unknown", ""), 1);
}

#[test]
fn a_driver_in_the_wrong_crate_is_found() {
    let find = manifest::drivers;
    assert_eq!(in_manifest(find, "larder-core", "[dependencies]\ntokio = \"1\""), 1);
    assert_eq!(in_manifest(find, "larder-core", "[dev-dependencies]\nrusqlite = \"1\""), 1);
    assert_eq!(in_manifest(find, "larder", "[dependencies]\naxum = \"1\""), 1);
    assert_eq!(in_manifest(find, "larder", "[dependencies]\nweb = { package = \"http\" }"), 1);
    assert_eq!(in_manifest(find, "larder", "[target.unix.dependencies]\nrusqlite = \"1\""), 1);
    assert_eq!(in_manifest(find, "larder-sqlite", "[dependencies]\nrusqlite = \"1\""), 0);
    assert_eq!(in_manifest(find, "larder", "[dev-dependencies]\nrusqlite = \"1\""), 0);
}

#[test]
fn a_crate_without_description_or_lints_is_found() {
    assert_eq!(in_manifest(manifest::description, "larder", ""), 1);
    assert_eq!(in_manifest(manifest::description, "larder", "description = \"x\""), 0);
    assert_eq!(in_manifest(manifest::lints, "larder", ""), 1);
    assert_eq!(in_manifest(manifest::lints, "larder", "[lints]\nworkspace = true"), 0);
}

#[test]
fn a_crate_that_the_codemap_forgot_is_found() {
    let manifest = file("crates/larder-core/Cargo.toml", "[package]\nname = \"larder-core\"");
    let map = file("ARCHITECTURE.md", "## `larder-core`");
    assert_eq!(tree::architecture(std::slice::from_ref(&manifest)).len(), 1);
    assert_eq!(tree::architecture(&[manifest, map]).len(), 0);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let text = "[workspace.dependencies]\nanyhow = \"1\"\nlarder = { path = \"x\" }";
    let manifest = file("Cargo.toml", text);
    let decisions = file("docs/decisions.md", "| `anyhow` | why |");
    assert_eq!(tree::decisions(std::slice::from_ref(&manifest)).len(), 1);
    assert_eq!(tree::decisions(&[manifest, decisions]).len(), 0);
}

#[test]
fn a_dependency_that_no_crate_uses_is_found() {
    let root = file("Cargo.toml", "[workspace.dependencies]\nanyhow = \"1\"\ntoml = \"1\"");
    let user = "[package]\nname = \"a\"\n[dev-dependencies]\ntoml.workspace = true";
    let found = tree::unused_dependencies(&[root, file("crates/a/Cargo.toml", user)]);
    let messages: Vec<_> = found.into_iter().map(|(_, _, message)| message).collect();
    assert_eq!(messages, ["no crate uses `anyhow`: take the line out"]);
}

#[test]
fn a_requirement_that_no_test_names_is_found() {
    let row = |id: &str, test: &str| format!("| {id} | what | `{test}` |\n");
    let ids: Vec<String> = requirements::ids().collect();
    let document = ids.iter().map(|id| row(id, "it_holds")).collect::<String>();
    let test = |named: &str| {
        file("crates/a/tests/it.rs", &format!("/// {named}.\n#[test]\nfn it_holds() {{}}\n"))
    };
    let found = |document: &str, test: File| {
        let files = [file("docs/requirements.md", document), test];
        let found = requirements::requirements(&files).into_iter();
        found.map(|(_, _, message)| message).collect::<Vec<_>>()
    };
    assert_eq!(found(&document, test(&ids.join(", "))), [""; 0]);
    let unnamed = found(&document, test(&ids[1..].join(", ")));
    assert_eq!(unnamed, ["the test `it_holds` does not name M1"]);
    let renamed = found(&document.replacen("it_holds", "it_held", 1), test(&ids.join(", ")));
    assert_eq!(renamed, ["no test is called `it_held`"]);
    let bare = file("crates/a/tests/it.rs", "// M1\nfn it_holds() {}\n");
    assert_eq!(found(&document, bare).len(), ids.len(), "it is no test");
    let lost = found(&document.replacen("| M1 |", "| M99 |", 1), test(&ids.join(", ")));
    assert_eq!(lost, ["M1 has 0 lines; give it one"]);
    let none = found(&document.replacen("`it_holds`", "", 1), test(&ids.join(", ")));
    assert_eq!(none, ["M1 names no test"]);
}

#[test]
fn a_large_file_is_found() {
    let large = |path: &str| File { bytes: 300 * 1024, ..file(path, "") };
    assert_eq!(tree::large_files(&[large("data.bin"), large("Cargo.lock")]).len(), 1);
}
