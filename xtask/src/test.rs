//! `cargo xtask test`: the gate, the same on every machine.
//!
//! **Invariant**: a change that passes here can be merged; there is no other list of checks.
//!
//! # What is built how often
//!
//! On two cores building is most of the time, so the stages share what they build:
//!
//! - `clippy`, `check` and `doc` want only metadata, and share that of the dependencies as far as
//!   their features agree: `check` leaves features out, that is what it is for, and `doc` knows
//!   nothing of dev-dependencies. Both cost seconds.
//! - The tests build the workspace for `dev` once, with the features of all members together; the
//!   examples are built the same way and find everything there.
//! - The release profile is only for what needs speed: the mutants and the soaks. The soaks choose
//!   targets instead of packages, so that they build one set of dependencies (see `soak.rs`).
//! - The mutants change features of our own crates only, so the dependencies stay as they are.

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{command, soak, tools, watch, workspace};

/// One stage of the gate.
struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// Cheap stages first, so that a slip is told within seconds.
const STAGES: &[Stage] = &[
    Stage { name: "tools", run: tools },
    Stage { name: "format", run: format },
    Stage { name: "clippy", run: clippy },
    Stage { name: "tests", run: tests },
    Stage { name: "features", run: features },
    Stage { name: "mutants", run: mutants },
    Stage { name: "examples", run: examples },
    Stage { name: "docs", run: docs },
    Stage { name: "soaks", run: soak::run_in_gate },
];

/// Runs the stages in order, up to the first that fails.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("the gate takes no arguments, but was given `{argument}`");
    }
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let mut failed = None;
    for stage in STAGES {
        println!("\n=== {}", stage.name);
        let (result, time) = watch::timed(stage.run);
        times.push((stage.name, time));
        match result {
            Ok(()) => println!("=== {}: ok in {}", stage.name, shown(time)),
            Err(error) => {
                println!("=== {}: FAILED in {}: {error:#}", stage.name, shown(time));
                failed = Some(stage.name);
                break;
            }
        }
    }
    print!("{}", summary(&times, failed));
    Ok(if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The table at the end; its last line counts the stages.
fn summary(times: &[(&str, Duration)], failed: Option<&str>) -> String {
    let mut text = String::from("\n");
    for (name, time) in times {
        let state = if failed == Some(*name) { "FAILED" } else { "ok" };
        text.push_str(&format!("{name:<12} {state:<8} {:>10}\n", shown(*time)));
    }
    let total = times.iter().map(|(_, time)| *time).sum();
    text.push_str(&format!("{:<12} {:<8} {:>10}\n\n", "total", "", shown(total)));
    if let Some(name) = failed {
        text.push_str(&format!("the stage `{name}` failed; the stages after it did not run\n"));
    }
    let failures = usize::from(failed.is_some());
    text.push_str(&format!("{} passed, {failures} failed\n", times.len() - failures));
    text
}

fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn tools() -> Result<()> {
    command::run(&mut command::cargo(&["--version"]))?;
    tools::ensure_debian("build-essential", "cc").context("the bundled SQLite is written in C")
}

fn format() -> Result<()> {
    command::run(&mut command::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let workspace = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    command::run(&mut command::cargo(&workspace))
}

fn tests() -> Result<()> {
    command::run(&mut command::cargo(&["test", "--workspace", "--locked"]))
}

fn features() -> Result<()> {
    let bare = ["check", "-p", "larder", "--no-default-features", "--locked"];
    command::run(&mut command::cargo(&bare))
}

/// Takes out one safeguard after another and expects the tests to notice each time.
fn mutants() -> Result<()> {
    let mut mutants = command::cargo(&["test", "--release", "--locked", "--test", "mutants"]);
    mutants.args(["--package", "larder-testkit", "--features", "larder-testkit/mutants"]);
    mutants.args(["--package", "larder-sqlite", "--features", "larder-sqlite/mutants"]);
    mutants.args(["--package", "larder-memory", "--features", "larder-memory/mutants"]);
    mutants.args(["--package", "larder", "--features", "larder/mutants"]);
    command::run(&mut mutants)
}

/// Builds and runs every binary and example of the package `larder-examples`.
fn examples() -> Result<()> {
    if !workspace::root().join("examples/Cargo.toml").is_file() {
        println!("there are no examples yet: nothing to run");
        return Ok(());
    }
    let metadata = workspace::metadata()?;
    let targets = workspace::targets_in(&metadata);
    let runnable: Vec<_> = targets
        .iter()
        .filter(|target| target.package == "larder-examples")
        .filter(|target| ["bin", "example"].contains(&target.kind.as_str()))
        .collect();
    if runnable.is_empty() {
        bail!("examples/Cargo.toml is there, but no package `larder-examples` with a binary");
    }
    // Built as `cargo test --workspace` built everything, and started by path: `cargo run -p`
    // would choose other features for the dependencies and build them again. `--examples` is there
    // even when there is none: it is what makes the features of the tests count.
    let mut build = command::cargo(&["build", "--workspace", "--locked", "--examples"]);
    for target in runnable.iter().filter(|target| target.kind == "bin") {
        build.args(["--bin", &target.name]);
    }
    command::run(&mut build)?;
    let folder = workspace::target_folder(&metadata)?.join("debug");
    for target in runnable {
        let inner = if target.kind == "example" { "examples" } else { "" };
        let program = folder.join(inner).join(&target.name);
        command::run(Command::new(program).current_dir(workspace::root()))?;
    }
    Ok(())
}

fn docs() -> Result<()> {
    let mut cargo = command::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    command::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_the_stages() {
        let times = [("format", Duration::from_secs(1)), ("clippy", Duration::from_secs(2))];
        assert_eq!(summary(&times, None).lines().last(), Some("2 passed, 0 failed"));
        let failed = summary(&times, Some("clippy"));
        assert!(failed.contains("the stage `clippy` failed"));
        assert_eq!(failed.lines().last(), Some("1 passed, 1 failed"));
    }
}
